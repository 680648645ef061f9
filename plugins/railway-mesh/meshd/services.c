#include <arpa/inet.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "pkg/base/cleanup.h"
#include "pkg/base/log.h"
#include "plugins/railway-mesh/meshd/environment.h"

/* An environment's services: from etcd into the registry, and to etcd what it lacks. */

enum { RETRY_MS = 500 };

/* ---- into the registry ---- */

bool environment_is_disputed(const struct environment *environment, const struct in6_addr *address)
{
	uint16_t number = rail_address_split(address).service;

	for (size_t i = 0; i < environment->disputed_count; i++)
		if (environment->disputed[i] == number)
			return true;
	return false;
}

static int look_for_new(struct environment *environment, bool *ret_new, struct rail_error *error)
{
	RAIL_CLEANUP(rail_transaction_abort) struct rail_transaction *registry = NULL;
	int result = rail_transaction_begin(environment->meshd->store, RAIL_REGISTRY, RAIL_READ,
					    &registry, error);

	*ret_new = false;
	for (size_t i = 0; result == 0 && i < environment->service_count; i++) {
		const struct rail_service *service = &environment->services[i].service;
		struct rail_service present;

		if (rail_service_get(registry, &environment->prefix, service->label, &present,
				     NULL) < 0 ||
		    present.number != service->number)
			*ret_new = true;
	}
	return result;
}

/* A service that only this node knows so is published nowhere: members of its number are neither
 * published from here nor named here, until no pod of this node uses it. */
static int dispute(struct environment *environment, const struct rail_service *service,
		   const struct rail_service *present, struct rail_error *error)
{
	uint16_t *grown = reallocarray(environment->disputed, environment->disputed_count + 2,
				       sizeof(*grown));

	if (grown == NULL)
		return rail_fail(error, ENOMEM, "no memory for an environment's services");
	environment->disputed = grown;
	grown[environment->disputed_count++] = service->number;
	grown[environment->disputed_count++] = present->number;
	return 0;
}

static int adopt(struct environment *environment, struct rail_transaction *registry,
		 struct rail_transaction *live, const struct rail_service *service,
		 struct rail_error *error)
{
	struct rail_error one = RAIL_ERROR_NONE;
	struct rail_service present;
	int result = rail_service_yield(registry, live, service, &one);

	if (result != -EBUSY) {
		if (result < 0)
			*error = one;
		return result;
	}
	if (rail_service_get(registry, &environment->prefix, service->label, &present, NULL) < 0 &&
	    rail_service_by_number(registry, &environment->prefix, service->number, &present,
				   error) < 0)
		return -ENOENT;
	if (!environment->disputes_told)
		rail_log(RAIL_LOG_ERROR,
			 "a service has another number here than in the cluster: its pods on this "
			 "node are neither published nor named; end them, then it takes the "
			 "cluster's",
			 "environment", environment->name, "service", present.label, "error",
			 one.message, NULL);
	return dispute(environment, service, &present, error);
}

static int adopt_all(struct environment *environment, struct rail_error *error)
{
	RAIL_CLEANUP(rail_transaction_abort) struct rail_transaction *registry = NULL;
	RAIL_CLEANUP(rail_transaction_abort) struct rail_transaction *live = NULL;
	struct rail_store *store = environment->meshd->store;
	int result = rail_transaction_begin(store, RAIL_REGISTRY, RAIL_WRITE, &registry, error);

	if (result == 0)
		result = rail_transaction_begin(store, RAIL_LIVE, RAIL_READ, &live, error);
	environment->disputed_count = 0;
	for (size_t i = 0; result == 0 && i < environment->service_count; i++)
		result = adopt(environment, registry, live, &environment->services[i].service,
			       error);
	rail_transaction_abort(&live);
	return result < 0 ? result : rail_transaction_commit(&registry, error);
}

int environment_write_services(struct environment *environment, struct rail_error *error)
{
	size_t disputed_before = environment->disputed_count;
	bool is_new = false;
	int result = look_for_new(environment, &is_new, error);

	if (result < 0 || (!is_new && disputed_before == 0))
		return result;
	result = adopt_all(environment, error);
	environment->disputes_told = environment->disputed_count > 0;
	/* Who is named has changed. */
	if (environment->disputed_count != disputed_before)
		for (size_t i = 0; i < environment->count; i++) {
			struct entry *entry = &environment->entries[i];

			entry->dirty = entry->dirty || (entry->valid && !entry->ours);
		}
	return result;
}

/* ---- to etcd ---- */

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

void environment_publish_service(struct environment *environment)
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
