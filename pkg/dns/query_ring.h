#pragma once

#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "pkg/base/error.h"

/*
 * Records on their way from the resolver's worker to the writer of its query log: a ring of bytes
 * in memory that both share. Neither ever waits for the other, and what is in it outlives both. A
 * record that finds no room is dropped, and counted.
 *
 * The writer takes nothing in it for granted: the worker may be somebody else's by now.
 */

enum {
	RAIL_QUERY_RING_SIZE = 1 << 20, /* bytes; a power of two */
	RAIL_QUERY_RECORD_MAXIMUM = 1024,
};

struct rail_query_ring {
	_Atomic uint64_t written; /* bytes since the beginning; the worker's */
	_Atomic uint64_t dropped; /* records that are not in it; the worker's */
	_Atomic uint64_t taken;	  /* bytes; the writer's */
	_Atomic uint64_t told;	  /* of dropped, how many were told about; the writer's */
	uint8_t bytes[RAIL_QUERY_RING_SIZE];
};

int rail_query_ring_create(int *ret_fd, struct rail_query_ring **ret_ring,
			   struct rail_error *error);
int rail_query_ring_map(int fd, struct rail_query_ring **ret_ring, struct rail_error *error);
void rail_query_ring_unmap(struct rail_query_ring *ring); /* NULL-safe */

/* ---- the worker, one at a time ---- */

/* Puts a record of 1 to RAIL_QUERY_RECORD_MAXIMUM bytes in. false: it was dropped. */
bool rail_query_ring_put(struct rail_query_ring *ring, const uint8_t *bytes, size_t size);
/* Counts one that is not even tried. */
void rail_query_ring_drop(struct rail_query_ring *ring);

/* ---- the writer, one at a time ---- */

struct rail_query_reader {
	struct rail_query_ring *ring;
	uint64_t position;
	uint64_t next;
};

/* Goes on where the writer before this one was. */
struct rail_query_reader rail_query_reader_init(struct rail_query_ring *ring);
/*
 * Copies the first record that was not taken yet; it stays the first until rail_query_reader_take.
 * Returns its size; 0: there is none; -EBADMSG: what is there is no record, and all of it is thrown
 * away.
 */
int rail_query_reader_peek(struct rail_query_reader *reader,
			   uint8_t bytes[RAIL_QUERY_RECORD_MAXIMUM]);
/* Takes away what was copied last. */
void rail_query_reader_take(struct rail_query_reader *reader);
/* How many were dropped that nobody was told about, and that somebody was told now. */
uint64_t rail_query_reader_untold(const struct rail_query_reader *reader);
void rail_query_reader_told(struct rail_query_reader *reader, uint64_t count);
