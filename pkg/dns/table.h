#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/*
 * A hash table of objects that hold their own link. It never allocates but in rail_table_reserve,
 * and knows no keys: the caller gives hashes, and compares what it finds.
 */

struct rail_table_link {
	struct rail_table_link *next; /* in the same bucket */
	uint64_t hash;
};

struct rail_table {
	struct rail_table_link **buckets;
	size_t bucket_count; /* 0 or a power of two */
	size_t count;
};

/* Makes room for one more link. -ENOMEM; the table is unchanged then. */
int rail_table_reserve(struct rail_table *table);
/* After a successful rail_table_reserve. The link must be in no table. */
void rail_table_insert(struct rail_table *table, struct rail_table_link *link, uint64_t hash);
void rail_table_remove(struct rail_table *table, struct rail_table_link *link);
/* The first link with a hash, and the next one; NULL where there is none. */
struct rail_table_link *rail_table_find(const struct rail_table *table, uint64_t hash);
struct rail_table_link *rail_table_find_next(const struct rail_table_link *link);
/* Frees the buckets, not what the links belong to. */
void rail_table_done(struct rail_table *table);
