#include "plugins/railway-dns/resolverd/clients.h"

#include <errno.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>

#include "pkg/base/cleanup.h"
#include "pkg/base/file.h"
#include "pkg/base/listener.h"
#include "pkg/base/log.h"

enum {
	CLIENTS_MAXIMUM = 64, /* more wait in the kernel's queue */
	REQUEST_MS = 5000,    /* from connecting to the whole request */
	/* Until the worker has confirmed: less than a plugin waits, so that it hears why. */
	ANSWER_MS = RAIL_REGISTRATION_DEADLINE_MS - 2000,
	TICK_MS = 500,
	DESCRIPTORS_MAXIMUM = 4, /* that are looked at; the kernel closes what is beyond */
};

struct client {
	struct rail_clients *clients;
	int fd; /* negative: the slot is free */
	struct rail_source *source;
	int64_t deadline_ms;
	bool waits; /* for the worker; before that, for the request */
	struct rail_registration_request request;
	uint64_t pod;	   /* of ADD and CHECK */
	uint64_t sequence; /* whose answer it waits for; 0: for a worker */
};

struct rail_clients {
	struct rail_loop *loop;
	struct rail_pods *pods;
	struct rail_worker_process *worker;
	struct rail_listener listener;
	struct rail_source *listener_source;
	bool accepts;
	struct rail_timer *tick;
	struct client slots[CLIENTS_MAXIMUM];
	size_t count;
	rail_clients_hand_over hand_over;
	void *hand_over_context;
	bool handed_over;
};

static void accept_more(struct rail_clients *clients, bool accepts)
{
	if (clients->listener_source != NULL && clients->accepts != accepts &&
	    rail_source_change(clients->listener_source, accepts ? EPOLLIN : 0, NULL) == 0)
		clients->accepts = accepts;
}

static void close_client(struct client *client)
{
	rail_source_remove(&client->source);
	(void)close(client->fd);
	client->fd = -EBADF;
	client->clients->count--;
	accept_more(client->clients, true);
}

static const char *kind_name(enum rail_registration_kind kind)
{
	static const char *const names[] = {
		[RAIL_REGISTRATION_ADD] = "ADD",
		[RAIL_REGISTRATION_REMOVE] = "REMOVE",
		[RAIL_REGISTRATION_CHECK] = "CHECK",
		[RAIL_REGISTRATION_STATUS] = "STATUS",
		[RAIL_REGISTRATION_HAND_OVER] = "HAND_OVER",
		[RAIL_REGISTRATION_MEMBERS] = "MEMBERS",
	};

	return names[kind];
}

static void log_outcome(const struct rail_registration_request *request,
			const struct rail_error *outcome)
{
	const struct rail_attachment_key *key = &request->key;
	bool has_key = *key->container_id != '\0';
	bool failed = outcome->errnum != 0;

	if (!failed && request->kind != RAIL_REGISTRATION_ADD &&
	    request->kind != RAIL_REGISTRATION_REMOVE)
		return;
	rail_log(failed ? RAIL_LOG_WARN : RAIL_LOG_INFO,
		 failed ? "a request failed" : "a request is done", "request",
		 kind_name(request->kind), "network", has_key ? key->network : NULL, "container",
		 has_key ? key->container_id : NULL, "interface", has_key ? key->interface : NULL,
		 "error", failed ? outcome->message : NULL, NULL);
}

/* Answers and closes. The answer fits any socket's empty buffer. */
static void reply(struct client *client, const struct rail_error *outcome)
{
	uint8_t bytes[RAIL_REGISTRATION_MESSAGE_SIZE];
	int size = rail_registration_encode_reply(outcome, bytes, sizeof(bytes));

	if (size > 0)
		(void)send(client->fd, bytes, (size_t)size, MSG_DONTWAIT | MSG_NOSIGNAL);
	close_client(client);
}

static void finish(struct client *client, const struct rail_error *outcome)
{
	log_outcome(&client->request, outcome);
	reply(client, outcome);
}

