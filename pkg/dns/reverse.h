#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "pkg/dns/name.h"

/*
 * Reverse names: below in-addr.arpa (RFC 1035 3.5) and ip6.arpa (RFC 3596 2.5), and which of them
 * belong to addresses that mean nothing outside the network they are used in.
 */

enum {
	RAIL_REVERSE_NIBBLE_COUNT = 32,
	RAIL_REVERSE_SUFFIX_LABELS = 2, /* "ip6" or "in-addr", and "arpa" */
};

enum rail_reverse_family {
	RAIL_REVERSE_NONE, /* no reverse name */
	RAIL_REVERSE_IPV4,
	RAIL_REVERSE_IPV6,
};

struct rail_reverse {
	enum rail_reverse_family family;
	uint8_t count; /* of digits */
	bool exact;    /* false: further labels, which are no digits, stand before them */
	/* Octets of an IPv4 address or nibbles of an IPv6 address, the most significant first. */
	uint8_t digits[RAIL_REVERSE_NIBBLE_COUNT];
};

void rail_reverse_parse(const struct rail_name *name, struct rail_reverse *ret_reverse);

/* Whether the first count nibbles of 16 bytes are those of an IPv6 reverse name, which must have as
 * many. */
bool rail_reverse_matches(const struct rail_reverse *reverse, const uint8_t *bytes, size_t count);

/*
 * How many digits the private zone has that a reverse name is in; 0 where it is in none. These are
 * the zones of RFC 6303 and RFC 7793, and fc00::/7 whole: asking a nameserver outside for them
 * gives away addresses and brings nothing.
 */
size_t rail_reverse_private_zone(const struct rail_reverse *reverse);
