#include "plugins/railway-dns/resolverd/process.h"

#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <sys/wait.h>

#include "pkg/base/cleanup.h"
#include "pkg/base/file.h"
#include "pkg/base/log.h"
#include "plugins/railway-dns/resolverd/spawn.h"
#include "plugins/railway-dns/resolverd/worker.h"

enum {
	SEND_BUDGET = 256, /* messages a turn of the loop */
	RECEIVE_BUDGET = 256,
	SILENCE_MS = 3000,	   /* without any progress: the worker hangs */
	STABLE_MS = 10000,	   /* a worker that lived as long is replaced at once */
	RESTART_MAXIMUM_MS = 2000, /* others wait as long, and stub resolvers 5 s */
	RESTART_FIRST_MS = 100,
	REFUSED_RETRY_MS = 20,
	END_MS = 1000,
	DRAIN_MS = RAIL_WORKER_DRAIN_MS + 1000,
	QUEUE_SLACK = 65536, /* messages beyond twice what a new worker is sent */
};

struct queued {
	struct queued *next;
	uint64_t pod; /* of a POD_ADD, whose sockets are looked up when it is sent; else 0 */
	size_t size;
	uint8_t bytes[];
};

struct rail_worker_process {
	struct rail_loop *loop;
	uid_t uid;
	struct rail_worker_hooks hooks;

	int channel; /* negative: not up */
	struct rail_source *channel_source;
	bool wants_to_send;
	pid_t pid; /* 0: there is no process */
	int pidfd;
	struct rail_source *pidfd_source;

	struct queued *first;
	struct queued **last;
	size_t queue_length;
	size_t queue_limit;
	uint64_t sequence;
	uint64_t unanswered; /* barriers */
	int64_t progress_ms;
	struct rail_timer *watchdog;
	struct rail_timer *retry; /* of a send that the kernel refused for now */

	bool hung; /* and was ended for that */
	uint64_t starts;
	int64_t started_ms;
	int restart_delay_ms;
	struct rail_timer *restart;
};

static void drop_queue(struct rail_worker_process *worker)
{
	while (worker->first != NULL) {
		struct queued *message = worker->first;

		worker->first = message->next;
		free(message);
	}
	worker->last = &worker->first;
	worker->queue_length = 0;
}

/* No message reaches this worker any more, and it is made to go. */
static void give_up(struct rail_worker_process *worker, const char *why)
{
	if (worker->channel >= 0) {
		rail_source_remove(&worker->channel_source);
		(void)close(worker->channel);
		worker->channel = -EBADF;
		if (why != NULL)
			rail_log(RAIL_LOG_WARN, "the worker is replaced", "reason", why, NULL);
	}
	drop_queue(worker);
	worker->unanswered = 0;
	rail_timer_stop(worker->watchdog);
	rail_timer_stop(worker->retry);
	if (worker->pidfd >= 0)
		rail_child_kill(worker->pidfd);
}

static void restart_later(struct rail_worker_process *worker)
{
	if (rail_monotonic_ms() - worker->started_ms >= STABLE_MS)
		worker->restart_delay_ms = 0;
	rail_timer_start(worker->restart, worker->restart_delay_ms);
	if (worker->restart_delay_ms == 0)
		worker->restart_delay_ms = RESTART_FIRST_MS;
	else
		worker->restart_delay_ms = worker->restart_delay_ms < RESTART_MAXIMUM_MS / 2
						   ? worker->restart_delay_ms * 2
						   : RESTART_MAXIMUM_MS;
}

static void reap(struct rail_worker_process *worker)
{
	struct rail_child_end end;
	char pid[16];

	if (!rail_child_reap(worker->pidfd, &end))
		return;
	(void)snprintf(pid, sizeof(pid), "%d", (int)worker->pid);
	rail_log(RAIL_LOG_WARN, "the worker died", "pid", pid, "end", end.text, NULL);

	give_up(worker, NULL);
	rail_source_remove(&worker->pidfd_source);
	(void)close(worker->pidfd);
	worker->pidfd = -EBADF;
	worker->pid = 0;

	/* The kernel's lack of memory is nobody's fault, and hardly over at once. */
	bool faulty = worker->hung || (end.signal_number != 0 && end.signal_number != SIGKILL &&
				       end.signal_number != SIGTERM);

	worker->hung = false;
	if (worker->hooks.down(worker->hooks.context, faulty))
		rail_timer_start(worker->restart, 0);
	else
		restart_later(worker);
}

