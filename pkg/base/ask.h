#pragma once

#include <stddef.h>
#include <stdint.h>

#include "pkg/base/error.h"

/*
 * How a plugin speaks with a daemon of its node: a Unix socket (SOCK_SEQPACKET), one request and
 * one reply a connection. Both ends see each other's credentials: only root may ask, and only root
 * is believed. server.h is the daemon's end; what a request says is the daemon's own business.
 */

enum { RAIL_ASK_MESSAGE_SIZE = 2048 }; /* of a request and of a reply, at most */

/* Whom to ask. All of it is borrowed. */
struct rail_ask_target {
	const char *daemon; /* "railway-resolverd" */
	const char *whose;  /* "the resolver's": its socket is */
	const char *key;    /* of the configuration, that has the socket's path */
	const char *path;
	uint8_t version; /* of the protocol */
	int limit_ms;	 /* until the reply is there; where the daemon takes no connection a little
			    more */
};

/*
 * Connects and sends; the reply is to be read from *ret_fd. descriptor goes with it; negative:
 * none. Where nobody serves the socket: ECONNREFUSED, code 11, and a message that names it and
 * says to start the daemon. A socket whose owner is not root (or the caller) is refused with EPERM.
 */
int rail_ask_begin(const struct rail_ask_target *target, const uint8_t *request, size_t size,
		   int descriptor, int *ret_fd, struct rail_error *error);
/* The same, and waits for the reply: 0, or the error that the daemon answers. */
int rail_ask(const struct rail_ask_target *target, const uint8_t *request, size_t size,
	     int descriptor, struct rail_error *error);

/* A reply's wire format: version, errno value, code, message; errno value 0 says that it is done.
 * Return the size, or -EBADMSG / -EMSGSIZE; decoding -EPROTO for another version. */
int rail_reply_encode(uint8_t version, const struct rail_error *outcome, uint8_t *message,
		      size_t capacity);
int rail_reply_decode(uint8_t version, const uint8_t *message, size_t size,
		      struct rail_error *ret_outcome);
