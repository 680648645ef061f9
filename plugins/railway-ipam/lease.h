#pragma once

#include "pkg/attachment/operation.h"

/*
 * Gives the attachment its address: the requested one (capability ips, IP in args.cni or CNI_ARGS)
 * where there is one, else the next of its service. The lease and the attachment's record are
 * stored in one transaction.
 */
int ipam_take_lease(struct rail_operation *operation, struct rail_attachment *attachment,
		    struct rail_error *error);