static void on_pidfd(void *context, uint32_t events)
{
	(void)events;
	reap(context);
}

static void on_restart(void *context)
{
	rail_worker_process_start(context);
}

static bool is_idle(const struct rail_worker_process *worker)
{
	return worker->first == NULL && worker->unanswered == 0;
}

static void note_progress(struct rail_worker_process *worker)
{
	worker->progress_ms = rail_monotonic_ms();
}

/* From when on something is due from the worker. */
static void watch_over(struct rail_worker_process *worker)
{
	if (is_idle(worker)) {
		note_progress(worker);
		rail_timer_start(worker->watchdog, SILENCE_MS);
	}
}

static void on_watchdog(void *context)
{
	struct rail_worker_process *worker = context;
	int64_t silence_ms = rail_monotonic_ms() - worker->progress_ms;

	if (worker->channel < 0 || is_idle(worker))
		return;
	if (silence_ms < SILENCE_MS) {
		rail_timer_start(worker->watchdog, SILENCE_MS - silence_ms);
		return;
	}
	worker->hung = true;
	give_up(worker, "it does not answer");
}

/* Returns 0 when the message is done with, -EAGAIN when it must wait, or another error. */
static int send_one(struct rail_worker_process *worker, uint64_t pod, uint8_t *bytes, size_t size)
{
	union {
		struct cmsghdr header;
		char space[CMSG_SPACE(RAIL_CHANNEL_DESCRIPTORS_MAXIMUM * sizeof(int))];
	} control = {0};
	struct iovec part = {.iov_base = bytes, .iov_len = size};
	struct msghdr message = {.msg_iov = &part, .msg_iovlen = 1};

	if (pod != 0) {
		const struct rail_pod_sockets *sockets =
			worker->hooks.sockets(worker->hooks.context, pod);

		if (sockets == NULL || sockets->udp < 0 || sockets->tcp < 0)
			return 0;

		const int fds[RAIL_CHANNEL_DESCRIPTORS_MAXIMUM] = {sockets->udp, sockets->tcp};

		control.header.cmsg_level = SOL_SOCKET;
		control.header.cmsg_type = SCM_RIGHTS;
		control.header.cmsg_len = CMSG_LEN(sizeof(fds));
		memcpy(CMSG_DATA(&control.header), fds, sizeof(fds));
		message.msg_control = &control;
		message.msg_controllen = sizeof(control.space);
	}
	if (sendmsg(worker->channel, &message, MSG_DONTWAIT | MSG_NOSIGNAL) < 0)
		return errno == EWOULDBLOCK || errno == EINTR ? -EAGAIN : -errno;
	note_progress(worker);
	return 0;
}

static void want_to_send(struct rail_worker_process *worker, bool wants)
{
	if (wants == worker->wants_to_send || worker->channel < 0)
		return;
	if (rail_source_change(worker->channel_source, wants ? EPOLLIN | EPOLLOUT : EPOLLIN, NULL) <
	    0)
		give_up(worker, "its channel cannot be watched");
	else
		worker->wants_to_send = wants;
}

/* What to do about a send that failed: true where it may be tried again. */
static bool wait_to_send(struct rail_worker_process *worker, int result)
{
	if (result == -EAGAIN) {
		want_to_send(worker, true);
		return true;
	}
	/* Too many descriptors on their way at once, or no memory in the kernel: becoming writable
	 * does not tell when that is over. */
	if (result == -ETOOMANYREFS || result == -ENOBUFS || result == -ENOMEM) {
		want_to_send(worker, false);
		rail_timer_start(worker->retry, REFUSED_RETRY_MS);
		return true;
	}
	give_up(worker, strerrordesc_np(-result));
	return false;
}

static void flush(struct rail_worker_process *worker)
{
	for (int budget = SEND_BUDGET; budget > 0 && worker->first != NULL; budget--) {
		struct queued *message = worker->first;
		int result = send_one(worker, message->pod, message->bytes, message->size);

		if (result < 0) {
			(void)wait_to_send(worker, result);
			return;
		}
		worker->first = message->next;
		if (worker->first == NULL)
			worker->last = &worker->first;
		worker->queue_length--;
		free(message);
	}
	want_to_send(worker, worker->first != NULL);
}

