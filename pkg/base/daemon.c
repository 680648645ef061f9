#include "pkg/base/daemon.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/signalfd.h>
#include <unistd.h>

#include "pkg/base/cleanup.h"
#include "pkg/base/file.h"

int rail_open_standard_files(void)
{
	for (;;) {
		int fd = open("/dev/null", O_RDWR | O_CLOEXEC);

		if (fd < 0)
			return -errno;
		if (fd > STDERR_FILENO)
			return close(fd);
		if (fcntl(fd, F_SETFD, 0) < 0)
			return -errno;
	}
}

void rail_tell_ready(int fd)
{
	if (fd < 0)
		return;

	ssize_t written = write(fd, "\n", 1);

	(void)written;
	(void)close(fd);
}

struct rail_signals {
	int fd;
	struct rail_source *source;
	void (*callback)(void *context, int number);
	void *context;
};

static void on_signal(void *context, uint32_t events)
{
	const struct rail_signals *signals = context;
	struct signalfd_siginfo info;

	(void)events;
	while (read(signals->fd, &info, sizeof(info)) == (ssize_t)sizeof(info))
		signals->callback(signals->context, (int)info.ssi_signo);
}

static int open_signals(const int *numbers, struct rail_error *error)
{
	sigset_t set;

	(void)signal(SIGCHLD, SIG_DFL);
	(void)signal(SIGPIPE, SIG_IGN);
	(void)sigemptyset(&set);
	for (; *numbers != 0; numbers++)
		(void)sigaddset(&set, *numbers);
	if (sigprocmask(SIG_BLOCK, &set, NULL) < 0)
		return rail_fail_errno(error, errno, "block signals");

	int fd = signalfd(-1, &set, SFD_CLOEXEC | SFD_NONBLOCK);

	return fd < 0 ? rail_fail_errno(error, errno, "signalfd") : fd;
}

int rail_signals_take(struct rail_loop *loop, const int *numbers,
		      void (*callback)(void *context, int number), void *context,
		      struct rail_signals **ret_signals, struct rail_error *error)
{
	struct rail_signals *signals = calloc(1, sizeof(*signals));

	if (signals == NULL)
		return rail_fail(error, ENOMEM, "no memory for signals");
	signals->callback = callback;
	signals->context = context;
	signals->fd = open_signals(numbers, error);

	int result = signals->fd < 0 ? signals->fd
				     : rail_loop_watch(loop, signals->fd, EPOLLIN, on_signal,
						       signals, &signals->source, error);

	if (result < 0)
		rail_signals_free(signals);
	else
		*ret_signals = signals;
	return result;
}

void rail_signals_free(struct rail_signals *signals)
{
	if (signals == NULL)
		return;
	rail_source_remove(&signals->source);
	if (signals->fd >= 0)
		(void)close(signals->fd);
	free(signals);
}

int rail_make_socket_directory(const char *socket_path, struct rail_error *error)
{
	char directory[PATH_MAX];
	size_t length = strlen(socket_path);

	if (length >= sizeof(directory))
		return rail_fail(error, ENAMETOOLONG, "the socket's path '%s' is too long",
				 socket_path);
	memcpy(directory, socket_path, length + 1);

	char *slash = strrchr(directory, '/');

	if (slash == NULL || slash == directory)
		return 0;
	*slash = '\0';
	return rail_make_directories(directory, error);
}
