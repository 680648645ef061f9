#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "pkg/base/error.h"

/*
 * JSON. The only module that includes cJSON: everything that is read passes the same strict checks,
 * and nothing above depends on the library's habits.
 *
 * A struct rail_json is a value of a document. Values that are found inside another are borrowed
 * from it and live as long as it does; values that are made belong to the caller until they are put
 * into another.
 */

struct rail_json;

/* A pod's annotations alone have up to 256 KiB, of which runtimes may write each byte as six. */
#define RAIL_JSON_SIZE_MAXIMUM ((size_t)4 * 1024 * 1024)
#define RAIL_JSON_DEPTH_MAXIMUM 32

enum rail_json_type {
	RAIL_JSON_NULL,
	RAIL_JSON_BOOLEAN,
	RAIL_JSON_NUMBER,
	RAIL_JSON_STRING,
	RAIL_JSON_ARRAY,
	RAIL_JSON_OBJECT,
};

/*
 * Parses exactly one document (blanks may follow it). Refused, with code 6 and a message that says
 * where or which key: invalid JSON, invalid UTF-8, anything above the two limits, a key that an
 * object has twice, "\u0000" in a string or key.
 */
int rail_json_parse(const char *text, size_t size, struct rail_json **ret_document,
		    struct rail_error *error);
void rail_json_free(struct rail_json *document);
void rail_json_freep(struct rail_json **document); /* for RAIL_CLEANUP */

/* Makes every "\u0000" of a text "\ufffd" (the replacement character), in place. */
void rail_json_replace_nul(char *text, size_t size);

enum rail_json_type rail_json_type(const struct rail_json *value);
const char *rail_json_type_name(enum rail_json_type type); /* "a string", "an object", ... */

/* The member of an object, byte for byte; NULL where there is none or object is NULL or no object.
 */
struct rail_json *rail_json_get(const struct rail_json *object, const char *key);
/* The same, ignoring the case of ASCII letters (Go's runtimes write "Servers" for "servers"). */
struct rail_json *rail_json_get_any_case(const struct rail_json *object, const char *key);
/* The key under which a value stands in its object; NULL for the elements of an array. */
const char *rail_json_key(const struct rail_json *value);
/* For walking an object's or an array's values: for (v = rail_json_first(o); v; v =
 * rail_json_next(v)). */
struct rail_json *rail_json_first(const struct rail_json *container);
struct rail_json *rail_json_next(const struct rail_json *value);
size_t rail_json_count(const struct rail_json *container);

/* The string, borrowed; NULL where value is NULL or no string. */
const char *rail_json_string(const struct rail_json *value);
/* false where value is NULL or no boolean. */
bool rail_json_is_true(const struct rail_json *value);
/* Fails where value is NULL, no number, no whole number, or outside [minimum, maximum]. No error is
 * set: returns -EINVAL. */
int rail_json_integer(const struct rail_json *value, int64_t minimum, int64_t maximum,
		      int64_t *ret_number);

/* Making values. NULL means that memory ran out; a NULL may be passed on, the put then fails. */
struct rail_json *rail_json_new_object(void);
struct rail_json *rail_json_new_array(void);
struct rail_json *rail_json_new_string(const char *text);
struct rail_json *rail_json_new_integer(int64_t number);
struct rail_json *rail_json_new_boolean(bool truth);
struct rail_json *rail_json_new_null(void);
struct rail_json *rail_json_copy(const struct rail_json *value);
/* Consumes value, also on failure. Put replaces a member of that name. -ENOMEM on failure. */
int rail_json_put(struct rail_json *object, const char *key, struct rail_json *value);
int rail_json_append(struct rail_json *array, struct rail_json *value);
/* Takes a member away, if it is there. */
void rail_json_remove(struct rail_json *object, const char *key);

/*
 * The document as text without blanks, for free(); NULL when memory ran out or value is NULL. What
 * was read comes out with the same content: keys in their order, numbers digit for digit. The text
 * is always valid JSON: bytes of a made string that are no UTF-8 come out as U+FFFD.
 */
char *rail_json_print(const struct rail_json *value);
