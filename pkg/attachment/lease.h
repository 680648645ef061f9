#pragma once

#include "pkg/attachment/operation.h"

/*
 * Gives the attachment its address: the requested one (capability ips, IP in args.cni or CNI_ARGS)
 * where there is one, else the next of its service. The lease and the attachment's record are
 * stored in one transaction.
 */
int rail_attachment_take_lease(struct rail_operation *operation, struct rail_attachment *attachment,
			       struct rail_error *error);

/*
 * The same by railway-mesh, for the railway-ipam that its ipam section names: the section's keys
 * are checked as that one would.
 */
int rail_attachment_lease_for_ipam(struct rail_operation *operation,
				   struct rail_attachment *attachment, struct rail_error *error);
