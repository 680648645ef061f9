#include <arpa/inet.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "pkg/base/cleanup.h"
#include "pkg/base/log.h"
#include "pkg/wg/key.h"
#include "plugins/railway-mesh/meshd/clients.h"
#include "plugins/railway-mesh/meshd/environment.h"

/* Brings this node's members, and the services that etcd lacks, to etcd. */

enum {
	CHANGES_MAXIMUM = 32, /* a transaction; etcd allows 128 operations in all */
	RETRY_MS = 500,
};

/* What a publication does to one key. */
struct entry_change {
	struct in6_addr address;
	rail_cluster_key key;
	int64_t mod_revision; /* as it must be; 0: absent */
	bool removes;
	bool is_claim;
	struct rail_published published;
	char *value;
};

int environment_local_members(struct meshd *meshd, const struct rail_prefix *prefix,
			      struct rail_member **ret_members, size_t *ret_count,
			      struct rail_error *error)
{
	RAIL_CLEANUP(rail_transaction_abort) struct rail_transaction *live = NULL;
	RAIL_FREE struct rail_member *members = NULL;
	size_t count = 0;
	size_t kept = 0;

	int result = rail_transaction_begin(meshd->store, RAIL_LIVE, RAIL_READ, &live, error);
	if (result == 0)
		result = rail_member_list(live, prefix, &members, &count, error);
	if (result < 0)
		return result;
	for (size_t i = 0; i < count; i++)
		if (members[i].local)
			members[kept++] = members[i];
	*ret_members = RAIL_TAKE_POINTER(members);
	*ret_count = kept;
	return 0;
}

void environment_describe(const struct meshd *meshd, const struct rail_member *member,
			  struct rail_published *ret_published)
{
	struct rail_published published = {
		.node = meshd->node,
		.public_key = member->public_key,
		.named = member->named,
		.endpoint_count = meshd->underlay_count,
	};

	memcpy(published.replica, member->replica, sizeof(published.replica));
	for (size_t i = 0; i < meshd->underlay_count; i++) {
		published.endpoints[i] = meshd->underlay[i];
		published.endpoints[i].port = member->endpoint.port;
	}
	*ret_published = published;
}

static void free_changes(struct environment *environment)
{
	for (size_t i = 0; i < environment->change_count; i++)
		free(environment->changes[i].value);
	free(environment->changes);
	environment->changes = NULL;
	environment->change_count = 0;
}

static struct entry_change *next_change(struct environment *environment)
{
	if (environment->change_count == CHANGES_MAXIMUM)
		return NULL;

	struct entry_change *change = &environment->changes[environment->change_count];

	*change = (struct entry_change){.mod_revision = 0};
	return change;
}

/* What etcd must learn of one local member. */
static void consider_member(struct environment *environment, const struct rail_member *member)
{
	const struct meshd *meshd = environment->meshd;
	struct entry *entry = environment_find(environment, &member->address);
	struct rail_published wanted;
	struct entry_change *change;

	environment_describe(meshd, member, &wanted);
	if (entry != NULL && environment_says(entry, &wanted, meshd->lease))
		return;
	if (entry != NULL && (!entry->ours || !entry->valid)) {
		rail_cluster_key key;

		rail_key_of_member(&member->address, key);
		environment_complain(
			environment, key,
			"it stands where a local pod's record belongs, which cannot be "
			"published");
		return;
	}
	change = next_change(environment);
	if (change == NULL)
		return;
	change->address = member->address;
	change->mod_revision = entry == NULL ? 0 : entry->mod_revision;
	change->published = wanted;
	change->value = rail_published_encode(&wanted);
	rail_key_of_member(&member->address, change->key);
	if (change->value != NULL)
		environment->change_count++;
}

