#include "pkg/dns/query_record.h"

#include <criterion/criterion.h>
#include <errno.h>
#include <limits.h>
#include <stdio.h>
#include <string.h>

#include "pkg/base/json.h"

static const struct rail_query_pod web = {
	.environment = "production",
	.service = "web",
	.replica = "web-1",
	.container = "c1",
};

/* AAAA of "web.railway.internal." and what it was answered with. */
static const uint8_t query[] = "\x12\x34\1\0\0\1\0\0\0\0\0\0\3WEB\7railway\10internal\0\0\34\0\1";
enum { QUERY_SIZE = sizeof(query) - 1 };

static struct rail_query_record record_of(uint16_t flags, uint16_t answer_count)
{
	uint8_t answer[QUERY_SIZE];
	struct rail_query_record record;

	memcpy(answer, query, QUERY_SIZE);
	answer[2] = (uint8_t)(flags >> 8);
	answer[3] = (uint8_t)flags;
	answer[7] = (uint8_t)answer_count;
	rail_query_record_init(&record, query, QUERY_SIZE, answer, QUERY_SIZE);
	record.time_us = INT64_C(1764110401123456);
	record.duration_us = 1023;
	return record;
}

/* There and back through a record's bytes, and then as text. */
static size_t line_of(const struct rail_query_record *record, const struct rail_query_pod *pod,
		      char line[RAIL_QUERY_LINE_SIZE + 1])
{
	uint8_t bytes[RAIL_QUERY_RECORD_MAXIMUM];
	struct rail_query_record other;
	struct rail_query_pod other_pod;
	int size = rail_query_record_encode(record, pod, bytes, sizeof(bytes));

	cr_assert_gt(size, 0);
	cr_assert_eq(rail_query_record_decode(bytes, (size_t)size, &other, &other_pod), 0);

	size_t length = rail_query_line(&other, &other_pod, line);

	cr_assert_leq(length, RAIL_QUERY_LINE_SIZE);
	line[length] = '\0';
	cr_assert_eq(strchr(line, '\n'), line + length - 1, "an answer is one line");
	return length;
}

static void assert_line(const struct rail_query_record *record, const char *expected)
{
	char line[RAIL_QUERY_LINE_SIZE + 1];

	(void)line_of(record, &web, line);
	cr_assert_str_eq(line, expected);
}

#define WHO                                                                                        \
	"{\"time\":\"2025-11-25T22:40:01.123Z\",\"environment\":\"production\","                   \
	"\"service\":\"web\",\"replica\":\"web-1\",\"container\":\"c1\","
#define WHAT "\"name\":\"web.railway.internal.\",\"type\":\"AAAA\","

Test(dns_query_record, an_answer_is_a_line)
{
	struct rail_query_record record = record_of(0x8580, 3);

	assert_line(&record, WHO WHAT "\"answer\":\"NOERROR\",\"records\":3,\"transport\":\"udp\","
				      "\"duration_ms\":1.023}\n");
	record = record_of(0x8780, 16);
	record.tcp = true;
	record.duration_us = 7;
	assert_line(&record, WHO WHAT "\"answer\":\"NOERROR\",\"records\":16,\"truncated\":true,"
				      "\"transport\":\"tcp\",\"duration_ms\":0.007}\n");
	record = record_of(0x8580, 0);
	assert_line(&record, WHO WHAT "\"answer\":\"NODATA\",\"records\":0,\"transport\":\"udp\","
				      "\"duration_ms\":1.023}\n");
}

Test(dns_query_record, an_upstream_that_is_silent_is_told_from_one_that_fails)
{
	struct rail_query_record record = record_of(0x8182, 0);

	assert_line(&record, WHO WHAT "\"answer\":\"SERVFAIL\",\"records\":0,\"transport\":\"udp\","
				      "\"duration_ms\":1.023}\n");
	record.timed_out = true;
	record.duration_us = 4000000;
	assert_line(&record, WHO WHAT "\"answer\":\"TIMEOUT\",\"records\":0,\"transport\":\"udp\","
				      "\"duration_ms\":4000.000}\n");
}

