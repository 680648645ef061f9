#include "plugins/railway-dns/resolverd/nameservers.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/inotify.h>
#include <sys/stat.h>

#include "pkg/base/cleanup.h"
#include "pkg/base/file.h"
#include "pkg/base/log.h"
#include "pkg/dns/nameservers.h"

#define RESOLV_CONF "/etc/resolv.conf"

enum {
	FILE_SIZE_MAXIMUM = 64 * 1024,
	SETTLE_MS = 100, /* whoever writes the file may not be done yet */
	RETRY_MS = 5000,
};

struct rail_node_nameservers {
	struct rail_worker_process *worker;
	struct rail_endpoint endpoints[RAIL_UPSTREAM_MAXIMUM];
	size_t count;
	int inotify;
	struct rail_source *source;
	struct rail_timer *settle;
	bool settles;
};

_Static_assert((int)RAIL_UPSTREAM_MAXIMUM == (int)RAIL_UPSTREAMS_MAXIMUM,
	       "a message has room for all of the node's nameservers");

void rail_node_nameservers_send(struct rail_node_nameservers *nameservers)
{
	struct rail_channel_message message = {
		.kind = RAIL_CHANNEL_UPSTREAMS,
		.upstream_count = (uint8_t)nameservers->count,
	};

	memcpy(message.upstreams, nameservers->endpoints, sizeof(message.upstreams));
	rail_worker_process_send(nameservers->worker, &message);
}

/* The file's directory, and that of the file that it may be a link to: neither writing into the
 * file nor putting another in its place goes unnoticed. And the file itself, which may be mounted
 * there: what is written to it then happens in no directory that is seen here. Watching twice
 * changes nothing. */
static void watch_file(struct rail_node_nameservers *nameservers)
{
	const uint32_t events = IN_CLOSE_WRITE | IN_MOVED_TO | IN_CREATE | IN_DELETE;
	RAIL_FREE char *target = realpath(RESOLV_CONF, NULL);
	char *slash = target == NULL ? NULL : strrchr(target, '/');

	(void)inotify_add_watch(nameservers->inotify, "/etc", events);
	(void)inotify_add_watch(nameservers->inotify, RESOLV_CONF, IN_CLOSE_WRITE);
	if (slash != NULL && slash != target) {
		*slash = '\0';
		(void)inotify_add_watch(nameservers->inotify, target, events);
	}
}

static bool is_same(const struct rail_node_nameservers *nameservers,
		    const struct rail_endpoint *endpoints, size_t count)
{
	if (count != nameservers->count)
		return false;
	for (size_t i = 0; i < count; i++) {
		const struct rail_endpoint *one = &nameservers->endpoints[i];

		/* The longer of the two families; the rest of the shorter one is zero. */
		if (one->family != endpoints[i].family || one->port != endpoints[i].port ||
		    memcmp(&one->address.v6, &endpoints[i].address.v6, sizeof(one->address.v6)) !=
			    0)
			return false;
	}
	return true;
}

static int read_file(char **ret_text, struct rail_error *error)
{
	RAIL_CLOSE int fd = open(RESOLV_CONF, O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY);
	struct stat status;
	size_t size;

	if (fd < 0 || fstat(fd, &status) < 0)
		return rail_fail_errno(error, errno, "open " RESOLV_CONF);
	/* Others may have no end, or none yet. */
	if (!S_ISREG(status.st_mode))
		return rail_fail(error, EINVAL, RESOLV_CONF " is no regular file");
	return rail_read_all(fd, FILE_SIZE_MAXIMUM, ret_text, &size, error);
}

void rail_node_nameservers_read(struct rail_node_nameservers *nameservers)
{
	struct rail_error error = RAIL_ERROR_NONE;
	RAIL_FREE char *text = NULL;
	struct rail_endpoint endpoints[RAIL_UPSTREAM_MAXIMUM] = {0};
	size_t count;
	int result;

	watch_file(nameservers);
	result = read_file(&text, &error);
	if (result < 0) {
		/* Out of descriptors, or between two versions of the file: those that were read
		 * before are better than none. Where it is not there its coming is watched for. */
		rail_log(RAIL_LOG_WARN, "the node's nameservers cannot be read", "error",
			 error.message, NULL);
		if (result != -ENOENT && !nameservers->settles)
			rail_timer_start(nameservers->settle, RETRY_MS);
		return;
	}
	count = rail_nameservers_parse(text, endpoints);
	if (is_same(nameservers, endpoints, count))
		return;

	char number[24];

	(void)snprintf(number, sizeof(number), "%zu", count);
	rail_log(RAIL_LOG_INFO, "the node's nameservers are read", "file", RESOLV_CONF, "count",
		 number, NULL);
	memcpy(nameservers->endpoints, endpoints, sizeof(endpoints));
	nameservers->count = count;
	if (nameservers->worker != NULL)
		rail_node_nameservers_send(nameservers);
}

static void on_inotify(void *context, uint32_t events)
{
	struct rail_node_nameservers *nameservers = context;
	_Alignas(struct inotify_event) char buffer[4096];

	(void)events;
	/* Which file it was does not matter: reading it costs little, and /etc changes seldom. */
	(void)!read(nameservers->inotify, buffer, sizeof(buffer));
	/* Not put off by the next event: where something always happens it would never be read. */
	if (!nameservers->settles)
		rail_timer_start(nameservers->settle, SETTLE_MS);
	nameservers->settles = true;
}

static void on_settled(void *context)
{
	struct rail_node_nameservers *nameservers = context;

	nameservers->settles = false;
	rail_node_nameservers_read(nameservers);
}

int rail_node_nameservers_new(struct rail_loop *loop,
			      struct rail_node_nameservers **ret_nameservers,
			      struct rail_error *error)
{
	struct rail_node_nameservers *nameservers = calloc(1, sizeof(*nameservers));

	if (nameservers == NULL)
		return rail_fail(error, ENOMEM, "no memory for the node's nameservers");
	nameservers->inotify = inotify_init1(IN_CLOEXEC | IN_NONBLOCK);

	int result = nameservers->inotify < 0
			     ? rail_fail_errno(error, errno, "inotify_init1")
			     : rail_loop_watch(loop, nameservers->inotify, EPOLLIN, on_inotify,
					       nameservers, &nameservers->source, error);

	if (result == 0)
		result =
			rail_loop_timer(loop, on_settled, nameservers, &nameservers->settle, error);
	if (result < 0) {
		rail_node_nameservers_free(nameservers);
		return result;
	}
	rail_node_nameservers_read(nameservers);
	*ret_nameservers = nameservers;
	return 0;
}

void rail_node_nameservers_set_worker(struct rail_node_nameservers *nameservers,
				      struct rail_worker_process *worker)
{
	nameservers->worker = worker;
}

void rail_node_nameservers_free(struct rail_node_nameservers *nameservers)
{
	if (nameservers == NULL)
		return;
	rail_source_remove(&nameservers->source);
	rail_timer_remove(&nameservers->settle);
	if (nameservers->inotify >= 0)
		(void)close(nameservers->inotify);
	free(nameservers);
}
