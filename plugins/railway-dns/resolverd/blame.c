#include <stdio.h>

#include "pkg/base/file.h"
#include "pkg/base/log.h"
#include "plugins/railway-dns/resolverd/pods_internal.h"

/* Pods whose packets end the worker, time and again: the others shall not go without it. */

enum {
	BLAMES_MAXIMUM = 2,   /* of which nothing follows */
	BLAME_MS = 60 * 1000, /* after that one is forgotten */
#ifdef RAIL_PAUSES
	ASIDE_FIRST_MS = 8 * 1000, /* a test does not wait for minutes */
#else
	ASIDE_FIRST_MS = 60 * 1000,
#endif
	ASIDE_DOUBLINGS = 6, /* to an hour */
};

static void log_blame(const struct rail_pod *pod, enum rail_log_level level, const char *message,
		      const char *seconds)
{
	rail_log(level, message, "environment", pod->record.environment, "service",
		 pod->record.service, "replica", pod->record.replica, "container",
		 pod->record.key.container_id, "seconds", seconds, NULL);
}

/* When the first of them is over. */
static void start_timer(struct rail_pods *pods, int64_t now_ms)
{
	int64_t first_ms = 0;

	for (const struct rail_pod *pod = pods->first; pod != NULL; pod = pod->next)
		if (pod->aside_end_ms != 0 && !pod->gone &&
		    (first_ms == 0 || pod->aside_end_ms < first_ms))
			first_ms = pod->aside_end_ms;
	if (first_ms != 0)
		rail_timer_start(pods->aside, first_ms <= now_ms ? 0 : first_ms - now_ms);
}

static void set_aside(struct rail_pods *pods, struct rail_pod *pod, int64_t now_ms)
{
	unsigned int doublings =
		pod->aside_count < ASIDE_DOUBLINGS ? pod->aside_count : ASIDE_DOUBLINGS;
	int64_t duration_ms = (int64_t)ASIDE_FIRST_MS << doublings;
	char seconds[24];

	pod->aside_count++;
	pod->aside_end_ms = now_ms + duration_ms;
	(void)snprintf(seconds, sizeof(seconds), "%lld", (long long)(duration_ms / 1000));
	log_blame(pod, RAIL_LOG_ERROR,
		  "a pod is not served for a while: its packets end the worker", seconds);
	start_timer(pods, now_ms);
}

bool rail_pods_blame(struct rail_pods *pods, uint64_t id)
{
	struct rail_pod *pod = rail_pods_get_by_id(pods, id);
	int64_t now_ms = rail_monotonic_ms();

	/* The number is the worker's word: one that lies about it can at most have a pod not
	 * served, which it can anyway. */
	if (pod == NULL || pod->gone || pod->aside_end_ms != 0)
		return false;
	if (now_ms - pod->blamed_ms >= BLAME_MS)
		pod->blamed_count = 0;
	pod->blamed_ms = now_ms;
	pod->blamed_count++;
	if (pod->blamed_count > BLAMES_MAXIMUM || pod->aside_count != 0)
		set_aside(pods, pod, now_ms);
	else
		log_blame(pod, RAIL_LOG_WARN, "the worker died at the packets of a pod", NULL);
	return true;
}

size_t rail_pods_count_set_aside(const struct rail_pods *pods)
{
	size_t count = 0;

	for (const struct rail_pod *pod = pods->first; pod != NULL; pod = pod->next)
		count += pod->aside_end_ms != 0 && !pod->gone;
	return count;
}

static void on_aside(void *context)
{
	struct rail_pods *pods = context;
	int64_t now_ms = rail_monotonic_ms();

	for (struct rail_pod *pod = pods->first; pod != NULL; pod = pod->next) {
		if (pod->aside_end_ms == 0 || pod->gone || pod->aside_end_ms > now_ms)
			continue;
		pod->aside_end_ms = 0;
		pod->blamed_count = 0;
		log_blame(pod, RAIL_LOG_INFO, "a pod that was set aside is served again", NULL);
		rail_pods_send(pods, pod);
	}
	start_timer(pods, now_ms);
}

int rail_pods_blame_init(struct rail_pods *pods, struct rail_loop *loop, struct rail_error *error)
{
	return rail_loop_timer(loop, on_aside, pods, &pods->aside, error);
}
