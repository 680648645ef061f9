#include "plugins/railway-dns/resolverd/watch.h"

#include <ctype.h>
#include <errno.h>
#include <limits.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/inotify.h>
#include <sys/queue.h>
#include <sys/syscall.h>

#include "pkg/base/cleanup.h"

struct directory {
	struct directory *next;
	int descriptor; /* inotify's; shared by directories that are one by two names */
	size_t watched_count;
	char path[];
};

struct rail_watched {
	LIST_ENTRY(rail_watched) link;
	struct rail_watch *watch;
	struct directory *directory; /* NULL: below /proc */
	int pidfd;
	struct rail_source *pidfd_source;
	char path[];
};

struct rail_watch {
	struct rail_loop *loop;
	void (*suspect)(void *context, const char *path);
	void *context;
	int inotify;
	struct rail_source *source;
	struct directory *directories;
	LIST_HEAD(, rail_watched) watched;
};

/* Whether directory and name make this path. */
static bool is_path(const char *path, const char *directory, const char *name)
{
	size_t length = strlen(directory);

	return strncmp(path, directory, length) == 0 && path[length] == '/' &&
	       strcmp(path + length + 1, name) == 0;
}

/* name NULL: everything there. */
static void suspect_in(struct rail_watch *watch, const struct directory *directory,
		       const char *name)
{
	struct rail_watched *watched;

	LIST_FOREACH(watched, &watch->watched, link)
	if (watched->directory == directory &&
	    (name == NULL || is_path(watched->path, directory->path, name)))
		watch->suspect(watch->context, watched->path);
}

static void handle(struct rail_watch *watch, const struct inotify_event *event)
{
	bool overflow = (event->mask & IN_Q_OVERFLOW) != 0;
	const char *name = !overflow && event->len != 0 ? event->name : NULL;

	for (struct directory *directory = watch->directories; directory != NULL;
	     directory = directory->next) {
		if (!overflow && directory->descriptor != event->wd)
			continue;
		suspect_in(watch, directory, name);
		/* The directory itself is gone. */
		if ((event->mask & IN_IGNORED) != 0)
			directory->descriptor = -1;
	}
}

static void remove_empty(struct rail_watch *watch)
{
	for (struct directory **link = &watch->directories; *link != NULL;) {
		struct directory *directory = *link;
		bool shared = false;

		if (directory->watched_count != 0) {
			link = &directory->next;
			continue;
		}
		*link = directory->next;
		for (struct directory *other = watch->directories; other != NULL;
		     other = other->next)
			shared = shared || other->descriptor == directory->descriptor;
		if (!shared && directory->descriptor >= 0)
			(void)inotify_rm_watch(watch->inotify, directory->descriptor);
		free(directory);
	}
}

static void on_inotify(void *context, uint32_t events)
{
	struct rail_watch *watch = context;
	_Alignas(struct inotify_event) char buffer[8192];
	ssize_t size = read(watch->inotify, buffer, sizeof(buffer));

	(void)events;
	for (size_t position = 0; size > 0 && position < (size_t)size;) {
		struct inotify_event *event = (void *)(buffer + position);

		position += sizeof(*event) + event->len;
		handle(watch, event);
	}
}

static void on_pidfd(void *context, uint32_t events)
{
	struct rail_watched *watched = context;

	(void)events;
	/* It will not change any more. */
	rail_source_remove(&watched->pidfd_source);
	watched->watch->suspect(watched->watch->context, watched->path);
}

/* The process of "/proc/<pid>/ns/net" and "/proc/<pid>/task/<tid>/ns/net"; 0: no such path. */
static pid_t process_of(const char *path)
{
	static const char start[] = "/proc/";
	char *end;

	if (strncmp(path, start, sizeof(start) - 1) != 0)
		return 0;
	path += sizeof(start) - 1;
	if (!isdigit((unsigned char)*path))
		return 0;

	long pid = strtol(path, &end, 10);

	return *end == '/' && pid > 0 && pid < INT_MAX ? (pid_t)pid : 0;
}

static int watch_process(struct rail_watch *watch, struct rail_watched *watched, pid_t pid,
			 struct rail_error *error)
{
	RAIL_CLOSE int pidfd = (int)syscall(SYS_pidfd_open, pid, 0);

	if (pidfd < 0)
		return rail_fail_errno(error, errno, "watch process %d", (int)pid);

