#include "plugins/railway-mesh/meshd/clients.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>

#include "pkg/base/cleanup.h"
#include "pkg/base/file.h"
#include "pkg/base/listener.h"
#include "pkg/base/log.h"
#include "pkg/cluster/request.h"
#include "plugins/railway-mesh/meshd/consensus.h"
#include "plugins/railway-mesh/meshd/environments.h"

enum {
	CLIENTS_MAXIMUM = 256,
	REQUEST_MS = 5000, /* for the whole request to come */
	TICK_MS = 100,
	RETRY_MS = 250, /* after etcd did not answer a request */
};

struct client {
	struct meshd_clients *clients;
	int fd; /* negative: the slot is free */
	struct rail_source *source;
	int64_t deadline_ms;
	bool waits; /* for the cluster; before that, for the request */
	struct rail_mesh_request request;
	struct meshd_consensus *consensus;
	int64_t not_before_ms; /* of asking the cluster again ... */
	struct rail_error
		last; /* ... which did not answer for this reason; errnum 0: not yet asked */
};

struct meshd_clients {
	struct meshd *meshd;
	struct rail_listener listener;
	struct rail_source *listener_source;
	bool accepts;
	struct rail_timer *tick;
	struct client slots[CLIENTS_MAXIMUM];
	size_t count;
};

static void accept_more(struct meshd_clients *clients, bool accepts)
{
	if (clients->accepts != accepts &&
	    rail_source_change(clients->listener_source, accepts ? EPOLLIN : 0, NULL) == 0)
		clients->accepts = accepts;
}

static void close_client(struct client *client)
{
	meshd_consensus_cancel(&client->consensus);
	rail_source_remove(&client->source);
	(void)close(client->fd);
	client->fd = -EBADF;
	client->clients->count--;
	accept_more(client->clients, true);
}

/* Answers and closes. The answer fits any socket's empty buffer. */
static void reply(struct client *client, const struct rail_error *outcome)
{
	uint8_t bytes[RAIL_MESH_MESSAGE_SIZE];
	int size = rail_mesh_encode_reply(outcome, bytes, sizeof(bytes));

	if (size > 0)
		(void)send(client->fd, bytes, (size_t)size, MSG_DONTWAIT | MSG_NOSIGNAL);
	close_client(client);
}

static void on_agreed(void *context, const struct rail_error *outcome)
{
	struct client *client = context;
	struct rail_error error = *outcome;

	client->consensus = NULL;
	/* The plugin has time left, and what was asked bears to be asked twice. */
	if (rail_etcd_may_pass(outcome)) {
		client->last = error;
		client->not_before_ms = rail_monotonic_ms() + RETRY_MS;
		return;
	}
	/* Nothing that etcd or a store could not do now is the configuration's fault. */
	if (error.errnum != 0 && error.code == RAIL_CODE_DERIVED)
		error.code = RAIL_CODE_TRY_AGAIN;
	reply(client, &error);
}

/* Looks whether what a client waits for has come; true where it was answered. */
static bool check(struct client *client)
{
	struct meshd *meshd = client->clients->meshd;
	struct rail_error outcome = RAIL_ERROR_NONE;
	int result = 0;

	switch (client->request.kind) {
	case RAIL_MESH_ENSURE:
	case RAIL_MESH_CLAIM:
		if (client->consensus != NULL || !meshd_is_joined(meshd) ||
		    rail_monotonic_ms() < client->not_before_ms)
			return false;
		if (meshd_consensus_begin(meshd, &client->request, on_agreed, client,
					  &client->consensus, &outcome) < 0)
			reply(client, &outcome);
		return true;
	case RAIL_MESH_PUBLISH:
		result = meshd_environments_published(meshd->environments, &client->request.address,
						      &outcome);
		break;
	case RAIL_MESH_WITHDRAW:
		result =
			meshd_environments_withdrawn(meshd->environments, &client->request.address);
		break;
	case RAIL_MESH_STATUS:
		result = 1;
		if (!meshd_is_joined(meshd))
			meshd_explain(meshd, &outcome);
		break;
	}
	if (result == 0)
		return false;
	reply(client, &outcome);
	return true;
}

static void handle(struct client *client)
{
	struct meshd *meshd = client->clients->meshd;
	struct rail_error outcome = RAIL_ERROR_NONE;

	client->waits = true;
	client->deadline_ms = rail_monotonic_ms() + rail_mesh_patience_ms(client->request.kind);
	/* Known to be away: a pod's start is not held up by it. One that only has not joined yet is
	 * worth the wait. */
	if (!meshd->connected && meshd->node != 0 &&
	    (client->request.kind == RAIL_MESH_PUBLISH ||
	     client->request.kind == RAIL_MESH_WITHDRAW)) {
		meshd_environments_touch(meshd->environments, &client->request.address);
		meshd_explain(meshd, &outcome);
		reply(client, &outcome);
		return;
	}
	if (client->request.kind == RAIL_MESH_PUBLISH || client->request.kind == RAIL_MESH_WITHDRAW)
		/* Which may answer this client already. */
		meshd_environments_touch(meshd->environments, &client->request.address);
	if (client->fd >= 0)
		(void)check(client);
}

