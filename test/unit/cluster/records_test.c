#include "pkg/cluster/records.h"

#include <arpa/inet.h>
#include <criterion/criterion.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "pkg/base/cleanup.h"

#define KEY "AQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQE="

static struct in6_addr address_of(const char *text)
{
	struct in6_addr address;

	cr_assert_eq(inet_pton(AF_INET6, text, &address), 1);
	return address;
}

Test(cluster_records, keys_come_back_as_what_they_are_of)
{
	struct in6_addr address = address_of("fd12:3456:789a:7:0:5:0:9");
	struct rail_prefix prefix = rail_address_split(&address).prefix;
	const char *label = NULL;
	struct in6_addr read;
	uint16_t number = 0;
	rail_cluster_key key;

	rail_key_of_member(&address, key);
	cr_assert_str_eq(key, "railway/1/in/fd123456789a/members/fd123456789a00070000000500000009");
	cr_assert_eq(rail_key_parse(key, &prefix, &label, &number, &read), RAIL_INSIDE_MEMBER);
	cr_assert(IN6_ARE_ADDR_EQUAL(&read, &address));
	rail_key_of_claim(&address, key);
	cr_assert_eq(rail_key_parse(key, &prefix, &label, &number, &read), RAIL_INSIDE_CLAIM);
	rail_key_of_service(&prefix, "api", key);
	cr_assert_eq(rail_key_parse(key, &prefix, &label, &number, &read), RAIL_INSIDE_SERVICE);
	cr_assert_str_eq(label, "api");
	rail_key_of_number(&prefix, 0xabcd, key);
	cr_assert_eq(rail_key_parse(key, &prefix, &label, &number, &read), RAIL_INSIDE_NUMBER);
	cr_assert_eq(number, 0xabcd);
}

Test(cluster_records, keys_that_are_nobody_s)
{
	static const char *const keys[] = {
		"railway/1/in/fd123456789b/members/fd123456789b00070000000500000009",
		"railway/1/in/fd123456789a/members/fd123456789b00070000000500000009",
		"railway/1/in/fd123456789a/members/FD123456789A00070000000500000009",
		"railway/1/in/fd123456789a/members/fd123456789a000700000005000000091",
		"railway/1/in/fd123456789a/members/",
		"railway/1/in/fd123456789a/services/UPPER",
		"railway/1/in/fd123456789a/services/a/b",
		"railway/1/in/fd123456789a/numbers/12345",
		"railway/1/in/fd123456789a/",
		"",
	};
	const struct rail_prefix prefix = {{0xfd, 0x12, 0x34, 0x56, 0x78, 0x9a}};
	const char *label;
	struct in6_addr address;
	uint16_t number;

	for (size_t i = 0; i < sizeof(keys) / sizeof(keys[0]); i++)
		cr_assert_eq(rail_key_parse(keys[i], &prefix, &label, &number, &address),
			     RAIL_INSIDE_UNKNOWN, "%s", keys[i]);
}

Test(cluster_records, a_member_comes_back_as_it_was_published)
{
	struct in6_addr address = address_of("fd12:3456:789a:7:0:5:0:9");
	struct rail_published sent = {
		.node = 5, .endpoint_count = 2, .named = true, .replica = "r"};
	struct rail_published received;
	struct rail_error error = RAIL_ERROR_NONE;

	memset(&sent.public_key, 1, sizeof(sent.public_key));
	sent.endpoints[0] = (struct rail_endpoint){.family = AF_INET, .port = 65535};
	sent.endpoints[0].address.v4.s_addr = inet_addr("192.0.2.1");
	sent.endpoints[1] = (struct rail_endpoint){.family = AF_INET6, .port = 1};
	sent.endpoints[1].address.v6 = address_of("2001:db8::1");

	RAIL_FREE char *text = rail_published_encode(&sent);

	cr_assert_str_eq(text, "{\"node\":5,\"key\":\"" KEY "\",\"endpoints\":[\"192.0.2.1:65535\","
			       "\"[2001:db8::1]:1\"],\"replica\":\"r\",\"named\":true}");
	cr_assert_eq(rail_published_parse(text, &address, &received, &error), 0, "%s",
		     error.message);
	cr_assert_eq(received.node, 5);
	cr_assert_eq(received.endpoint_count, 2);
	cr_assert_eq(received.endpoints[1].port, 1);
	cr_assert(received.named);
	cr_assert_str_eq(received.replica, "r");
}

static void refused(const char *address_text, const char *record, const char *says)
{
	struct in6_addr address = address_of(address_text);
	struct rail_published published;
	struct rail_error error = RAIL_ERROR_NONE;

	cr_assert_eq(rail_published_parse(record, &address, &published, &error), -EBADMSG, "%s",
		     record);
	cr_assert(strstr(error.message, says) != NULL, "%s: %s", record, error.message);
}

