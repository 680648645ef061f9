#include "plugins/railway-dns/resolverd/records.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "pkg/base/cleanup.h"
#include "pkg/base/grow.h"
#include "pkg/store/database.h"

static void take_record(const struct rail_attachment *attachment,
			struct rail_pod_record *ret_record)
{
	ret_record->key = attachment->key;
	ret_record->prefix = attachment->prefix;
	ret_record->address = attachment->address;
	memcpy(ret_record->environment, attachment->identity.environment,
	       sizeof(ret_record->environment));
	memcpy(ret_record->service, attachment->identity.service, sizeof(ret_record->service));
	memcpy(ret_record->replica, attachment->identity.replica, sizeof(ret_record->replica));
	memcpy(ret_record->netns_path, attachment->netns_path, sizeof(ret_record->netns_path));
	ret_record->netns = attachment->netns;
	ret_record->resolver = attachment->resolver;
}

static bool is_named(const struct rail_attachment *attachment)
{
	return attachment->state != RAIL_DEAD && (attachment->parts & RAIL_PART_NAME) != 0;
}

int rail_pod_record_read(struct rail_store *store, const struct rail_attachment_key *key,
			 struct rail_pod_record *ret_record, struct rail_error *error)
{
	RAIL_CLEANUP(rail_transaction_abort) struct rail_transaction *transaction = NULL;
	struct rail_attachment attachment;
	int result = rail_transaction_begin(store, RAIL_LIVE, RAIL_READ, &transaction, error);

	if (result < 0)
		return result;
	result = rail_attachment_get(transaction, key, &attachment, error);
	if (result == -ENOENT)
		return rail_fail_code(error, RAIL_CODE_UNKNOWN_CONTAINER, ENOENT,
				      "the live store has no attachment %s/%s of network %s",
				      key->container_id, key->interface, key->network);
	if (result < 0)
		return result;
	if (!is_named(&attachment))
		return rail_fail_code(error, RAIL_CODE_UNKNOWN_CONTAINER, ESTALE,
				      "attachment %s/%s of network %s is %s in the live store",
				      key->container_id, key->interface, key->network,
				      attachment.state == RAIL_DEAD ? "dead" : "without a name");
	take_record(&attachment, ret_record);
	return 0;
}

struct records {
	struct rail_pod_record *records;
	size_t count;
};

static int collect_record(void *context, const struct rail_attachment *attachment)
{
	struct records *records = context;

	if (!is_named(attachment))
		return 0;

	struct rail_pod_record *grown = rail_grow(records->records, records->count, sizeof(*grown));

	if (grown == NULL)
		return -ENOMEM;
	records->records = grown;
	take_record(attachment, &grown[records->count++]);
	return 0;
}

int rail_pod_records_read(struct rail_store *store, struct rail_pod_record **ret_records,
			  size_t *ret_count, struct rail_error *error)
{
	RAIL_CLEANUP(rail_transaction_abort) struct rail_transaction *transaction = NULL;
	struct records records = {0};
	int result = rail_transaction_begin(store, RAIL_LIVE, RAIL_READ, &transaction, error);

	if (result < 0)
		return result;
	result = rail_attachment_each(transaction, NULL, collect_record, &records, error);
	if (result < 0) {
		free(records.records);
		return result == -ENOMEM ? rail_fail(error, ENOMEM, "no memory for the pods")
					 : result;
	}
	*ret_records = records.records;
	*ret_count = records.count;
	return 0;
}

int rail_environment_check_enabled(struct rail_store *store, const struct rail_prefix *prefix,
				   struct rail_error *error)
{
	RAIL_CLEANUP(rail_transaction_abort) struct rail_transaction *transaction = NULL;
	struct rail_environment environment;
	int result = rail_transaction_begin(store, RAIL_REGISTRY, RAIL_READ, &transaction, error);

	if (result < 0)
		return result;
	result = rail_environment_by_prefix(transaction, prefix, &environment, error);
	if (result == -ENOENT) {
		char text[RAIL_PREFIX_TEXT_SIZE];

		rail_prefix_format(prefix, text);
		return rail_fail_code(error, RAIL_CODE_INVALID_CONFIG, ENOENT,
				      "the registry has no environment with the prefix %s", text);
	}
	if (result < 0)
		return result;
	if (!environment.enabled)
		return rail_fail_code(error, RAIL_CODE_INVALID_CONFIG, EPERM,
				      "environment '%s' is disabled: its pods get no private "
				      "network",
				      environment.name);
	return 0;
}

struct services {
	struct rail_service_name *services;
	size_t count;
};

static int collect_service(void *context, const struct rail_service *service)
{
	struct services *services = context;
	struct rail_service_name *grown =
		rail_grow(services->services, services->count, sizeof(*grown));

	if (grown == NULL)
		return -ENOMEM;
	services->services = grown;
	grown += services->count++;
	grown->number = service->number;
	memcpy(grown->label, service->label, sizeof(grown->label));
	return 0;
}

static int by_number(const void *one, const void *other)
{
	const struct rail_service_name *first = one;
	const struct rail_service_name *second = other;

	return (first->number > second->number) - (first->number < second->number);
}

