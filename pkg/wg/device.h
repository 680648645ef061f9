#pragma once

#include <net/if.h>
#include <netinet/in.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "pkg/base/error.h"

/*
 * The model of a WireGuard device, as both the kernel (linux/wireguard.h) and a userspace
 * implementation (the cross-platform UAPI) know it. It says nothing of how a device is reached.
 */

enum {
	RAIL_KEY_SIZE = 32,
	RAIL_KEY_TEXT_SIZE = 45, /* base64 and NUL */
};

struct rail_key {
	uint8_t bytes[RAIL_KEY_SIZE];
};

/* Where a peer is sent to. family 0: unknown. The port is in host order. */
struct rail_endpoint {
	uint16_t family; /* 0, AF_INET or AF_INET6 */
	uint16_t port;
	union {
		struct in_addr v4;
		struct in6_addr v6;
	} address;
};

enum { RAIL_ENDPOINT_TEXT_SIZE = INET6_ADDRSTRLEN + 8 };

/* "192.0.2.1:51820" or "[2001:db8::1]:51820"; "" where it is unknown. */
void rail_endpoint_format(const struct rail_endpoint *endpoint, char text[RAIL_ENDPOINT_TEXT_SIZE]);

/* One entry of a peer's AllowedIPs (IPv6 or IPv4). */
struct rail_allowed_ip {
	uint16_t family;
	uint8_t length; /* prefix length in bits */
	union {
		struct in_addr v4;
		struct in6_addr v6;
	} address;
};

struct rail_peer {
	struct rail_key public_key;
	struct rail_endpoint endpoint;
	uint16_t keepalive_s;		     /* 0: off */
	struct rail_allowed_ip *allowed_ips; /* owned by the device or the change list */
	size_t allowed_ip_count;

	/* Only when a device was read: */
	int64_t last_handshake_s; /* time of the last handshake (CLOCK_REALTIME); 0: none yet */
	uint64_t received_bytes;
	uint64_t sent_bytes;
};

struct rail_device {
	struct rail_key public_key;
	uint16_t listen_port;
	struct rail_peer *peers;
	size_t peer_count;
};

void rail_device_done(struct rail_device *device); /* frees what it owns and zeroes it */

/*
 * Adds a peer with one AllowedIP of the address's full length (/128). keeps the array's order.
 * -ENOMEM without touching the device.
 */
int rail_device_add_peer(struct rail_device *device, const struct rail_key *public_key,
			 const struct rail_endpoint *endpoint, const struct in6_addr *address);

/*
 * What turns one state of a device's peers into another. Applied in the order of the array:
 * removals come first, so that an AllowedIP can move from one peer to another.
 */
enum rail_peer_change_kind {
	RAIL_PEER_REMOVE,
	RAIL_PEER_ADD,	  /* everything of the peer is set */
	RAIL_PEER_UPDATE, /* only what the flags below say is set */
};

struct rail_peer_change {
	enum rail_peer_change_kind kind;
	struct rail_key public_key;
	bool set_endpoint;
	struct rail_endpoint endpoint;
	bool set_keepalive;
	uint16_t keepalive_s;
	/* AllowedIPs to add; with replace_allowed_ips they become the whole set. A live peer's set
	 * is only replaced where something must go from it. Borrowed from the wanted device. */
	bool replace_allowed_ips;
	const struct rail_allowed_ip *allowed_ips;
	size_t allowed_ip_count;
};

struct rail_changes {
	struct rail_peer_change *changes;
	size_t count;
};

void rail_changes_done(struct rail_changes *changes);

/*
 * The pure difference: what must be done to a device that has the peers of have so that it has
 * those of want. Nothing is listed for what is equal already, so a live session is not touched. The
 * endpoint of a peer that exists is changed only where want knows one, and it differs, and the
 * peer's last handshake is older than 180 seconds at now_s (WireGuard's REJECT_AFTER_TIME): a fresh
 * endpoint is never rewritten. want must not name a key or an AllowedIP twice (-EINVAL). The lists
 * in ret_changes are borrowed from want. O(n log n).
 */
int rail_device_difference(const struct rail_device *have, const struct rail_device *want,
			   int64_t now_s, struct rail_changes *ret_changes,
			   struct rail_error *error);
