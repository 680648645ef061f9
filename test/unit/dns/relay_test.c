#include <criterion/criterion.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "pkg/base/cleanup.h"
#include "pkg/dns/answer.h"
#include "pkg/dns/message.h"
#include "test/unit/dns/wire.h"

static int upstream_query(const struct wire_query *query, size_t capacity, uint8_t *out,
			  size_t *ret_size)
{
	RAIL_FREE uint8_t *question = malloc(query->size > 0 ? query->size : 1);
	RAIL_FREE uint8_t *bytes = malloc(capacity > 0 ? capacity : 1);

	memcpy(question, query->bytes, query->size);
	int result =
		rail_dns_upstream_query(question, query->size, 0xbeef, bytes, capacity, ret_size);
	if (result == 0)
		memcpy(out, bytes, *ret_size);
	return result;
}

Test(dns_relay, asks_upstream_nothing_but_the_question)
{
	static const struct {
		unsigned int flags;
		bool edns;
		uint32_t edns_flags;
		unsigned int expected_flags;
		bool expected_do;
	} rows[] = {
		{0x0000, false, 0, 0x0000, false}, {0x0100, true, 0x8000, 0x0100, true},
		{0x0130, true, 0, 0x0130, false},  {0x07ff, true, 0xffff, 0x0130, true},
		{0x0010, false, 0, 0x0010, false},
	};

	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		struct wire_query query = wire_query_of("wWw.Example.com", RAIL_DNS_TYPE_AAAA);
		size_t question_end = query.size;
		static struct wire_message message;
		uint8_t out[512];
		size_t size = 0;

		query.bytes[2] = (uint8_t)(rows[i].flags >> 8);
		query.bytes[3] = (uint8_t)rows[i].flags;
		if (rows[i].edns)
			wire_add_opt(&query, 4096, rows[i].edns_flags,
				     "\0\x0a\0\x08"
				     "12345678\0\x0c\0\1x",
				     17);
		cr_assert_eq(upstream_query(&query, sizeof(out), out, &size), 0);
		cr_assert_eq(size, question_end + 11);
		cr_assert(wire_parse(out, size, &message));
		cr_assert_eq(message.id, 0xbeef);
		cr_assert_eq(message.flags, rows[i].expected_flags, "row %zu", i);
		cr_assert_arr_eq(out + 4, "\0\1\0\0\0\0\0\1", 8);
		cr_assert_arr_eq(out + 12, query.bytes + 12, question_end - 12);
		cr_assert_arr_eq(out + size - 11,
				 rows[i].expected_do ? "\0\0\x29\x04\xd0\0\0\x80\0\0\0"
						     : "\0\0\x29\x04\xd0\0\0\0\0\0\0",
				 11);
		for (size_t capacity = 0; capacity < size; capacity++) {
			size_t untouched = 4711;

			cr_assert_eq(upstream_query(&query, capacity, out, &untouched), -ENOBUFS);
			cr_assert_eq(untouched, 4711);
		}
	}
}

Test(dns_relay, forwards_no_malformed_query)
{
	struct wire_query query = wire_query_of("example.com", RAIL_DNS_TYPE_AAAA);
	uint8_t out[512];
	size_t size;

	for (struct wire_query cut = query; cut.size > 0;) {
		cut.size--;
		cr_assert_eq(upstream_query(&cut, sizeof(out), out, &size), -EBADMSG);
	}
	query.size++;
	cr_assert_eq(upstream_query(&query, sizeof(out), out, &size), -EBADMSG);
	query.size--;
	query.bytes[2] |= 0x80;
	cr_assert_eq(upstream_query(&query, sizeof(out), out, &size), -EBADMSG);
	query.bytes[2] = 0x08;
	cr_assert_eq(upstream_query(&query, sizeof(out), out, &size), -EBADMSG);
}

/* ---- answers --------------------------------------------------------------------------------- */

/* An upstream's answer to a query: its question in lower case, then what a test adds. */
static struct wire_query answer_to(const char *name, unsigned int type, unsigned int flags)
{
	struct wire_query answer = wire_query_of(name, type);

	memcpy(answer.bytes, "\xbe\xef", 2);
	answer.bytes[2] = (uint8_t)(flags >> 8);
	answer.bytes[3] = (uint8_t)flags;
	return answer;
}

