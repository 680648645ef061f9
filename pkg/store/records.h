#pragma once

#include "pkg/base/bytes.h"
#include "pkg/store/live.h"
#include "pkg/store/registry.h"

/*
 * The records of both stores as bytes: a format byte, then the fields in network order, strings
 * with their lengths. What a record's key holds is not repeated in the record, and is left to the
 * caller, who sets it. Writing fails (sticky, in the writer) where a text is not terminated or a
 * count is too large; reading gives false where the bytes are no record of that kind, whole and
 * with nothing behind it, and zeroes what it could not read.
 */

enum {
	/* An attachment with everything at its maximum; above half a page LMDB gives a record pages
	 * of its own, of which this fills one (4,096 bytes less 16). */
	RAIL_RECORD_MAXIMUM = 4080,
	RAIL_ATTACHMENT_KEY_MAXIMUM =
		RAIL_NETWORK_NAME_SIZE + RAIL_CONTAINER_ID_SIZE + IFNAMSIZ + 3,
};

/* The keys themselves, as of tables: no format byte. All keys of a network begin with its name. */
void rail_write_network_name(struct rail_writer *writer, const char *network);
void rail_write_attachment_key(struct rail_writer *writer, const struct rail_attachment_key *key);
bool rail_read_attachment_key(struct rail_reader *reader, struct rail_attachment_key *key);

/* Without key. */
void rail_write_attachment(struct rail_writer *writer, const struct rail_attachment *attachment);
bool rail_read_attachment(struct rail_reader *reader, struct rail_attachment *attachment);

/* Without address. */
void rail_write_member(struct rail_writer *writer, const struct rail_member *member);
bool rail_read_member(struct rail_reader *reader, struct rail_member *member);

void rail_write_lease(struct rail_writer *writer, const struct rail_attachment_key *key);
bool rail_read_lease(struct rail_reader *reader, struct rail_attachment_key *key);

void rail_write_range(struct rail_writer *writer, const struct rail_counter_range *range);
bool rail_read_range(struct rail_reader *reader, struct rail_counter_range *range);

/* Without name. */
void rail_write_environment(struct rail_writer *writer, const struct rail_environment *environment);
bool rail_read_environment(struct rail_reader *reader, struct rail_environment *environment);

/* Without prefix and label. */
void rail_write_service(struct rail_writer *writer, const struct rail_service *service);
bool rail_read_service(struct rail_reader *reader, struct rail_service *service);

/* A number on its own: a counter's high-water mark, the node's. */
void rail_write_number(struct rail_writer *writer, uint32_t number);
bool rail_read_number(struct rail_reader *reader, uint32_t *number);
