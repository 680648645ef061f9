#include "plugins/railway-mesh/meshd/meshd.h"

#include <errno.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "pkg/base/daemon.h"
#include "pkg/base/log.h"
#include "pkg/base/notify.h"
#include "plugins/railway-mesh/meshd/clients.h"
#include "plugins/railway-mesh/meshd/environments.h"
#include "plugins/railway-mesh/meshd/greeter.h"
#include "plugins/railway-mesh/meshd/leftovers.h"
#include "plugins/railway-mesh/meshd/notices.h"
#include "plugins/railway-mesh/meshd/privileges.h"
#include "plugins/railway-mesh/meshd/registered.h"
#include "plugins/railway-mesh/meshd/session.h"
#include "plugins/railway-mesh/meshd/workers.h"

struct daemon {
	struct meshd meshd;
	struct rail_signals *signals;
	/* Of the etcd that was last seen. */
	char cluster_id[24];
};

bool meshd_is_joined(const struct meshd *meshd)
{
	return meshd->node != 0 && meshd->lease != 0 && meshd->connected;
}

void meshd_explain(const struct meshd *meshd, struct rail_error *ret_error)
{
	if (!meshd->connected && meshd->trouble.errnum == 0)
		(void)rail_fail_code(ret_error, RAIL_CODE_TRY_AGAIN, ENOTCONN,
				     "etcd has not answered railway-meshd yet (asked: %s)",
				     rail_etcd_endpoint(meshd->etcd));
	else if (!meshd->connected)
		(void)rail_fail_code(ret_error, RAIL_CODE_TRY_AGAIN, ENOTCONN, "%s: %.600s",
				     rail_etcd_may_pass(&meshd->trouble)
					     ? "etcd does not answer railway-meshd"
					     : "etcd does not do what railway-meshd asks",
				     meshd->trouble.message);
	else
		(void)rail_fail_code(ret_error, RAIL_CODE_TRY_AGAIN, EAGAIN,
				     "this node is still joining its cluster; see railway-meshd's "
				     "log");
}

void meshd_saw(struct meshd *meshd, const struct rail_etcd_header *header, int64_t asked_at)
{
	struct daemon *daemon = (struct daemon *)meshd;
	bool is_other = daemon->cluster_id[0] != '\0' && header->cluster_id[0] != '\0' &&
			strcmp(daemon->cluster_id, header->cluster_id) != 0;
	bool restored = is_other || (header->revision != 0 && header->revision < asked_at);

	if (header->cluster_id[0] != '\0')
		memcpy(daemon->cluster_id, header->cluster_id, sizeof(daemon->cluster_id));
	if (restored || header->revision > meshd->revision)
		meshd->revision = header->revision;
	if (!restored)
		return;
	rail_log(RAIL_LOG_WARN,
		 "etcd was restored from an older state: everything is read and "
		 "published anew, and nothing taken away for now",
		 NULL);
	meshd_session_restart(meshd->session);
	meshd_environments_restored(meshd->environments);
}

static void on_moved(void *context)
{
	struct meshd *meshd = context;

	if (meshd->environments != NULL)
		meshd_environments_moved(meshd->environments);
}

static void on_signal(void *context, int number)
{
	(void)number;
	((struct daemon *)context)->meshd.ends = true;
}

static int take_signals(struct daemon *daemon, struct rail_error *error)
{
	static const int numbers[] = {SIGTERM, SIGINT, 0};

	return rail_signals_take(daemon->meshd.loop, numbers, on_signal, daemon, &daemon->signals,
				 error);
}

static int read_settings(struct meshd *meshd, const struct meshd_options *options,
			 struct rail_error *error)
{
	int result = rail_settings_of_node(options->config, &meshd->settings, error);

	if (result == 0 && meshd->settings.cluster.endpoint_count == 0)
		return rail_fail_code(error, RAIL_CODE_INVALID_CONFIG, EINVAL,
				      "the node's file '%s' has no key 'cluster': a node by itself "
				      "needs no railway-meshd",
				      options->config != NULL ? options->config : RAIL_NODE_FILE);
	return result;
}

