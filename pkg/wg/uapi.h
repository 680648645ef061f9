#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "pkg/wg/device.h"

/*
 * The text protocol of userspace WireGuard implementations ("Cross-platform Userspace
 * Implementation", wireguard.com/xplatform): requests and replies as buffers, without I/O.
 */

enum {
	/* No reply is longer: room for some 80,000 peers. */
	RAIL_UAPI_REPLY_MAXIMUM = 32 * 1024 * 1024,
	/* A change without its AllowedIPs always fits, and so does rail_uapi_encode_configure. */
	RAIL_UAPI_REQUEST_MINIMUM = 512,
};

extern const char rail_uapi_get_request[]; /* asks for the whole device */

/*
 * Sets the private key (NULL: left as it is) and the listen port (0: left). Returns the size, or
 * -EMSGSIZE. The buffer holds the key: wipe it.
 */
int rail_uapi_encode_configure(const struct rail_key *private_key, uint16_t listen_port,
			       char *buffer, size_t capacity);

/* How far the encoding of changes has got. Starts as {0}. */
struct rail_uapi_position {
	size_t change;
	size_t allowed_ip; /* of that change */
};

/*
 * Encodes the next request that fits capacity (at least RAIL_UAPI_REQUEST_MINIMUM) and moves the
 * position behind it. A change with many AllowedIPs continues in the next request, without
 * replacing again. Returns the request's size; 0 where nothing is left; -EMSGSIZE where capacity is
 * below the minimum; -EINVAL for an endpoint or AllowedIP of an unknown family.
 */
int rail_uapi_encode_changes(const struct rail_changes *changes,
			     struct rail_uapi_position *position, char *buffer, size_t capacity);

/* Whether a reply is whole: the empty line that ends it has come. */
bool rail_uapi_reply_complete(const char *reply, size_t size);

/*
 * The outcome of a request that sets: 0, or the negative errno value that the implementation gives.
 * EPROTO for what is no such reply.
 */
int rail_uapi_parse_set_reply(const char *reply, size_t size, struct rail_error *error);

/*
 * The reply to rail_uapi_get_request. ret_device->public_key is left zero: the protocol tells the
 * private key instead (all zero where the device has none), which the caller wipes. Keys that are
 * unknown here are skipped; a known one with an invalid value, or out of its place, fails with
 * EPROTO.
 */
int rail_uapi_parse_get_reply(const char *reply, size_t size, struct rail_device *ret_device,
			      struct rail_key *ret_private_key, struct rail_error *error);
