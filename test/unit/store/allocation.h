#pragma once

/* Addresses for tests, given as an ADD gives them. */

#include <errno.h>

#include "pkg/store/live.h"
#include "test/unit/store/stores.h"

static const struct rail_prefix prefix = {{0xfd, 0x11, 0x22, 0x33, 0x44, 0x55}};

enum { SERVICE = 5, NODE = 1 };

static inline struct rail_attachment_key key_of(const char *network, const char *container_id,
						const char *interface)
{
	struct rail_attachment_key key;

	(void)snprintf(key.network, sizeof(key.network), "%s", network);
	(void)snprintf(key.container_id, sizeof(key.container_id), "%s", container_id);
	(void)snprintf(key.interface, sizeof(key.interface), "%s", interface);
	return key;
}

/* The address of a new attachment as an ADD gets it: the registry is asked for a range where the
 * live store has none. */
static inline int allocate(struct rail_store *in, const struct rail_attachment_key *key,
			   struct in6_addr *ret_address, struct rail_error *error)
{
	RAIL_CLEANUP(rail_transaction_abort) struct rail_transaction *live = NULL;
	RAIL_CLEANUP(rail_transaction_abort) struct rail_transaction *registry = NULL;
	struct rail_counter_range range = {.next = 0};

	for (;;) {
		int result = rail_transaction_begin(in, RAIL_LIVE, RAIL_WRITE, &live, error);

		if (result == 0 && range.next != 0)
			result = rail_lease_range(live, &prefix, SERVICE, NODE, &range, error);
		if (result == 0)
			result = rail_lease_take(live, &prefix, SERVICE, NODE, key, ret_address,
						 error);
		if (result == 0)
			return rail_transaction_commit(&live, error);
		if (result != -ERANGE)
			return result;

		rail_transaction_abort(&live);
		result = rail_transaction_begin(in, RAIL_REGISTRY, RAIL_WRITE, &registry, error);
		if (result == 0)
			result = rail_counter_reserve(registry, &prefix, SERVICE, NODE, &range,
						      error);
		if (result == 0)
			result = rail_transaction_commit(&registry, error);
		if (result < 0)
			return result;
	}
}

static inline int compare_addresses(const void *one, const void *other)
{
	return memcmp(one, other, sizeof(struct in6_addr));
}

static inline void assert_all_different(struct in6_addr *addresses, size_t count)
{
	qsort(addresses, count, sizeof(addresses[0]), compare_addresses);
	for (size_t i = 1; i < count; i++)
		cr_assert_neq(memcmp(&addresses[i - 1], &addresses[i], sizeof(addresses[0])), 0,
			      "an address was given twice");
}
