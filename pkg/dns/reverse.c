#include "pkg/dns/reverse.h"

#define IPV4_SUFFIX "\7in-addr\4arpa"
#define IPV6_SUFFIX "\3ip6\4arpa"

#define IPV4_OCTET_COUNT 4

/* Zones that differ in their last digit only are one row: last_maximum is its greatest value. */
struct private_zone {
	enum rail_reverse_family family;
	uint8_t count;
	uint8_t last_maximum;
	uint8_t digits[RAIL_REVERSE_NIBBLE_COUNT];
};

static const struct private_zone private_zones[] = {
	{RAIL_REVERSE_IPV4, 1, 0, {0}},
	{RAIL_REVERSE_IPV4, 1, 10, {10}},
	{RAIL_REVERSE_IPV4, 2, 127, {100, 64}},
	{RAIL_REVERSE_IPV4, 1, 127, {127}},
	{RAIL_REVERSE_IPV4, 2, 254, {169, 254}},
	{RAIL_REVERSE_IPV4, 2, 31, {172, 16}},
	{RAIL_REVERSE_IPV4, 3, 2, {192, 0, 2}},
	{RAIL_REVERSE_IPV4, 2, 168, {192, 168}},
	{RAIL_REVERSE_IPV4, 3, 100, {198, 51, 100}},
	{RAIL_REVERSE_IPV4, 3, 113, {203, 0, 113}},
	{RAIL_REVERSE_IPV4, 4, 255, {255, 255, 255, 255}},
	{RAIL_REVERSE_IPV6, 32, 1, {0}}, /* :: and ::1 */
	{RAIL_REVERSE_IPV6, 8, 0x8, {2, 0, 0, 1, 0, 0xd, 0xb, 8}},
	{RAIL_REVERSE_IPV6, 2, 0xd, {0xf, 0xc}},
	{RAIL_REVERSE_IPV6, 3, 0xb, {0xf, 0xe, 8}},
};

/* A decimal number of 0..255 as it is written: without leading zeroes. */
static bool parse_octet(const uint8_t *label, uint8_t *ret_octet)
{
	size_t length = label[0];
	unsigned int value = 0;

	if (length > 3 || (length > 1 && label[1] == '0'))
		return false;
	for (size_t i = 1; i <= length; i++) {
		if (label[i] < '0' || label[i] > '9')
			return false;
		value = value * 10 + (label[i] - (unsigned int)'0');
	}
	if (value > UINT8_MAX)
		return false;
	*ret_octet = (uint8_t)value;
	return true;
}

static bool parse_nibble(const uint8_t *label, uint8_t *ret_nibble)
{
	uint8_t byte = label[1];

	if (label[0] != 1)
		return false;
	if (byte >= '0' && byte <= '9')
		*ret_nibble = (uint8_t)(byte - '0');
	else if (byte >= 'a' && byte <= 'f')
		*ret_nibble = (uint8_t)(byte - 'a' + 10);
	else
		return false;
	return true;
}

void rail_reverse_parse(const struct rail_name *name, struct rail_reverse *ret_reverse)
{
	size_t maximum;
	size_t left;

	ret_reverse->family = RAIL_REVERSE_NONE;
	ret_reverse->count = 0;
	ret_reverse->exact = false;
	if (rail_name_ends_with(name, IPV6_SUFFIX, sizeof(IPV6_SUFFIX),
				RAIL_REVERSE_SUFFIX_LABELS)) {
		ret_reverse->family = RAIL_REVERSE_IPV6;
		maximum = RAIL_REVERSE_NIBBLE_COUNT;
	} else if (rail_name_ends_with(name, IPV4_SUFFIX, sizeof(IPV4_SUFFIX),
				       RAIL_REVERSE_SUFFIX_LABELS)) {
		ret_reverse->family = RAIL_REVERSE_IPV4;
		maximum = IPV4_OCTET_COUNT;
	} else {
		return;
	}

	left = name->label_count - (size_t)RAIL_REVERSE_SUFFIX_LABELS;
	while (left > 0 && ret_reverse->count < maximum) {
		const uint8_t *label = name->wire + name->labels[left - 1];
		uint8_t *digit = &ret_reverse->digits[ret_reverse->count];

		if (ret_reverse->family == RAIL_REVERSE_IPV6 ? !parse_nibble(label, digit)
							     : !parse_octet(label, digit))
			break;
		ret_reverse->count++;
		left--;
	}
	ret_reverse->exact = left == 0;
}

bool rail_reverse_matches(const struct rail_reverse *reverse, const uint8_t *bytes, size_t count)
{
	for (size_t i = 0; i < count; i++) {
		unsigned int nibble = i % 2 == 0 ? bytes[i / 2] >> 4 : bytes[i / 2] & 0xfU;

		if (reverse->digits[i] != nibble)
			return false;
	}
	return true;
}

static bool is_in_zone(const struct rail_reverse *reverse, const struct private_zone *zone)
{
	size_t last = zone->count - 1U;

	if (reverse->family != zone->family || reverse->count < zone->count)
		return false;
	for (size_t i = 0; i < last; i++) {
		if (reverse->digits[i] != zone->digits[i])
			return false;
	}
	return reverse->digits[last] >= zone->digits[last] &&
	       reverse->digits[last] <= zone->last_maximum;
}

size_t rail_reverse_private_zone(const struct rail_reverse *reverse)
{
	for (size_t i = 0; i < sizeof(private_zones) / sizeof(private_zones[0]); i++) {
		if (is_in_zone(reverse, &private_zones[i]))
			return private_zones[i].count;
	}
	return 0;
}
