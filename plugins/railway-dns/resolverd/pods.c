#include "plugins/railway-dns/resolverd/pods.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "pkg/base/cleanup.h"
#include "pkg/base/log.h"
#include "plugins/railway-dns/resolverd/pods_internal.h"
#include "plugins/railway-dns/resolverd/records.h"

enum {
	ENVIRONMENT_RETRY_MS = 1000,
};

/* FNV-1a; containers' names come from the runtime, which is trusted. */
static uint64_t hash_text(uint64_t hash, const char *text)
{
	for (; *text != '\0'; text++)
		hash = (hash ^ (uint8_t)*text) * UINT64_C(0x100000001b3);
	return hash * UINT64_C(0x100000001b3);
}

static uint64_t hash_key(const struct rail_attachment_key *key)
{
	uint64_t hash = hash_text(UINT64_C(0xcbf29ce484222325), key->network);

	return hash_text(hash_text(hash, key->container_id), key->interface);
}

struct rail_pod *rail_pods_get(const struct rail_pods *pods, const struct rail_attachment_key *key)
{
	struct rail_table_link *link = rail_table_find(&pods->by_key, hash_key(key));

	for (; link != NULL; link = rail_table_find_next(link)) {
		struct rail_pod *pod = rail_container_of(link, struct rail_pod, by_key);

		if (rail_attachment_key_equal(&pod->record.key, key))
			return pod;
	}
	return NULL;
}

static uint64_t hash_prefix(const struct rail_prefix *prefix)
{
	uint64_t hash = 0;

	/* Random as they are, and made by the suite, these bytes are their own hash. */
	memcpy(&hash, prefix->bytes, sizeof(prefix->bytes));
	return hash ^ hash >> 24;
}

static struct environment *environment_get(const struct rail_pods *pods,
					   const struct rail_prefix *prefix)
{
	struct rail_table_link *link = rail_table_find(&pods->by_prefix, hash_prefix(prefix));

	for (; link != NULL; link = rail_table_find_next(link)) {
		struct environment *environment =
			rail_container_of(link, struct environment, by_prefix);

		if (rail_prefix_equal(&environment->prefix, prefix))
			return environment;
	}
	return NULL;
}

static void tell(struct rail_pods *pods, const struct rail_channel_message *message)
{
	rail_worker_process_send(pods->worker, message);
}

static void send_replica_remove(struct rail_pods *pods, const struct rail_pod_record *record)
{
	tell(pods, &(struct rail_channel_message){.kind = RAIL_CHANNEL_REPLICA_REMOVE,
						  .prefix = record->prefix,
						  .address = record->address});
}

static void send_names(struct rail_pods *pods, const struct rail_environment_names *names)
{
	struct rail_channel_message message = {.prefix = names->prefix};

	message.kind = RAIL_CHANNEL_SERVICE_ADD;
	for (size_t i = 0; i < names->service_count; i++) {
		memcpy(message.service, names->services[i].label, sizeof(message.service));
		tell(pods, &message);
	}
	message.kind = RAIL_CHANNEL_REPLICA_ADD;
	for (size_t i = 0; i < names->replica_count; i++) {
		const struct rail_replica_name *replica = &names->replicas[i];

		memcpy(message.service, replica->service, sizeof(message.service));
		memcpy(message.replica, replica->replica, sizeof(message.replica));
		message.address = replica->address;
		tell(pods, &message);
	}
}

void rail_pods_send(struct rail_pods *pods, const struct rail_pod *pod)
{
	const struct rail_pod_record *record = &pod->record;
	struct rail_channel_message message = {
		.kind = RAIL_CHANNEL_REPLICA_ADD,
		.pod = pod->id,
		.prefix = record->prefix,
		.address = record->address,
		.ttl_s = record->resolver.ttl_s,
		.upstream_count = record->resolver.upstream_count,
	};

	memcpy(message.service, record->service, sizeof(message.service));
	memcpy(message.replica, record->replica, sizeof(message.replica));
	memcpy(message.upstreams, record->resolver.upstreams, sizeof(message.upstreams));
	tell(pods, &message);
	if (pod->sockets.udp < 0)
		return;
	message.kind = RAIL_CHANNEL_POD_ADD;
	tell(pods, &message);
	if (!rail_worker_process_notes_queries(pods->worker))
		return;
	message.kind = RAIL_CHANNEL_POD_NAMES;
	memcpy(message.environment, record->environment, sizeof(message.environment));
	memcpy(message.container, record->key.container_id, sizeof(message.container));
	tell(pods, &message);
}

