#include "pkg/ipam/address.h"

#include <arpa/inet.h>
#include <criterion/criterion.h>
#include <errno.h>
#include <stdio.h>
#include <string.h>

static struct in6_addr address_of(const char *text)
{
	struct in6_addr address;

	cr_assert_eq(inet_pton(AF_INET6, text, &address), 1, "%s", text);
	return address;
}

static bool equal(const struct in6_addr *one, const struct in6_addr *other)
{
	return memcmp(one, other, sizeof(*one)) == 0;
}

static struct rail_prefix prefix_of(const char *text)
{
	struct in6_addr address = address_of(text);

	return rail_address_split(&address).prefix;
}

Test(ipam_address, fields_stand_in_the_order_of_the_plan)
{
	struct rail_address_parts parts = {
		.prefix = {{0xfd, 0x12, 0x34, 0x56, 0x78, 0x9a}},
		.service = 0xabcd,
		.node = 0x00010002,
		.counter = 0xfffffffe,
	};
	struct in6_addr address = rail_address_compose(&parts);
	struct in6_addr expected = address_of("fd12:3456:789a:abcd:1:2:ffff:fffe");

	cr_assert(equal(&address, &expected));

	struct rail_address_parts back = rail_address_split(&address);
	cr_assert(rail_prefix_equal(&back.prefix, &parts.prefix));
	cr_assert_eq(back.service, parts.service);
	cr_assert_eq(back.node, parts.node);
	cr_assert_eq(back.counter, parts.counter);
}

Test(ipam_address, the_resolvers_address)
{
	struct in6_addr expected = address_of("fd12::10");

	cr_assert(equal(&rail_resolver_address, &expected));
}

Test(ipam_address, pools_that_are_ranges_of_fd00_8_are_taken)
{
	static const struct {
		const char *text;
		unsigned int length;
	} rows[] = {
		{"fd00::/8", 8},	{"fd80::/9", 9},
		{"fd12:3400::/22", 22}, {"fdab:cdef:1234::/48", 48},
		{"fd12:3456::/32", 32}, {"fdFF:ffff:ffff::/48", 48},
	};

	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		struct rail_error error = RAIL_ERROR_NONE;
		struct rail_pool pool;

		cr_assert_eq(rail_pool_parse(rows[i].text, &pool, &error), 0, "%s: %s",
			     rows[i].text, error.message);
		cr_assert_eq(pool.length, rows[i].length);
		cr_assert_eq(pool.base.s6_addr[0], 0xfd);
	}
}

Test(ipam_address, pools_that_are_none_are_refused_with_code_7)
{
	static const char *const rows[] = {
		"",
		"fd00::",
		"/8",
		"fd00::/",
		"fd00::/x",
		"fd00::/8 ",
		" fd00::/8",
		"fd00::/+8",
		"fd00::/-8",
		"fd00::/0x8",
		"fd00::/7",
		"fc00::/7",
		"fc00::/8",
		"fd00::/49",
		"fd00::/128",
		"fd00::/129",
		"fd00::/4294967304",
		"fd00::1/8",
		"fd01::/8",
		"fd12:3456:7a00::/38",
		"10.0.0.0/8",
		"2001:db8::/32",
		"fd00::/8/8",
		"fd00:0000:0000:0000:0000:0000:0000:0000:0000:0000:0000:0000/8",
	};

	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		struct rail_error error = RAIL_ERROR_NONE;
		struct rail_pool pool;

		cr_assert_eq(rail_pool_parse(rows[i], &pool, &error), -EINVAL, "'%s'", rows[i]);
		cr_assert_eq(error.code, RAIL_CODE_INVALID_CONFIG);
		cr_assert_neq(strstr(error.message, rows[i]), NULL, "%s", error.message);
	}
}

Test(ipam_address, a_prefix_is_the_pools_bits_and_then_random_ones)
{
	static const uint8_t ones[6] = {0xff, 0xff, 0xff, 0xff, 0xff, 0xff};
	static const struct {
		const char *pool;
		const char *prefix;
	} rows[] = {
		{"fd00::/8", "fdff:ffff:ffff::"},
		{"fd00::/9", "fd7f:ffff:ffff::"},
		{"fd12:3400::/22", "fd12:37ff:ffff::"},
		{"fd12:3456::/32", "fd12:3456:ffff::"},
		{"fd12:3456:7890::/47", "fd12:3456:7891::"},
		{"fd12:3456:7890::/48", "fd12:3456:7890::"},
	};

	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		struct rail_prefix expected = prefix_of(rows[i].prefix);
		struct rail_prefix prefix;
		struct rail_pool pool;

		cr_assert_eq(rail_pool_parse(rows[i].pool, &pool, NULL), 0);
		cr_assert(rail_prefix_make(&pool, ones, &prefix));
		cr_assert(rail_prefix_equal(&prefix, &expected), "%s", rows[i].pool);
	}
}