static int read_services(struct rail_store *store, struct rail_environment_names *names,
			 struct rail_error *error)
{
	RAIL_CLEANUP(rail_transaction_abort) struct rail_transaction *transaction = NULL;
	struct services services = {0};
	int result = rail_transaction_begin(store, RAIL_REGISTRY, RAIL_READ, &transaction, error);

	if (result < 0)
		return result;
	result = rail_service_each(transaction, &names->prefix, collect_service, &services, error);
	names->services = services.services;
	names->service_count = services.count;
	if (result == -ENOMEM)
		return rail_fail(error, ENOMEM, "no memory for an environment's services");
	if (result < 0)
		return result;
	if (services.count != 0)
		qsort(names->services, names->service_count, sizeof(names->services[0]), by_number);
	return 0;
}

/* Its member's service is known by its number only, which is a part of the address. */
static void take_member(struct rail_environment_names *names, const struct rail_member *member)
{
	const struct rail_service_name wanted = {
		.number = rail_address_split(&member->address).service};
	const struct rail_service_name *service =
		names->service_count == 0 ? NULL
					  : bsearch(&wanted, names->services, names->service_count,
						    sizeof(names->services[0]), by_number);

	if (!member->named || service == NULL)
		return;

	struct rail_replica_name *replica = &names->replicas[names->replica_count++];

	memcpy(replica->service, service->label, sizeof(replica->service));
	memcpy(replica->replica, member->replica, sizeof(replica->replica));
	replica->address = member->address;
}

static int read_replicas(struct rail_store *store, struct rail_environment_names *names,
			 struct rail_error *error)
{
	RAIL_CLEANUP(rail_transaction_abort) struct rail_transaction *transaction = NULL;
	RAIL_FREE struct rail_member *members = NULL;
	size_t count = 0;
	int result = rail_transaction_begin(store, RAIL_LIVE, RAIL_READ, &transaction, error);

	if (result < 0)
		return result;
	result = rail_member_list(transaction, &names->prefix, &members, &count, error);
	if (result < 0)
		return result;
	rail_transaction_abort(&transaction);

	names->replicas = calloc(count + 1, sizeof(names->replicas[0]));
	if (names->replicas == NULL)
		return rail_fail(error, ENOMEM, "no memory for an environment's replicas");
	for (size_t i = 0; i < count; i++)
		take_member(names, &members[i]);
	return 0;
}

void rail_environment_names_done(struct rail_environment_names *names)
{
	free(names->services);
	free(names->replicas);
	*names = (struct rail_environment_names){0};
}

int rail_environment_names_read(struct rail_store *store, const struct rail_prefix *prefix,
				struct rail_environment_names *ret_names, struct rail_error *error)
{
	struct rail_environment_names names = {.prefix = *prefix};
	int result = read_services(store, &names, error);

	if (result == 0)
		result = read_replicas(store, &names, error);
	if (result < 0) {
		rail_environment_names_done(&names);
		return result;
	}
	*ret_names = names;
	return 0;
}

static int unname_member(struct rail_transaction *transaction, const struct rail_pod_record *record,
			 struct rail_error *error)
{
	struct rail_member member;
	int result = rail_member_get(transaction, &record->address, &member, error);

	if (result == -ENOENT)
		return 0;
	if (result < 0)
		return result;
	if (!member.local || !member.named || !rail_attachment_key_equal(&member.key, &record->key))
		return 0;
	member.named = false;
	return rail_member_put(transaction, &member, error);
}

static int mark_dead(struct rail_transaction *transaction, const struct rail_pod_record *record,
		     struct rail_error *error)
{
	struct rail_attachment attachment;
	int result = rail_attachment_get(transaction, &record->key, &attachment, error);

	if (result == -ENOENT)
		return 0;
	if (result < 0)
		return result;

	/* A later ADD of the same key may have another netns. */
	if (!rail_netns_id_equal(&attachment.netns, &record->netns) ||
	    memcmp(&attachment.address, &record->address, sizeof(record->address)) != 0)
		return 0;
	if (attachment.state != RAIL_DEAD) {
		attachment.state = RAIL_DEAD;
		result = rail_attachment_put(transaction, &attachment, error);
	}
	return result < 0 ? result : unname_member(transaction, record, error);
}

/* The supervisor has others to serve than the store's writers. */
enum { MARK_DEAD_PATIENCE_MS = 10 };

int rail_pod_records_mark_dead(struct rail_store *store,
			       const struct rail_pod_record *const *records, size_t count,
			       struct rail_error *error)
{
	RAIL_CLEANUP(rail_transaction_abort) struct rail_transaction *transaction = NULL;
	int result = rail_transaction_begin_within(store, RAIL_LIVE, RAIL_WRITE,
						   MARK_DEAD_PATIENCE_MS, &transaction, error);

	for (size_t i = 0; result >= 0 && i < count; i++)
		result = mark_dead(transaction, records[i], error);
	return result < 0 ? result : rail_transaction_commit(&transaction, error);
}
