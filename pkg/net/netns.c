#include "pkg/net/netns.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/magic.h>
#include <linux/nsfs.h>
#include <sched.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/stat.h>
#include <sys/vfs.h>
#include <time.h>
#include <unistd.h>

#include "pkg/base/cleanup.h"

enum { LEAVE_ATTEMPTS = 1000 };

/* A path from outside may name anything: opening must neither wait (FIFOs) nor take a terminal. */
#define OPEN_FLAGS (O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY)

static const char own_netns[] = "/proc/thread-self/ns/net";

/* 1 or 0; a negative errno value where that cannot be told, which is not the same as 0. */
static int is_netns(int fd)
{
	struct statfs filesystem;

	/* The file system first: ioctl numbers mean something else to other files. */
	if (fstatfs(fd, &filesystem) < 0)
		return -errno;
	return (unsigned long)filesystem.f_type == NSFS_MAGIC &&
	       ioctl(fd, NS_GET_NSTYPE) == CLONE_NEWNET;
}

static int identify(int fd, struct rail_netns_id *ret_id)
{
	struct stat status;

	if (fstat(fd, &status) < 0)
		return -errno;
	*ret_id = (struct rail_netns_id){.device = status.st_dev, .inode = status.st_ino};
	return 0;
}

static int identify_own(struct rail_netns_id *ret_id)
{
	RAIL_CLOSE int fd = open(own_netns, O_RDONLY | O_CLOEXEC);

	return fd < 0 ? -errno : identify(fd, ret_id);
}

int rail_netns_identify(int netns_fd, struct rail_netns_id *ret_id, struct rail_error *error)
{
	int result = identify(netns_fd, ret_id);

	return result < 0 ? rail_fail_errno(error, -result, "identify a netns") : 0;
}

bool rail_netns_id_equal(const struct rail_netns_id *one, const struct rail_netns_id *other)
{
	return one->device == other->device && one->inode == other->inode;
}

int rail_netns_open(const char *path, int *ret_fd, struct rail_netns_id *ret_id,
		    struct rail_error *error)
{
	RAIL_CLOSE int fd = open(path, OPEN_FLAGS);
	struct rail_netns_id id = {0};
	struct rail_netns_id own = {0};

	if (fd < 0) {
		int errnum = errno;

		return rail_fail_code(error, RAIL_CODE_INVALID_NETNS, errnum, "open netns '%s': %s",
				      path, strerrordesc_np(errnum));
	}
	int result = is_netns(fd);
	if (result == 0)
		return rail_fail_code(error, RAIL_CODE_INVALID_NETNS, ENOTTY,
				      "'%s' is no network namespace", path);
	if (result > 0)
		result = identify(fd, &id);
	if (result < 0)
		return rail_fail_errno(error, -result, "identify netns '%s'", path);
	result = identify_own(&own);
	if (result < 0)
		return rail_fail_errno(error, -result, "identify the host's netns (%s)", own_netns);
	if (rail_netns_id_equal(&id, &own))
		return rail_fail_code(error, RAIL_CODE_INVALID_NETNS, EINVAL,
				      "'%s' is the host's own network namespace; a pod needs one "
				      "of its own",
				      path);

	*ret_fd = RAIL_TAKE_FD(fd);
	*ret_id = id;
	return 0;
}

int rail_netns_reopen(const char *path, const struct rail_netns_id *expected, int *ret_fd)
{
	RAIL_CLOSE int fd = open(path, OPEN_FLAGS);
	struct rail_netns_id id = {0};
	struct rail_netns_id own = {0};

	if (fd < 0) {
		/* ESRCH: /proc/<pid>/ns/net of a process that is ending. */
		if (errno == ENOENT || errno == ENOTDIR || errno == ESRCH)
			return -ENOENT;
		return -errno;
	}
	int result = is_netns(fd);
	if (result == 0)
		return -ESTALE;
	if (result > 0)
		result = identify(fd, &id);
	if (result == 0)
		result = identify_own(&own);
	if (result < 0)
		return result;
	if (!rail_netns_id_equal(&id, expected) || rail_netns_id_equal(&id, &own))
		return -ESTALE;

	*ret_fd = RAIL_TAKE_FD(fd);
	return 0;
}

/* Back to the host's netns. That takes some memory, which comes again; whatever came next would be
 * done to the pod instead of the host. */
static void leave(int own_fd)
{
	const struct timespec pause = {.tv_nsec = 1000000};

	for (int attempt = 0; setns(own_fd, CLONE_NEWNET) < 0; attempt++) {
		if (errno != ENOMEM || attempt == LEAVE_ATTEMPTS)
			abort();
		(void)nanosleep(&pause, NULL);
	}
}

int rail_netns_run(int netns_fd, int (*function)(void *context, struct rail_error *error),
		   void *context, struct rail_error *error)
{
	RAIL_CLOSE int own_fd = open(own_netns, O_RDONLY | O_CLOEXEC);

	if (own_fd < 0)
		return rail_fail_errno(error, errno, "open %s", own_netns);
	if (setns(netns_fd, CLONE_NEWNET) < 0)
		return rail_fail_errno(error, errno, "enter the pod's netns");

	int result = function(context, error);

	leave(own_fd);
	return result;
}
