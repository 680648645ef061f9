#pragma once

#include <stddef.h>
#include <stdint.h>

/* Base64 (RFC 4648, section 4) with padding, as etcd's JSON gateway has keys and values. */

/* The text, for free(); NULL where memory ran out. */
char *rail_base64_encode(const void *bytes, size_t size);
/*
 * The bytes, for free(), with a NUL behind them that is not counted. NULL where the text is no
 * Base64 (a letter outside the alphabet, wrong padding, set bits that nobody reads) or memory ran
 * out.
 */
char *rail_base64_decode(const char *text, size_t *ret_size);
