#include "plugins/railway-dns/resolverd/supervisor.h"

#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/socket.h>

#include "pkg/base/cleanup.h"
#include "pkg/base/daemon.h"
#include "pkg/base/log.h"
#include "pkg/base/loop.h"
#include "pkg/base/notify.h"
#include "pkg/config/settings.h"
#include "plugins/railway-dns/resolverd/clients.h"
#include "plugins/railway-dns/resolverd/exposition.h"
#include "plugins/railway-dns/resolverd/handover.h"
#include "plugins/railway-dns/resolverd/nameservers.h"
#include "plugins/railway-dns/resolverd/pods.h"
#include "plugins/railway-dns/resolverd/process.h"
#include "plugins/railway-dns/resolverd/query_log.h"
#include "plugins/railway-dns/resolverd/sandbox.h"
#include "plugins/railway-dns/resolverd/spawn.h"

enum { PING_MS = 5000 };

struct supervisor {
	const struct rail_supervisor_options *options;
	struct rail_settings settings;
	struct rail_loop *loop;
	struct rail_store *store;
	struct rail_clients *clients;
	struct rail_pods *pods;
	struct rail_worker_process *worker;
	struct rail_node_nameservers *nameservers;
	struct rail_signals *signals;
	bool ready;
	uint64_t ready_sequence; /* of the barrier behind everything that was restored */
	bool ends;
	struct rail_handed handed; /* by the daemon before this one */
	bool handed_over;	   /* to the next one */
	struct rail_watchdog *watchdog;
	struct rail_timer *ping;
	int metrics_fd;
	struct rail_metrics *metrics;
	struct rail_exposition *exposition;
	struct rail_query_log *query_log; /* NULL: there is none */
};

static void become_ready(struct supervisor *supervisor)
{
	char count[24];

	supervisor->ready = true;
	(void)snprintf(count, sizeof(count), "%zu", rail_pods_count(supervisor->pods));
	rail_log(RAIL_LOG_INFO, "ready", "socket", supervisor->settings.resolver_socket, "pods",
		 count, NULL);
	rail_handed_confirm(&supervisor->handed);
	rail_handed_done(&supervisor->handed);
	rail_notify("READY=1");
	rail_tell_ready(supervisor->options->ready_fd);
}

static void worker_up(void *context)
{
	struct supervisor *supervisor = context;

	rail_node_nameservers_send(supervisor->nameservers);
	rail_pods_send_all(supervisor->pods);
	if (!supervisor->ready)
		supervisor->ready_sequence = rail_worker_process_barrier(supervisor->worker, 0);
	rail_clients_worker_up(supervisor->clients);
}

static bool worker_down(void *context, bool faulty)
{
	struct supervisor *supervisor = context;
	uint64_t pod = rail_metric_read(&supervisor->metrics->in_hand);

	rail_metric_set(&supervisor->metrics->in_hand, 0);
	rail_clients_worker_down(supervisor->clients);
	return faulty && rail_pods_blame(supervisor->pods, pod);
}

static void worker_answered(void *context, uint64_t sequence, bool positive)
{
	struct supervisor *supervisor = context;

	if (!supervisor->ready && sequence == supervisor->ready_sequence)
		become_ready(supervisor);
	else
		rail_clients_worker_answered(supervisor->clients, sequence, positive);
}

static const struct rail_pod_sockets *worker_sockets(void *context, uint64_t pod)
{
	struct supervisor *supervisor = context;

	return rail_pods_sockets(supervisor->pods, pod);
}

static void reload(struct supervisor *supervisor)
{
	if (supervisor->ready)
		rail_notify_reloading();
	rail_node_nameservers_read(supervisor->nameservers);
	rail_query_log_reopen(supervisor->query_log);
	if (supervisor->ready)
		rail_notify("READY=1");
}

/* The program that has this one's place in the file system by now takes over. */
static void start_successor(const struct supervisor *supervisor)
{
	struct rail_error error = RAIL_ERROR_NONE;

	rail_log(RAIL_LOG_INFO, "a successor is started", "program", supervisor->options->program,
		 NULL);
	if (rail_successor_spawn(supervisor->options->program, supervisor->options->arguments,
				 &error) < 0)
		rail_log(RAIL_LOG_ERROR, "a successor cannot be started", "error", error.message,
			 NULL);
}

