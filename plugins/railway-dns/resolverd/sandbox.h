#pragma once

#include <stdbool.h>
#include <sys/types.h>

#include "pkg/base/error.h"

/* What the processes may do. */

#if defined(__SANITIZE_ADDRESS__)
#define RAIL_WITH_SANITIZER 1
#elif defined(__has_feature)
#if __has_feature(address_sanitizer)
#define RAIL_WITH_SANITIZER 1
#endif
#endif
#ifndef RAIL_WITH_SANITIZER
#define RAIL_WITH_SANITIZER 0
#endif

/*
 * The user and group of worker and query log's writer where none is chosen. No distribution gives
 * out 60706 to 61183, and systemd's dynamic users begin above it. It needs no entry in /etc/passwd:
 * it owns nothing.
 */
enum { RAIL_WORKER_UID = 61053 };

/*
 * The supervisor's share of root's rights, for good: entering a netns and opening a low port there
 * (SYS_ADMIN, NET_BIND_SERVICE) with a filter and a queue of its size (NET_ADMIN; for the filter
 * of a TCP socket newer kernels ask for it, 6.18.44 for one), finding the netns below
 * /proc/<pid>/ns (SYS_PTRACE), and starting and ending the worker (SETUID, SETGID, SETPCAP, KILL).
 * Raises the limit of open files to what is allowed.
 */
int rail_sandbox_supervisor(struct rail_error *error);

/* The descriptors that a child begins with, behind the standard ones. */
enum {
	RAIL_CHILD_CHANNEL = 3,
	RAIL_WORKER_METRICS = 4, /* the memory of the metrics */
	RAIL_WORKER_QUERIES = 5, /* of the query log; only where there is one */
	RAIL_WRITER_QUERIES = 4,
	RAIL_WRITER_FILE = 5,
	RAIL_CHILD_DESCRIPTORS_MAXIMUM = 3,
};

/*
 * In the new process, before it becomes the worker, or the query log's writer, by execve(2): takes
 * all files from it but its standard error and the given descriptors, which become 3, 4, ...
 * (negative ones end the list).
 */
int rail_sandbox_descriptors(const int descriptors[RAIL_CHILD_DESCRIPTORS_MAXIMUM],
			     struct rail_error *error);
/* After that: takes all rights from it. writes: may write to files that are open. */
int rail_sandbox_before_exec(uid_t uid, bool writes, struct rail_error *error);
/* After that: the death of the parent is this process's. */
int rail_sandbox_tie(pid_t parent, struct rail_error *error);

/* In the child, before it reads anything: checks that nothing was left to it, and keeps other
 * processes of its user out of its memory. */
int rail_sandbox_check(struct rail_error *error);

/*
 * In the child: no file and no TCP port of its own, and no signal to others, whatever the filter
 * lets through, where the kernel has Landlock (*ret_version, of its interface; 0: it has none).
 */
int rail_sandbox_landlock(int *ret_version, struct rail_error *error);

/* In the worker, and in the query log's writer: only the system calls that it needs from here on
 * (filter.c). */
int rail_sandbox_filter(struct rail_error *error);
int rail_sandbox_filter_writer(struct rail_error *error);
