#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/queue.h>

#include "pkg/base/cleanup.h"
#include "pkg/base/file.h"
#include "pkg/dns/cache.h"
#include "pkg/dns/hash.h"
#include "plugins/railway-dns/resolverd/worker_internal.h"

enum { CACHE_SIZE = 8 * 1024 * 1024 };

/* A client's query that waits. It names who is waiting by numbers: both may be gone when the answer
 * comes. */
struct waiter {
	STAILQ_ENTRY(waiter) link;
	uint64_t pod;
	struct rail_forward_client client;
	int64_t start_us;
	size_t query_size;
	uint8_t query[];
};

/* A question on its way, and all who ask it meanwhile. */
struct asking {
	struct rail_table_link link; /* first */
	LIST_ENTRY(asking) list;
	struct rail_forward *forward;
	STAILQ_HEAD(, waiter) waiters;
	struct rail_question question;
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
	struct rail_hash_key key;
	struct rail_table questions; /* on their way */
	LIST_HEAD(, asking) askings;
	size_t waiter_count;
	struct rail_cache *cache;
	uint8_t cached[RAIL_CACHE_MESSAGE_MAXIMUM];
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

/* The forwarder's hook. */
static void work_for(void *context, uint64_t pod)
{
	const struct rail_forward *forward = context;

	rail_worker_take_up(forward->worker, pod);
}

static void deliver(struct rail_forward *forward, const struct waiter *waiter,
		    struct rail_worker_pod *pod, int outcome, const uint8_t *message,
		    size_t message_size)
{
	bool tcp = waiter->client.connection != 0;
	uint8_t *answer = forward->framed + 2;
	size_t capacity = sizeof(forward->framed) - 2;
	size_t size = 0;

	if (outcome != 0 || rail_dns_relay(waiter->query, waiter->query_size, message, message_size,
					   tcp, answer, capacity, &size) < 0)
		size = rail_dns_error(waiter->query, waiter->query_size, RAIL_DNS_SERVFAIL, answer,
				      capacity);
	if (size != 0) {
		struct rail_metrics *metrics = forward->worker->metrics;
		const struct rail_query_note note = {
			.query = waiter->query,
			.query_size = waiter->query_size,
			.answer = answer,
			.answer_size = size,
			.duration_us = rail_worker_now_us() - waiter->start_us,
			.tcp = tcp,
			.timed_out = outcome == -ETIMEDOUT,
		};

		rail_metrics_count_answer(pod->environment->metrics, answer, size);
		rail_metrics_observe(&metrics->latencies[RAIL_METRICS_FORWARDED],
				     (uint64_t)note.duration_us, 1);
		rail_queries_note(pod, &note);
	}
	if (tcp)
		rail_tcp_reply(forward->worker->tcp, waiter->client.connection, forward->framed,
			       size);
	else if (size != 0)
		rail_udp_reply(pod, &waiter->client, answer, size);
}

/* Keeps an answer, for the first of those who wait and are still there. */
static void keep(struct asking *asking, const uint8_t *message, size_t size)
{
	struct rail_forward *forward = asking->forward;

	for (const struct waiter *waiter = STAILQ_FIRST(&asking->waiters); waiter != NULL;
	     waiter = STAILQ_NEXT(waiter, link)) {
		struct rail_worker_pod *pod = rail_worker_pod_get(forward->worker, waiter->pod);
		size_t answer_size;

		if (pod == NULL)
			continue;
		rail_worker_take_up(forward->worker, pod->id);
		/* Only what answers the question. */
		if (rail_dns_relay(waiter->query, waiter->query_size, message, size, true,
				   forward->framed + 2, sizeof(forward->framed) - 2,
				   &answer_size) == 0)
			rail_cache_put(forward->cache, &pod->environment->cached, &asking->question,
				       message, size, rail_monotonic_ms());
		return;
	}
}

/* The forwarder's callback. */
static void on_answer(void *context, int outcome, const uint8_t *message, size_t size)
{
	struct asking *asking = context;
	struct rail_forward *forward = asking->forward;

	/* First: who is answered may ask the same again at once. */
	rail_table_remove(&forward->questions, &asking->link);
	LIST_REMOVE(asking, list);
	if (outcome == 0)
		keep(asking, message, size);
	else
		rail_worker_count(forward->worker, RAIL_METRICS_FAILED);
	while (!STAILQ_EMPTY(&asking->waiters)) {
		struct waiter *waiter = STAILQ_FIRST(&asking->waiters);
		struct rail_worker_pod *pod = rail_worker_pod_get(forward->worker, waiter->pod);

		STAILQ_REMOVE_HEAD(&asking->waiters, link);
		forward->waiter_count--;
		if (pod != NULL) {
			rail_worker_take_up(forward->worker, pod->id);
			pod->pending_count--;
			pod->environment->pending_count--;
			deliver(forward, waiter, pod, outcome, message, size);
			rail_worker_put_down(forward->worker);
		}
		free(waiter);
	}
	free(asking);
}

/* The pod's own, else the node's. */
static const struct rail_endpoint *upstreams_of(const struct rail_worker_pod *pod,
						size_t *ret_count)
{
	const struct rail_worker *worker = pod->worker;
	bool own = pod->upstream_count != 0;

	*ret_count = own ? pod->upstream_count : worker->upstream_count;
	return own ? pod->upstreams : worker->upstreams;
}

static struct asking *find_asking(const struct rail_forward *forward,
				  const struct rail_question *question, uint64_t hash)
{
	struct rail_table_link *link = rail_table_find(&forward->questions, hash);

	for (; link != NULL; link = rail_table_find_next(link)) {
		struct asking *asking = (struct asking *)link;

		if (asking->question.size == question->size &&
		    memcmp(asking->question.bytes, question->bytes, question->size) == 0)
			return asking;
	}
	return NULL;
}

/* Sends a question on its way. */
static int ask(struct rail_worker_pod *pod, const struct rail_question *question, uint64_t hash,
	       const struct waiter *waiter, struct asking **ret_asking)
{
	struct rail_forward *forward = pod->worker->forward;
	RAIL_FREE struct asking *asking = malloc(sizeof(*asking));
	const struct rail_forward_asker asker = {.environment = pod->environment->link.hash,
						 .pod = pod->id};
	uint8_t upstream_query[RAIL_QUERY_SIZE_MAXIMUM];
	size_t upstream_count;
	const struct rail_endpoint *upstreams = upstreams_of(pod, &upstream_count);
	size_t size;

	if (asking == NULL || rail_table_reserve(&forward->questions) < 0)
		return -ENOMEM;

	/* The forwarder puts an ID of its own on the wire. */
	int result = rail_dns_upstream_query(waiter->query, waiter->query_size, 0, upstream_query,
					     sizeof(upstream_query), &size);

	if (result < 0)
		return result;
	asking->forward = forward;
	asking->question = *question;
	STAILQ_INIT(&asking->waiters);
	result = rail_forwarder_send(forward->forwarder, upstreams, upstream_count, &asker,
				     upstream_query, size, on_answer, asking);
	if (result < 0)
		return result;
	rail_table_insert(&forward->questions, &asking->link, hash);
	LIST_INSERT_HEAD(&forward->askings, asking, list);
	*ret_asking = RAIL_TAKE_POINTER(asking);
	return 0;
}

/* Of what all environments share, and of what the pods of one do. */
static bool may_wait(const struct rail_worker_pod *pod)
{
	size_t left = RAIL_FORWARD_PENDING_MAXIMUM - pod->worker->forward->waiter_count;
	size_t own = pod->environment->pending_count;

	return pod->pending_count < RAIL_POD_PENDING_MAXIMUM && rail_worker_is_fair(own, left) &&
	       rail_worker_is_fair(pod->pending_count, left - own);
}

/* The client waits: for an answer that is on its way already, or for one of its own. */
static int wait_for_answer(struct rail_worker_pod *pod, const struct rail_question *question,
			   const struct rail_forward_client *client, const uint8_t *query,
			   size_t size)
{
	struct rail_forward *forward = pod->worker->forward;
	uint64_t hash = rail_hash(&forward->key, question->bytes, question->size);
	struct asking *asking = find_asking(forward, question, hash);

	if (!may_wait(pod))
		return -EAGAIN;

	RAIL_FREE struct waiter *waiter = malloc(sizeof(*waiter) + size);

	if (waiter == NULL)
		return -ENOMEM;
	waiter->pod = pod->id;
	waiter->client = *client;
	waiter->start_us = rail_worker_now_us();
	waiter->query_size = size;
	memcpy(waiter->query, query, size);
	if (asking == NULL) {
		int result = ask(pod, question, hash, waiter, &asking);

		if (result < 0)
			return result;
		rail_worker_count(pod->worker, RAIL_METRICS_ASKED);
	} else {
		rail_worker_count(pod->worker, RAIL_METRICS_JOINED);
	}
	pod->pending_count++;
	pod->environment->pending_count++;
	forward->waiter_count++;
	STAILQ_INSERT_TAIL(&asking->waiters, waiter, link);
	(void)RAIL_TAKE_POINTER(waiter);
	return 0;
}

int rail_forward_query(struct rail_worker_pod *pod, const struct rail_forward_client *client,
		       const uint8_t *query, size_t query_size, uint8_t *answer, size_t capacity,
		       size_t *ret_size)
{
	struct rail_forward *forward = pod->worker->forward;
	size_t upstream_count;
	const struct rail_endpoint *upstreams = upstreams_of(pod, &upstream_count);
	struct rail_question question;
	struct rail_dns_query parsed;

	*ret_size = 0;
	if (rail_dns_query_parse(query, query_size, &parsed) != RAIL_DNS_NOERROR)
		return -EBADMSG;

	int result = rail_question_init(&question, upstreams, upstream_count, &parsed);

	if (result < 0)
		return result;

	size_t size =
		rail_cache_get(forward->cache, &question, forward->cached, rail_monotonic_ms());

	if (size != 0 && rail_dns_relay(query, query_size, forward->cached, size,
					client->connection != 0, answer, capacity, ret_size) == 0) {
		rail_worker_count(pod->worker, RAIL_METRICS_CACHE_HITS);
		return 0;
	}
	rail_worker_count(pod->worker, RAIL_METRICS_CACHE_MISSES);
	*ret_size = 0;
	return wait_for_answer(pod, &question, client, query, query_size);
}

void rail_forward_disown(struct rail_forward *forward, struct rail_worker_environment *environment)
{
	rail_cache_disown(forward->cache, &environment->cached);
}

void rail_forward_measure(const struct rail_forward *forward)
{
	rail_metric *gauges = forward->worker->metrics->gauges;
	struct rail_cache_statistics cache;

	rail_cache_statistics(forward->cache, &cache);
	rail_metric_set(&gauges[RAIL_METRICS_CACHE_ENTRIES], cache.count);
	rail_metric_set(&gauges[RAIL_METRICS_CACHE_BYTES], cache.size);
	rail_metric_set(&gauges[RAIL_METRICS_WAITING], forward->waiter_count);
	rail_metric_set(&gauges[RAIL_METRICS_FORWARD_SOCKETS], forward->watches.count);
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
	const struct rail_forwarder_hooks hooks = {
		.watch = watch_socket, .works_for = work_for, .context = forward};

	if (forward == NULL)
		return rail_fail(error, ENOMEM, "no memory for forwarding");
	forward->worker = worker;
	LIST_INIT(&forward->askings);
	forward->forwarder = rail_forwarder_new(&hooks);
	forward->cache = rail_cache_new(CACHE_SIZE);
	if (forward->forwarder == NULL || forward->cache == NULL ||
	    rail_hash_key_init(&forward->key) < 0) {
		rail_forward_free(forward);
		return rail_fail(error, ENOMEM, "no memory for forwarding");
	}
	*ret_forward = forward;
	return 0;
}

static void free_asking(struct asking *asking)
{
	while (!STAILQ_EMPTY(&asking->waiters)) {
		struct waiter *waiter = STAILQ_FIRST(&asking->waiters);

		STAILQ_REMOVE_HEAD(&asking->waiters, link);
		free(waiter);
	}
	free(asking);
}

void rail_forward_free(struct rail_forward *forward)
{
	if (forward == NULL)
		return;
	/* Has every socket forgotten, and calls nobody back: what waited goes here. */
	rail_forwarder_free(forward->forwarder);
	while (!LIST_EMPTY(&forward->askings)) {
		struct asking *asking = LIST_FIRST(&forward->askings);

		LIST_REMOVE(asking, list);
		free_asking(asking);
	}
	rail_cache_free(forward->cache);
	rail_table_done(&forward->questions);
	rail_table_done(&forward->watches);
	free(forward);
}
