#include <criterion/criterion.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "pkg/dns/message.h"
#include "test/unit/dns/wire.h"

static int parse(const struct wire_query *query, size_t size, struct rail_dns_query *parsed)
{
	uint8_t *copy = malloc(size > 0 ? size : 1);
	int result;

	memcpy(copy, query->bytes, size);
	result = rail_dns_query_parse(copy, size, parsed);
	free(copy);
	parsed->question = parsed->question != NULL ? query->bytes + 12 : NULL;
	return result;
}

static struct wire_query with_header(const char *header)
{
	struct wire_query query = wire_query_of("api.railway.internal", RAIL_DNS_TYPE_AAAA);

	memcpy(query.bytes, header, 12);
	return query;
}

Test(dns_message, judges_the_header_first)
{
	static const struct {
		const char *header;
		int expected;
	} rows[] = {
		{"\0\1\1\0\0\1\0\0\0\0\0\0", RAIL_DNS_NOERROR},
		{"\0\1\0\0\0\1\0\0\0\0\0\0", RAIL_DNS_NOERROR},
		{"\0\1\7\xff\0\1\0\0\0\0\0\0", RAIL_DNS_NOERROR}, /* all but QR and opcode */
		{"\0\1\x81\0\0\1\0\0\0\0\0\0", -EBADMSG},
		{"\0\1\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff", -EBADMSG},
		{"\0\1\x08\0\0\1\0\0\0\0\0\0", RAIL_DNS_NOTIMP},
		{"\0\1\x28\0\0\1\0\0\0\0\0\0", RAIL_DNS_NOTIMP},
		{"\0\1\x78\0\xff\xff\0\0\0\0\0\0", RAIL_DNS_NOTIMP},
		{"\0\1\1\0\0\0\0\0\0\0\0\0", RAIL_DNS_FORMERR},
		{"\0\1\1\0\0\2\0\0\0\0\0\0", RAIL_DNS_FORMERR},
		{"\0\1\1\0\1\1\0\0\0\0\0\0", RAIL_DNS_FORMERR},
		{"\0\1\1\0\0\1\0\1\0\0\0\0", RAIL_DNS_FORMERR},
		{"\0\1\1\0\0\1\1\0\0\0\0\0", RAIL_DNS_FORMERR},
		{"\0\1\1\0\0\1\0\0\0\1\0\0", RAIL_DNS_FORMERR},
		{"\0\1\1\0\0\1\0\0\0\0\0\1", RAIL_DNS_FORMERR},
		{"\0\1\1\0\0\1\0\0\0\0\0\2", RAIL_DNS_FORMERR},
		{"\0\1\1\0\0\1\0\0\0\0\1\0", RAIL_DNS_FORMERR},
	};

	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		struct wire_query query = with_header(rows[i].header);
		struct rail_dns_query parsed;

		cr_assert_eq(parse(&query, query.size, &parsed), rows[i].expected, "row %zu", i);
		cr_assert_eq(parsed.header.id, 1);
	}
}

Test(dns_message, takes_a_query_at_its_exact_size_only)
{
	static const struct {
		const char *name;
		bool edns;
		const char *options;
		size_t options_size;
	} rows[] = {
		{"", false, "", 0},
		{"", true, "", 0},
		{"a", false, "", 0},
		{"API.railway.internal", true, "", 0},
		{"api.railway.internal", true, "\0\x0a\0\x08\1\2\3\4\5\6\7\x8", 12},
		{"api.railway.internal", true, "\0\3\0\0\xff\xff\0\1x", 9},
	};

	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		struct wire_query query = wire_query_of(rows[i].name, RAIL_DNS_TYPE_A);
		size_t question_end = query.size;
		struct rail_dns_query parsed;

		if (rows[i].edns)
			wire_add_opt(&query, 4096, 0x8000, rows[i].options, rows[i].options_size);
		cr_assert_eq(parse(&query, query.size, &parsed), RAIL_DNS_NOERROR, "row %zu", i);
		cr_assert_eq(parsed.header.id, 0x1234);
		cr_assert_eq(parsed.type, RAIL_DNS_TYPE_A);
		cr_assert_eq(parsed.class, RAIL_DNS_CLASS_IN);
		cr_assert_eq(parsed.question_size, question_end - 12);
		cr_assert_eq(parsed.edns, rows[i].edns);
		cr_assert_eq(parsed.dnssec_ok, rows[i].edns);
		cr_assert_eq(parsed.edns_size, rows[i].edns ? 4096 : 0);

		cr_assert_eq(parse(&query, query.size + 1, &parsed), RAIL_DNS_FORMERR);
		for (size_t size = 0; size < query.size; size++) {
			cr_assert_eq(parse(&query, size, &parsed),
				     size < 12 ? -EBADMSG : RAIL_DNS_FORMERR, "row %zu, %zu bytes",
				     i, size);
			cr_assert_eq(parsed.question != NULL, size >= question_end);
			cr_assert(!parsed.edns && !parsed.dnssec_ok && parsed.edns_size == 0);
		}
	}
}

