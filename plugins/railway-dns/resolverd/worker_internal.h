#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <sys/queue.h>

#include "pkg/base/log.h"
#include "pkg/base/loop.h"
#include "pkg/dns/answer.h"
#include "pkg/dns/cache.h"
#include "pkg/dns/channel.h"
#include "pkg/dns/forward.h"
#include "pkg/dns/message.h"
#include "pkg/dns/table.h"
#include "plugins/railway-dns/resolverd/metrics.h"

/* What the worker's parts share: worker.c (its table, the channel), worker_udp.c, worker_tcp.c with
 * worker_connection.c, worker_forward.c and worker_queries.c. */

enum {
	RAIL_QUERY_SIZE_MAXIMUM = 2048,	   /* larger ones are dropped, or close the connection */
	RAIL_POD_PENDING_MAXIMUM = 256,	   /* forwarded queries of one pod on their way */
	RAIL_POD_CONNECTIONS_MAXIMUM = 32, /* TCP */
	RAIL_CONNECTIONS_MAXIMUM = 1024,   /* of all pods */
};

struct rail_worker_environment {
	struct rail_table_link link; /* first */
	struct rail_zone *zone;
	size_t pod_count;
	/* What its pods have of what all environments share. */
	size_t pending_count;
	size_t connection_count;
	size_t unsent_size;
	struct rail_cache_owner cached;
	struct rail_metrics_environment *metrics;
};

struct rail_queries;
struct rail_pod_queries;

struct rail_worker_pod {
	struct rail_table_link link; /* first; its hash is id */
	LIST_ENTRY(rail_worker_pod) list;
	uint64_t id;
	struct rail_worker *worker;
	struct rail_worker_environment *environment;
	uint32_t ttl_s;
	struct rail_endpoint upstreams[RAIL_UPSTREAMS_MAXIMUM];
	size_t upstream_count;
	size_t pending_count;
	struct rail_pod_queries *queries; /* NULL: its queries are not noted */

	int udp;
	struct rail_source *udp_source;
	int tcp;
	struct rail_source *tcp_source;
	size_t connection_count;
	bool accepts;
	/* A socket was destroyed from within the pod (ss -K): it can not be served any more. */
	bool broken;
};

struct rail_worker {
	struct rail_loop *loop;
	int channel;
	struct rail_source *channel_source;
	bool ends;
	int64_t drain_end_ms; /* 0: takes what comes */
	struct rail_table environments;
	struct rail_table pods;
	LIST_HEAD(, rail_worker_pod) pod_list;
	struct rail_endpoint upstreams[RAIL_UPSTREAMS_MAXIMUM]; /* the node's */
	size_t upstream_count;
	struct rail_udp *udp;
	struct rail_tcp *tcp;
	struct rail_forward *forward;
	struct rail_queries *queries; /* NULL: there is no query log */
	struct rail_log_limit log_limit;
	struct rail_metrics *metrics;
};

/*
 * How much of what all environments share one may have: as much as is left for all others. So n
 * that want all of it get an n+1-th each, and the next one finds as much.
 */
static inline bool rail_worker_is_fair(size_t own, size_t left)
{
	return own < left;
}

/* What is done from here on, until rail_worker_put_down, is done because of this pod's packets, or
 * of what it asked an upstream. */
static inline void rail_worker_take_up(const struct rail_worker *worker, uint64_t pod)
{
	rail_metric_set(&worker->metrics->in_hand, pod);
}

static inline void rail_worker_put_down(const struct rail_worker *worker)
{
	rail_metric_set(&worker->metrics->in_hand, 0);
}

/* worker.c */
void rail_worker_count(struct rail_worker *worker, enum rail_metrics_counter counter);
int64_t rail_worker_now_us(void);
struct rail_worker_pod *rail_worker_pod_get(const struct rail_worker *worker, uint64_t id);
/* Logs, but not more than a few lines in a while: pods can cause it. */
void rail_worker_complain(struct rail_worker *worker, const char *message, int errnum);

/* worker_queries.c: what the query log is told. Nothing is allocated for a query, and nothing
 * waited for. */
