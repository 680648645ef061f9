#include "plugins/railway-mesh/meshd/notices.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <sys/un.h>

#include "pkg/base/cleanup.h"
#include "pkg/base/log.h"
#include "pkg/dns/registration.h"

enum {
	TIMEOUT_MS = 5000,
	RETRY_MS = 1000,
	WAITING_MAXIMUM = 1 << 20,
};

/* One message at a time; the rest waits in order. */
struct meshd_notices {
	struct meshd *meshd;
	struct in6_addr *waiting;
	size_t count;
	size_t capacity;
	size_t sent; /* of the waiting ones, in the message under way */
	int fd;
	struct rail_source *source;
	struct rail_timer *timer;
};

static void send_next(struct meshd_notices *notices);

static void hang_up(struct meshd_notices *notices)
{
	rail_source_remove(&notices->source);
	if (notices->fd >= 0)
		(void)close(notices->fd);
	notices->fd = -EBADF;
	rail_timer_stop(notices->timer);
}

static void forget_sent(struct meshd_notices *notices)
{
	notices->count -= notices->sent;
	if (notices->count != 0)
		memmove(notices->waiting, notices->waiting + notices->sent,
			notices->count * sizeof(*notices->waiting));
	notices->sent = 0;
}

static void try_later(struct meshd_notices *notices)
{
	hang_up(notices);
	notices->sent = 0;
	rail_timer_start(notices->timer, RETRY_MS);
}

static void on_answer(void *context, uint32_t events)
{
	struct meshd_notices *notices = context;
	uint8_t bytes[RAIL_ASK_MESSAGE_SIZE];
	struct rail_error outcome = RAIL_ERROR_NONE;
	ssize_t size = recv(notices->fd, bytes, sizeof(bytes), MSG_DONTWAIT);

	(void)events;
	if (size < 0 && (errno == EWOULDBLOCK || errno == EINTR))
		return;
	if (size <= 0 ||
	    rail_reply_decode(RAIL_REGISTRATION_VERSION, bytes, (size_t)size, &outcome) < 0) {
		try_later(notices);
		return;
	}
	if (outcome.errnum != 0)
		rail_log(RAIL_LOG_WARN, "the resolver refuses a notice", "error", outcome.message,
			 NULL);
	hang_up(notices);
	if (outcome.code == RAIL_CODE_TRY_AGAIN) {
		try_later(notices);
		return;
	}
	forget_sent(notices);
	send_next(notices);
}

static int connect_to(struct meshd_notices *notices)
{
	const char *path = notices->meshd->settings.resolver_socket;
	struct sockaddr_un address = {.sun_family = AF_UNIX};

	memcpy(address.sun_path, path, strnlen(path, sizeof(address.sun_path) - 1));
	notices->fd = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	if (notices->fd < 0 ||
	    connect(notices->fd, (const struct sockaddr *)&address, sizeof(address)) < 0)
		return -errno;
	return rail_loop_watch(notices->meshd->loop, notices->fd, EPOLLIN, on_answer, notices,
			       &notices->source, NULL);
}

/* As many as one message holds, of one environment. */
static int send_message(struct meshd_notices *notices)
{
	struct rail_registration_request request = {.kind = RAIL_REGISTRATION_MEMBERS};
	uint8_t bytes[RAIL_ASK_MESSAGE_SIZE];

	request.prefix = rail_address_split(&notices->waiting[0]).prefix;
	while (notices->sent < notices->count &&
	       request.address_count < RAIL_REGISTRATION_MEMBERS_MAXIMUM &&
	       rail_prefix_contains(&request.prefix, &notices->waiting[notices->sent]))
		request.addresses[request.address_count++] = notices->waiting[notices->sent++];

	int size = rail_registration_encode(&request, bytes, sizeof(bytes));

	if (size < 0)
		return size;
	return send(notices->fd, bytes, (size_t)size, MSG_DONTWAIT | MSG_NOSIGNAL) < 0 ? -errno : 0;
}

static void send_next(struct meshd_notices *notices)
{
	if (notices->count == 0 || notices->fd >= 0)
		return;

	int result = connect_to(notices);

	if (result == -ENOENT || result == -ECONNREFUSED) {
		/* No resolver: the next one reads everything. */
		hang_up(notices);
		notices->count = 0;
		return;
	}
	if (result == 0)
		result = send_message(notices);
	if (result < 0)
		try_later(notices);
	else
		rail_timer_start(notices->timer, TIMEOUT_MS);
}

static void on_timer(void *context)
{
	struct meshd_notices *notices = context;

	if (notices->fd >= 0)
		try_later(notices);
	else
		send_next(notices);
}

void meshd_notices_add(struct meshd_notices *notices, const struct in6_addr *address)
{
	if (notices->count == notices->capacity) {
		size_t capacity = notices->capacity == 0 ? 64 : notices->capacity * 2;
		struct in6_addr *grown =
			capacity > WAITING_MAXIMUM
				? NULL
				: reallocarray(notices->waiting, capacity, sizeof(*grown));

		if (grown == NULL) {
			rail_log(RAIL_LOG_ERROR, "no room for the resolver's notices", NULL);
			return;
		}
		notices->waiting = grown;
		notices->capacity = capacity;
	}
	notices->waiting[notices->count++] = *address;
	/* From the loop, so that what comes in a row goes in one message. */
	if (notices->fd < 0)
		rail_timer_start(notices->timer, 0);
}

void meshd_notices_add_services(struct meshd_notices *notices, const struct rail_prefix *prefix)
{
	struct rail_address_parts parts = {.prefix = *prefix};
	struct in6_addr nobody = rail_address_compose(&parts);

	meshd_notices_add(notices, &nobody);
}

int meshd_notices_new(struct meshd *meshd, struct meshd_notices **ret_notices,
		      struct rail_error *error)
{
	struct meshd_notices *notices = calloc(1, sizeof(*notices));

	if (notices == NULL)
		return rail_fail(error, ENOMEM, "no memory for notices");
	notices->meshd = meshd;
	notices->fd = -EBADF;

	int result = rail_loop_timer(meshd->loop, on_timer, notices, &notices->timer, error);

	if (result < 0) {
		free(notices);
		return result;
	}
	*ret_notices = notices;
	return 0;
}

void meshd_notices_free(struct meshd_notices *notices)
{
	if (notices == NULL)
		return;
	hang_up(notices);
	rail_timer_remove(&notices->timer);
	free(notices->waiting);
	free(notices);
}