static void fail(struct client *client, int code, int errnum, const char *message)
{
	struct rail_error outcome;

	(void)rail_fail_code(&outcome, code, errnum, "%s", message);
	finish(client, &outcome);
}

/* Where an ADD could not be confirmed nothing of it stays. */
static void undo(struct client *client)
{
	if (client->request.kind == RAIL_REGISTRATION_ADD &&
	    rail_pods_find(client->clients->pods, &client->request.key) == client->pod)
		(void)rail_pods_unregister(client->clients->pods, &client->request.key);
}

static void ask_worker(struct client *client)
{
	struct rail_clients *clients = client->clients;

	client->waits = true;
	client->sequence = rail_worker_process_is_up(clients->worker)
				   ? rail_worker_process_barrier(clients->worker, client->pod)
				   : 0;
}

static void handle_remove(struct client *client)
{
	struct rail_clients *clients = client->clients;

	/* Without a worker nobody holds the pod's sockets any more. */
	if (!rail_pods_unregister(clients->pods, &client->request.key) ||
	    !rail_worker_process_exists(clients->worker))
		finish(client, &RAIL_ERROR_NONE);
	else
		ask_worker(client);
}

static void handle_hand_over(struct client *client)
{
	struct rail_clients *clients = client->clients;

	/* What is registered now would be missing from what is handed over. */
	if (clients->count != 1 || clients->hand_over == NULL) {
		fail(client, RAIL_CODE_TRY_AGAIN, EAGAIN, "railway-resolverd is at work");
		return;
	}
	if (clients->hand_over(clients->hand_over_context, client->fd, &clients->listener)) {
		clients->handed_over = true;
		rail_source_remove(&clients->listener_source);
	}
	close_client(client);
}

