#include "plugins/railway-mesh/meshd/consensus.h"

#include <arpa/inet.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "pkg/base/cleanup.h"
#include "pkg/base/file.h"
#include "pkg/base/log.h"
#include "pkg/store/cluster.h"
#include "plugins/railway-mesh/meshd/environment.h"

enum {
	PREFIX_TRIES = 64,
	NUMBER_TRIES = UINT16_MAX,
};

struct meshd_consensus {
	struct meshd *meshd;
	struct rail_mesh_request request;
	void (*done)(void *context, const struct rail_error *outcome);
	void *context;
	struct rail_etcd_call *call;
	struct rail_prefix prefix;
	uint16_t number;
	unsigned int tries;
};

static void ensure_service(struct meshd_consensus *consensus);
static void ensure_environment(struct meshd_consensus *consensus);

static void finish(struct meshd_consensus *consensus, const struct rail_error *outcome)
{
	void (*done)(void *context, const struct rail_error *outcome) = consensus->done;
	void *context = consensus->context;

	meshd_consensus_cancel(&consensus);
	done(context, outcome);
}

static void finish_done(struct meshd_consensus *consensus)
{
	struct rail_error none = RAIL_ERROR_NONE;

	finish(consensus, &none);
}

/* Begins a call; where that fails it is all over. */
static void begin(struct meshd_consensus *consensus, char *body, rail_etcd_answered *answered)
{
	struct rail_error error = RAIL_ERROR_NONE;

	if (rail_etcd_begin(consensus->meshd->etcd, "/v3/kv/txn", body, answered, consensus,
			    &consensus->call, &error) < 0)
		finish(consensus, &error);
}

/* Parses the answer to a transaction; false where that is dealt with. */
static bool take(struct meshd_consensus *consensus, const struct rail_json *answer,
		 const struct rail_error *error, bool *ret_succeeded,
		 struct rail_etcd_records *ret_records)
{
	struct rail_error parsing = RAIL_ERROR_NONE;
	struct rail_etcd_header header;

	consensus->call = NULL;
	if (answer != NULL && rail_etcd_parse_transaction(answer, &header, ret_succeeded,
							  ret_records, &parsing) < 0) {
		answer = NULL;
		error = &parsing;
	}
	if (answer == NULL) {
		finish(consensus, error);
		return false;
	}
	meshd_saw(consensus->meshd, &header, 0);
	return true;
}

/* "Put both where neither is there, else tell what is." */
static char *encode_pair(const char *one, const char *one_value, const char *other,
			 const char *other_value)
{
	const struct rail_etcd_compare absent[] = {{.key = one}, {.key = other}};
	const struct rail_etcd_operation puts[] = {
		{.kind = RAIL_ETCD_PUT, .key = one, .value = one_value},
		{.kind = RAIL_ETCD_PUT, .key = other, .value = other_value},
	};
	const struct rail_etcd_operation gets[] = {
		{.kind = RAIL_ETCD_GET, .key = one},
		{.kind = RAIL_ETCD_GET, .key = other},
	};
	const struct rail_etcd_transaction transaction = {absent, 2, puts, 2, gets, 2};

	return one_value == NULL ? NULL : rail_etcd_encode_transaction(&transaction);
}

/* ---- the environment's /48 ---- */

static int adopt_environment(struct meshd_consensus *consensus, struct rail_error *error)
{
	RAIL_CLEANUP(rail_transaction_abort) struct rail_transaction *registry = NULL;
	RAIL_CLEANUP(rail_transaction_abort) struct rail_transaction *live = NULL;
	struct rail_store *store = consensus->meshd->store;
	const char *name = consensus->request.environment;
	int result = rail_transaction_begin(store, RAIL_REGISTRY, RAIL_WRITE, &registry, error);

	if (result == 0)
		result = rail_transaction_begin(store, RAIL_LIVE, RAIL_READ, &live, error);
	if (result == 0)
		result = rail_environment_yield(registry, live, name, &consensus->prefix, error);
	rail_transaction_abort(&live);
	if (result == -EBUSY)
		return rail_wrap(error, result,
				 "environment '%s' has another /48 in the cluster; end its pods on "
				 "this node",
				 name);
	if (result < 0)
		return result;

	bool gave_up = result > 0;

	result = rail_transaction_commit(&registry, error);
	if (result == 0 && gave_up)
		rail_log(RAIL_LOG_INFO, "an environment without pods here takes the cluster's /48",
			 "environment", name, NULL);
	return result;
}

