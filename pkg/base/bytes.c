#include "pkg/base/bytes.h"

#include <string.h>

struct rail_reader rail_reader_init(const void *bytes, size_t size)
{
	return (struct rail_reader){.bytes = bytes, .size = size};
}

size_t rail_reader_left(const struct rail_reader *reader)
{
	return reader->failed ? 0 : reader->size - reader->position;
}

const uint8_t *rail_read_view(struct rail_reader *reader, size_t size)
{
	if (reader->failed || size > reader->size - reader->position) {
		reader->failed = true;
		return NULL;
	}

	const uint8_t *view = reader->bytes + reader->position;
	reader->position += size;
	return view;
}

void rail_read_bytes(struct rail_reader *reader, void *target, size_t size)
{
	const uint8_t *view = rail_read_view(reader, size);

	if (size == 0)
		return;
	if (view != NULL)
		memcpy(target, view, size);
	else
		memset(target, 0, size);
}

static uint64_t read_number(struct rail_reader *reader, size_t size)
{
	const uint8_t *view = rail_read_view(reader, size);
	uint64_t value = 0;

	if (view == NULL)
		return 0;
	for (size_t i = 0; i < size; i++)
		value = value << 8 | view[i];
	return value;
}

uint8_t rail_read_u8(struct rail_reader *reader)
{
	return (uint8_t)read_number(reader, 1);
}

uint16_t rail_read_u16(struct rail_reader *reader)
{
	return (uint16_t)read_number(reader, 2);
}

uint32_t rail_read_u32(struct rail_reader *reader)
{
	return (uint32_t)read_number(reader, 4);
}

uint64_t rail_read_u64(struct rail_reader *reader)
{
	return read_number(reader, 8);
}

void rail_read_string(struct rail_reader *reader, char *target, size_t target_size)
{
	size_t length = rail_read_u16(reader);
	const uint8_t *view = rail_read_view(reader, length);

	target[0] = '\0';
	if (view == NULL)
		return;
	if (length >= target_size || memchr(view, '\0', length) != NULL) {
		reader->failed = true;
		return;
	}
	memcpy(target, view, length);
	target[length] = '\0';
}

struct rail_writer rail_writer_init(void *bytes, size_t capacity)
{
	return (struct rail_writer){.bytes = bytes, .capacity = capacity};
}

size_t rail_writer_left(const struct rail_writer *writer)
{
	return writer->failed ? 0 : writer->capacity - writer->position;
}

void rail_write_bytes(struct rail_writer *writer, const void *source, size_t size)
{
	if (writer->failed || size > writer->capacity - writer->position) {
		writer->failed = true;
		return;
	}
	if (size == 0)
		return;
	memcpy(writer->bytes + writer->position, source, size);
	writer->position += size;
}

static void write_number(struct rail_writer *writer, uint64_t value, size_t size)
{
	uint8_t bytes[8];

	for (size_t i = 0; i < size; i++)
		bytes[i] = (uint8_t)(value >> (8 * (size - 1 - i)));
	rail_write_bytes(writer, bytes, size);
}

void rail_write_u8(struct rail_writer *writer, uint8_t value)
{
	write_number(writer, value, 1);
}

void rail_write_u16(struct rail_writer *writer, uint16_t value)
{
	write_number(writer, value, 2);
}

void rail_write_u32(struct rail_writer *writer, uint32_t value)
{
	write_number(writer, value, 4);
}

void rail_write_u64(struct rail_writer *writer, uint64_t value)
{
	write_number(writer, value, 8);
}

void rail_write_string(struct rail_writer *writer, const char *text)
{
	size_t length = strlen(text);

	if (length > UINT16_MAX) {
		writer->failed = true;
		return;
	}
	rail_write_u16(writer, (uint16_t)length);
	rail_write_bytes(writer, text, length);
}

void rail_write_u16_at(struct rail_writer *writer, size_t position, uint16_t value)
{
	if (writer->failed || position > writer->position || writer->position - position < 2) {
		writer->failed = true;
		return;
	}
	writer->bytes[position] = (uint8_t)(value >> 8);
	writer->bytes[position + 1] = (uint8_t)value;
}
