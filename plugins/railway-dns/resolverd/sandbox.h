#pragma once

#include <sys/types.h>

#include "pkg/base/error.h"

/* What the two processes may do. */

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
 * The worker's user and group where none is chosen. No distribution gives out 60706 to 61183, and
 * systemd's dynamic users begin above it. It needs no entry in /etc/passwd: it owns nothing.
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

/*
 * In the new process, before it becomes the worker by execve(2): takes everything from it but its
 * standard error, the channel and the memory of the metrics, which become descriptors
 * RAIL_WORKER_CHANNEL and RAIL_WORKER_METRICS. parent: whose death is the worker's.
 */
enum { RAIL_WORKER_CHANNEL = 3, RAIL_WORKER_METRICS = 4 };

int rail_sandbox_before_exec(int channel, int metrics, uid_t uid, pid_t parent,
			     struct rail_error *error);

/* In the worker, before it reads anything: checks that nothing was left to it, and keeps other
 * processes of its user out of its memory. */
int rail_sandbox_check(struct rail_error *error);

/*
 * In the worker: no file and no TCP port of its own, and no signal to others, whatever the filter
 * lets through, where the kernel has Landlock (*ret_version, of its interface; 0: it has none).
 */
int rail_sandbox_landlock(int *ret_version, struct rail_error *error);

/* In the worker: only the system calls that it needs from here on (filter.c). */
int rail_sandbox_filter(struct rail_error *error);
