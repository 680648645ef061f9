#include "pkg/base/json.h"

#include <cjson/cJSON.h>
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "pkg/base/cleanup.h"
#include "pkg/base/json_check.h"

/*
 * A struct rail_json is a cJSON by another name. One thing is added: a number keeps its text in
 * valuestring, which cJSON leaves alone for numbers, copies and frees. A double would lose what is
 * beyond 2^53, and a document that only passes through must not change.
 */

static cJSON *inside(const struct rail_json *value)
{
	return (cJSON *)value;
}

static struct rail_json *outside(cJSON *value)
{
	return (struct rail_json *)value;
}

/* ---- reading ---- */

struct cursor {
	const char *text;
	size_t size;
	size_t position;
};

/* The next number of a text that was checked. */
static const char *next_number(struct cursor *cursor, size_t *ret_length)
{
	const char *text = cursor->text;

	for (; cursor->position < cursor->size; cursor->position++) {
		const char *here = text + cursor->position;

		if (*here == '"') {
			cursor->position++;
			while (cursor->position < cursor->size && text[cursor->position] != '"')
				cursor->position += text[cursor->position] == '\\' ? 2 : 1;
		} else if (*here == '-' || (*here >= '0' && *here <= '9')) {
			*ret_length = rail_json_number_span(here, cursor->size - cursor->position);
			cursor->position += *ret_length;
			return here;
		}
	}
	return NULL;
}

/* Numbers stand in the tree in the order of the text. */
static int keep_number_texts(cJSON *value, struct cursor *cursor)
{
	if (cJSON_IsNumber(value)) {
		size_t length;
		const char *text = next_number(cursor, &length);

		value->valuestring = text != NULL ? strndup(text, length) : NULL;
		return value->valuestring != NULL ? 0 : -ENOMEM;
	}
	for (cJSON *child = value->child; child != NULL; child = child->next)
		if (keep_number_texts(child, cursor) < 0)
			return -ENOMEM;
	return 0;
}

static int compare_keys(const void *one, const void *other)
{
	return strcmp(*(const char *const *)one, *(const char *const *)other);
}

static int check_object_keys(const cJSON *object, struct rail_error *error)
{
	size_t count = (size_t)cJSON_GetArraySize(object);
	RAIL_FREE const char **keys = calloc(count, sizeof(*keys));
	size_t i = 0;

	if (keys == NULL)
		return rail_fail_errno(error, ENOMEM, "read JSON");
	for (const cJSON *child = object->child; child != NULL; child = child->next)
		keys[i++] = child->string;
	/* Sorted, because pods' authors choose how many annotations there are. */
	qsort(keys, count, sizeof(*keys), compare_keys);
	for (i = 1; i < count; i++)
		if (strcmp(keys[i - 1], keys[i]) == 0)
			return rail_fail_code(error, RAIL_CODE_DECODE, EBADMSG,
					      "invalid JSON: the key '%.64s' stands twice in the "
					      "same object",
					      keys[i]);
	return 0;
}

static int check_keys(const cJSON *value, struct rail_error *error)
{
	int result = 0;

	if (cJSON_IsObject(value) && value->child != NULL)
		result = check_object_keys(value, error);
	for (const cJSON *child = value->child; child != NULL && result == 0; child = child->next)
		result = check_keys(child, error);
	return result;
}

int rail_json_parse(const char *text, size_t size, struct rail_json **ret_document,
		    struct rail_error *error)
{
	int result = rail_json_check(text, size, error);

	if (result < 0)
		return result;

	RAIL_CLEANUP(rail_json_freep)
	struct rail_json *document =
		outside(cJSON_ParseWithLengthOpts(text, size, NULL, /*require_null_terminated=*/0));
	struct cursor cursor = {.text = text, .size = size};

	/* What passed the check is valid for cJSON too: only memory can be missing. */
	if (document == NULL || keep_number_texts(inside(document), &cursor) < 0)
		return rail_fail_errno(error, ENOMEM, "read JSON");
	result = check_keys(inside(document), error);
	if (result < 0)
		return result;
	*ret_document = RAIL_TAKE_POINTER(document);
	return 0;
}

void rail_json_free(struct rail_json *document)
{
	cJSON_Delete(inside(document));
}

void rail_json_freep(struct rail_json **document)
{
	rail_json_free(*document);
	*document = NULL;
}

enum rail_json_type rail_json_type(const struct rail_json *value)
{
	const cJSON *item = inside(value);