static void on_environment(void *context, const struct rail_json *answer,
			   const struct rail_error *error)
{
	struct meshd_consensus *consensus = context;
	RAIL_CLEANUP(rail_etcd_records_done) struct rail_etcd_records records = {.count = 0};
	struct rail_error local = RAIL_ERROR_NONE;
	rail_cluster_key key;
	bool succeeded = false;

	if (!take(consensus, answer, error, &succeeded, &records))
		return;
	rail_key_of_environment(consensus->request.environment, key);

	const struct rail_etcd_record *record = rail_etcd_records_find(&records, key);

	if (!succeeded && record == NULL) {
		/* The /48 is another environment's: another one. */
		ensure_environment(consensus);
		return;
	}
	if (!succeeded && rail_prefix_record_parse(record->value, &consensus->prefix, &local) < 0) {
		(void)rail_fail_code(
			&local, RAIL_CODE_TRY_AGAIN, EBADMSG,
			"etcd's record '%s' cannot be read: an administrator must mend "
			"it",
			key);
		finish(consensus, &local);
		return;
	}
	if (adopt_environment(consensus, &local) < 0) {
		finish(consensus, &local);
		return;
	}
	if (consensus->request.service[0] == '\0') {
		finish_done(consensus);
		return;
	}
	consensus->tries = 0;
	consensus->number = rail_service_number_start(consensus->request.service);
	ensure_service(consensus);
}

static int propose_prefix(struct meshd_consensus *consensus, struct rail_error *error)
{
	RAIL_CLEANUP(rail_transaction_abort) struct rail_transaction *registry = NULL;
	struct rail_environment present;
	uint8_t random[sizeof(struct rail_prefix)];

	/* What this node has from before is proposed first. */
	int result = rail_transaction_begin(consensus->meshd->store, RAIL_REGISTRY, RAIL_READ,
					    &registry, error);
	if (result < 0)
		return result;
	if (consensus->tries++ == 0 &&
	    rail_environment_get(registry, consensus->request.environment, &present, NULL) == 0) {
		consensus->prefix = present.prefix;
		return 0;
	}
	for (unsigned int i = 0; i < PREFIX_TRIES; i++) {
		result = rail_random(random, sizeof(random), error);
		if (result < 0)
			return result;
		if (rail_prefix_make(&consensus->request.pool, random, &consensus->prefix) &&
		    rail_environment_by_prefix(registry, &consensus->prefix, &present, NULL) ==
			    -ENOENT)
			return 0;
	}
	return rail_fail_code(error, RAIL_CODE_POOL_EXHAUSTED, ENOSPC,
			      "the pool has hardly a free /48 left; configure a larger one");
}

static void ensure_environment(struct meshd_consensus *consensus)
{
	struct rail_error error = RAIL_ERROR_NONE;
	rail_cluster_key name_key;
	rail_cluster_key prefix_key;

	if (consensus->tries > PREFIX_TRIES)
		(void)rail_fail_code(&error, RAIL_CODE_POOL_EXHAUSTED, ENOSPC,
				     "the pool has hardly a free /48 left; configure a larger one");
	if (error.errnum != 0 || propose_prefix(consensus, &error) < 0) {
		finish(consensus, &error);
		return;
	}

	RAIL_FREE char *value = rail_prefix_record_encode(&consensus->prefix);

	rail_key_of_environment(consensus->request.environment, name_key);
	rail_key_of_prefix(&consensus->prefix, prefix_key);
	begin(consensus, encode_pair(name_key, value, prefix_key, consensus->request.environment),
	      on_environment);
}

/* ---- the service's number ---- */

static int adopt_service(struct meshd_consensus *consensus, const struct rail_service *service,
			 struct rail_error *error)
{
	RAIL_CLEANUP(rail_transaction_abort) struct rail_transaction *registry = NULL;
	RAIL_CLEANUP(rail_transaction_abort) struct rail_transaction *live = NULL;
	struct rail_store *store = consensus->meshd->store;
	int result = rail_transaction_begin(store, RAIL_REGISTRY, RAIL_WRITE, &registry, error);

	if (result == 0)
		result = rail_transaction_begin(store, RAIL_LIVE, RAIL_READ, &live, error);
	if (result == 0)
		result = rail_service_yield(registry, live, service, error);
	rail_transaction_abort(&live);
	if (result == -EBUSY)
		return rail_wrap(error, result,
				 "service '%s' has the number %u in the cluster; end the pods of "
				 "this node that use what it had here",
				 service->label, (unsigned int)service->number);
	return result < 0 ? result : rail_transaction_commit(&registry, error);
}

