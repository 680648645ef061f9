#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>

#include "pkg/base/cleanup.h"
#include "pkg/base/file.h"
#include "pkg/base/pause.h"
#include "plugins/railway-dns/resolverd/worker_internal.h"

/*
 * DNS over TCP (RFC 7766): messages behind two bytes of length, any number on a connection,
 * answered in whatever order the answers come. When a client has sent all that it will, its
 * connection ends behind the last answer (RFC 1035 4.2.2).
 */

enum {
	ACCEPTS_A_WAKE = 16,
	IDLE_MS = 5000,	    /* without a byte in either direction */
	MESSAGE_MS = 10000, /* without a whole message */
	TICK_MS = 1000,
	PENDING_MAXIMUM = 16, /* forwarded queries of a connection; then it is not read from */
	UNSENT_MAXIMUM = 256 * 1024,
	UNSENT_OF_ALL_MAXIMUM = 32 * 1024 * 1024,
	SLOT_BITS = 10,
};

_Static_assert(1 << SLOT_BITS == RAIL_CONNECTIONS_MAXIMUM, "a connection's number holds its slot");

struct connection {
	struct rail_tcp *tcp;
	struct rail_worker_pod *pod;
	uint64_t id; /* slot, and how often it has been used: never 0, never given twice */
	int fd;	     /* negative: the slot is free */
	struct rail_source *source;
	uint32_t events;
	int64_t active_ms;  /* the last byte in either direction */
	int64_t message_ms; /* the last whole message, or the beginning */
	size_t pending_count;
	bool ended;    /* nothing more is read: it goes when all is answered and sent */
	bool is_fresh; /* it has brought no whole message yet */
	uint8_t input[2 + RAIL_QUERY_SIZE_MAXIMUM];
	size_t input_size;
	uint8_t *output; /* what the socket did not take */
	size_t output_size;
	size_t output_capacity;
};

struct rail_tcp {
	struct rail_worker *worker;
	struct rail_timer *tick;
	bool paused; /* some pod does not accept at the moment */
	bool drains;
	size_t count;
	size_t unsent_size;
	uint8_t framed[2 + RAIL_DNS_MESSAGE_MAXIMUM];
	struct connection *slots[RAIL_CONNECTIONS_MAXIMUM];
	uint64_t uses;
};

static void accept_more(struct rail_worker_pod *pod, bool accepts)
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

static size_t slot_of(uint64_t id)
{
	return id & (RAIL_CONNECTIONS_MAXIMUM - 1);
}

static void count_unsent(struct connection *connection, size_t capacity)
{
	struct rail_tcp *tcp = connection->tcp;
	struct rail_worker_environment *environment = connection->pod->environment;

	tcp->unsent_size = tcp->unsent_size - connection->output_capacity + capacity;
	environment->unsent_size =
		environment->unsent_size - connection->output_capacity + capacity;
	connection->output_capacity = capacity;
}

/* reset: what was not sent yet is thrown away, and nothing of the connection stays anywhere. */
static void close_connection(struct connection *connection, bool reset)
{
	struct rail_tcp *tcp = connection->tcp;
	const struct linger now = {.l_onoff = 1};

	if (reset)
		(void)setsockopt(connection->fd, SOL_SOCKET, SO_LINGER, &now, sizeof(now));
	rail_source_remove(&connection->source);
	(void)close(connection->fd);
	count_unsent(connection, 0);
	connection->pod->connection_count--;
	connection->pod->environment->connection_count--;
	tcp->count--;
	tcp->slots[slot_of(connection->id)] = NULL;
	accept_more(connection->pod, true);
	free(connection->output);
	free(connection);
}

/* Returns false where the connection was closed. */
static bool listen_for(struct connection *connection)
{
	bool reads = connection->output_size == 0 && !connection->ended &&
		     connection->pending_count < PENDING_MAXIMUM;
	uint32_t events = (reads ? (uint32_t)EPOLLIN : 0) |
			  (connection->output_size != 0 ? (uint32_t)EPOLLOUT : 0);

	if (connection->ended && connection->output_size == 0 && connection->pending_count == 0) {
		close_connection(connection, false);
		return false;
	}
	if (events == connection->events)
		return true;
	if (rail_source_change(connection->source, events, NULL) < 0) {
		close_connection(connection, true);
		return false;
	}
	connection->events = events;
	return true;
}

/* Keeps what the socket did not take. */
static int keep_output(struct connection *connection, const uint8_t *bytes, size_t size)
{
	size_t needed = connection->output_size + size;

	if (needed > UNSENT_MAXIMUM)
		return -ENOBUFS;
	if (needed > connection->output_capacity) {
		const struct rail_tcp *tcp = connection->tcp;
		size_t more = needed - connection->output_capacity;
		size_t own = connection->pod->environment->unsent_size + more;

		if (tcp->unsent_size + more > UNSENT_OF_ALL_MAXIMUM ||
		    !rail_worker_is_fair(own, UNSENT_OF_ALL_MAXIMUM - tcp->unsent_size))
			return -ENOBUFS;

		uint8_t *larger = realloc(connection->output, needed);

		if (larger == NULL)
			return -ENOMEM;
		connection->output = larger;
		count_unsent(connection, needed);
	}
	memcpy(connection->output + connection->output_size, bytes, size);
	connection->output_size = needed;
	return 0;
}

