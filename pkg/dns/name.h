#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "pkg/base/bytes.h"

/*
 * Domain names in wire form (RFC 1035 3.1). A struct rail_name is always whole, within the limits,
 * without compression, and in lower case, so that two names are the same where their bytes are. A
 * label may hold any byte, dots and NULs included: only rail_name_to_text makes text of it.
 */

enum {
	RAIL_NAME_SIZE = 255,	     /* RFC 1035 2.3.4 */
	RAIL_NAME_LABEL_SIZE = 63,   /* without the length byte */
	RAIL_NAME_LABEL_COUNT = 127, /* of one byte each, in 255 bytes */
	RAIL_NAME_TEXT_SIZE = 1024,  /* every byte as "\255", the dots, NUL */
};

struct rail_name {
	uint8_t size;	     /* bytes of wire, the root's zero included */
	uint8_t label_count; /* without the root */
	uint8_t wire[RAIL_NAME_SIZE];
	uint8_t labels[RAIL_NAME_LABEL_COUNT]; /* where in wire each label's length byte is */
};

/*
 * Reads a name and lower-cases it. Fails with -EBADMSG, and marks the reader as failed, for a
 * compression pointer, an extended label type (RFC 6891 5), a name above 255 bytes, and where the
 * bytes end before the name does.
 */
int rail_name_read(struct rail_reader *reader, struct rail_name *ret_name);

/* The root. */
void rail_name_init(struct rail_name *name);
/*
 * Adds a label to the right, in lower case. -EINVAL: empty or above 63 bytes; -ENAMETOOLONG: the
 * name would exceed 255 bytes. It is unchanged then.
 */
int rail_name_append(struct rail_name *name, const void *label, size_t size);

/* Whether a name is, or is below, the one whose size wire bytes (lower case, with the root) and
 * label_count are given. */
bool rail_name_ends_with(const struct rail_name *name, const void *wire, size_t size,
			 size_t label_count);
/* The name that the last label_count labels are, in wire form: borrowed. label_count must not
 * exceed the name's. */
const uint8_t *rail_name_suffix(const struct rail_name *name, size_t label_count, size_t *ret_size);

/*
 * The name for logs, with a dot at its end: printable ASCII as it is, '.', '\' and '"' within
 * labels as "\.", "\\" and "\"", everything else as "\DDD" (RFC 1035 5.1).
 */
void rail_name_to_text(const struct rail_name *name, char text[RAIL_NAME_TEXT_SIZE]);