/* The manager shall not wait for a process that is about to go. */
static void name_successor(int connection)
{
	struct ucred peer;
	socklen_t size = sizeof(peer);
	char state[32];

	if (getsockopt(connection, SOL_SOCKET, SO_PEERCRED, &peer, &size) < 0)
		return;
	(void)snprintf(state, sizeof(state), "MAINPID=%d", (int)peer.pid);
	rail_notify(state);
}

static bool hand_over(void *context, int connection, const struct rail_listener *listener)
{
	struct supervisor *supervisor = context;
	struct rail_error error = RAIL_ERROR_NONE;
	RAIL_FREE struct rail_handed_pod *pods = NULL;
	size_t count = 0;
	int result = rail_pods_list(supervisor->pods, &pods, &count, &error);

	rail_log(RAIL_LOG_INFO, "another railway-resolverd takes over", NULL);
	if (result == 0)
		result = rail_handover_give(connection, listener, pods, count, &error);
	if (result < 0) {
		rail_log(RAIL_LOG_WARN, "the hand-over failed; going on", "error", error.message,
			 NULL);
		return false;
	}
	name_successor(connection);
	supervisor->handed_over = true;
	supervisor->ends = true;
	return true;
}

/* One that hangs while nothing is to be said to it would hang unnoticed. */
static void on_ping(void *context)
{
	struct supervisor *supervisor = context;

	if (rail_worker_process_is_up(supervisor->worker))
		(void)rail_worker_process_barrier(supervisor->worker, 0);
	rail_timer_start(supervisor->ping, PING_MS);
}

static void on_signal(void *context, int number)
{
	struct supervisor *supervisor = context;

	if (number == SIGHUP)
		reload(supervisor);
	else if (number == SIGUSR2)
		start_successor(supervisor);
	else
		supervisor->ends = true;
}

static int take_signals(struct supervisor *supervisor, struct rail_error *error)
{
	static const int numbers[] = {SIGTERM, SIGINT, SIGHUP, SIGUSR2, 0};

	return rail_signals_take(supervisor->loop, numbers, on_signal, supervisor,
				 &supervisor->signals, error);
}

/* Listens at the registration socket, or takes it over from who does. */
static int get_socket(struct supervisor *supervisor, struct rail_error *error)
{
	const char *path = supervisor->settings.resolver_socket;
	int result = supervisor->options->takes_over
			     ? rail_handover_take(path, &supervisor->handed, error)
			     : -ECONNREFUSED;

	if (result == -ECONNREFUSED)
		return rail_clients_listen(supervisor->loop, path, &supervisor->clients, error);
	if (result < 0)
		return result;
	return rail_clients_adopt(supervisor->loop, &supervisor->handed.listener,
				  &supervisor->clients, error);
}

static size_t count_registered(void *context)
{
	return rail_pods_count(((struct supervisor *)context)->pods);
}

static uint64_t count_starts(void *context)
{
	return rail_worker_process_starts(((struct supervisor *)context)->worker);
}

static size_t count_set_aside(void *context)
{
	return rail_pods_count_set_aside(((struct supervisor *)context)->pods);
}

static bool has_environment(void *context, const struct rail_prefix *prefix)
{
	return rail_pods_has_environment(((struct supervisor *)context)->pods, prefix);
}

static int expose_metrics(struct supervisor *supervisor, struct rail_error *error)
{
	const struct rail_exposition_facts facts = {
		.metrics = supervisor->metrics,
		.store = supervisor->store,
		.registered = count_registered,
		.set_aside = count_set_aside,
		.worker_starts = count_starts,
		.has_environment = has_environment,
		.context = supervisor,
	};

	if (supervisor->options->metrics == NULL)
		return 0;
	return rail_exposition_open(supervisor->loop, supervisor->options->metrics, &facts,
				    &supervisor->exposition, error);
}

static int start_timers(struct supervisor *supervisor, struct rail_error *error)
{
	int result =
		rail_loop_timer(supervisor->loop, on_ping, supervisor, &supervisor->ping, error);

	if (result < 0)
		return result;
	rail_timer_start(supervisor->ping, PING_MS);
	return rail_watchdog_new(supervisor->loop, &supervisor->watchdog, error);
}

