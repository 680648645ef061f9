#include <arpa/inet.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "pkg/base/cleanup.h"
#include "pkg/base/file.h"
#include "pkg/base/log.h"
#include "pkg/store/database.h"
#include "pkg/wg/key.h"
#include "plugins/railway-mesh/meshd/clients.h"
#include "plugins/railway-mesh/meshd/environment.h"

/* Brings this node's members to etcd. */

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

void environment_free_changes(struct environment *environment)
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

/* A requested address is published by who has the claim on it, which went with a lease that ended:
 * it is made again first. Whether it stands, or goes with this publication. */
static bool consider_claim(struct environment *environment, const struct in6_addr *address)
{
	const struct claim *claim = environment_find_claim(environment, address);
	const struct meshd *meshd = environment->meshd;
	struct entry_change *change;

	if (rail_address_split(address).node != RAIL_NODE_REQUESTED ||
	    (claim != NULL && claim->ours && claim->lease == meshd->lease))
		return true;
	if (claim != NULL && !claim->ours) {
		rail_cluster_key key;

		rail_key_of_claim(address, key);
		environment_complain(environment, key,
				     "another node has the address that a local pod requested; the "
				     "pod is not published until one of the two ends");
		return false;
	}
	change = next_change(environment);
	if (change == NULL)
		return false;
	change->address = *address;
	change->is_claim = true;
	change->mod_revision = claim == NULL ? 0 : claim->mod_revision;
	change->value = meshd_claim_value(meshd);
	rail_key_of_claim(address, change->key);
	if (change->value == NULL)
		return false;
	environment->change_count++;
	return true;
}

/* What etcd must learn of one local member. */
static void consider_member(struct environment *environment, const struct rail_member *member)
{
	const struct meshd *meshd = environment->meshd;
	struct entry *entry = environment_find(environment, &member->address);
	struct rail_published wanted;
	struct entry_change *change;

	/* The others would take it for another service's. */
	if (environment_is_disputed(environment, &member->address) ||
	    !consider_claim(environment, &member->address))
		return;
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

		if (!entry->valid || !entry->ours ||
		    (is_member(members, count, &entry->address) &&
		     !environment_is_disputed(environment, &entry->address)))
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

	if (!environment_has_claims(environment) ||
	    rail_transaction_begin(environment->meshd->store, RAIL_LIVE, RAIL_READ, &live, NULL) <
		    0)
		return;
	for (size_t i = 0; i < environment->claim_count; i++) {
		const struct claim *claim = &environment->claims[i];
		struct rail_attachment_key owner;
		struct entry_change *change;

		if (!claim->ours ||
		    rail_lease_owner(live, &claim->address, &owner, NULL) != -ENOENT)
			continue;
		change = next_change(environment);
		if (change == NULL)
			return;
		change->address = claim->address;
		change->mod_revision = claim->mod_revision;
		change->removes = true;
		change->is_claim = true;
		rail_key_of_claim(&claim->address, change->key);
		environment->change_count++;
	}
}

/* The live store says which members etcd has: for whoever looks, and for STATUS. */
static void mark_published(struct environment *environment, const struct rail_member *members,
			   size_t count)
{
	RAIL_CLEANUP(rail_transaction_abort) struct rail_transaction *live = NULL;
	struct meshd *meshd = environment->meshd;

	for (size_t i = 0; i < count; i++) {
		const struct entry *entry = environment_find(environment, &members[i].address);
		bool published = entry != NULL && entry->valid && entry->ours;
		struct rail_member member;

		if (members[i].published == published)
			continue;
		if (live == NULL &&
		    rail_transaction_begin_within(meshd->store, RAIL_LIVE, RAIL_WRITE,
						  ENVIRONMENT_STORE_PATIENCE_MS, &live, NULL) < 0)
			return;
		if (rail_member_get(live, &members[i].address, &member, NULL) < 0 ||
		    !member.local || !rail_key_equal(&member.public_key, &members[i].public_key))
			continue;
		member.published = published;
		if (rail_member_put(live, &member, NULL) < 0)
			return;
	}
	if (live != NULL)
		(void)rail_transaction_commit(&live, NULL);
}

static void note_claim(struct environment *environment, const struct entry_change *change,
		       int64_t revision)
{
	struct claim *claim = environment_find_claim(environment, &change->address);

	/* The watch may have been quicker, and may know more. */
	if (claim != NULL && claim->mod_revision >= revision)
		return;
	if (change->removes && claim != NULL)
		environment_drop_claim(environment, claim);
	if (!change->removes)
		environment_put_claim(environment,
				      &(struct claim){.address = change->address,
						      .mod_revision = revision,
						      .lease = environment->meshd->lease,
						      .ours = true});
}

