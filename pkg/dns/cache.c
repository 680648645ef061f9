#include "pkg/dns/cache.h"

#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

#include "pkg/base/bytes.h"
#include "pkg/dns/hash.h"
#include "pkg/dns/table.h"

enum {
	OWNER_SHARE = 4, /* the part of the cache that one owner may have */
	/* Of a SOA's data: two names of one byte at least, five numbers, the last of which is
	 * MINIMUM. */
	SOA_SIZE_MINIMUM = 2 + 5 * 4,
};

struct rail_cache_entry {
	struct rail_table_link link; /* first */
	TAILQ_ENTRY(rail_cache_entry) by_use;
	TAILQ_ENTRY(rail_cache_entry) by_owner;
	struct rail_cache_owner *owner;
	int64_t stored_ms;
	int64_t expires_ms;
	size_t question_size;
	size_t message_size;
	uint8_t bytes[]; /* the question, then the message */
};

struct rail_cache {
	struct rail_hash_key key;
	struct rail_table table;
	struct rail_cache_entries entries; /* the last used first */
	struct rail_cache_owner nobody;
	size_t capacity;
	size_t size;
	uint64_t evicted;
};

/* ---- lifetimes ------------------------------------------------------------------------------- */

static uint32_t least(uint32_t one, uint32_t other)
{
	return one < other ? one : other;
}

static void write_ttl(uint8_t *message, size_t position, uint32_t ttl_s)
{
	struct rail_writer writer = rail_writer_init(message + position, sizeof(ttl_s));

	rail_write_u32(&writer, ttl_s);
}

/* Gives the SOA of a negative answer the TTL that the answer has (RFC 2308 5). */
static uint32_t limit_by_minimum(uint8_t *message, const struct rail_dns_record_view *soa)
{
	struct rail_reader minimum = rail_reader_init(soa->data + soa->data_size - 4, 4);
	uint32_t ttl_s = least(soa->ttl_s, rail_read_u32(&minimum));

	write_ttl(message, soa->ttl_position, ttl_s);
	return ttl_s;
}

/*
 * How many seconds a message may be kept; 0: not at all. Changes its SOA's TTL where it is a
 * negative answer. *ret_size: of the message without what may stand behind its last record.
 */
static uint32_t lifetime(uint8_t *message, size_t size, size_t *ret_size)
{
	struct rail_reader reader = rail_reader_init(message, size);
	struct rail_dns_header header = rail_dns_header_read(&reader);
	const uint16_t counts[RAIL_DNS_SECTION_COUNT] = {
		header.answer_count, header.authority_count, header.additional_count};
	unsigned int rcode = header.flags & RAIL_DNS_FLAG_RCODE;
	uint32_t ttl_s = RAIL_CACHE_LIFETIME_MAXIMUM_S;
	struct rail_dns_record_view soa = {0};
	bool positive = false;
	struct rail_name name;
	uint16_t type;

	if ((header.flags & RAIL_DNS_FLAG_TC) != 0 || header.question_count != 1 ||
	    (rcode != RAIL_DNS_NOERROR && rcode != RAIL_DNS_NXDOMAIN) ||
	    rail_name_read(&reader, &name) < 0)
		return 0;
	type = rail_read_u16(&reader);
	(void)rail_read_u16(&reader);
	for (size_t section = 0; section < RAIL_DNS_SECTION_COUNT; section++) {
		for (unsigned int i = 0; i < counts[section]; i++) {
			struct rail_dns_record_view record = rail_dns_record_read(&reader);

			if (reader.failed)
				return 0;
			if (record.type == RAIL_DNS_TYPE_OPT) {
				/* The upper bits of a response code (RFC 6891 6.1.3). */
				if (record.ttl_s >> 24 != 0)
					return 0;
				continue;
			}
			/* Above it is zero (RFC 2181 8). */
			if (record.ttl_s > INT32_MAX)
				return 0;
			ttl_s = least(ttl_s, record.ttl_s);
			if (section == RAIL_DNS_ANSWER_SECTION &&
			    (record.type == type || type == RAIL_DNS_TYPE_ANY))
				positive = true;
			if (section == RAIL_DNS_AUTHORITY_SECTION &&
			    record.type == RAIL_DNS_TYPE_SOA &&
			    record.data_size >= SOA_SIZE_MINIMUM)
				soa = record;
		}
	}
	if (rcode == RAIL_DNS_NXDOMAIN || !positive) {
		if (soa.data == NULL)
			return 0;
		ttl_s = least(ttl_s, limit_by_minimum(message, &soa));
	}
	*ret_size = reader.position;
	return ttl_s;
}

