#include <criterion/criterion.h>

#include <netinet/in.h>
#include <stdio.h>
#include <sys/socket.h>

#include "pkg/dns/cache.h"
#include "pkg/dns/forward.h"
#include "test/unit/dns/wire.h"

enum {
	TYPE_A = 1,
	TYPE_CNAME = 5,
	TYPE_SOA = 6,
	TYPE_TXT = 16,
	TYPE_OPT = 41,
	ANSWER = 0,
	AUTHORITY = 1,
	ADDITIONAL = 2,
	NXDOMAIN = 3,
	SERVFAIL = 2,
	TC = 0x0200,
};

/* ---- messages ---- */

struct message {
	uint8_t bytes[RAIL_CACHE_MESSAGE_MAXIMUM + 100];
	size_t size;
};

static void put(struct message *message, const void *bytes, size_t size)
{
	cr_assert_leq(message->size + size, sizeof(message->bytes));
	memcpy(message->bytes + message->size, bytes, size);
	message->size += size;
}

static void put_number(struct message *message, uint32_t number, size_t size)
{
	for (size_t i = size; i > 0; i--) {
		uint8_t byte = (uint8_t)(number >> (8 * (i - 1)));

		put(message, &byte, 1);
	}
}

/* Of example.org, class IN. */
static struct message begin(unsigned int flags, unsigned int type)
{
	struct message message = {0};

	put_number(&message, 0x1234, 2);
	put_number(&message, 0x8180 | flags, 2);
	put_number(&message, 1, 2);
	put_number(&message, 0, 2);
	put_number(&message, 0, 2);
	put_number(&message, 0, 2);
	put(&message, "\7example\3org", 13);
	put_number(&message, type, 2);
	put_number(&message, 1, 2);
	return message;
}

static void add(struct message *message, size_t section, unsigned int type, uint32_t ttl,
		const void *data, size_t size)
{
	message->bytes[7 + 2 * section]++;
	put(message, "\xc0\x0c", 2);
	put_number(message, type, 2);
	put_number(message, 1, 2);
	put_number(message, ttl, 4);
	put_number(message, (uint32_t)size, 2);
	put(message, data, size);
}

static void add_soa(struct message *message, uint32_t ttl, uint32_t minimum)
{
	struct message data = {0};

	put(&data, "\0\0", 2);
	for (int i = 0; i < 4; i++)
		put_number(&data, 86400, 4);
	put_number(&data, minimum, 4);
	add(message, AUTHORITY, TYPE_SOA, ttl, data.bytes, data.size);
}

/* ---- questions ---- */

static struct rail_endpoint upstream(uint8_t last, uint16_t port)
{
	struct rail_endpoint endpoint = {.family = AF_INET, .port = port};

	endpoint.address.v4.s_addr = htonl(0x7f000000U | last);
	return endpoint;
}

static struct rail_question question_of(const struct rail_endpoint *upstreams, size_t count,
					const char *name, uint16_t type, uint16_t flags,
					bool dnssec)
{
	struct rail_dns_query query = {
		.header.flags = flags, .type = type, .class = 1, .dnssec_ok = dnssec};
	struct rail_question question;

	rail_name_init(&query.name);
	cr_assert_eq(rail_name_append(&query.name, name, strlen(name)), 0);
	cr_assert_eq(rail_question_init(&question, upstreams, count, &query), 0);
	return question;
}

static struct rail_question question_named(const char *name)
{
	const struct rail_endpoint one = upstream(1, 53);

	return question_of(&one, 1, name, TYPE_A, 0, false);
}

static bool is_same(const struct rail_question *one, const struct rail_question *other)
{
	return one->size == other->size && memcmp(one->bytes, other->bytes, one->size) == 0;
}

