#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "pkg/base/cleanup.h"
#include "pkg/base/file.h"
#include "pkg/base/log.h"
#include "pkg/cluster/base64.h"
#include "plugins/railway-mesh/meshd/environment.h"

/* Reads an environment from etcd, whole, at one revision, and watches it from there on. */

enum {
	PAGE_RECORDS = 500, /* some 300 kB */
	PAGE_SHRINK = 8,
	LOGGED_KEY_SIZE = 256, /* leaves room for the rest of the line */
	RETRY_MINIMUM_MS = 100,
	RETRY_MAXIMUM_MS = 5000,
	REFUSED_RETRY_MS = 10000,
	DISCONNECTED_MS = 500,
};

static void read_page(struct environment *environment);

static int64_t jitter(int64_t delay_ms)
{
	uint32_t random = 0;

	(void)rail_random(&random, sizeof(random), NULL);
	return delay_ms / 2 + random % (delay_ms / 2 + 1);
}

static void wait(struct environment *environment, const struct rail_error *error)
{
	environment->state = ENVIRONMENT_WAITING;
	environment->retry_ms =
		environment->retry_ms == 0 ? RETRY_MINIMUM_MS : environment->retry_ms * 2;
	if (environment->retry_ms > RETRY_MAXIMUM_MS)
		environment->retry_ms = RETRY_MAXIMUM_MS;
	/* The session says when etcd is away; what goes on besides is told here. */
	if (environment->meshd->connected && environment->retry_ms > RETRY_MINIMUM_MS)
		rail_log(RAIL_LOG_WARN, "an environment cannot be read", "environment",
			 environment->name, "error", error->message, NULL);
	rail_timer_start(environment->timer, jitter(environment->retry_ms));
}

void environment_stop(struct environment *environment)
{
	rail_etcd_cancel(&environment->call);
	rail_etcd_cancel(&environment->publication);
	rail_etcd_cancel(&environment->service_publication);
	rail_etcd_unwatch(&environment->watch);
	/* Of one that could not be taken up. */
	if (environment->timer != NULL)
		rail_timer_stop(environment->timer);
	environment_free_changes(environment);
	environment->state = ENVIRONMENT_IDLE;
}

/* ---- watching ---- */

static void on_watch(void *context, const struct rail_etcd_watch_answer *answer)
{
	struct environment *environment = context;

	if (answer->created) {
		/* A cluster that was restored knows less than we have seen. */
		if (answer->header.revision < environment->revision)
			environment_resync(environment);
		return;
	}
	environment->retry_ms = 0;
	meshd_saw(environment->meshd, &answer->header, 0);
	for (size_t i = 0; i < answer->events.count; i++)
		environment_take(environment, &answer->events.records[i]);

	/* While a watch catches up, the header is ahead of the events, and others still come. */
	int64_t revision =
		answer->events.revision != 0 ? answer->events.revision : answer->header.revision;

	if (revision > environment->revision)
		environment->revision = revision;
	environment_apply(environment);
}

static void watch(struct environment *environment);

static void on_watch_ended(void *context, const struct rail_error *error)
{
	struct environment *environment = context;

	environment->watch = NULL;
	/* What was missed is in etcd's history, unless that is compacted, or was more than a line
	 * holds. */
	if (error->errnum == ESTALE || error->errnum == EMSGSIZE || error->code == RAIL_CODE_DECODE)
		environment->synced = false;
	wait(environment, error);
}

static void watch(struct environment *environment)
{
	struct rail_etcd_watch_callbacks callbacks = {
		.answer = on_watch, .ended = on_watch_ended, .context = environment};
	struct rail_error error = RAIL_ERROR_NONE;
	rail_cluster_key prefix;

	environment->state = ENVIRONMENT_WATCHING;
	rail_key_of_inside(&environment->prefix, prefix);
	if (rail_etcd_watch(environment->meshd->etcd, prefix, environment->revision + 1, &callbacks,
			    &environment->watch, &error) < 0)
		wait(environment, &error);
}

/* ---- reading ---- */

static void finish_reading(struct environment *environment)
{
	free(environment->read_after);
	environment->read_after = NULL;
	environment_end_reading(environment,
				meshd_environments_may_remove(environment->meshd->environments));
	environment->revision = environment->read_revision;
	environment->synced = true;
	environment->retry_ms = 0;
	environment->services_dirty = true;
	watch(environment);
	environment_apply(environment);
}

/* For messages: the beginning of a key, which may be of any length. */
static const char *logged_key(const char *encoded, char text[LOGGED_KEY_SIZE])
{
	size_t size;
	RAIL_FREE char *key = rail_base64_decode(encoded, &size);

	(void)snprintf(text, LOGGED_KEY_SIZE, "%s", key == NULL ? "" : key);
	return text;
}

