#include <errno.h>
#include <stdlib.h>
#include <time.h>

#include "pkg/base/cleanup.h"
#include "pkg/base/file.h"
#include "pkg/base/log.h"
#include "plugins/railway-dns/resolverd/pods_internal.h"

/* Takes up the pods that a supervisor before this one served. */

enum {
	RESTORE_PATIENCE_MS = 2000, /* for ports that are still taken, of all pods together */
	RESTORE_PAUSE_MS = 10,
};

/* Opens a restored pod's sockets; waits, while there is patience, for a port that is taken. */
static int open_patiently(int netns_fd, const struct rail_pod_record *record, int64_t patience_end,
			  struct rail_pod_sockets *ret_sockets, struct rail_error *error)
{
	for (;;) {
		int result =
			rail_pod_sockets_open(netns_fd, record->resolver.port, ret_sockets, error);

		if (result != -EADDRINUSE || rail_monotonic_ms() >= patience_end)
			return result;

		struct timespec pause = {.tv_nsec = RESTORE_PAUSE_MS * 1000000L};

		(void)nanosleep(&pause, NULL);
	}
}

static void restore_one(struct rail_pods *pods, const struct rail_pod_record *record,
			struct rail_handed *handed, int64_t patience_end)
{
	struct rail_error error = RAIL_ERROR_NONE;
	struct rail_pod_sockets sockets = RAIL_POD_SOCKETS_CLOSED;
	RAIL_CLOSE int netns_fd = -EBADF;
	struct rail_pod *pod;
	bool is_first;
	int result = rail_netns_reopen(record->netns_path, &record->netns, &netns_fd);

	if (rail_pods_insert(pods, record, &pod, &is_first, &error) < 0) {
		rail_log(RAIL_LOG_ERROR, "a pod cannot be restored", "container",
			 record->key.container_id, "error", error.message, NULL);
		return;
	}
	if (result == -ENOENT || result == -ESTALE) {
		rail_pods_bury(pods, pod);
		return;
	}
	sockets = rail_handed_sockets(handed, &record->key);
	if (sockets.udp >= 0) {
		pod->sockets = sockets;
		return;
	}
	if (result < 0)
		(void)rail_fail_errno(&error, -result, "open netns '%s'", record->netns_path);
	else
		result = open_patiently(netns_fd, record, patience_end, &sockets, &error);
	if (result < 0)
		rail_log(RAIL_LOG_ERROR, "a pod's sockets cannot be opened", "container",
			 record->key.container_id, "error", error.message, NULL);
	else
		pod->sockets = sockets;
}

int rail_pods_restore(struct rail_pods *pods, struct rail_handed *handed, struct rail_error *error)
{
	RAIL_FREE struct rail_pod_record *records = NULL;
	size_t count;
	int result = rail_pod_records_read(pods->store, &records, &count, error);
	int64_t patience_end = rail_monotonic_ms() + RESTORE_PATIENCE_MS;

	if (result < 0)
		return result;
	for (size_t i = 0; i < count; i++)
		restore_one(pods, &records[i], handed, patience_end);
	return 0;
}

int rail_pods_list(const struct rail_pods *pods, struct rail_handed_pod **ret_pods,
		   size_t *ret_count, struct rail_error *error)
{
	struct rail_handed_pod *list = calloc(rail_pods_count(pods) + 1, sizeof(*list));
	size_t count = 0;

	if (list == NULL)
		return rail_fail(error, ENOMEM, "no memory for the list of pods");
	for (const struct rail_pod *pod = pods->first; pod != NULL; pod = pod->next)
		if (!pod->gone && pod->sockets.udp >= 0)
			list[count++] = (struct rail_handed_pod){.key = pod->record.key,
								 .sockets = pod->sockets};
	*ret_pods = list;
	*ret_count = count;
	return 0;
}