Test(dns_question, differs_with_whatever_the_answer_may_depend_on)
{
	const struct rail_endpoint one[] = {upstream(1, 53), upstream(2, 53)};
	const struct rail_endpoint turned[] = {upstream(2, 53), upstream(1, 53)};
	const struct rail_endpoint other_port[] = {upstream(1, 54), upstream(2, 53)};
	const struct rail_question base = question_of(one, 2, "api", TYPE_A, 0, false);
	const struct rail_question others[] = {
		question_of(one, 1, "api", TYPE_A, 0, false),
		question_of(turned, 2, "api", TYPE_A, 0, false),
		question_of(other_port, 2, "api", TYPE_A, 0, false),
		question_of(one, 2, "apj", TYPE_A, 0, false),
		question_of(one, 2, "api", TYPE_TXT, 0, false),
		question_of(one, 2, "api", TYPE_A, RAIL_DNS_FLAG_CD, false),
		question_of(one, 2, "api", TYPE_A, RAIL_DNS_FLAG_AD, false),
		question_of(one, 2, "api", TYPE_A, RAIL_DNS_FLAG_RD, false),
		question_of(one, 2, "api", TYPE_A, 0, true),
	};
	const struct rail_question upper = question_of(one, 2, "API", TYPE_A, 0, false);

	for (size_t i = 0; i < sizeof(others) / sizeof(others[0]); i++)
		cr_expect(!is_same(&base, &others[i]), "%zu", i);
	cr_expect(is_same(&base, &upper));
}

Test(dns_question, has_room_for_the_longest)
{
	struct rail_endpoint upstreams[RAIL_UPSTREAM_MAXIMUM + 1] = {0};
	struct rail_dns_query query = {.type = TYPE_A, .class = 1};
	struct rail_question question;
	uint8_t label[63] = "x";

	for (size_t i = 0; i <= RAIL_UPSTREAM_MAXIMUM; i++)
		upstreams[i] = (struct rail_endpoint){.family = AF_INET6, .port = 53};
	rail_name_init(&query.name);
	for (size_t i = 0; i < 3; i++)
		cr_assert_eq(rail_name_append(&query.name, label, 63), 0);
	cr_assert_eq(rail_name_append(&query.name, label, 61), 0);
	cr_assert_eq(query.name.size, RAIL_NAME_SIZE);
	cr_expect_eq(rail_question_init(&question, upstreams, RAIL_UPSTREAM_MAXIMUM, &query), 0);
	cr_expect_eq(question.size, RAIL_QUESTION_SIZE);
	cr_expect_lt(rail_question_init(&question, upstreams, RAIL_UPSTREAM_MAXIMUM + 1, &query),
		     0);
	upstreams[0].family = AF_UNIX;
	cr_expect_lt(rail_question_init(&question, upstreams, 1, &query), 0);
}

/* ---- the cache ---- */

static struct rail_cache *cache;
static struct rail_cache_owner owner;

static void set_up(void)
{
	cache = rail_cache_new(1 << 20);
	cr_assert_not_null(cache);
	rail_cache_owner_init(&owner);
}

static void tear_down(void)
{
	rail_cache_free(cache);
}

TestSuite(dns_cache, .init = set_up, .fini = tear_down);

static void keep(const char *name, const struct message *message, int64_t now_ms)
{
	const struct rail_question question = question_named(name);

	rail_cache_put(cache, &owner, &question, message->bytes, message->size, now_ms);
}

/* The TTL of the first record, or -1 where nothing is kept. */
static int64_t find(const char *name, int64_t now_ms)
{
	const struct rail_question question = question_named(name);
	uint8_t bytes[RAIL_CACHE_MESSAGE_MAXIMUM];
	static struct wire_message parsed;
	size_t size = rail_cache_get(cache, &question, bytes, now_ms);

	if (size == 0)
		return -1;
	cr_assert(wire_parse(bytes, size, &parsed));
	cr_assert_geq(parsed.record_count, 1);
	return parsed.records[0].ttl;
}

Test(dns_cache, keeps_an_answer_for_as_long_as_it_holds_and_counts_down)
{
	struct message message = begin(0, TYPE_A);

	add(&message, ANSWER, TYPE_A, 60, "\1\2\3\4", 4);
	cr_expect_eq(find("api", 0), -1);
	keep("api", &message, 5000);
	cr_expect_eq(find("api", 5000), 60);
	cr_expect_eq(find("api", 5999), 60);
	cr_expect_eq(find("api", 6000), 59);
	cr_expect_eq(find("api", 64999), 1);
	cr_expect_eq(find("other", 6000), -1);
	cr_expect_eq(find("api", 65000), -1);
	/* It is gone, not hidden. */
	cr_expect_eq(find("api", 6000), -1);
}

