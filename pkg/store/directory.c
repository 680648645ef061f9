#include "pkg/store/directory.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/statvfs.h>

#include "pkg/base/cleanup.h"
#include "pkg/base/file.h"

enum { OTHERS_MAY_WRITE = S_IWGRP | S_IWOTH };

static int check_owner(const char *path, const struct stat *status, struct rail_error *error)
{
	if (status->st_uid != geteuid())
		return rail_fail_code(error, RAIL_CODE_IO, EPERM,
				      "'%s' belongs to user %u, and must belong to user %u, who "
				      "uses the store; chown it, or name another directory",
				      path, (unsigned int)status->st_uid, (unsigned int)geteuid());
	if (status->st_mode & OTHERS_MAY_WRITE)
		return rail_fail_code(error, RAIL_CODE_IO, EPERM,
				      "others than its owner may write to '%s' (mode %04o); "
				      "take that away: chmod go-w '%s'",
				      path, (unsigned int)status->st_mode & 07777, path);
	return 0;
}

static int open_checked(int parent_fd, const char *name, const char *path, int *ret_fd,
			struct rail_error *error)
{
	RAIL_CLOSE int fd =
		openat(parent_fd, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
	struct stat status;

	if (fd < 0 && (errno == ELOOP || errno == ENOTDIR))
		return rail_fail_code(error, RAIL_CODE_IO, errno,
				      "'%s' is no directory (a symbolic link to one is refused, "
				      "too); name the directory itself",
				      path);
	if (fd < 0 || fstat(fd, &status) < 0)
		return rail_fail_code(error, RAIL_CODE_IO, errno, "open directory '%s': %s", path,
				      strerrordesc_np(errno));

	int result = check_owner(path, &status, error);
	if (result < 0)
		return result;
	*ret_fd = RAIL_TAKE_FD(fd);
	return 0;
}

/* Without opening it: closing any descriptor of LMDB's lock file would drop the locks that this
 * process has on it. */
static int check_file(int directory_fd, const char *directory, const char *name,
		      struct rail_error *error)
{
	char path[PATH_MAX + 16];
	struct stat status;

	(void)snprintf(path, sizeof(path), "%s/%s", directory, name);
	if (fstatat(directory_fd, name, &status, AT_SYMLINK_NOFOLLOW) < 0) {
		if (errno == ENOENT)
			return 0;
		return rail_fail_code(error, RAIL_CODE_IO, errno, "look at '%s': %s", path,
				      strerrordesc_np(errno));
	}
	if (!S_ISREG(status.st_mode))
		return rail_fail_code(error, RAIL_CODE_IO, EINVAL,
				      "'%s' is no regular file (a symbolic link to one is refused, "
				      "too); remove it",
				      path);
	return check_owner(path, &status, error);
}

static int check_writable(int directory_fd, const char *path, struct rail_error *error)
{
	struct statvfs file_system;

	if (fstatvfs(directory_fd, &file_system) < 0)
		return rail_fail_code(error, RAIL_CODE_IO, errno,
				      "look at the file system of '%s': %s", path,
				      strerrordesc_np(errno));
	if (file_system.f_flag & ST_RDONLY)
		return rail_fail_code(
			error, RAIL_CODE_IO, EROFS,
			"'%s' is on a file system that is mounted read-only, and even "
			"who only reads the store must write to it; mount it "
			"read-write, or name another directory",
			path);
	return 0;
}

static int make_path(const char *parent, const char *name, char path[PATH_MAX],
		     struct rail_error *error)
{
	int length = snprintf(path, PATH_MAX, "%s/%s", parent, name);

	/* Room for the names of the files in it. */
	if (parent[0] == '\0' || length < 0 || (size_t)length >= PATH_MAX - 16)
		return rail_fail_code(error, RAIL_CODE_IO, ENAMETOOLONG,
				      "directory '%.64s': the name is empty or too long", parent);
	return 0;
}

/* Everything is there but the file that writers lock. */
static int open_in(int parent_fd, const char *name, const char *path, int *ret_lock_fd,
		   struct rail_error *error)
{
	static const char *const files[] = {"data.mdb", "lock.mdb", "write.lock"};
	RAIL_CLOSE int directory_fd = -EBADF;
	RAIL_CLOSE int lock_fd = -EBADF;

	int result = open_checked(parent_fd, name, path, &directory_fd, error);
	if (result < 0)
		return result;
	/* Again: a mount may stand here. */
	result = check_writable(directory_fd, path, error);
	for (size_t i = 0; result == 0 && i < sizeof(files) / sizeof(files[0]); i++)
		result = check_file(directory_fd, path, files[i], error);
	if (result < 0)
		return result;

	lock_fd =
		openat(directory_fd, "write.lock", O_RDWR | O_CREAT | O_NOFOLLOW | O_CLOEXEC, 0600);
	if (lock_fd < 0)
		return rail_fail_code(error, RAIL_CODE_IO, errno, "open '%s/write.lock': %s", path,
				      strerrordesc_np(errno));
	*ret_lock_fd = RAIL_TAKE_FD(lock_fd);
	return 0;
}

int rail_store_directory_open(const char *parent, const char *name, char ret_path[PATH_MAX],
			      int *ret_lock_fd, struct rail_error *error)
{
	RAIL_CLOSE int parent_fd = -EBADF;
	char path[PATH_MAX];

	int result = make_path(parent, name, path, error);
	if (result < 0)
		return result;
	result = rail_make_directories(parent, error);
	if (result < 0) {
		if (error != NULL)
			error->code = RAIL_CODE_IO;
		return result;
	}
	result = open_checked(AT_FDCWD, parent, parent, &parent_fd, error);
	if (result < 0)
		return result;
	result = check_writable(parent_fd, parent, error);
	if (result < 0)
		return result;

	if (mkdirat(parent_fd, name, 0700) < 0 && errno != EEXIST)
		return rail_fail_code(error, RAIL_CODE_IO, errno, "make directory '%s': %s", path,
				      strerrordesc_np(errno));
	result = open_in(parent_fd, name, path, ret_lock_fd, error);
	if (result == 0)
		memcpy(ret_path, path, strlen(path) + 1);
	return result;
}

int rail_store_directory_find(const char *parent, const char *name, char ret_path[PATH_MAX],
			      int *ret_lock_fd, struct rail_error *error)
{
	RAIL_CLOSE int parent_fd = -EBADF;
	char data[PATH_MAX + 16];
	char path[PATH_MAX];
	struct stat status;

	int result = make_path(parent, name, path, error);
	if (result < 0)
		return result;
	(void)snprintf(data, sizeof(data), "%s/data.mdb", path);
	if (lstat(data, &status) < 0) {
		if (errno != ENOENT)
			return rail_fail_code(error, RAIL_CODE_IO, errno, "look at '%s': %s", data,
					      strerrordesc_np(errno));
		status.st_size = 0;
	}
	memcpy(ret_path, path, strlen(path) + 1);
	/* Who makes the file and dies leaves an empty one. */
	if (status.st_size == 0)
		return 0;

	result = open_checked(AT_FDCWD, parent, parent, &parent_fd, error);
	if (result == 0)
		result = open_in(parent_fd, name, path, ret_lock_fd, error);
	return result < 0 ? result : 1;
}
