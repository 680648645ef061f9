#include "plugins/railway-dns/resolverd/worker_tcp.h"

#include <errno.h>
#include <stdlib.h>
#include <sys/epoll.h>
#include <sys/socket.h>

#include "pkg/base/cleanup.h"
#include "pkg/base/file.h"

/* The pods' TCP sockets: which connections there are, how many of whom, and when one must go. */

enum {
	ACCEPTS_A_WAKE = 16,
	IDLE_MS = 5000,	    /* without a byte in either direction */
	MESSAGE_MS = 10000, /* without a whole message */
	TICK_MS = 1000,
};

void rail_tcp_accept_more(struct rail_worker_pod *pod, bool accepts)
{
	if (pod->accepts == accepts || pod->tcp_source == NULL)
		return;
	if (rail_source_change(pod->tcp_source, accepts ? EPOLLIN : 0, NULL) == 0)
		pod->accepts = accepts;
	if (!pod->accepts) {
		pod->worker->tcp->paused = true;
		rail_timer_ensure(pod->worker->tcp->tick, TICK_MS);
	}
}

/* Of an environment's connections (pod NULL: of all its pods) the one that has been idle for
 * longest, or NULL; busy: of those that are not idle. */
static struct rail_connection *find_idlest(const struct rail_tcp *tcp,
					   const struct rail_worker_environment *environment,
					   const struct rail_worker_pod *pod, bool busy)
{
	struct rail_connection *idlest = NULL;

	for (size_t i = 0; i < RAIL_CONNECTIONS_MAXIMUM; i++) {
		struct rail_connection *connection = tcp->slots[i];

		if (connection == NULL || connection->pod->environment != environment ||
		    (pod != NULL && connection->pod != pod) ||
		    rail_connection_is_idle(connection) == busy)
			continue;
		if (idlest == NULL || connection->active_ms < idlest->active_ms)
			idlest = connection;
	}
	return idlest;
}

static const struct rail_worker_environment *find_largest(const struct rail_tcp *tcp)
{
	const struct rail_worker_environment *largest = NULL;

	for (size_t i = 0; i < RAIL_CONNECTIONS_MAXIMUM; i++) {
		const struct rail_connection *connection = tcp->slots[i];

		if (connection != NULL &&
		    (largest == NULL ||
		     connection->pod->environment->connection_count > largest->connection_count))
			largest = connection->pod->environment;
	}
	return largest;
}

static bool is_full(const struct rail_worker_pod *pod)
{
	return pod->connection_count >= RAIL_POD_CONNECTIONS_MAXIMUM ||
	       pod->worker->tcp->count >= RAIL_CONNECTIONS_MAXIMUM;
}

/*
 * Closes a connection for one of this pod's; false: there is none that should go. A pod that has
 * its share, and an environment that has, make room among their own idle ones. Else the environment
 * with the most does, also by one that is not idle: a byte now and then would hold it for good.
 */
static bool make_room(struct rail_worker_pod *pod)
{
	const struct rail_tcp *tcp = pod->worker->tcp;
	bool own = pod->connection_count >= RAIL_POD_CONNECTIONS_MAXIMUM;
	const struct rail_worker_environment *largest = own ? NULL : find_largest(tcp);
	struct rail_connection *victim;

	if (largest == NULL ||
	    largest->connection_count <= pod->environment->connection_count + 1) {
		victim = find_idlest(tcp, pod->environment, own ? pod : NULL, false);
	} else {
		victim = find_idlest(tcp, largest, NULL, false);
		if (victim == NULL)
			victim = find_idlest(tcp, largest, NULL, true);
	}
	if (victim == NULL)
		return false;
	rail_connection_close(victim, true);
	return true;
}

/* Consumes fd. */
static void welcome(struct rail_worker_pod *pod, int accepted)
{
	struct rail_tcp *tcp = pod->worker->tcp;
	RAIL_CLOSE int fd = accepted;
	RAIL_FREE struct rail_connection *connection = calloc(1, sizeof(*connection));
	size_t slot = 0;

	if (connection == NULL)
		return;
	while (tcp->slots[slot] != NULL)
		slot++;
	connection->tcp = tcp;
	connection->pod = pod;
	connection->fd = fd;
	connection->is_fresh = true;
	connection->id = ++tcp->uses << RAIL_CONNECTION_SLOT_BITS | slot;
	connection->active_ms = rail_monotonic_ms();
	connection->message_ms = connection->active_ms;
	if (rail_connection_start(connection) < 0)
		return;
	tcp->slots[slot] = RAIL_TAKE_POINTER(connection);
	(void)RAIL_TAKE_FD(fd);
	tcp->count++;
	pod->connection_count++;
	pod->environment->connection_count++;
	rail_timer_ensure(tcp->tick, TICK_MS);
}

