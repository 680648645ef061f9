#pragma once

#include "pkg/base/error.h"

/* What a daemon does besides its work. */

/* A closed standard file would become some socket of ours, and take what is meant for the log. 0,
 * or a negative errno value. */
int rail_open_standard_files(void);

/* Writes a newline to the descriptor that somebody waits at, and closes it; nothing where it is
 * negative. */
void rail_tell_ready(int fd);

/* Makes the directory that a socket is to be in. */
int rail_make_socket_directory(const char *socket_path, struct rail_error *error);