static bool is_member(const struct rail_member *members, size_t count,
		      const struct in6_addr *address)
{
	size_t low = 0;
	size_t high = count;

	while (low < high) {
		size_t middle = low + (high - low) / 2;
		int order = memcmp(&members[middle].address, address, sizeof(*address));

		if (order == 0)
			return true;
		if (order < 0)
			low = middle + 1;
		else
			high = middle;
	}
	return false;
}

static void consider_removals(struct environment *environment, const struct rail_member *members,
			      size_t count)
{
	for (size_t i = 0; i < environment->count; i++) {
		const struct entry *entry = &environment->entries[i];
		struct entry_change *change;

		if (!entry->valid || !entry->ours || is_member(members, count, &entry->address))
			continue;
		change = next_change(environment);
		if (change == NULL)
			return;
		change->address = entry->address;
		change->mod_revision = entry->mod_revision;
		change->removes = true;
		rail_key_of_member(&entry->address, change->key);
		environment->change_count++;
	}
}

/* Claims of addresses that nobody here leases any more. */
static void consider_claims(struct environment *environment)
{
	RAIL_CLEANUP(rail_transaction_abort) struct rail_transaction *live = NULL;

	if (environment->claim_count == 0 ||
	    rail_transaction_begin(environment->meshd->store, RAIL_LIVE, RAIL_READ, &live, NULL) <
		    0)
		return;
	for (size_t i = 0; i < environment->claim_count; i++) {
		struct rail_attachment_key owner;
		struct entry_change *change;

		if (rail_lease_owner(live, &environment->claims[i], &owner, NULL) != -ENOENT)
			continue;
		change = next_change(environment);
		if (change == NULL)
			return;
		change->address = environment->claims[i];
		change->removes = true;
		change->is_claim = true;
		rail_key_of_claim(&environment->claims[i], change->key);
		environment->change_count++;
	}
}

static void send_changes(struct environment *environment);

/* The live store says which members etcd has: for whoever looks, and for STATUS. */
static void mark_published(struct environment *environment)
{
	RAIL_CLEANUP(rail_transaction_abort) struct rail_transaction *live = NULL;
	struct meshd *meshd = environment->meshd;
	RAIL_FREE struct rail_member *members = NULL;
	size_t count = 0;
	bool changed = false;

	if (environment_local_members(meshd, &environment->prefix, &members, &count, NULL) < 0)
		return;
	for (size_t i = 0; i < count; i++) {
		const struct entry *entry = environment_find(environment, &members[i].address);

		if (members[i].published || entry == NULL || !entry->ours)
			continue;
		if (live == NULL &&
		    rail_transaction_begin(meshd->store, RAIL_LIVE, RAIL_WRITE, &live, NULL) < 0)
			return;

		struct rail_member member;

		if (rail_member_get(live, &members[i].address, &member, NULL) < 0 ||
		    !member.local || !rail_key_equal(&member.public_key, &members[i].public_key))
			continue;
		member.published = true;
		if (rail_member_put(live, &member, NULL) < 0)
			return;
		changed = true;
	}
	if (changed)
		(void)rail_transaction_commit(&live, NULL);
}

/* It is as we wanted it. */
static void note_success(struct environment *environment, int64_t revision)
{
	for (size_t i = 0; i < environment->change_count; i++) {
		const struct entry_change *change = &environment->changes[i];
		struct entry *entry = environment_find(environment, &change->address);

		if (change->is_claim)
			continue; /* the watch tells */
		if (change->removes) {
			if (entry != NULL && entry->ours && entry->mod_revision < revision)
				environment_drop(environment, entry);
			continue;
		}
		/* The watch may have been quicker, and may know more. */
		if (entry != NULL && entry->mod_revision >= revision)
			continue;
		if (entry == NULL)
			entry = environment_insert(environment, &change->address);
		if (entry == NULL)
			continue;
		if (entry->create_revision == 0)
			entry->create_revision = revision;
		entry->mod_revision = revision;
		entry->lease = environment->meshd->lease;
		entry->published = change->published;
		entry->valid = true;
		entry->ours = true;
		entry->seen = true;
	}
}

