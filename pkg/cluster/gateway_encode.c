#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "pkg/base/cleanup.h"
#include "pkg/cluster/base64.h"
#include "pkg/cluster/gateway.h"

enum { INT64_TEXT_SIZE = 24 };

/* A put that fails shows when the document is printed. */
struct document {
	struct rail_json *json;
	bool failed;
};

static void document_done(struct document *document)
{
	rail_json_free(document->json);
}

#define DOCUMENT RAIL_CLEANUP(document_done) struct document

static struct document document_new(void)
{
	return (struct document){.json = rail_json_new_object()};
}

static void put(struct document *document, const char *key, struct rail_json *value)
{
	if (rail_json_put(document->json, key, value) < 0)
		document->failed = true;
}

static void put_bytes(struct document *document, const char *key, const char *bytes, size_t size)
{
	RAIL_FREE char *text = rail_base64_encode(bytes, size);

	put(document, key, text == NULL ? NULL : rail_json_new_string(text));
}

static void put_text(struct document *document, const char *key, const char *text)
{
	put_bytes(document, key, text, strlen(text));
}

static void put_number(struct document *document, const char *key, int64_t number)
{
	char text[INT64_TEXT_SIZE];

	(void)snprintf(text, sizeof(text), "%" PRId64, number);
	put(document, key, rail_json_new_string(text));
}

/* Consumes the inner one. */
static void put_document(struct document *document, const char *key, struct document *inner)
{
	document->failed = document->failed || inner->failed;
	put(document, key, RAIL_TAKE_POINTER(inner->json));
}

static char *print(const struct document *document)
{
	return document->json == NULL || document->failed ? NULL : rail_json_print(document->json);
}

/* The first key that does not begin so. A key of ours never ends with 0xff. */
static void put_prefix_end(struct document *document, const char *prefix)
{
	RAIL_FREE char *end = strdup(prefix);
	size_t size = strlen(prefix);

	if (end == NULL || size == 0) {
		document->failed = true;
		return;
	}
	end[size - 1] = (char)(end[size - 1] + 1);
	put_text(document, "range_end", end);
}

/* The key right behind another one is that one with a NUL, which Base64's reader leaves there. */
static void put_key_behind(struct document *document, const char *encoded)
{
	size_t size = 0;
	RAIL_FREE char *key = rail_base64_decode(encoded, &size);

	if (key == NULL)
		document->failed = true;
	else
		put_bytes(document, "key", key, size + 1);
}

char *rail_etcd_encode_range(const struct rail_etcd_range *range)
{
	DOCUMENT document = document_new();

	if (range->after != NULL)
		put_key_behind(&document, range->after);
	else
		put_text(&document, "key", range->key);
	if (range->prefix)
		put_prefix_end(&document, range->key);
	if (range->revision != 0)
		put_number(&document, "revision", range->revision);
	if (range->limit != 0)
		put_number(&document, "limit", range->limit);
	if (range->keys_only)
		put(&document, "keys_only", rail_json_new_boolean(true));
	return print(&document);
}

static struct document encode_operation(const struct rail_etcd_operation *operation)
{
	static const char *const names[] = {
		[RAIL_ETCD_PUT] = "request_put",
		[RAIL_ETCD_DELETE] = "request_delete_range",
		[RAIL_ETCD_GET] = "request_range",
	};
	struct document document = document_new();
	DOCUMENT inner = document_new();

	put_text(&inner, "key", operation->key);
	if (operation->kind == RAIL_ETCD_PUT) {
		put_text(&inner, "value", operation->value);
		if (operation->lease != 0)
			put_number(&inner, "lease", operation->lease);
	}
	put_document(&document, names[operation->kind], &inner);
	return document;
}

static void put_operations(struct document *document, const char *key,
			   const struct rail_etcd_operation *operations, size_t count)
{
	struct rail_json *list = rail_json_new_array();

	for (size_t i = 0; i < count; i++) {
		struct document one = encode_operation(&operations[i]);

		if (one.failed || rail_json_append(list, one.json) < 0)
			document->failed = true;
	}
	put(document, key, list);
}

char *rail_etcd_encode_transaction(const struct rail_etcd_transaction *transaction)
{
	DOCUMENT document = document_new();
	struct rail_json *compares = rail_json_new_array();

	for (size_t i = 0; i < transaction->compare_count; i++) {
		const struct rail_etcd_compare *compare = &transaction->compares[i];
		struct document one = document_new();

		put_text(&one, "key", compare->key);
		put(&one, "target", rail_json_new_string("MOD"));
		put(&one, "result", rail_json_new_string("EQUAL"));
		put_number(&one, "mod_revision", compare->mod_revision);
		if (one.failed || rail_json_append(compares, one.json) < 0)
			document.failed = true;
	}
	put(&document, "compare", compares);
	put_operations(&document, "success", transaction->success, transaction->success_count);
	put_operations(&document, "failure", transaction->failure, transaction->failure_count);
	return print(&document);
}

char *rail_etcd_encode_grant(int64_t ttl_s)
{
	DOCUMENT document = document_new();

	put_number(&document, "TTL", ttl_s);
	return print(&document);
}

char *rail_etcd_encode_lease(int64_t lease)
{
	DOCUMENT document = document_new();

	put_number(&document, "ID", lease);
	return print(&document);
}

char *rail_etcd_encode_watch(const char *prefix, int64_t start_revision)
{
	DOCUMENT document = document_new();
	DOCUMENT create = document_new();

	put_text(&create, "key", prefix);
	put_prefix_end(&create, prefix);
	put_number(&create, "start_revision", start_revision);
	put_document(&document, "create_request", &create);
	return print(&document);
}

char *rail_etcd_encode_authenticate(const char *user, const char *password)
{
	DOCUMENT document = document_new();

	put(&document, "name", rail_json_new_string(user));
	put(&document, "password", rail_json_new_string(password));
	return print(&document);
}

char *rail_etcd_encode_lease_keys(int64_t lease)
{
	DOCUMENT document = document_new();

	put_number(&document, "ID", lease);
	put(&document, "keys", rail_json_new_boolean(true));
	return print(&document);
}
