#include "pkg/dns/name.h"

#include <errno.h>
#include <string.h>

static uint8_t lower_case(uint8_t byte)
{
	return byte >= 'A' && byte <= 'Z' ? (uint8_t)(byte + ('a' - 'A')) : byte;
}

int rail_name_read(struct rail_reader *reader, struct rail_name *ret_name)
{
	size_t limit = rail_reader_left(reader);
	size_t position = 0;
	size_t label_count = 0;
	const uint8_t *wire;

	if (limit > RAIL_NAME_SIZE)
		limit = RAIL_NAME_SIZE;
	wire = limit > 0 ? reader->bytes + reader->position : NULL;
	while (position < limit && wire[position] != 0) {
		size_t length = wire[position];

		if (length > RAIL_NAME_LABEL_SIZE || length >= limit - position) {
			position = limit;
			break;
		}
		ret_name->labels[label_count++] = (uint8_t)position;
		position += length + 1;
	}
	if (position >= limit) {
		reader->failed = true;
		return -EBADMSG;
	}

	size_t size = position + 1;
	/* Length bytes are below 'A', so the whole name can be lower-cased in one go. */
	for (size_t i = 0; i < size; i++)
		ret_name->wire[i] = lower_case(wire[i]);
	ret_name->size = (uint8_t)size;
	ret_name->label_count = (uint8_t)label_count;
	(void)rail_read_view(reader, size);
	return 0;
}

void rail_name_init(struct rail_name *name)
{
	name->size = 1;
	name->label_count = 0;
	name->wire[0] = 0;
}

int rail_name_append(struct rail_name *name, const void *label, size_t size)
{
	const uint8_t *bytes = label;

	if (size == 0 || size > RAIL_NAME_LABEL_SIZE)
		return -EINVAL;
	if (size + 1 > (size_t)RAIL_NAME_SIZE - name->size)
		return -ENAMETOOLONG;

	/* The root's place becomes the label's length byte. */
	size_t start = name->size - 1U;
	name->labels[name->label_count++] = (uint8_t)start;
	name->wire[start] = (uint8_t)size;
	for (size_t i = 0; i < size; i++)
		name->wire[start + 1 + i] = lower_case(bytes[i]);
	name->wire[start + 1 + size] = 0;
	name->size = (uint8_t)(start + size + 2);
	return 0;
}

const uint8_t *rail_name_suffix(const struct rail_name *name, size_t label_count, size_t *ret_size)
{
	size_t start =
		label_count == 0 ? name->size - 1U : name->labels[name->label_count - label_count];

	*ret_size = name->size - start;
	return name->wire + start;
}

bool rail_name_ends_with(const struct rail_name *name, const void *wire, size_t size,
			 size_t label_count)
{
	const uint8_t *suffix;
	size_t suffix_size;

	if (name->label_count < label_count)
		return false;
	suffix = rail_name_suffix(name, label_count, &suffix_size);
	return suffix_size == size && memcmp(suffix, wire, size) == 0;
}

void rail_name_to_text(const struct rail_name *name, char text[RAIL_NAME_TEXT_SIZE])
{
	char *end = text;

	for (size_t label = 0; label < name->label_count; label++) {
		const uint8_t *bytes = name->wire + name->labels[label];

		for (size_t i = 1; i <= bytes[0]; i++) {
			uint8_t byte = bytes[i];

			if (byte == '.' || byte == '\\' || byte == '"') {
				*end++ = '\\';
				*end++ = (char)byte;
			} else if (byte > ' ' && byte < 0x7f) {
				*end++ = (char)byte;
			} else {
				*end++ = '\\';
				*end++ = (char)('0' + byte / 100);
				*end++ = (char)('0' + byte / 10 % 10);
				*end++ = (char)('0' + byte % 10);
			}
		}
		*end++ = '.';
	}
	if (end == text)
		*end++ = '.';
	*end = '\0';
}
