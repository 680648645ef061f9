#include "plugins/railway-dns/resolverd/worker.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <time.h>

#include "pkg/base/cleanup.h"
#include "pkg/base/file.h"
#include "plugins/railway-dns/resolverd/sandbox.h"
#include "plugins/railway-dns/resolverd/worker_internal.h"

enum {
	MESSAGES_A_WAKE = 256, /* before packets get their turn */
	COMPLAINTS = 10,
	DRAIN_TICK_MS = 50,
	DRAIN_FRESH_MS = 250, /* for the query of who has just connected */
	COMPLAINTS_WINDOW_MS = 10000,
};

void rail_worker_complain(struct rail_worker *worker, const char *message, int errnum)
{
	unsigned int dropped;
	char text[16];

	if (!rail_log_allowed(&worker->log_limit, rail_monotonic_ms(), &dropped))
		return;
	(void)snprintf(text, sizeof(text), "%u", dropped);
	rail_log(RAIL_LOG_WARN, message, "error", errnum != 0 ? strerrordesc_np(errnum) : NULL,
		 "left_out", dropped != 0 ? text : NULL, NULL);
}

struct rail_worker_pod *rail_worker_pod_get(const struct rail_worker *worker, uint64_t id)
{
	return (struct rail_worker_pod *)rail_table_find(&worker->pods, id);
}

void rail_worker_count(struct rail_worker *worker, enum rail_metrics_counter counter)
{
	rail_metric_add(&worker->metrics->counters[counter], 1);
}

int64_t rail_worker_now_us(void)
{
	struct timespec now;

	(void)clock_gettime(CLOCK_MONOTONIC, &now);
	return (int64_t)now.tv_sec * 1000000 + now.tv_nsec / 1000;
}

static uint64_t hash_prefix(const struct rail_prefix *prefix)
{
	uint64_t hash = 0;

	/* Random as they are, and made by the suite, these bytes are their own hash. */
	memcpy(&hash, prefix->bytes, sizeof(prefix->bytes));
	return hash ^ hash >> 24;
}

static struct rail_worker_environment *find_environment(const struct rail_worker *worker,
							const struct rail_prefix *prefix)
{
	struct rail_table_link *link = rail_table_find(&worker->environments, hash_prefix(prefix));

	for (; link != NULL; link = rail_table_find_next(link)) {
		struct rail_worker_environment *environment =
			(struct rail_worker_environment *)link;

		if (rail_prefix_equal(rail_zone_prefix(environment->zone), prefix))
			return environment;
	}
	return NULL;
}

static bool is_environment(const struct rail_worker *worker, uint64_t number)
{
	struct rail_prefix prefix;

	for (size_t i = sizeof(prefix.bytes); i > 0; i--, number >>= 8)
		prefix.bytes[i - 1] = (uint8_t)number;
	return find_environment(worker, &prefix) != NULL;
}

/* The environment's counters: those of a worker before this one, else unused ones, else those of an
 * environment that is gone; where there are none, those of all who found none. */
static struct rail_metrics_environment *find_metrics(const struct rail_worker *worker,
						     const struct rail_prefix *prefix)
{
	uint64_t number = rail_metrics_prefix_number(prefix);
	struct rail_metrics_environment *slots = worker->metrics->environments;
	struct rail_metrics_environment *best = NULL;

	for (size_t i = 1; i <= RAIL_METRICS_ENVIRONMENTS; i++) {
		uint64_t own = rail_metric_read(&slots[i].prefix);

		if (own == number)
			return &slots[i];
		bool unused = own == 0 && (best == NULL || rail_metric_read(&best->prefix) != 0);

		if (unused || (own != 0 && best == NULL && !is_environment(worker, own)))
			best = &slots[i];
	}
	if (best == NULL)
		return &slots[0];
	memset(best, 0, sizeof(*best));
	rail_metric_set(&best->prefix, number);
	return best;
}

