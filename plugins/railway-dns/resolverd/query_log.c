#include "plugins/railway-dns/resolverd/query_log.h"

#include <errno.h>
#include <signal.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/wait.h>

#include "pkg/base/cleanup.h"
#include "pkg/base/log.h"
#include "pkg/dns/query_ring.h"
#include "plugins/railway-dns/resolverd/spawn.h"

enum {
	RETRY_MS = 1000, /* after a death, and where the path cannot be opened */
	END_MS = 1000,	 /* for what is still to be written */
};

struct rail_query_log {
	struct rail_loop *loop;
	const char *path;
	uid_t uid;
	int ring;
	int channel; /* negative: the writer was told to end, or there is none */
	int pidfd;   /* negative: there is none */
	struct rail_source *source;
	struct rail_timer *timer; /* starts the next writer, or ends one that does not end */
	bool failure_told;	  /* the path could not be opened, which was said */
};

static void on_pidfd(void *context, uint32_t events);

/* It opens the path itself: of a disk that hangs nobody else is to know. */
static int start(struct rail_query_log *log, struct rail_error *error)
{
	const struct rail_child child = {
		.role = "--query-log-writer",
		.uid = log->uid,
		.descriptors = {log->ring, -EBADF},
		.log_path = log->path,
		.log_failure_told = log->failure_told,
	};
	RAIL_CLOSE int channel = -EBADF;
	RAIL_CLOSE int pidfd = -EBADF;
	pid_t pid;
	int result = rail_child_spawn(&child, &pid, &pidfd, &channel, error);

	if (result < 0)
		return result;
	result = rail_loop_watch(log->loop, pidfd, EPOLLIN, on_pidfd, log, &log->source, error);
	if (result < 0) {
		rail_child_kill(pidfd);
		/* Not for one that hangs in the kernel. */
		(void)waitid(P_PIDFD, (id_t)pidfd, &(siginfo_t){0}, WEXITED | WNOHANG);
		return result;
	}
	log->channel = RAIL_TAKE_FD(channel);
	log->pidfd = RAIL_TAKE_FD(pidfd);
	return 0;
}

static void start_or_retry(struct rail_query_log *log)
{
	struct rail_error error = RAIL_ERROR_NONE;

	if (start(log, &error) == 0)
		return;
	rail_log(RAIL_LOG_ERROR, "the query log's writer cannot be started; it is tried again",
		 "error", error.message, NULL);
	rail_timer_start(log->timer, RETRY_MS);
}

static void on_timer(void *context)
{
	struct rail_query_log *log = context;

	if (log->pidfd >= 0)
		rail_child_kill(log->pidfd);
	else
		start_or_retry(log);
}

static void forget(struct rail_query_log *log)
{
	rail_source_remove(&log->source);
	(void)close(log->pidfd);
	log->pidfd = -EBADF;
	rail_timer_stop(log->timer);
}

static void tell_to_end(struct rail_query_log *log)
{
	(void)close(log->channel);
	log->channel = -EBADF;
}

static void on_pidfd(void *context, uint32_t events)
{
	struct rail_query_log *log = context;
	struct rail_child_end end;

	(void)events;
	if (!rail_child_reap(log->pidfd, &end))
		return;
	forget(log);
	if (log->channel < 0) {
		start_or_retry(log);
		return;
	}
	tell_to_end(log);
	log->failure_told = end.signal_number == 0 && end.status == RAIL_CHILD_NO_LOG;
	if (!log->failure_told)
		rail_log(RAIL_LOG_WARN, "the query log's writer died", "end", end.text, NULL);
	rail_timer_start(log->timer, RETRY_MS);
}

int rail_query_log_ring(const struct rail_query_log *log)
{
	return log == NULL ? -EBADF : log->ring;
}

void rail_query_log_reopen(struct rail_query_log *log)
{
	if (log == NULL)
		return;
	log->failure_told = false;
	if (log->pidfd < 0) {
		rail_timer_stop(log->timer);
		start_or_retry(log);
	} else if (log->channel >= 0) {
		tell_to_end(log);
		rail_timer_start(log->timer, END_MS);
	}
}

int rail_query_log_new(struct rail_loop *loop, const char *path, uid_t uid,
		       struct rail_query_log **ret_log, struct rail_error *error)
{
	struct rail_query_log *log = calloc(1, sizeof(*log));
	struct rail_query_ring *ring = NULL;

	if (log == NULL)
		return rail_fail(error, ENOMEM, "no memory for the query log");
	*log = (struct rail_query_log){.loop = loop,
				       .path = path,
				       .uid = uid,
				       .ring = -EBADF,
				       .channel = -EBADF,
				       .pidfd = -EBADF};

	/* A daemon does not start with one that cannot be opened. */
	RAIL_CLOSE int file = rail_child_open_log(path, error);
	int result = file;

	if (result >= 0)
		result = rail_loop_timer(loop, on_timer, log, &log->timer, error);
	if (result == 0)
		result = rail_query_ring_create(&log->ring, &ring, error);
	rail_query_ring_unmap(ring);
	if (result == 0)
		result = start(log, error);
	if (result < 0) {
		rail_query_log_free(log);
		return result;
	}
	*ret_log = log;
	return 0;
}

void rail_query_log_free(struct rail_query_log *log)
{
	if (log == NULL)
		return;
	if (log->channel >= 0)
		tell_to_end(log);
	if (log->pidfd >= 0) {
		if (!rail_child_wait(log->pidfd, END_MS))
			rail_child_kill(log->pidfd);
		/* Not for one that hangs in the kernel. */
		(void)rail_child_wait(log->pidfd, END_MS);
		(void)waitid(P_PIDFD, (id_t)log->pidfd, &(siginfo_t){0}, WEXITED | WNOHANG);
		forget(log);
	}
	rail_timer_remove(&log->timer);
	if (log->ring >= 0)
		(void)close(log->ring);
	free(log);
}
