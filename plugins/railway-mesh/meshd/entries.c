#include <arpa/inet.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "pkg/base/cleanup.h"
#include "pkg/base/file.h"
#include "pkg/base/log.h"
#include "pkg/wg/key.h"
#include "plugins/railway-mesh/meshd/environment.h"

/* What is known of an environment. Records of other nodes are judged here, and nowhere believed. */

enum {
	/* Of an environment; what is beyond is refused. What this node publishes itself always has
	 * its place, what others publish under its number no more than that. */
	MEMBERS_MAXIMUM = 20000,
	OWN_MAXIMUM = 2 * MEMBERS_MAXIMUM,
	SERVICES_MAXIMUM = 65535,
};

void environment_complain(struct environment *environment, const char *key, const char *why)
{
	static struct rail_log_limit limit = {.maximum = 20, .window_ms = 10000};
	unsigned int dropped = 0;

	if (!rail_log_allowed(&limit, rail_monotonic_ms(), &dropped))
		return;
	rail_log(RAIL_LOG_WARN, "a record of another node is refused", "environment",
		 environment->name, "key", key, "error", why, "more", dropped > 0 ? "yes" : NULL,
		 NULL);
}

/* Where it is, or would be. */
static size_t position(const struct environment *environment, const struct in6_addr *address)
{
	size_t low = 0;
	size_t high = environment->count;

	while (low < high) {
		size_t middle = low + (high - low) / 2;

		if (memcmp(&environment->entries[middle].address, address, sizeof(*address)) < 0)
			low = middle + 1;
		else
			high = middle;
	}
	return low;
}

struct entry *environment_find(const struct environment *environment,
			       const struct in6_addr *address)
{
	size_t index = position(environment, address);

	if (index == environment->count ||
	    !IN6_ARE_ADDR_EQUAL(&environment->entries[index].address, address))
		return NULL;
	return &environment->entries[index];
}

struct entry *environment_insert(struct environment *environment, const struct in6_addr *address)
{
	size_t index = position(environment, address);

	if (environment->count == environment->capacity) {
		size_t capacity = environment->capacity == 0 ? 16 : environment->capacity * 2;
		struct entry *grown = reallocarray(environment->entries, capacity, sizeof(*grown));

		if (grown == NULL)
			return NULL;
		environment->entries = grown;
		environment->capacity = capacity;
	}

	struct entry *entry = &environment->entries[index];

	memmove(entry + 1, entry, (environment->count - index) * sizeof(*entry));
	environment->count++;
	*entry = (struct entry){.address = *address, .seen = true};
	return entry;
}

void environment_drop(struct environment *environment, struct entry *entry)
{
	size_t index = (size_t)(entry - environment->entries);

	environment->count--;
	memmove(entry, entry + 1, (environment->count - index) * sizeof(*entry));
}

/* Marks an address as gone, for store and pods. */
static void mark_gone(struct environment *environment, const struct in6_addr *address)
{
	struct in6_addr *grown = reallocarray(environment->gone, environment->gone_count + 1,
					      sizeof(*environment->gone));

	if (grown == NULL) {
		/* A later reading finds it. */
		environment->needs_repair = true;
		return;
	}
	environment->gone = grown;
	environment->gone[environment->gone_count++] = *address;
}

static void unmark_gone(struct environment *environment, const struct in6_addr *address)
{
	for (size_t i = 0; i < environment->gone_count; i++)
		if (IN6_ARE_ADDR_EQUAL(&environment->gone[i], address)) {
			environment->gone[i] = environment->gone[--environment->gone_count];
			/* What the pods have may be of the one that went. */
			environment->needs_repair = true;
			return;
		}
}

static bool published_equal(const struct rail_published *one, const struct rail_published *other)
{
	if (one->node != other->node || one->named != other->named ||
	    one->endpoint_count != other->endpoint_count ||
	    !rail_key_equal(&one->public_key, &other->public_key) ||
	    strcmp(one->replica, other->replica) != 0)
		return false;
	for (size_t i = 0; i < one->endpoint_count; i++) {
		const struct rail_endpoint *a = &one->endpoints[i];
		const struct rail_endpoint *b = &other->endpoints[i];

		if (a->family != b->family || a->port != b->port ||
		    (a->family == AF_INET ? a->address.v4.s_addr != b->address.v4.s_addr
					  : !IN6_ARE_ADDR_EQUAL(&a->address.v6, &b->address.v6)))
			return false;
	}
	return true;
}

