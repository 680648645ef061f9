#include "pkg/base/json_check.h"

#include <errno.h>
#include <stdbool.h>
#include <stdint.h>
#include <string.h>

#include "pkg/base/json.h"

/* cJSON copies a number into a buffer of 64 bytes before it converts it. */
#define NUMBER_LENGTH_MAXIMUM 63

struct scan {
	const char *text;
	size_t size;
	size_t position;
	struct rail_error *error;
};

static int fail(const struct scan *scan, const char *what)
{
	size_t line = 1;
	size_t column = 1;

	for (size_t i = 0; i < scan->position && i < scan->size; i++) {
		column++;
		if (scan->text[i] == '\n') {
			line++;
			column = 1;
		}
	}
	return rail_fail_code(scan->error, RAIL_CODE_DECODE, EBADMSG,
			      "invalid JSON at line %zu, column %zu: %s", line, column, what);
}

static bool at_end(const struct scan *scan)
{
	return scan->position >= scan->size;
}

/* The byte at the position; NUL, which is nowhere allowed, at the end. */
static char peek(const struct scan *scan)
{
	if (at_end(scan))
		return '\0';
	return scan->text[scan->position];
}

static bool accept(struct scan *scan, char wanted)
{
	if (at_end(scan) || scan->text[scan->position] != wanted)
		return false;
	scan->position++;
	return true;
}

static void skip_blanks(struct scan *scan)
{
	while (!at_end(scan) && strchr(" \t\n\r", scan->text[scan->position]) != NULL &&
	       scan->text[scan->position] != '\0')
		scan->position++;
}

static bool is_digit(char c)
{
	return c >= '0' && c <= '9';
}

size_t rail_utf8_sequence(const char *bytes, size_t left)
{
	const unsigned char *b = (const unsigned char *)bytes;

	if (left == 0)
		return 0;
	if (b[0] < 0x80)
		return 1;

	/* The second byte's range excludes overlong forms, surrogates and what is above U+10FFFF.
	 */
	size_t length;
	unsigned char low = 0x80;
	unsigned char high = 0xbf;

	if (b[0] >= 0xc2 && b[0] <= 0xdf) {
		length = 2;
	} else if (b[0] >= 0xe0 && b[0] <= 0xef) {
		length = 3;
		if (b[0] == 0xe0)
			low = 0xa0;
		if (b[0] == 0xed)
			high = 0x9f;
	} else if (b[0] >= 0xf0 && b[0] <= 0xf4) {
		length = 4;
		if (b[0] == 0xf0)
			low = 0x90;
		if (b[0] == 0xf4)
			high = 0x8f;
	} else {
		return 0;
	}

	if (left < length || b[1] < low || b[1] > high)
		return 0;
	for (size_t i = 2; i < length; i++)
		if (b[i] < 0x80 || b[i] > 0xbf)
			return 0;
	return length;
}

size_t rail_json_number_span(const char *bytes, size_t left)
{
	size_t length = 0;

	while (length < left && (is_digit(bytes[length]) ||
				 (bytes[length] != '\0' && strchr("+-.eE", bytes[length]) != NULL)))
		length++;
	return length;
}

/* The four hexadecimal digits of "\uXXXX". */
static int check_hex(struct scan *scan, uint32_t *ret_unit)
{
	uint32_t unit = 0;

	for (int i = 0; i < 4; i++) {
		char c = peek(scan);
		uint32_t digit;

		if (is_digit(c))
			digit = (uint32_t)(c - '0');
		else if (c >= 'a' && c <= 'f')
			digit = (uint32_t)(c - 'a') + 10;
		else if (c >= 'A' && c <= 'F')
			digit = (uint32_t)(c - 'A') + 10;
		else
			return fail(scan, "\\u needs four hexadecimal digits");
		unit = unit << 4 | digit;
		scan->position++;
	}
	*ret_unit = unit;
	return 0;
}

static int check_escape(struct scan *scan)
{
	char c = peek(scan);
	uint32_t unit = 0;

	if (c == '\0' || strchr("\"\\/bfnrtu", c) == NULL)
		return fail(scan, "unknown escape in a string");
	scan->position++;
	if (c != 'u')
		return 0;

	int result = check_hex(scan, &unit);
	if (result < 0)
		return result;
	if (unit == 0)
		return fail(scan, "\\u0000 is not allowed in a string");
	if (unit < 0xd800 || unit > 0xdfff)
		return 0;
	if (unit > 0xdbff || !accept(scan, '\\') || !accept(scan, 'u'))
		return fail(scan, "half a surrogate pair in a string");
	result = check_hex(scan, &unit);
	if (result < 0)
		return result;
	if (unit < 0xdc00 || unit > 0xdfff)
		return fail(scan, "half a surrogate pair in a string");
	return 0;
}

