#include "plugins/railway-dns/resolverd/clients.h"

#include <errno.h>
#include <stdlib.h>

#include "pkg/base/log.h"
#include "pkg/base/server.h"

enum {
	CLIENTS_MAXIMUM = 64,
	/* Until the worker has confirmed: less than a plugin waits, so that it hears why. */
	ANSWER_MS = RAIL_REGISTRATION_DEADLINE_MS - 2000,
	TICK_MS = 500,
};

/* What is kept of a client. */
struct call {
	struct rail_registration_request request;
	uint64_t pod;	   /* of ADD and CHECK */
	uint64_t sequence; /* whose answer it waits for; 0: for a worker */
};

struct rail_clients {
	struct rail_server *server;
	struct rail_pods *pods;
	struct rail_worker_process *worker;
	rail_clients_hand_over hand_over;
	void *hand_over_context;
};

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

static void finish(struct rail_client *client, const struct rail_error *outcome)
{
	const struct call *call = rail_client_data(client);

	log_outcome(&call->request, outcome);
	rail_client_reply(client, outcome);
}

static void fail(struct rail_client *client, int code, int errnum, const char *message)
{
	struct rail_error outcome;

	(void)rail_fail_code(&outcome, code, errnum, "%s", message);
	finish(client, &outcome);
}

/* Where an ADD could not be confirmed nothing of it stays. */
static void undo(struct rail_clients *clients, struct rail_client *client)
{
	const struct call *call = rail_client_data(client);

	if (call->request.kind == RAIL_REGISTRATION_ADD &&
	    rail_pods_find(clients->pods, &call->request.key) == call->pod)
		(void)rail_pods_unregister(clients->pods, &call->request.key);
}

static void ask_worker(struct rail_clients *clients, struct rail_client *client)
{
	struct call *call = rail_client_data(client);

	call->sequence = rail_worker_process_is_up(clients->worker)
				 ? rail_worker_process_barrier(clients->worker, call->pod)
				 : 0;
}

static void wait_for_worker(struct rail_clients *clients, struct rail_client *client)
{
	rail_client_wait(client, ANSWER_MS);
	ask_worker(clients, client);
}

static void handle_add(struct rail_clients *clients, struct rail_client *client, int netns_fd)
{
	struct call *call = rail_client_data(client);
	struct rail_error error = RAIL_ERROR_NONE;

	if (rail_pods_register(clients->pods, &call->request.key, netns_fd, &call->pod, &error) < 0)
		finish(client, &error);
	else
		wait_for_worker(clients, client);
}

static void handle_remove(struct rail_clients *clients, struct rail_client *client)
{
	const struct call *call = rail_client_data(client);

	/* Without a worker nobody holds the pod's sockets any more. */
	if (!rail_pods_unregister(clients->pods, &call->request.key) ||
	    !rail_worker_process_exists(clients->worker))
		finish(client, &RAIL_ERROR_NONE);
	else
		wait_for_worker(clients, client);
}

static void handle_check(struct rail_clients *clients, struct rail_client *client)
{
	struct call *call = rail_client_data(client);

	call->pod = rail_pods_find(clients->pods, &call->request.key);
	if (call->pod == 0)
		fail(client, RAIL_CODE_CHECK_FAILED, ENOENT,
		     "the attachment is not registered with railway-resolverd");
	else
		wait_for_worker(clients, client);
}

static void handle_members(struct rail_clients *clients, struct rail_client *client)
{
	const struct call *call = rail_client_data(client);
	struct rail_error error = RAIL_ERROR_NONE;

	/* A worker that is not up gets everything when it comes. */
	if (rail_pods_members_changed(clients->pods, &call->request, &error) < 0 ||
	    !rail_worker_process_is_up(clients->worker))
		finish(client, &error);
	else
		wait_for_worker(clients, client);
}

static void handle_hand_over(struct rail_clients *clients, struct rail_client *client)
{
	/* What is registered now would be missing from what is handed over. */
	if (rail_server_count(clients->server) != 1 || clients->hand_over == NULL) {
		fail(client, RAIL_CODE_TRY_AGAIN, EAGAIN, "railway-resolverd is at work");
		return;
	}
	if (clients->hand_over(clients->hand_over_context, rail_client_fd(client),
			       rail_server_listener(clients->server)))
		rail_server_give_away(clients->server);
	rail_client_close(client);
}

