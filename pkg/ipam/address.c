#include "pkg/ipam/address.h"

#include <arpa/inet.h>
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "pkg/base/bytes.h"

enum {
	ADDRESS_BITS = 128,
	PREFIX_BITS = 48,
	SUBNET_BITS = 64,
	POOL_BITS_MINIMUM = 8,
	UNIQUE_LOCAL = 0xfd, /* the first byte of RFC 4193's locally assigned half */
};

const struct in6_addr rail_resolver_address = {
	.s6_addr = {UNIQUE_LOCAL, 0x12, [15] = 0x10},
};

struct in6_addr rail_address_compose(const struct rail_address_parts *parts)
{
	struct in6_addr address = IN6ADDR_ANY_INIT;
	struct rail_writer writer = rail_writer_init(address.s6_addr, sizeof(address.s6_addr));

	rail_write_bytes(&writer, parts->prefix.bytes, sizeof(parts->prefix.bytes));
	rail_write_u16(&writer, parts->service);
	rail_write_u32(&writer, parts->node);
	rail_write_u32(&writer, parts->counter);
	return address;
}

struct rail_address_parts rail_address_split(const struct in6_addr *address)
{
	struct rail_address_parts parts = {.service = 0};
	struct rail_reader reader = rail_reader_init(address->s6_addr, sizeof(address->s6_addr));

	rail_read_bytes(&reader, parts.prefix.bytes, sizeof(parts.prefix.bytes));
	parts.service = rail_read_u16(&reader);
	parts.node = rail_read_u32(&reader);
	parts.counter = rail_read_u32(&reader);
	return parts;
}

/* Whether a bit is set behind the first length ones. */
static bool bits_beyond(const uint8_t *bytes, size_t size, unsigned int length)
{
	for (size_t i = 0; i < size; i++) {
		unsigned int start = (unsigned int)i * 8;
		unsigned int mask = 0xff;

		if (start + 8 <= length)
			continue;
		if (start < length)
			mask = 0xffU >> (length - start);
		if (bytes[i] & mask)
			return true;
	}
	return false;
}

/* Splits "address/length". A missing length gives the address's full one. Digits only: no sign, no
 * blank, three at most. */
static bool parse_cidr(const char *text, struct in6_addr *ret_address, unsigned int *ret_length)
{
	const char *slash = strchr(text, '/');
	size_t size = slash != NULL ? (size_t)(slash - text) : strlen(text);
	unsigned int length = ADDRESS_BITS;
	char address[INET6_ADDRSTRLEN];

	if (size >= sizeof(address))
		return false;
	memcpy(address, text, size);
	address[size] = '\0';
	if (inet_pton(AF_INET6, address, ret_address) != 1)
		return false;

	if (slash != NULL) {
		const char *digits = slash + 1;
		size_t count = strspn(digits, "0123456789");

		if (count == 0 || count > 3 || digits[count] != '\0')
			return false;
		length = 0;
		for (size_t i = 0; i < count; i++)
			length = length * 10 + (unsigned int)(digits[i] - '0');
		if (length > ADDRESS_BITS)
			return false;
	}
	*ret_length = length;
	return true;
}

int rail_pool_parse(const char *text, struct rail_pool *ret_pool, struct rail_error *error)
{
	struct rail_pool pool = {.length = 0};

	if (strchr(text, '/') == NULL || !parse_cidr(text, &pool.base, &pool.length))
		return rail_fail_code(error, RAIL_CODE_INVALID_CONFIG, EINVAL,
				      "pool '%.64s' is no IPv6 range; write one like \"fd00::/8\"",
				      text);
	if (pool.length < POOL_BITS_MINIMUM || pool.length > PREFIX_BITS)
		return rail_fail_code(error, RAIL_CODE_INVALID_CONFIG, EINVAL,
				      "pool '%.64s': the length must be between %d and %d bits, "
				      "as every environment gets a /%d of it",
				      text, POOL_BITS_MINIMUM, PREFIX_BITS, PREFIX_BITS);
	if (pool.base.s6_addr[0] != UNIQUE_LOCAL)
		return rail_fail_code(error, RAIL_CODE_INVALID_CONFIG, EINVAL,
				      "pool '%.64s' is outside fd00::/8, the range for private "
				      "networks (RFC 4193)",
				      text);
	if (bits_beyond(pool.base.s6_addr, sizeof(pool.base.s6_addr), pool.length))
		return rail_fail_code(error, RAIL_CODE_INVALID_CONFIG, EINVAL,
				      "pool '%.64s' has bits set behind its first %u", text,
				      pool.length);

	*ret_pool = pool;
	return 0;
}

bool rail_prefix_make(const struct rail_pool *pool, const uint8_t random[6],
		      struct rail_prefix *ret_prefix)
{
	static const uint8_t nothing[4];
	struct rail_prefix prefix;

