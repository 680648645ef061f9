#pragma once

#include "pkg/base/loop.h"

/* What a daemon does besides its work. */

/* A closed standard file would become some socket of ours, and take what is meant for the log. 0,
 * or a negative errno value. */
int rail_open_standard_files(void);

/* Writes a newline to the descriptor that somebody waits at, and closes it; nothing where it is
 * negative. */
void rail_tell_ready(int fd);

/*
 * The signals that a daemon is told by: blocked, and read in its loop, each with its number. Those
 * end with 0. Dispositions, which outlive execve(2), are set so that a child's end can be waited
 * for, and that a log whose reader is gone is no reason to end.
 */
struct rail_signals;
int rail_signals_take(struct rail_loop *loop, const int *numbers,
		      void (*callback)(void *context, int number), void *context,
		      struct rail_signals **ret_signals, struct rail_error *error);
void rail_signals_free(struct rail_signals *signals);

/* Makes the directory that a socket is to be in. */
int rail_make_socket_directory(const char *socket_path, struct rail_error *error);