Test(dns_query_record, types_and_codes_without_a_name_are_numbers)
{
	struct rail_query_record record = record_of(0x858b, 0);

	record.type = 65280;
	record.class = 3;
	assert_line(&record, WHO "\"name\":\"web.railway.internal.\",\"type\":\"TYPE65280\","
				 "\"class\":\"CLASS3\",\"answer\":\"RCODE11\",\"records\":0,"
				 "\"transport\":\"udp\",\"duration_ms\":1.023}\n");
}

Test(dns_query_record, a_query_without_a_question_that_can_be_read)
{
	static const uint8_t formerr[] = "\x12\x34\x81\x81\0\0\0\0\0\0\0";
	struct rail_query_record record;

	for (size_t size = 0; size < QUERY_SIZE; size++) {
		rail_query_record_init(&record, query, size, formerr, sizeof(formerr));
		cr_assert_not(record.has_question, "%zu bytes", size);
	}
	record.time_us = INT64_C(1764110401123456);
	record.duration_us = 0;
	assert_line(&record, WHO "\"name\":null,\"type\":null,\"answer\":\"FORMERR\",\"records\":0,"
				 "\"transport\":\"udp\",\"duration_ms\":0.000}\n");
}

Test(dns_query_record, the_code_that_stands_in_the_opt)
{
	/* EDNS version 1. */
	static const uint8_t edns[] = "\0\1\0\0\0\1\0\0\0\0\0\1\0\0\1\0\1\0\0\51\4\320\0\1\0\0\0\0";
	static const uint8_t answer[] = "\0\1\x81\x80\0\1\0\0\0\0\0\1";
	struct rail_query_record record;

	rail_query_record_init(&record, edns, sizeof(edns) - 1, answer, sizeof(answer) - 1);
	cr_assert_eq(record.rcode, RAIL_DNS_BADVERS);
	cr_assert(record.has_question);
}

Test(dns_query_record, any_byte_of_a_name_is_valid_json_and_can_be_told_from_others)
{
	struct rail_query_record record = record_of(0x8583, 0);
	struct rail_error error = RAIL_ERROR_NONE;

	for (unsigned int byte = 0; byte <= 0xff; byte++) {
		uint8_t label[RAIL_NAME_LABEL_SIZE];
		char line[RAIL_QUERY_LINE_SIZE + 1];
		char expected[RAIL_NAME_TEXT_SIZE];
		struct rail_json *document = NULL;

		rail_name_init(&record.name);
		memset(label, (int)byte, sizeof(label));
		for (size_t size = 63; size > 0; size = record.name.size > 190 ? 0 : 63)
			cr_assert_eq(rail_name_append(&record.name, label, size), 0);
		cr_assert_eq(rail_name_append(&record.name, label, 254U - record.name.size), 0);
		cr_assert_eq(record.name.size, RAIL_NAME_SIZE, "the longest");
		rail_name_to_text(&record.name, expected);

		size_t length = line_of(&record, &web, line);

		for (size_t i = 0; i + 1 < length; i++)
			cr_assert(line[i] >= ' ' && line[i] < 0x7f, "byte %u", byte);
		cr_assert_eq(rail_json_parse(line, length, &document, &error), 0, "byte %u: %s",
			     byte, error.message);
		/* Whole: nothing of the longest name is cut. */
		cr_assert_str_eq(rail_json_string(rail_json_get(document, "name")), expected);
		rail_json_free(document);
	}
}

