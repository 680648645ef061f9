/*
 * The input is the age at which a message is asked for again (seconds, one byte), and an upstream's
 * message. What comes back is the message, with no TTL above what it was, for no longer than the
 * least of them.
 */

#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>

#include "pkg/dns/cache.h"
#include "pkg/dns/forward.h"
#include "test/unit/dns/wire.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static struct wire_message before;
static struct wire_message after;

static void require(bool truth)
{
	if (!truth)
		abort();
}

/* Both can be read, record for record, unless the names in them are of a kind that is not followed
 * here. */
static void check(const uint8_t *message, size_t size, const uint8_t *kept, size_t kept_size,
		  uint32_t age_s)
{
	if (!wire_parse(message, size, &before))
		return;
	require(kept_size == size && wire_parse(kept, kept_size, &after));
	require(before.record_count == after.record_count);
	for (size_t i = 0; i < before.record_count; i++) {
		const struct wire_record *was = &before.records[i];
		const struct wire_record *is = &after.records[i];

		require(was->type == is->type && was->data_size == is->data_size);
		require(memcmp(message + was->data, kept + is->data, was->data_size) == 0);
		/* A SOA's may have been limited by its MINIMUM first. */
		if (was->type == 41)
			require(is->ttl == was->ttl);
		else if (was->type == 6)
			require(is->ttl + age_s <= was->ttl);
		else
			require(is->ttl + age_s == was->ttl && is->ttl > 0);
	}
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	const struct rail_endpoint upstream = {.family = AF_INET, .port = 53};
	struct rail_dns_query query = {.type = 1, .class = 1};
	struct rail_question question;
	struct rail_cache_owner owner;
	uint8_t kept[RAIL_CACHE_MESSAGE_MAXIMUM];
	uint32_t age_s;
	size_t kept_size;

	if (size < 1)
		return 0;
	age_s = data[0];
	data++;
	size--;
	rail_name_init(&query.name);
	require(rail_question_init(&question, &upstream, 1, &query) == 0);

	struct rail_cache *cache = rail_cache_new(65536);

	require(cache != NULL);
	rail_cache_owner_init(&owner);
	rail_cache_put(cache, &owner, &question, data, size, 1000);
	kept_size = rail_cache_get(cache, &question, kept, 1000 + (int64_t)age_s * 1000);
	require(kept_size <= size);
	if (kept_size != 0)
		check(data, size, kept, kept_size, age_s);
	rail_cache_free(cache);
	return 0;
}