static int start(struct supervisor *supervisor, struct rail_error *error)
{
	const struct rail_settings *settings = &supervisor->settings;
	struct rail_worker_hooks hooks = {
		.up = worker_up,
		.down = worker_down,
		.answered = worker_answered,
		.sockets = worker_sockets,
		.context = supervisor,
	};
	int result =
		rail_settings_of_node(supervisor->options->config, &supervisor->settings, error);

	if (result == 0)
		result = rail_loop_new(&supervisor->loop, error);
	if (result == 0)
		result = take_signals(supervisor, error);
	if (result == 0)
		result = rail_make_socket_directory(settings->resolver_socket, error);
	/* First: a second daemon must not touch anything. */
	if (result == 0)
		result = get_socket(supervisor, error);
	if (result == 0)
		result = rail_store_open(settings->state_directory, settings->run_directory,
					 &supervisor->store, error);
	if (result == 0)
		result = rail_sandbox_supervisor(error);
	if (result == 0)
		result = rail_node_nameservers_new(supervisor->loop, &supervisor->nameservers,
						   error);
	if (result == 0)
		result = rail_metrics_create(&supervisor->metrics_fd, &supervisor->metrics, error);
	if (result == 0 && supervisor->options->query_log != NULL)
		result = rail_query_log_new(supervisor->loop, supervisor->options->query_log,
					    supervisor->options->worker_uid, &supervisor->query_log,
					    error);
	hooks.metrics = supervisor->metrics_fd;
	hooks.queries = rail_query_log_ring(supervisor->query_log);
	if (result == 0)
		result = rail_worker_process_new(supervisor->loop, supervisor->options->worker_uid,
						 &hooks, &supervisor->worker, error);
	if (result == 0)
		result = rail_pods_new(supervisor->loop, supervisor->store, &supervisor->pods,
				       error);
	if (result < 0)
		return result;
	rail_node_nameservers_set_worker(supervisor->nameservers, supervisor->worker);
	rail_pods_set_worker(supervisor->pods, supervisor->worker);
	result = rail_pods_restore(supervisor->pods, &supervisor->handed, error);
	if (result == 0)
		result = rail_clients_serve(supervisor->clients, supervisor->pods,
					    supervisor->worker, error);
	if (result == 0)
		result = start_timers(supervisor, error);
	if (result == 0)
		result = expose_metrics(supervisor, error);
	if (result < 0)
		return result;
	rail_clients_on_hand_over(supervisor->clients, hand_over, supervisor);
	rail_worker_process_start(supervisor->worker);
	return 0;
}

/* Parts that were never made are NULL. */
static void end(struct supervisor *supervisor)
{
	/* A socket that was handed over stays where it is, and is the old daemon's until it knows.
	 */
	if (!supervisor->ready && supervisor->handed.connection >= 0)
		rail_clients_hand_back(supervisor->clients);
	rail_exposition_close(supervisor->exposition);
	rail_handed_done(&supervisor->handed);
	rail_clients_free(supervisor->clients);
	if (supervisor->handed_over) {
		/* First its sockets, by which it would keep netns that are about to go. */
		rail_pods_free(RAIL_TAKE_POINTER(supervisor->pods));
		rail_worker_process_drain(supervisor->worker);
	}
	rail_watchdog_free(supervisor->watchdog);
	rail_timer_remove(&supervisor->ping);
	rail_worker_process_free(supervisor->worker);
	/* What the worker has noted last is written, too. */
	rail_query_log_free(supervisor->query_log);
	rail_pods_free(supervisor->pods);
	rail_node_nameservers_free(supervisor->nameservers);
	rail_metrics_unmap(supervisor->metrics);
	if (supervisor->metrics_fd >= 0)
		(void)close(supervisor->metrics_fd);
	rail_store_close(supervisor->store);
	rail_signals_free(supervisor->signals);
	rail_loop_free(supervisor->loop);
}

int rail_supervise(const struct rail_supervisor_options *options, struct rail_error *error)
{
	struct supervisor *supervisor = calloc(1, sizeof(*supervisor));

	if (supervisor == NULL)
		return rail_fail(error, ENOMEM, "no memory for the supervisor");
	supervisor->options = options;
	supervisor->metrics_fd = -EBADF;
	supervisor->handed = RAIL_HANDED_NONE;
	rail_log(RAIL_LOG_INFO, "railway-resolverd starts", "version", RAIL_VERSION, NULL);

	int result = start(supervisor, error);

	while (result == 0 && !supervisor->ends)
		result = rail_loop_turn(supervisor->loop, -1, error);
	/* The successor is the service now. */
	if (!supervisor->handed_over)
		rail_notify("STOPPING=1");
	end(supervisor);
	free(supervisor);
	if (result == 0)
		rail_log(RAIL_LOG_INFO, "railway-resolverd ended", NULL);
	return result;
}
