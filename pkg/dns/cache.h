#pragma once

#include <stddef.h>
#include <stdint.h>
#include <sys/queue.h>

#include "pkg/dns/question.h"

/*
 * Upstreams' answers, kept for as long as they say that they hold: the least TTL of their records
 * (RFC 2181 5.2), of negative ones also the SOA's MINIMUM (RFC 2308 5), and never above an hour.
 * Kept are NOERROR and NXDOMAIN; negative ones only with their SOA; nothing that was cut.
 *
 * Bounded in bytes: what was not used for longest goes. Whoever asks for ever new names loses their
 * own: an owner who has a quarter of the cache gets room only at the cost of what is theirs.
 */

struct rail_cache;
struct rail_cache_entry;

enum {
	RAIL_CACHE_MESSAGE_MAXIMUM = 4096, /* larger answers are not kept */
	RAIL_CACHE_LIFETIME_MAXIMUM_S = 3600,
};

TAILQ_HEAD(rail_cache_entries, rail_cache_entry);

/* Somebody whose questions fill the cache; to be initialised, and to be disowned before it goes. */
struct rail_cache_owner {
	struct rail_cache_entries entries; /* the last used first */
	size_t size;
};

struct rail_cache_statistics {
	size_t count;
	size_t size; /* bytes, of entries whole */
	uint64_t evicted;
};

/* capacity in bytes. NULL: no memory, or no random bytes. */
struct rail_cache *rail_cache_new(size_t capacity);
void rail_cache_free(struct rail_cache *cache); /* NULL-safe */

void rail_cache_owner_init(struct rail_cache_owner *owner);
/* What was kept for this owner stays, and is nobody's. */
void rail_cache_disown(struct rail_cache *cache, struct rail_cache_owner *owner);

/*
 * Keeps the upstream's message, which the caller has found to be an answer to the question, in
 * place of an earlier one; or does not, where it must not be kept or there is no memory. now_ms:
 * CLOCK_MONOTONIC, as below.
 */
void rail_cache_put(struct rail_cache *cache, struct rail_cache_owner *owner,
		    const struct rail_question *question, const uint8_t *message, size_t size,
		    int64_t now_ms);
/*
 * The message as the upstream sent it, with TTLs that are less by the time gone since (whole
 * seconds), and its size; 0: there is none. The TTL of a negative answer's SOA is that of the
 * answer.
 */
size_t rail_cache_get(struct rail_cache *cache, const struct rail_question *question,
		      uint8_t message[RAIL_CACHE_MESSAGE_MAXIMUM], int64_t now_ms);

void rail_cache_statistics(const struct rail_cache *cache,
			   struct rail_cache_statistics *ret_statistics);
