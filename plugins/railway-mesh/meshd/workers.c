#include "plugins/railway-mesh/meshd/workers.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <unistd.h>

#include "pkg/base/file.h"
#include "pkg/base/log.h"

enum {
	THREADS_MAXIMUM = 16,
	STACK_SIZE = 1024 * 1024,
	RETRY_MS = 100,	  /* where the machine has no thread left */
	FINISH_MS = 1000, /* the lease goes on when the next daemon takes it up: soon */
};

struct meshd_workers {
	int finished[2]; /* a pipe of tasks whose work is over */
	struct rail_source *source;
	struct rail_timer *retry;
	STAILQ_HEAD(, meshd_task) waiting;
	size_t running;
};

static void *run(void *argument)
{
	struct meshd_task *task = argument;
	int finished = task->finished;

	task->work(task);
	/* Room is always there: a pipe holds more pointers than there are threads. */
	while (write(finished, &task, sizeof(task)) < 0 && errno == EINTR)
		;
	return NULL;
}

static int start_thread(struct meshd_task *task)
{
	pthread_attr_t attributes;
	int status = pthread_attr_init(&attributes);

	if (status != 0)
		return status;
	status = pthread_attr_setstacksize(&attributes, STACK_SIZE);
	if (status == 0)
		status = pthread_create(&task->thread, &attributes, run, task);
	(void)pthread_attr_destroy(&attributes);
	return status;
}

static void start_waiting(struct meshd_workers *workers)
{
	while (workers->running < THREADS_MAXIMUM && !STAILQ_EMPTY(&workers->waiting)) {
		int status = start_thread(STAILQ_FIRST(&workers->waiting));

		if (status != 0) {
			if (workers->running == 0) {
				rail_log(RAIL_LOG_ERROR, "no thread can be made; trying again",
					 "error", strerrordesc_np(status), NULL);
				rail_timer_start(workers->retry, RETRY_MS);
			}
			return;
		}
		STAILQ_REMOVE_HEAD(&workers->waiting, link);
		workers->running++;
	}
}

static void take_finished(struct meshd_workers *workers)
{
	struct meshd_task *task;

	while (read(workers->finished[0], &task, sizeof(task)) == (ssize_t)sizeof(task)) {
		(void)pthread_join(task->thread, NULL);
		workers->running--;
		task->done(task);
	}
}

static void on_finished(void *context, uint32_t events)
{
	struct meshd_workers *workers = context;

	(void)events;
	take_finished(workers);
	start_waiting(workers);
}

static void on_retry(void *context)
{
	start_waiting(context);
}

void meshd_workers_start(struct meshd_workers *workers, struct meshd_task *task)
{
	task->finished = workers->finished[1];
	STAILQ_INSERT_TAIL(&workers->waiting, task, link);
	/* From the loop: a task that is made here is not done before its maker has returned. */
	rail_timer_start(workers->retry, 0);
}

bool meshd_workers_finish(struct meshd_workers *workers)
{
	int64_t end_ms = rail_monotonic_ms() + FINISH_MS;

	if (workers == NULL)
		return true;
	while (workers->running > 0 || !STAILQ_EMPTY(&workers->waiting)) {
		struct meshd_task *task = STAILQ_FIRST(&workers->waiting);

		if (task != NULL) {
			STAILQ_REMOVE_HEAD(&workers->waiting, link);
			task->dropped = true;
			task->done(task);
			continue;
		}
		if (rail_wait_ready(workers->finished[0], POLLIN, end_ms) <= 0)
			return false;
		take_finished(workers);
	}
	return true;
}

void meshd_workers_free(struct meshd_workers *workers)
{
	if (workers == NULL)
		return;
	rail_source_remove(&workers->source);
	rail_timer_remove(&workers->retry);
	for (int i = 0; i < 2; i++)
		if (workers->finished[i] >= 0)
			(void)close(workers->finished[i]);
	free(workers);
}

int meshd_workers_new(struct meshd *meshd, struct meshd_workers **ret_workers,
		      struct rail_error *error)
{
	struct meshd_workers *workers = calloc(1, sizeof(*workers));
	int result = 0;

	if (workers == NULL)
		return rail_fail(error, ENOMEM, "no memory for threads");
	workers->finished[0] = workers->finished[1] = -EBADF;
	STAILQ_INIT(&workers->waiting);
	if (pipe2(workers->finished, O_CLOEXEC) < 0 ||
	    fcntl(workers->finished[0], F_SETFL, O_NONBLOCK) < 0)
		result = rail_fail_errno(error, errno, "make a pipe");
	if (result == 0)
		result = rail_loop_timer(meshd->loop, on_retry, workers, &workers->retry, error);
	if (result == 0)
		result = rail_loop_watch(meshd->loop, workers->finished[0], EPOLLIN, on_finished,
					 workers, &workers->source, error);
	if (result < 0) {
		meshd_workers_free(workers);
		return result;
	}
	*ret_workers = workers;
	return 0;
}
