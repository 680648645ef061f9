#pragma once

#include "pkg/store/live.h"
#include "pkg/store/registry.h"

/*
 * What a node of a cluster keeps in its stores besides: who it is, what the cluster decided, and
 * the lease that its members live under. "Not there" is -ENOENT with an error set.
 */

enum { RAIL_CLUSTER_ID_SIZE = 16 };

/* The node's own identity, random, made when it first joins; in the registry. */
int rail_cluster_id_get(struct rail_transaction *registry, uint8_t ret_id[RAIL_CLUSTER_ID_SIZE],
			struct rail_error *error);
int rail_cluster_id_set(struct rail_transaction *registry, const uint8_t id[RAIL_CLUSTER_ID_SIZE],
			struct rail_error *error);

/* etcd's number of the node's lease, for a meshd that starts anew; in the live store. */
int rail_cluster_lease_get(struct rail_transaction *live, int64_t *ret_lease,
			   struct rail_error *error);
int rail_cluster_lease_set(struct rail_transaction *live, int64_t lease, struct rail_error *error);

/*
 * An environment with the /48 that the cluster gave it. Succeeds where it is there with that one;
 * EEXIST where it has another here, EADDRINUSE where the /48 is another environment's here.
 */
int rail_environment_adopt(struct rail_transaction *registry, const char *name,
			   const struct rail_prefix *prefix, struct rail_error *error);
/* The same, also where it has another here: that is given up, but for whether it is enabled. A
 * refusal is taken back. EBUSY where a lease, a member or an attachment of it lives. 1 where
 * another was given up. live: a transaction of the live store. */
int rail_environment_yield(struct rail_transaction *registry, struct rail_transaction *live,
			   const char *name, const struct rail_prefix *prefix,
			   struct rail_error *error);
/* As rail_environment_adopt for a service and its number: EEXIST where it has another number here,
 * EADDRINUSE where another label has the number. */
int rail_service_adopt(struct rail_transaction *registry, const struct rail_service *service,
		       struct rail_error *error);
/* The same where this node knows it otherwise: what contradicts it here is forgotten. EBUSY where
 * an attachment of this node uses that. live: a transaction of the live store. */
int rail_service_yield(struct rail_transaction *registry, struct rail_transaction *live,
		       const struct rail_service *service, struct rail_error *error);

/*
 * Environments that the cluster knows under another /48: no new pod may join them here. reason is
 * what an ADD is told; NULL takes the refusal back.
 */
enum { RAIL_REFUSAL_SIZE = 576 };
int rail_environment_refuse(struct rail_transaction *registry, const char *name, const char *reason,
			    struct rail_error *error);
/* -EREMCHG, code 7, with the reason, where it is refused. */
int rail_environment_check_refused(struct rail_transaction *registry, const char *name,
				   struct rail_error *error);
