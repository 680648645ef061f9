#pragma once

#include <stdbool.h>
#include <sys/types.h>

#include "pkg/base/error.h"
#include "plugins/railway-dns/resolverd/sandbox.h"

/* A child of the supervisor's that has no privileges. */
struct rail_child {
	const char *role; /* its one argument */
	uid_t uid;	  /* and group */
	/* What it gets behind its channel (sandbox.h); negative ones end the list. */
	int descriptors[RAIL_CHILD_DESCRIPTORS_MAXIMUM - 1];
	/* A path that it opens, for appending, before it has given up its rights, and gets as the
	 * next descriptor: whatever that waits for, the caller does not. NULL: none. */
	const char *log_path;
	bool log_failure_told; /* that it cannot be opened, which need not be said again */
	bool tied;	       /* killed when this process dies */
};

/* How a child ended. */
struct rail_child_end {
	int signal_number; /* 0: it exited, with */
	int status;
	char text[48];
};

enum { RAIL_CHILD_NO_LOG = 73 }; /* the status of one whose path could not be opened */

/* Opens it, and makes it where it is not there; a FIFO needs no reader. The descriptor, or a
 * negative errno value. */
int rail_child_open_log(const char *path, struct rail_error *error);

/*
 * Starts it: this program again, with an address space of its own, without anything that
 * rail_sandbox_before_exec takes from it. The channel to it is non-blocking and the caller's; so is
 * the child, to be waited for by its pidfd.
 */
int rail_child_spawn(const struct rail_child *child, pid_t *ret_pid, int *ret_pidfd,
		     int *ret_channel, struct rail_error *error);
void rail_child_kill(int pidfd);
/* Waits for its end, limit_ms at most; false: it has not come. */
bool rail_child_wait(int pidfd, int limit_ms);
/* Reaps it. false: it has not ended. */
bool rail_child_reap(int pidfd, struct rail_child_end *ret_end);

/* Executes the program with --take-over and these arguments, ended by NULL; nobody waits for it. */
int rail_successor_spawn(const char *program, char *const *arguments, struct rail_error *error);
