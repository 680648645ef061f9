#pragma once

#include <stddef.h>

#include "pkg/base/error.h"

/* The strict checks of json.c, which come before the library's recursive parser sees anything. */

/*
 * Whether text is exactly one document of RFC 8259 in valid UTF-8, within the limits of json.h,
 * without "\u0000" and lone surrogates. Fails with code 6 and a message that says line and column.
 * Duplicate keys are not looked for.
 */
int rail_json_check(const char *text, size_t size, struct rail_error *error);

/* The length in bytes of the UTF-8 sequence at the start of bytes (RFC 3629); 0 where there is no
 * valid one within left bytes. */
size_t rail_utf8_sequence(const char *bytes, size_t left);

/* The number of characters from the start of bytes that may stand in a JSON number. */
size_t rail_json_number_span(const char *bytes, size_t left);