static void on_retry(void *context)
{
	struct rail_worker_process *worker = context;

	if (worker->channel >= 0)
		flush(worker);
}

static void enqueue(struct rail_worker_process *worker, uint64_t pod, const uint8_t *bytes,
		    size_t size)
{
	/* One that takes a message now and then is not silent, and falls ever further behind. */
	if (worker->queue_length >= worker->queue_limit) {
		give_up(worker, "it is too far behind");
		return;
	}

	struct queued *message = malloc(sizeof(*message) + size);

	if (message == NULL) {
		give_up(worker, "no memory for what it must know");
		return;
	}
	message->next = NULL;
	message->pod = pod;
	message->size = size;
	memcpy(message->bytes, bytes, size);
	*worker->last = message;
	worker->last = &message->next;
	worker->queue_length++;
}

void rail_worker_process_send(struct rail_worker_process *worker,
			      const struct rail_channel_message *message)
{
	uint8_t bytes[RAIL_CHANNEL_MESSAGE_SIZE];
	int size = rail_channel_encode(message, bytes, sizeof(bytes));
	uint64_t pod = message->kind == RAIL_CHANNEL_POD_ADD ? message->pod : 0;

	if (worker->channel < 0)
		return;
	if (size < 0) {
		rail_log(RAIL_LOG_ERROR, "a record cannot be sent to the worker", "service",
			 message->service, "replica", message->replica, "error",
			 strerrordesc_np(-size), NULL);
		return;
	}
	if (worker->first == NULL) {
		watch_over(worker);

		int result = send_one(worker, pod, bytes, (size_t)size);

		if (result == 0 || !wait_to_send(worker, result))
			return;
	}
	enqueue(worker, pod, bytes, (size_t)size);
}

uint64_t rail_worker_process_barrier(struct rail_worker_process *worker, uint64_t pod)
{
	const struct rail_channel_message message = {
		.kind = pod != 0 ? RAIL_CHANNEL_POD_CHECK : RAIL_CHANNEL_BARRIER,
		.pod = pod,
		.sequence = ++worker->sequence,
	};

	if (worker->channel < 0)
		return message.sequence;
	watch_over(worker);
	worker->unanswered++;
	rail_worker_process_send(worker, &message);
	return message.sequence;
}

static void receive(struct rail_worker_process *worker)
{
	for (int budget = RECEIVE_BUDGET; budget > 0 && worker->channel >= 0; budget--) {
		uint8_t bytes[RAIL_CHANNEL_MESSAGE_SIZE];
		struct rail_channel_message message;
		ssize_t size =
			recv(worker->channel, bytes, sizeof(bytes), MSG_DONTWAIT | MSG_TRUNC);

		if (size < 0 && (errno == EWOULDBLOCK || errno == EINTR))
			return;
		if (size <= 0) {
			/* It died, or is about to: its end is logged when it is known. */
			give_up(worker, NULL);
			return;
		}
		/* Whoever speaks like this is not the program that was started. */
		if ((size_t)size > sizeof(bytes) ||
		    rail_channel_decode(bytes, (size_t)size, &message) < 0 ||
		    (message.kind != RAIL_CHANNEL_ACK && message.kind != RAIL_CHANNEL_NAK) ||
		    worker->unanswered == 0) {
			give_up(worker, "it sent a message that no worker sends");
			return;
		}
		note_progress(worker);
		worker->unanswered--;
		worker->hooks.answered(worker->hooks.context, message.sequence,
				       message.kind == RAIL_CHANNEL_ACK);
	}
}

static void on_channel(void *context, uint32_t events)
{
	struct rail_worker_process *worker = context;

	if ((events & (EPOLLIN | EPOLLHUP | EPOLLERR)) != 0)
		receive(worker);
	if ((events & EPOLLOUT) != 0 && worker->channel >= 0)
		flush(worker);
}

