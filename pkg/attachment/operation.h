#pragma once

#include "pkg/cni/call.h"
#include "pkg/config/settings.h"
#include "pkg/store/live.h"

/*
 * What one execution of a plugin works with: the call, the settings it comes to, the open stores
 * and the name of the attachment. Made first in every command, before anything is touched.
 */
struct rail_operation {
	const struct rail_cni_call *call; /* borrowed */
	enum rail_plugin plugin;
	struct rail_settings settings;
	struct rail_store *store;
	struct rail_attachment_key key; /* ADD, DEL and CHECK */
	struct rail_process self;
	struct rail_process parent; /* as it was at the beginning; none where it cannot be seen */
};

int rail_operation_begin(const struct rail_cni_call *call, enum rail_plugin plugin,
			 struct rail_operation *ret_operation, struct rail_error *error);
void rail_operation_end(struct rail_operation *operation); /* for RAIL_CLEANUP */

/* Opens the stores anew, where they became unusable: LMDB refuses all after a commit that the disk
 * refused. */
int rail_operation_reopen(struct rail_operation *operation, struct rail_error *error);

/* The attachment of the operation: -ENOENT, without an error set, where there is none. */
int rail_operation_attachment(const struct rail_operation *operation,
			      struct rail_attachment *ret_attachment, struct rail_error *error);

/*
 * Stores what a plugin changed of the attachment that it has begun, in a transaction that is open
 * or in one of its own. Refused (ECANCELED, code 11) where it is no longer at work on it: somebody
 * undid the attachment since, because its owner is dead (the plugin that delegated to this one) or
 * its netns is gone.
 */
int rail_operation_put_within(struct rail_transaction *live,
			      const struct rail_attachment *attachment, struct rail_error *error);
int rail_operation_put(const struct rail_operation *operation,
		       const struct rail_attachment *attachment, struct rail_error *error);
/* Only whether it would be stored. */
int rail_operation_check_own(struct rail_transaction *live,
			     const struct rail_attachment *attachment, struct rail_error *error);

/* Whether the same process, or none, is at work on both. */
bool rail_attachment_owner_equal(const struct rail_attachment *one,
				 const struct rail_attachment *other);