Test(dns_cache, gives_the_message_back_byte_for_byte)
{
	struct message message = begin(0x0420, TYPE_A);
	const struct rail_question question = question_named("api");
	uint8_t bytes[RAIL_CACHE_MESSAGE_MAXIMUM];

	add(&message, ANSWER, TYPE_A, 60, "\1\2\3\4", 4);
	add(&message, ADDITIONAL, TYPE_OPT, 0x00008000, "", 0);
	keep("api", &message, 0);
	cr_assert_eq(rail_cache_get(cache, &question, bytes, 0), message.size);
	cr_expect_arr_eq(bytes, message.bytes, message.size);
	/* An OPT's TTL is none. */
	message.bytes[12 + 13 + 4 + 2 + 4 + 3] -= 7;
	cr_assert_eq(rail_cache_get(cache, &question, bytes, 7000), message.size);
	cr_expect_arr_eq(bytes, message.bytes, message.size);
}

Test(dns_cache, the_least_ttl_of_all_sections_ends_it)
{
	struct message message = begin(0, TYPE_A);

	add(&message, ANSWER, TYPE_A, 60, "\1\2\3\4", 4);
	add(&message, ADDITIONAL, TYPE_A, 10, "\1\2\3\4", 4);
	keep("api", &message, 0);
	cr_expect_eq(find("api", 9999), 51);
	cr_expect_eq(find("api", 10000), -1);
}

Test(dns_cache, keeps_nothing_for_longer_than_an_hour)
{
	struct message message = begin(0, TYPE_A);

	add(&message, ANSWER, TYPE_A, 86400, "\1\2\3\4", 4);
	keep("api", &message, 0);
	cr_expect_eq(find("api", 3599999), 86400 - 3599);
	cr_expect_eq(find("api", 3600000), -1);
}

Test(dns_cache, keeps_a_negative_answer_by_its_soa_only)
{
	struct message bare = begin(NXDOMAIN, TYPE_A);
	struct message by_minimum = begin(NXDOMAIN, TYPE_A);
	struct message by_ttl = begin(0, TYPE_A);
	struct message alias = begin(0, TYPE_A);
	struct message bare_alias = begin(0, TYPE_A);

	keep("bare", &bare, 0);
	cr_expect_eq(find("bare", 0), -1);

	add_soa(&by_minimum, 900, 30);
	keep("minimum", &by_minimum, 0);
	/* The client goes by the SOA's TTL, too. */
	cr_expect_eq(find("minimum", 0), 30);
	cr_expect_eq(find("minimum", 29999), 1);
	cr_expect_eq(find("minimum", 30000), -1);

	add_soa(&by_ttl, 20, 300);
	keep("nodata", &by_ttl, 0);
	cr_expect_eq(find("nodata", 19000), 1);
	cr_expect_eq(find("nodata", 20000), -1);

	/* An alias whose target has no such record. */
	add(&alias, ANSWER, TYPE_CNAME, 50, "\0", 1);
	add_soa(&alias, 900, 40);
	keep("alias", &alias, 0);
	cr_expect_eq(find("alias", 39999), 11);
	cr_expect_eq(find("alias", 40000), -1);
	add(&bare_alias, ANSWER, TYPE_CNAME, 50, "\0", 1);
	keep("bare-alias", &bare_alias, 0);
	cr_expect_eq(find("bare-alias", 0), -1);
}

Test(dns_cache, keeps_only_what_was_answered_whole)
{
	static const unsigned int flags[] = {SERVFAIL, 5, 1, 4, TC, TC | NXDOMAIN};
	struct message message;

	for (size_t i = 0; i < sizeof(flags) / sizeof(flags[0]); i++) {
		message = begin(flags[i], TYPE_A);
		add(&message, ANSWER, TYPE_A, 60, "\1\2\3\4", 4);
		add_soa(&message, 60, 60);
		keep("api", &message, 0);
		cr_expect_eq(find("api", 0), -1, "flags %#x", flags[i]);
	}
	/* Zero, and what counts as zero. */
	for (int i = 0; i < 2; i++) {
		message = begin(0, TYPE_A);
		add(&message, ANSWER, TYPE_A, i == 0 ? 0 : 0x80000001U, "\1\2\3\4", 4);
		keep("api", &message, 0);
		cr_expect_eq(find("api", 0), -1);
	}
	/* The upper bits of a response code are in the OPT. */
	message = begin(0, TYPE_A);
	add(&message, ANSWER, TYPE_A, 60, "\1\2\3\4", 4);
	add(&message, ADDITIONAL, TYPE_OPT, 0x01000000, "", 0);
	keep("api", &message, 0);
	cr_expect_eq(find("api", 0), -1);
	/* Any part of a message. */
	message = begin(0, TYPE_A);
	add(&message, ANSWER, TYPE_A, 60, "\1\2\3\4", 4);
	for (size_t size = message.size; size-- > 0;) {
		struct message part = message;

		part.size = size;
		keep("api", &part, 0);
		cr_expect_eq(find("api", 0), -1, "%zu bytes", size);
	}
}

