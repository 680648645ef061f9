#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "pkg/base/error.h"
#include "pkg/wg/device.h"

/*
 * Forwarding of queries to upstream nameservers by c-ares. It needs no file (c-ares tries to open
 * /dev/urandom now and then, and does without) and starts no thread: the caller's loop watches the
 * sockets and the time. It takes a query that is ready for the wire and gives back the upstream's
 * message as it came; rail_dns_upstream_query and rail_dns_relay stand on either side of it.
 *
 * Every query has an unpredictable ID, and a source port of its own unless many are on their way.
 * At most 256 channels of c-ares (19 MB) and RAIL_FORWARD_SOCKET_MAXIMUM sockets are open at a
 * time; both are closed when they are not used.
 */

struct rail_forwarder;

struct rail_forwarder_hooks {
	/*
	 * Watch fd for what is true of the two; neither: it is about to be closed, forget it. Must
	 * call nothing of the forwarder.
	 */
	void (*watch)(void *context, int fd, bool readable, bool writable);
	/* What an upstream sent is looked at from here on: through a socket over which only this
	 * pod has questions on their way. 0: several have, or it is over. */
	void (*works_for)(void *context, uint64_t pod);
	void *context;
};

/* Whose query it is: any numbers that tell one from another; no pod's is 0. */
struct rail_forward_asker {
	uint64_t environment; /* what all environments share is shared fairly */
	uint64_t pod;
};

enum {
	RAIL_FORWARD_PENDING_MAXIMUM = 4096, /* queries on their way, of all pods */
	RAIL_FORWARD_DEADLINE_MS = 4000,     /* below the 5 s after which stub resolvers give up */
	RAIL_FORWARD_SOCKET_MAXIMUM = 1024,  /* beyond it no upstream is reached */
	RAIL_UPSTREAM_MAXIMUM = 8,
};

struct rail_forwarder *rail_forwarder_new(const struct rail_forwarder_hooks *hooks);
/* Calls no callback any more, but the hook: its sockets are to be forgotten. Not to be called from
 * within a callback. */
void rail_forwarder_free(struct rail_forwarder *forwarder);

/*
 * outcome 0: message is the upstream's answer, whatever its response code. A truncated one was
 * repeated over TCP, and is given only where that failed. Else -ETIMEDOUT, -ECONNREFUSED,
 * -ENOMEM...: the client gets SERVFAIL. Called exactly once, from within rail_forwarder_ready or
 * rail_forwarder_expire, never rail_forwarder_send; it may call rail_forwarder_send. message is
 * borrowed for the call.
 */
typedef void (*rail_forward_callback)(void *context, int outcome, const uint8_t *message,
				      size_t size);

/*
 * Sends a query (its ID is replaced by an unpredictable one of our own on the wire; the message
 * given to the callback has whichever the upstream sent: callers compare nothing but the question)
 * to the upstreams, in their order: the next one is asked when one does not answer for its share of
 * the deadline (of 1: 1.3 s, then once more; of 2: 0.65 s, then both once more; of 3: 1.3 s; of 8:
 * 0.5 s), and at once when its host refuses. Over TCP they share 1.5 s; more than two have 0.75 s
 * each, 3.8 s in all at most. One that left three queries in a row, over 2 s, to others is asked
 * last for 30 s. Every query ends with exactly one OPT without options, or has none; a server that
 * knows no EDNS is asked again without it.
 *
 * The sets of upstreams that are asked are kept, at most 64 at a time. -EAGAIN where that many have
 * queries on their way, or as many of one environment as would leave fewer than that for the
 * others; and where RAIL_FORWARD_PENDING_MAXIMUM is reached; -EDESTADDRREQ where upstream_count is
 * 0; -EINVAL for another query than that, for more than RAIL_UPSTREAM_MAXIMUM upstreams, and for
 * one without port or address family. No callback follows then.
 */
int rail_forwarder_send(struct rail_forwarder *forwarder, const struct rail_endpoint *upstreams,
			size_t upstream_count, const struct rail_forward_asker *asker,
			const uint8_t *query, size_t query_size, rail_forward_callback callback,
			void *context);

/* The caller's loop: a watched socket is ready. An error or a hang-up counts as both. */
void rail_forwarder_ready(struct rail_forwarder *forwarder, int fd, bool readable, bool writable);
/* How long the loop may sleep at most, in milliseconds; -1: for ever. */
int rail_forwarder_timeout_ms(struct rail_forwarder *forwarder);
/* Does what is due by time: repeats, gives up. To be called after each sleep. */
void rail_forwarder_expire(struct rail_forwarder *forwarder);
/* How many queries more it would take. */
size_t rail_forwarder_room(const struct rail_forwarder *forwarder);
size_t rail_forwarder_pending(const struct rail_forwarder *forwarder);
