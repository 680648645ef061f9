#include <arpa/inet.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "pkg/base/cleanup.h"
#include "pkg/base/file.h"
#include "pkg/base/log.h"
#include "pkg/store/database.h"
#include "plugins/railway-mesh/meshd/environment.h"

/* An environment's services: from etcd into the registry, and to etcd what it lacks. */

enum {
	RETRY_MS = 500,
	WRITE_RETRY_MS = 5000, /* with the sweep over all environments, that is */
};

/* ---- into the registry ---- */

bool environment_is_disputed(const struct environment *environment, const struct in6_addr *address)
{
	uint16_t number = rail_address_split(address).service;

	for (size_t i = 0; i < environment->disputed_count; i++)
		if (environment->disputed[i] == number)
			return true;
	return false;
}

/* Services' numbers that are another service's in the cluster. */
struct disputes {
	uint16_t *numbers;
	size_t count;
};

static void disputes_done(struct disputes *disputes)
{
	free(disputes->numbers);
}

/* A service that only this node knows so is published nowhere: members of its number are neither
 * published from here nor named here, until no pod of this node uses it. */
static int dispute(struct disputes *disputes, const struct rail_service *service,
		   const struct rail_service *present, struct rail_error *error)
{
	uint16_t *grown = reallocarray(disputes->numbers, disputes->count + 2, sizeof(*grown));

	if (grown == NULL)
		return rail_fail(error, ENOMEM, "no memory for an environment's services");
	disputes->numbers = grown;
	grown[disputes->count++] = service->number;
	grown[disputes->count++] = present->number;
	return 0;
}

static void keep_disputes(struct environment *environment, struct disputes *disputes)
{
	free(environment->disputed);
	environment->disputed = RAIL_TAKE_POINTER(disputes->numbers);
	environment->disputed_count = disputes->count;
}

/* What here has its label or its number; -ENOENT where nothing has. */
static int find_present(struct rail_transaction *registry, const struct rail_service *service,
			struct rail_service *ret_present)
{
	if (rail_service_get(registry, &service->prefix, service->label, ret_present, NULL) == 0)
		return 0;
	return rail_service_by_number(registry, &service->prefix, service->number, ret_present,
				      NULL);
}

/* Reads only: what is in dispute is known on a full disk, too. */
static int compare(struct environment *environment, bool *ret_new, struct rail_error *error)
{
	RAIL_CLEANUP(rail_transaction_abort) struct rail_transaction *registry = NULL;
	RAIL_CLEANUP(disputes_done) struct disputes disputes = {.count = 0};
	int result = rail_transaction_begin(environment->meshd->store, RAIL_REGISTRY, RAIL_READ,
					    &registry, error);

	*ret_new = false;
	for (size_t i = 0; result == 0 && i < environment->service_count; i++) {
		const struct rail_service *service = &environment->services[i].service;
		struct rail_service present;

		if (find_present(registry, service, &present) < 0) {
			*ret_new = true;
		} else if (present.number != service->number ||
			   strcmp(present.label, service->label) != 0) {
			*ret_new = true;
			result = dispute(&disputes, service, &present, error);
		}
	}
	if (result == 0)
		keep_disputes(environment, &disputes);
	return result;
}

static int adopt(struct environment *environment, struct rail_transaction *registry,
		 struct rail_transaction *live, const struct rail_service *service,
		 struct disputes *disputes, struct rail_error *error)
{
	struct rail_error one = RAIL_ERROR_NONE;
	struct rail_service present;
	int result = rail_service_yield(registry, live, service, &one);

	if (result != -EBUSY) {
		if (result < 0)
			*error = one;
		return result;
	}
	if (find_present(registry, service, &present) < 0)
		return rail_fail(error, ENOENT, "service '%s' is gone", service->label);
	if (!environment->disputes_told)
		rail_log(RAIL_LOG_ERROR,
			 "a service has another number here than in the cluster: its pods on this "
			 "node are neither published nor named; end them, then it takes the "
			 "cluster's",
			 "environment", environment->name, "service", present.label, "error",
			 one.message, NULL);
	return dispute(disputes, service, &present, error);
}

static int adopt_all(struct environment *environment, struct rail_error *error)
{
	RAIL_CLEANUP(rail_transaction_abort) struct rail_transaction *registry = NULL;
	RAIL_CLEANUP(rail_transaction_abort) struct rail_transaction *live = NULL;
	RAIL_CLEANUP(disputes_done) struct disputes disputes = {.count = 0};
	struct rail_store *store = environment->meshd->store;
	int result = rail_transaction_begin_within(store, RAIL_REGISTRY, RAIL_WRITE,
						   ENVIRONMENT_STORE_PATIENCE_MS, &registry, error);

	if (result == 0)
		result = rail_transaction_begin(store, RAIL_LIVE, RAIL_READ, &live, error);
	for (size_t i = 0; result == 0 && i < environment->service_count; i++)
		result = adopt(environment, registry, live, &environment->services[i].service,
			       &disputes, error);
	rail_transaction_abort(&live);
	if (result == 0)
		result = rail_transaction_commit(&registry, error);
	if (result == 0)
		keep_disputes(environment, &disputes);
	return result;
}

static void write_all(struct environment *environment)
{
	struct rail_error error = RAIL_ERROR_NONE;
	int64_t now_ms = rail_monotonic_ms();

	if (!environment->services_unwritten || now_ms < environment->services_not_before_ms)
		return;
	if (adopt_all(environment, &error) < 0) {
		environment->services_not_before_ms = now_ms + WRITE_RETRY_MS;
		rail_log(RAIL_LOG_WARN,
			 "services of the cluster cannot be stored: their names are not known here "
			 "yet; trying again",
			 "environment", environment->name, "error", error.message, NULL);
		return;
	}
	environment->services_unwritten = false;
	environment->services_untold = true;
	environment->disputes_told = environment->disputed_count > 0;
}

bool environment_services_due(const struct environment *environment)
{
	return environment->services_dirty ||
	       (environment->services_unwritten &&
		rail_monotonic_ms() >= environment->services_not_before_ms);
}

int environment_write_services(struct environment *environment, struct rail_error *error)
{
	size_t disputed_before = environment->disputed_count;
	bool is_new = false;
	int result = compare(environment, &is_new, error);

	if (result < 0)
		return result;
	environment->services_dirty = false;
	environment->services_untold = true;
	if (is_new || disputed_before > 0)
		environment->services_unwritten = true;
	write_all(environment);
	/* Who is named has changed. */
	if (environment->disputed_count != disputed_before)
		for (size_t i = 0; i < environment->count; i++) {
			struct entry *entry = &environment->entries[i];

			entry->dirty = entry->dirty || (entry->valid && !entry->ours);
		}
	return 0;
}

/* ---- to etcd ---- */

static void on_service(void *context, const struct rail_json *answer,
		       const struct rail_error *error)
{
	static struct rail_log_limit limit = {.maximum = 5, .window_ms = 60000};
	struct environment *environment = context;
	RAIL_CLEANUP(rail_etcd_records_done) struct rail_etcd_records records = {.count = 0};
	struct rail_etcd_header header;
	unsigned int dropped;
	bool succeeded = false;

	environment->service_publication = NULL;
	if (answer == NULL ||
	    rail_etcd_parse_transaction(answer, &header, &succeeded, &records, NULL) < 0) {
		if (environment->meshd->connected && error != NULL &&
		    rail_log_allowed(&limit, rail_monotonic_ms(), &dropped))
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
