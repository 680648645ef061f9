#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

/*
 * For the tests and fuzz targets of DNS: queries, and a parser of messages that shares no code with
 * pkg/dns, so that a fault in there cannot hide itself.
 */

#define WIRE_RECORD_MAXIMUM 6000 /* more than fit in 65,535 bytes */

struct wire_record {
	int section; /* 0 answer, 1 authority, 2 additional */
	size_t owner;
	uint16_t type;
	uint16_t class;
	uint32_t ttl;
	size_t data;
	size_t data_size;
};

struct wire_message {
	const uint8_t *bytes;
	size_t size;
	uint16_t id;
	uint16_t flags;
	uint16_t counts[4];
	size_t question_size;
	size_t record_count;
	struct wire_record records[WIRE_RECORD_MAXIMUM];
};

static inline uint16_t wire_u16(const uint8_t *bytes)
{
	return (uint16_t)(bytes[0] * 256 + bytes[1]);
}

/*
 * Expands a name, which may be compressed, to its plain wire form. Gives the size of the name where
 * it stands, 0 where it is wrong in any way.
 */
static inline size_t wire_expand(const uint8_t *bytes, size_t size, size_t position,
				 uint8_t expanded[256], size_t *ret_expanded_size)
{
	size_t used = 0;
	size_t here = 0;
	size_t hops = 0;

	*ret_expanded_size = 0;
	for (;;) {
		if (position >= size)
			return 0;
		size_t length = bytes[position];

		if (length >= 0xc0) {
			if (position + 1 >= size || ++hops > 128)
				return 0;
			size_t target = (length - 0xc0) * 256 + bytes[position + 1];
			if (target < 12 || target >= position)
				return 0;
			if (hops == 1)
				here += 2;
			position = target;
			continue;
		}
		if (length > 63 || position + length >= size || used + length + 1 > 255)
			return 0;
		memcpy(expanded + used, bytes + position, length + 1);
		used += length + 1;
		position += length + 1;
		if (hops == 0)
			here += length + 1;
		if (length == 0) {
			*ret_expanded_size = used;
			return here;
		}
	}
}

/* The size of a name, compressed or not, that is not followed; 0 where it is cut or wrong. */
static inline size_t wire_name_size(const uint8_t *bytes, size_t size, size_t position)
{
	size_t start = position;

	while (position < size) {
		size_t length = bytes[position];

		if (length >= 0xc0)
			return position + 1 < size ? position + 2 - start : 0;
		if (length > 63)
			return 0;
		position += length + 1;
		if (length == 0)
			return position <= size ? position - start : 0;
	}
	return 0;
}

/* Parses a message whole: every byte belongs to a record that a count announces. */
static inline bool wire_parse(const uint8_t *bytes, size_t size, struct wire_message *message)
{
	size_t position = 12;

	message->bytes = bytes;
	message->size = size;
	message->question_size = 0;
	message->record_count = 0;
	if (size < 12 || size > 65535)
		return false;
	message->id = wire_u16(bytes);
	message->flags = wire_u16(bytes + 2);
	for (size_t i = 0; i < 4; i++)
		message->counts[i] = wire_u16(bytes + 4 + 2 * i);
	if (message->counts[0] > 1)
		return false;
	if (message->counts[0] == 1) {
		uint8_t name[256];
		size_t name_size;
		size_t used = wire_expand(bytes, size, position, name, &name_size);

		if (used == 0 || used != name_size || size - position - used < 4)
			return false;
		message->question_size = used + 4;
		position += used + 4;
	}
	for (int section = 0; section < 3; section++) {
		for (unsigned int i = 0; i < message->counts[section + 1]; i++) {
			struct wire_record *record = &message->records[message->record_count];
			size_t used = wire_name_size(bytes, size, position);

			if (message->record_count == WIRE_RECORD_MAXIMUM || used == 0 ||
			    size - position - used < 10)
				return false;
			const uint8_t *fixed = bytes + position + used;
			record->section = section;
			record->owner = position;
			record->type = wire_u16(fixed);
			record->class = wire_u16(fixed + 2);
			record->ttl = (uint32_t)wire_u16(fixed + 4) << 16 | wire_u16(fixed + 6);
			record->data = position + used + 10;
			record->data_size = wire_u16(fixed + 8);
			if (record->data_size > size - record->data)
				return false;
			position = record->data + record->data_size;
			message->record_count++;
		}
	}
	return position == size;
}