/* Reads the names of an environment and sends them. On failure it is tried again later. */
static void send_environment(struct rail_pods *pods, struct environment *environment)
{
	struct rail_error error = RAIL_ERROR_NONE;
	RAIL_CLEANUP(rail_environment_names_done)
	struct rail_environment_names names = {0};

	if (rail_environment_names_read(pods->store, &environment->prefix, &names, &error) < 0) {
		rail_log(RAIL_LOG_ERROR, "an environment's names cannot be read", "error",
			 error.message, NULL);
		environment->incomplete = true;
		rail_timer_start(pods->retry, ENVIRONMENT_RETRY_MS);
		return;
	}
	environment->incomplete = false;
	send_names(pods, &names);

	/* The store may say otherwise of pods that are about to be marked dead in it. */
	for (struct rail_pod *pod = pods->gone_count == 0 ? NULL : pods->first; pod != NULL;
	     pod = pod->next)
		if (pod->gone && rail_prefix_equal(&pod->record.prefix, &environment->prefix))
			send_replica_remove(pods, &pod->record);
}

/* The names of which only these addresses are sent; what is not among the names is gone. */
static void send_changed(struct rail_pods *pods, const struct rail_environment_names *names,
			 const struct in6_addr *address)
{
	struct rail_environment_names one = {.prefix = names->prefix, .replica_count = 1};

	for (size_t i = 0; i < names->replica_count; i++) {
		if (!IN6_ARE_ADDR_EQUAL(&names->replicas[i].address, address))
			continue;
		one.replicas = &names->replicas[i];
		send_names(pods, &one);
		return;
	}
	tell(pods, &(struct rail_channel_message){.kind = RAIL_CHANNEL_REPLICA_REMOVE,
						  .prefix = names->prefix,
						  .address = *address});
}

int rail_pods_members_changed(struct rail_pods *pods,
			      const struct rail_registration_request *request,
			      struct rail_error *error)
{
	RAIL_CLEANUP(rail_environment_names_done)
	struct rail_environment_names names = {0};

	if (environment_get(pods, &request->prefix) == NULL)
		return 0;
	int result = rail_environment_names_read(pods->store, &request->prefix, &names, error);
	if (result < 0)
		return result;

	struct rail_environment_names services = names;

	services.replica_count = 0;
	send_names(pods, &services);
	for (size_t i = 0; i < request->address_count; i++)
		send_changed(pods, &names, &request->addresses[i]);
	return 0;
}

static void on_retry(void *context)
{
	struct rail_pods *pods = context;

	for (struct environment *environment = pods->environments; environment != NULL;
	     environment = environment->next)
		if (environment->incomplete && rail_worker_process_is_up(pods->worker))
			send_environment(pods, environment);
}

void rail_pods_send_all(struct rail_pods *pods)
{
	for (struct environment *environment = pods->environments; environment != NULL;
	     environment = environment->next)
		send_environment(pods, environment);
	for (struct rail_pod *pod = pods->first; pod != NULL; pod = pod->next)
		if (!pod->gone)
			rail_pods_send(pods, pod);
}

struct rail_pod *rail_pods_get_by_id(const struct rail_pods *pods, uint64_t id)
{
	struct rail_table_link *link = rail_table_find(&pods->by_id, id);

	return link == NULL ? NULL : rail_container_of(link, struct rail_pod, by_id);
}

const struct rail_pod_sockets *rail_pods_sockets(const struct rail_pods *pods, uint64_t id)
{
	const struct rail_pod *pod = rail_pods_get_by_id(pods, id);

	return pod == NULL || pod->aside_end_ms != 0 ? NULL : &pod->sockets;
}

uint64_t rail_pods_find(const struct rail_pods *pods, const struct rail_attachment_key *key)
{
	const struct rail_pod *pod = rail_pods_get(pods, key);

	return pod != NULL && pod->sockets.udp >= 0 ? pod->id : 0;
}

bool rail_pods_has_environment(const struct rail_pods *pods, const struct rail_prefix *prefix)
{
	return environment_get(pods, prefix) != NULL;
}

size_t rail_pods_count(const struct rail_pods *pods)
{
	return pods->by_id.count;
}