static void add_record(struct wire_query *answer, int section, const void *owner, size_t owner_size,
		       unsigned int type, size_t data_size)
{
	static const uint8_t data[600];

	answer->bytes[7 + 2 * section]++;
	wire_add(answer, owner, owner_size);
	wire_add_u16(answer, type);
	wire_add_u16(answer, 1);
	wire_add_u16(answer, 0);
	wire_add_u16(answer, 300);
	wire_add_u16(answer, (unsigned int)data_size);
	wire_add(answer, data, data_size);
}

static int relay_in(const struct wire_query *query, const struct wire_query *upstream, bool tcp,
		    size_t capacity, struct wire_message *message)
{
	static uint8_t kept[65535];
	RAIL_FREE uint8_t *question = malloc(query->size > 0 ? query->size : 1);
	RAIL_FREE uint8_t *answer = malloc(upstream->size > 0 ? upstream->size : 1);
	RAIL_FREE uint8_t *bytes = malloc(capacity > 0 ? capacity : 1);
	size_t size = 4711;

	memcpy(question, query->bytes, query->size);
	memcpy(answer, upstream->bytes, upstream->size);
	int result = rail_dns_relay(question, query->size, answer, upstream->size, tcp, bytes,
				    capacity, &size);
	if (result < 0) {
		cr_assert_eq(size, 4711, "nothing is given back on failure");
		return result;
	}
	cr_assert_leq(size, capacity);
	memcpy(kept, bytes, size);
	cr_assert(wire_parse(kept, size, message));
	cr_assert_eq(message->id, wire_u16(query->bytes));
	cr_assert_eq(message->flags & 0x8480U, 0x8080, "QR and RA set, AA clear");
	cr_assert_eq(message->flags & 0x0110U, wire_u16(query->bytes + 2) & 0x0110U);
	cr_assert_eq(message->counts[0], 1);
	cr_assert_arr_eq(kept + 12, query->bytes + 12, message->question_size);
	return 0;
}

static int relay(const struct wire_query *query, const struct wire_query *upstream,
		 struct wire_message *message)
{
	return relay_in(query, upstream, false, 4096, message);
}

Test(dns_relay, gives_the_client_its_own_id_case_and_flags)
{
	static struct wire_message message;
	struct wire_query query = wire_query_of("WwW.eXample.COM", RAIL_DNS_TYPE_AAAA);
	struct wire_query upstream = answer_to("www.example.com", RAIL_DNS_TYPE_AAAA, 0x85a3);

	query.bytes[3] = 0x10;
	add_record(&upstream, 0, "\xc0\x0c", 2, RAIL_DNS_TYPE_AAAA, 16);
	add_record(&upstream, 1, "\xc0\x10", 2, RAIL_DNS_TYPE_NS, 2);
	add_record(&upstream, 2, "\1x\xc0\x10", 4, RAIL_DNS_TYPE_A, 4);
	add_record(&upstream, 2, "", 1, RAIL_DNS_TYPE_OPT, 5);
	cr_assert_eq(relay(&query, &upstream, &message), 0);
	cr_assert_eq(message.flags, 0x8193, "the rcode is the upstream's; AD was not asked for");
	cr_assert_eq(message.counts[1], 1);
	cr_assert_eq(message.counts[2], 1);
	cr_assert_eq(message.counts[3], 1, "without the upstream's OPT");
	cr_assert_eq(message.records[2].type, RAIL_DNS_TYPE_A);
}

Test(dns_relay, gives_an_opt_where_the_client_sent_one)
{
	for (int client = 0; client <= 1; client++) {
		for (int server = 0; server <= 1; server++) {
			static struct wire_message message;
			struct wire_query query = wire_query_of("a.example", RAIL_DNS_TYPE_A);
			struct wire_query upstream =
				answer_to("a.example", RAIL_DNS_TYPE_A, 0x8180);

			if (client)
				wire_add_opt(&query, 1232, 0x8000, "", 0);
			add_record(&upstream, 0, "\xc0\x0c", 2, RAIL_DNS_TYPE_A, 4);
			if (server)
				wire_add_opt(&upstream, 4096, 0, "\0\x0f\0\2\0\1", 6);
			cr_assert_eq(relay(&query, &upstream, &message), 0);
			cr_assert_eq(message.counts[1], 1);
			cr_assert_eq(message.counts[3], client);
			if (client)
				cr_assert_arr_eq(message.bytes + message.size - 11,
						 "\0\0\x29\x04\xd0\0\0\x80\0\0\0", 11);
		}
	}
}

