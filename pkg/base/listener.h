#pragma once

#include <sys/un.h>

#include "pkg/base/error.h"

/*
 * The place in the file system of a daemon's socket (SOCK_SEQPACKET): only root may use it (0600),
 * and one daemon serves it.
 */

struct rail_listener {
	char path[sizeof(((struct sockaddr_un *)NULL)->sun_path)];
	int socket; /* negative: closed */
	int lock;   /* <path>.lock, held for as long as the socket is */
};

#define RAIL_LISTENER_CLOSED                                                                       \
	(struct rail_listener)                                                                     \
	{                                                                                          \
		.socket = -1, .lock = -1                                                           \
	}

/*
 * Listens at the path, non-blocking. A socket that a dead daemon left there is replaced; where one
 * serves it, EADDRINUSE. The lock keeps two apart that start at once. key: of the configuration,
 * for messages.
 */
int rail_listener_open(const char *path, const char *key, struct rail_listener *ret_listener,
		       struct rail_error *error);
/* Closes both and leaves the socket in its place: it is another daemon's. */
void rail_listener_release(struct rail_listener *listener);
/* Takes the socket away. */
void rail_listener_close(struct rail_listener *listener);
