#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>

#include "pkg/base/cleanup.h"
#include "pkg/base/file.h"
#include "pkg/base/pause.h"
#include "plugins/railway-dns/resolverd/worker_tcp.h"

/*
 * DNS over TCP (RFC 7766): messages behind two bytes of length, any number on a connection,
 * answered in whatever order the answers come. When a client has sent all that it will, its
 * connection ends behind the last answer (RFC 1035 4.2.2).
 */

enum {
	PENDING_MAXIMUM = 16, /* forwarded queries of a connection; then it is not read from */
	UNSENT_MAXIMUM = 256 * 1024,
	UNSENT_OF_ALL_MAXIMUM = 32 * 1024 * 1024,
};

static void count_unsent(struct rail_connection *connection, size_t capacity)
{
	struct rail_tcp *tcp = connection->tcp;
	struct rail_worker_environment *environment = connection->pod->environment;

	tcp->unsent_size = tcp->unsent_size - connection->output_capacity + capacity;
	environment->unsent_size =
		environment->unsent_size - connection->output_capacity + capacity;
	connection->output_capacity = capacity;
}

void rail_connection_close(struct rail_connection *connection, bool reset)
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
	tcp->slots[rail_connection_slot(connection->id)] = NULL;
	rail_tcp_accept_more(connection->pod, true);
	free(connection->output);
	free(connection);
}

/* Returns false where the connection was closed. */
static bool listen_for(struct rail_connection *connection)
{
	bool reads = connection->output_size == 0 && !connection->ended &&
		     connection->pending_count < PENDING_MAXIMUM;
	uint32_t events = (reads ? (uint32_t)EPOLLIN : 0) |
			  (connection->output_size != 0 ? (uint32_t)EPOLLOUT : 0);

	if (connection->ended && connection->output_size == 0 && connection->pending_count == 0) {
		rail_connection_close(connection, false);
		return false;
	}
	if (events == connection->events)
		return true;
	if (rail_source_change(connection->source, events, NULL) < 0) {
		rail_connection_close(connection, true);
		return false;
	}
	connection->events = events;
	return true;
}

/* Keeps what the socket did not take. */
static int keep_output(struct rail_connection *connection, const uint8_t *bytes, size_t size)
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
static bool send_framed(struct rail_connection *connection, uint8_t *framed, size_t size)
{
	size_t whole = size + 2;
	size_t done = 0;

	framed[0] = (uint8_t)(size >> 8);
	framed[1] = (uint8_t)size;
	if (connection->output_size == 0) {
		ssize_t sent = send(connection->fd, framed, whole, MSG_DONTWAIT | MSG_NOSIGNAL);

		if (sent < 0 && errno != EWOULDBLOCK && errno != EINTR) {
			rail_connection_close(connection, true);
			return false;
		}
		done = sent < 0 ? 0 : (size_t)sent;
	}
	if (done != 0)
		connection->active_ms = rail_monotonic_ms();
	if (done < whole && keep_output(connection, framed + done, whole - done) < 0) {
		rail_connection_close(connection, true);
		return false;
	}
	return true;
}

static bool handle_message(struct rail_connection *connection, const uint8_t *query,
			   size_t query_size)
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
static bool handle_input(struct rail_connection *connection)
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

void rail_connection_read(struct rail_connection *connection)
{
	/* There is room: a frame that fills the buffer is whole, and was handled. */
	ssize_t size = recv(connection->fd, connection->input + connection->input_size,
			    sizeof(connection->input) - connection->input_size, MSG_DONTWAIT);

	if (size < 0 && (errno == EWOULDBLOCK || errno == EINTR))
		return;
	if (size < 0) {
		rail_connection_close(connection, true);
		return;
	}
	if (size == 0) {
		rail_connection_end(connection);
		return;
	}
	connection->input_size += (size_t)size;
	connection->active_ms = rail_monotonic_ms();
	(void)handle_input(connection);
}

static void write_output(struct rail_connection *connection)
{
	ssize_t sent = send(connection->fd, connection->output, connection->output_size,
			    MSG_DONTWAIT | MSG_NOSIGNAL);

	if (sent < 0 && (errno == EWOULDBLOCK || errno == EINTR))
		return;
	if (sent < 0) {
		rail_connection_close(connection, true);
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
	struct rail_connection *connection = context;
	const struct rail_worker *worker = connection->tcp->worker;

	rail_worker_take_up(worker, connection->pod->id);
	/* Both directions are over, or the peer reset it. */
	if ((events & (EPOLLERR | EPOLLHUP)) != 0)
		rail_connection_close(connection, true);
	else if ((events & EPOLLOUT) != 0)
		write_output(connection);
	else if ((connection->events & EPOLLIN) != 0)
		rail_connection_read(connection);
	rail_worker_put_down(worker);
}

void rail_tcp_reply(struct rail_tcp *tcp, uint64_t id, uint8_t *framed, size_t size)
{
	struct rail_connection *connection = tcp->slots[rail_connection_slot(id)];

	if (connection == NULL || connection->id != id)
		return;
	connection->pending_count--;
	connection->message_ms = rail_monotonic_ms();
	connection->active_ms = connection->message_ms;
	if (size == 0 || send_framed(connection, framed, size))
		(void)handle_input(connection);
}

bool rail_connection_is_idle(const struct rail_connection *connection)
{
	return connection->pending_count == 0 && connection->output_size == 0 &&
	       connection->input_size == 0;
}

void rail_connection_end(struct rail_connection *connection)
{
	connection->ended = true;
	(void)listen_for(connection);
}

int rail_connection_start(struct rail_connection *connection)
{
	connection->events = EPOLLIN;
	return rail_loop_watch(connection->tcp->worker->loop, connection->fd, EPOLLIN,
			       on_connection, connection, &connection->source, NULL);
}