Test(dns_relay, says_authentic_only_to_who_asked)
{
	static const struct {
		unsigned int client_flags;
		uint32_t edns_flags;
		unsigned int upstream_flags;
		bool expected;
	} rows[] = {
		{0x0100, 0, 0x81a0, false},
		{0x0120, 0, 0x81a0, true},
		{0x0100, 0x8000, 0x81a0, true},
		{0x0120, 0x8000, 0x8180, false},
	};

	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		static struct wire_message message;
		struct wire_query query = wire_query_of("a.example", RAIL_DNS_TYPE_A);
		struct wire_query upstream =
			answer_to("a.example", RAIL_DNS_TYPE_A, rows[i].upstream_flags);

		query.bytes[3] = (uint8_t)rows[i].client_flags;
		wire_add_opt(&query, 1232, rows[i].edns_flags, "", 0);
		cr_assert_eq(relay(&query, &upstream, &message), 0);
		cr_assert_eq((message.flags & RAIL_DNS_FLAG_AD) != 0, rows[i].expected, "row %zu",
			     i);
	}
}

Test(dns_relay, refuses_what_answers_another_question)
{
	static const struct {
		const char *name;
		unsigned int type, class, flags;
	} rows[] = {
		{"b.example", 1, 1, 0x8180},  {"a.exampl", 1, 1, 0x8180},
		{"", 1, 1, 0x8180},	      {"a.examplex", 1, 1, 0x8180},
		{"a.example", 28, 1, 0x8180}, {"a.example", 1, 3, 0x8180},
		{"a.example", 1, 1, 0x0180}, /* a query */
		{"a.example", 1, 1, 0xa180}, /* another opcode */
	};
	static struct wire_message message;
	struct wire_query query = wire_query_of("a.example", RAIL_DNS_TYPE_A);

	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		struct wire_query upstream =
			wire_query_of_class(rows[i].name, rows[i].type, rows[i].class);

		upstream.bytes[2] = (uint8_t)(rows[i].flags >> 8);
		upstream.bytes[3] = (uint8_t)rows[i].flags;
		cr_assert_eq(relay(&query, &upstream, &message), -EBADMSG, "row %zu", i);
	}

	struct wire_query upstream = answer_to("a.example", RAIL_DNS_TYPE_A, 0x8180);
	cr_assert_eq(relay(&query, &upstream, &message), 0);
	upstream.bytes[5] = 0;
	cr_assert_eq(relay(&query, &upstream, &message), -EBADMSG, "no question");
	upstream.bytes[5] = 2;
	cr_assert_eq(relay(&query, &upstream, &message), -EBADMSG, "two questions");
	upstream.bytes[5] = 1;
	query.bytes[2] |= 0x80;
	cr_assert_eq(relay(&query, &upstream, &message), -EBADMSG, "no query of a client");
}

