#include "pkg/dns/registration.h"

#include <errno.h>
#include <poll.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <sys/un.h>

#include "pkg/base/bytes.h"
#include "pkg/base/cleanup.h"
#include "pkg/base/file.h"

enum { ERRNUM_MAXIMUM = 4095 };

static bool is_kind(unsigned int kind)
{
	return kind >= RAIL_REGISTRATION_ADD && kind <= RAIL_REGISTRATION_MEMBERS;
}

/* Whether it is about an attachment. */
static bool has_key(enum rail_registration_kind kind)
{
	return kind >= RAIL_REGISTRATION_ADD && kind <= RAIL_REGISTRATION_CHECK;
}

int rail_registration_encode(const struct rail_registration_request *request, uint8_t *message,
			     size_t capacity)
{
	struct rail_writer writer = rail_writer_init(message, capacity);

	if (!is_kind(request->kind))
		return -EBADMSG;
	rail_write_u8(&writer, RAIL_REGISTRATION_VERSION);
	rail_write_u8(&writer, (uint8_t)request->kind);
	if (has_key(request->kind)) {
		const struct rail_attachment_key *key = &request->key;

		if (*key->network == '\0' || *key->container_id == '\0' || *key->interface == '\0')
			return -EBADMSG;
		rail_write_string(&writer, key->network);
		rail_write_string(&writer, key->container_id);
		rail_write_string(&writer, key->interface);
	}
	if (request->kind == RAIL_REGISTRATION_MEMBERS) {
		if (request->address_count > RAIL_REGISTRATION_MEMBERS_MAXIMUM)
			return -EMSGSIZE;
		rail_write_bytes(&writer, request->prefix.bytes, sizeof(request->prefix.bytes));
		rail_write_u8(&writer, (uint8_t)request->address_count);
		for (size_t i = 0; i < request->address_count; i++)
			rail_write_bytes(&writer, request->addresses[i].s6_addr,
					 sizeof(request->addresses[i].s6_addr));
	}
	return writer.failed ? -EMSGSIZE : (int)writer.position;
}

static bool read_members(struct rail_reader *reader, struct rail_registration_request *request)
{
	rail_read_bytes(reader, request->prefix.bytes, sizeof(request->prefix.bytes));
	request->address_count = rail_read_u8(reader);
	if (request->address_count > RAIL_REGISTRATION_MEMBERS_MAXIMUM)
		return false;
	for (size_t i = 0; i < request->address_count; i++) {
		rail_read_bytes(reader, request->addresses[i].s6_addr,
				sizeof(request->addresses[i].s6_addr));
		if (!rail_prefix_contains(&request->prefix, &request->addresses[i]))
			return false;
	}
	return true;
}

int rail_registration_decode(const uint8_t *message, size_t size,
			     struct rail_registration_request *ret_request)
{
	struct rail_reader reader = rail_reader_init(message, size);
	uint8_t version = rail_read_u8(&reader);
	uint8_t kind = rail_read_u8(&reader);
	struct rail_registration_request request = {.kind = kind};

	if (!reader.failed && version != RAIL_REGISTRATION_VERSION)
		return -EPROTO;
	if (reader.failed || !is_kind(kind))
		return -EBADMSG;
	if (has_key(request.kind)) {
		struct rail_attachment_key *key = &request.key;

		rail_read_string(&reader, key->network, sizeof(key->network));
		rail_read_string(&reader, key->container_id, sizeof(key->container_id));
		rail_read_string(&reader, key->interface, sizeof(key->interface));
		if (*key->network == '\0' || *key->container_id == '\0' || *key->interface == '\0')
			return -EBADMSG;
	}
	if (request.kind == RAIL_REGISTRATION_MEMBERS && !read_members(&reader, &request))
		return -EBADMSG;
	if (reader.failed || rail_reader_left(&reader) != 0)
		return -EBADMSG;
	*ret_request = request;
	return 0;
}

