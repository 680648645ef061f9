#include "plugins/railway-mesh/meshd/clients.h"

#include <errno.h>
#include <stdlib.h>

#include "pkg/base/file.h"
#include "pkg/base/server.h"
#include "pkg/cluster/request.h"
#include "plugins/railway-mesh/meshd/consensus.h"
#include "plugins/railway-mesh/meshd/environments.h"

enum {
	CLIENTS_MAXIMUM = 256,
	TICK_MS = 100,
	RETRY_MS = 250, /* after etcd did not answer a request */
};

/* What is kept of a client. */
struct call {
	struct meshd *meshd;
	struct rail_client *client;
	struct rail_mesh_request request;
	struct meshd_consensus *consensus;
	int64_t not_before_ms; /* of asking the cluster again ... */
	struct rail_error
		last; /* ... which did not answer for this reason; errnum 0: not yet asked */
};

struct meshd_clients {
	struct meshd *meshd;
	struct rail_server *server;
};

static void on_agreed(void *context, const struct rail_error *outcome)
{
	struct call *call = context;
	struct rail_error error = *outcome;

	call->consensus = NULL;
	/* The plugin has time left, and what was asked bears to be asked twice. */
	if (rail_etcd_may_pass(outcome)) {
		call->last = error;
		call->not_before_ms = rail_monotonic_ms() + RETRY_MS;
		return;
	}
	/* Nothing that etcd or a store could not do now is the configuration's fault. */
	if (error.errnum != 0 && error.code == RAIL_CODE_DERIVED)
		error.code = RAIL_CODE_TRY_AGAIN;
	rail_client_reply(call->client, &error);
}

/* Looks whether what a client waits for has come, and answers it then. */
static void check(struct call *call)
{
	struct meshd *meshd = call->meshd;
	struct rail_error outcome = RAIL_ERROR_NONE;
	int result = 0;

	switch (call->request.kind) {
	case RAIL_MESH_ENSURE:
	case RAIL_MESH_CLAIM:
		if (call->consensus == NULL && meshd_is_joined(meshd) &&
		    rail_monotonic_ms() >= call->not_before_ms &&
		    meshd_consensus_begin(meshd, &call->request, on_agreed, call, &call->consensus,
					  &outcome) < 0)
			rail_client_reply(call->client, &outcome);
		return;
	case RAIL_MESH_PUBLISH:
		result = meshd_environments_published(meshd->environments, &call->request.address,
						      &outcome);
		break;
	case RAIL_MESH_WITHDRAW:
		result = meshd_environments_withdrawn(meshd->environments, &call->request.address);
		break;
	case RAIL_MESH_STATUS:
		result = 1;
		if (!meshd_is_joined(meshd))
			meshd_explain(meshd, &outcome);
		break;
	}
	if (result != 0)
		rail_client_reply(call->client, &outcome);
}

static void handle(struct call *call)
{
	struct meshd *meshd = call->meshd;
	enum rail_mesh_request_kind kind = call->request.kind;
	bool is_about_a_member = kind == RAIL_MESH_PUBLISH || kind == RAIL_MESH_WITHDRAW;
	struct rail_client *client = call->client;
	struct rail_error outcome = RAIL_ERROR_NONE;

	rail_client_wait(client, rail_mesh_patience_ms(kind));
	/* Which may answer this client already. */
	if (is_about_a_member)
		meshd_environments_touch(meshd->environments, &call->request.address);
	if (rail_client_fd(client) < 0)
		return;
	/* Known to be away: a pod's start is not held up by it. One that only has not joined yet is
	 * worth the wait. */
	if (is_about_a_member && !meshd->connected && meshd->node != 0) {
		meshd_explain(meshd, &outcome);
		rail_client_reply(client, &outcome);
	} else {
		check(call);
	}
}

static void on_request(void *context, struct rail_client *client,
		       const struct rail_request *request)
{
	struct meshd_clients *clients = context;
	struct call *call = rail_client_data(client);
	struct rail_error error = RAIL_ERROR_NONE;
	int result = request->bytes == NULL || request->descriptor_count != 0
			     ? -EBADMSG
			     : rail_mesh_decode(request->bytes, request->size, &call->request);

	call->meshd = clients->meshd;
	call->client = client;
	if (result == 0) {
		handle(call);
		return;
	}
	(void)rail_fail(&error, -result,
			result == -EPROTO
				? "railway-meshd and the plugin are of different releases: "
				  "install both of one"
				: "the request is malformed");
	rail_client_refuse(client, &error);
}

static void on_poll(void *context, struct rail_client *client)
{
	(void)context;
	check(rail_client_data(client));
}

static void on_late(void *context, struct rail_client *client)
{
	struct meshd *meshd = ((struct meshd_clients *)context)->meshd;
	const struct call *call = rail_client_data(client);
	struct rail_error outcome = RAIL_ERROR_NONE;

	if (call->last.errnum != 0)
		outcome = call->last;
	else if (meshd_is_joined(meshd))
		(void)rail_fail_code(&outcome, RAIL_CODE_TRY_AGAIN, ETIMEDOUT,
				     "the cluster did not confirm it in time; see railway-meshd's "
				     "log");
	else
		meshd_explain(meshd, &outcome);
	rail_client_reply(client, &outcome);
}

static void on_gone(void *context, struct rail_client *client)
{
	struct call *call = rail_client_data(client);

	(void)context;
	meshd_consensus_cancel(&call->consensus);
}

void meshd_clients_check(struct meshd_clients *clients)
{
	struct rail_client *client = NULL;

	while ((client = rail_server_next_waiting(clients->server, client)) != NULL)
		check(rail_client_data(client));
}

int meshd_clients_listen(struct meshd *meshd, struct meshd_clients **ret_clients,
			 struct rail_error *error)
{
	struct meshd_clients *clients = calloc(1, sizeof(*clients));
	const struct rail_server_options options = {
		.daemon = "railway-meshd",
		.version = RAIL_MESH_VERSION,
		.client_maximum = CLIENTS_MAXIMUM,
		.data_size = sizeof(struct call),
		.tick_ms = TICK_MS,
		.hooks = {.request = on_request,
			  .poll = on_poll,
			  .late = on_late,
			  .gone = on_gone,
			  .context = clients},
	};
	struct rail_listener listener = RAIL_LISTENER_CLOSED;

	if (clients == NULL)
		return rail_fail(error, ENOMEM, "no memory for the mesh's socket");
	clients->meshd = meshd;

	int result =
		rail_listener_open(meshd->settings.mesh_socket, "meshSocket", &listener, error);

	if (result == 0)
		result = rail_server_new(meshd->loop, &listener, &options, &clients->server, error);
	rail_listener_close(&listener);
	if (result < 0)
		free(clients);
	else
		*ret_clients = clients;
	return result;
}

int meshd_clients_serve(struct meshd_clients *clients, struct rail_error *error)
{
	return rail_server_serve(clients->server, error);
}

void meshd_clients_free(struct meshd_clients *clients)
{
	if (clients == NULL)
		return;
	rail_server_free(clients->server);
	free(clients);
}