Test(dns_relay, refuses_what_is_malformed)
{
	static const struct {
		const char *owner;
		size_t owner_size;
		bool good;
	} rows[] = {
		{"\xc0\x0c", 2, true},	{"\3abc\xc0\x0e", 6, true}, {"", 1, true},
		{"\xc0\x0b", 2, false},				/* into the header */
		{"\xc0\x00", 2, false}, {"\xc0\x1b", 2, false}, /* to itself: the record starts at
								   27 */
		{"\xc0\x1c", 2, false}, {"\xff\xff", 2, false},	    {"\x40", 1, false},
		{"\x80\0", 2, false},
	};
	static struct wire_message message;
	struct wire_query query = wire_query_of("a.example", RAIL_DNS_TYPE_A);

	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		struct wire_query upstream = answer_to("a.example", RAIL_DNS_TYPE_A, 0x8180);
		size_t start = upstream.size;

		cr_assert_eq(start, 27);
		add_record(&upstream, 0, rows[i].owner, rows[i].owner_size, RAIL_DNS_TYPE_A, 4);
		cr_assert_eq(relay(&query, &upstream, &message), rows[i].good ? 0 : -EBADMSG,
			     "row %zu", i);
		/* Bytes that belong to no record reach nobody. */
		upstream.size++;
		cr_assert_eq(relay(&query, &upstream, &message), rows[i].good ? 0 : -EBADMSG);
		upstream.size--;
		while (upstream.size > 0) {
			upstream.size--;
			cr_assert_eq(relay(&query, &upstream, &message), -EBADMSG);
		}
	}

	struct wire_query upstream = answer_to("a.example", RAIL_DNS_TYPE_A, 0x8180);
	wire_add_opt(&upstream, 1232, 0, "", 0);
	cr_assert_eq(relay(&query, &upstream, &message), 0);
	wire_add_opt(&upstream, 1232, 0, "", 0);
	cr_assert_eq(relay(&query, &upstream, &message), -EBADMSG, "two OPTs");
	upstream = answer_to("a.example", RAIL_DNS_TYPE_A, 0x8180);
	add_record(&upstream, 0, "", 1, RAIL_DNS_TYPE_OPT, 0);
	cr_assert_eq(relay(&query, &upstream, &message), -EBADMSG, "OPT as an answer");
	upstream = answer_to("a.example", RAIL_DNS_TYPE_A, 0x8180);
	memset(upstream.bytes + 6, 0xff, 6);
	cr_assert_eq(relay(&query, &upstream, &message), -EBADMSG, "counts without records");
}

Test(dns_relay, keeps_the_whole_records_of_a_cut_answer)
{
	static struct wire_message message;
	struct wire_query query = wire_query_of("a.example", RAIL_DNS_TYPE_A);
	struct wire_query upstream = answer_to("a.example", RAIL_DNS_TYPE_A, 0x8380);

	for (size_t i = 0; i < 3; i++)
		add_record(&upstream, 0, "\xc0\x0c", 2, RAIL_DNS_TYPE_A, 4);
	for (; upstream.size > 27; upstream.size--) {
		cr_assert_eq(relay(&query, &upstream, &message), 0);
		cr_assert_eq(message.counts[1], (upstream.size - 27) / 16);
		cr_assert((message.flags & RAIL_DNS_FLAG_TC) != 0);
	}
}

Test(dns_relay, fits_what_the_client_takes)
{
	static struct wire_message message;

	for (int edns = 0; edns <= 1; edns++) {
		for (int tcp = 0; tcp <= 1; tcp++) {
			struct wire_query query = wire_query_of("a.example", RAIL_DNS_TYPE_A);
			struct wire_query upstream =
				answer_to("a.example", RAIL_DNS_TYPE_A, 0x8180);
			size_t opt = edns ? 11 : 0;

			if (edns)
				wire_add_opt(&query, 600, 0, "", 0);
			for (size_t i = 0; i < 40; i++)
				add_record(&upstream, 0, "\xc0\x0c", 2, RAIL_DNS_TYPE_A, 4);
			for (size_t capacity = 0; capacity <= 1232; capacity++) {
				size_t limit = tcp ? 65535 : edns ? 600 : 512;
				int result = relay_in(&query, &upstream, tcp, capacity, &message);

				if (capacity < limit)
					limit = capacity;
				cr_assert_eq(result, limit < 27 + opt ? -ENOBUFS : 0);
				if (result < 0)
					continue;
				size_t expected = (limit - 27 - opt) / 16;
				if (expected > 40)
					expected = 40;
				cr_assert_eq(message.counts[1], expected);
				cr_assert_eq(message.counts[3], edns);
				cr_assert_eq((message.flags & RAIL_DNS_FLAG_TC) != 0,
					     expected < 40);
			}
		}
	}
}

