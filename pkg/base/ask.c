#include "pkg/base/ask.h"

#include <errno.h>
#include <poll.h>
#include <stdbool.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <sys/un.h>

#include "pkg/base/bytes.h"
#include "pkg/base/cleanup.h"
#include "pkg/base/file.h"

enum { ERRNUM_MAXIMUM = 4095 };

int rail_reply_encode(uint8_t version, const struct rail_error *outcome, uint8_t *message,
		      size_t capacity)
{
	struct rail_writer writer = rail_writer_init(message, capacity);
	bool failed = outcome->errnum != 0;

	if (outcome->errnum < 0 || outcome->errnum > ERRNUM_MAXIMUM || outcome->code < 0 ||
	    outcome->code > UINT16_MAX)
		return -EBADMSG;
	rail_write_u8(&writer, version);
	rail_write_u16(&writer, (uint16_t)outcome->errnum);
	rail_write_u16(&writer, failed ? (uint16_t)outcome->code : 0);
	rail_write_string(&writer, failed ? outcome->message : "");
	return writer.failed ? -EMSGSIZE : (int)writer.position;
}

int rail_reply_decode(uint8_t version, const uint8_t *message, size_t size,
		      struct rail_error *ret_outcome)
{
	struct rail_reader reader = rail_reader_init(message, size);
	uint8_t its_version = rail_read_u8(&reader);
	struct rail_error outcome = RAIL_ERROR_NONE;

	outcome.errnum = rail_read_u16(&reader);
	outcome.code = rail_read_u16(&reader);
	rail_read_string(&reader, outcome.message, sizeof(outcome.message));
	if (!reader.failed && its_version != version)
		return -EPROTO;
	if (reader.failed || rail_reader_left(&reader) != 0 || outcome.errnum > ERRNUM_MAXIMUM)
		return -EBADMSG;
	if (outcome.errnum == 0 && (outcome.code != 0 || *outcome.message != '\0'))
		return -EBADMSG;
	*ret_outcome = outcome;
	return 0;
}

static int fail_to_connect(const struct rail_ask_target *target, int cause,
			   struct rail_error *error)
{
	if (cause == ENOENT || cause == ECONNREFUSED)
		return rail_fail_code(error, RAIL_CODE_TRY_AGAIN, ECONNREFUSED,
				      "nobody serves %s socket '%s': start %s on this node",
				      target->whose, target->path, target->daemon);
	if (cause == EAGAIN)
		return rail_fail_code(error, RAIL_CODE_TRY_AGAIN, ETIMEDOUT,
				      "%s at '%s' is too busy to accept a connection",
				      target->daemon, target->path);
	return rail_fail_errno(error, cause, "connect to %s socket '%s'", target->whose,
			       target->path);
}

static int check_owner(const struct rail_ask_target *target, int fd, struct rail_error *error)
{
	struct ucred peer;
	socklen_t size = sizeof(peer);

	if (getsockopt(fd, SOL_SOCKET, SO_PEERCRED, &peer, &size) < 0)
		return rail_fail_errno(error, errno, "ask who serves '%s'", target->path);
	if (peer.uid != 0 && peer.uid != geteuid())
		return rail_fail_code(error, RAIL_CODE_INVALID_CONFIG, EPERM,
				      "%s socket '%s' is served by user %u, not by root: whoever "
				      "that is could answer in %s name",
				      target->whose, target->path, (unsigned int)peer.uid,
				      target->whose);
	return 0;
}

static int connect_to(const struct rail_ask_target *target, int *ret_fd, struct rail_error *error)
{
	struct sockaddr_un address = {.sun_family = AF_UNIX};
	size_t length = strlen(target->path);

	if (length == 0 || length >= sizeof(address.sun_path))
		return rail_fail_code(error, RAIL_CODE_INVALID_CONFIG, ENAMETOOLONG,
				      "%s '%s' has %zu bytes, a socket's path 1 to %zu",
				      target->key, target->path, length,
				      sizeof(address.sun_path) - 1);
	memcpy(address.sun_path, target->path, length + 1);

	RAIL_CLOSE int fd = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0);

	if (fd < 0)
		return rail_fail_errno(error, errno, "make a Unix socket");

	/* connect(2) waits while the daemon's queue of connections is full. */
	struct timeval limit = {.tv_sec = target->limit_ms / 1000 + 1};

	if (setsockopt(fd, SOL_SOCKET, SO_SNDTIMEO, &limit, sizeof(limit)) < 0)
		return rail_fail_errno(error, errno, "set a time limit on a Unix socket");
	if (connect(fd, (const struct sockaddr *)&address, sizeof(address)) < 0)
		return fail_to_connect(target, errno, error);

	int result = check_owner(target, fd, error);

	if (result == 0)
		*ret_fd = RAIL_TAKE_FD(fd);
	return result;
}

