#include "plugins/railway-dns/resolverd/handover.h"

#include <errno.h>
#include <poll.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>

#include "pkg/base/bytes.h"
#include "pkg/base/cleanup.h"
#include "pkg/base/file.h"
#include "pkg/dns/registration.h"

/*
 * Behind the request, each message is its kind and what belongs to it; two descriptors stand beside
 * the first two. Between two releases these formats stay, or RAIL_REGISTRATION_VERSION changes.
 */
enum kind {
	LISTENER = 1, /* its socket and its lock */
	POD,	      /* a key; UDP and TCP socket */
	END,
	TAKEN, /* from the new to the old one */
};

enum {
	DESCRIPTOR_COUNT = 2,
	RETRY_PAUSE_MS = 20,
};

/* Waits until the connection is ready for events, or the deadline. */
static int wait_for(int connection, short events, int64_t deadline_ms, struct rail_error *error)
{
	int ready = rail_wait_ready(connection, events, deadline_ms);

	if (ready < 0)
		return rail_fail_errno(error, -ready, "wait for the other railway-resolverd");
	if (ready == 0)
		return rail_fail_code(error, RAIL_CODE_TRY_AGAIN, ETIMEDOUT,
				      "the other railway-resolverd is silent");
	return 0;
}

static void pause_ms(long duration_ms)
{
	const struct timespec pause = {.tv_nsec = duration_ms * 1000000L};

	(void)nanosleep(&pause, NULL);
}

/* fds: two, or NULL. */
static int send_message(int connection, const void *bytes, size_t size, const int *fds,
			int64_t deadline_ms, struct rail_error *error)
{
	union {
		struct cmsghdr header;
		char space[CMSG_SPACE(DESCRIPTOR_COUNT * sizeof(int))];
	} control = {0};
	struct iovec part = {.iov_base = (void *)bytes, .iov_len = size};
	struct msghdr message = {.msg_iov = &part, .msg_iovlen = 1};

	if (fds != NULL) {
		control.header.cmsg_level = SOL_SOCKET;
		control.header.cmsg_type = SCM_RIGHTS;
		control.header.cmsg_len = CMSG_LEN(DESCRIPTOR_COUNT * sizeof(int));
		memcpy(CMSG_DATA(&control.header), fds, DESCRIPTOR_COUNT * sizeof(int));
		message.msg_control = &control;
		message.msg_controllen = sizeof(control.space);
	}
	for (;;) {
		int result;

		if (sendmsg(connection, &message, MSG_DONTWAIT | MSG_NOSIGNAL) >= 0)
			return 0;
		/* Too many descriptors on their way at once: until the other has read some. */
		if (errno == ETOOMANYREFS || errno == ENOBUFS) {
			if (rail_monotonic_ms() >= deadline_ms)
				return rail_fail_errno(error, ETIMEDOUT, "hand a socket over");
			pause_ms(RETRY_PAUSE_MS);
			continue;
		}
		if (errno != EWOULDBLOCK && errno != EINTR)
			return rail_fail_errno(error, errno, "hand a socket over");
		result = wait_for(connection, POLLOUT, deadline_ms, error);
		if (result < 0)
			return result;
	}
}

/* Takes two descriptors or none; anything else is an error. */
static int take_descriptors(struct msghdr *message, int fds[DESCRIPTOR_COUNT])
{
	struct cmsghdr *header = CMSG_FIRSTHDR(message);

	fds[0] = fds[1] = -EBADF;
	if ((message->msg_flags & MSG_CTRUNC) != 0)
		return -EMFILE;
	if (header == NULL)
		return 0;
	if (header->cmsg_level != SOL_SOCKET || header->cmsg_type != SCM_RIGHTS)
		return -EBADMSG;
	/* There is room for two, and one alone does not come from us. */
	memcpy(fds, CMSG_DATA(header), header->cmsg_len - CMSG_LEN(0));
	return header->cmsg_len == CMSG_LEN(DESCRIPTOR_COUNT * sizeof(int)) ? DESCRIPTOR_COUNT
									    : -EBADMSG;
}

static int receive_message(int connection, uint8_t *bytes, size_t capacity,
			   int fds[DESCRIPTOR_COUNT], size_t *ret_size, int64_t deadline_ms,
			   struct rail_error *error)
{
	union {
		struct cmsghdr header;
		char space[CMSG_SPACE(DESCRIPTOR_COUNT * sizeof(int))];
	} control;
	struct iovec part = {.iov_base = bytes, .iov_len = capacity};
	struct msghdr message = {
		.msg_iov = &part,
		.msg_iovlen = 1,
		.msg_control = &control,
		.msg_controllen = sizeof(control.space),
	};
	int result = wait_for(connection, POLLIN, deadline_ms, error);

