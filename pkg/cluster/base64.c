#include "pkg/cluster/base64.h"

#include <stdlib.h>
#include <string.h>

#include "pkg/base/cleanup.h"

/* The letters of the 64 values, and behind them the padding (RFC 4648, 4). */
static const char alphabet[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/=";
enum { PADDING = 64 };

char *rail_base64_encode(const void *bytes, size_t size)
{
	const uint8_t *source = bytes;
	char *text = malloc((size + 2) / 3 * 4 + 1);
	char *target = text;

	if (text == NULL)
		return NULL;
	for (size_t i = 0; i < size; i += 3) {
		size_t left = size - i;
		uint32_t group = (uint32_t)source[i] << 16;

		if (left > 1)
			group |= (uint32_t)source[i + 1] << 8;
		if (left > 2)
			group |= source[i + 2];
		*target++ = alphabet[group >> 18];
		*target++ = alphabet[group >> 12 & 63];
		*target++ = alphabet[left > 1 ? group >> 6 & 63 : PADDING];
		*target++ = alphabet[left > 2 ? group & 63 : PADDING];
	}
	*target = '\0';
	return text;
}

/* The value of a letter; -1 for none. */
static int value_of(char letter)
{
	const char *found = letter == '\0' ? NULL : strchr(alphabet, letter);

	return found == NULL || found - alphabet == PADDING ? -1 : (int)(found - alphabet);
}

char *rail_base64_decode(const char *text, size_t *ret_size)
{
	size_t length = strlen(text);
	size_t padding = 0;

	if (length % 4 != 0)
		return NULL;
	while (padding < 2 && padding < length && text[length - 1 - padding] == '=')
		padding++;

	size_t size = length / 4 * 3 - padding;
	RAIL_FREE char *bytes = malloc(size + 1);
	uint32_t bits = 0;
	unsigned int bit_count = 0;
	size_t written = 0;

	if (bytes == NULL)
		return NULL;
	for (size_t i = 0; i < length - padding; i++) {
		int value = value_of(text[i]);

		if (value < 0)
			return NULL;
		bits = bits << 6 | (uint32_t)value;
		bit_count += 6;
		if (bit_count >= 8) {
			bit_count -= 8;
			bytes[written++] = (char)(bits >> bit_count & 0xff);
		}
	}
	if ((bits & ((1U << bit_count) - 1)) != 0 || written != size)
		return NULL;
	bytes[size] = '\0';
	*ret_size = size;
	return RAIL_TAKE_POINTER(bytes);
}