static int send_request(const struct rail_ask_target *target, int fd, const uint8_t *request,
			size_t size, int descriptor, struct rail_error *error)
{
	union {
		struct cmsghdr header;
		char space[CMSG_SPACE(sizeof(int))];
	} control = {0};
	struct iovec part = {.iov_base = (uint8_t *)request, .iov_len = size};
	struct msghdr message = {.msg_iov = &part, .msg_iovlen = 1};

	if (descriptor >= 0) {
		control.header.cmsg_level = SOL_SOCKET;
		control.header.cmsg_type = SCM_RIGHTS;
		control.header.cmsg_len = CMSG_LEN(sizeof(int));
		memcpy(CMSG_DATA(&control.header), &descriptor, sizeof(int));
		message.msg_control = &control;
		message.msg_controllen = sizeof(control.space);
	}
	/* A daemon that hears nothing from this user has said so already. */
	if (sendmsg(fd, &message, MSG_NOSIGNAL) < 0 && errno != EPIPE)
		return rail_fail_code(error, RAIL_CODE_TRY_AGAIN, errno, "send to %s: %s",
				      target->daemon, strerrordesc_np(errno));
	return 0;
}

static int receive_reply(const struct rail_ask_target *target, int fd, int64_t deadline_ms,
			 struct rail_error *ret_outcome, struct rail_error *error)
{
	uint8_t bytes[RAIL_ASK_MESSAGE_SIZE];
	int ready = rail_wait_ready(fd, POLLIN, deadline_ms);

	if (ready < 0)
		return rail_fail_errno(error, -ready, "wait for %s", target->daemon);
	if (ready == 0)
		return rail_fail_code(error, RAIL_CODE_TRY_AGAIN, ETIMEDOUT,
				      "%s did not answer within %d s; see its log", target->daemon,
				      target->limit_ms / 1000);

	/* MSG_TRUNC makes the message's whole size the result. */
	ssize_t size = recv(fd, bytes, sizeof(bytes), MSG_TRUNC);

	if (size <= 0)
		return rail_fail_code(error, RAIL_CODE_TRY_AGAIN, ECONNRESET,
				      "%s ended before it answered", target->daemon);
	if ((size_t)size > sizeof(bytes) ||
	    rail_reply_decode(target->version, bytes, (size_t)size, ret_outcome) < 0)
		return rail_fail(error, EBADMSG,
				 "%s gave an answer that this version does not understand: install "
				 "plugins and daemon of one release",
				 target->daemon);
	return 0;
}

int rail_ask_begin(const struct rail_ask_target *target, const uint8_t *request, size_t size,
		   int descriptor, int *ret_fd, struct rail_error *error)
{
	RAIL_CLOSE int fd = -EBADF;
	int result = connect_to(target, &fd, error);

	if (result == 0)
		result = send_request(target, fd, request, size, descriptor, error);
	if (result == 0)
		*ret_fd = RAIL_TAKE_FD(fd);
	return result;
}

int rail_ask(const struct rail_ask_target *target, const uint8_t *request, size_t size,
	     int descriptor, struct rail_error *error)
{
	int64_t deadline_ms = rail_monotonic_ms() + target->limit_ms;
	struct rail_error outcome = RAIL_ERROR_NONE;
	RAIL_CLOSE int fd = -EBADF;
	int result = rail_ask_begin(target, request, size, descriptor, &fd, error);

	if (result == 0)
		result = receive_reply(target, fd, deadline_ms, &outcome, error);
	if (result < 0 || outcome.errnum == 0)
		return result;
	return rail_fail_code(error, outcome.code, outcome.errnum, "%s", outcome.message);
}