/* It was otherwise: what etcd says replaces what we believed. */
static void note_failure(struct environment *environment, const struct rail_etcd_records *records)
{
	for (size_t i = 0; i < environment->change_count; i++) {
		const struct entry_change *change = &environment->changes[i];
		const struct rail_etcd_record *record =
			rail_etcd_records_find(records, change->key);
		struct entry *entry = environment_find(environment, &change->address);

		if (record != NULL)
			environment_take(environment, record);
		else if (!change->is_claim && entry != NULL && entry->ours)
			environment_drop(environment, entry);
	}
}

static void on_published(void *context, const struct rail_json *answer,
			 const struct rail_error *error)
{
	struct environment *environment = context;
	RAIL_CLEANUP(rail_etcd_records_done) struct rail_etcd_records records = {.count = 0};
	struct rail_error parsing = RAIL_ERROR_NONE;
	struct rail_etcd_header header;
	bool succeeded = false;

	environment->publication = NULL;
	if (answer != NULL &&
	    rail_etcd_parse_transaction(answer, &header, &succeeded, &records, &parsing) < 0) {
		answer = NULL;
		error = &parsing;
	}
	if (answer == NULL) {
		/* A lease that is gone is the session's to notice. */
		free_changes(environment);
		if (environment->meshd->connected && error->errnum != ENOENT)
			rail_log(RAIL_LOG_WARN, "members cannot be published", "environment",
				 environment->name, "error", error->message, NULL);
		rail_timer_start(environment->apply_timer, RETRY_MS);
		return;
	}
	if (succeeded)
		note_success(environment, header.revision);
	else
		note_failure(environment, &records);
	free_changes(environment);
	mark_published(environment);
	environment_apply(environment);
}

static void send_changes(struct environment *environment)
{
	struct rail_etcd_compare compares[CHANGES_MAXIMUM];
	struct rail_etcd_operation operations[CHANGES_MAXIMUM];
	struct rail_etcd_operation gets[CHANGES_MAXIMUM];
	struct rail_error error = RAIL_ERROR_NONE;
	size_t compare_count = 0;

	for (size_t i = 0; i < environment->change_count; i++) {
		const struct entry_change *change = &environment->changes[i];

		if (!change->is_claim)
			compares[compare_count++] = (struct rail_etcd_compare){
				.key = change->key, .mod_revision = change->mod_revision};
		operations[i] = (struct rail_etcd_operation){
			.kind = change->removes ? RAIL_ETCD_DELETE : RAIL_ETCD_PUT,
			.key = change->key,
			.value = change->value,
			.lease = environment->meshd->lease,
		};
		gets[i] = (struct rail_etcd_operation){.kind = RAIL_ETCD_GET, .key = change->key};
	}

	const struct rail_etcd_transaction transaction = {
		compares,   compare_count,
		operations, environment->change_count,
		gets,	    environment->change_count,
	};
	if (rail_etcd_begin(environment->meshd->etcd, "/v3/kv/txn",
			    rail_etcd_encode_transaction(&transaction), on_published, environment,
			    &environment->publication, &error) < 0) {
		free_changes(environment);
		rail_timer_start(environment->apply_timer, RETRY_MS);
	}
}

/* ---- services that etcd lacks: of before this node joined, or of before etcd was restored ---- */

