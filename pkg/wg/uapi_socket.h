#pragma once

#include <net/if.h>

#include "pkg/wg/uapi.h"

/* The Unix sockets of userspace WireGuard implementations, RAIL_UAPI_DIRECTORY/<device>.sock. */

#define RAIL_UAPI_DIRECTORY "/var/run/wireguard"

enum { RAIL_UAPI_PATH_SIZE = sizeof(RAIL_UAPI_DIRECTORY) + 1 + IFNAMSIZ + sizeof(".sock") };

/* EINVAL where device_name is no interface name, so that no other file is ever named. */
int rail_uapi_path(const char *device_name, char path[RAIL_UAPI_PATH_SIZE],
		   struct rail_error *error);

/* Makes the directory (0700, where it is missing) and a listening socket in it, for its owner
 * alone. */
int rail_uapi_listen(const char *device_name, int *ret_fd, struct rail_error *error);

/* Removes the socket's file; succeeds where it is gone. */
int rail_uapi_unlink(const char *device_name, struct rail_error *error);

/* A process that hangs must not hang who asks it: every exchange has this deadline. */
enum { RAIL_UAPI_DEADLINE_MS = 5000 };

struct rail_uapi_connection {
	int fd;
	int64_t end_ms; /* of the exchange that is under way; rail_monotonic_ms() */
};

/* ENODEV where nobody listens. */
int rail_uapi_connect(const char *device_name, struct rail_uapi_connection *ret_connection,
		      struct rail_error *error);
void rail_uapi_disconnect(struct rail_uapi_connection *connection); /* for RAIL_CLEANUP */

/*
 * Sends one request and waits for the whole reply. ETIMEDOUT (code 11) where the process does not
 * answer in time, ENODEV where it went away. *ret_reply may hold the private key: it is given back
 * with rail_uapi_reply_free, which wipes it.
 */
int rail_uapi_exchange(struct rail_uapi_connection *connection, const char *request, size_t size,
		       char **ret_reply, size_t *ret_size, struct rail_error *error);
void rail_uapi_reply_free(char *reply, size_t size);

/* A request that sets, and its outcome. */
int rail_uapi_set(struct rail_uapi_connection *connection, const char *request, size_t size,
		  struct rail_error *error);
/* The whole device; ret_device->public_key is what belongs to its private key, which never leaves
 * this function. ENOKEY where it has none. */
int rail_uapi_get(struct rail_uapi_connection *connection, struct rail_device *ret_device,
		  struct rail_error *error);