static void on_listener(void *context, uint32_t events)
{
	struct rail_worker_pod *pod = context;

	for (int i = 0; i < ACCEPTS_A_WAKE; i++) {
		if ((events & EPOLLIN) != 0 && is_full(pod)) {
			/* Only the first time is it known that somebody waits. */
			if (i == 0 && !make_room(pod))
				rail_tcp_accept_more(pod, false);
			if (i != 0 || !pod->accepts)
				return;
		}

		int fd = accept4(pod->tcp, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK);

		if (fd >= 0) {
			welcome(pod, fd);
			continue;
		}
		if (errno == EINVAL) {
			rail_worker_complain(pod->worker, "a pod's TCP socket no longer listens",
					     0);
			rail_source_remove(&pod->tcp_source);
			pod->broken = true;
		} else if (errno == EMFILE || errno == ENFILE || errno == ENOBUFS ||
			   errno == ENOMEM) {
			rail_worker_complain(pod->worker, "a TCP connection cannot be accepted",
					     errno);
			rail_tcp_accept_more(pod, false);
		}
		return;
	}
}

/* pod NULL: of all pods. */
static void close_connections(struct rail_tcp *tcp, const struct rail_worker_pod *pod)
{
	for (size_t i = 0; i < RAIL_CONNECTIONS_MAXIMUM; i++)
		if (tcp->slots[i] != NULL && (pod == NULL || tcp->slots[i]->pod == pod))
			rail_connection_close(tcp->slots[i], true);
}

static bool is_expired(const struct rail_connection *connection, int64_t now_ms)
{
	/* An upstream's answer is awaited with a deadline of its own. */
	if (connection->pending_count != 0 && connection->output_size == 0)
		return false;
	return now_ms - connection->active_ms >= IDLE_MS ||
	       now_ms - connection->message_ms >= MESSAGE_MS;
}

static void on_tick(void *context)
{
	struct rail_tcp *tcp = context;
	int64_t now_ms = rail_monotonic_ms();

	for (size_t i = 0; i < RAIL_CONNECTIONS_MAXIMUM; i++)
		if (tcp->slots[i] != NULL && is_expired(tcp->slots[i], now_ms))
			rail_connection_close(tcp->slots[i], true);
	if (tcp->paused) {
		struct rail_worker_pod *pod;

		tcp->paused = false;

		LIST_FOREACH(pod, &tcp->worker->pod_list, list)
		rail_tcp_accept_more(pod, true);
	}
	if (tcp->count != 0 || tcp->paused)
		rail_timer_ensure(tcp->tick, TICK_MS);
}

int rail_tcp_open(struct rail_worker_pod *pod, struct rail_error *error)
{
	pod->accepts = true;
	return rail_loop_watch(pod->worker->loop, pod->tcp, EPOLLIN, on_listener, pod,
			       &pod->tcp_source, error);
}

void rail_tcp_stop(struct rail_worker_pod *pod)
{
	rail_source_remove(&pod->tcp_source);
}

void rail_tcp_drain(struct rail_tcp *tcp)
{
	tcp->drains = true;
	for (size_t i = 0; i < RAIL_CONNECTIONS_MAXIMUM; i++) {
		struct rail_connection *connection = tcp->slots[i];

		if (connection == NULL)
			continue;
		/* What has come already is still answered. */
		if ((connection->events & EPOLLIN) != 0)
			rail_connection_read(connection);
		if (tcp->slots[i] == connection && !connection->is_fresh)
			rail_connection_end(connection);
	}
}

void rail_tcp_drain_fresh(struct rail_tcp *tcp)
{
	for (size_t i = 0; i < RAIL_CONNECTIONS_MAXIMUM; i++) {
		struct rail_connection *connection = tcp->slots[i];

		if (connection != NULL && connection->is_fresh)
			rail_connection_end(connection);
	}
}

void rail_tcp_close(struct rail_worker_pod *pod)
{
	/* First, for a connection that closes has the pod accept the next one. */
	rail_source_remove(&pod->tcp_source);
	if (pod->connection_count != 0)
		close_connections(pod->worker->tcp, pod);
	if (pod->tcp >= 0)
		(void)close(pod->tcp);
	pod->tcp = -EBADF;
}

int rail_tcp_new(struct rail_worker *worker, struct rail_tcp **ret_tcp, struct rail_error *error)
{
	struct rail_tcp *tcp = calloc(1, sizeof(*tcp));

	if (tcp == NULL)
		return rail_fail(error, ENOMEM, "no memory for connections");
	tcp->worker = worker;

	int result = rail_loop_timer(worker->loop, on_tick, tcp, &tcp->tick, error);

	if (result < 0) {
		free(tcp);
		return result;
	}
	*ret_tcp = tcp;
	return 0;
}

size_t rail_tcp_count(const struct rail_tcp *tcp)
{
	return tcp->count;
}

void rail_tcp_free(struct rail_tcp *tcp)
{
	if (tcp == NULL)
		return;
	close_connections(tcp, NULL);
	rail_timer_remove(&tcp->tick);
	free(tcp);
}