	for (unsigned int i = 0; i < sizeof(prefix.bytes); i++) {
		unsigned int start = i * 8;
		unsigned int kept = 0xff;

		if (start >= pool->length)
			kept = 0;
		else if (pool->length - start < 8)
			kept = 0xff & ~(0xffU >> (pool->length - start));
		prefix.bytes[i] =
			(uint8_t)((pool->base.s6_addr[i] & kept) | (random[i] & ~kept & 0xff));
	}

	*ret_prefix = prefix;
	bool short_number = memcmp(prefix.bytes + 2, nothing, sizeof(nothing)) == 0;
	return !(short_number &&
		 (prefix.bytes[1] == 0 || prefix.bytes[1] == rail_resolver_address.s6_addr[1]));
}

bool rail_prefix_equal(const struct rail_prefix *one, const struct rail_prefix *other)
{
	return memcmp(one->bytes, other->bytes, sizeof(one->bytes)) == 0;
}

bool rail_prefix_contains(const struct rail_prefix *prefix, const struct in6_addr *address)
{
	return memcmp(prefix->bytes, address->s6_addr, sizeof(prefix->bytes)) == 0;
}

static void format_cidr(const struct rail_address_parts *parts, unsigned int length,
			char text[RAIL_PREFIX_TEXT_SIZE])
{
	struct in6_addr address = rail_address_compose(parts);
	char base[INET6_ADDRSTRLEN];

	(void)inet_ntop(AF_INET6, &address, base, sizeof(base));
	(void)snprintf(text, RAIL_PREFIX_TEXT_SIZE, "%s/%u", base, length);
}

void rail_prefix_format(const struct rail_prefix *prefix, char text[RAIL_PREFIX_TEXT_SIZE])
{
	format_cidr(&(struct rail_address_parts){.prefix = *prefix}, PREFIX_BITS, text);
}

void rail_subnet_format(const struct rail_prefix *prefix, uint16_t service,
			char text[RAIL_PREFIX_TEXT_SIZE])
{
	format_cidr(&(struct rail_address_parts){.prefix = *prefix, .service = service},
		    SUBNET_BITS, text);
}

uint16_t rail_service_number_start(const char *label)
{
	/* FNV-1a, folded. Nodes of one cluster must agree, so it never changes. */
	uint32_t hash = 2166136261;

	for (; *label != '\0'; label++)
		hash = (hash ^ (uint8_t)*label) * 16777619;

	uint16_t number = (uint16_t)(hash >> 16 ^ hash);
	return number != RAIL_SERVICE_OWN ? number : rail_service_number_next(number);
}

uint16_t rail_service_number_next(uint16_t number)
{
	number = (uint16_t)(number + 1);
	return number != RAIL_SERVICE_OWN ? number : (uint16_t)(RAIL_SERVICE_OWN + 1);
}

bool rail_address_text_is_within(const char *text, const struct rail_prefix *prefix)
{
	struct in6_addr address;
	unsigned int length;

	return parse_cidr(text, &address, &length) && rail_prefix_contains(prefix, &address);
}

int rail_requested_address_parse(const char *text, const struct rail_prefix *prefix,
				 uint16_t service, struct in6_addr *ret_address,
				 struct rail_error *error)
{
	char subnet[RAIL_PREFIX_TEXT_SIZE];
	struct in6_addr address;
	unsigned int length;

	rail_subnet_format(prefix, service, subnet);
	if (!parse_cidr(text, &address, &length))
		return rail_fail_code(error, RAIL_CODE_INVALID_CONFIG, EINVAL,
				      "requested address '%.64s' is no IPv6 address; this "
				      "service's are those of %s",
				      text, subnet);
	if (length != SUBNET_BITS && length != ADDRESS_BITS)
		return rail_fail_code(error, RAIL_CODE_INVALID_CONFIG, EINVAL,
				      "requested address '%.64s': the length must be %d or %d; "
				      "this service's subnet is %s",
				      text, SUBNET_BITS, ADDRESS_BITS, subnet);

	struct rail_address_parts parts = rail_address_split(&address);
	if (!rail_prefix_equal(&parts.prefix, prefix) || parts.service != service)
		return rail_fail_code(error, RAIL_CODE_INVALID_CONFIG, EINVAL,
				      "requested address '%.64s' is outside this service's subnet "
				      "%s",
				      text, subnet);
	if (parts.node != RAIL_NODE_REQUESTED)
		return rail_fail_code(error, RAIL_CODE_INVALID_CONFIG, EINVAL,
				      "requested address '%.64s' is one that a node gives out "
				      "itself; of %s the addresses whose third quarter is zero, "
				      "from ::1 to ::ffff:ffff, can be requested",
				      text, subnet);
	if (parts.counter == 0)
		return rail_fail_code(error, RAIL_CODE_INVALID_CONFIG, EINVAL,
				      "requested address '%.64s' is the anycast address of the "
				      "subnet %s (RFC 4291, 2.6.1); take another",
				      text, subnet);

	*ret_address = address;
	return 0;
}