static struct rail_worker_environment *ensure_environment(struct rail_worker *worker,
							  const struct rail_prefix *prefix)
{
	struct rail_worker_environment *environment = find_environment(worker, prefix);

	if (environment != NULL)
		return environment;
	environment = calloc(1, sizeof(*environment));
	if (environment == NULL)
		return NULL;
	environment->zone = rail_zone_new(prefix);
	if (environment->zone == NULL || rail_table_reserve(&worker->environments) < 0) {
		rail_zone_free(environment->zone);
		free(environment);
		return NULL;
	}
	rail_cache_owner_init(&environment->cached);
	environment->metrics = find_metrics(worker, prefix);
	rail_table_insert(&worker->environments, &environment->link, hash_prefix(prefix));
	return environment;
}

static void free_environment(struct rail_worker *worker,
			     struct rail_worker_environment *environment)
{
	rail_forward_disown(worker->forward, environment);
	rail_table_remove(&worker->environments, &environment->link);
	rail_zone_free(environment->zone);
	free(environment);
}

static void remove_environment(struct rail_worker *worker, const struct rail_prefix *prefix)
{
	struct rail_worker_environment *environment = find_environment(worker, prefix);

	/* Its pods refer to it: the supervisor removes them first. */
	if (environment != NULL && environment->pod_count == 0)
		free_environment(worker, environment);
}

static void remove_pod(struct rail_worker *worker, struct rail_worker_pod *pod)
{
	rail_udp_close(pod);
	rail_tcp_close(pod);
	rail_table_remove(&worker->pods, &pod->link);
	LIST_REMOVE(pod, list);
	pod->environment->pod_count--;
	pod->environment->pending_count -= pod->pending_count;
	free(pod->queries);
	free(pod);
}

/* Takes over the sockets on success. A failure is this pod's: POD_CHECK tells the supervisor. */
static int add_pod(struct rail_worker *worker, const struct rail_channel_message *message,
		   const int *sockets, struct rail_error *error)
{
	struct rail_worker_pod *pod = rail_worker_pod_get(worker, message->pod);
	struct rail_worker_environment *environment = ensure_environment(worker, &message->prefix);

	if (pod != NULL)
		return rail_fail(error, EEXIST, "the pod is there already");
	pod = calloc(1, sizeof(*pod));
	if (pod == NULL || environment == NULL || rail_table_reserve(&worker->pods) < 0) {
		free(pod);
		return rail_fail(error, ENOMEM, "no memory for a pod");
	}
	pod->id = message->pod;
	pod->worker = worker;
	pod->environment = environment;
	pod->ttl_s = message->ttl_s;
	pod->upstream_count = message->upstream_count;
	memcpy(pod->upstreams, message->upstreams, sizeof(pod->upstreams));
	pod->udp = sockets[0];
	pod->tcp = sockets[1];

	int result = rail_udp_open(pod, error);

	if (result == 0)
		result = rail_tcp_open(pod, error);
	if (result < 0) {
		rail_source_remove(&pod->udp_source);
		free(pod);
		return result;
	}
	rail_table_insert(&worker->pods, &pod->link, pod->id);
	LIST_INSERT_HEAD(&worker->pod_list, pod, list);
	environment->pod_count++;
	return 0;
}

static int change_zone(struct rail_worker *worker, const struct rail_channel_message *message)
{
	bool adds = message->kind == RAIL_CHANNEL_SERVICE_ADD ||
		    message->kind == RAIL_CHANNEL_REPLICA_ADD;
	struct rail_worker_environment *environment =
		adds ? ensure_environment(worker, &message->prefix)
		     : find_environment(worker, &message->prefix);

	if (environment == NULL)
		return adds ? -ENOMEM : 0;
	switch (message->kind) {
	case RAIL_CHANNEL_SERVICE_ADD:
		return rail_zone_add_service(environment->zone, message->service);
	case RAIL_CHANNEL_SERVICE_REMOVE:
		rail_zone_remove_service(environment->zone, message->service);
		return 0;
	case RAIL_CHANNEL_REPLICA_ADD:
		return rail_zone_add_replica(environment->zone, message->service, message->replica,
					     &message->address);
	default:
		rail_zone_remove_replica(environment->zone, &message->address);
		return 0;
	}
}

