#pragma once

#include "pkg/cni/plugin.h"

/* railway-dns's side of each CNI command; contracts are those of struct rail_cni_plugin. */
int dns_add(const struct rail_cni_call *call, struct rail_json **ret_result,
	    struct rail_error *error);
void dns_undo_add(const struct rail_cni_call *call);
int dns_del(const struct rail_cni_call *call, struct rail_error *error);
int dns_check(const struct rail_cni_call *call, struct rail_error *error);
int dns_gc(const struct rail_cni_call *call, struct rail_error *error);
int dns_status(const struct rail_cni_call *call, struct rail_error *error);