static int spawn(struct rail_worker_process *worker, struct rail_error *error)
{
	const struct rail_child child = {
		.role = "--worker",
		.uid = worker->uid,
		.descriptors = {worker->hooks.metrics, worker->hooks.queries},
		.tied = true,
	};
	RAIL_CLOSE int channel = -EBADF;
	RAIL_CLOSE int pidfd = -EBADF;
	pid_t pid;
	int result = rail_child_spawn(&child, &pid, &pidfd, &channel, error);

	if (result < 0)
		return result;
	result = rail_loop_watch(worker->loop, pidfd, EPOLLIN, on_pidfd, worker,
				 &worker->pidfd_source, error);
	if (result == 0)
		result = rail_loop_watch(worker->loop, channel, EPOLLIN, on_channel, worker,
					 &worker->channel_source, error);
	if (result < 0) {
		rail_child_kill(pidfd);
		(void)waitid(P_PIDFD, (id_t)pidfd, &(siginfo_t){0}, WEXITED);
		rail_source_remove(&worker->pidfd_source);
		return result;
	}
	worker->pid = pid;
	worker->pidfd = RAIL_TAKE_FD(pidfd);
	worker->channel = RAIL_TAKE_FD(channel);
	worker->wants_to_send = false;
	return 0;
}

void rail_worker_process_start(struct rail_worker_process *worker)
{
	struct rail_error error = RAIL_ERROR_NONE;
	char pid[16];

	worker->started_ms = rail_monotonic_ms();
	if (spawn(worker, &error) < 0) {
		rail_log(RAIL_LOG_ERROR, "the worker cannot be started", "error", error.message,
			 NULL);
		restart_later(worker);
		return;
	}
	worker->starts++;
	(void)snprintf(pid, sizeof(pid), "%d", (int)worker->pid);
	rail_log(RAIL_LOG_INFO, "the worker runs", "pid", pid, NULL);
	worker->queue_limit = SIZE_MAX;
	worker->hooks.up(worker->hooks.context);
	worker->queue_limit = 2 * worker->queue_length + QUEUE_SLACK;
}

uint64_t rail_worker_process_starts(const struct rail_worker_process *worker)
{
	return worker->starts;
}

bool rail_worker_process_is_up(const struct rail_worker_process *worker)
{
	return worker->channel >= 0;
}

bool rail_worker_process_notes_queries(const struct rail_worker_process *worker)
{
	return worker->hooks.queries >= 0;
}

bool rail_worker_process_exists(const struct rail_worker_process *worker)
{
	return worker->pid != 0;
}

int rail_worker_process_new(struct rail_loop *loop, uid_t uid,
			    const struct rail_worker_hooks *hooks,
			    struct rail_worker_process **ret_worker, struct rail_error *error)
{
	struct rail_worker_process *worker = calloc(1, sizeof(*worker));

	if (worker == NULL)
		return rail_fail(error, ENOMEM, "no memory for the worker's supervision");
	worker->loop = loop;
	worker->uid = uid;
	worker->hooks = *hooks;
	worker->channel = -EBADF;
	worker->pidfd = -EBADF;
	worker->last = &worker->first;

	int result = rail_loop_timer(loop, on_watchdog, worker, &worker->watchdog, error);

	if (result == 0)
		result = rail_loop_timer(loop, on_retry, worker, &worker->retry, error);
	if (result == 0)
		result = rail_loop_timer(loop, on_restart, worker, &worker->restart, error);
	if (result < 0) {
		rail_timer_remove(&worker->watchdog);
		rail_timer_remove(&worker->retry);
		free(worker);
		return result;
	}
	*ret_worker = worker;
	return 0;
}

void rail_worker_process_drain(struct rail_worker_process *worker)
{
	const struct rail_channel_message message = {
		.kind = RAIL_CHANNEL_DRAIN,
		.sequence = ++worker->sequence,
	};

	if (worker->channel < 0)
		return;
	rail_worker_process_send(worker, &message);
	if (worker->first == NULL && worker->pidfd >= 0)
		(void)rail_child_wait(worker->pidfd, DRAIN_MS);
}

void rail_worker_process_free(struct rail_worker_process *worker)
{
	if (worker == NULL)
		return;
	if (worker->channel >= 0) {
		rail_source_remove(&worker->channel_source);
		(void)close(worker->channel);
		worker->channel = -EBADF;
	}
	if (worker->pidfd >= 0) {
		if (!rail_child_wait(worker->pidfd, END_MS))
			rail_child_kill(worker->pidfd);
		(void)waitid(P_PIDFD, (id_t)worker->pidfd, &(siginfo_t){0}, WEXITED);
		rail_source_remove(&worker->pidfd_source);
		(void)close(worker->pidfd);
	}
	drop_queue(worker);
	rail_timer_remove(&worker->watchdog);
	rail_timer_remove(&worker->retry);
	rail_timer_remove(&worker->restart);
	free(worker);
}
