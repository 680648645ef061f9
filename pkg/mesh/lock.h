#pragma once

#include "pkg/ipam/address.h"

/*
 * One lock for each environment, held by whoever changes its peers from reading the membership to
 * the last peer set. Without it an ADD that read the membership before a DEL would leave a peer
 * behind for ever.
 *
 * The lock is an open-file-description lock on <run directory>/locks/<prefix>; it goes with its
 * holder. The file holds a mark while somebody works: a holder that finds one there knows that the
 * one before died at work, and repairs every local pod.
 */

struct rail_environment_lock {
	int fd;
	bool needs_repair; /* the holder before died at work, or left something undone */
	char path[320];
};

#define RAIL_ENVIRONMENT_LOCK_NONE                                                                 \
	(struct rail_environment_lock)                                                             \
	{                                                                                          \
		.fd = -1                                                                           \
	}

enum { RAIL_ENVIRONMENT_LOCK_DEADLINE_MS = 60000 };

/* Waits at most the deadline: then ETIMEDOUT with code 11. */
int rail_environment_lock_take(const char *run_directory, const struct rail_prefix *prefix,
			       struct rail_environment_lock *ret_lock, struct rail_error *error);

/* The same with another deadline, for who has others to serve. */
int rail_environment_lock_take_within(const char *run_directory, const struct rail_prefix *prefix,
				      int deadline_ms, struct rail_environment_lock *ret_lock,
				      struct rail_error *error);

/* The work is whole: takes the mark away. empty: the environment has no members here, and its file
 * goes too. */
void rail_environment_lock_finish(struct rail_environment_lock *lock, bool empty);

/* For RAIL_CLEANUP: lets go of a lock that was not finished, with its mark, so that the next holder
 * repairs. */
void rail_environment_lock_abandon(struct rail_environment_lock *lock);