	if (result < 0)
		return result;

	ssize_t size = recvmsg(connection, &message, MSG_DONTWAIT | MSG_CMSG_CLOEXEC);

	if (size <= 0)
		return rail_fail_code(error, RAIL_CODE_TRY_AGAIN, ECONNRESET,
				      "the other railway-resolverd hung up");
	result = take_descriptors(&message, fds);
	if (result < 0 || (message.msg_flags & MSG_TRUNC) != 0) {
		for (int i = 0; i < DESCRIPTOR_COUNT; i++)
			if (fds[i] >= 0)
				(void)close(fds[i]);
		return rail_fail_errno(error, result == -EMFILE ? EMFILE : EBADMSG,
				       "take a socket over");
	}
	*ret_size = (size_t)size;
	return result;
}

/* ---- the old daemon -------------------------------------------------------------------------- */

int rail_handover_give(int connection, const struct rail_listener *listener,
		       const struct rail_handed_pod *pods, size_t count, struct rail_error *error)
{
	int64_t deadline_ms = rail_monotonic_ms() + RAIL_HANDOVER_DEADLINE_MS;
	const int listener_fds[DESCRIPTOR_COUNT] = {listener->socket, listener->lock};
	uint8_t bytes[RAIL_ASK_MESSAGE_SIZE] = {LISTENER};
	int fds[DESCRIPTOR_COUNT];
	size_t size;
	int result = send_message(connection, bytes, 1, listener_fds, deadline_ms, error);

	for (size_t i = 0; i < count && result == 0; i++) {
		const int pod_fds[DESCRIPTOR_COUNT] = {pods[i].sockets.udp, pods[i].sockets.tcp};
		struct rail_writer writer = rail_writer_init(bytes, sizeof(bytes));

		rail_write_u8(&writer, POD);
		rail_write_string(&writer, pods[i].key.network);
		rail_write_string(&writer, pods[i].key.container_id);
		rail_write_string(&writer, pods[i].key.interface);
		result = send_message(connection, bytes, writer.position, pod_fds, deadline_ms,
				      error);
	}
	bytes[0] = END;
	if (result == 0)
		result = send_message(connection, bytes, 1, NULL, deadline_ms, error);
	if (result == 0)
		result = receive_message(connection, bytes, sizeof(bytes), fds, &size, deadline_ms,
					 error);
	if (result < 0)
		return result;
	if (result != 0 || size != 1 || bytes[0] != TAKEN)
		return rail_fail(error, EBADMSG, "the other railway-resolverd does not confirm");
	return 0;
}

/* ---- the new daemon -------------------------------------------------------------------------- */

static int append(struct rail_handed *handed, const uint8_t *bytes, size_t size, int fds[])
{
	struct rail_reader reader = rail_reader_init(bytes, size);
	struct rail_handed_pod pod = {.sockets = {.udp = fds[0], .tcp = fds[1]}};

	(void)rail_read_u8(&reader);
	rail_read_string(&reader, pod.key.network, sizeof(pod.key.network));
	rail_read_string(&reader, pod.key.container_id, sizeof(pod.key.container_id));
	rail_read_string(&reader, pod.key.interface, sizeof(pod.key.interface));
	if (reader.failed || rail_reader_left(&reader) != 0)
		return -EBADMSG;
	if (handed->count == handed->capacity) {
		size_t capacity = handed->capacity == 0 ? 64 : handed->capacity * 2;
		struct rail_handed_pod *grown =
			reallocarray(handed->pods, capacity, sizeof(handed->pods[0]));

		if (grown == NULL)
			return -ENOMEM;
		handed->pods = grown;
		handed->capacity = capacity;
	}
	handed->pods[handed->count++] = pod;
	return 0;
}

/* Keeps what a message brings. Returns 1 at the end. */
static int keep(struct rail_handed *handed, const uint8_t *bytes, size_t size, int fds[],
		bool has_fds)
{
	if (bytes[0] == END && size == 1 && !has_fds)
		return handed->listener.socket >= 0 ? 1 : -EBADMSG;
	if (bytes[0] == LISTENER && size == 1 && has_fds && handed->listener.socket < 0) {
		handed->listener.socket = RAIL_TAKE_FD(fds[0]);
		handed->listener.lock = RAIL_TAKE_FD(fds[1]);
		return 0;
	}
	if (bytes[0] == POD && has_fds) {
		int result = append(handed, bytes, size, fds);

		if (result == 0)
			fds[0] = fds[1] = -EBADF;
		return result;
	}
	return -EBADMSG;
}