static int check_string(struct scan *scan)
{
	if (!accept(scan, '"'))
		return fail(scan, "a string was expected");

	while (!at_end(scan)) {
		char c = scan->text[scan->position];

		if ((unsigned char)c < 0x20)
			return fail(scan, "control character in a string");
		if (c == '"') {
			scan->position++;
			return 0;
		}
		if (c == '\\') {
			scan->position++;

			int result = check_escape(scan);
			if (result < 0)
				return result;
			continue;
		}

		size_t length = rail_utf8_sequence(scan->text + scan->position,
						   scan->size - scan->position);
		if (length == 0)
			return fail(scan, "invalid UTF-8 in a string");
		scan->position += length;
	}
	return fail(scan, "the text ends inside a string");
}

static bool skip_digits(struct scan *scan)
{
	size_t start = scan->position;

	while (is_digit(peek(scan)))
		scan->position++;
	return scan->position > start;
}

static int check_number(struct scan *scan)
{
	size_t start = scan->position;

	(void)accept(scan, '-');
	if (!accept(scan, '0') && !skip_digits(scan))
		return fail(scan, "a digit was expected");
	if (accept(scan, '.') && !skip_digits(scan))
		return fail(scan, "a digit was expected after '.'");
	if (accept(scan, 'e') || accept(scan, 'E')) {
		if (!accept(scan, '+'))
			(void)accept(scan, '-');
		if (!skip_digits(scan))
			return fail(scan, "a digit was expected in the exponent");
	}
	if (rail_json_number_span(scan->text + scan->position, scan->size - scan->position) > 0)
		return fail(scan, "malformed number");
	if (scan->position - start > NUMBER_LENGTH_MAXIMUM)
		return fail(scan, "a number of more than 63 characters");
	return 0;
}

static int check_literal(struct scan *scan, const char *literal)
{
	size_t length = strlen(literal);

	if (scan->size - scan->position < length ||
	    memcmp(scan->text + scan->position, literal, length) != 0)
		return fail(scan, "a value was expected");
	scan->position += length;
	return 0;
}

static int check_value(struct scan *scan, unsigned int depth);

/* The inside of an object or array, behind its opening bracket. */
static int check_members(struct scan *scan, bool object, unsigned int depth)
{
	char end = object ? '}' : ']';
	int result;

	if (depth >= RAIL_JSON_DEPTH_MAXIMUM)
		return fail(scan, "nested more than 32 deep");

	skip_blanks(scan);
	if (accept(scan, end))
		return 0;
	for (;;) {
		skip_blanks(scan);
		if (object) {
			result = check_string(scan);
			if (result < 0)
				return result;
			skip_blanks(scan);
			if (!accept(scan, ':'))
				return fail(scan, "':' was expected");
		}
		result = check_value(scan, depth + 1);
		if (result < 0)
			return result;
		skip_blanks(scan);
		if (accept(scan, end))
			return 0;
		if (!accept(scan, ','))
			return fail(scan,
				    object ? "',' or '}' was expected" : "',' or ']' was expected");
	}
}

/* Recursion ends at RAIL_JSON_DEPTH_MAXIMUM. */
static int check_value(struct scan *scan, unsigned int depth)
{
	skip_blanks(scan);
	if (at_end(scan))
		return fail(scan, "the text ends where a value was expected");

	switch (scan->text[scan->position]) {
	case '{':
	case '[': {
		bool object = scan->text[scan->position] == '{';

		scan->position++;
		return check_members(scan, object, depth);
	}
	case '"':
		return check_string(scan);
	case 't':
		return check_literal(scan, "true");
	case 'f':
		return check_literal(scan, "false");
	case 'n':
		return check_literal(scan, "null");
	default:
		if (peek(scan) != '-' && !is_digit(peek(scan)))
			return fail(scan, "a value was expected");
		return check_number(scan);
	}
}

void rail_json_replace_nul(char *text, size_t size)
{
	static const char nul[] = "\\u0000";
	static const char replacement[] = "\\ufffd";
	const size_t length = sizeof(nul) - 1;

	for (size_t i = 0; i + length <= size; i++) {
		if (text[i] != '\\')
			continue;
		if (memcmp(text + i, nul, length) == 0)
			memcpy(text + i, replacement, length);
		/* A backslash behind this one escapes nothing. */
		i++;
	}
}

int rail_json_check(const char *text, size_t size, struct rail_error *error)
{
	struct scan scan = {.text = text, .size = size, .error = error};

	if (size > RAIL_JSON_SIZE_MAXIMUM)
		return rail_fail_code(error, RAIL_CODE_DECODE, EFBIG,
				      "JSON of %zu bytes: at most %zu are read", size,
				      RAIL_JSON_SIZE_MAXIMUM);
	skip_blanks(&scan);
	if (at_end(&scan))
		return rail_fail_code(error, RAIL_CODE_DECODE, EBADMSG,
				      "invalid JSON: the text is empty");

	int result = check_value(&scan, 0);
	if (result < 0)
		return result;
	skip_blanks(&scan);
	if (!at_end(&scan))
		return fail(&scan, "something follows the document");
	return 0;
}