/* It is as we wanted it. */
static void note_success(struct environment *environment, int64_t revision)
{
	for (size_t i = 0; i < environment->change_count; i++) {
		const struct entry_change *change = &environment->changes[i];
		struct entry *entry = environment_find(environment, &change->address);

		if (change->is_claim) {
			note_claim(environment, change, revision);
			continue;
		}
		if (change->removes) {
			meshd_environments_look_soon(environment->meshd->environments);
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
		struct claim *claim = environment_find_claim(environment, &change->address);

		if (record != NULL)
			environment_take(environment, record);
		else if (change->is_claim && claim != NULL)
			environment_drop_claim(environment, claim);
		else if (!change->is_claim && entry != NULL && entry->ours)
			environment_drop(environment, entry);
	}
}

/* Whether something is known otherwise than when this was sent: else it would be sent again at
 * once, for ever. */
static bool has_changed(const struct environment *environment)
{
	for (size_t i = 0; i < environment->change_count; i++) {
		const struct entry_change *change = &environment->changes[i];
		const struct entry *entry = environment_find(environment, &change->address);
		const struct claim *claim = environment_find_claim(environment, &change->address);
		int64_t now = change->is_claim ? (claim == NULL ? 0 : claim->mod_revision)
					       : (entry == NULL ? 0 : entry->mod_revision);

		if (now != change->mod_revision)
			return true;
	}
	return false;
}

static void on_published(void *context, const struct rail_json *answer,
			 const struct rail_error *error)
{
	/* An etcd that takes no writes refuses for long, twice a second. */
	static struct rail_log_limit limit = {.maximum = 5, .window_ms = 60000};
	struct environment *environment = context;
	RAIL_CLEANUP(rail_etcd_records_done) struct rail_etcd_records records = {.count = 0};
	struct rail_error parsing = RAIL_ERROR_NONE;
	struct rail_etcd_header header;
	unsigned int dropped;
	bool succeeded = false;
	bool changed;

	environment->publication = NULL;
	if (answer != NULL &&
	    rail_etcd_parse_transaction(answer, &header, &succeeded, &records, &parsing) < 0) {
		answer = NULL;
		error = &parsing;
	}
	if (answer == NULL) {
		/* A lease that is gone is the session's to notice. */
		environment_free_changes(environment);
		if (environment->meshd->connected && error->errnum != ENOENT &&
		    rail_log_allowed(&limit, rail_monotonic_ms(), &dropped))
			rail_log(RAIL_LOG_WARN, "members cannot be published", "environment",
				 environment->name, "error", error->message, NULL);
		rail_timer_start(environment->apply_timer, RETRY_MS);
		return;
	}
	if (succeeded)
		note_success(environment, header.revision);
	else
		note_failure(environment, &records);
	changed = has_changed(environment);
	environment_free_changes(environment);
	if (changed)
		environment_apply(environment);
	else
		rail_timer_start(environment->apply_timer, RETRY_MS);
}

static void send_changes(struct environment *environment)
{
	struct rail_etcd_compare compares[CHANGES_MAXIMUM];
	struct rail_etcd_operation operations[CHANGES_MAXIMUM];
	struct rail_etcd_operation gets[CHANGES_MAXIMUM];
	struct rail_error error = RAIL_ERROR_NONE;

	for (size_t i = 0; i < environment->change_count; i++) {
		const struct entry_change *change = &environment->changes[i];

		compares[i] = (struct rail_etcd_compare){.key = change->key,
							 .mod_revision = change->mod_revision};
		operations[i] = (struct rail_etcd_operation){
			.kind = change->removes ? RAIL_ETCD_DELETE : RAIL_ETCD_PUT,
			.key = change->key,
			.value = change->value,
			.lease = environment->meshd->lease,
		};
		gets[i] = (struct rail_etcd_operation){.kind = RAIL_ETCD_GET, .key = change->key};
	}

	const struct rail_etcd_transaction transaction = {
		compares, environment->change_count, operations, environment->change_count,
		gets,	  environment->change_count,
	};
	if (rail_etcd_begin(environment->meshd->etcd, "/v3/kv/txn",
			    rail_etcd_encode_transaction(&transaction), on_published, environment,
			    &environment->publication, &error) < 0) {
		environment_free_changes(environment);
		rail_timer_start(environment->apply_timer, RETRY_MS);
	}
}

void environment_publish(struct environment *environment)
{
	RAIL_FREE struct rail_member *members = NULL;
	struct rail_error error = RAIL_ERROR_NONE;
	size_t count = 0;

	if (!environment->synced || !meshd_is_joined(environment->meshd))
		return;
	environment_publish_service(environment);
	if (environment->publication != NULL)
		return;
	if (environment_local_members(environment->meshd, &environment->prefix, &members, &count,
				      &error) < 0) {
		rail_log(RAIL_LOG_ERROR, "the live store cannot be read", "error", error.message,
			 NULL);
		rail_timer_start(environment->apply_timer, RETRY_MS);
		return;
	}
	mark_published(environment, members, count);
	environment->changes = calloc(CHANGES_MAXIMUM, sizeof(*environment->changes));
	if (environment->changes == NULL) {
		rail_timer_start(environment->apply_timer, RETRY_MS);
		return;
	}
	/* What goes first: nobody is to be sent to a pod that is gone. */
	consider_removals(environment, members, count);
	for (size_t i = 0; i < count && environment->meshd->underlay_count != 0; i++)
		consider_member(environment, &members[i]);
	consider_claims(environment);
	if (environment->change_count == 0)
		environment_free_changes(environment);
	else
		send_changes(environment);
}
