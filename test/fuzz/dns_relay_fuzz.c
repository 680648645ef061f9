/*
 * The input is a byte of options (bit 0: TCP; the others: the room there is for the answer, in
 * steps of 16 bytes, all set: enough), the size of a client's query in one byte, the query, and an
 * upstream's message.
 */

#include <errno.h>
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

static uint8_t *copy_of(const uint8_t *bytes, size_t size)
{
	uint8_t *copy = malloc(size > 0 ? size : 1);

	require(copy != NULL);
	memcpy(copy, bytes, size);
	return copy;
}

/* What the client gets, record for record, is the front of what the upstream sent. */
static void check_records(const uint8_t *upstream, const uint8_t *answer)
{
	size_t count = message.record_count;
	size_t end = 12 + message.question_size;

	if (count > 0 && message.records[count - 1].type == 41)
		count--;
	for (size_t i = 0; i < count; i++) {
		require(message.records[i].type != 41);
		end = message.records[i].data + message.records[i].data_size;
	}
	require(memcmp(answer + 12 + message.question_size, upstream + 12 + message.question_size,
		       end - 12 - message.question_size) == 0);
	for (size_t i = 1; i < 4; i++) {
		unsigned int ours = message.counts[i];

		if (i == 3 && count < message.record_count)
			ours--;
		require(ours <= wire_u16(upstream + 4 + 2 * i));
	}
}

static void check_answer(const uint8_t *query, size_t query_size, const uint8_t *upstream,
			 const uint8_t *answer, size_t answer_size)
{
	require(wire_parse(answer, answer_size, &message));
	require(message.id == wire_u16(query));
	require((message.flags & 0x84c0U) == 0x8080);
	require((message.flags & 0x0110U) == (wire_u16(query + 2) & 0x0110U));
	require(message.counts[0] == 1 && message.question_size <= query_size - 12);
	require(memcmp(answer + 12, query + 12, message.question_size) == 0);
	bool client_sent_opt = wire_u16(query + 10) == 1;
	bool has_opt =
		message.record_count > 0 && message.records[message.record_count - 1].type == 41;
	require(client_sent_opt == has_opt);
	check_records(upstream, answer);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	if (size < 2 || data[1] > size - 2)
		return 0;
	bool tcp = (data[0] & 1) != 0;
	size_t capacity = (data[0] >> 1) == 0x7f ? 65535 : (size_t)(data[0] >> 1) * 16;
	size_t query_size = data[1];
	size_t upstream_size = size - 2 - query_size;
	uint8_t *query = copy_of(data + 2, query_size);
	uint8_t *upstream = copy_of(data + 2 + query_size, upstream_size);
	uint8_t *answer = malloc(capacity > 0 ? capacity : 1);
	size_t answer_size = SIZE_MAX;
	require(answer != NULL);

	int result = rail_dns_relay(query, query_size, upstream, upstream_size, tcp, answer,
				    capacity, &answer_size);
	if (result == 0) {
		require(answer_size <= capacity && answer_size <= (tcp ? 65535U : 1232U));
		check_answer(query, query_size, upstream, answer, answer_size);
	} else {
		require(result == -EBADMSG || (result == -ENOBUFS && capacity < query_size));
		require(answer_size == SIZE_MAX);
	}
	free(answer);
	free(upstream);
	free(query);
	return 0;
}