static int start(struct daemon *daemon, const struct meshd_options *options,
		 struct rail_error *error)
{
	struct meshd *meshd = &daemon->meshd;
	const struct rail_settings *settings = &meshd->settings;
	int result = read_settings(meshd, options, error);

	if (result == 0)
		result = rail_loop_new(&meshd->loop, error);
	if (result == 0)
		result = take_signals(daemon, error);
	if (result == 0)
		result = rail_make_socket_directory(settings->mesh_socket, error);
	/* First: a second daemon must not touch anything. */
	if (result == 0)
		result = meshd_clients_listen(meshd, &meshd->clients, error);
	if (result == 0)
		result = rail_store_open(settings->state_directory, settings->run_directory,
					 &meshd->store, error);
	if (result == 0)
		result = meshd_give_up_privileges(error);
	if (result == 0)
		result = rail_etcd_new(meshd->loop, &settings->cluster, on_moved, meshd,
				       &meshd->etcd, error);
	if (result == 0)
		result = meshd_notices_new(meshd, &meshd->notices, error);
	if (result == 0)
		result = meshd_workers_new(meshd, &meshd->workers, error);
	if (result == 0)
		result = meshd_greeter_new(meshd, &meshd->greeter, error);
	if (result == 0)
		result = meshd_session_new(meshd, &meshd->session, error);
	if (result == 0)
		result = meshd_environments_new(meshd, &meshd->environments, error);
	if (result == 0)
		result = meshd_leftovers_new(meshd, &meshd->leftovers, error);
	if (result == 0)
		result = meshd_registered_new(meshd, &meshd->registered, error);
	if (result == 0)
		result = meshd_clients_serve(meshd->clients, error);
	if (result < 0)
		return result;
	(void)meshd_find_underlay(meshd);
	meshd_session_start(meshd->session);
	/* Plugins are answered from now on, with etcd or without. */
	rail_log(RAIL_LOG_INFO, "ready", "socket", settings->mesh_socket, NULL);
	rail_notify("READY=1");
	rail_tell_ready(options->ready_fd);
	return 0;
}

/* Parts that were never made are NULL. */
static void end(struct daemon *daemon)
{
	struct meshd *meshd = &daemon->meshd;

	meshd->ends = true;
	/* A pod that hangs: the mark in its environment's lock has the next holder repair. */
	if (!meshd_workers_finish(meshd->workers)) {
		rail_log(RAIL_LOG_INFO, "railway-meshd ended, at work on a pod that hangs", NULL);
		_exit(EXIT_SUCCESS);
	}
	meshd_clients_free(meshd->clients);
	meshd_registered_free(meshd->registered);
	meshd_leftovers_free(meshd->leftovers);
	meshd_environments_free(meshd->environments);
	meshd_session_free(meshd->session);
	meshd_greeter_free(meshd->greeter);
	meshd_notices_free(meshd->notices);
	meshd_workers_free(meshd->workers);
	rail_etcd_free(meshd->etcd);
	rail_store_close(meshd->store);
	rail_signals_free(daemon->signals);
	rail_loop_free(meshd->loop);
}

int meshd_run(const struct meshd_options *options, struct rail_error *error)
{
	struct daemon *daemon = calloc(1, sizeof(*daemon));

	if (daemon == NULL)
		return rail_fail(error, ENOMEM, "no memory for the daemon");
	rail_log(RAIL_LOG_INFO, "railway-meshd starts", "version", RAIL_VERSION, NULL);

	int result = start(daemon, options, error);

	while (result == 0 && !daemon->meshd.ends)
		result = rail_loop_turn(daemon->meshd.loop, -1, error);
	rail_notify("STOPPING=1");
	end(daemon);
	free(daemon);
	if (result == 0)
		rail_log(RAIL_LOG_INFO, "railway-meshd ended", NULL);
	return result;
}