static int confirm(struct rail_worker *worker, const struct rail_channel_message *message)
{
	const struct rail_worker_pod *pod =
		message->pod == 0 ? NULL : rail_worker_pod_get(worker, message->pod);
	bool served = message->kind == RAIL_CHANNEL_BARRIER || (pod != NULL && !pod->broken);
	const struct rail_channel_message answer = {
		.kind = served ? RAIL_CHANNEL_ACK : RAIL_CHANNEL_NAK,
		.sequence = message->sequence,
	};
	uint8_t bytes[RAIL_CHANNEL_MESSAGE_SIZE];
	int size = rail_channel_encode(&answer, bytes, sizeof(bytes));

	if (size < 0)
		return size;
	/* The channel holds far more answers than there are clients that wait for one. Where it
	 * does not, the supervisor has stopped reading, and a new start is best. */
	if (send(worker->channel, bytes, (size_t)size, MSG_DONTWAIT | MSG_NOSIGNAL) < 0)
		return -errno;
	return 0;
}

/* From here on another worker takes what comes, from the same sockets. */
static void begin_draining(struct rail_worker *worker)
{
	worker->drain_end_ms = rail_monotonic_ms() + RAIL_WORKER_DRAIN_MS;
	for (struct rail_worker_pod *pod = LIST_FIRST(&worker->pod_list); pod != NULL;
	     pod = LIST_NEXT(pod, list)) {
		rail_udp_stop(pod);
		rail_tcp_stop(pod);
	}
	rail_tcp_drain(worker->tcp);
}

/* Lets go of the pods that wait for nothing more, whose netns these sockets keep. */
static void go_on_draining(struct rail_worker *worker)
{
	struct rail_worker_pod *pod = LIST_FIRST(&worker->pod_list);
	int64_t left_ms = worker->drain_end_ms - rail_monotonic_ms();

	if (left_ms <= RAIL_WORKER_DRAIN_MS - DRAIN_FRESH_MS)
		rail_tcp_drain_fresh(worker->tcp);
	while (pod != NULL) {
		struct rail_worker_pod *next = LIST_NEXT(pod, list);

		if (pod->pending_count == 0 && pod->connection_count == 0)
			remove_pod(worker, pod);
		pod = next;
	}
	if (LIST_EMPTY(&worker->pod_list) || left_ms <= 0)
		worker->ends = true;
}

static int turn(struct rail_worker *worker, struct rail_error *error)
{
	int limit_ms = rail_forward_timeout_ms(worker->forward);

	if (worker->drain_end_ms != 0 && (limit_ms < 0 || limit_ms > DRAIN_TICK_MS))
		limit_ms = DRAIN_TICK_MS;

	int result = rail_loop_turn(worker->loop, limit_ms, error);

	rail_forward_expire(worker->forward);
	rail_forward_measure(worker->forward);
	rail_metric_set(&worker->metrics->gauges[RAIL_METRICS_CONNECTIONS],
			rail_tcp_count(worker->tcp));
	rail_metric_set(&worker->metrics->gauges[RAIL_METRICS_PODS], worker->pods.count);
	if (worker->drain_end_ms != 0)
		go_on_draining(worker);
	return result;
}

/* Does what a message says. Takes its sockets over by setting them to -1. An error is one after
 * which this worker does not know what it should. */
