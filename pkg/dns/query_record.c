#include "pkg/dns/query_record.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

enum {
	TCP = 1 << 0,
	TIMED_OUT = 1 << 1,
	TRUNCATED = 1 << 2,
	QUESTION = 1 << 3,
};

/* What the worker's own texts need at most as JSON, so that only somebody else's are cut. All of
 * them and the rest fit a line. */
enum {
	ENVIRONMENT_LIMIT = 2 * RAIL_ENVIRONMENT_NAME_SIZE,
	LABEL_LIMIT = RAIL_LABEL_SIZE,
	CONTAINER_LIMIT = 2 * RAIL_CONTAINER_ID_SIZE,
	NAME_LIMIT = 5 * RAIL_NAME_SIZE, /* "\\255" is the longest that a byte becomes */
	REST = 512,
};

_Static_assert(ENVIRONMENT_LIMIT + 2 * LABEL_LIMIT + CONTAINER_LIMIT + NAME_LIMIT + REST <=
		       RAIL_QUERY_LINE_SIZE,
	       "a line holds all of its values");

void rail_query_record_init(struct rail_query_record *ret_record, const uint8_t *query,
			    size_t query_size, const uint8_t *answer, size_t answer_size)
{
	struct rail_reader reader = rail_reader_init(answer, answer_size);
	struct rail_dns_header header = rail_dns_header_read(&reader);
	struct rail_dns_query parsed;
	int verdict = rail_dns_query_parse(query, query_size, &parsed);

	*ret_record = (struct rail_query_record){
		.truncated = (header.flags & RAIL_DNS_FLAG_TC) != 0,
		.rcode = header.flags & RAIL_DNS_FLAG_RCODE,
		.answer_count = header.answer_count,
	};
	/* The upper bits of this one stand in the OPT. */
	if (verdict == RAIL_DNS_BADVERS)
		ret_record->rcode = RAIL_DNS_BADVERS;
	if (verdict < 0 || parsed.question == NULL)
		return;
	ret_record->has_question = true;
	ret_record->name = parsed.name;
	ret_record->type = parsed.type;
	ret_record->class = parsed.class;
}

int rail_query_record_encode(const struct rail_query_record *record,
			     const struct rail_query_pod *pod, uint8_t *bytes, size_t capacity)
{
	struct rail_writer writer = rail_writer_init(bytes, capacity);
	int flags = (record->tcp ? TCP : 0) | (record->timed_out ? TIMED_OUT : 0) |
		    (record->truncated ? TRUNCATED : 0) | (record->has_question ? QUESTION : 0);

	rail_write_u8(&writer, (uint8_t)flags);
	rail_write_u64(&writer, (uint64_t)record->time_us);
	rail_write_u32(&writer, record->duration_us);
	rail_write_u16(&writer, record->rcode);
	rail_write_u16(&writer, record->answer_count);
	rail_write_string(&writer, pod->environment);
	rail_write_string(&writer, pod->service);
	rail_write_string(&writer, pod->replica);
	rail_write_string(&writer, pod->container);
	if (record->has_question) {
		rail_write_u16(&writer, record->type);
		rail_write_u16(&writer, record->class);
		rail_write_bytes(&writer, record->name.wire, record->name.size);
	}
	return writer.failed ? -EMSGSIZE : (int)writer.position;
}

int rail_query_record_decode(const uint8_t *bytes, size_t size,
			     struct rail_query_record *ret_record, struct rail_query_pod *ret_pod)
{
	struct rail_reader reader = rail_reader_init(bytes, size);
	unsigned int flags = rail_read_u8(&reader);

	*ret_record = (struct rail_query_record){
		.tcp = (flags & TCP) != 0,
		.timed_out = (flags & TIMED_OUT) != 0,
		.truncated = (flags & TRUNCATED) != 0,
		.has_question = (flags & QUESTION) != 0,
	};
	ret_record->time_us = (int64_t)rail_read_u64(&reader);
	ret_record->duration_us = rail_read_u32(&reader);
	ret_record->rcode = rail_read_u16(&reader);
	ret_record->answer_count = rail_read_u16(&reader);
	rail_read_string(&reader, ret_pod->environment, sizeof(ret_pod->environment));
	rail_read_string(&reader, ret_pod->service, sizeof(ret_pod->service));
	rail_read_string(&reader, ret_pod->replica, sizeof(ret_pod->replica));
	rail_read_string(&reader, ret_pod->container, sizeof(ret_pod->container));
	if (ret_record->has_question) {
		ret_record->type = rail_read_u16(&reader);
		ret_record->class = rail_read_u16(&reader);
		(void)rail_name_read(&reader, &ret_record->name);
	}
	return reader.failed || rail_reader_left(&reader) != 0 ? -EBADMSG : 0;
}

/* ---- the line -------------------------------------------------------------------------------- */

struct line {
	char *text;
	size_t length;
};

static void put(struct line *line, const char *format, ...) __attribute__((format(printf, 2, 3)));

/* What is put this way is short, and fits. */
static void put(struct line *line, const char *format, ...)
{
	size_t room = RAIL_QUERY_LINE_SIZE - line->length;
	va_list arguments;

	va_start(arguments, format);

	int length = vsnprintf(line->text + line->length, room, format, arguments);

	va_end(arguments);
	if (length > 0 && (size_t)length < room)
		line->length += (size_t)length;
}

