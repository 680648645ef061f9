#pragma once

#include "pkg/attachment/operation.h"

/* What an operation asks of the node's railway-meshd, where the node is in a cluster. */

bool rail_operation_is_clustered(const struct rail_operation *operation);

/*
 * Environment and service by consensus; when it succeeds the registry has both. Fails with code 11
 * where the cluster cannot be asked: what is new on this node cannot be made then.
 */
int rail_cluster_ensure(const struct rail_operation *operation,
			const struct rail_identity *identity, struct rail_error *error);

/* A requested address for this node. EADDRINUSE, code 7, where another node has it. */
int rail_cluster_claim(const struct rail_operation *operation, const struct in6_addr *address,
		       struct rail_error *error);

/*
 * Has a member's record, as the live store has it now, published. That it cannot be is no failure:
 * the pod works on its node, meshd publishes it when it can, and standard error says so.
 */
void rail_cluster_publish(const struct rail_operation *operation, const struct in6_addr *address);

/* Has it taken away, or leaves that to meshd. */
void rail_cluster_withdraw(const struct rail_operation *operation, const struct in6_addr *address);

/* Fails with code 51 where pods that are new now would not be known to other nodes. */
int rail_cluster_status(const struct rail_operation *operation, struct rail_error *error);
