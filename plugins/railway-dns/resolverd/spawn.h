#pragma once

#include <sys/types.h>

#include "pkg/base/error.h"

/*
 * Starts the worker: this program again, with an address space of its own, as user and group uid,
 * without anything that rail_sandbox_before_exec takes from it. The channel to it is non-blocking
 * and the caller's; so is the child, to be waited for.
 */
int rail_worker_spawn(uid_t uid, int metrics, pid_t *ret_pid, int *ret_channel,
		      struct rail_error *error);

/* Executes the program with --take-over and these arguments, ended by NULL; nobody waits for it. */
int rail_successor_spawn(const char *program, char *const *arguments, struct rail_error *error);
