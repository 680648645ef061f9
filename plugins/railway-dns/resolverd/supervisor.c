#include "plugins/railway-dns/resolverd/supervisor.h"

#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/signalfd.h>

#include "pkg/base/cleanup.h"
#include "pkg/base/daemon.h"
#include "pkg/base/log.h"
#include "pkg/base/loop.h"
#include "pkg/config/settings.h"
#include "plugins/railway-dns/resolverd/clients.h"
#include "plugins/railway-dns/resolverd/nameservers.h"
#include "plugins/railway-dns/resolverd/pods.h"
#include "plugins/railway-dns/resolverd/process.h"
#include "plugins/railway-dns/resolverd/sandbox.h"

struct supervisor {
	const struct rail_supervisor_options *options;
	struct rail_settings settings;
	struct rail_loop *loop;
	struct rail_store *store;
	struct rail_clients *clients;
	struct rail_pods *pods;
	struct rail_worker_process *worker;
	struct rail_node_nameservers *nameservers;
	int signals;
	struct rail_source *signals_source;
	bool ready;
	uint64_t ready_sequence; /* of the barrier behind everything that was restored */
	bool ends;
};

static void become_ready(struct supervisor *supervisor)
{
	char count[24];

	supervisor->ready = true;
	(void)snprintf(count, sizeof(count), "%zu", rail_pods_count(supervisor->pods));
	rail_log(RAIL_LOG_INFO, "ready", "socket", supervisor->settings.resolver_socket, "pods",
		 count, NULL);
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

static void worker_down(void *context)
{
	struct supervisor *supervisor = context;

	rail_clients_worker_down(supervisor->clients);
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

static void on_signal(void *context, uint32_t events)
{
	struct supervisor *supervisor = context;
	struct signalfd_siginfo info;

	(void)events;
	while (read(supervisor->signals, &info, sizeof(info)) == (ssize_t)sizeof(info)) {
		if (info.ssi_signo == SIGHUP)
			rail_node_nameservers_read(supervisor->nameservers);
		else
			supervisor->ends = true;
	}
}

static int take_signals(struct supervisor *supervisor, struct rail_error *error)
{
	sigset_t set;

	/* Dispositions outlive execve(2). Who ignores the first is not told how a child ended. A
	 * log whose reader is gone is no reason to end, neither here nor in the worker. */
	(void)signal(SIGCHLD, SIG_DFL);
	(void)signal(SIGPIPE, SIG_IGN);
	(void)sigemptyset(&set);
	(void)sigaddset(&set, SIGTERM);
	(void)sigaddset(&set, SIGINT);
	(void)sigaddset(&set, SIGHUP);
	if (sigprocmask(SIG_BLOCK, &set, NULL) < 0)
		return rail_fail_errno(error, errno, "block signals");
	supervisor->signals = signalfd(-1, &set, SFD_CLOEXEC | SFD_NONBLOCK);
	if (supervisor->signals < 0)
		return rail_fail_errno(error, errno, "signalfd");
	return rail_loop_watch(supervisor->loop, supervisor->signals, EPOLLIN, on_signal,
			       supervisor, &supervisor->signals_source, error);
}

static int start(struct supervisor *supervisor, struct rail_error *error)
{
	const struct rail_settings *settings = &supervisor->settings;
	const struct rail_worker_hooks hooks = {
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
		result = rail_clients_listen(supervisor->loop, settings->resolver_socket,
					     &supervisor->clients, error);
	if (result == 0)
		result = rail_store_open(settings->state_directory, settings->run_directory,
					 &supervisor->store, error);
	if (result == 0)
		result = rail_sandbox_supervisor(error);
	if (result == 0)
		result = rail_node_nameservers_new(supervisor->loop, &supervisor->nameservers,
						   error);
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
	result = rail_pods_restore(supervisor->pods, error);
	if (result == 0)
		result = rail_clients_serve(supervisor->clients, supervisor->pods,
					    supervisor->worker, error);
	if (result == 0)
		rail_worker_process_start(supervisor->worker);
	return result;
}

/* Parts that were never made are NULL. */
static void end(struct supervisor *supervisor)
{
	rail_clients_free(supervisor->clients);
	rail_worker_process_free(supervisor->worker);
	rail_pods_free(supervisor->pods);
	rail_node_nameservers_free(supervisor->nameservers);
	rail_store_close(supervisor->store);
	rail_source_remove(&supervisor->signals_source);
	if (supervisor->signals >= 0)
		(void)close(supervisor->signals);
	rail_loop_free(supervisor->loop);
}

int rail_supervise(const struct rail_supervisor_options *options, struct rail_error *error)
{
	struct supervisor *supervisor = calloc(1, sizeof(*supervisor));

	if (supervisor == NULL)
		return rail_fail(error, ENOMEM, "no memory for the supervisor");
	supervisor->options = options;
	supervisor->signals = -EBADF;
	rail_log(RAIL_LOG_INFO, "railway-resolverd starts", "version", RAIL_VERSION, NULL);

	int result = start(supervisor, error);

	while (result == 0 && !supervisor->ends)
		result = rail_loop_turn(supervisor->loop, -1, error);
	rail_notify("STOPPING=1");
	end(supervisor);
	free(supervisor);
	if (result == 0)
		rail_log(RAIL_LOG_INFO, "railway-resolverd ended", NULL);
	return result;
}