static int join_environment(struct rail_pods *pods, const struct rail_prefix *prefix,
			    bool *ret_is_first, struct rail_error *error)
{
	struct environment *environment = environment_get(pods, prefix);

	*ret_is_first = environment == NULL;
	if (environment == NULL) {
		environment = calloc(1, sizeof(*environment));
		if (environment == NULL || rail_table_reserve(&pods->by_prefix) < 0) {
			free(environment);
			return rail_fail(error, ENOMEM, "no memory for an environment");
		}
		environment->prefix = *prefix;
		rail_table_insert(&pods->by_prefix, &environment->by_prefix, hash_prefix(prefix));
		environment->next = pods->environments;
		if (environment->next != NULL)
			environment->next->previous = environment;
		pods->environments = environment;
	}
	environment->pod_count++;
	return 0;
}

static void leave_environment(struct rail_pods *pods, const struct rail_prefix *prefix)
{
	struct environment *environment = environment_get(pods, prefix);

	if (environment == NULL || --environment->pod_count != 0)
		return;
	rail_table_remove(&pods->by_prefix, &environment->by_prefix);
	if (environment->previous != NULL)
		environment->previous->next = environment->next;
	else
		pods->environments = environment->next;
	if (environment->next != NULL)
		environment->next->previous = environment->previous;
	tell(pods, &(struct rail_channel_message){.kind = RAIL_CHANNEL_ENVIRONMENT_REMOVE,
						  .prefix = environment->prefix});
	free(environment);
}

static int watch_path(struct rail_pods *pods, struct rail_pod *pod)
{
	struct rail_error error = RAIL_ERROR_NONE;
	int result = rail_watch_add(pods->watch, pod->record.netns_path, &pod->watched, &error);

	/* The sweep finds what is not watched, only later. */
	if (result < 0)
		rail_log(RAIL_LOG_WARN, "a pod's netns cannot be watched", "container",
			 pod->record.key.container_id, "error", error.message, NULL);
	return result;
}

int rail_pods_insert(struct rail_pods *pods, const struct rail_pod_record *record,
		     struct rail_pod **ret_pod, bool *ret_is_first, struct rail_error *error)
{
	struct rail_pod *pod = calloc(1, sizeof(*pod));

	if (pod == NULL || rail_table_reserve(&pods->by_key) < 0 ||
	    rail_table_reserve(&pods->by_id) < 0) {
		free(pod);
		return rail_fail(error, ENOMEM, "no memory for a pod");
	}
	pod->record = *record;
	pod->id = ++pods->last_id;
	pod->sockets = RAIL_POD_SOCKETS_CLOSED;

	int result = join_environment(pods, &record->prefix, ret_is_first, error);

	if (result < 0) {
		free(pod);
		return result;
	}
	rail_table_insert(&pods->by_key, &pod->by_key, hash_key(&record->key));
	rail_table_insert(&pods->by_id, &pod->by_id, pod->id);
	pod->next = pods->first;
	if (pod->next != NULL)
		pod->next->previous = pod;
	pods->first = pod;
	(void)watch_path(pods, pod);
	*ret_pod = pod;
	return 0;
}

void rail_pods_withdraw(struct rail_pods *pods, struct rail_pod *pod)
{
	if (pod->gone)
		return;
	pod->gone = true;
	pods->gone_count++;
	rail_watch_remove(pods->watch, &pod->watched);
	/* The name goes first: nobody is to be sent to a pod that no longer resolves. */
	send_replica_remove(pods, &pod->record);
	tell(pods, &(struct rail_channel_message){.kind = RAIL_CHANNEL_POD_REMOVE, .pod = pod->id});
	rail_pod_sockets_close(&pod->sockets);
	leave_environment(pods, &pod->record.prefix);
}

void rail_pods_forget(struct rail_pods *pods, struct rail_pod *pod)
{
	rail_pods_withdraw(pods, pod);
	pods->gone_count--;
	rail_table_remove(&pods->by_key, &pod->by_key);
	rail_table_remove(&pods->by_id, &pod->by_id);
	if (pods->sweep_next == pod)
		pods->sweep_next = pod->next;
	if (pod->previous != NULL)
		pod->previous->next = pod->next;
	else
		pods->first = pod->next;
	if (pod->next != NULL)
		pod->next->previous = pod->previous;
	free(pod);
}

bool rail_pods_unregister(struct rail_pods *pods, const struct rail_attachment_key *key)
{
	struct rail_pod *pod = rail_pods_get(pods, key);

	if (pod == NULL)
		return false;
	rail_pods_forget(pods, pod);
	return true;
}

void rail_pods_serve(struct rail_pods *pods, struct rail_pod *pod, struct rail_pod_sockets *sockets)
{
	pod->sockets = *sockets;
	*sockets = RAIL_POD_SOCKETS_CLOSED;
	rail_pods_send(pods, pod);
}

