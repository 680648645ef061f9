#pragma once

#include <stddef.h>

#include "pkg/base/error.h"

/*
 * Memory that two processes share by a descriptor (memfd_create(2)). Neither can change its size,
 * so no access of the other ends in SIGBUS. What stands in it is the other one's word.
 */

/* Zeroed. *ret_fd, for the other process, is the caller's; so is the mapping. name: for /proc. */
int rail_shared_create(const char *name, size_t size, int *ret_fd, void **ret_memory,
		       struct rail_error *error);
/* In the other process. fd is borrowed, and needed no more. */
int rail_shared_map(int fd, size_t size, void **ret_memory, struct rail_error *error);
void rail_shared_unmap(void *memory, size_t size); /* NULL-safe */
