#pragma once

#include <stddef.h>
#include <stdint.h>

#include "pkg/dns/message.h"
#include "pkg/wg/device.h"

/*
 * A question as upstreams are asked it: which upstreams, in their order, and everything about the
 * client's query that their answer may depend on (name without its case, type, class, RD, AD, CD
 * and DO). Two clients whose questions have the same bytes can be given the same answer, and no
 * others can.
 */

enum {
	RAIL_QUESTION_ENDPOINT_SIZE = 1 + 2 + 16, /* family, port, address */
	/* Number of upstreams, they themselves, flags, name, type, class. */
	RAIL_QUESTION_SIZE = 1 + 8 * RAIL_QUESTION_ENDPOINT_SIZE + 1 + RAIL_NAME_SIZE + 4,
};

struct rail_question {
	size_t size;
	uint8_t bytes[RAIL_QUESTION_SIZE];
};

/* query must have been parsed whole. -EINVAL: more upstreams than eight, or one of no family. */
int rail_question_init(struct rail_question *ret_question, const struct rail_endpoint *upstreams,
		       size_t upstream_count, const struct rail_dns_query *query);