bool environment_says(const struct entry *entry, const struct rail_published *published,
		      int64_t lease)
{
	return entry->valid && entry->ours && entry->lease == lease &&
	       published_equal(&entry->published, published);
}

void environment_note_local(struct environment *environment)
{
	RAIL_FREE struct rail_member *members = NULL;
	struct rail_key *keys;
	size_t count = 0;

	/* Where it cannot be told the pods of before are the better guess. */
	if (environment_local_members(environment->meshd, &environment->prefix, &members, &count,
				      NULL) < 0)
		return;
	keys = calloc(count + 1, sizeof(*keys));
	if (keys == NULL)
		return;
	for (size_t i = 0; i < count; i++)
		keys[i] = members[i].public_key;
	free(environment->local_keys);
	environment->local_keys = keys;
	environment->local_key_count = count;
}

static bool is_local_key(const struct environment *environment, const struct rail_key *key)
{
	for (size_t i = 0; i < environment->local_key_count; i++)
		if (rail_key_equal(&environment->local_keys[i], key))
			return true;
	return false;
}

/* Who else has the key: a device knows each once. NULL: nobody. */
static struct entry *find_holder(const struct environment *environment,
				 const struct in6_addr *address, const struct rail_key *key)
{
	for (size_t i = 0; i < environment->count; i++) {
		struct entry *other = &environment->entries[i];

		if (other->valid && rail_key_equal(&other->published.public_key, key) &&
		    !IN6_ARE_ADDR_EQUAL(&other->address, address))
			return other;
	}
	return NULL;
}

/* Whether a record is what it claims to be. */
static int judge(struct environment *environment, const struct in6_addr *address,
		 const struct rail_etcd_record *record, struct rail_published *ret_published,
		 struct rail_error *error)
{
	uint32_t node = environment->meshd->node;
	const struct entry *holder;
	int result = rail_published_parse(record->value, address, ret_published, error);

	if (result < 0)
		return result;
	holder = find_holder(environment, address, &ret_published->public_key);
	/* This node's own pods keep their keys, whoever was read first. */
	if (ret_published->node == node
		    ? holder != NULL && holder->ours
		    : holder != NULL || is_local_key(environment, &ret_published->public_key))
		return rail_fail(error, EBADMSG, "another member has the public key");
	if (ret_published->node != node && rail_address_split(address).node == node)
		return rail_fail(error, EBADMSG, "the address is this node's");
	return 0;
}

static void remove_entry(struct environment *environment, struct entry *entry)
{
	if (!entry->ours && entry->valid)
		mark_gone(environment, &entry->address);
	environment_drop(environment, entry);
}

/* Another node's record has the key of one of ours. */
static void refuse_holder(struct environment *environment, const struct in6_addr *address,
			  const struct rail_key *key)
{
	struct entry *holder = find_holder(environment, address, key);
	rail_cluster_key text;

	if (holder == NULL)
		return;
	rail_key_of_member(&holder->address, text);
	environment_complain(environment, text, "its public key is a local pod's");
	mark_gone(environment, &holder->address);
	holder->valid = false;
	holder->dirty = false;
	/* Taking away its peer takes away the pod's. */
	environment->needs_repair = true;
}

static void take_member(struct environment *environment, const struct rail_etcd_record *record,
			const struct in6_addr *address)
{
	struct entry *entry = environment_find(environment, address);
	struct rail_error error = RAIL_ERROR_NONE;
	struct rail_published published = {.node = 0};

	if (record->deleted) {
		if (entry != NULL)
			remove_entry(environment, entry);
		return;
	}

	bool valid = judge(environment, address, record, &published, &error) == 0;
	bool ours = valid && published.node == environment->meshd->node;
	bool was_foreign = entry != NULL && entry->valid && !entry->ours;

	if (!valid)
		environment_complain(environment, record->key, error.message);
	if (ours && is_local_key(environment, &published.public_key))
		refuse_holder(environment, address, &published.public_key);
	if (was_foreign && (!valid || ours))
		mark_gone(environment, address);
	if (entry == NULL && environment->count < (ours ? OWN_MAXIMUM : MEMBERS_MAXIMUM))
		entry = environment_insert(environment, address);
	if (entry == NULL) {
		environment_complain(environment, record->key,
				     "the environment has too many members");
		return;
	}
	if (valid && !ours) {
		bool changed = !was_foreign || !published_equal(&entry->published, &published);

		if (!was_foreign)
			unmark_gone(environment, address);
		entry->is_new = entry->is_new || !was_foreign;
		entry->dirty = entry->dirty || changed;
	}
	entry->published = published;
	entry->valid = valid;
	entry->ours = ours;
	entry->create_revision = record->create_revision;
	entry->mod_revision = record->mod_revision;
	entry->lease = record->lease;
	entry->seen = true;
}