Test(ipam_address, prefixes_that_nobody_gets)
{
	static const struct {
		uint8_t random[6];
		bool usable;
	} rows[] = {
		{{0x55, 0x12, 0, 0, 0, 0}, false}, /* fd12::/48, the resolver's */
		{{0x55, 0x00, 0, 0, 0, 0}, false}, {{0x55, 0x12, 0, 0, 0, 1}, true},
		{{0x55, 0x00, 0, 0, 0, 1}, true},  {{0x55, 0x13, 0, 0, 0, 0}, true},
		{{0x55, 0x12, 1, 0, 0, 0}, true},
	};
	struct rail_pool pool;

	cr_assert_eq(rail_pool_parse("fd00::/8", &pool, NULL), 0);
	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		struct rail_prefix prefix;

		cr_assert_eq(rail_prefix_make(&pool, rows[i].random, &prefix), rows[i].usable,
			     "row %zu", i);
	}
}

Test(ipam_address, a_prefix_contains_its_own_addresses_only)
{
	struct rail_prefix prefix = prefix_of("fd12:3456:789a::");
	struct in6_addr inside = address_of("fd12:3456:789a:ffff:ffff:ffff:ffff:ffff");
	struct in6_addr below = address_of("fd12:3456:7899:ffff:ffff:ffff:ffff:ffff");
	struct in6_addr above = address_of("fd12:3456:789b::");

	cr_assert(rail_prefix_contains(&prefix, &inside));
	cr_assert_not(rail_prefix_contains(&prefix, &below));
	cr_assert_not(rail_prefix_contains(&prefix, &above));
}

Test(ipam_address, prefixes_and_subnets_as_text)
{
	struct rail_prefix longest = prefix_of("fdff:ffff:ffff::");
	struct rail_prefix shortest = prefix_of("fd00::");
	char text[RAIL_PREFIX_TEXT_SIZE];

	rail_prefix_format(&longest, text);
	cr_assert_str_eq(text, "fdff:ffff:ffff::/48");
	rail_subnet_format(&longest, 0xffff, text);
	cr_assert_str_eq(text, "fdff:ffff:ffff:ffff::/64");
	rail_prefix_format(&shortest, text);
	cr_assert_str_eq(text, "fd00::/48");
	rail_subnet_format(&longest, 5, text);
	cr_assert_str_eq(text, "fdff:ffff:ffff:5::/64");
}

Test(ipam_address, service_numbers_are_the_same_on_every_node_and_never_0)
{
	/* Written down: a change of the hash would part the nodes of a cluster. */
	cr_assert_eq(rail_service_number_start("api"), 0x92ed);
	cr_assert_eq(rail_service_number_start("db"), 0x91df);

	for (unsigned int i = 0; i < 300000; i++) {
		char label[16];

		(void)snprintf(label, sizeof(label), "s%u", i);
		cr_assert_neq(rail_service_number_start(label), RAIL_SERVICE_OWN, "%s", label);
	}
}

Test(ipam_address, the_search_for_a_number_visits_all_but_0)
{
	static bool seen[UINT16_MAX + 1];
	uint16_t number = 0xfff0;

	for (int i = 0; i < UINT16_MAX; i++) {
		cr_assert_not(seen[number]);
		cr_assert_neq(number, RAIL_SERVICE_OWN);
		seen[number] = true;
		number = rail_service_number_next(number);
	}
	cr_assert_eq(number, 0xfff0);
	cr_assert_eq(rail_service_number_next(UINT16_MAX), 1);
}

Test(ipam_address, requested_addresses_of_the_services_own_part_are_taken)
{
	static const char *const rows[] = {"fd12:3456:789a:5::1", "fd12:3456:789a:5::1/64",
					   "fd12:3456:789a:5::ffff:ffff/128",
					   "FD12:3456:789A:5:0:0:0:10"};
	struct rail_prefix prefix = prefix_of("fd12:3456:789a::");

	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		struct rail_error error = RAIL_ERROR_NONE;
		struct in6_addr address;

		cr_assert_eq(rail_requested_address_parse(rows[i], &prefix, 5, &address, &error), 0,
			     "%s", error.message);
		cr_assert_eq(rail_address_split(&address).service, 5);
		cr_assert_eq(rail_address_split(&address).node, RAIL_NODE_REQUESTED);
	}
}

Test(ipam_address, requested_addresses_of_others_are_refused_naming_the_subnet)
{
	static const char *const rows[] = {
		"",
		"db",
		"10.0.0.1",
		"fd12:3456:789a:5::", /* the subnet-router anycast address */
		"fd12:3456:789a:5::/64",
		"fd12:3456:789a:6::1",	    /* another service */
		"fd12:3456:789b:5::1",	    /* another environment */
		"fd12:3456:789a::1",	    /* the suite's own /64 */
		"fd12:3456:789a:5:0:1:0:1", /* a node's part */
		"fd12:3456:789a:5:8000::1",
		"fd12:3456:789a:5::1/63",
		"fd12:3456:789a:5::1/0",
		"fd12:3456:789a:5::1/",
		"fd12:3456:789a:5::1/129",
		"fd12:3456:789a:5::1%lo",
		"::1",
		"fd12::10",
	};
	struct rail_prefix prefix = prefix_of("fd12:3456:789a::");

	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		struct rail_error error = RAIL_ERROR_NONE;
		struct in6_addr address;

		cr_assert_eq(rail_requested_address_parse(rows[i], &prefix, 5, &address, &error),
			     -EINVAL, "'%s'", rows[i]);
		cr_assert_eq(error.code, RAIL_CODE_INVALID_CONFIG);
		cr_assert_neq(strstr(error.message, "fd12:3456:789a:5::/64"), NULL, "%s",
			      error.message);
	}
}