int rail_registration_encode_reply(const struct rail_error *outcome, uint8_t *message,
				   size_t capacity)
{
	struct rail_writer writer = rail_writer_init(message, capacity);
	bool failed = outcome->errnum != 0;

	if (outcome->errnum < 0 || outcome->errnum > ERRNUM_MAXIMUM || outcome->code < 0 ||
	    outcome->code > UINT16_MAX)
		return -EBADMSG;
	rail_write_u8(&writer, RAIL_REGISTRATION_VERSION);
	rail_write_u16(&writer, (uint16_t)outcome->errnum);
	rail_write_u16(&writer, failed ? (uint16_t)outcome->code : 0);
	rail_write_string(&writer, failed ? outcome->message : "");
	return writer.failed ? -EMSGSIZE : (int)writer.position;
}

int rail_registration_decode_reply(const uint8_t *message, size_t size,
				   struct rail_error *ret_outcome)
{
	struct rail_reader reader = rail_reader_init(message, size);
	uint8_t version = rail_read_u8(&reader);
	struct rail_error outcome = RAIL_ERROR_NONE;

	outcome.errnum = rail_read_u16(&reader);
	outcome.code = rail_read_u16(&reader);
	rail_read_string(&reader, outcome.message, sizeof(outcome.message));
	if (!reader.failed && version != RAIL_REGISTRATION_VERSION)
		return -EPROTO;
	if (reader.failed || rail_reader_left(&reader) != 0 || outcome.errnum > ERRNUM_MAXIMUM)
		return -EBADMSG;
	if (outcome.errnum == 0 && (outcome.code != 0 || *outcome.message != '\0'))
		return -EBADMSG;
	*ret_outcome = outcome;
	return 0;
}

static int connect_to(const char *path, int64_t deadline_ms, int *ret_fd, struct rail_error *error)
{
	struct sockaddr_un address = {.sun_family = AF_UNIX};
	size_t length = strlen(path);

	if (length == 0 || length >= sizeof(address.sun_path))
		return rail_fail_code(error, RAIL_CODE_INVALID_CONFIG, ENAMETOOLONG,
				      "resolverSocket '%s' has %zu bytes, a socket's path 1 to %zu",
				      path, length, sizeof(address.sun_path) - 1);
	memcpy(address.sun_path, path, length + 1);

	RAIL_CLOSE int fd = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0);

	if (fd < 0)
		return rail_fail_errno(error, errno, "make a Unix socket");

	/* connect(2) waits while the resolver's queue of connections is full. */
	int64_t left_ms = deadline_ms - rail_monotonic_ms();
	struct timeval limit = {.tv_sec = left_ms / 1000 + 1};

	if (setsockopt(fd, SOL_SOCKET, SO_SNDTIMEO, &limit, sizeof(limit)) < 0)
		return rail_fail_errno(error, errno, "set a time limit on a Unix socket");
	if (connect(fd, (const struct sockaddr *)&address, sizeof(address)) < 0) {
		int cause = errno;

		if (cause == ENOENT || cause == ECONNREFUSED)
			return rail_fail_code(error, RAIL_CODE_TRY_AGAIN, ECONNREFUSED,
					      "nobody serves the resolver's socket '%s': start "
					      "railway-resolverd on this node",
					      path);
		if (cause == EAGAIN)
			return rail_fail_code(error, RAIL_CODE_TRY_AGAIN, ETIMEDOUT,
					      "railway-resolverd at '%s' is too busy to accept a "
					      "connection",
					      path);
		return rail_fail_errno(error, cause, "connect to the resolver's socket '%s'", path);
	}

	struct ucred peer;
	socklen_t peer_size = sizeof(peer);

	if (getsockopt(fd, SOL_SOCKET, SO_PEERCRED, &peer, &peer_size) < 0)
		return rail_fail_errno(error, errno, "ask who serves '%s'", path);
	if (peer.uid != 0 && peer.uid != geteuid())
		return rail_fail_code(error, RAIL_CODE_INVALID_CONFIG, EPERM,
				      "the resolver's socket '%s' is served by user %u, not by "
				      "root: whoever that is could answer in the resolver's name",
				      path, (unsigned int)peer.uid);
	*ret_fd = RAIL_TAKE_FD(fd);
	return 0;
}

