#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "pkg/base/error.h"

/* Monotonic time (CLOCK_MONOTONIC) in milliseconds. */
int64_t rail_monotonic_ms(void);
/* The time of day (CLOCK_REALTIME) in microseconds since 1970. */
int64_t rail_wall_clock_us(void);

/*
 * Waits until a descriptor is ready for events (poll(2)), or until the monotonic time deadline_ms.
 * 1 where it is ready, 0 where the time is up, else a negative errno value.
 */
int rail_wait_ready(int fd, short events, int64_t deadline_ms);

/* Bytes from the kernel's random source (getrandom(2)); blocks only before the kernel's pool is
 * ready. */
int rail_random(void *target, size_t size, struct rail_error *error);

/*
 * Reads a descriptor to its end. Fails with EFBIG beyond maximum. *ret_text has a NUL behind its
 * *ret_size bytes and is for free().
 */
int rail_read_all(int fd, size_t maximum, char **ret_text, size_t *ret_size,
		  struct rail_error *error);
int rail_read_file(const char *path, size_t maximum, char **ret_text, size_t *ret_size,
		   struct rail_error *error);

/* mkdir -p with mode 0700 for what is made. Fails where a component is there and no directory. */
int rail_make_directories(const char *path, struct rail_error *error);

/*
 * Takes an exclusive open-file-description lock (fcntl(2), F_OFD_SETLK) on a whole file, waiting
 * deadline_ms at most; then fails with ETIMEDOUT and code 11. The lock goes with the descriptor.
 */
int rail_lock_file(int fd, int deadline_ms, const char *what, struct rail_error *error);
