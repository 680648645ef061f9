#pragma once

#include "pkg/cni/plugin.h"

/* railway-mesh's side of each CNI command; contracts are those of struct rail_cni_plugin. */
int mesh_add(const struct rail_cni_call *call, struct rail_json **ret_result,
	     struct rail_error *error);
void mesh_undo_add(const struct rail_cni_call *call);
int mesh_del(const struct rail_cni_call *call, struct rail_error *error);
int mesh_check(const struct rail_cni_call *call, struct rail_error *error);
int mesh_gc(const struct rail_cni_call *call, struct rail_error *error);
int mesh_status(const struct rail_cni_call *call, struct rail_error *error);
