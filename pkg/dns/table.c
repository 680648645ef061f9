#include "pkg/dns/table.h"

#include <errno.h>
#include <stdlib.h>

#define BUCKET_COUNT_FIRST 64

static struct rail_table_link **bucket_of(const struct rail_table *table, uint64_t hash)
{
	return &table->buckets[hash & (table->bucket_count - 1)];
}

int rail_table_reserve(struct rail_table *table)
{
	size_t bucket_count =
		table->bucket_count == 0 ? BUCKET_COUNT_FIRST : table->bucket_count * 2;
	struct rail_table grown = {.bucket_count = bucket_count, .count = table->count};

	if (table->count < table->bucket_count)
		return 0;
	grown.buckets = calloc(bucket_count, sizeof(grown.buckets[0]));
	if (grown.buckets == NULL)
		return -ENOMEM;

	for (size_t i = 0; i < table->bucket_count; i++) {
		struct rail_table_link *next;

		for (struct rail_table_link *link = table->buckets[i]; link != NULL; link = next) {
			struct rail_table_link **bucket = bucket_of(&grown, link->hash);

			next = link->next;
			link->next = *bucket;
			*bucket = link;
		}
	}
	free(table->buckets);
	*table = grown;
	return 0;
}

void rail_table_insert(struct rail_table *table, struct rail_table_link *link, uint64_t hash)
{
	struct rail_table_link **bucket = bucket_of(table, hash);

	link->hash = hash;
	link->next = *bucket;
	*bucket = link;
	table->count++;
}

void rail_table_remove(struct rail_table *table, struct rail_table_link *link)
{
	struct rail_table_link **place = bucket_of(table, link->hash);

	while (*place != link)
		place = &(*place)->next;
	*place = link->next;
	link->next = NULL;
	table->count--;
}

static struct rail_table_link *first_with(struct rail_table_link *link, uint64_t hash)
{
	while (link != NULL && link->hash != hash)
		link = link->next;
	return link;
}

struct rail_table_link *rail_table_find(const struct rail_table *table, uint64_t hash)
{
	return table->bucket_count == 0 ? NULL : first_with(*bucket_of(table, hash), hash);
}

struct rail_table_link *rail_table_find_next(const struct rail_table_link *link)
{
	return first_with(link->next, link->hash);
}

void rail_table_done(struct rail_table *table)
{
	free(table->buckets);
	*table = (struct rail_table){0};
}