	int result = rail_loop_watch(watch->loop, pidfd, EPOLLIN, on_pidfd, watched,
				     &watched->pidfd_source, error);

	if (result == 0)
		watched->pidfd = RAIL_TAKE_FD(pidfd);
	return result;
}

static int watch_directory(struct rail_watch *watch, struct rail_watched *watched,
			   struct rail_error *error)
{
	const char *slash = strrchr(watched->path, '/');
	size_t length = slash == NULL ? 0 : (size_t)(slash - watched->path);
	struct directory *directory = watch->directories;

	if (slash == NULL)
		return rail_fail(error, EINVAL, "'%s' is no absolute path", watched->path);
	while (directory != NULL && (strlen(directory->path) != length ||
				     memcmp(directory->path, watched->path, length) != 0))
		directory = directory->next;
	if (directory == NULL) {
		directory = calloc(1, sizeof(*directory) + length + 1);
		if (directory == NULL)
			return rail_fail(error, ENOMEM, "no memory to watch a directory");
		memcpy(directory->path, watched->path, length);
		directory->descriptor = -1;
		directory->next = watch->directories;
		watch->directories = directory;
	}

	/* New, or deleted since and made again. */
	if (directory->descriptor < 0)
		directory->descriptor =
			inotify_add_watch(watch->inotify, length == 0 ? "/" : directory->path,
					  IN_DELETE | IN_MOVED_FROM | IN_ONLYDIR);
	if (directory->descriptor < 0) {
		int result = rail_fail_errno(error, errno, "watch directory '%s'", directory->path);

		remove_empty(watch);
		return result;
	}
	directory->watched_count++;
	watched->directory = directory;
	return 0;
}

int rail_watch_add(struct rail_watch *watch, const char *path, struct rail_watched **ret_watched,
		   struct rail_error *error)
{
	size_t size = strlen(path) + 1;
	struct rail_watched *watched = calloc(1, sizeof(*watched) + size);
	pid_t pid = process_of(path);

	if (watched == NULL)
		return rail_fail(error, ENOMEM, "no memory to watch a netns");
	watched->watch = watch;
	watched->pidfd = -EBADF;
	memcpy(watched->path, path, size);

	int result = pid != 0 ? watch_process(watch, watched, pid, error)
			      : watch_directory(watch, watched, error);

	if (result < 0) {
		free(watched);
		return result;
	}
	LIST_INSERT_HEAD(&watch->watched, watched, link);
	*ret_watched = watched;
	return 0;
}

void rail_watch_remove(struct rail_watch *watch, struct rail_watched **pointer)
{
	struct rail_watched *watched = *pointer;

	*pointer = NULL;
	if (watched == NULL)
		return;
	LIST_REMOVE(watched, link);
	rail_source_remove(&watched->pidfd_source);
	if (watched->pidfd >= 0)
		(void)close(watched->pidfd);
	if (watched->directory != NULL)
		watched->directory->watched_count--;
	free(watched);
	remove_empty(watch);
}

int rail_watch_new(struct rail_loop *loop, void (*suspect)(void *context, const char *path),
		   void *context, struct rail_watch **ret_watch, struct rail_error *error)
{
	struct rail_watch *watch = calloc(1, sizeof(*watch));

	if (watch == NULL)
		return rail_fail(error, ENOMEM, "no memory to watch netns");
	watch->loop = loop;
	watch->suspect = suspect;
	watch->context = context;
	LIST_INIT(&watch->watched);
	watch->inotify = inotify_init1(IN_CLOEXEC | IN_NONBLOCK);

	int result = watch->inotify < 0 ? rail_fail_errno(error, errno, "inotify_init1")
					: rail_loop_watch(loop, watch->inotify, EPOLLIN, on_inotify,
							  watch, &watch->source, error);

	if (result < 0) {
		rail_watch_free(watch);
		return result;
	}
	*ret_watch = watch;
	return 0;
}

void rail_watch_free(struct rail_watch *watch)
{
	if (watch == NULL)
		return;
	while (!LIST_EMPTY(&watch->watched)) {
		struct rail_watched *watched = LIST_FIRST(&watch->watched);

		rail_watch_remove(watch, &watched);
	}
	rail_source_remove(&watch->source);
	if (watch->inotify >= 0)
		(void)close(watch->inotify);
	free(watch);
}