static struct service_entry *find_service(const struct environment *environment, const char *label)
{
	for (size_t i = 0; i < environment->service_count; i++)
		if (strcmp(environment->services[i].service.label, label) == 0)
			return &environment->services[i];
	return NULL;
}

static void take_service(struct environment *environment, const struct rail_etcd_record *record,
			 const char *label)
{
	struct rail_service service = {.prefix = environment->prefix};
	struct service_entry *entry = find_service(environment, label);
	struct rail_error error = RAIL_ERROR_NONE;

	if (record->deleted) {
		if (entry != NULL)
			*entry = environment->services[--environment->service_count];
		return;
	}
	if (rail_service_record_parse(record->value, label, &service.number, service.original,
				      &error) < 0) {
		environment_complain(environment, record->key, error.message);
		return;
	}
	memcpy(service.label, label, strlen(label) + 1);
	if (entry == NULL && environment->service_count < SERVICES_MAXIMUM) {
		struct service_entry *grown =
			reallocarray(environment->services, environment->service_count + 1,
				     sizeof(*environment->services));

		if (grown != NULL) {
			environment->services = grown;
			entry = &grown[environment->service_count++];
		}
	}
	if (entry == NULL)
		return;
	*entry = (struct service_entry){.service = service, .seen = true};
	environment->services_dirty = true;
}

void environment_take(struct environment *environment, const struct rail_etcd_record *record)
{
	struct in6_addr address;
	const char *label = NULL;
	uint16_t number;

	switch (rail_key_parse(record->key, &environment->prefix, &label, &number, &address)) {
	case RAIL_INSIDE_MEMBER:
		take_member(environment, record, &address);
		break;
	case RAIL_INSIDE_SERVICE:
		take_service(environment, record, label);
		break;
	case RAIL_INSIDE_CLAIM:
		environment_take_claim(environment, record, &address);
		break;
	case RAIL_INSIDE_NUMBER: /* for those who look for a free one */
		break;
	case RAIL_INSIDE_UNKNOWN:
		if (!record->deleted)
			environment_complain(environment, record->key, "the key is none of ours");
		break;
	}
}

void environment_begin_reading(struct environment *environment)
{
	environment_note_local(environment);
	for (size_t i = 0; i < environment->count; i++)
		environment->entries[i].seen = false;
	for (size_t i = 0; i < environment->service_count; i++)
		environment->services[i].seen = false;
	environment->claim_count = 0;
}

void environment_end_reading(struct environment *environment, bool may_remove)
{
	for (size_t i = environment->count; i > 0; i--) {
		struct entry *entry = &environment->entries[i - 1];

		if (entry->seen)
			continue;
		/* Our own are written again, from the live store. */
		if (may_remove || entry->ours || !entry->valid)
			remove_entry(environment, entry);
	}
	for (size_t i = environment->service_count; i > 0; i--)
		if (!environment->services[i - 1].seen)
			environment->services[i - 1] =
				environment->services[--environment->service_count];
}

int environment_load(struct environment *environment, struct rail_error *error)
{
	RAIL_CLEANUP(rail_transaction_abort) struct rail_transaction *live = NULL;
	RAIL_FREE struct rail_member *members = NULL;
	size_t count = 0;

	int result = rail_transaction_begin(environment->meshd->store, RAIL_LIVE, RAIL_READ, &live,
					    error);
	if (result == 0)
		result = rail_member_list(live, &environment->prefix, &members, &count, error);
	if (result < 0)
		return result;
	for (size_t i = 0; i < count; i++) {
		struct entry *entry;

		if (members[i].local)
			continue;
		entry = environment_insert(environment, &members[i].address);
		if (entry == NULL)
			return rail_fail(error, ENOMEM, "no memory for an environment's members");
		entry->published = (struct rail_published){
			.node = members[i].node,
			.public_key = members[i].public_key,
			.endpoints = {members[i].endpoint},
			.endpoint_count = 1,
			.named = members[i].named,
		};
		memcpy(entry->published.replica, members[i].replica,
		       sizeof(entry->published.replica));
		entry->valid = true;
	}
	return 0;
}
