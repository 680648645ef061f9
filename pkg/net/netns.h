#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "pkg/base/error.h"

/* Network namespaces: opening, telling apart, entering. Callers have one thread. */

/* What tells one netns from another while either is referred to (namespaces(7)). */
struct rail_netns_id {
	uint64_t device;
	uint64_t inode;
};

/*
 * Opens a path as a netns. Fails with code 8 and a message that names the path: not there (ENOENT),
 * no netns (ENOTTY), or the netns of the caller itself, which is the host's (EINVAL).
 */
int rail_netns_open(const char *path, int *ret_fd, struct rail_netns_id *ret_id,
		    struct rail_error *error);
int rail_netns_identify(int netns_fd, struct rail_netns_id *ret_id, struct rail_error *error);
bool rail_netns_id_equal(const struct rail_netns_id *one, const struct rail_netns_id *other);

/*
 * Opens the path only where it still names exactly that netns: -ENOENT where the path is gone,
 * -ESTALE where it names something else (another netns, the host's, a file). No error is set for
 * these two.
 */
int rail_netns_reopen(const char *path, const struct rail_netns_id *expected, int *ret_fd);

/*
 * Runs function inside the netns and comes back. A process that cannot come back must not go on: it
 * aborts (for lack of memory only after a second of attempts). Returns what function returned.
 */
int rail_netns_run(int netns_fd, int (*function)(void *context, struct rail_error *error),
		   void *context, struct rail_error *error);
