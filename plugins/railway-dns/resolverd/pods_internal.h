#pragma once

#include <stddef.h>

#include "pkg/dns/table.h"
#include "plugins/railway-dns/resolverd/pods.h"
#include "plugins/railway-dns/resolverd/records.h"
#include "plugins/railway-dns/resolverd/watch.h"

/* What pods.c (who is registered), restore.c (who was) blame.c (who ends the
 * worker) and sweep.c (who is still there) share. */

struct rail_pod {
	struct rail_table_link by_key;
	struct rail_table_link by_id;
	struct rail_pod *next;
	struct rail_pod *previous;
	uint64_t id;
	struct rail_pod_record record;
	struct rail_pod_sockets sockets; /* closed: could not be opened yet, or gone */
	struct rail_watched *watched;	 /* NULL: only by the sweep */
	bool suspected;
	/* Workers that died at its packets lately, how often it was set aside, and until when (0:
	 * it is not). */
	unsigned int blamed_count;
	int64_t blamed_ms;
	unsigned int aside_count;
	int64_t aside_end_ms;
	/* Its netns is gone: it has neither name nor sockets nor environment any more, and stays
	 * only until the live store has been told. */
	bool gone;
};

/* One that has a pod here. */
struct environment {
	struct rail_table_link by_prefix;
	struct environment *next;
	struct environment *previous;
	struct rail_prefix prefix;
	size_t pod_count;
	bool incomplete; /* its names could not be read */
};

struct rail_pods {
	struct rail_store *store;
	struct rail_worker_process *worker;
	struct rail_watch *watch;
	struct rail_table by_key;
	struct rail_table by_id;
	struct rail_table by_prefix;
	struct rail_pod *first;
	struct environment *environments;
	size_t gone_count;
	uint64_t last_id;
	struct rail_timer *retry;
	struct rail_timer *aside;

	struct rail_timer *sweep;
	struct rail_timer *check;
	struct rail_pod *sweep_next; /* where the sweep goes on; NULL: at the end */
};

#define rail_container_of(pointer, type, member)                                                   \
	((type *)(void *)((char *)(pointer)-offsetof(type, member)))

/* pods.c */
struct rail_pod *rail_pods_get(const struct rail_pods *pods, const struct rail_attachment_key *key);
/* By its number; NULL: unknown. */
struct rail_pod *rail_pods_get_by_id(const struct rail_pods *pods, uint64_t id);
/* Puts a pod with this record into the tables. It joins its environment (ret_is_first: which has no
 * other pod here); nothing is sent. */
int rail_pods_insert(struct rail_pods *pods, const struct rail_pod_record *record,
		     struct rail_pod **ret_pod, bool *ret_is_first, struct rail_error *error);
/* Tells the worker the pod's name, and gives it the sockets where they are open. */
void rail_pods_send(struct rail_pods *pods, const struct rail_pod *pod);
/* Gives the pod its sockets (consumed) and tells the worker. */
void rail_pods_serve(struct rail_pods *pods, struct rail_pod *pod,
		     struct rail_pod_sockets *sockets);
/* Takes name and sockets away, here and in the worker. */
void rail_pods_withdraw(struct rail_pods *pods, struct rail_pod *pod);
/* The same, and frees it. */
void rail_pods_forget(struct rail_pods *pods, struct rail_pod *pod);

/* blame.c */
int rail_pods_blame_init(struct rail_pods *pods, struct rail_loop *loop, struct rail_error *error);

/* sweep.c */
int rail_pods_sweep_init(struct rail_pods *pods, struct rail_loop *loop, struct rail_error *error);
void rail_pods_suspect(void *context, const char *path);
/* Withdraws a pod whose netns is gone, and has the live store told. */
void rail_pods_bury(struct rail_pods *pods, struct rail_pod *pod);
