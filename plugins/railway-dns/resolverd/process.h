#pragma once

#include <stdbool.h>

#include "pkg/base/loop.h"
#include "pkg/dns/channel.h"
#include "plugins/railway-dns/resolverd/sockets.h"

/*
 * The supervisor's end of the worker: starts it, starts the next one when it dies or hangs, and
 * carries messages to it without ever waiting: what the channel does not take is queued.
 */

struct rail_worker_process;

struct rail_worker_hooks {
	/* A new worker runs and knows nothing: send it everything. */
	void (*up)(void *context);
	/*
	 * The worker is gone, and every socket that it held with it. faulty: by a fault of its own,
	 * no one has ended it. Returns whether that has been seen to: the next one need not be kept
	 * waiting then.
	 */
	bool (*down)(void *context, bool faulty);
	/* The answer to a barrier. Barriers of a worker that dies are never answered. */
	void (*answered)(void *context, uint64_t sequence, bool positive);
	/* The sockets of a pod whose POD_ADD is about to be sent; NULL where the pod is gone by
	 * now: then the message is left out. */
	const struct rail_pod_sockets *(*sockets)(void *context, uint64_t pod);
	void *context;
	/* Descriptors that every worker gets; borrowed. */
	int metrics;
	int queries; /* the ring of the query log; negative: there is none */
};

int rail_worker_process_new(struct rail_loop *loop, uid_t uid,
			    const struct rail_worker_hooks *hooks,
			    struct rail_worker_process **ret_worker, struct rail_error *error);
/* Ends the worker by closing its channel, and by force where it does not go within a second. */
void rail_worker_process_free(struct rail_worker_process *worker);

/* Has the worker finish what it has begun, and waits for its end: some seconds at most. Only before
 * it is freed. */
void rail_worker_process_drain(struct rail_worker_process *worker);

/* Starts the first worker. Where that fails it is tried again later, like after a death. */
void rail_worker_process_start(struct rail_worker_process *worker);
/* How many workers were started. */
uint64_t rail_worker_process_starts(const struct rail_worker_process *worker);
/* Whether messages reach a worker now. */
bool rail_worker_process_is_up(const struct rail_worker_process *worker);
/* Whether there is a process that may hold sockets: true for a while after a worker that is not up
 * any more. */
bool rail_worker_process_exists(const struct rail_worker_process *worker);

/* Whether the worker is to note queries, and needs the pods' names for that. */
bool rail_worker_process_notes_queries(const struct rail_worker_process *worker);

/* Sends a message, or nothing while no worker is up: the next one is sent everything. */
void rail_worker_process_send(struct rail_worker_process *worker,
			      const struct rail_channel_message *message);
/* Asks for a confirmation of everything sent so far; pod: and that this one is served, 0: none.
 * Returns the sequence number that the answer will bear. Only while a worker is up. */
uint64_t rail_worker_process_barrier(struct rail_worker_process *worker, uint64_t pod);
