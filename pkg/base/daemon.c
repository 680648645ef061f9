#include "pkg/base/daemon.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdlib.h>
#include <string.h>
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
