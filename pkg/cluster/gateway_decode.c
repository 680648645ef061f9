#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "pkg/base/cleanup.h"
#include "pkg/cluster/base64.h"
#include "pkg/cluster/gateway.h"

static int fail_answer(struct rail_error *error)
{
	return rail_fail_code(
		error, RAIL_CODE_TRY_AGAIN, EPROTO,
		"etcd gave an answer that is not understood; does 'cluster.endpoints' "
		"name etcd 3.4 or later, and no proxy?");
}

/* A number in a string, as the gateway writes int64; absent: 0. */
static bool read_number(const struct rail_json *object, const char *key, int64_t *ret_number)
{
	const struct rail_json *value = rail_json_get(object, key);
	const char *text = rail_json_string(value);
	char *end;

	*ret_number = 0;
	if (value == NULL)
		return true;
	if (text == NULL)
		return rail_json_integer(value, INT32_MIN, INT32_MAX, ret_number) == 0;
	if (*text != '-' && (*text < '0' || *text > '9'))
		return false;
	errno = 0;
	*ret_number = strtoll(text, &end, 10);
	return errno == 0 && *end == '\0';
}

static bool read_header(const struct rail_json *answer, struct rail_etcd_header *ret_header)
{
	const struct rail_json *header = rail_json_get(answer, "header");
	const char *cluster = rail_json_string(rail_json_get(header, "cluster_id"));

	*ret_header = (struct rail_etcd_header){.revision = 0};
	if (rail_json_type(answer) != RAIL_JSON_OBJECT)
		return false;
	if (cluster != NULL && strlen(cluster) < sizeof(ret_header->cluster_id))
		memcpy(ret_header->cluster_id, cluster, strlen(cluster) + 1);
	return read_number(header, "revision", &ret_header->revision);
}

void rail_etcd_records_done(struct rail_etcd_records *records)
{
	for (size_t i = 0; i < records->count; i++) {
		free(records->records[i].key);
		free(records->records[i].value);
	}
	free(records->records);
	free(records->last_key);
	*records = (struct rail_etcd_records){.count = 0};
}

const struct rail_etcd_record *rail_etcd_records_find(const struct rail_etcd_records *records,
						      const char *key)
{
	for (size_t i = 0; i < records->count; i++)
		if (strcmp(records->records[i].key, key) == 0)
			return &records->records[i];
	return NULL;
}

/* Text of at most maximum bytes, without NUL; *ret_text NULL where it is more than that. false: no
 * Base64 at all. */
static bool read_text(const struct rail_json *object, const char *key, size_t maximum,
		      char **ret_text)
{
	const struct rail_json *value = rail_json_get(object, key);
	const char *encoded = value == NULL ? "" : rail_json_string(value);
	size_t size;

	*ret_text = NULL;
	if (encoded == NULL)
		return false;
	if (strlen(encoded) > (maximum + 2) / 3 * 4)
		return true;

	RAIL_FREE char *text = rail_base64_decode(encoded, &size);

	if (text == NULL)
		return false;
	if (size <= maximum && strlen(text) == size)
		*ret_text = RAIL_TAKE_POINTER(text);
	return true;
}

/* Appends one; 0, or a negative errno value. */
static int read_record(const struct rail_json *json, bool deleted, size_t capacity,
		       struct rail_etcd_records *records)
{
	struct rail_etcd_record record = {.deleted = deleted};
	RAIL_FREE char *key = NULL;
	RAIL_FREE char *value = NULL;

	if (rail_json_type(json) != RAIL_JSON_OBJECT ||
	    !read_number(json, "create_revision", &record.create_revision) ||
	    !read_number(json, "mod_revision", &record.mod_revision) ||
	    !read_number(json, "lease", &record.lease) ||
	    !read_text(json, "key", RAIL_ETCD_KEY_MAXIMUM, &key) ||
	    !read_text(json, "value", RAIL_ETCD_VALUE_MAXIMUM, &value))
		return -EPROTO;
	if (record.mod_revision > records->revision)
		records->revision = record.mod_revision;
	if (key == NULL || records->count == capacity)
		return 0;
	record.key = RAIL_TAKE_POINTER(key);
	if (!deleted)
		record.value = RAIL_TAKE_POINTER(value);
	records->records[records->count++] = record;
	return 0;
}

