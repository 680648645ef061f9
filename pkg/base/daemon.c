#include "pkg/base/daemon.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
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

void rail_notify(const char *state)
{
	const char *path = getenv("NOTIFY_SOCKET");
	struct sockaddr_un address = {.sun_family = AF_UNIX};
	size_t length = path == NULL ? 0 : strlen(path);

	if (length < 2 || length >= sizeof(address.sun_path) || (*path != '/' && *path != '@'))
		return;
	memcpy(address.sun_path, path, length);
	/* An abstract name (unix(7)) begins with a NUL and has none behind it. */
	if (*path == '@')
		address.sun_path[0] = '\0';

	RAIL_CLOSE int fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0);

	if (fd >= 0)
		(void)sendto(fd, state, strlen(state), MSG_NOSIGNAL,
			     (const struct sockaddr *)&address,
			     (socklen_t)(offsetof(struct sockaddr_un, sun_path) + length));
}

void rail_tell_ready(int fd)
{
	if (fd < 0)
		return;

	ssize_t written = write(fd, "\n", 1);

	(void)written;
	(void)close(fd);
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
