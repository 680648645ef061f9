#pragma once

#include <limits.h>

#include "pkg/base/error.h"

/* The directory of one store: made, or checked, before LMDB opens what is in it. */

/*
 * Makes <parent>/<name> (and the parent), both 0700, where they are missing. Refuses, with code 5
 * and a message that says what to do: a parent, directory or file in it that is a symbolic link, is
 * not the effective user's, or that anyone else could write to; a read-only file system; a path
 * that is too long. ret_lock_fd: the file that writers lock, open (for close()); its path is not to
 * be opened again, and the others of the directory only by LMDB.
 */
int rail_store_directory_open(const char *parent, const char *name, char ret_path[PATH_MAX],
			      int *ret_lock_fd, struct rail_error *error);

/* The same for one that is there, without making it: 1; 0 where it is not there, or nothing was
 * ever written in it. ret_path is given in both cases. */
int rail_store_directory_find(const char *parent, const char *name, char ret_path[PATH_MAX],
			      int *ret_lock_fd, struct rail_error *error);
