#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "pkg/base/cleanup.h"
#include "pkg/base/log.h"
#include "plugins/railway-dns/resolverd/pods_internal.h"

/*
 * Finds the pods whose netns is gone without a DEL, and tries again what failed: sockets that could
 * not be opened, deaths that could not be written down.
 */

enum {
	SWEEP_PERIOD_MS = 60000,
	SWEEP_SLICE = 256, /* pods in a row, so that registrations are served in between */
	SWEEP_PAUSE_MS = 10,
	/* The path of a netns goes a moment before the netns does, and its DEL is often under way.
	 */
	SUSPICION_MS = 5,
	STORE_RETRY_MS = 200,
};

static void open_again(struct rail_pods *pods, struct rail_pod *pod, int netns_fd)
{
	struct rail_error error = RAIL_ERROR_NONE;
	struct rail_pod_sockets sockets = RAIL_POD_SOCKETS_CLOSED;

	if (rail_pod_sockets_open(netns_fd, pod->record.resolver.port, &sockets, &error) < 0) {
		rail_log(RAIL_LOG_ERROR, "a pod's sockets cannot be opened", "container",
			 pod->record.key.container_id, "error", error.message, NULL);
		return;
	}
	rail_pods_serve(pods, pod, &sockets);
	rail_log(RAIL_LOG_INFO, "a pod is served again", "container", pod->record.key.container_id,
		 NULL);
}

void rail_pods_bury(struct rail_pods *pods, struct rail_pod *pod)
{
	rail_log(RAIL_LOG_INFO, "a pod's netns is gone", "container", pod->record.key.container_id,
		 "service", pod->record.service, "netns", pod->record.netns_path, NULL);
	rail_pods_withdraw(pods, pod);
	rail_timer_start(pods->check, 0);
}

static void check_pod(struct rail_pods *pods, struct rail_pod *pod)
{
	RAIL_CLOSE int netns_fd = -EBADF;
	int result = rail_netns_reopen(pod->record.netns_path, &pod->record.netns, &netns_fd);

	if (result == -ENOENT || result == -ESTALE) {
		rail_pods_bury(pods, pod);
		return;
	}
	if (result < 0) {
		rail_log(RAIL_LOG_WARN, "a pod's netns cannot be looked at", "netns",
			 pod->record.netns_path, "error", strerrordesc_np(-result), NULL);
		return;
	}
	if (pod->sockets.udp < 0)
		open_again(pods, pod, netns_fd);
	if (pod->watched == NULL)
		(void)rail_watch_add(pods->watch, pod->record.netns_path, &pod->watched, NULL);
}

/* The records of the pods that are gone, for free(). */
static const struct rail_pod_record **collect_gone(const struct rail_pods *pods, size_t *ret_count)
{
	const struct rail_pod_record **records =
		reallocarray(NULL, pods->gone_count, sizeof(const struct rail_pod_record *));
	size_t count = 0;

	if (records == NULL)
		return NULL;
	for (const struct rail_pod *pod = pods->first; pod != NULL; pod = pod->next)
		if (pod->gone && count < pods->gone_count)
			records[count++] = &pod->record;
	*ret_count = count;
	return records;
}

/* Writes down who is dead, and forgets them then. */
static void tell_store(struct rail_pods *pods)
{
	struct rail_error error = RAIL_ERROR_NONE;
	size_t count = 0;

	if (pods->gone_count == 0)
		return;

	const struct rail_pod_record **records = collect_gone(pods, &count);
	int result = records == NULL
			     ? rail_fail(&error, ENOMEM, "no memory for dead pods")
			     : rail_pod_records_mark_dead(pods->store, records, count, &error);

	free(records);
	if (result == -ETIMEDOUT) {
		/* Somebody writes. */
		rail_timer_start(pods->check, STORE_RETRY_MS);
		return;
	}
	if (result < 0) {
		rail_log(RAIL_LOG_WARN,
			 "dead pods cannot be marked in the live store; trying again within a "
			 "minute",
			 "error", error.message, NULL);
		return;
	}
	for (struct rail_pod *pod = pods->first; pod != NULL;) {
		struct rail_pod *next = pod->next;

		if (pod->gone)
			rail_pods_forget(pods, pod);
		pod = next;
	}
}

void rail_pods_suspect(void *context, const char *path)
{
	struct rail_pods *pods = context;

	for (struct rail_pod *pod = pods->first; pod != NULL; pod = pod->next)
		if (!pod->gone && strcmp(pod->record.netns_path, path) == 0)
			pod->suspected = true;
	rail_timer_start(pods->check, SUSPICION_MS);
}

static void on_check(void *context)
{
	struct rail_pods *pods = context;

	for (struct rail_pod *pod = pods->first; pod != NULL; pod = pod->next) {
		bool suspected = pod->suspected;

		pod->suspected = false;
		if (suspected && !pod->gone)
			check_pod(pods, pod);
	}
	tell_store(pods);
}

static void on_sweep(void *context)
{
	struct rail_pods *pods = context;

	if (pods->sweep_next == NULL)
		pods->sweep_next = pods->first;
	for (int i = 0; i < SWEEP_SLICE && pods->sweep_next != NULL; i++) {
		struct rail_pod *pod = pods->sweep_next;

		pods->sweep_next = pod->next;
		if (!pod->gone)
			check_pod(pods, pod);
	}
	if (pods->gone_count != 0)
		rail_timer_start(pods->check, 0);
	rail_timer_start(pods->sweep, pods->sweep_next != NULL ? SWEEP_PAUSE_MS : SWEEP_PERIOD_MS);
}

int rail_pods_sweep_init(struct rail_pods *pods, struct rail_loop *loop, struct rail_error *error)
{
	int result = rail_loop_timer(loop, on_sweep, pods, &pods->sweep, error);

	if (result == 0)
		result = rail_loop_timer(loop, on_check, pods, &pods->check, error);
	if (result == 0)
		rail_timer_start(pods->sweep, SWEEP_PERIOD_MS);
	return result;
}