static int send_request(int fd, const struct rail_registration_request *request, int netns_fd,
			struct rail_error *error)
{
	uint8_t bytes[RAIL_REGISTRATION_MESSAGE_SIZE];
	int size = rail_registration_encode(request, bytes, sizeof(bytes));
	union {
		struct cmsghdr header;
		char space[CMSG_SPACE(sizeof(int))];
	} control = {0};

	if (size < 0)
		return rail_fail(error, -size,
				 "the attachment's key cannot be sent to the resolver");

	struct iovec part = {.iov_base = bytes, .iov_len = (size_t)size};
	struct msghdr message = {.msg_iov = &part, .msg_iovlen = 1};

	if (netns_fd >= 0) {
		control.header.cmsg_level = SOL_SOCKET;
		control.header.cmsg_type = SCM_RIGHTS;
		control.header.cmsg_len = CMSG_LEN(sizeof(int));
		memcpy(CMSG_DATA(&control.header), &netns_fd, sizeof(int));
		message.msg_control = &control;
		message.msg_controllen = sizeof(control.space);
	}
	if (sendmsg(fd, &message, MSG_NOSIGNAL) < 0)
		return rail_fail_code(error, RAIL_CODE_TRY_AGAIN, errno,
				      "send to railway-resolverd: %s", strerrordesc_np(errno));
	return 0;
}

static int receive_reply(int fd, int64_t deadline_ms, int limit_ms, struct rail_error *ret_outcome,
			 struct rail_error *error)
{
	uint8_t bytes[RAIL_REGISTRATION_MESSAGE_SIZE];
	int ready = rail_wait_ready(fd, POLLIN, deadline_ms);

	if (ready < 0)
		return rail_fail_errno(error, -ready, "wait for railway-resolverd");
	if (ready == 0)
		return rail_fail_code(error, RAIL_CODE_TRY_AGAIN, ETIMEDOUT,
				      "railway-resolverd did not answer within %d s",
				      limit_ms / 1000);

	/* MSG_TRUNC makes the message's whole size the result. */
	ssize_t size = recv(fd, bytes, sizeof(bytes), MSG_TRUNC);

	if (size <= 0)
		return rail_fail_code(error, RAIL_CODE_TRY_AGAIN, ECONNRESET,
				      "railway-resolverd ended before it answered");
	if ((size_t)size > sizeof(bytes) ||
	    rail_registration_decode_reply(bytes, (size_t)size, ret_outcome) < 0)
		return rail_fail(error, EBADMSG,
				 "railway-resolverd gave an answer that this version does not "
				 "understand: install plugins and daemon of one release");
	return 0;
}

int rail_registration_ask_within(const char *socket_path,
				 const struct rail_registration_request *request, int netns_fd,
				 int limit_ms, struct rail_error *error)
{
	int64_t deadline_ms = rail_monotonic_ms() + limit_ms;
	RAIL_CLOSE int fd = -EBADF;
	struct rail_error outcome;
	int result = connect_to(socket_path, deadline_ms, &fd, error);

	if (result < 0)
		return result;
	result = send_request(fd, request, netns_fd, error);
	if (result < 0)
		return result;
	result = receive_reply(fd, deadline_ms, limit_ms, &outcome, error);
	if (result < 0)
		return result;
	if (outcome.errnum == 0)
		return 0;
	return rail_fail_code(error, outcome.code, outcome.errnum, "%s", outcome.message);
}

int rail_registration_ask(const char *socket_path, const struct rail_registration_request *request,
			  int netns_fd, struct rail_error *error)
{
	return rail_registration_ask_within(socket_path, request, netns_fd,
					    RAIL_REGISTRATION_DEADLINE_MS, error);
}

int rail_registration_begin(const char *socket_path,
			    const struct rail_registration_request *request, int *ret_fd,
			    struct rail_error *error)
{
	RAIL_CLOSE int fd = -EBADF;
	int result = connect_to(socket_path, rail_monotonic_ms() + RAIL_REGISTRATION_DEADLINE_MS,
				&fd, error);

	if (result == 0)
		result = send_request(fd, request, -1, error);
	if (result < 0)
		return result;
	*ret_fd = RAIL_TAKE_FD(fd);
	return 0;
}