static int receive_all(struct rail_handed *handed, struct rail_error *error)
{
	int64_t deadline_ms = rail_monotonic_ms() + RAIL_HANDOVER_DEADLINE_MS;
	int result;

	do {
		uint8_t bytes[RAIL_ASK_MESSAGE_SIZE];
		int fds[DESCRIPTOR_COUNT] = {-EBADF, -EBADF};
		size_t size = 0;
		struct rail_error refusal = RAIL_ERROR_NONE;

		result = receive_message(handed->connection, bytes, sizeof(bytes), fds, &size,
					 deadline_ms, error);
		if (result < 0)
			return result;
		/* What it cannot give now it answers like any request; such an answer's length and
		 * first bytes are none of a message of ours. */
		if (result == 0 && size > 1 &&
		    rail_reply_decode(RAIL_REGISTRATION_VERSION, bytes, size, &refusal) == 0)
			return rail_fail_code(error, refusal.code, EAGAIN, "%s", refusal.message);
		result = keep(handed, bytes, size, fds, result != 0);
		for (int i = 0; i < DESCRIPTOR_COUNT; i++)
			if (fds[i] >= 0)
				(void)close(fds[i]);
	} while (result == 0);
	if (result < 0)
		return rail_fail_errno(error, -result,
				       "take over from the other "
				       "railway-resolverd");
	return 0;
}

static int compare_keys(const void *one, const void *other)
{
	const struct rail_attachment_key *left = &((const struct rail_handed_pod *)one)->key;
	const struct rail_attachment_key *right = &((const struct rail_handed_pod *)other)->key;
	int order = strcmp(left->container_id, right->container_id);

	if (order == 0)
		order = strcmp(left->network, right->network);
	return order != 0 ? order : strcmp(left->interface, right->interface);
}

int rail_handover_take(const char *path, struct rail_handed *ret_handed, struct rail_error *error)
{
	const struct rail_registration_request request = {.kind = RAIL_REGISTRATION_HAND_OVER};
	int64_t patience_end_ms = rail_monotonic_ms() + RAIL_HANDOVER_PATIENCE_MS;

	for (;;) {
		struct rail_handed handed = RAIL_HANDED_NONE;
		int result = rail_registration_begin(path, &request, &handed.connection, error);

		if (result == 0)
			result = receive_all(&handed, error);
		if (result == 0) {
			/* As long as sun_path: it was connected to. */
			(void)memccpy(handed.listener.path, path, '\0',
				      sizeof(handed.listener.path));
			if (handed.count != 0)
				qsort(handed.pods, handed.count, sizeof(handed.pods[0]),
				      compare_keys);
			*ret_handed = handed;
			return 0;
		}
		rail_handed_done(&handed);
		if (result != -EAGAIN || rail_monotonic_ms() >= patience_end_ms)
			return result;
		pause_ms(RETRY_PAUSE_MS);
	}
}

struct rail_pod_sockets rail_handed_sockets(struct rail_handed *handed,
					    const struct rail_attachment_key *key)
{
	const struct rail_handed_pod wanted = {.key = *key};
	struct rail_handed_pod *pod =
		handed->count == 0
			? NULL
			: bsearch(&wanted, handed->pods, handed->count, sizeof(*pod), compare_keys);
	struct rail_pod_sockets sockets = RAIL_POD_SOCKETS_CLOSED;

	if (pod != NULL) {
		sockets = pod->sockets;
		pod->sockets = RAIL_POD_SOCKETS_CLOSED;
	}
	return sockets;
}

void rail_handed_confirm(struct rail_handed *handed)
{
	static const uint8_t taken[] = {TAKEN};

	if (handed->connection >= 0)
		(void)send(handed->connection, taken, sizeof(taken), MSG_NOSIGNAL | MSG_DONTWAIT);
}

void rail_handed_done(struct rail_handed *handed)
{
	for (size_t i = 0; i < handed->count; i++)
		rail_pod_sockets_close(&handed->pods[i].sockets);
	free(handed->pods);
	if (handed->connection >= 0)
		(void)close(handed->connection);
	rail_listener_release(&handed->listener);
	*handed = RAIL_HANDED_NONE;
}
