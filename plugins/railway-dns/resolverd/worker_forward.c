#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/queue.h>

#include "pkg/base/cleanup.h"
#include "plugins/railway-dns/resolverd/worker_internal.h"

/* A query on its way. It names who is waiting by numbers: both may be gone when it comes back. */
struct pending {
	LIST_ENTRY(pending) link;
	struct rail_forward *forward;
	uint64_t pod;
	struct rail_forward_client client;
	size_t query_size;
	uint8_t query[];
};

/* A socket of the forwarder's. */
struct watch {
	struct rail_table_link link; /* first; its hash is fd */
	struct rail_forward *forward;
	int fd;
	struct rail_source *source;
};

struct rail_forward {
	struct rail_worker *worker;
	struct rail_forwarder *forwarder;
	struct rail_table watches;
	LIST_HEAD(, pending) pending;
	uint8_t framed[2 + RAIL_DNS_MESSAGE_MAXIMUM];
};

static void on_socket(void *context, uint32_t events)
{
	struct watch *watch = context;
	bool failed = (events & (EPOLLERR | EPOLLHUP)) != 0;

	rail_forwarder_ready(watch->forward->forwarder, watch->fd,
			     failed || (events & EPOLLIN) != 0, failed || (events & EPOLLOUT) != 0);
}

static void complain(struct rail_forward *forward, int errnum)
{
	rail_worker_complain(forward->worker, "a nameserver cannot be listened to", errnum);
}

static void add_watch(struct rail_forward *forward, int fd, uint32_t events)
{
	struct rail_error error = RAIL_ERROR_NONE;
	struct watch *watch = calloc(1, sizeof(*watch));

	if (watch == NULL || rail_table_reserve(&forward->watches) < 0) {
		complain(forward, ENOMEM);
		free(watch);
		return;
	}
	watch->forward = forward;
	watch->fd = fd;
	if (rail_loop_watch(forward->worker->loop, fd, events, on_socket, watch, &watch->source,
			    &error) < 0) {
		complain(forward, error.errnum);
		free(watch);
		return;
	}
	rail_table_insert(&forward->watches, &watch->link, (uint64_t)fd);
}

/* The forwarder's hook. A socket that cannot be watched is one that never becomes ready: its
 * queries end by their deadline. */
static void watch_socket(void *context, int fd, bool readable, bool writable)
{
	struct rail_forward *forward = context;
	uint32_t events = (readable ? (uint32_t)EPOLLIN : 0) | (writable ? (uint32_t)EPOLLOUT : 0);
	struct watch *watch = (struct watch *)rail_table_find(&forward->watches, (uint64_t)fd);
	struct rail_error error = RAIL_ERROR_NONE;

	if (watch == NULL) {
		if (events != 0)
			add_watch(forward, fd, events);
	} else if (events == 0) {
		rail_table_remove(&forward->watches, &watch->link);
		rail_source_remove(&watch->source);
		free(watch);
	} else if (rail_source_change(watch->source, events, &error) < 0) {
		complain(forward, error.errnum);
	}
}

static void deliver(struct pending *pending, struct rail_worker_pod *pod, int outcome,
		    const uint8_t *message, size_t message_size)
{
	struct rail_forward *forward = pending->forward;
	bool tcp = pending->client.connection != 0;
	uint8_t *answer = forward->framed + 2;
	size_t capacity = sizeof(forward->framed) - 2;
	size_t size = 0;

	if (outcome != 0 || rail_dns_relay(pending->query, pending->query_size, message,
					   message_size, tcp, answer, capacity, &size) < 0)
		size = rail_dns_error(pending->query, pending->query_size, RAIL_DNS_SERVFAIL,
				      answer, capacity);
	if (tcp)
		rail_tcp_reply(forward->worker->tcp, pending->client.connection, forward->framed,
			       size);
	else if (size != 0)
		rail_udp_reply(pod, &pending->client, answer, size);
}

static void on_answer(void *context, int outcome, const uint8_t *message, size_t size)
{
	struct pending *pending = context;
	struct rail_worker_pod *pod = rail_worker_pod_get(pending->forward->worker, pending->pod);

	if (pod != NULL) {
		pod->pending_count--;
		pod->environment->pending_count--;
		deliver(pending, pod, outcome, message, size);
	}
	LIST_REMOVE(pending, link);
	free(pending);
}

int rail_forward_query(struct rail_worker_pod *pod, const struct rail_forward_client *client,
		       const uint8_t *query, size_t size)
{
	struct rail_worker *worker = pod->worker;
	bool own = pod->upstream_count != 0;
	uint8_t upstream_query[RAIL_QUERY_SIZE_MAXIMUM];
	size_t upstream_size;

	if (pod->pending_count >= RAIL_POD_PENDING_MAXIMUM ||
	    !rail_worker_is_fair(pod->environment->pending_count,
				 rail_forwarder_room(worker->forward->forwarder)))
		return -EAGAIN;

	/* The forwarder puts an ID of its own on the wire. */
	int result = rail_dns_upstream_query(query, size, 0, upstream_query, sizeof(upstream_query),
					     &upstream_size);

	if (result < 0)
		return result;

	RAIL_FREE struct pending *pending = malloc(sizeof(*pending) + size);

	if (pending == NULL)
		return -ENOMEM;
	pending->forward = worker->forward;
	pending->pod = pod->id;
	pending->client = *client;
	pending->query_size = size;
	memcpy(pending->query, query, size);
	result = rail_forwarder_send(
		worker->forward->forwarder, own ? pod->upstreams : worker->upstreams,
		own ? pod->upstream_count : worker->upstream_count, pod->environment->link.hash,
		upstream_query, upstream_size, on_answer, pending);
	if (result < 0)
		return result;
	pod->pending_count++;
	pod->environment->pending_count++;
	LIST_INSERT_HEAD(&worker->forward->pending, pending, link);
	(void)RAIL_TAKE_POINTER(pending);
	return 0;
}

int rail_forward_timeout_ms(struct rail_forward *forward)
{
	return rail_forwarder_timeout_ms(forward->forwarder);
}

void rail_forward_expire(struct rail_forward *forward)
{
	rail_forwarder_expire(forward->forwarder);
}

int rail_forward_new(struct rail_worker *worker, struct rail_forward **ret_forward,
		     struct rail_error *error)
{
	struct rail_forward *forward = calloc(1, sizeof(*forward));
	const struct rail_forwarder_hooks hooks = {.watch = watch_socket, .context = forward};

	if (forward == NULL)
		return rail_fail(error, ENOMEM, "no memory for forwarding");
	forward->worker = worker;
	LIST_INIT(&forward->pending);
	forward->forwarder = rail_forwarder_new(&hooks);
	if (forward->forwarder == NULL) {
		free(forward);
		return rail_fail(error, ENOMEM, "no memory for forwarding");
	}
	*ret_forward = forward;
	return 0;
}

void rail_forward_free(struct rail_forward *forward)
{
	if (forward == NULL)
		return;
	/* Has every socket forgotten, and calls nobody back: what waited goes here. */
	rail_forwarder_free(forward->forwarder);
	while (!LIST_EMPTY(&forward->pending)) {
		struct pending *pending = LIST_FIRST(&forward->pending);

		LIST_REMOVE(pending, link);
		free(pending);
	}
	rail_table_done(&forward->watches);
	free(forward);
}
