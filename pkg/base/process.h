#pragma once

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

#include "pkg/base/error.h"

/* A process beyond its number, which is reused: number and start time (proc(5), stat, field 22, in
 * clock ticks since boot). pid 0: none. */
struct rail_process {
	int32_t pid;
	uint64_t start_time;
};

/* ESRCH where there is no such process. */
int rail_process_identify(pid_t pid, struct rail_process *ret_process, struct rail_error *error);
int rail_process_self(struct rail_process *ret_process, struct rail_error *error);
/* Whether exactly this process still runs (a zombie does not). Where that cannot be told, for want
 * of a descriptor or of memory, it does: whoever takes it for dead undoes its work under its hands.
 */
bool rail_process_alive(const struct rail_process *process);
/*
 * Ends exactly this process: SIGTERM, and SIGKILL where it is still there after grace_ms; waits
 * until it is gone (pidfd). Succeeds where it is gone already.
 */
int rail_process_end(const struct rail_process *process, int grace_ms, struct rail_error *error);
