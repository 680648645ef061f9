#include "pkg/cluster/request.h"

#include <errno.h>
#include <poll.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <sys/un.h>

#include "pkg/base/bytes.h"
#include "pkg/base/cleanup.h"
#include "pkg/base/file.h"

enum {
	ERRNUM_MAXIMUM = 4095,
	GRACE_MS = 1000, /* for meshd's answer behind its patience */
};

static bool is_kind(unsigned int kind)
{
	return kind >= RAIL_MESH_ENSURE && kind <= RAIL_MESH_STATUS;
}

static bool has_address(enum rail_mesh_request_kind kind)
{
	return kind == RAIL_MESH_CLAIM || kind == RAIL_MESH_PUBLISH || kind == RAIL_MESH_WITHDRAW;
}

int rail_mesh_patience_ms(enum rail_mesh_request_kind kind)
{
	switch (kind) {
	case RAIL_MESH_ENSURE:
	case RAIL_MESH_CLAIM:
		return 12000; /* nothing can go on without it */
	case RAIL_MESH_PUBLISH:
		return 5000;
	case RAIL_MESH_WITHDRAW:
		return 3000;
	case RAIL_MESH_STATUS:
		break;
	}
	return 2000;
}

int rail_mesh_encode(const struct rail_mesh_request *request, uint8_t *message, size_t capacity)
{
	struct rail_writer writer = rail_writer_init(message, capacity);

	if (!is_kind(request->kind))
		return -EBADMSG;
	rail_write_u8(&writer, RAIL_MESH_VERSION);
	rail_write_u8(&writer, (uint8_t)request->kind);
	if (has_address(request->kind))
		rail_write_bytes(&writer, request->address.s6_addr,
				 sizeof(request->address.s6_addr));
	if (request->kind == RAIL_MESH_ENSURE) {
		rail_write_bytes(&writer, request->pool.base.s6_addr,
				 sizeof(request->pool.base.s6_addr));
		rail_write_u8(&writer, (uint8_t)request->pool.length);
		rail_write_string(&writer, request->environment);
		rail_write_string(&writer, request->service);
		rail_write_string(&writer, request->original);
	}
	return writer.failed ? -EMSGSIZE : (int)writer.position;
}

/* What meshd would write into a registry is what a plugin could have written. */
static bool read_ensure(struct rail_reader *reader, struct rail_mesh_request *request)
{
	char label[RAIL_LABEL_SIZE];

	rail_read_bytes(reader, request->pool.base.s6_addr, sizeof(request->pool.base.s6_addr));
	request->pool.length = rail_read_u8(reader);
	rail_read_string(reader, request->environment, sizeof(request->environment));
	rail_read_string(reader, request->service, sizeof(request->service));
	rail_read_string(reader, request->original, sizeof(request->original));
	return !reader->failed && request->pool.length >= 8 && request->pool.length <= 48 &&
	       request->pool.base.s6_addr[0] == 0xfd &&
	       rail_environment_name_check("a request", request->environment, NULL) == 0 &&
	       rail_label_make("a request", request->original, false, label, NULL) == 0 &&
	       strcmp(label, request->service) == 0;
}

int rail_mesh_decode(const uint8_t *message, size_t size, struct rail_mesh_request *ret_request)
{
	struct rail_reader reader = rail_reader_init(message, size);
	uint8_t version = rail_read_u8(&reader);
	uint8_t kind = rail_read_u8(&reader);
	struct rail_mesh_request request = {.kind = kind};

	if (!reader.failed && version != RAIL_MESH_VERSION)
		return -EPROTO;
	if (reader.failed || !is_kind(kind))
		return -EBADMSG;
	if (has_address(request.kind))
		rail_read_bytes(&reader, request.address.s6_addr, sizeof(request.address.s6_addr));
	if (request.kind == RAIL_MESH_ENSURE && !read_ensure(&reader, &request))
		return -EBADMSG;
	if (reader.failed || rail_reader_left(&reader) != 0)
		return -EBADMSG;
	*ret_request = request;
	return 0;
}

int rail_mesh_encode_reply(const struct rail_error *outcome, uint8_t *message, size_t capacity)
{
	struct rail_writer writer = rail_writer_init(message, capacity);
	bool failed = outcome->errnum != 0;

	if (outcome->errnum < 0 || outcome->errnum > ERRNUM_MAXIMUM || outcome->code < 0 ||
	    outcome->code > UINT16_MAX)
		return -EBADMSG;
	rail_write_u8(&writer, RAIL_MESH_VERSION);
	rail_write_u16(&writer, (uint16_t)outcome->errnum);
	rail_write_u16(&writer, failed ? (uint16_t)outcome->code : 0);
	rail_write_string(&writer, failed ? outcome->message : "");
	return writer.failed ? -EMSGSIZE : (int)writer.position;
}