/* A record of which not even the key can be read cannot be passed over either. */
static void on_key_too_large(struct environment *environment)
{
	struct rail_error error = RAIL_ERROR_NONE;
	char after[LOGGED_KEY_SIZE];
	rail_cluster_key prefix;

	rail_key_of_inside(&environment->prefix, prefix);
	(void)rail_fail_code(&error, RAIL_CODE_TRY_AGAIN, EMSGSIZE,
			     "the key behind '%s' is too large to be read: delete it from etcd",
			     environment->read_after == NULL
				     ? prefix
				     : logged_key(environment->read_after, after));
	wait(environment, &error);
}

/* The record is too large to be read: the reading goes on behind it. */
static void on_too_large(struct environment *environment, const struct rail_etcd_records *records)
{
	char key[LOGGED_KEY_SIZE];

	if (records->last_key != NULL)
		environment_complain(environment, logged_key(records->last_key, key),
				     "the record is too large");
}

/* One record that alone is too large is looked at by its key: 0. */
static int64_t smaller_page(int64_t limit)
{
	if (limit == 1)
		return 0;
	return limit <= PAGE_SHRINK ? 1 : limit / PAGE_SHRINK;
}

static void on_page(void *context, const struct rail_json *answer, const struct rail_error *error)
{
	struct environment *environment = context;
	RAIL_CLEANUP(rail_etcd_records_done) struct rail_etcd_records records = {.count = 0};
	struct rail_error parsing = RAIL_ERROR_NONE;
	struct rail_etcd_header header;
	bool keys_only = environment->read_limit == 0;
	bool more = false;

	environment->call = NULL;
	if (answer == NULL && error->errnum == EMSGSIZE) {
		if (keys_only) {
			on_key_too_large(environment);
			return;
		}
		environment->read_limit = smaller_page(environment->read_limit);
		read_page(environment);
		return;
	}
	if (answer != NULL &&
	    rail_etcd_parse_range(answer, &header, &records, &more, &parsing) < 0) {
		answer = NULL;
		error = &parsing;
	}
	if (answer == NULL) {
		wait(environment, error);
		return;
	}
	if (environment->read_revision == 0) {
		environment->read_revision = header.revision;
		meshd_saw(environment->meshd, &header, environment->asked_at);
		/* Which may have begun the reading anew. */
		if (environment->state != ENVIRONMENT_READING || environment->call != NULL)
			return;
	}
	if (keys_only)
		on_too_large(environment, &records);
	for (size_t i = 0; i < records.count && !keys_only; i++)
		environment_take(environment, &records.records[i]);
	if (!more) {
		finish_reading(environment);
		return;
	}
	free(environment->read_after);
	environment->read_after = RAIL_TAKE_POINTER(records.last_key);
	environment->read_limit = PAGE_RECORDS;
	read_page(environment);
}

/* read_limit 0: the key of the next record only. */
static void read_page(struct environment *environment)
{
	bool keys_only = environment->read_limit == 0;
	struct rail_error error = RAIL_ERROR_NONE;
	rail_cluster_key prefix;

	rail_key_of_inside(&environment->prefix, prefix);

	struct rail_etcd_range range = {
		.key = prefix,
		.prefix = true,
		.after = environment->read_after,
		.revision = environment->read_revision,
		.limit = keys_only ? 1 : environment->read_limit,
		.keys_only = keys_only,
	};
	if (rail_etcd_begin(environment->meshd->etcd, "/v3/kv/range",
			    rail_etcd_encode_range(&range), on_page, environment,
			    &environment->call, &error) < 0)
		wait(environment, &error);
}

static void read_all(struct environment *environment)
{
	environment->state = ENVIRONMENT_READING;
	environment->read_revision = 0;
	environment->asked_at = environment->meshd->revision;
	environment->read_limit = PAGE_RECORDS;
	free(environment->read_after);
	environment->read_after = NULL;
	environment_begin_reading(environment);
	read_page(environment);
}

/* ---- the environment's own record ---- */

static int write_refusal(struct environment *environment, const char *reason,
			 struct rail_error *error)
{
	RAIL_CLEANUP(rail_transaction_abort) struct rail_transaction *registry = NULL;
	int result;

	if (reason == NULL) {
		/* Nearly always there is none, and nothing to be written. */
		result = rail_transaction_begin(environment->meshd->store, RAIL_REGISTRY, RAIL_READ,
						&registry, error);
		if (result == 0)
			result = rail_environment_check_refused(registry, environment->name, error);
		rail_transaction_abort(&registry);
		if (result != -EREMCHG)
			return result;
	}
	result = rail_transaction_begin(environment->meshd->store, RAIL_REGISTRY, RAIL_WRITE,
					&registry, error);
	if (result == 0)
		result = rail_environment_refuse(registry, environment->name, reason, error);
	return result < 0 ? result : rail_transaction_commit(&registry, error);
}

