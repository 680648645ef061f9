#include "pkg/cluster/gateway.h"

#include <criterion/criterion.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "pkg/base/cleanup.h"

static struct rail_json *parse(const char *text)
{
	struct rail_json *document = NULL;

	cr_assert_eq(rail_json_parse(text, strlen(text), &document, NULL), 0, "%s", text);
	return document;
}

Test(cluster_gateway, requests_are_what_etcd_expects)
{
	const struct rail_etcd_range range = {
		.key = "a/", .prefix = true, .after = "YS9i", .revision = 7, .limit = 5};
	const struct rail_etcd_compare compare = {.key = "a", .mod_revision = 3};
	const struct rail_etcd_operation put = {
		.kind = RAIL_ETCD_PUT, .key = "a", .value = "1", .lease = INT64_MAX};
	const struct rail_etcd_operation get = {.kind = RAIL_ETCD_GET, .key = "a"};
	const struct rail_etcd_operation delete = {.kind = RAIL_ETCD_DELETE, .key = "b"};
	const struct rail_etcd_operation failure[] = {get, delete};
	const struct rail_etcd_transaction transaction = {&compare, 1, &put, 1, failure, 2};
	RAIL_FREE char *range_text = rail_etcd_encode_range(&range);
	RAIL_FREE char *transaction_text = rail_etcd_encode_transaction(&transaction);
	RAIL_FREE char *watch_text = rail_etcd_encode_watch("a/", 9);

	/* The key behind "a/b" is that with a NUL; the end of "a/" is "a0". */
	cr_assert_str_eq(range_text, "{\"key\":\"YS9iAA==\",\"range_end\":\"YTA=\",\"revision\":"
				     "\"7\",\"limit\":\"5\"}");
	cr_assert_str_eq(
		transaction_text,
		"{\"compare\":[{\"key\":\"YQ==\",\"target\":\"MOD\",\"result\":\"EQUAL\","
		"\"mod_revision\":\"3\"}],\"success\":[{\"request_put\":{\"key\":\"YQ==\","
		"\"value\":\"MQ==\",\"lease\":\"9223372036854775807\"}}],\"failure\":["
		"{\"request_range\":{\"key\":\"YQ==\"}},{\"request_delete_range\":{\"key\":"
		"\"Yg==\"}}]}");
	cr_assert_str_eq(watch_text, "{\"create_request\":{\"key\":\"YS8=\",\"range_end\":\"YTA=\","
				     "\"start_revision\":\"9\"}}");
}

Test(cluster_gateway, what_is_left_out_is_false_zero_or_put)
{
	struct rail_etcd_header header;
	struct rail_etcd_records records = {.count = 9};
	struct rail_etcd_watch_answer watch;
	struct rail_json *document = parse("{\"header\":{\"revision\":\"2\"}}");
	bool flag = true;

	cr_assert_eq(rail_etcd_parse_range(document, &header, &records, &flag, NULL), 0);
	cr_assert_eq(records.count, 0);
	cr_assert_eq(header.revision, 2);
	cr_assert_not(flag);
	rail_etcd_records_done(&records);
	flag = true;
	cr_assert_eq(rail_etcd_parse_transaction(document, &header, &flag, &records, NULL), 0);
	cr_assert_not(flag);
	rail_etcd_records_done(&records);
	rail_json_free(document);

	document = parse("{\"result\":{\"header\":{},\"events\":[{\"kv\":{\"key\":\"Yg==\","
			 "\"mod_revision\":\"5\"}},{\"type\":\"DELETE\",\"kv\":{\"key\":\"YQ==\"}}]"
			 "}}");
	cr_assert_eq(rail_etcd_parse_watch(document, &watch, NULL), 0);
	cr_assert_eq(watch.events.count, 2);
	cr_assert_not(watch.events.records[0].deleted);
	cr_assert_str_eq(watch.events.records[0].value, "");
	cr_assert(watch.events.records[1].deleted);
	cr_assert_null(watch.events.records[1].value);
	rail_etcd_records_done(&watch.events);
	rail_json_free(document);
}

Test(cluster_gateway, a_lease_that_is_gone_has_no_ttl)
{
	struct rail_json *document = parse("{\"result\":{\"header\":{},\"ID\":\"7587\"}}");
	struct rail_etcd_header header;
	int64_t lease = 0;
	int64_t ttl_s = 9;

	cr_assert_eq(rail_etcd_parse_lease(document, &header, &lease, &ttl_s, NULL), 0);
	cr_assert_eq(lease, 7587);
	cr_assert_eq(ttl_s, 0);
	rail_json_free(document);
}