static void on_service(void *context, const struct rail_json *answer,
		       const struct rail_error *error)
{
	struct meshd_consensus *consensus = context;
	RAIL_CLEANUP(rail_etcd_records_done) struct rail_etcd_records records = {.count = 0};
	struct rail_service service = {.prefix = consensus->prefix, .number = consensus->number};
	struct rail_error local = RAIL_ERROR_NONE;
	rail_cluster_key key;
	bool succeeded = false;

	if (!take(consensus, answer, error, &succeeded, &records))
		return;
	memcpy(service.label, consensus->request.service, sizeof(service.label));
	memcpy(service.original, consensus->request.original, sizeof(service.original));
	rail_key_of_service(&consensus->prefix, service.label, key);

	const struct rail_etcd_record *record = rail_etcd_records_find(&records, key);

	if (!succeeded && record == NULL) {
		consensus->number = rail_service_number_next(consensus->number);
		ensure_service(consensus);
		return;
	}
	if (!succeeded && rail_service_record_parse(record->value, service.label, &service.number,
						    service.original, &local) < 0) {
		(void)rail_fail_code(
			&local, RAIL_CODE_TRY_AGAIN, EBADMSG,
			"etcd's record '%s' cannot be read: an administrator must mend "
			"it",
			key);
		finish(consensus, &local);
		return;
	}
	if (adopt_service(consensus, &service, &local) < 0)
		finish(consensus, &local);
	else
		finish_done(consensus);
}

static void ensure_service(struct meshd_consensus *consensus)
{
	struct rail_error error = RAIL_ERROR_NONE;
	rail_cluster_key label_key;
	rail_cluster_key number_key;

	if (consensus->tries++ == NUMBER_TRIES) {
		(void)rail_fail_code(&error, RAIL_CODE_POOL_EXHAUSTED, ENOSPC,
				     "the environment has a number for no more services");
		finish(consensus, &error);
		return;
	}

	RAIL_FREE char *value =
		rail_service_record_encode(consensus->number, consensus->request.original);

	rail_key_of_service(&consensus->prefix, consensus->request.service, label_key);
	rail_key_of_number(&consensus->prefix, consensus->number, number_key);
	begin(consensus, encode_pair(label_key, value, number_key, consensus->request.service),
	      on_service);
}

/* ---- a requested address ---- */

static void on_claim(void *context, const struct rail_json *answer, const struct rail_error *error)
{
	struct meshd_consensus *consensus = context;
	RAIL_CLEANUP(rail_etcd_records_done) struct rail_etcd_records records = {.count = 0};
	struct rail_node_record holder = {.node = 0};
	struct rail_error local = RAIL_ERROR_NONE;
	char text[INET6_ADDRSTRLEN];
	bool succeeded = false;

	if (!take(consensus, answer, error, &succeeded, &records))
		return;
	if (succeeded || (records.count > 0 &&
			  rail_node_record_parse(records.records[0].value, &holder, &local) == 0 &&
			  holder.node == consensus->meshd->node &&
			  records.records[0].lease == consensus->meshd->lease)) {
		finish_done(consensus);
		return;
	}
	(void)inet_ntop(AF_INET6, &consensus->request.address, text, sizeof(text));
	(void)rail_fail_code(&local, RAIL_CODE_INVALID_CONFIG, EADDRINUSE,
			     "requested address %s is in use on node %u (%s); request another",
			     text, holder.node, holder.host);
	finish(consensus, &local);
}

static void claim_address(struct meshd_consensus *consensus)
{
	RAIL_FREE char *value = meshd_claim_value(consensus->meshd);
	rail_cluster_key key;

	rail_key_of_claim(&consensus->request.address, key);

	const struct rail_etcd_compare absent = {.key = key};
	const struct rail_etcd_operation put = {.kind = RAIL_ETCD_PUT,
						.key = key,
						.value = value,
						.lease = consensus->meshd->lease};
	const struct rail_etcd_operation get = {.kind = RAIL_ETCD_GET, .key = key};
	const struct rail_etcd_transaction transaction = {&absent, 1, &put, 1, &get, 1};

	begin(consensus, value == NULL ? NULL : rail_etcd_encode_transaction(&transaction),
	      on_claim);
}

int meshd_consensus_begin(struct meshd *meshd, const struct rail_mesh_request *request,
			  void (*done)(void *context, const struct rail_error *outcome),
			  void *context, struct meshd_consensus **ret_consensus,
			  struct rail_error *error)
{
	struct meshd_consensus *consensus = calloc(1, sizeof(*consensus));

	if (consensus == NULL)
		return rail_fail(error, ENOMEM, "no memory to ask the cluster");
	*consensus = (struct meshd_consensus){
		.meshd = meshd, .request = *request, .done = done, .context = context};
	*ret_consensus = consensus;
	if (request->kind == RAIL_MESH_ENSURE)
		ensure_environment(consensus);
	else
		claim_address(consensus);
	return 0;
}

void meshd_consensus_cancel(struct meshd_consensus **pointer)
{
	struct meshd_consensus *consensus = *pointer;

	*pointer = NULL;
	if (consensus == NULL)
		return;
	rail_etcd_cancel(&consensus->call);
	free(consensus);
}