static int reserve(struct rail_etcd_records *records, size_t more)
{
	struct rail_etcd_record *grown =
		reallocarray(records->records, records->count + more + 1, sizeof(*grown));

	if (grown == NULL)
		return -ENOMEM;
	records->records = grown;
	return 0;
}

static int read_records(const struct rail_json *list, struct rail_etcd_records *records)
{
	size_t capacity = records->count + rail_json_count(list);

	if (list == NULL)
		return 0;
	if (rail_json_type(list) != RAIL_JSON_ARRAY)
		return -EPROTO;

	int result = reserve(records, rail_json_count(list));

	for (const struct rail_json *value = rail_json_first(list); result == 0 && value != NULL;
	     value = rail_json_next(value))
		result = read_record(value, false, capacity, records);
	return result;
}

/* Behind which a reading goes on, though it be one that is left out. */
static int read_last_key(const struct rail_json *list, struct rail_etcd_records *records)
{
	const struct rail_json *last = NULL;

	for (const struct rail_json *value = rail_json_first(list); value != NULL;
	     value = rail_json_next(value))
		last = value;
	if (last == NULL)
		return 0;

	const char *key = rail_json_string(rail_json_get(last, "key"));

	if (key == NULL)
		return -EPROTO;
	records->last_key = strdup(key);
	return records->last_key == NULL ? -ENOMEM : 0;
}

static int outcome(int result, struct rail_error *error)
{
	if (result == -ENOMEM)
		return rail_fail(error, ENOMEM, "no memory for etcd's answer");
	return result < 0 ? fail_answer(error) : 0;
}

int rail_etcd_parse_range(const struct rail_json *answer, struct rail_etcd_header *ret_header,
			  struct rail_etcd_records *ret_records, bool *ret_more,
			  struct rail_error *error)
{
	struct rail_etcd_records records = {.count = 0};
	const struct rail_json *list = rail_json_get(answer, "kvs");
	int result = read_header(answer, ret_header) ? read_records(list, &records) : -EPROTO;

	if (result == 0)
		result = read_last_key(list, &records);
	*ret_more = rail_json_is_true(rail_json_get(answer, "more"));
	/* Where the reading would go on nobody says. */
	if (result == 0 && *ret_more && records.last_key == NULL)
		result = -EPROTO;
	if (result < 0) {
		rail_etcd_records_done(&records);
		return outcome(result, error);
	}
	*ret_records = records;
	return 0;
}

int rail_etcd_parse_transaction(const struct rail_json *answer, struct rail_etcd_header *ret_header,
				bool *ret_succeeded, struct rail_etcd_records *ret_records,
				struct rail_error *error)
{
	const struct rail_json *responses = rail_json_get(answer, "responses");
	struct rail_etcd_records records = {.count = 0};
	int result = read_header(answer, ret_header) ? 0 : -EPROTO;

	for (const struct rail_json *value = rail_json_first(responses);
	     result == 0 && value != NULL; value = rail_json_next(value))
		result = read_records(rail_json_get(rail_json_get(value, "response_range"), "kvs"),
				      &records);
	if (result < 0) {
		rail_etcd_records_done(&records);
		return outcome(result, error);
	}
	*ret_records = records;
	*ret_succeeded = rail_json_is_true(rail_json_get(answer, "succeeded"));
	return 0;
}

int rail_etcd_parse_lease(const struct rail_json *answer, struct rail_etcd_header *ret_header,
			  int64_t *ret_lease, int64_t *ret_ttl_s, struct rail_error *error)
{
	/* keepalive streams, so its answer stands below "result". */
	const struct rail_json *result = rail_json_get(answer, "result");
	int64_t lease;
	int64_t ttl_s;

	if (result == NULL)
		result = answer;
	if (!read_header(result, ret_header) || !read_number(result, "ID", &lease) ||
	    !read_number(result, "TTL", &ttl_s) || lease == 0)
		return fail_answer(error);
	*ret_lease = lease;
	*ret_ttl_s = ttl_s;
	return 0;
}

int rail_etcd_parse_authenticate(const struct rail_json *answer, const char **ret_token,
				 struct rail_error *error)
{
	const char *token = rail_json_string(rail_json_get(answer, "token"));

