#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "pkg/dns/message.h"
#include "pkg/dns/query_ring.h"
#include "pkg/store/live.h"

/*
 * One line of the query log: what the worker notes of a query that was answered (a record for the
 * ring), and the line of JSON that the writer makes of it. Pure functions; whatever the bytes of a
 * record are, a line is one JSON object of ASCII characters with a newline behind it.
 */

/* Who asked. */
struct rail_query_pod {
	char environment[RAIL_ENVIRONMENT_NAME_SIZE];
	char service[RAIL_LABEL_SIZE];
	char replica[RAIL_LABEL_SIZE];
	char container[RAIL_CONTAINER_ID_SIZE];
};

struct rail_query_record {
	int64_t time_us; /* when it was answered, since 1970 */
	uint32_t duration_us;
	bool tcp;
	bool timed_out; /* no upstream answered; the client was told SERVFAIL */
	bool truncated;
	bool has_question; /* else name, type and class are not set */
	struct rail_name name;
	uint16_t type;
	uint16_t class;
	uint16_t rcode;
	uint16_t answer_count;
};

/* Fills in what query and answer say; both as they are on the wire. */
void rail_query_record_init(struct rail_query_record *ret_record, const uint8_t *query,
			    size_t query_size, const uint8_t *answer, size_t answer_size);

/* Returns the size; -EMSGSIZE where it does not fit, which RAIL_QUERY_RECORD_MAXIMUM does. */
int rail_query_record_encode(const struct rail_query_record *record,
			     const struct rail_query_pod *pod, uint8_t *bytes, size_t capacity);
int rail_query_record_decode(const uint8_t *bytes, size_t size,
			     struct rail_query_record *ret_record, struct rail_query_pod *ret_pod);

enum { RAIL_QUERY_LINE_SIZE = 4096 }; /* a pipe takes as much at once (PIPE_BUF) */

/* Both return the length, with the newline; there is no NUL. */
size_t rail_query_line(const struct rail_query_record *record, const struct rail_query_pod *pod,
		       char line[RAIL_QUERY_LINE_SIZE]);
/* The line that says how many are missing. */
size_t rail_query_line_dropped(int64_t time_us, uint64_t count, char line[RAIL_QUERY_LINE_SIZE]);
