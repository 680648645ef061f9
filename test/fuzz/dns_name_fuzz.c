/*
 * The input is the bytes of a name. What is read must be what an independent parser sees, and its
 * text must be that name's and no other's: it is parsed back.
 */

#include <stdlib.h>
#include <string.h>

#include "pkg/dns/name.h"
#include "pkg/dns/reverse.h"
#include "test/unit/dns/wire.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void require(bool truth)
{
	if (!truth)
		abort();
}

/* The wire form of a name's text (RFC 1035 5.1). */
static size_t wire_of(const char *text, uint8_t wire[RAIL_NAME_SIZE + 1])
{
	size_t start = 0;
	size_t used = 1;

	if (strcmp(text, ".") == 0) {
		wire[0] = 0;
		return 1;
	}
	while (*text != '\0') {
		require(*text > ' ' && *text < 0x7f);
		if (*text == '.') {
			wire[start] = (uint8_t)(used - start - 1);
			start = used++;
			text++;
		} else if (*text != '\\') {
			wire[used++] = (uint8_t)*text++;
		} else if (text[1] >= '0' && text[1] <= '9') {
			wire[used++] = (uint8_t)((text[1] - '0') * 100 + (text[2] - '0') * 10 +
						 (text[3] - '0'));
			text += 4;
		} else {
			wire[used++] = (uint8_t)text[1];
			text += 2;
		}
		require(used <= RAIL_NAME_SIZE);
	}
	wire[start] = 0;
	return used;
}

static void check_building(const struct rail_name *name)
{
	struct rail_name built;

	rail_name_init(&built);
	for (size_t i = 0; i < name->label_count; i++) {
		const uint8_t *label = name->wire + name->labels[i];

		require(rail_name_append(&built, label + 1, label[0]) == 0);
	}
	require(built.size == name->size && built.label_count == name->label_count);
	require(memcmp(built.wire, name->wire, name->size) == 0);
	require(memcmp(built.labels, name->labels, name->label_count) == 0);
	for (size_t i = 0; i <= name->label_count; i++) {
		size_t suffix_size;
		const uint8_t *suffix = rail_name_suffix(name, i, &suffix_size);

		require(rail_name_ends_with(name, suffix, suffix_size, i));
	}
}

static void check_reverse(const struct rail_name *name)
{
	struct rail_reverse reverse;

	rail_reverse_parse(name, &reverse);
	require(reverse.count <= RAIL_REVERSE_NIBBLE_COUNT);
	if (reverse.family == RAIL_REVERSE_NONE)
		return;
	require(reverse.count + RAIL_REVERSE_SUFFIX_LABELS <= name->label_count);
	require(reverse.exact == (reverse.count + RAIL_REVERSE_SUFFIX_LABELS == name->label_count));
	require(rail_reverse_private_zone(&reverse) <= reverse.count);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct rail_reader reader = rail_reader_init(data, size);
	char text[RAIL_NAME_TEXT_SIZE];
	uint8_t expanded[256];
	uint8_t wire[RAIL_NAME_SIZE + 1];
	size_t expanded_size = 0;
	struct rail_name name;
	int result = rail_name_read(&reader, &name);
	size_t used = wire_expand(data, size, 0, expanded, &expanded_size);

	require((result == 0) == (used > 0 && used == expanded_size));
	require(reader.failed == (result < 0));
	if (result < 0)
		return 0;
	require(name.size == used && reader.position == used);
	for (size_t i = 0; i < used; i++) {
		uint8_t byte = expanded[i];

		require(name.wire[i] == (byte >= 'A' && byte <= 'Z' ? (byte | 0x20) : byte));
	}
	rail_name_to_text(&name, text);
	require(memchr(text, '\0', sizeof(text)) != NULL);
	require(wire_of(text, wire) == name.size && memcmp(wire, name.wire, name.size) == 0);
	check_building(&name);
	check_reverse(&name);
	return 0;
}