	if (token == NULL || *token == '\0')
		return fail_answer(error);
	*ret_token = token;
	return 0;
}

static int read_events(const struct rail_json *list, struct rail_etcd_records *records)
{
	size_t capacity = rail_json_count(list);

	if (list == NULL)
		return 0;
	if (rail_json_type(list) != RAIL_JSON_ARRAY)
		return -EPROTO;

	int result = reserve(records, capacity);

	for (const struct rail_json *event = rail_json_first(list); result == 0 && event != NULL;
	     event = rail_json_next(event)) {
		const char *type = rail_json_string(rail_json_get(event, "type"));
		bool deleted = type != NULL && strcmp(type, "DELETE") == 0;

		result = read_record(rail_json_get(event, "kv"), deleted, capacity, records);
	}
	return result;
}

int rail_etcd_parse_watch(const struct rail_json *line, struct rail_etcd_watch_answer *ret_answer,
			  struct rail_error *error)
{
	const struct rail_json *result = rail_json_get(line, "result");
	struct rail_etcd_watch_answer answer = {.created = false};

	if (result == NULL) {
		const char *message = NULL;

		(void)rail_etcd_parse_error(line, &message);
		return message == NULL ? fail_answer(error)
				       : rail_fail_code(error, RAIL_CODE_TRY_AGAIN, EIO,
							"etcd ended a watch: %.200s", message);
	}

	int outcome_of_events = -EPROTO;

	if (read_header(result, &answer.header) &&
	    read_number(result, "compact_revision", &answer.compact_revision))
		outcome_of_events = read_events(rail_json_get(result, "events"), &answer.events);
	if (outcome_of_events < 0) {
		rail_etcd_records_done(&answer.events);
		return outcome(outcome_of_events, error);
	}
	answer.created = rail_json_is_true(rail_json_get(result, "created"));
	answer.canceled = rail_json_is_true(rail_json_get(result, "canceled"));
	answer.cancel_reason = rail_json_string(rail_json_get(result, "cancel_reason"));
	*ret_answer = answer;
	return 0;
}

int rail_etcd_parse_error(const struct rail_json *answer, const char **ret_message)
{
	/* Of a call: {"error": text, "code": n}; of a stream: {"error": {"message", "grpc_code"}}.
	 */
	const struct rail_json *inner = rail_json_get(answer, "error");
	const struct rail_json *object = rail_json_get(inner, "message") != NULL ? inner : answer;
	const struct rail_json *code = rail_json_get(object, "code");
	int64_t number = -1;

	*ret_message = rail_json_string(rail_json_get(object, "message"));
	if (*ret_message == NULL)
		*ret_message = rail_json_string(inner);
	if (code == NULL)
		code = rail_json_get(object, "grpc_code");
	if (rail_json_integer(code, 0, 1000, &number) < 0)
		return -1;
	return (int)number;
}

static int read_keys(const struct rail_json *list, struct rail_etcd_records *records)
{
	if (list == NULL)
		return 0;
	if (rail_json_type(list) != RAIL_JSON_ARRAY)
		return -EPROTO;

	int result = reserve(records, rail_json_count(list));

	for (const struct rail_json *value = rail_json_first(list); result == 0 && value != NULL;
	     value = rail_json_next(value)) {
		const char *encoded = rail_json_string(value);
		size_t size = 0;
		RAIL_FREE char *key = encoded == NULL ? NULL : rail_base64_decode(encoded, &size);

		if (key == NULL)
			return -EPROTO;
		if (size <= RAIL_ETCD_KEY_MAXIMUM && strlen(key) == size)
			records->records[records->count++] =
				(struct rail_etcd_record){.key = RAIL_TAKE_POINTER(key)};
	}
	return result;
}

int rail_etcd_parse_lease_keys(const struct rail_json *answer, struct rail_etcd_header *ret_header,
			       struct rail_etcd_records *ret_records, struct rail_error *error)
{
	struct rail_etcd_records records = {.count = 0};
	int result = read_header(answer, ret_header)
			     ? read_keys(rail_json_get(answer, "keys"), &records)
			     : -EPROTO;

	if (result < 0) {
		rail_etcd_records_done(&records);
		return outcome(result, error);
	}
	*ret_records = records;
	return 0;
}
