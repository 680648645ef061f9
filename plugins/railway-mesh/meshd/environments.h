#pragma once

#include "pkg/store/live.h"
#include "plugins/railway-mesh/meshd/meshd.h"

/*
 * The environments that have a pod on this node, each kept in step with etcd: read whole once, then
 * watched from that revision on. What etcd says is kept in memory and brought into the live store
 * and to the pods' peers under the environment's lock; what the live store says of this node's own
 * members is brought to etcd.
 */

int meshd_environments_new(struct meshd *meshd, struct meshd_environments **ret_environments,
			   struct rail_error *error);
void meshd_environments_free(struct meshd_environments *environments);

/* The node has joined, or has another number or lease than before. */
void meshd_environments_joined(struct meshd_environments *environments);
/* Another endpoint of etcd's is used: watches begin anew there. */
void meshd_environments_moved(struct meshd_environments *environments);
/* The cluster was restored from an older state: everything is read anew, and nothing is taken away
 * for what it lacks until the other nodes had their time to publish again. */
void meshd_environments_restored(struct meshd_environments *environments);
/* This node is reached elsewhere now. */
void meshd_environments_underlay_changed(struct meshd_environments *environments);

/* The local members of the environment of this address have changed. */
void meshd_environments_touch(struct meshd_environments *environments,
			      const struct in6_addr *address);

/* Etcd has records of this node in it: it is known until they are withdrawn. */
void meshd_environments_take_up(struct meshd_environments *environments,
				const struct rail_prefix *prefix);

/* How far it is with a local member: 1 where it is done, 0 where it is under way, a negative errno
 * value (with the error set) where it will not come to anything. */
int meshd_environments_published(struct meshd_environments *environments,
				 const struct in6_addr *address, struct rail_error *error);
int meshd_environments_withdrawn(struct meshd_environments *environments,
				 const struct in6_addr *address);
