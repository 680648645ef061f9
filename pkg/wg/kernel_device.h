#pragma once

#include <net/if.h>

#include "pkg/net/netlink.h"
#include "pkg/wg/device.h"

/*
 * A device of the kernel's WireGuard, reached by its name from a netns, over generic netlink
 * (linux/wireguard.h).
 */
struct rail_kernel_device {
	int netns_fd; /* borrowed; negative: the caller's own */
	char name[IFNAMSIZ];
	int index;		    /* of the link */
	struct rail_key public_key; /* all zero where the device has no private key */
	uint16_t listen_port;
	bool has_peers; /* when it was opened */

	struct rail_netlink *generic; /* where one was needed */
	uint16_t family;
};

#define RAIL_KERNEL_DEVICE_NONE                                                                    \
	(struct rail_kernel_device)                                                                \
	{                                                                                          \
		.netns_fd = -1                                                                     \
	}

/* Whether this machine's kernel has WireGuard; asking loads its module. ENOTSUP, code 50. */
int rail_kernel_available(struct rail_error *error);

/*
 * The device of that name in the netns (negative: the caller's own). ENODEV where there is none,
 * also where a link of another kind has the name. Closed with rail_kernel_device_close.
 */
int rail_kernel_device_open(int netns_fd, const char *name, struct rail_kernel_device *ret_device,
			    struct rail_error *error);
void rail_kernel_device_close(struct rail_kernel_device *device); /* for RAIL_CLEANUP */

/* All of it, with its peers; for rail_device_done. */
int rail_kernel_device_read(struct rail_kernel_device *device, struct rail_device *ret_device,
			    struct rail_error *error);

/* Sets the private key (NULL: left) and the listen port (0: left). */
int rail_kernel_device_configure(struct rail_kernel_device *device,
				 const struct rail_key *private_key, uint16_t listen_port,
				 struct rail_error *error);

/* Applies changes in their order, in as many messages as they need. */
int rail_kernel_device_change(struct rail_kernel_device *device, const struct rail_changes *changes,
			      struct rail_error *error);

/* Takes all peers away, in one message. */
int rail_kernel_device_clear(struct rail_kernel_device *device, struct rail_error *error);