static void on_service(void *context, const struct rail_json *answer,
		       const struct rail_error *error)
{
	struct environment *environment = context;
	RAIL_CLEANUP(rail_etcd_records_done) struct rail_etcd_records records = {.count = 0};
	struct rail_etcd_header header;
	bool succeeded = false;

	environment->service_publication = NULL;
	if (answer == NULL ||
	    rail_etcd_parse_transaction(answer, &header, &succeeded, &records, NULL) < 0) {
		if (environment->meshd->connected && error != NULL)
			rail_log(RAIL_LOG_WARN, "a service cannot be published", "environment",
				 environment->name, "error", error->message, NULL);
		rail_timer_start(environment->apply_timer, RETRY_MS);
		return;
	}
	for (size_t i = 0; i < records.count; i++)
		environment_take(environment, &records.records[i]);
	/* Where it succeeded the watch tells; where not, its number may be another's now. */
	if (!succeeded && records.count == 0)
		rail_timer_start(environment->apply_timer, RETRY_MS);
}

static int find_missing(void *context, const struct rail_service *service)
{
	void **pair = context;
	const struct environment *environment = pair[0];
	struct rail_service *ret_service = pair[1];

	for (size_t i = 0; i < environment->service_count; i++)
		if (strcmp(environment->services[i].service.label, service->label) == 0 ||
		    environment->services[i].service.number == service->number)
			return 0;
	*ret_service = *service;
	return 1;
}

static void publish_service(struct environment *environment)
{
	RAIL_CLEANUP(rail_transaction_abort) struct rail_transaction *registry = NULL;
	struct rail_error error = RAIL_ERROR_NONE;
	struct rail_service service;
	void *pair[] = {environment, &service};
	rail_cluster_key label_key;
	rail_cluster_key number_key;

	if (environment->service_publication != NULL ||
	    rail_transaction_begin(environment->meshd->store, RAIL_REGISTRY, RAIL_READ, &registry,
				   NULL) < 0)
		return;

	int found = rail_service_each(registry, &environment->prefix, find_missing, pair, NULL);

	rail_transaction_abort(&registry);
	if (found != 1)
		return;

	RAIL_FREE char *value = rail_service_record_encode(service.number, service.original);

	rail_key_of_service(&environment->prefix, service.label, label_key);
	rail_key_of_number(&environment->prefix, service.number, number_key);

	const struct rail_etcd_compare absent[] = {{.key = label_key}, {.key = number_key}};
	const struct rail_etcd_operation puts[] = {
		{.kind = RAIL_ETCD_PUT, .key = label_key, .value = value},
		{.kind = RAIL_ETCD_PUT, .key = number_key, .value = service.label},
	};
	const struct rail_etcd_operation gets[] = {
		{.kind = RAIL_ETCD_GET, .key = label_key},
	};
	const struct rail_etcd_transaction transaction = {absent, 2, puts, 2, gets, 1};

	(void)rail_etcd_begin(environment->meshd->etcd, "/v3/kv/txn",
			      value == NULL ? NULL : rail_etcd_encode_transaction(&transaction),
			      on_service, environment, &environment->service_publication, &error);
}

void environment_publish(struct environment *environment)
{
	RAIL_FREE struct rail_member *members = NULL;
	struct rail_error error = RAIL_ERROR_NONE;
	size_t count = 0;

	if (!environment->synced || !meshd_is_joined(environment->meshd))
		return;
	publish_service(environment);
	if (environment->publication != NULL || environment->meshd->underlay_count == 0)
		return;
	if (environment_local_members(environment->meshd, &environment->prefix, &members, &count,
				      &error) < 0) {
		rail_log(RAIL_LOG_ERROR, "the live store cannot be read", "error", error.message,
			 NULL);
		rail_timer_start(environment->apply_timer, RETRY_MS);
		return;
	}
	environment->changes = calloc(CHANGES_MAXIMUM, sizeof(*environment->changes));
	if (environment->changes == NULL) {
		rail_timer_start(environment->apply_timer, RETRY_MS);
		return;
	}
	/* What goes first: nobody is to be sent to a pod that is gone. */
	consider_removals(environment, members, count);
	for (size_t i = 0; i < count; i++)
		consider_member(environment, &members[i]);
	consider_claims(environment);
	if (environment->change_count == 0)
		free_changes(environment);
	else
		send_changes(environment);
}