Test(dns_message, takes_one_well_formed_opt)
{
	static const struct {
		const char *record;
		size_t size;
		int expected;
	} rows[] = {
		{"\0\0\x29\4\xd0\0\0\0\0\0\0", 11, RAIL_DNS_NOERROR},
		{"\0\0\x29\0\0\0\0\x7f\xff\0\0", 11, RAIL_DNS_NOERROR}, /* size 0, unknown flags */
		{"\0\0\x29\4\xd0\0\1\0\0\0\0", 11, RAIL_DNS_BADVERS},
		{"\0\0\x29\4\xd0\0\xff\0\0\0\0", 11, RAIL_DNS_BADVERS},
		{"\0\0\x1c\4\xd0\0\0\0\0\0\0", 11, RAIL_DNS_FORMERR},	 /* another type */
		{"\0\0\xfa\0\xff\0\0\0\0\0\0", 11, RAIL_DNS_FORMERR},	 /* TSIG */
		{"\1a\0\0\x29\4\xd0\0\0\0\0\0\0", 13, RAIL_DNS_FORMERR}, /* owner not the root */
		{"\1\0\x29\4\xd0\0\0\0\0\0\0", 11, RAIL_DNS_FORMERR},
		{"\xc0\x0c\0\x29\4\xd0\0\0\0\0\0\0", 12, RAIL_DNS_FORMERR},
		{"\0\0\x29\4\xd0\0\0\0\0\0\1", 11, RAIL_DNS_FORMERR},	      /* RDATA cut */
		{"\0\0\x29\4\xd0\0\0\0\0\0\3\0\1\0", 14, RAIL_DNS_FORMERR},   /* option head cut */
		{"\0\0\x29\4\xd0\0\0\0\0\0\4\0\1\0\1", 15, RAIL_DNS_FORMERR}, /* option cut */
		{"\0\0\x29\4\xd0\0\0\0\0\0\5\0\1\0\0\0", 16, RAIL_DNS_FORMERR},
		{"\0\0\x29\4\xd0\0\0\0\0\0\4\0\1\xff\xff", 15, RAIL_DNS_FORMERR},
		{"\0\0\x29\4\xd0\0\1\0\0\0\1\0", 12, RAIL_DNS_FORMERR}, /* malformed comes first */
	};

	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		struct wire_query query = wire_query_of("example.com", RAIL_DNS_TYPE_AAAA);
		struct rail_dns_query parsed;

		wire_add(&query, rows[i].record, rows[i].size);
		query.bytes[11] = 1;
		cr_assert_eq(parse(&query, query.size, &parsed), rows[i].expected, "row %zu", i);
		cr_assert_eq(parsed.edns, rows[i].expected != RAIL_DNS_FORMERR);
		/* Two of them are never right, however well formed. */
		wire_add(&query, rows[i].record, rows[i].size);
		cr_assert_eq(parse(&query, query.size, &parsed), RAIL_DNS_FORMERR);
		query.bytes[11] = 2;
		cr_assert_eq(parse(&query, query.size, &parsed), RAIL_DNS_FORMERR);
	}
}

Test(dns_message, limits_answers_to_what_the_client_takes)
{
	static const struct {
		bool edns;
		unsigned int edns_size;
		bool tcp;
		size_t capacity;
		size_t expected;
	} rows[] = {
		{false, 0, false, 65535, 512},	   {true, 0, false, 65535, 512},
		{true, 511, false, 65535, 512},	   {true, 513, false, 65535, 513},
		{true, 1231, false, 65535, 1231},  {true, 1233, false, 65535, 1232},
		{true, 65535, false, 65535, 1232}, {true, 65535, false, 100, 100},
		{false, 0, true, 100000, 65535},   {true, 512, true, 100000, 65535},
		{false, 0, true, 700, 700},	   {false, 0, false, 0, 0},
	};

	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		struct wire_query query = wire_query_of("a", RAIL_DNS_TYPE_A);
		struct rail_dns_query parsed;

		if (rows[i].edns)
			wire_add_opt(&query, rows[i].edns_size, 0, "", 0);
		cr_assert_eq(parse(&query, query.size, &parsed), RAIL_DNS_NOERROR);
		cr_assert_eq(rail_dns_answer_limit(&parsed, rows[i].tcp, rows[i].capacity),
			     rows[i].expected, "row %zu", i);
	}
}