static int obey(struct rail_worker *worker, const struct rail_channel_message *message,
		int *sockets)
{
	struct rail_error error = RAIL_ERROR_NONE;
	struct rail_worker_pod *pod;

	switch (message->kind) {
	case RAIL_CHANNEL_POD_ADD:
		if (add_pod(worker, message, sockets, &error) < 0)
			rail_worker_complain(worker, "a pod cannot be served", error.errnum);
		else
			sockets[0] = sockets[1] = -1;
		return 0;
	case RAIL_CHANNEL_POD_REMOVE:
		pod = rail_worker_pod_get(worker, message->pod);
		if (pod != NULL)
			remove_pod(worker, pod);
		return 0;
	case RAIL_CHANNEL_POD_NAMES:
		pod = rail_worker_pod_get(worker, message->pod);
		return pod == NULL ? 0 : rail_queries_name(pod, message);
	case RAIL_CHANNEL_SERVICE_ADD:
	case RAIL_CHANNEL_SERVICE_REMOVE:
	case RAIL_CHANNEL_REPLICA_ADD:
	case RAIL_CHANNEL_REPLICA_REMOVE:
		return change_zone(worker, message);
	case RAIL_CHANNEL_ENVIRONMENT_REMOVE:
		remove_environment(worker, &message->prefix);
		return 0;
	case RAIL_CHANNEL_UPSTREAMS:
		memcpy(worker->upstreams, message->upstreams, sizeof(worker->upstreams));
		worker->upstream_count = message->upstream_count;
		return 0;
	case RAIL_CHANNEL_BARRIER:
	case RAIL_CHANNEL_POD_CHECK:
		return confirm(worker, message);
	case RAIL_CHANNEL_DRAIN:
		begin_draining(worker);
		return 0;
	case RAIL_CHANNEL_ACK:
	case RAIL_CHANNEL_NAK:
	case RAIL_CHANNEL_KIND_END:
		break;
	}
	return -EBADMSG;
}

/* The descriptors beside a message, or -1. Returns how many there are. */
static int take_sockets(struct msghdr *header, int sockets[RAIL_CHANNEL_DESCRIPTORS_MAXIMUM])
{
	struct cmsghdr *control = CMSG_FIRSTHDR(header);

	if (control == NULL || control->cmsg_level != SOL_SOCKET ||
	    control->cmsg_type != SCM_RIGHTS)
		return 0;

	size_t size = control->cmsg_len - CMSG_LEN(0);

	if (size > RAIL_CHANNEL_DESCRIPTORS_MAXIMUM * sizeof(int))
		return -1;
	memcpy(sockets, CMSG_DATA(control), size);
	return (int)(size / sizeof(int));
}

/* Returns 1 for a message, 0 where there is none now, or an error (-ECONNRESET: the end). */
static int receive(struct rail_worker *worker)
{
	uint8_t bytes[RAIL_CHANNEL_MESSAGE_SIZE];
	union {
		struct cmsghdr header;
		char space[CMSG_SPACE(RAIL_CHANNEL_DESCRIPTORS_MAXIMUM * sizeof(int))];
	} control;
	struct iovec part = {.iov_base = bytes, .iov_len = sizeof(bytes)};
	struct msghdr header = {
		.msg_iov = &part,
		.msg_iovlen = 1,
		.msg_control = &control,
		.msg_controllen = sizeof(control.space),
	};
	struct rail_channel_message message;
	int sockets[RAIL_CHANNEL_DESCRIPTORS_MAXIMUM] = {-1, -1};
	ssize_t size = recvmsg(worker->channel, &header, MSG_DONTWAIT | MSG_CMSG_CLOEXEC);

	if (size < 0 && (errno == EWOULDBLOCK || errno == EINTR))
		return 0;
	if (size <= 0)
		return -ECONNRESET;

	int socket_count = take_sockets(&header, sockets);
	int result = (header.msg_flags & MSG_TRUNC) != 0
			     ? -EBADMSG
			     : rail_channel_decode(bytes, (size_t)size, &message);

	if (result == 0) {
		/* Out of descriptors, the kernel leaves some out: that pod is not served. */
		bool lacks_sockets = socket_count != rail_channel_descriptors(message.kind);

		if (lacks_sockets && (header.msg_flags & MSG_CTRUNC) != 0)
			rail_worker_complain(worker, "a pod cannot be served", EMFILE);
		else if (lacks_sockets)
			result = -EBADMSG;
		else
			result = obey(worker, &message, sockets);
	}
	for (int i = 0; i < RAIL_CHANNEL_DESCRIPTORS_MAXIMUM; i++)
		if (sockets[i] >= 0)
			(void)close(sockets[i]);
	return result < 0 ? result : 1;
}