Test(dns_relay, is_truncated_only_without_what_counts)
{
	static const struct {
		int big_section;
		bool has_answer;
		bool expected;
	} rows[] = {
		{0, true, true},  {1, true, false},  {1, false, true},
		{2, true, false}, {2, false, false},
	};

	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		static struct wire_message message;
		struct wire_query query = wire_query_of("a.example", RAIL_DNS_TYPE_A);
		struct wire_query upstream = answer_to("a.example", RAIL_DNS_TYPE_A, 0x8180);

		if (rows[i].has_answer)
			add_record(&upstream, 0, "\xc0\x0c", 2, RAIL_DNS_TYPE_A, 4);
		add_record(&upstream, rows[i].big_section, "\xc0\x0c", 2, 99, 500);
		/* Small enough by itself, but nothing is taken from behind a gap. */
		add_record(&upstream, 2, "\xc0\x0c", 2, RAIL_DNS_TYPE_A, 4);
		cr_assert_eq(relay(&query, &upstream, &message), 0);
		cr_assert_eq((message.flags & RAIL_DNS_FLAG_TC) != 0, rows[i].expected, "row %zu",
			     i);
		cr_assert_eq(message.record_count, rows[i].has_answer);
	}
}

Test(dns_relay, cuts_the_additional_section_at_the_opt)
{
	static struct wire_message message;
	struct wire_query query = wire_query_of("a.example", RAIL_DNS_TYPE_A);
	struct wire_query upstream = answer_to("a.example", RAIL_DNS_TYPE_A, 0x8180);

	add_record(&upstream, 0, "\xc0\x0c", 2, RAIL_DNS_TYPE_A, 4);
	add_record(&upstream, 2, "\xc0\x0c", 2, RAIL_DNS_TYPE_AAAA, 16);
	wire_add_opt(&upstream, 1232, 0, "", 0);
	add_record(&upstream, 2, "\xc0\x0c", 2, RAIL_DNS_TYPE_A, 4);
	cr_assert_eq(relay(&query, &upstream, &message), 0);
	cr_assert_eq(message.counts[1], 1);
	cr_assert_eq(message.counts[3], 1);
	cr_assert_eq(message.records[1].type, RAIL_DNS_TYPE_AAAA);
	cr_assert_eq(message.flags & RAIL_DNS_FLAG_TC, 0);
}

Test(dns_relay, keeps_the_upstreams_extended_rcodes_from_the_client)
{
	static struct wire_message message;
	struct wire_query query = wire_query_of("a.example", RAIL_DNS_TYPE_A);
	struct wire_query upstream = answer_to("a.example", RAIL_DNS_TYPE_A, 0x8180);

	add_record(&upstream, 0, "\xc0\x0c", 2, RAIL_DNS_TYPE_A, 4);
	wire_add_opt(&upstream, 1232, 0x01000000, "", 0);
	cr_assert_eq(relay(&query, &upstream, &message), 0);
	cr_assert_eq(message.flags & 0xf, RAIL_DNS_SERVFAIL);
	cr_assert_eq(message.record_count, 0);
}

/* ---- errors ---------------------------------------------------------------------------------- */

Test(dns_relay, answers_with_an_error)
{
	static struct wire_message message;
	struct wire_query query = wire_query_of("A.example", RAIL_DNS_TYPE_A);
	size_t question_end = query.size;
	uint8_t out[512];

	size_t size = rail_dns_error(query.bytes, query.size, RAIL_DNS_SERVFAIL, out, sizeof(out));
	cr_assert_eq(size, question_end);
	cr_assert(wire_parse(out, size, &message));
	cr_assert_eq(message.flags, 0x8182);
	cr_assert_arr_eq(out + 12, query.bytes + 12, question_end - 12);

	wire_add_opt(&query, 1232, 0, "", 0);
	size = rail_dns_error(query.bytes, query.size, RAIL_DNS_REFUSED, out, sizeof(out));
	cr_assert_eq(size, question_end + 11);
	cr_assert(wire_parse(out, size, &message) && wire_is_ours(&message));
	cr_assert_eq(message.flags & 0xf, RAIL_DNS_REFUSED);
	for (size_t capacity = 0; capacity < size; capacity++)
		cr_assert_eq(rail_dns_error(query.bytes, query.size, 2, out, capacity), 0);

	for (size_t cut = 0; cut < query.size; cut++) {
		size = rail_dns_error(query.bytes, cut, RAIL_DNS_SERVFAIL, out, sizeof(out));
		cr_assert_eq(size, cut < 12 ? 0 : cut < question_end ? 12 : question_end);
		if (size > 0)
			cr_assert(wire_parse(out, size, &message));
	}
	query.bytes[2] |= 0x80;
	cr_assert_eq(rail_dns_error(query.bytes, query.size, 2, out, sizeof(out)), 0);
}