static void refuse(struct environment *environment, const struct rail_prefix *theirs)
{
	char reason[RAIL_REFUSAL_SIZE];
	char ours_text[RAIL_PREFIX_TEXT_SIZE];
	char theirs_text[RAIL_PREFIX_TEXT_SIZE] = "another environment";
	struct rail_error error = RAIL_ERROR_NONE;

	rail_prefix_format(&environment->prefix, ours_text);
	if (theirs != NULL)
		rail_prefix_format(theirs, theirs_text);
	(void)snprintf(
		reason, sizeof(reason),
		"environment '%.253s' has %s on this node from before it joined the cluster, "
		"where it has %s; end its pods on this node, then it takes the cluster's",
		environment->name, ours_text, theirs_text);
	if (environment->state != ENVIRONMENT_REFUSED)
		rail_log(RAIL_LOG_ERROR, "an environment is refused", "error", reason, NULL);
	if (write_refusal(environment, reason, &error) < 0)
		rail_log(RAIL_LOG_ERROR, "a refusal cannot be stored", "error", error.message,
			 NULL);
	environment->state = ENVIRONMENT_REFUSED;
	rail_timer_start(environment->timer, REFUSED_RETRY_MS);
}

static void on_ensured(void *context, const struct rail_json *answer,
		       const struct rail_error *error)
{
	struct environment *environment = context;
	RAIL_CLEANUP(rail_etcd_records_done) struct rail_etcd_records records = {.count = 0};
	struct rail_error parsing = RAIL_ERROR_NONE;
	struct rail_etcd_header header;
	struct rail_prefix theirs;
	rail_cluster_key key;
	bool succeeded = false;

	environment->call = NULL;
	if (answer != NULL &&
	    rail_etcd_parse_transaction(answer, &header, &succeeded, &records, &parsing) < 0) {
		answer = NULL;
		error = &parsing;
	}
	if (answer == NULL) {
		wait(environment, error);
		return;
	}
	meshd_saw(environment->meshd, &header, 0);
	rail_key_of_environment(environment->name, key);

	const struct rail_etcd_record *record = rail_etcd_records_find(&records, key);
	bool known =
		record != NULL && rail_prefix_record_parse(record->value, &theirs, &parsing) == 0;

	if (!succeeded && (!known || !rail_prefix_equal(&theirs, &environment->prefix))) {
		refuse(environment, known ? &theirs : NULL);
		return;
	}
	if (write_refusal(environment, NULL, &parsing) < 0) {
		wait(environment, &parsing);
		return;
	}
	read_all(environment);
}

static void ensure(struct environment *environment)
{
	RAIL_FREE char *value = rail_prefix_record_encode(&environment->prefix);
	struct rail_error error = RAIL_ERROR_NONE;
	rail_cluster_key name_key;
	rail_cluster_key prefix_key;

	rail_key_of_environment(environment->name, name_key);
	rail_key_of_prefix(&environment->prefix, prefix_key);

	const struct rail_etcd_compare absent[] = {{.key = name_key}, {.key = prefix_key}};
	const struct rail_etcd_operation puts[] = {
		{.kind = RAIL_ETCD_PUT, .key = name_key, .value = value},
		{.kind = RAIL_ETCD_PUT, .key = prefix_key, .value = environment->name},
	};
	const struct rail_etcd_operation gets[] = {
		{.kind = RAIL_ETCD_GET, .key = name_key},
		{.kind = RAIL_ETCD_GET, .key = prefix_key},
	};
	const struct rail_etcd_transaction transaction = {absent, 2, puts, 2, gets, 2};

	if (environment->state != ENVIRONMENT_REFUSED)
		environment->state = ENVIRONMENT_ENSURING;
	if (rail_etcd_begin(environment->meshd->etcd, "/v3/kv/txn",
			    value == NULL ? NULL : rail_etcd_encode_transaction(&transaction),
			    on_ensured, environment, &environment->call, &error) < 0)
		wait(environment, &error);
}

/* After a failure that went by, the watch goes on where it was. */
void environment_start(struct environment *environment)
{
	if (environment->call != NULL || environment->watch != NULL ||
	    !meshd_is_joined(environment->meshd)) {
		if (environment->call == NULL && environment->watch == NULL)
			rail_timer_start(environment->timer, DISCONNECTED_MS);
		return;
	}
	if (environment->synced)
		watch(environment);
	else
		ensure(environment);
}

void environment_resync(struct environment *environment)
{
	environment_stop(environment);
	environment->synced = false;
	rail_timer_start(environment->timer, 0);
}
