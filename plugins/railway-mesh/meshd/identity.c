#include "plugins/railway-mesh/meshd/identity.h"

#include <errno.h>
#include <stdio.h>

#include "pkg/base/cleanup.h"
#include "pkg/base/file.h"
#include "pkg/base/log.h"
#include "pkg/store/cluster.h"

int meshd_identity_load(struct rail_store *store, char ret_id[RAIL_NODE_ID_SIZE],
			uint32_t *ret_number, struct rail_error *error)
{
	RAIL_CLEANUP(rail_transaction_abort) struct rail_transaction *registry = NULL;
	uint8_t id[RAIL_CLUSTER_ID_SIZE];
	uint32_t number = 0;

	int result = rail_transaction_begin(store, RAIL_REGISTRY, RAIL_WRITE, &registry, error);
	if (result < 0)
		return result;
	result = rail_cluster_id_get(registry, id, error);
	if (result == -ENOENT) {
		result = rail_random(id, sizeof(id), error);
		if (result == 0)
			result = rail_cluster_id_set(registry, id, error);
	}
	if (result == 0)
		result = rail_node_number_get(registry, &number, error);
	if (result == 0)
		result = rail_transaction_commit(&registry, error);
	if (result < 0)
		return result;
	for (size_t i = 0; i < sizeof(id); i++)
		(void)snprintf(ret_id + 2 * i, 3, "%02x", id[i]);
	*ret_number = number;
	return 0;
}

int meshd_identity_store_number(struct rail_store *store, uint32_t number, struct rail_error *error)
{
	RAIL_CLEANUP(rail_transaction_abort) struct rail_transaction *registry = NULL;

	int result = rail_transaction_begin(store, RAIL_REGISTRY, RAIL_WRITE, &registry, error);
	if (result == 0)
		result = rail_node_number_set(registry, number, error);
	return result < 0 ? result : rail_transaction_commit(&registry, error);
}

void meshd_identity_store_lease(struct rail_store *store, int64_t lease)
{
	RAIL_CLEANUP(rail_transaction_abort) struct rail_transaction *live = NULL;
	struct rail_error error = RAIL_ERROR_NONE;

	int result = rail_transaction_begin(store, RAIL_LIVE, RAIL_WRITE, &live, &error);
	if (result == 0)
		result = rail_cluster_lease_set(live, lease, &error);
	if (result == 0)
		result = rail_transaction_commit(&live, &error);
	/* The next daemon then waits for this lease's end, nothing worse. */
	if (result < 0)
		rail_log(RAIL_LOG_WARN, "the lease cannot be stored", "error", error.message, NULL);
}

int64_t meshd_identity_load_lease(struct rail_store *store)
{
	RAIL_CLEANUP(rail_transaction_abort) struct rail_transaction *live = NULL;
	int64_t lease = 0;

	if (rail_transaction_begin(store, RAIL_LIVE, RAIL_READ, &live, NULL) < 0 ||
	    rail_cluster_lease_get(live, &lease, NULL) < 0)
		return 0;
	return lease;
}