/* A member with a text from anywhere, of which limit bytes at most are shown, no escape in part. */
static void put_text(struct line *line, const char *key, const char *value, size_t limit)
{
	size_t used = 0;

	put(line, ",\"%s\":\"", key);
	for (; *value != '\0'; value++) {
		unsigned char byte = (unsigned char)*value;
		bool special = byte == '"' || byte == '\\';
		bool plain = byte >= ' ' && byte < 0x7f;
		size_t size = special ? 2 : plain ? 1 : 6;

		if (used + size > limit)
			break;
		used += size;
		if (special)
			put(line, "\\%c", byte);
		else if (plain)
			line->text[line->length++] = (char)byte;
		else
			put(line, "\\u%04x", byte);
	}
	put(line, "\"");
}

/* RFC 3339, in UTC, with milliseconds. */
static void put_time(struct line *line, int64_t time_us)
{
	static const int64_t end_s = 253402300800; /* the year 10000 */
	time_t seconds = (time_t)(time_us / 1000000);
	struct tm date;

	if (time_us < 0 || seconds >= end_s || gmtime_r(&seconds, &date) == NULL) {
		put(line, "{\"time\":null");
		return;
	}
	put(line, "{\"time\":\"%04d-%02d-%02dT%02d:%02d:%02d.%03dZ\"", date.tm_year + 1900,
	    date.tm_mon + 1, date.tm_mday, date.tm_hour, date.tm_min, date.tm_sec,
	    (int)(time_us / 1000 % 1000));
}

/* IANA, "Domain Name System (DNS) Parameters": those that are asked for. */
static void put_type(struct line *line, uint16_t type)
{
	static const struct {
		uint16_t type;
		const char *name;
	} known[] = {
		{1, "A"},      {2, "NS"},      {5, "CNAME"}, {6, "SOA"},    {12, "PTR"},
		{13, "HINFO"}, {15, "MX"},     {16, "TXT"},  {28, "AAAA"},  {33, "SRV"},
		{35, "NAPTR"}, {39, "DNAME"},  {43, "DS"},   {44, "SSHFP"}, {46, "RRSIG"},
		{47, "NSEC"},  {48, "DNSKEY"}, {52, "TLSA"}, {64, "SVCB"},  {65, "HTTPS"},
		{251, "IXFR"}, {252, "AXFR"},  {255, "ANY"}, {256, "URI"},  {257, "CAA"},
	};

	for (size_t i = 0; i < sizeof(known) / sizeof(known[0]); i++)
		if (known[i].type == type) {
			put(line, ",\"type\":\"%s\"", known[i].name);
			return;
		}
	put(line, ",\"type\":\"TYPE%u\"", type); /* RFC 3597 5 */
}

static void put_question(struct line *line, const struct rail_query_record *record)
{
	char name[RAIL_NAME_TEXT_SIZE];

	if (!record->has_question) {
		put(line, ",\"name\":null,\"type\":null");
		return;
	}
	rail_name_to_text(&record->name, name);
	put_text(line, "name", name, NAME_LIMIT);
	put_type(line, record->type);
	if (record->class != RAIL_DNS_CLASS_IN)
		put(line, ",\"class\":\"CLASS%u\"", record->class);
}

static void put_answer(struct line *line, const struct rail_query_record *record)
{
	static const char *const names[] = {
		[RAIL_DNS_NOERROR] = "NOERROR",	  [RAIL_DNS_FORMERR] = "FORMERR",
		[RAIL_DNS_SERVFAIL] = "SERVFAIL", [RAIL_DNS_NXDOMAIN] = "NXDOMAIN",
		[RAIL_DNS_NOTIMP] = "NOTIMP",	  [RAIL_DNS_REFUSED] = "REFUSED",
		[RAIL_DNS_BADVERS] = "BADVERS",
	};

	if (record->timed_out)
		put(line, ",\"answer\":\"TIMEOUT\"");
	else if (record->rcode == RAIL_DNS_NOERROR && record->answer_count == 0)
		put(line, ",\"answer\":\"NODATA\"");
	else if (record->rcode < sizeof(names) / sizeof(names[0]) && names[record->rcode] != NULL)
		put(line, ",\"answer\":\"%s\"", names[record->rcode]);
	else
		put(line, ",\"answer\":\"RCODE%u\"", record->rcode);
	put(line, ",\"records\":%u", record->answer_count);
	if (record->truncated)
		put(line, ",\"truncated\":true");
}

size_t rail_query_line(const struct rail_query_record *record, const struct rail_query_pod *pod,
		       char text[RAIL_QUERY_LINE_SIZE])
{
	struct line line = {.text = text};

	put_time(&line, record->time_us);
	put_text(&line, "environment", pod->environment, ENVIRONMENT_LIMIT);
	put_text(&line, "service", pod->service, LABEL_LIMIT);
	put_text(&line, "replica", pod->replica, LABEL_LIMIT);
	put_text(&line, "container", pod->container, CONTAINER_LIMIT);
	put_question(&line, record);
	put_answer(&line, record);
	put(&line, ",\"transport\":\"%s\",\"duration_ms\":%u.%03u}\n", record->tcp ? "tcp" : "udp",
	    record->duration_us / 1000, record->duration_us % 1000);
	return line.length;
}

size_t rail_query_line_dropped(int64_t time_us, uint64_t count, char text[RAIL_QUERY_LINE_SIZE])
{
	struct line line = {.text = text};

	put_time(&line, time_us);
	put(&line, ",\"dropped\":%llu}\n", (unsigned long long)count);
	return line.length;
}
