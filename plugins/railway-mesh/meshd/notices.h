#pragma once

#include "pkg/ipam/address.h"
#include "plugins/railway-mesh/meshd/meshd.h"

/*
 * Tells the node's resolver that members of other nodes, or services, have changed; what they are
 * now it reads in the stores itself. Where it is not there nothing is lost: it reads everything
 * when it starts.
 */

int meshd_notices_new(struct meshd *meshd, struct meshd_notices **ret_notices,
		      struct rail_error *error);
void meshd_notices_free(struct meshd_notices *notices);

/* Of a member, and with it its environment's services. */
void meshd_notices_add(struct meshd_notices *notices, const struct in6_addr *address);
void meshd_notices_add_services(struct meshd_notices *notices, const struct rail_prefix *prefix);