static int check_record(const struct rail_pod_record *record, int netns_fd,
			struct rail_error *error)
{
	struct rail_netns_id id;
	int result = rail_netns_identify(netns_fd, &id, error);

	if (result < 0)
		return result;
	if (!rail_netns_id_equal(&id, &record->netns))
		return rail_fail_code(error, RAIL_CODE_INVALID_NETNS, ESTALE,
				      "the netns that was handed over is not the one that "
				      "attachment %s/%s has in the live store ('%s')",
				      record->key.container_id, record->key.interface,
				      record->netns_path);
	if (!rail_prefix_contains(&record->prefix, &record->address))
		return rail_fail_code(error, RAIL_CODE_INTERNAL, EINVAL,
				      "attachment %s/%s has no address of its environment",
				      record->key.container_id, record->key.interface);
	return 0;
}

int rail_pods_register(struct rail_pods *pods, const struct rail_attachment_key *key, int netns_fd,
		       uint64_t *ret_pod, struct rail_error *error)
{
	struct rail_pod_record record;
	RAIL_CLEANUP(rail_environment_names_done)
	struct rail_environment_names names = {0};
	RAIL_CLEANUP(rail_pod_sockets_close)
	struct rail_pod_sockets sockets = RAIL_POD_SOCKETS_CLOSED;
	int result = rail_pod_record_read(pods->store, key, &record, error);

	if (result == 0)
		result = check_record(&record, netns_fd, error);
	if (result == 0)
		result = rail_environment_check_enabled(pods->store, &record.prefix, error);
	if (result == 0 && environment_get(pods, &record.prefix) == NULL)
		result = rail_environment_names_read(pods->store, &record.prefix, &names, error);
	if (result < 0)
		return result;

	/* Everything that can fail comes before the first thing that the worker is told. */
	struct rail_pod *old = rail_pods_get(pods, key);
	bool keeps_sockets = old != NULL && old->sockets.udp >= 0 &&
			     rail_netns_id_equal(&old->record.netns, &record.netns) &&
			     old->record.resolver.port == record.resolver.port;
	struct rail_pod *pod;
	bool is_first;

	if (!keeps_sockets)
		result = rail_pod_sockets_open(netns_fd, record.resolver.port, &sockets, error);
	if (result < 0)
		return result;
	result = rail_pods_insert(pods, &record, &pod, &is_first, error);
	if (result < 0)
		return result;

	if (old != NULL) {
		if (keeps_sockets) {
			sockets = old->sockets;
			old->sockets = RAIL_POD_SOCKETS_CLOSED;
		}
		rail_pods_forget(pods, old);
	}
	if (is_first)
		send_names(pods, &names);
	rail_pods_serve(pods, pod, &sockets);
	*ret_pod = pod->id;
	return 0;
}

void rail_pods_set_worker(struct rail_pods *pods, struct rail_worker_process *worker)
{
	pods->worker = worker;
}

int rail_pods_new(struct rail_loop *loop, struct rail_store *store, struct rail_pods **ret_pods,
		  struct rail_error *error)
{
	struct rail_pods *pods = calloc(1, sizeof(*pods));

	if (pods == NULL)
		return rail_fail(error, ENOMEM, "no memory for the pods");
	pods->store = store;

	int result = rail_watch_new(loop, rail_pods_suspect, pods, &pods->watch, error);

	if (result == 0)
		result = rail_loop_timer(loop, on_retry, pods, &pods->retry, error);
	if (result == 0)
		result = rail_pods_blame_init(pods, loop, error);
	if (result == 0)
		result = rail_pods_sweep_init(pods, loop, error);
	if (result < 0) {
		rail_pods_free(pods);
		return result;
	}
	*ret_pods = pods;
	return 0;
}

void rail_pods_free(struct rail_pods *pods)
{
	if (pods == NULL)
		return;
	for (struct rail_pod *pod = pods->first; pod != NULL;) {
		struct rail_pod *next = pod->next;

		rail_watch_remove(pods->watch, &pod->watched);
		rail_pod_sockets_close(&pod->sockets);
		free(pod);
		pod = next;
	}
	while (pods->environments != NULL) {
		struct environment *environment = pods->environments;

		pods->environments = environment->next;
		free(environment);
	}
	rail_table_done(&pods->by_key);
	rail_table_done(&pods->by_id);
	rail_table_done(&pods->by_prefix);
	rail_timer_remove(&pods->retry);
	rail_timer_remove(&pods->aside);
	rail_timer_remove(&pods->sweep);
	rail_timer_remove(&pods->check);
	rail_watch_free(pods->watch);
	free(pods);
}