#define RECORD(node, key, endpoints, replica)                                                      \
	"{\"node\":" node ",\"key\":\"" key "\",\"endpoints\":[" endpoints                         \
	"],\"replica\":\"" replica "\",\"named\":true}"

Test(cluster_records, members_that_are_none)
{
	static const char ours[] = "fd12:3456:789a:7:0:5:0:9";
	static const char *const endpoints[] = {
		"",
		"\"127.0.0.1:1\"",
		"\"0.0.0.0:1\"",
		"\"224.0.0.1:1\"",
		"\"255.255.255.255:1\"",
		"\"169.254.1.1:1\"",
		"\"192.0.2.1:0\"",
		"\"192.0.2.1:65536\"",
		"\"192.0.2.1:01\"",
		"\"192.0.2.1\"",
		"\"[::1]:1\"",
		"\"[::ffff:127.0.0.1]:1\"",
		"\"[fe80::1]:1\"",
		"\"[ff02::1]:1\"",
		"\"[2001:db8::1:1\"",
		"\"[:1\"",
		"\"example.com:1\"",
		"1",
		"\"192.0.2.1:1\",\"192.0.2.2:1\",\"192.0.2.3:1\"",
	};

	refused(ours, NULL, "too large");
	refused(ours, "", "no JSON");
	refused(ours, "[]", "no JSON object");
	refused(ours, RECORD("1", KEY, "\"192.0.2.1:1\"", "r"), "'node'");
	refused(ours, RECORD("4294967296", KEY, "\"192.0.2.1:1\"", "r"), "'node'");
	refused(ours, RECORD("6", KEY, "\"192.0.2.1:1\"", "r"), "another node's");
	refused("fd12:3456:789a:0:0:5:0:9", RECORD("5", KEY, "\"192.0.2.1:1\"", "r"), "subnet");
	refused(ours, RECORD("5", "AAAA", "\"192.0.2.1:1\"", "r"), "'key'");
	refused(ours,
		RECORD("5", "AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=", "\"192.0.2.1:1\"", "r"),
		"'key'");
	refused(ours, RECORD("5", KEY, "\"192.0.2.1:1\"", "R"), "'replica'");
	refused(ours, RECORD("5", KEY, "\"192.0.2.1:1\"", ""), "'replica'");
	for (size_t i = 0; i < sizeof(endpoints) / sizeof(endpoints[0]); i++) {
		char record[256];

		(void)snprintf(record, sizeof(record), RECORD("5", KEY, "%s", "r"), endpoints[i]);
		refused(ours, record, "'endpoints'");
	}
}

Test(cluster_records, requested_addresses_and_those_of_before_belong_to_whoever_was_first)
{
	static const char *const addresses[] = {"fd12:3456:789a:7::9", "fd12:3456:789a:7:0:1:0:9"};

	for (size_t i = 0; i < 2; i++) {
		struct in6_addr address = address_of(addresses[i]);
		struct rail_published published;

		cr_assert_eq(rail_published_parse(RECORD("5", KEY, "\"192.0.2.1:1\"", "r"),
						  &address, &published, NULL),
			     0);
	}
}

Test(cluster_records, services_and_prefixes)
{
	char original[RAIL_ORIGINAL_NAME_SIZE];
	struct rail_prefix prefix;
	uint16_t number = 0;
	RAIL_FREE char *text = rail_service_record_encode(7, "My Service");

	cr_assert_eq(rail_service_record_parse(text, "my-service", &number, original, NULL), 0);
	cr_assert_eq(number, 7);
	cr_assert_str_eq(original, "My Service");
	cr_assert_eq(rail_service_record_parse(text, "other", &number, original, NULL), -EBADMSG);
	cr_assert_eq(rail_service_record_parse("{\"number\":0,\"original\":\"a\"}", "a", &number,
					       original, NULL),
		     -EBADMSG);
	cr_assert_eq(rail_prefix_record_parse("{\"prefix\":\"fd123456789a\"}", &prefix, NULL), 0);
	cr_assert_eq(prefix.bytes[5], 0x9a);
	/* The resolver's, one outside fd00::/8, and too short a one. */
	cr_assert_eq(rail_prefix_record_parse("{\"prefix\":\"fd1200000000\"}", &prefix, NULL),
		     -EBADMSG);
	cr_assert_eq(rail_prefix_record_parse("{\"prefix\":\"fc123456789a\"}", &prefix, NULL),
		     -EBADMSG);
	cr_assert_eq(rail_prefix_record_parse("{\"prefix\":\"fd123456789\"}", &prefix, NULL),
		     -EBADMSG);
}
