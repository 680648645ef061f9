#pragma once

#include "pkg/store/live.h"

/*
 * Peers: every local pod of an environment has every other member as a peer. All functions are
 * called with the environment's lock held (pkg/mesh/lock.h) and no transaction open; the one
 * exception is a change that only updates peers that are there, and so adds and removes none.
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

/*
 * What is needed of an environment to wire its pods, in memory: they can then be spoken to, which
 * may take its time, by a thread that has no store.
 */
struct rail_membership {
	struct rail_member *members;
	size_t count;
	struct rail_attachment *pods; /* of the local members */
	size_t pod_count;
};

/* Members without an attachment, and those that a plugin died at, are listed as gone. Free it with
 * rail_membership_done. */
int rail_membership_read(struct rail_store *store, const struct rail_prefix *prefix,
			 struct rail_membership *ret_membership, struct rail_gone *gone,
			 struct rail_error *error);
void rail_membership_done(struct rail_membership *membership); /* for RAIL_CLEANUP */

/*
 * One pod's peers: changes without a look at what it has, or brought in line with the membership by
 * the differences. ENODEV where the pod is gone; ETIMEDOUT where what carries its packets does not
 * answer. Both use nothing but their arguments: from any thread.
 */
int rail_wiring_change_pod(const struct rail_attachment *pod, const struct rail_changes *changes,
			   struct rail_error *error);
int rail_wiring_repair_pod(const struct rail_attachment *pod,
			   const struct rail_membership *membership, struct rail_error *error);

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
