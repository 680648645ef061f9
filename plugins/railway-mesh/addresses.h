#pragma once

#include "pkg/attachment/operation.h"

/*
 * Where a pod's address comes from: the plugin that the ipam section names, executed with the whole
 * configuration, or an earlier one of the chain. Either way railway-ipam has noted its lease in the
 * attachment, which is read anew.
 */
int mesh_get_address(struct rail_operation *operation, struct rail_attachment *attachment,
		     struct rail_error *error);

/* Whether railway-mesh does the part of the ipam section's plugin itself, because that is the
 * railway-ipam it was installed with: that spares each pod a process. */
bool mesh_is_ipam_too(const struct rail_cni_call *call);

/* Executes the ipam section's plugin for another command; success where there is no such section.
 */
int mesh_delegate(const struct rail_cni_call *call, enum rail_cni_command command,
		  struct rail_error *error);
