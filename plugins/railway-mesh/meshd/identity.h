#pragma once

#include "pkg/cluster/records.h"
#include "pkg/store/store.h"

/* What the stores keep of a node's place in its cluster. */

/* The node's own identity, made where there is none yet, and its number: RAIL_NODE_LONE before it
 * was given one. */
int meshd_identity_load(struct rail_store *store, char ret_id[RAIL_NODE_ID_SIZE],
			uint32_t *ret_number, struct rail_error *error);
int meshd_identity_store_number(struct rail_store *store, uint32_t number,
				struct rail_error *error);
/* The lease of the daemon before, of this boot; 0: none. */
int64_t meshd_identity_load_lease(struct rail_store *store);
void meshd_identity_store_lease(struct rail_store *store, int64_t lease);
