#include "pkg/base/server.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>

#include "pkg/base/cleanup.h"
#include "pkg/base/file.h"
#include "pkg/base/log.h"

enum {
	REQUEST_MS = 5000,	 /* from connecting to the whole request */
	DESCRIPTORS_MAXIMUM = 4, /* that are looked at; the kernel closes what is beyond */
};

struct rail_client {
	struct rail_server *server;
	int fd; /* negative: the slot is free */
	struct rail_source *source;
	int64_t deadline_ms;
	bool waits; /* for the reply; before that, for the request */
	_Alignas(max_align_t) uint8_t data[];
};

struct rail_server {
	struct rail_loop *loop;
	struct rail_server_options options;
	struct rail_listener listener;
	bool given_away;
	struct rail_source *source;
	bool accepts;
	struct rail_timer *tick;
	uint8_t *slots;
	size_t slot_size;
	size_t count;
};

static struct rail_client *slot_at(const struct rail_server *server, size_t i)
{
	return (struct rail_client *)(void *)(server->slots + i * server->slot_size);
}

static size_t slot_of(const struct rail_client *client)
{
	return (size_t)((const uint8_t *)client - client->server->slots) /
	       client->server->slot_size;
}

static void accept_more(struct rail_server *server, bool accepts)
{
	if (server->source != NULL && server->accepts != accepts &&
	    rail_source_change(server->source, accepts ? EPOLLIN : 0, NULL) == 0)
		server->accepts = accepts;
}

void rail_client_close(struct rail_client *client)
{
	struct rail_server *server = client->server;
	int fd = client->fd;

	/* First: whoever is called back finds it gone. */
	rail_source_remove(&client->source);
	client->fd = -EBADF;
	server->count--;
	if (server->options.hooks.gone != NULL)
		server->options.hooks.gone(server->options.hooks.context, client);
	(void)close(fd);
	accept_more(server, true);
}

void rail_client_reply(struct rail_client *client, const struct rail_error *outcome)
{
	uint8_t bytes[RAIL_ASK_MESSAGE_SIZE];
	int size =
		rail_reply_encode(client->server->options.version, outcome, bytes, sizeof(bytes));

	/* It fits any socket's empty buffer. */
	if (size > 0)
		(void)send(client->fd, bytes, (size_t)size, MSG_DONTWAIT | MSG_NOSIGNAL);
	rail_client_close(client);
}

void rail_client_refuse(struct rail_client *client, const struct rail_error *error)
{
	rail_log(RAIL_LOG_WARN, "a request is refused", "error", error->message, NULL);
	rail_client_reply(client, error);
}

void rail_client_wait(struct rail_client *client, int64_t patience_ms)
{
	client->waits = true;
	client->deadline_ms = rail_monotonic_ms() + patience_ms;
}

void *rail_client_data(struct rail_client *client)
{
	return client->data;
}

int rail_client_fd(const struct rail_client *client)
{
	return client->fd;
}

/* Keeps the first descriptor of a message and closes the others. Returns how many came. */
static int take_descriptors(struct msghdr *message, int *ret_fd)
{
	int count = 0;

	for (struct cmsghdr *header = CMSG_FIRSTHDR(message); header != NULL;
	     header = CMSG_NXTHDR(message, header)) {
		if (header->cmsg_level != SOL_SOCKET || header->cmsg_type != SCM_RIGHTS)
			continue;

		size_t size = header->cmsg_len - CMSG_LEN(0);

		for (size_t position = 0; position + sizeof(int) <= size; position += sizeof(int)) {
			int fd;

			memcpy(&fd, CMSG_DATA(header) + position, sizeof(fd));
			if (count++ == 0)
				*ret_fd = fd;
			else
				(void)close(fd);
		}
	}
	return (message->msg_flags & MSG_CTRUNC) != 0 ? count + 1 : count;
}

static void receive(struct rail_client *client)
{
	uint8_t bytes[RAIL_ASK_MESSAGE_SIZE];
	union {
		struct cmsghdr header;
		char space[CMSG_SPACE(DESCRIPTORS_MAXIMUM * sizeof(int))];
	} control;
	struct iovec part = {.iov_base = bytes, .iov_len = sizeof(bytes)};
	struct msghdr message = {
		.msg_iov = &part,
		.msg_iovlen = 1,
		.msg_control = &control,
		.msg_controllen = sizeof(control.space),
	};
	const struct rail_server_hooks *hooks = &client->server->options.hooks;
	RAIL_CLOSE int fd = -EBADF;
	ssize_t size = recvmsg(client->fd, &message, MSG_DONTWAIT | MSG_CMSG_CLOEXEC);

	if (size < 0 && (errno == EWOULDBLOCK || errno == EINTR))
		return;
	if (size <= 0) {
		rail_client_close(client);
		return;
	}

	int count = take_descriptors(&message, &fd);
	const struct rail_request request = {
		.bytes = (message.msg_flags & MSG_TRUNC) != 0 ? NULL : bytes,
		.size = (size_t)size,
		.descriptor = fd,
		.descriptor_count = count,
	};

	hooks->request(hooks->context, client, &request);
}

static void on_client(void *context, uint32_t events)
{
	struct rail_client *client = context;

	/* One that waits for its reply has nothing more to say: this is its end, or it should be.
	 */
	if (client->waits || (events & EPOLLIN) == 0)
		rail_client_close(client);
	else
		receive(client);
}