	if (cJSON_IsBool(item))
		return RAIL_JSON_BOOLEAN;
	if (cJSON_IsNumber(item))
		return RAIL_JSON_NUMBER;
	if (cJSON_IsString(item))
		return RAIL_JSON_STRING;
	if (cJSON_IsArray(item))
		return RAIL_JSON_ARRAY;
	if (cJSON_IsObject(item))
		return RAIL_JSON_OBJECT;
	return RAIL_JSON_NULL;
}

const char *rail_json_type_name(enum rail_json_type type)
{
	static const char *const names[] = {
		[RAIL_JSON_NULL] = "null",	 [RAIL_JSON_BOOLEAN] = "a boolean",
		[RAIL_JSON_NUMBER] = "a number", [RAIL_JSON_STRING] = "a string",
		[RAIL_JSON_ARRAY] = "a list",	 [RAIL_JSON_OBJECT] = "an object",
	};

	return names[type];
}

static struct rail_json *find(const struct rail_json *object, const char *key,
			      int (*compare)(const char *one, const char *other))
{
	if (!cJSON_IsObject(inside(object)))
		return NULL;
	for (cJSON *child = inside(object)->child; child != NULL; child = child->next)
		if (compare(child->string, key) == 0)
			return outside(child);
	return NULL;
}

struct rail_json *rail_json_get(const struct rail_json *object, const char *key)
{
	return find(object, key, strcmp);
}

struct rail_json *rail_json_get_any_case(const struct rail_json *object, const char *key)
{
	struct rail_json *exact = find(object, key, strcmp);

	return exact != NULL ? exact : find(object, key, strcasecmp);
}

const char *rail_json_key(const struct rail_json *value)
{
	return value != NULL ? inside(value)->string : NULL;
}

struct rail_json *rail_json_first(const struct rail_json *container)
{
	return container != NULL ? outside(inside(container)->child) : NULL;
}

struct rail_json *rail_json_next(const struct rail_json *value)
{
	return outside(inside(value)->next);
}

size_t rail_json_count(const struct rail_json *container)
{
	size_t count = 0;

	for (const struct rail_json *value = rail_json_first(container); value != NULL;
	     value = rail_json_next(value))
		count++;
	return count;
}

const char *rail_json_string(const struct rail_json *value)
{
	return cJSON_IsString(inside(value)) ? inside(value)->valuestring : NULL;
}

bool rail_json_is_true(const struct rail_json *value)
{
	return cJSON_IsTrue(inside(value));
}

int rail_json_integer(const struct rail_json *value, int64_t minimum, int64_t maximum,
		      int64_t *ret_number)
{
	const double exact = 9007199254740992.0; /* 2^53 */
	const cJSON *item = inside(value);
	int64_t number;

	if (!cJSON_IsNumber(item))
		return -EINVAL;
	if (item->valuestring[strspn(item->valuestring, "-0123456789")] == '\0') {
		errno = 0;
		number = strtoll(item->valuestring, NULL, 10);
		if (errno != 0)
			return -EINVAL;
	} else {
		/* 1e3 and 1.0 are whole numbers too. */
		if (!(item->valuedouble >= -exact && item->valuedouble <= exact))
			return -EINVAL;
		number = (int64_t)item->valuedouble;
		if ((double)number < item->valuedouble || (double)number > item->valuedouble)
			return -EINVAL;
	}
	if (number < minimum || number > maximum)
		return -EINVAL;
	*ret_number = number;
	return 0;
}

/* ---- making ---- */

struct rail_json *rail_json_new_object(void)
{
	return outside(cJSON_CreateObject());
}

struct rail_json *rail_json_new_array(void)
{
	return outside(cJSON_CreateArray());
}

struct rail_json *rail_json_new_string(const char *text)
{
	return text != NULL ? outside(cJSON_CreateString(text)) : NULL;
}

struct rail_json *rail_json_new_integer(int64_t number)
{
	cJSON *item = cJSON_CreateNumber((double)number);

	if (item == NULL)
		return NULL;
	if (asprintf(&item->valuestring, "%" PRId64, number) < 0) {
		item->valuestring = NULL;
		cJSON_Delete(item);
		return NULL;
	}
	return outside(item);
}

struct rail_json *rail_json_new_boolean(bool truth)
{
	return outside(cJSON_CreateBool(truth));
}

struct rail_json *rail_json_new_null(void)
{
	return outside(cJSON_CreateNull());
}

static void forget_key(cJSON *item)
{
	if ((item->type & cJSON_StringIsConst) == 0)
		free(item->string);
	item->string = NULL;
	item->type &= ~cJSON_StringIsConst;
}

struct rail_json *rail_json_copy(const struct rail_json *value)
{
	cJSON *copy = cJSON_Duplicate(inside(value), /*recurse=*/1);

