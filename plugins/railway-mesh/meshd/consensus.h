#pragma once

#include "pkg/cluster/request.h"
#include "plugins/railway-mesh/meshd/meshd.h"

/* What nodes must agree on, by compare-and-create: an environment's /48, a service's number, a
 * requested address. */

struct meshd_consensus;

/*
 * Begins ENSURE or CLAIM. done is called once, from the loop; errnum 0: agreed, and (ENSURE) in the
 * registry. ENSURE without a service: the environment alone. Copies the request.
 */
int meshd_consensus_begin(struct meshd *meshd, const struct rail_mesh_request *request,
			  void (*done)(void *context, const struct rail_error *outcome),
			  void *context, struct meshd_consensus **ret_consensus,
			  struct rail_error *error);
/* Without calling back; sets the pointer to NULL. */
void meshd_consensus_cancel(struct meshd_consensus **consensus);