/* Whether all of size bytes are one uncompressed name, or consist of count such names. */
static inline bool wire_is_names(const uint8_t *bytes, size_t size, size_t count, size_t rest)
{
	size_t position = 0;

	for (size_t i = 0; i < count; i++) {
		uint8_t name[256];
		size_t name_size;
		size_t used = wire_expand(bytes, size, position, name, &name_size);

		if (used == 0 || used != name_size)
			return false;
		position += used;
	}
	return size - position == rest;
}

/*
 * Whether a message that we composed is as all of ours are: owners are the question's name or
 * written out, the data fits the type, the OPT is the last record, bare, and the only one.
 */
static inline bool wire_is_ours(const struct wire_message *message)
{
	for (size_t i = 0; i < message->record_count; i++) {
		const struct wire_record *record = &message->records[i];
		const uint8_t *owner = message->bytes + record->owner;
		const uint8_t *data = message->bytes + record->data;
		uint8_t name[256];
		size_t name_size;

		if (record->type == 41) {
			if (i + 1 != message->record_count || owner[0] != 0 ||
			    record->class != 1232 || record->data_size != 0)
				return false;
			continue;
		}
		if (record->class != 1 || (owner[0] >= 0xc0 && wire_u16(owner) != 0xc00c))
			return false;
		if (owner[0] < 0xc0) {
			size_t used = wire_expand(message->bytes, message->size, record->owner,
						  name, &name_size);

			if (used == 0 || used != name_size)
				return false;
		}
		if (record->type == 28 && record->data_size != 16)
			return false;
		if ((record->type == 12 || record->type == 2) &&
		    !wire_is_names(data, record->data_size, 1, 0))
			return false;
		if (record->type == 6 && !wire_is_names(data, record->data_size, 2, 20))
			return false;
		if (record->type == 16 || record->type == 13) {
			size_t position = 0;

			while (position < record->data_size)
				position += data[position] + 1U;
			if (position != record->data_size || position == 0)
				return false;
		}
		if (record->type != 28 && record->type != 12 && record->type != 2 &&
		    record->type != 6 && record->type != 16 && record->type != 13)
			return false;
	}
	return true;
}

/* ---- queries --------------------------------------------------------------------------------- */

struct wire_query {
	uint8_t bytes[1024];
	size_t size;
};

static inline void wire_add(struct wire_query *query, const void *bytes, size_t size)
{
	memcpy(query->bytes + query->size, bytes, size);
	query->size += size;
}

static inline void wire_add_u16(struct wire_query *query, unsigned int value)
{
	uint8_t bytes[2] = {(uint8_t)(value >> 8), (uint8_t)value};

	wire_add(query, bytes, sizeof(bytes));
}

/* Labels are what dots separate; "" is the root. */
static inline void wire_add_name(struct wire_query *query, const char *text)
{
	while (*text != '\0') {
		size_t length = strcspn(text, ".");
		uint8_t byte = (uint8_t)length;

		wire_add(query, &byte, 1);
		wire_add(query, text, length);
		text += length + (text[length] == '.' ? 1 : 0);
	}
	wire_add(query, "", 1);
}

/* ID 0x1234, RD set. */
static inline struct wire_query wire_query_of_class(const char *name, unsigned int type,
						    unsigned int class)
{
	struct wire_query query = {.size = 0};

	wire_add(&query, "\x12\x34\x01\x00\x00\x01\x00\x00\x00\x00\x00\x00", 12);
	wire_add_name(&query, name);
	wire_add_u16(&query, type);
	wire_add_u16(&query, class);
	return query;
}

static inline struct wire_query wire_query_of(const char *name, unsigned int type)
{
	return wire_query_of_class(name, type, 1);
}

/* Adds an OPT; flags hold the extended RCODE, the version and the DO bit, as on the wire. */
static inline void wire_add_opt(struct wire_query *query, unsigned int size, uint32_t flags,
				const void *options, size_t options_size)
{
	query->bytes[11]++;
	wire_add(query, "", 1);
	wire_add_u16(query, 41);
	wire_add_u16(query, size);
	wire_add_u16(query, flags >> 16);
	wire_add_u16(query, flags & 0xffff);
	wire_add_u16(query, (unsigned int)options_size);
	wire_add(query, options, options_size);
}