	if (copy != NULL)
		forget_key(copy);
	return outside(copy);
}

int rail_json_put(struct rail_json *object, const char *key, struct rail_json *value)
{
	struct rail_json *before = rail_json_get(object, key);
	cJSON *item = inside(value);
	char *name = strdup(key);

	if (!cJSON_IsObject(inside(object)) || item == NULL || name == NULL) {
		cJSON_Delete(item);
		free(name);
		return -ENOMEM;
	}
	forget_key(item);
	item->string = name;

	/* Appending as to an array leaves the key alone. */
	cJSON_bool done =
		before != NULL ? cJSON_ReplaceItemViaPointer(inside(object), inside(before), item)
			       : cJSON_AddItemToArray(inside(object), item);
	if (!done) {
		cJSON_Delete(item);
		return -ENOMEM;
	}
	return 0;
}

int rail_json_append(struct rail_json *array, struct rail_json *value)
{
	cJSON *item = inside(value);

	if (!cJSON_IsArray(inside(array)) || item == NULL) {
		cJSON_Delete(item);
		return -ENOMEM;
	}
	forget_key(item);
	if (!cJSON_AddItemToArray(inside(array), item)) {
		cJSON_Delete(item);
		return -ENOMEM;
	}
	return 0;
}

void rail_json_remove(struct rail_json *object, const char *key)
{
	struct rail_json *value = rail_json_get(object, key);

	if (value != NULL)
		cJSON_Delete(cJSON_DetachItemViaPointer(inside(object), inside(value)));
}

/* ---- printing ---- */

struct printer {
	char *text;
	size_t size;
	size_t capacity;
	bool failed;
};

static void put_bytes(struct printer *printer, const char *bytes, size_t size)
{
	if (printer->failed)
		return;
	if (printer->capacity - printer->size <= size) {
		size_t larger = printer->capacity * 2 + size + 64;
		char *grown = realloc(printer->text, larger);

		if (grown == NULL) {
			printer->failed = true;
			return;
		}
		printer->text = grown;
		printer->capacity = larger;
	}
	memcpy(printer->text + printer->size, bytes, size);
	printer->size += size;
	printer->text[printer->size] = '\0';
}

static void put_text(struct printer *printer, const char *text)
{
	put_bytes(printer, text, strlen(text));
}

static void put_string(struct printer *printer, const char *text)
{
	static const char escapes[] = "\"\\\b\f\n\r\t";
	static const char letters[] = "\"\\bfnrt";
	size_t left = strlen(text);

	put_text(printer, "\"");
	while (left > 0) {
		const char *escape = strchr(escapes, *text);
		size_t length = rail_utf8_sequence(text, left);

		if (escape != NULL) {
			char pair[2] = {'\\', letters[escape - escapes]};

			put_bytes(printer, pair, sizeof(pair));
		} else if ((unsigned char)*text < 0x20) {
			char unit[8];

			(void)snprintf(unit, sizeof(unit), "\\u%04x", (unsigned char)*text);
			put_text(printer, unit);
		} else if (length == 0) {
			/* Messages quote what others wrote, and are cut anywhere: the output stays
			 * valid JSON. */
			put_text(printer, "\xef\xbf\xbd");
			length = 1;
		} else {
			put_bytes(printer, text, length);
		}
		text += length;
		left -= length;
	}
	put_text(printer, "\"");
}

/* As deep as the value: what was parsed is at most RAIL_JSON_DEPTH_MAXIMUM deep. */
static void put_value(struct printer *printer, const cJSON *value)
{
	if (cJSON_IsObject(value) || cJSON_IsArray(value)) {
		bool object = cJSON_IsObject(value);

		put_text(printer, object ? "{" : "[");
		for (const cJSON *child = value->child; child != NULL; child = child->next) {
			if (child != value->child)
				put_text(printer, ",");
			if (object) {
				put_string(printer, child->string);
				put_text(printer, ":");
			}
			put_value(printer, child);
		}
		put_text(printer, object ? "}" : "]");
	} else if (cJSON_IsString(value)) {
		put_string(printer, value->valuestring);
	} else if (cJSON_IsNumber(value)) {
		put_text(printer, value->valuestring);
	} else if (cJSON_IsBool(value)) {
		put_text(printer, cJSON_IsTrue(value) ? "true" : "false");
	} else {
		put_text(printer, "null");
	}
}

char *rail_json_print(const struct rail_json *value)
{
	struct printer printer = {0};

	if (value == NULL)
		return NULL;
	put_value(&printer, inside(value));
	if (printer.failed) {
		free(printer.text);
		return NULL;
	}
	return printer.text;
}