int rail_mesh_decode_reply(const uint8_t *message, size_t size, struct rail_error *ret_outcome)
{
	struct rail_reader reader = rail_reader_init(message, size);
	uint8_t version = rail_read_u8(&reader);
	struct rail_error outcome = RAIL_ERROR_NONE;

	outcome.errnum = rail_read_u16(&reader);
	outcome.code = rail_read_u16(&reader);
	rail_read_string(&reader, outcome.message, sizeof(outcome.message));
	if (!reader.failed && version != RAIL_MESH_VERSION)
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
	struct ucred peer;
	socklen_t peer_size = sizeof(peer);

	if (length == 0 || length >= sizeof(address.sun_path))
		return rail_fail_code(error, RAIL_CODE_INVALID_CONFIG, ENAMETOOLONG,
				      "meshSocket '%s' has %zu bytes, a socket's path 1 to %zu",
				      path, length, sizeof(address.sun_path) - 1);
	memcpy(address.sun_path, path, length + 1);

	RAIL_CLOSE int fd = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0);

	if (fd < 0)
		return rail_fail_errno(error, errno, "make a Unix socket");

	/* connect(2) waits while the daemon's queue of connections is full. */
	int64_t left_ms = deadline_ms - rail_monotonic_ms();
	struct timeval limit = {.tv_sec = left_ms / 1000 + 1};

	if (setsockopt(fd, SOL_SOCKET, SO_SNDTIMEO, &limit, sizeof(limit)) < 0)
		return rail_fail_errno(error, errno, "set a time limit on a Unix socket");
	if (connect(fd, (const struct sockaddr *)&address, sizeof(address)) < 0) {
		if (errno == ENOENT || errno == ECONNREFUSED)
			return rail_fail_code(error, RAIL_CODE_TRY_AGAIN, ECONNREFUSED,
					      "nobody serves the mesh's socket '%s': start "
					      "railway-meshd on this node",
					      path);
		return rail_fail_code(error, RAIL_CODE_TRY_AGAIN, errno,
				      "connect to the mesh's socket '%s': %s", path,
				      strerrordesc_np(errno));
	}
	if (getsockopt(fd, SOL_SOCKET, SO_PEERCRED, &peer, &peer_size) < 0)
		return rail_fail_errno(error, errno, "ask who serves '%s'", path);
	if (peer.uid != 0 && peer.uid != geteuid())
		return rail_fail_code(error, RAIL_CODE_INVALID_CONFIG, EPERM,
				      "the mesh's socket '%s' is served by user %u, not by root",
				      path, (unsigned int)peer.uid);
	*ret_fd = RAIL_TAKE_FD(fd);
	return 0;
}

static int receive_reply(int fd, int64_t deadline_ms, struct rail_error *ret_outcome,
			 struct rail_error *error)
{
	uint8_t bytes[RAIL_MESH_MESSAGE_SIZE];
	int ready = rail_wait_ready(fd, POLLIN, deadline_ms);

	if (ready < 0)
		return rail_fail_errno(error, -ready, "wait for railway-meshd");
	if (ready == 0)
		return rail_fail_code(error, RAIL_CODE_TRY_AGAIN, ETIMEDOUT,
				      "railway-meshd did not answer in time; see its log");

	/* MSG_TRUNC makes the message's whole size the result. */
	ssize_t size = recv(fd, bytes, sizeof(bytes), MSG_TRUNC);

	if (size <= 0)
		return rail_fail_code(error, RAIL_CODE_TRY_AGAIN, ECONNRESET,
				      "railway-meshd ended before it answered");
	if ((size_t)size > sizeof(bytes) ||
	    rail_mesh_decode_reply(bytes, (size_t)size, ret_outcome) < 0)
		return rail_fail(error, EBADMSG,
				 "railway-meshd gave an answer that this version does not "
				 "understand: install plugins and daemon of one release");
	return 0;
}

int rail_mesh_ask(const char *socket_path, const struct rail_mesh_request *request,
		  struct rail_error *error)
{
	int64_t deadline_ms = rail_monotonic_ms() + rail_mesh_patience_ms(request->kind) + GRACE_MS;
	uint8_t bytes[RAIL_MESH_MESSAGE_SIZE];
	int size = rail_mesh_encode(request, bytes, sizeof(bytes));
	struct rail_error outcome;
	RAIL_CLOSE int fd = -EBADF;

	if (size < 0)
		return rail_fail(error, -size, "the request cannot be sent to railway-meshd");
	int result = connect_to(socket_path, deadline_ms, &fd, error);
	if (result < 0)
		return result;
	if (send(fd, bytes, (size_t)size, MSG_NOSIGNAL) < 0)
		return rail_fail_code(error, RAIL_CODE_TRY_AGAIN, errno,
				      "send to railway-meshd: %s", strerrordesc_np(errno));
	result = receive_reply(fd, deadline_ms, &outcome, error);
	if (result < 0)
		return result;
	if (outcome.errnum == 0)
		return 0;
	return rail_fail_code(error, outcome.code, outcome.errnum, "%s", outcome.message);
}
