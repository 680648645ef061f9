#pragma once

#include <sys/types.h>

#include "pkg/base/loop.h"

/*
 * The supervisor's end of the query log. The worker notes its answers in a ring of shared memory
 * (pkg/dns/query_ring.h), and a process of its own, the writer, takes them from there: so neither
 * supervisor nor worker ever waits for the file, and the supervisor reads nothing that the worker
 * has written. The writer is started again when it dies.
 */

struct rail_query_log;

/* path: of a file, which is made where it is not there (0600), or of a FIFO. Fails where it cannot
 * be opened. The writer is of this user. */
int rail_query_log_new(struct rail_loop *loop, const char *path, uid_t uid,
		       struct rail_query_log **ret_log, struct rail_error *error);
/* Has everything written that can be within a second. */
void rail_query_log_free(struct rail_query_log *log); /* NULL-safe */

/* The descriptor of the ring, for every worker; borrowed. Negative where log is NULL. */
int rail_query_log_ring(const struct rail_query_log *log);
/* Opens the path anew, for what comes from now on. Nothing where log is NULL. */
void rail_query_log_reopen(struct rail_query_log *log);