struct rail_query_note {
	const uint8_t *query;
	size_t query_size;
	const uint8_t *answer;
	size_t answer_size;
	int64_t duration_us;
	bool tcp;
	bool timed_out; /* no upstream answered */
};

/* Where the supervisor wants no query log: NULL, and 0. */
int rail_queries_new(struct rail_queries **ret_queries, struct rail_error *error);
void rail_queries_free(struct rail_queries *queries); /* NULL-safe */
/* What the pod is called in the log. */
int rail_queries_name(struct rail_worker_pod *pod, const struct rail_channel_message *message);
void rail_queries_write(struct rail_worker_pod *pod, const struct rail_query_note *note);

/* Notes an answer that was given to a pod. */
static inline void rail_queries_note(struct rail_worker_pod *pod,
				     const struct rail_query_note *note)
{
	if (pod->queries != NULL)
		rail_queries_write(pod, note);
}

/* worker_udp.c: the pods' UDP sockets. */
int rail_udp_new(struct rail_udp **ret_udp, struct rail_error *error);
void rail_udp_free(struct rail_udp *udp);
int rail_udp_open(struct rail_worker_pod *pod, struct rail_error *error);
/* Reads no more; the socket stays for answers. */
void rail_udp_stop(struct rail_worker_pod *pod);
void rail_udp_close(struct rail_worker_pod *pod);
struct rail_forward_client;
void rail_udp_reply(struct rail_worker_pod *pod, const struct rail_forward_client *client,
		    uint8_t *answer, size_t size);

/* worker_tcp.c: the pods' listening sockets and connections. */
int rail_tcp_new(struct rail_worker *worker, struct rail_tcp **ret_tcp, struct rail_error *error);
size_t rail_tcp_count(const struct rail_tcp *tcp);
void rail_tcp_free(struct rail_tcp *tcp);
/* Accepts no more. */
void rail_tcp_stop(struct rail_worker_pod *pod);
int rail_tcp_open(struct rail_worker_pod *pod, struct rail_error *error);
/*
 * Another worker has the pods from now on, and its zones change while this one's do not: what was
 * read, and one portion more, is answered, and each connection then ends. One that has brought
 * nothing yet may bring one query, until rail_tcp_drain_fresh.
 */
void rail_tcp_drain(struct rail_tcp *tcp);
void rail_tcp_drain_fresh(struct rail_tcp *tcp);
/* Resets the pod's connections, so that none of them keeps its netns. */
void rail_tcp_close(struct rail_worker_pod *pod);
/* worker_connection.c: the answer to a forwarded query, with two bytes in front of it that this
 * writes to. Nothing happens where the connection is gone. */
void rail_tcp_reply(struct rail_tcp *tcp, uint64_t connection, uint8_t *framed, size_t size);

/* worker_forward.c: what upstream nameservers are asked. */

/* Who is waiting: a connection, or (0) the client at an address. */
struct rail_forward_client {
	uint64_t connection;
	struct sockaddr_in6 address;
	struct in6_addr server; /* that the client asked; "::" where the socket has one only */
};

int rail_forward_new(struct rail_worker *worker, struct rail_forward **ret_forward,
		     struct rail_error *error);
void rail_forward_free(struct rail_forward *forward);
/*
 * Answers a query that is no concern of ours: from the cache, at once (*ret_size bytes), or later
 * (*ret_size 0), in whatever way it turns out. Who asks what is on its way already waits for that.
 * Where it cannot be sent on: a negative errno value, and the caller answers SERVFAIL.
 */
int rail_forward_query(struct rail_worker_pod *pod, const struct rail_forward_client *client,
		       const uint8_t *query, size_t query_size, uint8_t *answer, size_t capacity,
		       size_t *ret_size);
/* Before the environment goes. */
void rail_forward_disown(struct rail_forward *forward, struct rail_worker_environment *environment);
/* Writes its gauges. */
void rail_forward_measure(const struct rail_forward *forward);
int rail_forward_timeout_ms(struct rail_forward *forward);
void rail_forward_expire(struct rail_forward *forward);