/* No environment, container or label has such bytes; what a worker of somebody else's notes may. */
Test(dns_query_record, hostile_texts_are_cut_between_escapes_and_stay_within_the_line)
{
	static const char bytes[] = {'\n', '"', '\\', '\x7f', '\x80', '\xff', 'a', 1};
	struct rail_query_record record = record_of(0x8580, 3);

	memset(record.name.wire, 0xff, sizeof(record.name.wire));
	rail_name_init(&record.name);
	for (size_t size = 63; size > 0; size = record.name.size > 190 ? 0 : 63)
		(void)rail_name_append(&record.name,
				       "\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff"
				       "\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff"
				       "\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff"
				       "\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff"
				       "\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff"
				       "\xff\xff\xff\xff\xff\xff\xff\xff",
				       size);
	for (size_t i = 0; i < sizeof(bytes); i++)
		for (size_t start = 0; start < 7; start++) {
			struct rail_error error = RAIL_ERROR_NONE;
			struct rail_json *document = NULL;
			struct rail_query_pod pod = {0};
			char line[RAIL_QUERY_LINE_SIZE + 1];

			memset(pod.environment, bytes[i], sizeof(pod.environment) - 1);
			memset(pod.service, bytes[i], sizeof(pod.service) - 1);
			memset(pod.replica, bytes[i], sizeof(pod.replica) - 1);
			memset(pod.container, bytes[i], sizeof(pod.container) - 1);
			/* Each puts the escapes elsewhere at the end. */
			memset(pod.environment, 'a', start);
			memset(pod.service, 'a', start);
			memset(pod.container, 'a', start);

			size_t length = line_of(&record, &pod, line);

			cr_assert_eq(rail_json_parse(line, length, &document, &error), 0,
				     "byte %zu, start %zu: %s", i, start, error.message);
			cr_assert_not_null(rail_json_get(document, "duration_ms"));
			rail_json_free(document);
		}
}

Test(dns_query_record, the_longest_names_that_there_are_are_whole)
{
	struct rail_query_record record = record_of(0x8580, 3);
	struct rail_error error = RAIL_ERROR_NONE;
	struct rail_json *document = NULL;
	struct rail_query_pod pod = {0};
	char line[RAIL_QUERY_LINE_SIZE + 1];

	memset(pod.environment, '"', sizeof(pod.environment) - 1);
	memset(pod.service, 's', sizeof(pod.service) - 1);
	memset(pod.replica, 'r', sizeof(pod.replica) - 1);
	memset(pod.container, 'c', sizeof(pod.container) - 1);

	size_t length = line_of(&record, &pod, line);

	cr_assert_eq(rail_json_parse(line, length, &document, &error), 0, "%s", error.message);
	cr_assert_str_eq(rail_json_string(rail_json_get(document, "environment")), pod.environment);
	cr_assert_str_eq(rail_json_string(rail_json_get(document, "service")), pod.service);
	cr_assert_str_eq(rail_json_string(rail_json_get(document, "replica")), pod.replica);
	cr_assert_str_eq(rail_json_string(rail_json_get(document, "container")), pod.container);
	rail_json_free(document);
}

Test(dns_query_record, a_record_that_is_cut_or_longer_is_none)
{
	const struct rail_query_record record = record_of(0x8580, 3);
	struct rail_query_record other;
	struct rail_query_pod pod;
	uint8_t bytes[RAIL_QUERY_RECORD_MAXIMUM] = {0};
	int size = rail_query_record_encode(&record, &web, bytes, sizeof(bytes));

	for (int cut = 0; cut < size; cut++)
		cr_assert_eq(rail_query_record_decode(bytes, (size_t)cut, &other, &pod), -EBADMSG);
	cr_assert_eq(rail_query_record_decode(bytes, (size_t)size + 1, &other, &pod), -EBADMSG);
	for (int capacity = 0; capacity < size; capacity++)
		cr_assert_eq(rail_query_record_encode(&record, &web, bytes, (size_t)capacity),
			     -EMSGSIZE);
}

Test(dns_query_record, a_time_that_is_none_is_null)
{
	static const int64_t times[] = {-1, INT64_MIN, INT64_MAX, INT64_C(253402300800000000)};
	char line[RAIL_QUERY_LINE_SIZE + 1];

	for (size_t i = 0; i < sizeof(times) / sizeof(times[0]); i++) {
		line[rail_query_line_dropped(times[i], 1, line)] = '\0';
		cr_assert_str_eq(line, "{\"time\":null,\"dropped\":1}\n");
	}
}

Test(dns_query_record, what_is_missing_is_a_line)
{
	char line[RAIL_QUERY_LINE_SIZE + 1];

	line[rail_query_line_dropped(0, UINT64_MAX, line)] = '\0';
	cr_assert_str_eq(line, "{\"time\":\"1970-01-01T00:00:00.000Z\","
			       "\"dropped\":18446744073709551615}\n");
}