static void receive(struct client *client)
{
	uint8_t bytes[RAIL_MESH_MESSAGE_SIZE];
	struct rail_error error = RAIL_ERROR_NONE;
	ssize_t size = recv(client->fd, bytes, sizeof(bytes), MSG_DONTWAIT | MSG_TRUNC);

	if (size < 0 && (errno == EWOULDBLOCK || errno == EINTR))
		return;
	if (size <= 0) {
		close_client(client);
		return;
	}

	int result = (size_t)size > sizeof(bytes)
			     ? -EBADMSG
			     : rail_mesh_decode(bytes, (size_t)size, &client->request);

	if (result == 0) {
		handle(client);
		return;
	}
	(void)rail_fail(&error, -result,
			result == -EPROTO
				? "railway-meshd and the plugin are of different releases: "
				  "install both of one"
				: "the request is malformed");
	rail_log(RAIL_LOG_WARN, "a request is refused", "error", error.message, NULL);
	reply(client, &error);
}

static void on_client(void *context, uint32_t events)
{
	struct client *client = context;

	/* One that waits for its answer has nothing more to say: this is its end. */
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
		return rail_fail(error, EPERM, "only root may ask railway-meshd; user %u asked",
				 (unsigned int)peer.uid);
	return 0;
}

static void welcome(struct meshd_clients *clients, int fd)
{
	struct rail_error error = RAIL_ERROR_NONE;
	struct client *client = clients->slots;

	while (client->fd >= 0)
		client++;
	*client = (struct client){
		.clients = clients, .fd = fd, .deadline_ms = rail_monotonic_ms() + REQUEST_MS};
	clients->count++;
	if (check_peer(fd, &error) < 0 ||
	    rail_loop_watch(clients->meshd->loop, fd, EPOLLIN, on_client, client, &client->source,
			    &error) < 0) {
		rail_log(RAIL_LOG_WARN, "a request is refused", "error", error.message, NULL);
		reply(client, &error);
	}
}

static void on_listener(void *context, uint32_t events)
{
	struct meshd_clients *clients = context;

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

static void fail_late(struct client *client)
{
	struct meshd *meshd = client->clients->meshd;
	struct rail_error outcome = RAIL_ERROR_NONE;

	if (client->last.errnum != 0)
		outcome = client->last;
	else if (meshd_is_joined(meshd))
		(void)rail_fail_code(&outcome, RAIL_CODE_TRY_AGAIN, ETIMEDOUT,
				     "the cluster did not confirm it in time; see railway-meshd's "
				     "log");
	else
		meshd_explain(meshd, &outcome);
	reply(client, &outcome);
}

static void on_tick(void *context)
{
	struct meshd_clients *clients = context;
	int64_t now_ms = rail_monotonic_ms();

	for (int i = 0; i < CLIENTS_MAXIMUM; i++) {
		struct client *client = &clients->slots[i];

		if (client->fd < 0)
			continue;
		if (client->deadline_ms > now_ms) {
			if (client->waits)
				(void)check(client);
		} else if (client->waits) {
			fail_late(client);
		} else {
			close_client(client);
		}
	}
	if (clients->count < CLIENTS_MAXIMUM)
		accept_more(clients, true);
	if (clients->count != 0 || !clients->accepts)
		rail_timer_start(clients->tick, TICK_MS);
}

void meshd_clients_check(struct meshd_clients *clients)
{
	for (int i = 0; i < CLIENTS_MAXIMUM && clients->count > 0; i++)
		if (clients->slots[i].fd >= 0 && clients->slots[i].waits)
			(void)check(&clients->slots[i]);
}

int meshd_clients_listen(struct meshd *meshd, struct meshd_clients **ret_clients,
			 struct rail_error *error)
{
	struct meshd_clients *clients = calloc(1, sizeof(*clients));

	if (clients == NULL)
		return rail_fail(error, ENOMEM, "no memory for the mesh's socket");
	clients->meshd = meshd;
	for (int i = 0; i < CLIENTS_MAXIMUM; i++)
		clients->slots[i].fd = -EBADF;

	int result = rail_listener_open(meshd->settings.mesh_socket, "meshSocket",
					&clients->listener, error);

	if (result < 0) {
		free(clients);
		return result;
	}
	*ret_clients = clients;
	return 0;
}

int meshd_clients_serve(struct meshd_clients *clients, struct rail_error *error)
{
	clients->accepts = true;

	int result = rail_loop_timer(clients->meshd->loop, on_tick, clients, &clients->tick, error);

	if (result < 0)
		return result;
	return rail_loop_watch(clients->meshd->loop, clients->listener.socket, EPOLLIN, on_listener,
			       clients, &clients->listener_source, error);
}

void meshd_clients_free(struct meshd_clients *clients)
{
	if (clients == NULL)
		return;
	rail_source_remove(&clients->listener_source);
	for (int i = 0; i < CLIENTS_MAXIMUM; i++) {
		struct client *client = &clients->slots[i];

		if (client->fd >= 0) {
			meshd_consensus_cancel(&client->consensus);
			rail_source_remove(&client->source);
			(void)close(client->fd);
		}
	}
	rail_timer_remove(&clients->tick);
	rail_listener_close(&clients->listener);
	free(clients);
}
