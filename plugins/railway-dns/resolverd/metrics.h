#pragma once

#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "pkg/base/error.h"
#include "pkg/ipam/address.h"

/*
 * What the worker counts: in memory that it shares with its supervisor, which shows it to who asks
 * (exposition.h). The worker never waits for that, and what was counted outlives it. To the
 * supervisor these are numbers of somebody who parses packets: it reads them and goes by none.
 */

enum {
	RAIL_METRICS_ENVIRONMENTS = 1024, /* the queries of more are counted together */
	RAIL_METRICS_BUCKETS = 12,	  /* of a latency histogram, the last without a bound */
};

enum rail_metrics_type {
	RAIL_METRICS_A,
	RAIL_METRICS_AAAA,
	RAIL_METRICS_PTR,
	RAIL_METRICS_SRV,
	RAIL_METRICS_TXT,
	RAIL_METRICS_SOA,
	RAIL_METRICS_NS,
	RAIL_METRICS_HTTPS,
	RAIL_METRICS_ANY,
	RAIL_METRICS_OTHER_TYPE,
	RAIL_METRICS_TYPE_COUNT,
};

enum rail_metrics_answer {
	RAIL_METRICS_NOERROR,
	RAIL_METRICS_NODATA,
	RAIL_METRICS_NXDOMAIN,
	RAIL_METRICS_SERVFAIL,
	RAIL_METRICS_REFUSED,
	RAIL_METRICS_OTHER_ANSWER,
	RAIL_METRICS_ANSWER_COUNT,
};

/* Where an answer came from. */
enum rail_metrics_source {
	RAIL_METRICS_LOCAL, /* the cache included: at once */
	RAIL_METRICS_FORWARDED,
	RAIL_METRICS_SOURCE_COUNT,
};

enum rail_metrics_counter {
	RAIL_METRICS_DROPPED,	 /* queries that get no answer */
	RAIL_METRICS_CACHE_HITS, /* forwarded queries, by what became of them */
	RAIL_METRICS_CACHE_MISSES,
	RAIL_METRICS_JOINED,   /* waited for a question that was on its way */
	RAIL_METRICS_ASKED,    /* questions that upstreams were asked */
	RAIL_METRICS_FAILED,   /* of these, without an answer */
	RAIL_METRICS_UNLOGGED, /* answers that the query log does not show */
	RAIL_METRICS_COUNTER_COUNT,
};

enum rail_metrics_gauge {
	RAIL_METRICS_CACHE_ENTRIES,
	RAIL_METRICS_CACHE_BYTES,
	RAIL_METRICS_WAITING,	      /* clients, for an upstream's answer */
	RAIL_METRICS_FORWARD_SOCKETS, /* to upstreams */
	RAIL_METRICS_CONNECTIONS,     /* over TCP */
	RAIL_METRICS_PODS,	      /* that the worker serves */
	RAIL_METRICS_GAUGE_COUNT,
};

/* Written by one thread, read by another process: each number is whole, and no two belong together.
 */
typedef _Atomic uint64_t rail_metric;

struct rail_metrics_environment {
	rail_metric prefix; /* its 48 bits, and one above them; 0: an unused slot */
	rail_metric answers[RAIL_METRICS_TYPE_COUNT][RAIL_METRICS_ANSWER_COUNT];
};

struct rail_metrics_histogram {
	rail_metric buckets[RAIL_METRICS_BUCKETS];
	rail_metric sum_us;
};

struct rail_metrics {
	/* The number of the pod whose packets the worker is at, or an upstream's that only that pod
	 * waits for; 0: none: for who asks why it died. */
	rail_metric in_hand;
	rail_metric counters[RAIL_METRICS_COUNTER_COUNT];
	rail_metric gauges[RAIL_METRICS_GAUGE_COUNT];
	struct rail_metrics_histogram latencies[RAIL_METRICS_SOURCE_COUNT];
	/* The first is that of all who found no slot. */
	struct rail_metrics_environment environments[1 + RAIL_METRICS_ENVIRONMENTS];
};

/* The upper bounds of the buckets but the last, in microseconds. */
extern const uint32_t rail_metrics_bounds_us[RAIL_METRICS_BUCKETS - 1];

/* The memory, for a descriptor to hand on; its size cannot be changed. */
int rail_metrics_create(int *ret_fd, struct rail_metrics **ret_metrics, struct rail_error *error);
int rail_metrics_map(int fd, struct rail_metrics **ret_metrics, struct rail_error *error);
void rail_metrics_unmap(struct rail_metrics *metrics); /* NULL-safe */

static inline uint64_t rail_metric_read(const rail_metric *metric)
{
	return atomic_load_explicit(metric, memory_order_relaxed);
}

/* By the one that writes. */
static inline void rail_metric_set(rail_metric *metric, uint64_t value)
{
	atomic_store_explicit(metric, value, memory_order_relaxed);
}

static inline void rail_metric_add(rail_metric *metric, uint64_t more)
{
	rail_metric_set(metric, rail_metric_read(metric) + more);
}

/* The number of an environment that is never 0. */
uint64_t rail_metrics_prefix_number(const struct rail_prefix *prefix);
/* Counts an answer that goes to a client, which begins with header and question. */
void rail_metrics_count_answer(struct rail_metrics_environment *environment, const uint8_t *answer,
			       size_t size);
/* Notes that count answers took that long each. */
void rail_metrics_observe(struct rail_metrics_histogram *histogram, uint64_t duration_us,
			  uint64_t count);
