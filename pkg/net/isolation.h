#pragma once

#include "pkg/ipam/address.h"
#include "pkg/net/netlink.h"

/*
 * What makes a pod fail closed, by routing rules in its netns alone: traffic for the environment's
 * /48 leaves by the mesh interface or not at all, and nobody on another interface's wire reaches
 * the pod's private address or the resolver's, nor passes itself off as a member or as the
 * resolver. The rules, in this order, in place of the default's first one (ip-rule(8)):
 *
 *     iif lo lookup local
 *     iif <mesh> lookup local
 *     iif lo to <the /48> lookup RAIL_MESH_TABLE
 *     to <the /48> prohibit
 *     to fd12::10 prohibit
 *     from <the /48> prohibit
 *     from fd12::10 prohibit
 *     lookup local
 */

enum {
	RAIL_MESH_TABLE = 21057,
	/* Of the eight rules. The kernel asks the lowest priority first; nothing else may have one
	 * of these or a lower one. */
	RAIL_ISOLATION_PRIORITY_FIRST = 1,
	RAIL_ISOLATION_PRIORITY_LAST = 8,
};

struct rail_isolation {
	const char *interface; /* the mesh interface's name */
	int interface_index;
	struct rail_prefix prefix; /* the environment's /48 */
	/* The pod's own, the source of what it sends into the /48; the interface has it already. */
	struct in6_addr address;
};

/* Whether rules of this kind are there already, or a part of them, for whichever interface. */
int rail_isolation_is_there(struct rail_netlink *netlink, bool *ret_there,
			    struct rail_error *error);
/*
 * Sets rules and the mesh table's route. The closed rules stand before the default's first rule
 * goes. What is there already is left. On failure the caller undoes with rail_isolation_remove.
 */
int rail_isolation_apply(struct rail_netlink *netlink, const struct rail_isolation *isolation,
			 struct rail_error *error);
/* Gives the netns its default rule back and takes ours away; attempts everything; succeeds where
 * nothing is there. interface_index may be 0. */
int rail_isolation_remove(struct rail_netlink *netlink, const struct rail_isolation *isolation,
			  struct rail_error *error);
/* Fails with code 102, naming the first rule or route that is missing, or out of its place. */
int rail_isolation_check(struct rail_netlink *netlink, const struct rail_isolation *isolation,
			 struct rail_error *error);
