#include "pkg/base/file.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "pkg/base/cleanup.h"

int64_t rail_monotonic_ms(void)
{
	struct timespec now;

	(void)clock_gettime(CLOCK_MONOTONIC, &now);
	return (int64_t)now.tv_sec * 1000 + now.tv_nsec / 1000000;
}

int64_t rail_wall_clock_us(void)
{
	struct timespec now;

	(void)clock_gettime(CLOCK_REALTIME, &now);
	return (int64_t)now.tv_sec * 1000000 + now.tv_nsec / 1000;
}

int rail_random(void *target, size_t size, struct rail_error *error)
{
	uint8_t *position = target;

	while (size > 0) {
		ssize_t got = getrandom(position, size, 0);

		if (got < 0 && errno == EINTR)
			continue;
		if (got < 0)
			return rail_fail_errno(error, errno, "read the kernel's random source");
		position += got;
		size -= (size_t)got;
	}
	return 0;
}

int rail_read_all(int fd, size_t maximum, char **ret_text, size_t *ret_size,
		  struct rail_error *error)
{
	RAIL_FREE char *text = NULL;
	size_t capacity = 0;
	size_t size = 0;

	for (;;) {
		if (capacity - size < 2) {
			size_t larger = capacity == 0 ? 4096 : capacity * 2;
			char *grown = realloc(text, larger);

			if (grown == NULL)
				return rail_fail_errno(error, ENOMEM, "read %zu bytes", larger);
			text = grown;
			capacity = larger;
		}

		ssize_t got = read(fd, text + size, capacity - size - 1);
		if (got < 0 && errno == EINTR)
			continue;
		if (got < 0)
			return rail_fail_errno(error, errno, "read");
		if (got == 0)
			break;
		size += (size_t)got;
		if (size > maximum)
			return rail_fail(error, EFBIG, "more than %zu bytes", maximum);
	}

	text[size] = '\0';
	*ret_text = RAIL_TAKE_POINTER(text);
	*ret_size = size;
	return 0;
}

int rail_read_file(const char *path, size_t maximum, char **ret_text, size_t *ret_size,
		   struct rail_error *error)
{
	RAIL_CLOSE int fd = open(path, O_RDONLY | O_CLOEXEC);

	if (fd < 0)
		return rail_fail_errno(error, errno, "open '%s'", path);

	int result = rail_read_all(fd, maximum, ret_text, ret_size, error);
	return rail_wrap(error, result, "'%s'", path);
}

int rail_make_directories(const char *path, struct rail_error *error)
{
	char partial[PATH_MAX];
	size_t length = strlen(path);
	struct stat status;

	if (length == 0 || length >= sizeof(partial))
		return rail_fail(error, ENAMETOOLONG, "directory '%.64s': name too long", path);
	memcpy(partial, path, length + 1);

	for (size_t i = 1; i <= length; i++) {
		if (partial[i] != '/' && partial[i] != '\0')
			continue;
		partial[i] = '\0';
		if (mkdir(partial, 0700) < 0 && errno != EEXIST)
			return rail_fail_errno(error, errno, "make directory '%s'", partial);
		partial[i] = path[i];
	}

	if (stat(path, &status) < 0)
		return rail_fail_errno(error, errno, "directory '%s'", path);
	if (!S_ISDIR(status.st_mode))
		return rail_fail_errno(error, ENOTDIR, "directory '%s'", path);
	return 0;
}

int rail_wait_ready(int fd, short events, int64_t deadline_ms)
{
	struct pollfd wait = {.fd = fd, .events = events};

	for (;;) {
		int64_t left_ms = deadline_ms - rail_monotonic_ms();
		int ready = poll(&wait, 1, left_ms > 0 ? (int)left_ms : 0);

		if (ready >= 0)
			return ready;
		if (errno != EINTR)
			return -errno;
	}
}

int rail_lock_file(int fd, int deadline_ms, const char *what, struct rail_error *error)
{
	int64_t end = rail_monotonic_ms() + deadline_ms;
	long pause_ns = 50000;

	for (;;) {
		struct flock whole = {.l_type = F_WRLCK, .l_whence = SEEK_SET};

		if (fcntl(fd, F_OFD_SETLK, &whole) == 0)
			return 0;
		if (errno != EAGAIN && errno != EACCES && errno != EINTR)
			return rail_fail_errno(error, errno, "lock %s", what);
		if (rail_monotonic_ms() >= end)
			return rail_fail_code(
				error, RAIL_CODE_TRY_AGAIN, ETIMEDOUT,
				"%s: another process has held the lock for %d ms; try again", what,
				deadline_ms);

		/* There is no blocking lock with a deadline: ask again, at growing distances. */
		struct timespec pause = {.tv_nsec = pause_ns};
		(void)nanosleep(&pause, NULL);
		if (pause_ns < 2000000)
			pause_ns += pause_ns / 2;
	}
}