/* Sends an answer, which begins behind the two bytes that this sets. Returns false where the
 * connection was closed. */
static bool send_framed(struct connection *connection, uint8_t *framed, size_t size)
{
	size_t whole = size + 2;
	size_t done = 0;

	framed[0] = (uint8_t)(size >> 8);
	framed[1] = (uint8_t)size;
	if (connection->output_size == 0) {
		ssize_t sent = send(connection->fd, framed, whole, MSG_DONTWAIT | MSG_NOSIGNAL);

		if (sent < 0 && errno != EWOULDBLOCK && errno != EINTR) {
			close_connection(connection, true);
			return false;
		}
		done = sent < 0 ? 0 : (size_t)sent;
	}
	if (done != 0)
		connection->active_ms = rail_monotonic_ms();
	if (done < whole && keep_output(connection, framed + done, whole - done) < 0) {
		close_connection(connection, true);
		return false;
	}
	return true;
}

static bool handle_message(struct connection *connection, const uint8_t *query, size_t query_size)
{
	struct rail_worker_pod *pod = connection->pod;
	const struct rail_dns_options options = {.ttl_s = pod->ttl_s, .tcp = true};
	const struct rail_forward_client waiting = {.connection = connection->id};
	uint8_t *framed = connection->tcp->framed;
	int64_t start_us = rail_worker_now_us();
	size_t size = 0;

	rail_crash(query, query_size);
	switch (rail_dns_answer(pod->environment->zone, &options, query, query_size, framed + 2,
				RAIL_DNS_MESSAGE_MAXIMUM, &size)) {
	case RAIL_DNS_DROP:
		rail_worker_count(pod->worker, RAIL_METRICS_DROPPED);
		return true;
	case RAIL_DNS_ANSWER:
		break;
	case RAIL_DNS_FORWARD:
		if (rail_forward_query(pod, &waiting, query, query_size, framed + 2,
				       RAIL_DNS_MESSAGE_MAXIMUM, &size) < 0) {
			size = rail_dns_error(query, query_size, RAIL_DNS_SERVFAIL, framed + 2,
					      RAIL_DNS_MESSAGE_MAXIMUM);
		} else if (size == 0) {
			connection->pending_count++;
			return true;
		}
		break;
	}
	if (size == 0)
		return true;

	const struct rail_query_note note = {
		.query = query,
		.query_size = query_size,
		.answer = framed + 2,
		.answer_size = size,
		.duration_us = rail_worker_now_us() - start_us,
		.tcp = true,
	};

	rail_metrics_count_answer(pod->environment->metrics, framed + 2, size);
	rail_metrics_observe(&pod->worker->metrics->latencies[RAIL_METRICS_LOCAL],
			     (uint64_t)note.duration_us, 1);
	rail_queries_note(pod, &note);
	return send_framed(connection, framed, size);
}

/* Handles the whole messages that were read, as long as their answers can go out. Returns false
 * where the connection was closed. */
static bool handle_input(struct connection *connection)
{
	size_t position = 0;

	while (connection->output_size == 0 && connection->pending_count < PENDING_MAXIMUM &&
	       connection->input_size - position >= 2) {
		const uint8_t *frame = connection->input + position;
		size_t size = (size_t)frame[0] << 8 | frame[1];

		/* What follows is not to be understood any more. */
		if (size == 0 || size > RAIL_QUERY_SIZE_MAXIMUM) {
			rail_worker_count(connection->tcp->worker, RAIL_METRICS_DROPPED);
			position = connection->input_size;
			connection->ended = true;
			break;
		}
		if (connection->input_size - position - 2 < size)
			break;
		connection->message_ms = rail_monotonic_ms();
		connection->is_fresh = false;
		if (!handle_message(connection, frame + 2, size))
			return false;
		position += 2 + size;
	}
	connection->input_size -= position;
	memmove(connection->input, connection->input + position, connection->input_size);
	if (connection->tcp->drains && !connection->is_fresh)
		connection->ended = true;
	return listen_for(connection);
}

static void read_input(struct connection *connection)
{
	/* There is room: a frame that fills the buffer is whole, and was handled. */
	ssize_t size = recv(connection->fd, connection->input + connection->input_size,
			    sizeof(connection->input) - connection->input_size, MSG_DONTWAIT);

	if (size < 0 && (errno == EWOULDBLOCK || errno == EINTR))
		return;
	if (size < 0) {
		close_connection(connection, true);
		return;
	}
	if (size == 0) {
		connection->ended = true;
		(void)listen_for(connection);
		return;
	}
	connection->input_size += (size_t)size;
	connection->active_ms = rail_monotonic_ms();
	(void)handle_input(connection);
}