static void on_channel(void *context, uint32_t events)
{
	struct rail_worker *worker = context;
	int result = 1;

	(void)events;
	for (int budget = MESSAGES_A_WAKE; budget > 0 && result > 0; budget--)
		result = receive(worker);
	if (result >= 0)
		return;
	/* A worker that lacks something starts again from nothing. */
	if (result != -ECONNRESET)
		rail_log(RAIL_LOG_ERROR, "the worker cannot follow its supervisor", "error",
			 strerrordesc_np(-result), NULL);
	worker->ends = true;
}

static int set_up(struct rail_worker *worker, struct rail_error *error)
{
	int landlock_version;
	int type = 0;
	socklen_t size = sizeof(type);

	if (getsockopt(RAIL_CHILD_CHANNEL, SOL_SOCKET, SO_TYPE, &type, &size) < 0 ||
	    type != SOCK_SEQPACKET)
		return rail_fail(error, EINVAL, "only railway-resolverd itself starts its worker");
	worker->channel = RAIL_CHILD_CHANNEL;
	worker->log_limit =
		(struct rail_log_limit){.maximum = COMPLAINTS, .window_ms = COMPLAINTS_WINDOW_MS};

	int result = rail_sandbox_check(error);

	if (result == 0)
		result = rail_metrics_map(RAIL_WORKER_METRICS, &worker->metrics, error);
	(void)close(RAIL_WORKER_METRICS);
	if (result == 0)
		result = rail_queries_new(&worker->queries, error);
	if (result == 0)
		result = rail_loop_new(&worker->loop, error);
	if (result == 0)
		result = rail_udp_new(&worker->udp, error);
	if (result == 0)
		result = rail_tcp_new(worker, &worker->tcp, error);
	if (result == 0)
		result = rail_forward_new(worker, &worker->forward, error);
	if (result == 0)
		result = rail_sandbox_landlock(&landlock_version, error);
	if (result == 0)
		result = rail_sandbox_filter(error);
	if (result == 0)
		result = rail_loop_watch(worker->loop, worker->channel, EPOLLIN, on_channel, worker,
					 &worker->channel_source, error);
	return result;
}

static void tear_down(struct rail_worker *worker)
{
	while (!LIST_EMPTY(&worker->pod_list))
		remove_pod(worker, LIST_FIRST(&worker->pod_list));
	for (size_t i = 0; i < worker->environments.bucket_count; i++)
		while (worker->environments.buckets[i] != NULL)
			free_environment(
				worker,
				(struct rail_worker_environment *)worker->environments.buckets[i]);
	rail_forward_free(worker->forward);
	rail_tcp_free(worker->tcp);
	rail_udp_free(worker->udp);
	rail_source_remove(&worker->channel_source);
	rail_loop_free(worker->loop);
	rail_table_done(&worker->pods);
	rail_table_done(&worker->environments);
	rail_metrics_unmap(worker->metrics);
	rail_queries_free(worker->queries);
}

int rail_worker_run(struct rail_error *error)
{
	struct rail_worker *worker = calloc(1, sizeof(*worker));

	if (worker == NULL)
		return rail_fail(error, ENOMEM, "no memory for the worker");
	LIST_INIT(&worker->pod_list);

	int result = set_up(worker, error);

	while (result == 0 && !worker->ends)
		result = turn(worker, error);
	tear_down(worker);
	free(worker);
	return result;
}