static void handle(struct rail_clients *clients, struct rail_client *client, int netns_fd)
{
	const struct call *call = rail_client_data(client);

	switch (call->request.kind) {
	case RAIL_REGISTRATION_ADD:
		handle_add(clients, client, netns_fd);
		break;
	case RAIL_REGISTRATION_REMOVE:
		handle_remove(clients, client);
		break;
	case RAIL_REGISTRATION_CHECK:
		handle_check(clients, client);
		break;
	case RAIL_REGISTRATION_STATUS:
		wait_for_worker(clients, client);
		break;
	case RAIL_REGISTRATION_HAND_OVER:
		handle_hand_over(clients, client);
		break;
	case RAIL_REGISTRATION_MEMBERS:
		handle_members(clients, client);
		break;
	}
}

static int decode(const struct rail_request *request, struct call *call, struct rail_error *error)
{
	int result =
		request->bytes == NULL
			? -EBADMSG
			: rail_registration_decode(request->bytes, request->size, &call->request);

	if (result == -EPROTO)
		return rail_fail(error, EPROTO,
				 "railway-resolverd speaks version %d of the registration protocol "
				 "and was asked in version %d: install plugins and daemon of one "
				 "release",
				 RAIL_REGISTRATION_VERSION, (int)request->bytes[0]);
	if (result < 0)
		return rail_fail(error, EBADMSG, "the request is malformed");
	if (request->descriptor_count != (call->request.kind == RAIL_REGISTRATION_ADD ? 1 : 0))
		return rail_fail(error, EBADMSG, "the request has %d descriptors",
				 request->descriptor_count);
	return 0;
}

static void on_request(void *context, struct rail_client *client,
		       const struct rail_request *request)
{
	struct rail_error error = RAIL_ERROR_NONE;

	if (decode(request, rail_client_data(client), &error) < 0)
		rail_client_refuse(client, &error);
	else
		handle(context, client, request->descriptor);
}

static void on_late(void *context, struct rail_client *client)
{
	undo(context, client);
	fail(client, RAIL_CODE_TRY_AGAIN, ETIMEDOUT,
	     "railway-resolverd's worker did not confirm in time; see the daemon's log");
}

void rail_clients_worker_up(struct rail_clients *clients)
{
	struct rail_client *client = NULL;

	while ((client = rail_server_next_waiting(clients->server, client)) != NULL)
		ask_worker(clients, client);
}

void rail_clients_worker_down(struct rail_clients *clients)
{
	struct rail_client *client = NULL;

	while ((client = rail_server_next_waiting(clients->server, client)) != NULL) {
		struct call *call = rail_client_data(client);

		call->sequence = 0;
		if (call->request.kind == RAIL_REGISTRATION_REMOVE)
			finish(client, &RAIL_ERROR_NONE);
	}
}

static void answer(struct rail_clients *clients, struct rail_client *client, bool positive)
{
	const struct call *call = rail_client_data(client);

	if (positive) {
		finish(client, &RAIL_ERROR_NONE);
	} else if (call->request.kind == RAIL_REGISTRATION_CHECK) {
		fail(client, RAIL_CODE_CHECK_FAILED, ENOENT,
		     rail_pods_sockets(clients->pods, call->pod) != NULL
			     ? "railway-resolverd's worker does not serve the attachment"
			     : "railway-resolverd does not serve the attachment for a while: its "
			       "packets end the worker");
	} else {
		undo(clients, client);
		fail(client, RAIL_CODE_TRY_AGAIN, EIO,
		     "railway-resolverd's worker cannot serve the attachment; see the "
		     "daemon's log");
	}
}

void rail_clients_worker_answered(struct rail_clients *clients, uint64_t sequence, bool positive)
{
	struct rail_client *client = NULL;

	while ((client = rail_server_next_waiting(clients->server, client)) != NULL) {
		const struct call *call = rail_client_data(client);

		if (call->sequence == sequence) {
			answer(clients, client, positive);
			return;
		}
	}
}

int rail_clients_adopt(struct rail_loop *loop, struct rail_listener *listener,
		       struct rail_clients **ret_clients, struct rail_error *error)
{
	struct rail_clients *clients = calloc(1, sizeof(*clients));
	const struct rail_server_options options = {
		.daemon = "railway-resolverd",
		.version = RAIL_REGISTRATION_VERSION,
		.client_maximum = CLIENTS_MAXIMUM,
		.data_size = sizeof(struct call),
		.tick_ms = TICK_MS,
		.hooks = {.request = on_request, .late = on_late, .context = clients},
	};

	if (clients == NULL)
		return rail_fail(error, ENOMEM, "no memory for the registration socket");

	int result = rail_server_new(loop, listener, &options, &clients->server, error);

	if (result < 0)
		free(clients);
	else
		*ret_clients = clients;
	return result;
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
	rail_server_give_away(clients->server);
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
	return rail_server_serve(clients->server, error);
}

void rail_clients_free(struct rail_clients *clients)
{
	if (clients == NULL)
		return;
	rail_server_free(clients->server);
	free(clients);
}
