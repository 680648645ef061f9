#pragma once

#include "pkg/dns/registration.h"
#include <stdbool.h>

#include "pkg/base/loop.h"
#include "pkg/store/live.h"
#include "plugins/railway-dns/resolverd/handover.h"
#include "plugins/railway-dns/resolverd/process.h"

/*
 * The supervisor's pods: who is registered, their sockets, and what of the stores their
 * environments' names are made of. Keeps the worker in step with all of it.
 */

struct rail_pods;

int rail_pods_new(struct rail_loop *loop, struct rail_store *store, struct rail_pods **ret_pods,
		  struct rail_error *error);
/* Closes all sockets. */
void rail_pods_free(struct rail_pods *pods);
/* Which worker to keep in step; before anything else below. */
void rail_pods_set_worker(struct rail_pods *pods, struct rail_worker_process *worker);

/*
 * Takes up every attachment in the live store that has a name and is not dead. What is wrong with
 * one of them is logged, and tried again by the sweep. Waits, up to 2 s in all, for sockets that
 * the worker of a supervisor before us may still hold. Sockets that were handed over are taken.
 */
int rail_pods_restore(struct rail_pods *pods, struct rail_handed *handed, struct rail_error *error);
/* Of every pod that is served, key and sockets, which stay the pods'; for free(). */
int rail_pods_list(const struct rail_pods *pods, struct rail_handed_pod **ret_pods,
		   size_t *ret_count, struct rail_error *error);
/* Whether a pod of the environment is here. */
bool rail_pods_has_environment(const struct rail_pods *pods, const struct rail_prefix *prefix);
size_t rail_pods_count(const struct rail_pods *pods);

/*
 * Registers the attachment, or again where it is registered: opens its sockets (or keeps those that
 * it has in this netns) and tells the worker. *ret_pod is the pod's number, to ask the worker
 * about.
 */
int rail_pods_register(struct rail_pods *pods, const struct rail_attachment_key *key, int netns_fd,
		       uint64_t *ret_pod, struct rail_error *error);
/* Takes the name away, closes the sockets here, and tells the worker to. false: is not registered.
 */
bool rail_pods_unregister(struct rail_pods *pods, const struct rail_attachment_key *key);
/* The number of a pod that is served, 0 where it is not. */
uint64_t rail_pods_find(const struct rail_pods *pods, const struct rail_attachment_key *key);

/*
 * Members of other nodes have changed: has the worker answer with an environment's services, and
 * with these addresses, as the stores have them now. Nothing where no pod of it is registered.
 */
int rail_pods_members_changed(struct rail_pods *pods,
			      const struct rail_registration_request *request,
			      struct rail_error *error);

/*
 * A worker died of a fault while it was at the packets of this pod (0: of none), as it said itself.
 * The third time within a minute the pod is set aside: the workers do not get its sockets for a
 * minute, and after that for twice as long each time, an hour at most. false: there is no such pod.
 */
bool rail_pods_blame(struct rail_pods *pods, uint64_t pod);
size_t rail_pods_count_set_aside(const struct rail_pods *pods);

/* Tells a new worker everything. */
void rail_pods_send_all(struct rail_pods *pods);
/* NULL: the pod is gone, or set aside. */
const struct rail_pod_sockets *rail_pods_sockets(const struct rail_pods *pods, uint64_t pod);