static int check_peer(const struct rail_server *server, int fd, struct rail_error *error)
{
	struct ucred peer;
	socklen_t size = sizeof(peer);

	if (getsockopt(fd, SOL_SOCKET, SO_PEERCRED, &peer, &size) < 0)
		return rail_fail_errno(error, errno, "ask who asks");
	if (peer.uid != 0 && peer.uid != geteuid())
		return rail_fail(error, EPERM, "only root may ask %s; user %u asked",
				 server->options.daemon, (unsigned int)peer.uid);
	return 0;
}

/* Of a client that is refused whatever it says. A request that came later or were left unread would
 * take the reply away from it. */
static void discard_requests(int fd)
{
	uint8_t byte;

	(void)shutdown(fd, SHUT_RD);
	while (recv(fd, &byte, sizeof(byte), MSG_DONTWAIT) > 0)
		;
}

static void welcome(struct rail_server *server, int fd)
{
	struct rail_error error = RAIL_ERROR_NONE;
	struct rail_client *client;
	size_t i = 0;

	while (slot_at(server, i)->fd >= 0)
		i++;
	client = slot_at(server, i);
	memset(client, 0, server->slot_size);
	client->server = server;
	client->fd = fd;
	client->deadline_ms = rail_monotonic_ms() + REQUEST_MS;
	server->count++;
	if (check_peer(server, fd, &error) < 0 ||
	    rail_loop_watch(server->loop, fd, EPOLLIN, on_client, client, &client->source, &error) <
		    0) {
		discard_requests(fd);
		rail_client_refuse(client, &error);
	}
}

static void on_listener(void *context, uint32_t events)
{
	struct rail_server *server = context;

	(void)events;
	while (server->count < server->options.client_maximum) {
		int fd = accept4(server->listener.socket, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK);

		if (fd < 0 && (errno == EWOULDBLOCK || errno == EINTR || errno == ECONNABORTED))
			break;
		if (fd < 0) {
			/* Out of descriptors or memory: not at once again. */
			rail_log(RAIL_LOG_ERROR, "a connection cannot be accepted", "error",
				 strerrordesc_np(errno), NULL);
			accept_more(server, false);
			break;
		}
		welcome(server, fd);
	}
	if (server->count == server->options.client_maximum)
		accept_more(server, false);
	rail_timer_ensure(server->tick, server->options.tick_ms);
}

static void look_after(struct rail_client *client, int64_t now_ms)
{
	const struct rail_server_hooks *hooks = &client->server->options.hooks;
	bool is_over = client->deadline_ms <= now_ms;

	if (!client->waits && is_over)
		rail_client_close(client);
	else if (client->waits && is_over)
		hooks->late(hooks->context, client);
	else if (client->waits && hooks->poll != NULL)
		hooks->poll(hooks->context, client);
}

static void on_tick(void *context)
{
	struct rail_server *server = context;
	int64_t now_ms = rail_monotonic_ms();

	for (size_t i = 0; i < server->options.client_maximum; i++)
		if (slot_at(server, i)->fd >= 0)
			look_after(slot_at(server, i), now_ms);
	if (server->count < server->options.client_maximum)
		accept_more(server, true);
	if (server->count != 0 || !server->accepts)
		rail_timer_ensure(server->tick, server->options.tick_ms);
}

struct rail_client *rail_server_next_waiting(struct rail_server *server,
					     const struct rail_client *after)
{
	for (size_t i = after == NULL ? 0 : slot_of(after) + 1; i < server->options.client_maximum;
	     i++)
		if (slot_at(server, i)->fd >= 0 && slot_at(server, i)->waits)
			return slot_at(server, i);
	return NULL;
}

const struct rail_listener *rail_server_listener(const struct rail_server *server)
{
	return &server->listener;
}

size_t rail_server_count(const struct rail_server *server)
{
	return server->count;
}

int rail_server_new(struct rail_loop *loop, struct rail_listener *listener,
		    const struct rail_server_options *options, struct rail_server **ret_server,
		    struct rail_error *error)
{
	struct rail_server *server = calloc(1, sizeof(*server));
	size_t align = _Alignof(struct rail_client);
	size_t slot_size = (sizeof(struct rail_client) + options->data_size + align - 1) & -align;

	if (server != NULL)
		server->slots = calloc(options->client_maximum, slot_size);
	if (server == NULL || server->slots == NULL) {
		free(server);
		return rail_fail(error, ENOMEM, "no memory for clients");
	}
	server->loop = loop;
	server->options = *options;
	server->slot_size = slot_size;
	for (size_t i = 0; i < options->client_maximum; i++)
		slot_at(server, i)->fd = -EBADF;
	server->listener = *listener;
	*listener = RAIL_LISTENER_CLOSED;
	*ret_server = server;
	return 0;
}

int rail_server_serve(struct rail_server *server, struct rail_error *error)
{
	int result = rail_loop_timer(server->loop, on_tick, server, &server->tick, error);

	server->accepts = true;
	return result < 0 ? result
			  : rail_loop_watch(server->loop, server->listener.socket, EPOLLIN,
					    on_listener, server, &server->source, error);
}

void rail_server_give_away(struct rail_server *server)
{
	server->given_away = true;
	rail_source_remove(&server->source);
}

void rail_server_free(struct rail_server *server)
{
	if (server == NULL)
		return;
	rail_source_remove(&server->source);
	for (size_t i = 0; i < server->options.client_maximum; i++)
		if (slot_at(server, i)->fd >= 0)
			rail_client_close(slot_at(server, i));
	rail_timer_remove(&server->tick);
	if (server->given_away)
		rail_listener_release(&server->listener);
	else
		rail_listener_close(&server->listener);
	free(server->slots);
	free(server);
}
