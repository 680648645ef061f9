#pragma once

#include <stddef.h>

/*
 * For tests of what happens around a process, which only a build for tests (make VARIANT=pauses)
 * has.
 *
 * rail_pause: a moment at which a test can stop a process, to do something else meanwhile or to
 * kill it there. A process whose variable RAIL_PAUSE is "<moment> <directory>" stops at that
 * moment: it opens the FIFO <directory>/reached for writing, then waits until somebody has written
 * to the FIFO <directory>/go.
 *
 * rail_crash: bytes that a process cannot stand, in place of a fault that nobody knows yet. Those
 * with "rail-crash-abort" or "rail-crash-segv" in them end it, "rail-crash-hang" stops it for ever.
 */
#ifdef RAIL_PAUSES
void rail_pause(const char *moment);
void rail_crash(const void *bytes, size_t size);
#else
static inline void rail_pause(const char *moment)
{
	(void)moment;
}

static inline void rail_crash(const void *bytes, size_t size)
{
	(void)bytes;
	(void)size;
}
#endif
