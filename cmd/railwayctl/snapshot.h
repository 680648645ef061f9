#pragma once

#include "pkg/store/live.h"
#include "pkg/store/registry.h"

/*
 * A copy of both stores. They are read one after the other, the live one first, each in a
 * transaction that ends before anything is done with it: so nobody waits for the tool, and what the
 * live store names is in the registry, unless it was removed at this moment. A store that is not
 * there is an empty one.
 */
struct snapshot {
	struct rail_environment *environments; /* in the order of names */
	size_t environment_count;
	struct rail_service *services; /* an environment's beside each other, in the order of
					  labels */
	size_t service_count;
	struct rail_service *by_number; /* the same, in the order of prefix and number */
	struct rail_attachment *attachments;
	size_t attachment_count;
	struct rail_member *members; /* in the order of addresses */
	size_t member_count;
	uint32_t node;
};

int snapshot_read(struct rail_store *store, struct snapshot *ret_snapshot,
		  struct rail_error *error);
void snapshot_done(struct snapshot *snapshot); /* for RAIL_CLEANUP */

/* All that follows is borrowed from the snapshot. */

/* ENOENT where there is none of that name. */
int snapshot_environment(const struct snapshot *snapshot, const char *name,
			 const struct rail_environment **ret_environment, struct rail_error *error);
/* NULL where the registry does not know it. */
const struct rail_service *snapshot_service(const struct snapshot *snapshot,
					    const struct rail_prefix *prefix, uint16_t number);
/* An environment's services, and its members; *ret_count may be 0. */
const struct rail_service *snapshot_services(const struct snapshot *snapshot,
					     const struct rail_prefix *prefix, size_t *ret_count);
const struct rail_member *snapshot_members(const struct snapshot *snapshot,
					   const struct rail_prefix *prefix, size_t *ret_count);