/* Takes age_s from every TTL of a message that was found to be whole. */
static void age(uint8_t *message, size_t size, uint32_t age_s)
{
	struct rail_reader reader = rail_reader_init(message, size);
	struct rail_dns_header header = rail_dns_header_read(&reader);
	unsigned int count = (unsigned int)header.answer_count + header.authority_count +
			     header.additional_count;
	struct rail_name name;

	(void)rail_name_read(&reader, &name);
	(void)rail_read_u32(&reader);
	for (unsigned int i = 0; i < count; i++) {
		struct rail_dns_record_view record = rail_dns_record_read(&reader);

		if (reader.failed)
			return;
		if (record.type != RAIL_DNS_TYPE_OPT)
			write_ttl(message, record.ttl_position,
				  record.ttl_s - least(record.ttl_s, age_s));
	}
}

/* ---- entries --------------------------------------------------------------------------------- */

static size_t size_of(const struct rail_cache_entry *entry)
{
	return sizeof(*entry) + entry->question_size + entry->message_size;
}

static void link_first(struct rail_cache *cache, struct rail_cache_entry *entry)
{
	TAILQ_INSERT_HEAD(&cache->entries, entry, by_use);
	TAILQ_INSERT_HEAD(&entry->owner->entries, entry, by_owner);
}

static void unlink_entry(struct rail_cache *cache, struct rail_cache_entry *entry)
{
	TAILQ_REMOVE(&cache->entries, entry, by_use);
	TAILQ_REMOVE(&entry->owner->entries, entry, by_owner);
}

static void drop(struct rail_cache *cache, struct rail_cache_entry *entry)
{
	unlink_entry(cache, entry);
	rail_table_remove(&cache->table, &entry->link);
	entry->owner->size -= size_of(entry);
	cache->size -= size_of(entry);
	free(entry);
}

static struct rail_cache_entry *find(const struct rail_cache *cache,
				     const struct rail_question *question, uint64_t hash)
{
	struct rail_table_link *link = rail_table_find(&cache->table, hash);

	for (; link != NULL; link = rail_table_find_next(link)) {
		struct rail_cache_entry *entry = (struct rail_cache_entry *)link;

		if (entry->question_size == question->size &&
		    memcmp(entry->bytes, question->bytes, question->size) == 0)
			return entry;
	}
	return NULL;
}

/* Takes entries away until there is room; the owner's own where they have their share. */
static void make_room(struct rail_cache *cache, struct rail_cache_owner *owner, size_t size)
{
	while (!TAILQ_EMPTY(&owner->entries) &&
	       owner->size + size > cache->capacity / OWNER_SHARE) {
		drop(cache, TAILQ_LAST(&owner->entries, rail_cache_entries));
		cache->evicted++;
	}
	while (!TAILQ_EMPTY(&cache->entries) && cache->size + size > cache->capacity) {
		drop(cache, TAILQ_LAST(&cache->entries, rail_cache_entries));
		cache->evicted++;
	}
}

