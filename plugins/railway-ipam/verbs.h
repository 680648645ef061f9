#pragma once

#include "pkg/cni/plugin.h"

/* railway-ipam's side of each CNI command; contracts are those of struct rail_cni_plugin. */
int ipam_add(const struct rail_cni_call *call, struct rail_json **ret_result,
	     struct rail_error *error);
void ipam_undo_add(const struct rail_cni_call *call);
int ipam_del(const struct rail_cni_call *call, struct rail_error *error);
int ipam_check(const struct rail_cni_call *call, struct rail_error *error);
int ipam_gc(const struct rail_cni_call *call, struct rail_error *error);
int ipam_status(const struct rail_cni_call *call, struct rail_error *error);