Test(dns_cache, the_newest_answer_counts_also_where_it_is_not_kept)
{
	struct message message = begin(0, TYPE_A);
	struct message newer = begin(0, TYPE_A);
	struct message failure = begin(SERVFAIL, TYPE_A);

	add(&message, ANSWER, TYPE_A, 60, "\1\2\3\4", 4);
	add(&newer, ANSWER, TYPE_A, 30, "\1\2\3\4", 4);
	keep("api", &message, 0);
	keep("api", &newer, 0);
	cr_expect_eq(find("api", 0), 30);
	keep("api", &failure, 0);
	cr_expect_eq(find("api", 0), -1);
}

static size_t count_found(const char *prefix, unsigned int count)
{
	size_t found = 0;

	for (unsigned int i = 0; i < count; i++) {
		char name[32];

		(void)snprintf(name, sizeof(name), "%s-%u", prefix, i);
		found += find(name, 0) >= 0 ? 1 : 0;
	}
	return found;
}

static void keep_many(const char *prefix, unsigned int count, const struct message *message)
{
	for (unsigned int i = 0; i < count; i++) {
		char name[32];

		(void)snprintf(name, sizeof(name), "%s-%u", prefix, i);
		keep(name, message, 0);
	}
}

Test(dns_cache, is_bounded_and_who_floods_it_loses_their_own)
{
	struct rail_cache_statistics statistics;
	struct rail_cache_owner quiet;
	struct message message = begin(0, TYPE_A);
	const struct rail_question question = question_named("quiet");
	uint8_t bytes[RAIL_CACHE_MESSAGE_MAXIMUM];

	add(&message, ANSWER, TYPE_A, 60, "\1\2\3\4", 4);
	rail_cache_owner_init(&quiet);
	rail_cache_put(cache, &quiet, &question, message.bytes, message.size, 0);
	keep_many("flood", 20000, &message);
	rail_cache_statistics(cache, &statistics);
	cr_expect_leq(owner.size, (1 << 20) / 4);
	cr_expect_geq(owner.size, (1 << 20) / 4 - 1024);
	cr_expect_eq(statistics.size, owner.size + quiet.size);
	cr_expect_geq(statistics.evicted, 1);
	cr_expect_gt(rail_cache_get(cache, &question, bytes, 0), 0);
	/* The last ones are there, the first ones are not. */
	cr_expect_eq(find("flood-19999", 0), 60);
	cr_expect_eq(find("flood-0", 0), -1);
	rail_cache_disown(cache, &quiet);
	rail_cache_disown(cache, &owner);
	cr_expect_eq(find("flood-19999", 0), 60);
}

Test(dns_cache, what_was_not_used_for_longest_goes_first)
{
	struct rail_cache_statistics statistics;
	struct message message = begin(0, TYPE_A);

	add(&message, ANSWER, TYPE_A, 60, "\1\2\3\4", 4);
	keep("first", &message, 0);
	keep("second", &message, 0);
	cr_assert_eq(find("first", 0), 60);
	rail_cache_disown(cache, &owner);
	/* Five that take a quarter each, of which four find room. */
	for (size_t i = 0; i < 5; i++) {
		char prefix[8];

		(void)snprintf(prefix, sizeof(prefix), "o%zu", i);
		rail_cache_owner_init(&owner);
		keep_many(prefix, 2000, &message);
		if (i == 1)
			cr_expect_eq(find("first", 0), 60);
		rail_cache_disown(cache, &owner);
	}
	rail_cache_statistics(cache, &statistics);
	cr_expect_leq(statistics.size, 1 << 20);
	cr_expect_eq(find("second", 0), -1);
	cr_expect_gt(count_found("o4", 2000), 0);
	cr_expect_lt(count_found("o0", 2000), count_found("o1", 2000) + 1);
}
