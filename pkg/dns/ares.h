#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/queue.h>

#include "pkg/wg/device.h"

/*
 * One c-ares channel: some upstreams, and the queries on their way to them. A part of forward.c,
 * which is its only user; ares.c is the only file that includes c-ares, and what must be known of
 * it (1.18.1) stays in there.
 *
 * The queries of a channel that go to one upstream share a socket, and so a source port. The
 * sockets are closed when no query is left, so a channel's next query after that has a new port.
 */

struct rail_ares;

enum rail_ares_kind {
	RAIL_ARES_UDP,	     /* for queries that end in one OPT without options */
	RAIL_ARES_UDP_PLAIN, /* for queries without OPT */
	RAIL_ARES_TCP,	     /* for both */
	RAIL_ARES_KIND_COUNT,
};

struct rail_ares_query;

/* None may call anything of this module. */
struct rail_ares_hooks {
	/* A socket was opened and is about to be used; false: close it again. */
	bool (*admit)(void *context, int fd);
	/* As rail_forwarder_hooks.watch. */
	void (*watch)(void *context, struct rail_ares *ares, int fd, bool readable, bool writable);
	/* The upstream of that number, in the channel's order, has answered over UDP. Those before
	 * it were asked earlier. */
	void (*heard)(void *context, const struct rail_ares_query *query, size_t upstream);
	void *context;
};

/* Lives until it is answered; the caller's to allocate, as a part of something larger. */
struct rail_ares_query {
	/*
	 * outcome 0: the answer as it came, borrowed for the call. -EMSGSIZE: there is one, which
	 * did not fit UDP. -ECANCELED: the channel is being freed. Called exactly once, from
	 * within rail_ares_send, rail_ares_process or rail_ares_free, and must not call any of
	 * these.
	 */
	void (*answered)(struct rail_ares_query *query, int outcome, const uint8_t *message,
			 size_t size);
	uint64_t cause; /* who asks: any number but 0 */
	/* rail_ares_send's, while it is on its way. */
	const uint8_t *bytes;
	size_t size;
	int64_t sent_ms; /* CLOCK_MONOTONIC */
	LIST_ENTRY(rail_ares_query) link;
	struct rail_ares *ares; /* set by rail_ares_send */
};

/*
 * upstreams: 1 to RAIL_UPSTREAM_MAXIMUM, each with family and port. A query is given up after about
 * budget_ms; an upstream that does not answer costs it an equal share of that, or less. NULL: no
 * memory.
 */
struct rail_ares *rail_ares_new(enum rail_ares_kind kind, const struct rail_endpoint *upstreams,
				size_t upstream_count, int budget_ms,
				const struct rail_ares_hooks *hooks);
void rail_ares_free(struct rail_ares *ares);

/* bytes begin with the ID that goes out; they are borrowed until the query is answered. */
void rail_ares_send(struct rail_ares *ares, const uint8_t *bytes, size_t size,
		    struct rail_ares_query *query);
/* Reads from (a bounded number of messages; what is left is for the next call), writes to, and
 * repeats or gives up what is due. Negative descriptors: only that. */
void rail_ares_process(struct rail_ares *ares, int readable_fd, int writable_fd);

size_t rail_ares_in_flight(const struct rail_ares *ares);
/* How many queries it was given since it last had none. */
size_t rail_ares_sent(const struct rail_ares *ares);
/* Because of whom an upstream's messages come: who asks all queries that were sent since there were
 * none on their way; 0: several. */
uint64_t rail_ares_cause(const struct rail_ares *ares);
/*
 * Whether an upstream has made a RAIL_ARES_UDP one take no more than 512 bytes over UDP, by
 * answering FORMERR without OPT: it should not be used again.
 */
bool rail_ares_is_spoilt(const struct rail_ares *ares);
