#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "pkg/wg/device.h"

struct nlmsghdr;
struct rail_request;

/*
 * The messages of the kernel's WireGuard (generic netlink, linux/wireguard.h), without I/O. family:
 * the number that the kernel has given the family "wireguard"; index: of the link.
 */

enum {
	/* What a device can have (MAX_PEERS_PER_DEVICE of the kernel), and a bound for what it
	 * cannot be kept from having. */
	RAIL_KERNEL_PEERS_MAXIMUM = 1 << 20,
	RAIL_KERNEL_ALLOWED_IPS_MAXIMUM = 1 << 22,
};

/* Asks for the whole device, as a dump. The name is a link's: at most IFNAMSIZ - 1 long. */
void rail_kernel_encode_get(uint16_t family, const char *name, struct rail_request *ret_request);

/*
 * Sets the private key (NULL: left as it is) and the listen port (0: left as it is, which is any
 * for a new device). The request holds the key: wipe it.
 */
void rail_kernel_encode_configure(uint16_t family, int index, const struct rail_key *private_key,
				  uint16_t listen_port, struct rail_request *ret_request);

/* Takes all peers off the device. */
void rail_kernel_encode_clear(uint16_t family, int index, struct rail_request *ret_request);

/* How far the encoding of changes has got. Starts as {0}. */
struct rail_kernel_position {
	size_t change;
	size_t allowed_ip; /* of that change */
};

/*
 * Encodes as many changes as fit the next request and moves the position behind them. A change with
 * many AllowedIPs goes on in the next request, without replacing again. Returns 1 with a request, 0
 * where nothing is left, -EINVAL for an endpoint or AllowedIP of an unknown family.
 */
int rail_kernel_encode_changes(uint16_t family, int index, const struct rail_changes *changes,
			       struct rail_kernel_position *position,
			       struct rail_request *ret_request);

/* A device as the messages of a dump have told it so far. Starts as {0}; the device is freed with
 * rail_device_done, also after a failure. */
struct rail_kernel_dump {
	struct rail_device device;
	int index;		 /* of the link */
	size_t allowed_ip_count; /* of all peers */
	bool head_only;		 /* peers are skipped */
	bool has_peers;
	bool has_head; /* what is the device's own has come: it stands in the first message */
};

/*
 * The next message of a dump. A peer whose AllowedIPs go on in this message is the last one of
 * those before. The public key stays zero where the device has no private key. Unknown attributes
 * are skipped; EPROTO for malformed ones, EMSGSIZE above the bounds.
 */
int rail_kernel_decode(const struct nlmsghdr *message, struct rail_kernel_dump *dump,
		       struct rail_error *error);
