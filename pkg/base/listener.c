#include "pkg/base/listener.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <time.h>

#include "pkg/base/cleanup.h"
#include "pkg/base/file.h"

enum {
	BACKLOG = 1024,
	/* For a daemon that was killed a moment ago, and whose files are still being closed. */
	PREDECESSOR_MS = 1000,
	PREDECESSOR_PAUSE_MS = 10,
};

static int lock(struct rail_listener *listener, struct rail_error *error)
{
	char path[sizeof(listener->path) + sizeof(".lock")];

	(void)snprintf(path, sizeof(path), "%s.lock", listener->path);
	listener->lock = open(path, O_RDWR | O_CREAT | O_NOFOLLOW | O_CLOEXEC, 0600);
	if (listener->lock < 0)
		return rail_fail_errno(error, errno, "open '%s'", path);

	int result = rail_lock_file(listener->lock, PREDECESSOR_MS, path, error);

	if (result == -ETIMEDOUT)
		return rail_fail(error, EADDRINUSE, "another daemon serves '%s' (it holds '%s')",
				 listener->path, path);
	return result;
}

static int try_connect(const struct sockaddr_un *address)
{
	RAIL_CLOSE int fd = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);

	if (fd < 0 || connect(fd, (const struct sockaddr *)address, sizeof(*address)) < 0)
		return -errno;
	return 0;
}

/* Whether nobody serves the socket: with the lock held, that is no daemon of ours. */
static bool is_stale(const struct sockaddr_un *address)
{
	int64_t end_ms = rail_monotonic_ms() + PREDECESSOR_MS;

	while (try_connect(address) != -ECONNREFUSED) {
		struct timespec pause = {.tv_nsec = PREDECESSOR_PAUSE_MS * 1000000L};

		if (rail_monotonic_ms() >= end_ms)
			return false;
		(void)nanosleep(&pause, NULL);
	}
	return true;
}

static int clear_path(const struct sockaddr_un *address, struct rail_error *error)
{
	struct stat status;

	if (lstat(address->sun_path, &status) < 0)
		return errno == ENOENT ? 0
				       : rail_fail_errno(error, errno, "'%s'", address->sun_path);
	if (!S_ISSOCK(status.st_mode))
		return rail_fail(error, EEXIST, "'%s' is there and no socket", address->sun_path);
	if (!is_stale(address))
		return rail_fail(error, EADDRINUSE, "another process serves '%s'",
				 address->sun_path);
	if (unlink(address->sun_path) < 0)
		return rail_fail_errno(error, errno, "remove the stale socket '%s'",
				       address->sun_path);
	return 0;
}

static int listen_at(struct rail_listener *listener, struct rail_error *error)
{
	struct sockaddr_un address = {.sun_family = AF_UNIX};
	RAIL_CLOSE int fd = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);

	memcpy(address.sun_path, listener->path, sizeof(address.sun_path));
	if (fd < 0)
		return rail_fail_errno(error, errno, "make a Unix socket");

	int result = clear_path(&address, error);

	if (result < 0)
		return result;

	mode_t mask = umask(0177);
	int bound = bind(fd, (const struct sockaddr *)&address, sizeof(address));
	int cause = errno;

	(void)umask(mask);
	if (bound < 0)
		return rail_fail_errno(error, cause, "make the socket '%s'", listener->path);
	if (listen(fd, BACKLOG) < 0)
		return rail_fail_errno(error, errno, "listen at '%s'", listener->path);
	listener->socket = RAIL_TAKE_FD(fd);
	return 0;
}

int rail_listener_open(const char *path, const char *key, struct rail_listener *ret_listener,
		       struct rail_error *error)
{
	size_t length = strlen(path);
	struct rail_listener listener = RAIL_LISTENER_CLOSED;

	if (length == 0 || length >= sizeof(listener.path))
		return rail_fail_code(error, RAIL_CODE_INVALID_CONFIG, ENAMETOOLONG,
				      "%s '%s' has %zu bytes, a socket's path 1 to %zu", key, path,
				      length, sizeof(listener.path) - 1);
	memcpy(listener.path, path, length + 1);

	int result = lock(&listener, error);

	if (result == 0)
		result = listen_at(&listener, error);
	if (result < 0) {
		rail_listener_close(&listener);
		return result;
	}
	*ret_listener = listener;
	return 0;
}

void rail_listener_close(struct rail_listener *listener)
{
	if (listener->socket >= 0)
		(void)unlink(listener->path);
	rail_listener_release(listener);
}

void rail_listener_release(struct rail_listener *listener)
{
	if (listener->socket >= 0)
		(void)close(listener->socket);
	if (listener->lock >= 0)
		(void)close(listener->lock);
	*listener = RAIL_LISTENER_CLOSED;
}
