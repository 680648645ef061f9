#pragma once

#include "pkg/attachment/operation.h"

/*
 * What the resolver serves a pod with: the capability dns (a cluster's DNS) wins over the
 * configuration's upstreams, these over the nameservers of an earlier plugin's result; with none of
 * them the node's own nameservers are asked. Whether the pod's
 * queries to any nameserver are brought to the resolver (key intercept), and so its port.
 */
int dns_resolver_settings(const struct rail_operation *operation,
			  struct rail_resolver_settings *ret_settings, struct rail_error *error);

/* Puts the "dns" of the result: exactly one nameserver, unless the configuration wants fallbacks
 * and the pod takes them; the search domains before those of earlier plugins, whose domain and
 * options stay. */
int dns_put_result(const struct rail_operation *operation, struct rail_json *result,
		   struct rail_error *error);
