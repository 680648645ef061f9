#pragma once

/*
 * Scope-bound ownership: a local that owns something is declared with one of these, initialised at
 * once, and handed on only with RAIL_TAKE_POINTER or RAIL_TAKE_FD.
 */

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#define RAIL_CLEANUP(function) __attribute__((cleanup(function)))

static inline void rail_cleanup_free(void *pointer)
{
	free(*(void **)pointer);
}

/* Closes a descriptor and keeps errno as it was. Negative values are nobody's. */
static inline void rail_cleanup_close(const int *fd)
{
	if (*fd >= 0) {
		int saved = errno;

		(void)close(*fd);
		errno = saved;
	}
}

static inline void rail_cleanup_fclose(FILE **stream)
{
	if (*stream != NULL)
		(void)fclose(*stream);
}

#define RAIL_FREE RAIL_CLEANUP(rail_cleanup_free)
#define RAIL_CLOSE RAIL_CLEANUP(rail_cleanup_close)
#define RAIL_FCLOSE RAIL_CLEANUP(rail_cleanup_fclose)

#define RAIL_TAKE_POINTER(pointer)                                                                 \
	({                                                                                         \
		__typeof__(pointer) taken_ = (pointer);                                            \
		(pointer) = NULL;                                                                  \
		taken_;                                                                            \
	})

#define RAIL_TAKE_FD(fd)                                                                           \
	({                                                                                         \
		int taken_ = (fd);                                                                 \
		(fd) = -EBADF;                                                                     \
		taken_;                                                                            \
	})
