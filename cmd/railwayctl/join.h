#pragma once

#include "pkg/store/live.h"
#include "pkg/wg/device.h"

/* A pod's peers beside the members of its environment, without I/O. */

enum join_state {
	JOIN_RIGHT,
	JOIN_MISSING, /* a member without a peer */
	JOIN_UNKNOWN, /* a peer without a member */
	JOIN_CHANGED, /* a member's peer with other AllowedIPs than its address */
	JOIN_STATES,
};

struct join_row {
	enum join_state state;
	const struct rail_member *member; /* NULL: unknown */
	const struct rail_peer *peer;	  /* NULL: missing */
};

/*
 * A row for each member but self, in their order, then one for each peer that belongs to none.
 * Borrowed from device and members; the rows are for free(). -ENOMEM.
 */
int join_peers(const struct rail_device *device, const struct rail_member *members, size_t count,
	       const struct in6_addr *self, struct join_row **ret_rows, size_t *ret_count);

/* The word that is shown: "ok", "missing", "unknown", "changed". */
const char *join_state_name(enum join_state state);
