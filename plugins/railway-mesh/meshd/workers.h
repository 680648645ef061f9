#pragma once

#include <pthread.h>
#include <sys/queue.h>

#include "plugins/railway-mesh/meshd/meshd.h"

/*
 * Threads for work that waits for others: a pod's WireGuard process that hangs answers nothing for
 * 5 s, and the loop has a lease to renew meanwhile.
 */

struct meshd_task {
	/* In a thread. Touches the task and what it refers to, and nothing of the daemon's: no
	 * store above all. */
	void (*work)(struct meshd_task *task);
	/* In the loop, once: the task is its owner's again. */
	void (*done)(struct meshd_task *task);
	bool dropped; /* the daemon ends, and work was not called */

	/* Of workers.c: */
	int finished;
	pthread_t thread;
	STAILQ_ENTRY(meshd_task) link;
};

/* After privileges were given up: a thread has those of who made it. */
int meshd_workers_new(struct meshd *meshd, struct meshd_workers **ret_workers,
		      struct rail_error *error);
/* The task is borrowed until done is called, which is never from here. */
void meshd_workers_start(struct meshd_workers *workers, struct meshd_task *task);
/*
 * The daemon ends: drops what is not at work, and waits a moment for what is. false where somebody
 * is at work still: nothing may be freed, and the process ends as if it had been killed.
 */
bool meshd_workers_finish(struct meshd_workers *workers);
/* After meshd_workers_finish has returned true. */
void meshd_workers_free(struct meshd_workers *workers);