static void write_output(struct connection *connection)
{
	ssize_t sent = send(connection->fd, connection->output, connection->output_size,
			    MSG_DONTWAIT | MSG_NOSIGNAL);

	if (sent < 0 && (errno == EWOULDBLOCK || errno == EINTR))
		return;
	if (sent < 0) {
		close_connection(connection, true);
		return;
	}
	connection->active_ms = rail_monotonic_ms();
	connection->output_size -= (size_t)sent;
	memmove(connection->output, connection->output + sent, connection->output_size);
	if (connection->output_size == 0) {
		free(RAIL_TAKE_POINTER(connection->output));
		count_unsent(connection, 0);
		/* Messages that were read before the client stopped taking answers. */
		(void)handle_input(connection);
	}
}

static void on_connection(void *context, uint32_t events)
{
	struct connection *connection = context;
	const struct rail_worker *worker = connection->tcp->worker;

	rail_worker_take_up(worker, connection->pod->id);
	/* Both directions are over, or the peer reset it. */
	if ((events & (EPOLLERR | EPOLLHUP)) != 0)
		close_connection(connection, true);
	else if ((events & EPOLLOUT) != 0)
		write_output(connection);
	else if ((connection->events & EPOLLIN) != 0)
		read_input(connection);
	rail_worker_put_down(worker);
}

void rail_tcp_reply(struct rail_tcp *tcp, uint64_t id, uint8_t *framed, size_t size)
{
	struct connection *connection = tcp->slots[slot_of(id)];

	if (connection == NULL || connection->id != id)
		return;
	connection->pending_count--;
	connection->message_ms = rail_monotonic_ms();
	connection->active_ms = connection->message_ms;
	if (size == 0 || send_framed(connection, framed, size))
		(void)handle_input(connection);
}

static bool is_idle(const struct connection *connection)
{
	return connection->pending_count == 0 && connection->output_size == 0 &&
	       connection->input_size == 0;
}

/* Of an environment's connections (pod NULL: of all its pods) the one that has been idle for
 * longest, or NULL; busy: of those that are not idle. */
static struct connection *find_idlest(const struct rail_tcp *tcp,
				      const struct rail_worker_environment *environment,
				      const struct rail_worker_pod *pod, bool busy)
{
	struct connection *idlest = NULL;

	for (size_t i = 0; i < RAIL_CONNECTIONS_MAXIMUM; i++) {
		struct connection *connection = tcp->slots[i];

		if (connection == NULL || connection->pod->environment != environment ||
		    (pod != NULL && connection->pod != pod) || is_idle(connection) == busy)
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
		const struct connection *connection = tcp->slots[i];

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
	struct connection *victim;

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
	close_connection(victim, true);
	return true;
}

/* Consumes fd. */
static void welcome(struct rail_worker_pod *pod, int accepted)
{
	struct rail_tcp *tcp = pod->worker->tcp;
	RAIL_CLOSE int fd = accepted;
	RAIL_FREE struct connection *connection = calloc(1, sizeof(*connection));
	size_t slot = 0;

	if (connection == NULL)
		return;
	while (tcp->slots[slot] != NULL)
		slot++;
	connection->tcp = tcp;
	connection->pod = pod;
	connection->fd = fd;
	connection->is_fresh = true;
	connection->id = ++tcp->uses << SLOT_BITS | slot;
	connection->events = EPOLLIN;
	connection->active_ms = rail_monotonic_ms();
	connection->message_ms = connection->active_ms;
	if (rail_loop_watch(pod->worker->loop, fd, EPOLLIN, on_connection, connection,
			    &connection->source, NULL) < 0)
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
				accept_more(pod, false);
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
			accept_more(pod, false);
		}
		return;
	}
}

/* pod NULL: of all pods. */
static void close_connections(struct rail_tcp *tcp, const struct rail_worker_pod *pod)
{
	for (size_t i = 0; i < RAIL_CONNECTIONS_MAXIMUM; i++)
		if (tcp->slots[i] != NULL && (pod == NULL || tcp->slots[i]->pod == pod))
			close_connection(tcp->slots[i], true);
}

static bool is_expired(const struct connection *connection, int64_t now_ms)
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
			close_connection(tcp->slots[i], true);
	if (tcp->paused) {
		struct rail_worker_pod *pod;

		tcp->paused = false;

		LIST_FOREACH(pod, &tcp->worker->pod_list, list)
		accept_more(pod, true);
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
		struct connection *connection = tcp->slots[i];

		if (connection == NULL)
			continue;
		/* What has come already is still answered. */
		if ((connection->events & EPOLLIN) != 0)
			read_input(connection);
		if (tcp->slots[i] == connection && !connection->is_fresh) {
			connection->ended = true;
			(void)listen_for(connection);
		}
	}
}

void rail_tcp_drain_fresh(struct rail_tcp *tcp)
{
	for (size_t i = 0; i < RAIL_CONNECTIONS_MAXIMUM; i++) {
		struct connection *connection = tcp->slots[i];

		if (connection != NULL && connection->is_fresh) {
			connection->ended = true;
			(void)listen_for(connection);
		}
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