void rail_cache_put(struct rail_cache *cache, struct rail_cache_owner *owner,
		    const struct rail_question *question, const uint8_t *message, size_t size,
		    int64_t now_ms)
{
	uint64_t hash = rail_hash(&cache->key, question->bytes, question->size);
	struct rail_cache_entry *entry = find(cache, question, hash);
	uint8_t copy[RAIL_CACHE_MESSAGE_MAXIMUM];
	size_t kept_size = 0;
	uint32_t lifetime_s;

	/* What is newer is right, also where it is not to be kept. */
	if (entry != NULL)
		drop(cache, entry);
	if (size > sizeof(copy))
		return;
	memcpy(copy, message, size);
	lifetime_s = lifetime(copy, size, &kept_size);
	if (lifetime_s == 0)
		return;

	size_t whole = sizeof(*entry) + question->size + kept_size;

	if (whole > cache->capacity / OWNER_SHARE || rail_table_reserve(&cache->table) < 0)
		return;
	make_room(cache, owner, whole);
	entry = malloc(whole);
	if (entry == NULL)
		return;
	entry->owner = owner;
	entry->stored_ms = now_ms;
	entry->expires_ms = now_ms + (int64_t)lifetime_s * 1000;
	entry->question_size = question->size;
	entry->message_size = kept_size;
	memcpy(entry->bytes, question->bytes, question->size);
	memcpy(entry->bytes + question->size, copy, kept_size);
	rail_table_insert(&cache->table, &entry->link, hash);
	link_first(cache, entry);
	owner->size += whole;
	cache->size += whole;
}

size_t rail_cache_get(struct rail_cache *cache, const struct rail_question *question,
		      uint8_t message[RAIL_CACHE_MESSAGE_MAXIMUM], int64_t now_ms)
{
	struct rail_cache_entry *entry =
		find(cache, question, rail_hash(&cache->key, question->bytes, question->size));

	if (entry == NULL)
		return 0;
	if (entry->expires_ms <= now_ms) {
		drop(cache, entry);
		return 0;
	}
	unlink_entry(cache, entry);
	link_first(cache, entry);

	size_t size = entry->message_size;

	memcpy(message, entry->bytes + entry->question_size, size);
	age(message, size, (uint32_t)((now_ms - entry->stored_ms) / 1000));
	return size;
}

/* ---- the cache ------------------------------------------------------------------------------- */

void rail_cache_owner_init(struct rail_cache_owner *owner)
{
	TAILQ_INIT(&owner->entries);
	owner->size = 0;
}

void rail_cache_disown(struct rail_cache *cache, struct rail_cache_owner *owner)
{
	for (struct rail_cache_entry *entry = TAILQ_FIRST(&owner->entries); entry != NULL;
	     entry = TAILQ_NEXT(entry, by_owner))
		entry->owner = &cache->nobody;
	TAILQ_CONCAT(&cache->nobody.entries, &owner->entries, by_owner);
	cache->nobody.size += owner->size;
	owner->size = 0;
}

struct rail_cache *rail_cache_new(size_t capacity)
{
	struct rail_cache *cache = calloc(1, sizeof(*cache));

	if (cache == NULL)
		return NULL;
	if (rail_hash_key_init(&cache->key) < 0) {
		free(cache);
		return NULL;
	}
	TAILQ_INIT(&cache->entries);
	rail_cache_owner_init(&cache->nobody);
	cache->capacity = capacity;
	return cache;
}

void rail_cache_free(struct rail_cache *cache)
{
	if (cache == NULL)
		return;
	while (!TAILQ_EMPTY(&cache->entries)) {
		struct rail_cache_entry *entry = TAILQ_FIRST(&cache->entries);

		TAILQ_REMOVE(&cache->entries, entry, by_use);
		free(entry);
	}
	rail_table_done(&cache->table);
	free(cache);
}

void rail_cache_statistics(const struct rail_cache *cache,
			   struct rail_cache_statistics *ret_statistics)
{
	*ret_statistics = (struct rail_cache_statistics){
		.count = cache->table.count,
		.size = cache->size,
		.evicted = cache->evicted,
	};
}
