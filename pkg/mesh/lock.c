#include "pkg/mesh/lock.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <sys/stat.h>
#include <unistd.h>

#include "pkg/base/cleanup.h"
#include "pkg/base/file.h"

static int open_lock_file(const char *run_directory, const char *path, int *ret_fd,
			  struct rail_error *error)
{
	int fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0600);

	if (fd < 0 && errno == ENOENT) {
		char directory[300];

		(void)snprintf(directory, sizeof(directory), "%s/locks", run_directory);
		int result = rail_make_directories(directory, error);
		if (result < 0)
			return result;
		fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0600);
	}
	if (fd < 0)
		return rail_fail_errno(error, errno, "open the lock '%s'", path);
	*ret_fd = fd;
	return 0;
}

int rail_environment_lock_take_within(const char *run_directory, const struct rail_prefix *prefix,
				      int deadline_ms, struct rail_environment_lock *ret_lock,
				      struct rail_error *error)
{
	struct rail_environment_lock lock = RAIL_ENVIRONMENT_LOCK_NONE;
	char what[64];
	const uint8_t *b = prefix->bytes;

	(void)snprintf(lock.path, sizeof(lock.path), "%s/locks/%02x%02x%02x%02x%02x%02x",
		       run_directory, b[0], b[1], b[2], b[3], b[4], b[5]);
	(void)snprintf(what, sizeof(what), "environment %02x%02x:%02x%02x:%02x%02x::/48", b[0],
		       b[1], b[2], b[3], b[4], b[5]);

	int64_t end = rail_monotonic_ms() + deadline_ms;
	for (;;) {
		RAIL_CLOSE int fd = -1;
		struct stat status;
		int64_t left = end - rail_monotonic_ms();

		int result = open_lock_file(run_directory, lock.path, &fd, error);
		if (result < 0)
			return result;
		result = rail_lock_file(fd, left > 0 ? (int)left : 0, what, error);
		if (result < 0)
			return result;
		if (fstat(fd, &status) < 0)
			return rail_fail_errno(error, errno, "lock '%s'", lock.path);
		if (status.st_nlink == 0)
			continue; /* its last holder took the file away: that lock is nobody's */

		lock.needs_repair = status.st_size > 0;
		if (pwrite(fd, "w", 1, 0) != 1)
			return rail_fail_errno(error, errno, "mark the lock '%s'", lock.path);
		lock.fd = RAIL_TAKE_FD(fd);
		*ret_lock = lock;
		return 0;
	}
}

int rail_environment_lock_take(const char *run_directory, const struct rail_prefix *prefix,
			       struct rail_environment_lock *ret_lock, struct rail_error *error)
{
	return rail_environment_lock_take_within(
		run_directory, prefix, RAIL_ENVIRONMENT_LOCK_DEADLINE_MS, ret_lock, error);
}

void rail_environment_lock_finish(struct rail_environment_lock *lock, bool empty)
{
	if (lock->fd < 0)
		return;
	if (empty)
		(void)unlink(lock->path);
	/* A mark that cannot be taken away costs the next holder a repair, nothing more. */
	(void)!ftruncate(lock->fd, 0);
	(void)close(lock->fd);
	lock->fd = -1;
}

void rail_environment_lock_abandon(struct rail_environment_lock *lock)
{
	if (lock->fd >= 0)
		(void)close(lock->fd);
	lock->fd = -1;
}
