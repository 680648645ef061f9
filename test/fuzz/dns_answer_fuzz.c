/*
 * The input is a byte of options (bit 0: TCP; the others: the room there is for the answer, in
 * steps of 16 bytes, all set: enough) and a client's query, which is put to a zone that is always
 * the same, and to what stands on either side of an upstream.
 */

#include <stdlib.h>
#include <string.h>

#include "pkg/dns/answer.h"
#include "pkg/dns/message.h"
#include "test/unit/dns/wire.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static struct wire_message message;

static void require(bool truth)
{
	if (!truth)
		abort();
}

static void add(struct rail_zone *zone, const char *service, const char *replica, uint8_t number)
{
	struct in6_addr address = {{{0xfd, 0x34, 0x56, 0x78, 0x9a, 0xbc, 0, 7}}};

	address.s6_addr[11] = 1;
	address.s6_addr[15] = number;
	require(rail_zone_add_replica(zone, service, replica, &address) == 0);
}

static struct rail_zone *make_zone(void)
{
	static const struct rail_prefix prefix = {{0xfd, 0x34, 0x56, 0x78, 0x9a, 0xbc}};
	struct rail_zone *zone = rail_zone_new(&prefix);
	char label[RAIL_NAME_LABEL_SIZE + 1] = {0};

	require(zone != NULL);
	add(zone, "api", "api-1", 1);
	add(zone, "api", "api-2", 2);
	add(zone, "db", "db-1", 3);
	require(rail_zone_add_service(zone, "idle") == 0);
	memset(label, 'x', RAIL_NAME_LABEL_SIZE);
	add(zone, label, label, 4);
	for (uint8_t i = 0; i < 100; i++) {
		memset(label, 'a' + i % 26, RAIL_NAME_LABEL_SIZE);
		label[5 + i % 50] = '\0';
		add(zone, "many", label, (uint8_t)(100 + i));
	}
	return zone;
}

static bool is_below_railway_internal(const uint8_t *query, size_t size)
{
	static const char zone[] = "\7railway\10internal";
	uint8_t name[256];
	size_t name_size;

	require(wire_expand(query, size, 12, name, &name_size) > 0);
	if (name_size < sizeof(zone))
		return false;
	for (size_t i = 0; i < sizeof(zone); i++) {
		uint8_t byte = name[name_size - sizeof(zone) + i];

		if (byte >= 'A' && byte <= 'Z')
			byte |= 0x20;
		if (byte != (uint8_t)zone[i])
			return false;
	}
	/* The same bytes may stand within a label. */
	size_t position = 0;
	while (position + sizeof(zone) < name_size)
		position += name[position] + 1U;
	return position + sizeof(zone) == name_size;
}

static void check_message(const uint8_t *query, size_t query_size, const uint8_t *answer,
			  size_t answer_size)
{
	require(wire_parse(answer, answer_size, &message));
	require(wire_is_ours(&message));
	require(message.id == wire_u16(query));
	require((message.flags & 0x8040U) == 0x8000);
	require(message.question_size <= query_size - 12);
	require(memcmp(answer + 12, query + 12, message.question_size) == 0);
}

static size_t client_limit(bool tcp)
{
	return tcp ? 65535 : 1232;
}

static void check_forwarding(const uint8_t *query, size_t query_size)
{
	uint8_t bytes[1024];
	uint8_t answer[1024];
	size_t size;
	size_t answer_size;

	require(!is_below_railway_internal(query, query_size));
	require(rail_dns_upstream_query(query, query_size, 0xbeef, bytes, sizeof(bytes), &size) ==
		0);
	require(wire_parse(bytes, size, &message) && wire_is_ours(&message));
	require(message.record_count == 1 && message.counts[3] == 1);
	require(size == 12 + message.question_size + 11 && (message.flags & 0xff4fU) == 0x0100);

	/* The upstream sends it back as it is, but as an answer. */
	bytes[2] |= 0x80;
	require(rail_dns_relay(query, query_size, bytes, size, false, answer, sizeof(answer),
			       &answer_size) == 0);
	check_message(query, query_size, answer, answer_size);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static struct rail_zone *zone;
	struct rail_dns_options options = {.ttl_s = 5};

	if (zone == NULL)
		zone = make_zone();
	if (size < 1)
		return 0;
	options.tcp = (data[0] & 1) != 0;
	size_t capacity = (data[0] >> 1) == 0x7f ? 65535 : (size_t)(data[0] >> 1) * 16;
	const uint8_t *query = data + 1;
	size_t query_size = size - 1;
	uint8_t *answer = malloc(capacity > 0 ? capacity : 1);
	size_t answer_size = SIZE_MAX;
	require(answer != NULL);

	enum rail_dns_verdict verdict =
		rail_dns_answer(zone, &options, query, query_size, answer, capacity, &answer_size);
	require((verdict == RAIL_DNS_ANSWER) == (answer_size != 0));
	if (query_size < 12 || (query[2] & 0x80) != 0)
		require(verdict == RAIL_DNS_DROP);
	else
		require(verdict != RAIL_DNS_DROP || capacity < query_size);
	if (verdict == RAIL_DNS_ANSWER) {
		require(answer_size <= capacity && answer_size <= client_limit(options.tcp));
		check_message(query, query_size, answer, answer_size);
	} else if (verdict == RAIL_DNS_FORWARD) {
		check_forwarding(query, query_size);
	}

	answer_size = rail_dns_error(query, query_size, RAIL_DNS_SERVFAIL, answer, capacity);
	require(answer_size <= capacity);
	if (answer_size > 0)
		check_message(query, query_size, answer, answer_size);
	free(answer);
	return 0;
}
