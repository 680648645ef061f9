#pragma once

/*
 * Moments at which a test can stop a process, to do something else meanwhile or to kill it there.
 * Only a build for tests (make VARIANT=pauses) has them. A process whose variable RAIL_PAUSE is
 * "<moment> <directory>" stops at that moment: it opens the FIFO <directory>/reached for writing,
 * then waits until somebody has written to the FIFO <directory>/go.
 */
#ifdef RAIL_PAUSES
void rail_pause(const char *moment);
#else
static inline void rail_pause(const char *moment)
{
	(void)moment;
}
#endif
