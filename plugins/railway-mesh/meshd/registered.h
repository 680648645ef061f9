#pragma once

#include "plugins/railway-mesh/meshd/meshd.h"

/*
 * The environments of this node's registry: when it joins, the cluster is told of those that it
 * does not know, and those that it knows under another /48 are given up where no pod is in them.
 * Else the first pod of one would start in a /48 of its own.
 */

struct meshd_registered;

int meshd_registered_new(struct meshd *meshd, struct meshd_registered **ret_registered,
			 struct rail_error *error);
void meshd_registered_free(struct meshd_registered *registered);
/* The node has joined. */
void meshd_registered_compare(struct meshd_registered *registered);
