#pragma once

#include "pkg/dns/forward.h"

/* resolv.conf(5): the nameservers of a node. */

/* An address of either family, without a scope, as an endpoint with port 53; false: it is none. */
bool rail_nameserver_parse(const char *text, struct rail_endpoint *ret_endpoint);

/*
 * The text's "nameserver" lines, in their order, at most RAIL_UPSTREAM_MAXIMUM, with port 53. Lines
 * whose address has a scope ("fe80::1%eth0") or is none are left out. Returns their number.
 */
size_t rail_nameservers_parse(const char *text,
			      struct rail_endpoint nameservers[static RAIL_UPSTREAM_MAXIMUM]);
