#include "cmd/railwayctl/escape.h"

#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "pkg/base/json_check.h"

enum {
	ESCAPE_LENGTH = 4,   /* \xNN */
	UNITS_LENGTH = 12,   /* \uNNNN, twice */
	UTF8_TAIL_BITS = 6,  /* of each byte behind the first */
	SURROGATE_BITS = 10, /* of each of a pair */
	SURROGATE_HIGH = 0xd800,
	SURROGATE_LOW = 0xdc00,
	BEYOND_ONE_UNIT = 0x10000,
	NO_CHARACTER = 0xfffd, /* REPLACEMENT CHARACTER */
};

static bool is_printable(char character)
{
	return character >= ' ' && character <= '~';
}

static char *escape(const char *text, bool (*is_plain)(const char *text, size_t at))
{
	char *escaped = malloc(ESCAPE_LENGTH * strlen(text) + 1);
	size_t size = 0;

	if (escaped == NULL)
		return NULL;
	for (size_t i = 0; text[i] != '\0'; i++) {
		if (is_plain(text, i))
			escaped[size++] = text[i];
		else
			size += (size_t)snprintf(escaped + size, ESCAPE_LENGTH + 1, "\\x%02x",
						 (unsigned char)text[i]);
	}
	escaped[size] = '\0';
	return escaped;
}

static bool plain_in_cell(const char *text, size_t at)
{
	if (text[at] == ' ')
		return at > 0 && text[at - 1] != ' ' && text[at + 1] != '\0';
	return is_printable(text[at]) && text[at] != '\\';
}

char *escape_cell(const char *text)
{
	return escape(text, plain_in_cell);
}

static bool plain_in_message(const char *text, size_t at)
{
	return is_printable(text[at]);
}

char *escape_message(const char *text)
{
	return escape(text, plain_in_message);
}

static uint32_t decode(const char *text, size_t length)
{
	static const unsigned char first_bits[] = {0, 0x7f, 0x1f, 0x0f, 0x07};
	uint32_t character = (unsigned char)text[0] & first_bits[length];

	for (size_t i = 1; i < length; i++)
		character = character << UTF8_TAIL_BITS | ((unsigned char)text[i] & 0x3f);
	return character;
}

char *escape_json(const char *json)
{
	size_t left = strlen(json);
	char *escaped = malloc(UNITS_LENGTH * left + 1);
	size_t size = 0;

	if (escaped == NULL)
		return NULL;
	while (left > 0) {
		size_t length = rail_utf8_sequence(json, left);
		uint32_t character = length != 0 ? decode(json, length) : NO_CHARACTER;

		length = length != 0 ? length : 1;

		if (character != NO_CHARACTER && length == 1 && is_printable(*json))
			escaped[size++] = *json;
		else if (character < BEYOND_ONE_UNIT)
			size += (size_t)snprintf(escaped + size, UNITS_LENGTH + 1, "\\u%04x",
						 character);
		else
			size += (size_t)snprintf(
				escaped + size, UNITS_LENGTH + 1, "\\u%04x\\u%04x",
				SURROGATE_HIGH | ((character - BEYOND_ONE_UNIT) >> SURROGATE_BITS),
				SURROGATE_LOW | (character & ((1 << SURROGATE_BITS) - 1)));
		json += length;
		left -= length;
	}
	escaped[size] = '\0';
	return escaped;
}