Test(dns_message, puts_records_whole_or_not_at_all)
{
	static struct wire_message message;
	struct wire_query query = wire_query_of("A.b", RAIL_DNS_TYPE_AAAA);
	const struct rail_dns_record record = {.type = RAIL_DNS_TYPE_AAAA,
					       .ttl_s = 5,
					       .data = "0123456789abcdef",
					       .data_size = 16};
	struct rail_dns_query parsed;

	wire_add_opt(&query, 1232, 0x8000, "", 0);
	cr_assert_eq(parse(&query, query.size, &parsed), RAIL_DNS_NOERROR);
	size_t empty = 12 + parsed.question_size + RAIL_DNS_OPT_SIZE;

	for (size_t limit = 0; limit < 400; limit++) {
		uint8_t *bytes = malloc(limit + 1);
		struct rail_dns_builder builder;
		int result = rail_dns_builder_init(&builder, &parsed, bytes, limit);
		size_t put = 0;
		size_t size;

		cr_assert_eq(result, limit < empty ? -ENOBUFS : 0, "limit %zu", limit);
		if (result == 0) {
			while (rail_dns_builder_put(&builder, RAIL_DNS_ANSWER_SECTION, &record))
				put++;
			size = rail_dns_builder_finish(&builder, RAIL_DNS_NOERROR);
			cr_assert_eq(put, (limit - empty) / 28);
			cr_assert_eq(size, empty + 28 * put);
			cr_assert(wire_parse(bytes, size, &message) && wire_is_ours(&message));
			cr_assert_eq(message.counts[1], put);
			cr_assert_eq(message.counts[3], 1);
			cr_assert_arr_eq(bytes + 12, query.bytes + 12, parsed.question_size);
		}
		free(bytes);
	}
}

Test(dns_message, writes_an_owner_of_its_own)
{
	static struct wire_message message;
	struct wire_query query = wire_query_of("a", RAIL_DNS_TYPE_A);
	const struct rail_dns_record record = {.owner = (const uint8_t *)"\3foo",
					       .owner_size = 5,
					       .type = RAIL_DNS_TYPE_NS,
					       .ttl_s = 0x01020304,
					       .data = "",
					       .data_size = 1};
	struct rail_dns_record too_long = record;
	struct rail_dns_query parsed;
	struct rail_dns_builder builder;
	uint8_t bytes[512];

	too_long.data_size = 65536;
	cr_assert_eq(parse(&query, query.size, &parsed), RAIL_DNS_NOERROR);
	cr_assert_eq(rail_dns_builder_init(&builder, &parsed, bytes, sizeof(bytes)), 0);
	cr_assert(!rail_dns_builder_put(&builder, RAIL_DNS_AUTHORITY_SECTION, &too_long));
	cr_assert(rail_dns_builder_put(&builder, RAIL_DNS_AUTHORITY_SECTION, &record));
	size_t size = rail_dns_builder_finish(&builder, RAIL_DNS_NOERROR);
	cr_assert(wire_parse(bytes, size, &message) && wire_is_ours(&message));
	cr_assert_eq(message.record_count, 1);
	cr_assert_eq(message.records[0].section, 1);
	cr_assert_eq(message.records[0].ttl, 0x01020304);
	cr_assert_arr_eq(bytes + message.records[0].owner, "\3foo", 5);
}

Test(dns_message, splits_an_extended_rcode_between_header_and_opt)
{
	for (int edns = 0; edns <= 1; edns++) {
		struct wire_query query = wire_query_of("a", RAIL_DNS_TYPE_A);
		struct rail_dns_query parsed;
		struct rail_dns_builder builder;
		uint8_t bytes[512];

		if (edns)
			wire_add_opt(&query, 1232, 0, "", 0);
		cr_assert_eq(parse(&query, query.size, &parsed), RAIL_DNS_NOERROR);
		cr_assert_eq(rail_dns_builder_init(&builder, &parsed, bytes, sizeof(bytes)), 0);
		size_t size = rail_dns_builder_finish(&builder, 0x123);
		cr_assert_eq(bytes[3] & 0xf, edns ? 3 : RAIL_DNS_SERVFAIL);
		if (edns)
			cr_assert_eq(bytes[size - 6], 0x12);
	}
}

Test(dns_message, answers_with_the_flags_that_concern_the_client)
{
	static const struct {
		const char *flags;
		bool authoritative, truncated, authentic;
		unsigned int expected;
	} rows[] = {
		{"\x00\x00", false, false, false, 0x8080},
		{"\x01\x00", false, false, false, 0x8180},
		{"\x07\xff", false, false, false, 0x8190}, /* AA, TC, RA, Z, AD and the rcode are
							      not echoed */
		{"\x00\x00", true, true, true, 0x86a0},
		{"\x28\x00", false, false, false, 0xa880},
	};

	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		struct wire_query query = wire_query_of("a", RAIL_DNS_TYPE_A);
		struct rail_dns_query parsed;
		struct rail_dns_builder builder;
		uint8_t bytes[512];

		memcpy(query.bytes + 2, rows[i].flags, 2);
		cr_assert_geq(parse(&query, query.size, &parsed), 0);
		cr_assert_eq(rail_dns_builder_init(&builder, &parsed, bytes, sizeof(bytes)), 0);
		builder.authoritative = rows[i].authoritative;
		builder.truncated = rows[i].truncated;
		builder.authentic = rows[i].authentic;
		(void)rail_dns_builder_finish(&builder, RAIL_DNS_NOERROR);
		cr_assert_eq(wire_u16(bytes + 2), rows[i].expected, "row %zu: %x", i,
			     wire_u16(bytes + 2));
	}
}