static void handle(struct client *client, int netns_fd)
{
	struct rail_clients *clients = client->clients;
	struct rail_error error = RAIL_ERROR_NONE;

	client->deadline_ms = rail_monotonic_ms() + ANSWER_MS;
	switch (client->request.kind) {
	case RAIL_REGISTRATION_ADD:
		if (rail_pods_register(clients->pods, &client->request.key, netns_fd, &client->pod,
				       &error) < 0)
			finish(client, &error);
		else
			ask_worker(client);
		break;
	case RAIL_REGISTRATION_REMOVE:
		handle_remove(client);
		break;
	case RAIL_REGISTRATION_CHECK:
		client->pod = rail_pods_find(clients->pods, &client->request.key);
		if (client->pod == 0)
			fail(client, RAIL_CODE_CHECK_FAILED, ENOENT,
			     "the attachment is not registered with railway-resolverd");
		else
			ask_worker(client);
		break;
	case RAIL_REGISTRATION_STATUS:
		ask_worker(client);
		break;
	case RAIL_REGISTRATION_HAND_OVER:
		handle_hand_over(client);
		break;
	case RAIL_REGISTRATION_MEMBERS:
		/* A worker that is not up gets everything when it comes. */
		if (rail_pods_members_changed(clients->pods, &client->request, &error) < 0 ||
		    !rail_worker_process_is_up(clients->worker))
			finish(client, &error);
		else
			ask_worker(client);
		break;
	}
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

static void receive(struct client *client)
{
	uint8_t bytes[RAIL_REGISTRATION_MESSAGE_SIZE];
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
	RAIL_CLOSE int netns_fd = -EBADF;
	ssize_t size = recvmsg(client->fd, &message, MSG_DONTWAIT | MSG_CMSG_CLOEXEC);

	if (size < 0 && (errno == EWOULDBLOCK || errno == EINTR))
		return;
	if (size <= 0) {
		close_client(client);
		return;
	}

	int fd_count = take_descriptors(&message, &netns_fd);
	int result = (message.msg_flags & MSG_TRUNC) != 0
			     ? -EBADMSG
			     : rail_registration_decode(bytes, (size_t)size, &client->request);
	struct rail_error error = RAIL_ERROR_NONE;

	if (result == -EPROTO)
		(void)rail_fail(&error, EPROTO,
				"railway-resolverd speaks version %d of the registration protocol "
				"and was asked in version %d: install plugins and daemon of one "
				"release",
				RAIL_REGISTRATION_VERSION, (int)bytes[0]);
	else if (result < 0)
		(void)rail_fail(&error, EBADMSG, "the request is malformed");
	else if (fd_count != (client->request.kind == RAIL_REGISTRATION_ADD ? 1 : 0))
		(void)rail_fail(&error, EBADMSG, "the request has %d descriptors", fd_count);
	if (error.errnum == 0) {
		handle(client, netns_fd);
		return;
	}
	rail_log(RAIL_LOG_WARN, "a request is refused", "error", error.message, NULL);
	reply(client, &error);
}

static void on_client(void *context, uint32_t events)
{
	struct client *client = context;

	/* One that waits for its answer has nothing more to say: this is its end, or it should be.
	 */
	if (client->waits || (events & EPOLLIN) == 0)
		close_client(client);
	else
		receive(client);
}

static int check_peer(int fd, struct rail_error *error)
{
	struct ucred peer;
	socklen_t size = sizeof(peer);

	if (getsockopt(fd, SOL_SOCKET, SO_PEERCRED, &peer, &size) < 0)
		return rail_fail_errno(error, errno, "ask who asks");
	if (peer.uid != 0 && peer.uid != geteuid())
		return rail_fail(error, EPERM, "only root may ask the resolver; user %u asked",
				 (unsigned int)peer.uid);
	return 0;
}

static void welcome(struct rail_clients *clients, int fd)
{
	struct rail_error error = RAIL_ERROR_NONE;
	struct client *client = clients->slots;

	while (client->fd >= 0)
		client++;
	*client = (struct client){
		.clients = clients, .fd = fd, .deadline_ms = rail_monotonic_ms() + REQUEST_MS};
	clients->count++;
	if (check_peer(fd, &error) < 0) {
		rail_log(RAIL_LOG_WARN, "a request is refused", "error", error.message, NULL);
		reply(client, &error);
	} else if (rail_loop_watch(clients->loop, fd, EPOLLIN, on_client, client, &client->source,
				   &error) < 0) {
		reply(client, &error);
	}
}

static void on_tick(void *context);

static void on_listener(void *context, uint32_t events)
{
	struct rail_clients *clients = context;

	(void)events;
	while (clients->count < CLIENTS_MAXIMUM) {
		int fd =
			accept4(clients->listener.socket, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK);

		if (fd < 0 && (errno == EWOULDBLOCK || errno == EINTR || errno == ECONNABORTED))
			break;
		if (fd < 0) {
			/* Out of descriptors or memory: not at once again. */
			rail_log(RAIL_LOG_ERROR, "a connection cannot be accepted", "error",
				 strerrordesc_np(errno), NULL);
			accept_more(clients, false);
			break;
		}
		welcome(clients, fd);
	}
	if (clients->count == CLIENTS_MAXIMUM)
		accept_more(clients, false);
	rail_timer_start(clients->tick, TICK_MS);
}

static void on_tick(void *context)
{
	struct rail_clients *clients = context;
	int64_t now_ms = rail_monotonic_ms();

	for (int i = 0; i < CLIENTS_MAXIMUM; i++) {
		struct client *client = &clients->slots[i];

		if (client->fd < 0 || client->deadline_ms > now_ms)
			continue;
		if (!client->waits) {
			close_client(client);
			continue;
		}
		undo(client);
		fail(client, RAIL_CODE_TRY_AGAIN, ETIMEDOUT,
		     "railway-resolverd's worker did not confirm in time; see the daemon's log");
	}
	if (clients->count < CLIENTS_MAXIMUM)
		accept_more(clients, true);
	if (clients->count != 0 || !clients->accepts)
		rail_timer_start(clients->tick, TICK_MS);
}

void rail_clients_worker_up(struct rail_clients *clients)
{
	for (int i = 0; i < CLIENTS_MAXIMUM; i++)
		if (clients->slots[i].fd >= 0 && clients->slots[i].waits)
			ask_worker(&clients->slots[i]);
}

void rail_clients_worker_down(struct rail_clients *clients)
{
	for (int i = 0; i < CLIENTS_MAXIMUM; i++) {
		struct client *client = &clients->slots[i];

		if (client->fd < 0 || !client->waits)
			continue;
		client->sequence = 0;
		if (client->request.kind == RAIL_REGISTRATION_REMOVE)
			finish(client, &RAIL_ERROR_NONE);
	}
}

void rail_clients_worker_answered(struct rail_clients *clients, uint64_t sequence, bool positive)
{
	for (int i = 0; i < CLIENTS_MAXIMUM; i++) {
		struct client *client = &clients->slots[i];

		if (client->fd < 0 || !client->waits || client->sequence != sequence)
			continue;
		if (positive) {
			finish(client, &RAIL_ERROR_NONE);
		} else if (client->request.kind == RAIL_REGISTRATION_CHECK) {
			fail(client, RAIL_CODE_CHECK_FAILED, ENOENT,
			     "railway-resolverd's worker does not serve the attachment");
		} else {
			undo(client);
			fail(client, RAIL_CODE_TRY_AGAIN, EIO,
			     "railway-resolverd's worker cannot serve the attachment; see the "
			     "daemon's log");
		}
		return;
	}
}

int rail_clients_adopt(struct rail_loop *loop, struct rail_listener *listener,
		       struct rail_clients **ret_clients, struct rail_error *error)
{
	struct rail_clients *clients = calloc(1, sizeof(*clients));

	if (clients == NULL)
		return rail_fail(error, ENOMEM, "no memory for the registration socket");
	clients->loop = loop;
	for (int i = 0; i < CLIENTS_MAXIMUM; i++)
		clients->slots[i].fd = -EBADF;
	clients->listener = *listener;
	*listener = RAIL_LISTENER_CLOSED;
	*ret_clients = clients;
	return 0;
}

int rail_clients_listen(struct rail_loop *loop, const char *path, struct rail_clients **ret_clients,
			struct rail_error *error)
{
	struct rail_listener listener = RAIL_LISTENER_CLOSED;
	int result = rail_listener_open(path, "resolverSocket", &listener, error);

	if (result == 0)
		result = rail_clients_adopt(loop, &listener, ret_clients, error);
	rail_listener_close(&listener);
	return result;
}

void rail_clients_hand_back(struct rail_clients *clients)
{
	clients->handed_over = true;
}

void rail_clients_on_hand_over(struct rail_clients *clients, rail_clients_hand_over hand_over,
			       void *context)
{
	clients->hand_over = hand_over;
	clients->hand_over_context = context;
}

int rail_clients_serve(struct rail_clients *clients, struct rail_pods *pods,
		       struct rail_worker_process *worker, struct rail_error *error)
{
	clients->pods = pods;
	clients->worker = worker;
	clients->accepts = true;

	int result = rail_loop_timer(clients->loop, on_tick, clients, &clients->tick, error);

	if (result < 0)
		return result;
	return rail_loop_watch(clients->loop, clients->listener.socket, EPOLLIN, on_listener,
			       clients, &clients->listener_source, error);
}

void rail_clients_free(struct rail_clients *clients)
{
	if (clients == NULL)
		return;
	rail_source_remove(&clients->listener_source);
	for (int i = 0; i < CLIENTS_MAXIMUM; i++) {
		struct client *client = &clients->slots[i];

		if (client->fd >= 0) {
			rail_source_remove(&client->source);
			(void)close(client->fd);
		}
	}
	rail_timer_remove(&clients->tick);
	if (clients->handed_over)
		rail_listener_release(&clients->listener);
	else
		rail_listener_close(&clients->listener);
	free(clients);
}