Test(cluster_gateway, too_large_a_value_is_not_looked_at_and_too_large_a_key_is_left_out)
{
	size_t size = 8192;
	char *large = malloc(size + 1);
	char *text = malloc(3 * size);
	struct rail_etcd_watch_answer watch;
	struct rail_etcd_records records;
	struct rail_etcd_header header;
	bool more;

	memset(large, 'A', size);
	large[size] = '\0';
	(void)snprintf(text, 3 * size,
		       "{\"kvs\":[{\"key\":\"YQ==\",\"value\":\"%s\"},{\"key\":\"%s\"},{\"key\":"
		       "\"Yg==\",\"value\":\"AA==\"}]}",
		       large, large);

	struct rail_json *document = parse(text);

	cr_assert_eq(rail_etcd_parse_range(document, &header, &records, &more, NULL), 0);
	cr_assert_eq(records.count, 2);
	cr_assert_str_eq(records.records[0].key, "a");
	cr_assert_null(records.records[0].value);
	cr_assert_null(records.records[1].value, "a NUL");
	cr_assert_str_eq(records.last_key, "Yg==");
	rail_etcd_records_done(&records);
	rail_json_free(document);

	/* A reading goes on behind the last one, though nobody looks at it. */
	(void)snprintf(text, 3 * size, "{\"kvs\":[{\"key\":\"%s\"}],\"more\":true}", large);
	document = parse(text);
	cr_assert_eq(rail_etcd_parse_range(document, &header, &records, &more, NULL), 0);
	cr_assert(more);
	cr_assert_eq(records.count, 0);
	cr_assert_str_eq(records.last_key, large);

	const struct rail_etcd_range range = {
		.key = "a/", .prefix = true, .after = records.last_key};
	RAIL_FREE char *request = rail_etcd_encode_range(&range);

	/* Its 6144 NULs have one more behind them. */
	cr_assert_eq(strncmp(request, "{\"key\":\"", 8), 0);
	cr_assert_eq(strspn(request + 8, "A"), size + 2);
	cr_assert_eq(strncmp(request + 8 + size + 2, "==\"", 3), 0);
	rail_etcd_records_done(&records);
	rail_json_free(document);

	/* A watch goes on behind it, too. */
	(void)snprintf(text, 3 * size,
		       "{\"result\":{\"header\":{\"revision\":\"9\"},\"events\":[{\"kv\":{"
		       "\"key\":\"YQ==\",\"mod_revision\":\"5\"}},{\"kv\":{\"key\":\"%s\","
		       "\"mod_revision\":\"6\"}}]}}",
		       large);
	document = parse(text);
	cr_assert_eq(rail_etcd_parse_watch(document, &watch, NULL), 0);
	cr_assert_eq(watch.events.count, 1);
	cr_assert_eq(watch.events.revision, 6);
	rail_etcd_records_done(&watch.events);
	rail_json_free(document);
	free(large);
	free(text);
}

Test(cluster_gateway, answers_that_are_none)
{
	static const char *const texts[] = {
		"[]",
		"{\"kvs\":{}}",
		"{\"kvs\":[1]}",
		"{\"kvs\":[{\"key\":\"?\"}]}",
		"{\"kvs\":[{\"key\":\"YQ==\",\"mod_revision\":\"x\"}]}",
		"{\"kvs\":[{\"key\":\"YQ==\",\"lease\":\"9223372036854775808\"}]}",
		"{\"header\":{\"revision\":true}}",
		"{\"more\":true}",
		"{\"kvs\":[],\"more\":true}",
		"{\"kvs\":[{\"mod_revision\":\"7\"}]}",
	};
	struct rail_etcd_records records;
	struct rail_etcd_header header;
	bool more;

	for (size_t i = 0; i < sizeof(texts) / sizeof(texts[0]); i++) {
		struct rail_json *document = parse(texts[i]);

		cr_assert_eq(rail_etcd_parse_range(document, &header, &records, &more, NULL),
			     -EPROTO, "%s", texts[i]);
		rail_json_free(document);
	}
}

Test(cluster_gateway, errors_of_calls_and_of_streams)
{
	struct rail_json *call = parse("{\"error\":\"no\",\"message\":\"no\",\"code\":5}");
	struct rail_json *stream = parse("{\"error\":{\"grpc_code\":14,\"message\":\"away\"}}");
	const char *message = NULL;

	cr_assert_eq(rail_etcd_parse_error(call, &message), 5);
	cr_assert_str_eq(message, "no");
	cr_assert_eq(rail_etcd_parse_error(stream, &message), 14);
	cr_assert_str_eq(message, "away");
	rail_json_free(call);
	rail_json_free(stream);
}

Test(cluster_gateway, what_stands_under_a_lease)
{
	RAIL_FREE char *body = rail_etcd_encode_lease_keys(INT64_MAX);
	struct rail_json *document =
		parse("{\"header\":{\"revision\":\"7\"},\"ID\":\"9\",\"TTL\":\"5\",\"keys\":["
		      "\"YQ==\",\"AA==\",\"YmM=\"]}");
	struct rail_etcd_records records;
	struct rail_etcd_header header;

	cr_assert_str_eq(body, "{\"ID\":\"9223372036854775807\",\"keys\":true}");
	cr_assert_eq(rail_etcd_parse_lease_keys(document, &header, &records, NULL), 0);
	cr_assert_eq(header.revision, 7);
	/* A key with NUL is none of ours. */
	cr_assert_eq(records.count, 2);
	cr_assert_str_eq(records.records[0].key, "a");
	cr_assert_str_eq(records.records[1].key, "bc");
	rail_etcd_records_done(&records);
	rail_json_free(document);

	document = parse("{\"header\":{},\"ID\":\"9\",\"TTL\":\"-1\"}");
	cr_assert_eq(rail_etcd_parse_lease_keys(document, &header, &records, NULL), 0);
	cr_assert_eq(records.count, 0);
	rail_etcd_records_done(&records);
	rail_json_free(document);

	static const char *const nonsense[] = {"[]", "{\"keys\":1}", "{\"keys\":[\"YQ==\",1]}",
					       "{\"keys\":[\"YQ==\",\"!\"]}"};

	for (size_t i = 0; i < sizeof(nonsense) / sizeof(nonsense[0]); i++) {
		document = parse(nonsense[i]);
		cr_assert_eq(rail_etcd_parse_lease_keys(document, &header, &records, NULL),
			     -EPROTO);
		rail_json_free(document);
	}
}
