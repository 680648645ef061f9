#pragma once

#include "pkg/dns/forward.h"

/* resolv.conf(5): the nameservers of a node. */

/*
 * The text's "nameserver" lines, in their order, at most RAIL_UPSTREAM_MAXIMUM, with port 53. Lines
 * whose address has a scope ("fe80::1%eth0") or is none are left out. Returns their number.
 */
size_t rail_nameservers_parse(const char *text,
			      struct rail_endpoint nameservers[static RAIL_UPSTREAM_MAXIMUM]);
