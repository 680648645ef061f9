#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>

#include "pkg/base/cleanup.h"
#include "pkg/base/file.h"
#include "pkg/dns/query_record.h"
#include "plugins/railway-dns/resolverd/sandbox.h"
#include "plugins/railway-dns/resolverd/worker_internal.h"

/* What the worker notes for the query log. */

enum {
	NOTES_OF_ALL = 2000, /* in a window */
	NOTES_OF_A_POD = 100,
	WINDOW_MS = 1000,
};

struct rail_queries {
	struct rail_query_ring *ring;
	struct rail_log_limit limit;
};

struct rail_pod_queries {
	struct rail_log_limit limit;
	struct rail_query_pod names;
};

int rail_queries_new(struct rail_queries **ret_queries, struct rail_error *error)
{
	*ret_queries = NULL;
	if (fcntl(RAIL_WORKER_QUERIES, F_GETFD) < 0)
		return 0;

	RAIL_FREE struct rail_queries *queries = calloc(1, sizeof(*queries));

	if (queries == NULL)
		return rail_fail(error, ENOMEM, "no memory for the query log");
	queries->limit = (struct rail_log_limit){.maximum = NOTES_OF_ALL, .window_ms = WINDOW_MS};

	int result = rail_query_ring_map(RAIL_WORKER_QUERIES, &queries->ring, error);

	(void)close(RAIL_WORKER_QUERIES);
	if (result == 0)
		*ret_queries = RAIL_TAKE_POINTER(queries);
	return result;
}

void rail_queries_free(struct rail_queries *queries)
{
	if (queries == NULL)
		return;
	rail_query_ring_unmap(queries->ring);
	free(queries);
}

int rail_queries_name(struct rail_worker_pod *pod, const struct rail_channel_message *message)
{
	struct rail_pod_queries *queries = pod->queries;

	if (pod->worker->queries == NULL)
		return 0;
	if (queries == NULL)
		queries = calloc(1, sizeof(*queries));
	if (queries == NULL)
		return -ENOMEM;
	queries->limit = (struct rail_log_limit){.maximum = NOTES_OF_A_POD, .window_ms = WINDOW_MS};
	memcpy(queries->names.environment, message->environment, sizeof(message->environment));
	memcpy(queries->names.service, message->service, sizeof(message->service));
	memcpy(queries->names.replica, message->replica, sizeof(message->replica));
	memcpy(queries->names.container, message->container, sizeof(message->container));
	pod->queries = queries;
	return 0;
}

/* One pod's flood leaves lines to the others. */
static bool is_allowed(struct rail_worker_pod *pod)
{
	int64_t now_ms = rail_monotonic_ms();
	unsigned int left_out;

	return rail_log_allowed(&pod->queries->limit, now_ms, &left_out) &&
	       rail_log_allowed(&pod->worker->queries->limit, now_ms, &left_out);
}

void rail_queries_write(struct rail_worker_pod *pod, const struct rail_query_note *note)
{
	struct rail_query_ring *ring = pod->worker->queries->ring;
	uint8_t bytes[RAIL_QUERY_RECORD_MAXIMUM];
	struct rail_query_record record;

	if (!is_allowed(pod)) {
		rail_query_ring_drop(ring);
		rail_worker_count(pod->worker, RAIL_METRICS_UNLOGGED);
		return;
	}
	rail_query_record_init(&record, note->query, note->query_size, note->answer,
			       note->answer_size);
	record.time_us = rail_wall_clock_us();
	record.duration_us = (uint32_t)note->duration_us;
	record.tcp = note->tcp;
	record.timed_out = note->timed_out;

	int size = rail_query_record_encode(&record, &pod->queries->names, bytes, sizeof(bytes));

	if (!rail_query_ring_put(ring, bytes, size < 0 ? 0 : (size_t)size))
		rail_worker_count(pod->worker, RAIL_METRICS_UNLOGGED);
}
