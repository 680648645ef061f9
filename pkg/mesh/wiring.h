#pragma once

#include "pkg/store/live.h"

/*
 * Peers: every local pod of an environment has every other member as a peer. All functions are
 * called with the environment's lock held (pkg/mesh/lock.h) and no transaction open.
 */

/* Attachments of local pods that turned out to be unusable: their netns is gone, or what carried
 * their packets is, or the plugin that worked on them. */
struct rail_gone {
	struct rail_attachment_key *keys;
	size_t count;
};

int rail_gone_add(struct rail_gone *gone, const struct rail_attachment_key *key,
		  struct rail_error *error);
void rail_gone_done(struct rail_gone *gone); /* for RAIL_CLEANUP */

/* Gives a new pod its peers: all members but itself. */
int rail_wiring_give_peers(struct rail_store *store, const struct rail_attachment *pod,
			   int netns_fd, struct rail_error *error);

/*
 * Makes a member known to every other local pod of the environment, or forgotten by them. Pods that
 * are gone are listed; whatever else fails is collected while the rest goes on.
 */
int rail_wiring_add_member(struct rail_store *store, const struct rail_prefix *prefix,
			   const struct rail_member *member, struct rail_gone *gone,
			   struct rail_error *error);
int rail_wiring_remove_member(struct rail_store *store, const struct rail_prefix *prefix,
			      const struct rail_member *member, struct rail_gone *gone,
			      struct rail_error *error);

/* Brings every local pod's peers in line with the membership, by the differences only. */
int rail_wiring_repair(struct rail_store *store, const struct rail_prefix *prefix,
		       struct rail_gone *gone, struct rail_error *error);

/* Whether a pod's peers are exactly the other members; else code 102 naming the first that is
 * missing or too many. */
int rail_wiring_check(struct rail_store *store, const struct rail_attachment *pod, int netns_fd,
		      struct rail_error *error);

/*
 * Opens a local pod's netns where it is still the stored one: -ESTALE or -ENOENT where the pod
 * counts as gone, another negative errno value where that cannot be told. Whoever then reads or
 * changes the interface in it sees by its key whether that is the stored one, too.
 */
int rail_wiring_open_netns(const struct rail_attachment *pod, int *ret_netns_fd);

/*
 * Whether a local pod is there: its netns is still the stored one and the interface in it the
 * stored one, with its key. -ESTALE or -ENOENT where the pod counts as gone; another negative errno
 * value where that cannot be told (no descriptor or no memory is left): it is not gone for that.
 */
int rail_wiring_verify_pod(const struct rail_attachment *pod);
