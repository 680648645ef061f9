#include "pkg/wg/uapi_socket.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include "pkg/base/cleanup.h"
#include "pkg/base/file.h"
#include "pkg/wg/key.h"

enum {
	REPLY_SIZE_AT_FIRST = 16384,
	BACKLOG = 16,
};

_Static_assert((size_t)RAIL_UAPI_PATH_SIZE <= sizeof(((struct sockaddr_un *)NULL)->sun_path),
	       "the path of every device's socket fits its address");

int rail_uapi_path(const char *device_name, char path[RAIL_UAPI_PATH_SIZE],
		   struct rail_error *error)
{
	if (device_name[0] == '\0' || device_name[0] == '.' || strlen(device_name) >= IFNAMSIZ ||
	    strchr(device_name, '/') != NULL)
		return rail_fail(error, EINVAL, "'%.32s' names no userspace WireGuard device",
				 device_name);
	(void)snprintf(path, RAIL_UAPI_PATH_SIZE, "%s/%s.sock", RAIL_UAPI_DIRECTORY, device_name);
	return 0;
}

static int make_address(const char *device_name, struct sockaddr_un *ret_address,
			struct rail_error *error)
{
	*ret_address = (struct sockaddr_un){.sun_family = AF_UNIX};
	return rail_uapi_path(device_name, ret_address->sun_path, error);
}

int rail_uapi_listen(const char *device_name, int *ret_fd, struct rail_error *error)
{
	struct sockaddr_un address;
	int result = make_address(device_name, &address, error);

	if (result == 0)
		result = rail_make_directories(RAIL_UAPI_DIRECTORY, error);
	if (result < 0)
		return result;

	/* Blocking: a Go program sets what it needs itself. */
	RAIL_CLOSE int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
	if (fd < 0)
		return rail_fail_errno(error, errno, "make a socket");
	/* The mode that the file gets, from its first moment on. */
	if (fchmod(fd, 0600) < 0 ||
	    bind(fd, (const struct sockaddr *)&address, sizeof(address)) < 0)
		return rail_fail_errno(error, errno, "make socket '%s'", address.sun_path);
	if (listen(fd, BACKLOG) < 0) {
		int errnum = errno;

		(void)unlink(address.sun_path);
		return rail_fail_errno(error, errnum, "listen on '%s'", address.sun_path);
	}
	*ret_fd = RAIL_TAKE_FD(fd);
	return 0;
}

int rail_uapi_unlink(const char *device_name, struct rail_error *error)
{
	char path[RAIL_UAPI_PATH_SIZE];
	int result = rail_uapi_path(device_name, path, error);

	if (result < 0)
		return result;
	if (unlink(path) < 0 && errno != ENOENT && errno != ENOTDIR)
		return rail_fail_errno(error, errno, "remove '%s'", path);
	return 0;
}

int rail_uapi_connect(const char *device_name, struct rail_uapi_connection *ret_connection,
		      struct rail_error *error)
{
	struct sockaddr_un address;
	int result = make_address(device_name, &address, error);

	if (result < 0)
		return result;

	RAIL_CLOSE int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	if (fd < 0)
		return rail_fail_errno(error, errno, "make a socket");
	if (connect(fd, (const struct sockaddr *)&address, sizeof(address)) < 0) {
		if (errno == ENOENT || errno == ENOTDIR || errno == ECONNREFUSED)
			return rail_fail(error, ENODEV,
					 "nobody listens on '%s': the userspace WireGuard process "
					 "is gone",
					 address.sun_path);
		/* A full backlog: the process accepts nobody. */
		if (errno == EAGAIN)
			return rail_fail_code(error, RAIL_CODE_TRY_AGAIN, ETIMEDOUT,
					      "the userspace WireGuard process behind '%s' accepts "
					      "no connections",
					      address.sun_path);
		return rail_fail_errno(error, errno, "connect to '%s'", address.sun_path);
	}
	ret_connection->fd = RAIL_TAKE_FD(fd);
	return 0;
}

void rail_uapi_disconnect(struct rail_uapi_connection *connection)
{
	rail_cleanup_close(&connection->fd);
	connection->fd = -EBADF;
}

static int wait_for(struct rail_uapi_connection *connection, short events, struct rail_error *error)
{
	for (;;) {
		struct pollfd watched = {.fd = connection->fd, .events = events};
		int64_t left_ms = connection->end_ms - rail_monotonic_ms();
		int count = left_ms <= 0 ? 0 : poll(&watched, 1, (int)left_ms);

		if (count > 0)
			return 0;
		if (count == 0)
			return rail_fail_code(error, RAIL_CODE_TRY_AGAIN, ETIMEDOUT,
					      "the userspace WireGuard process does not answer");
		if (errno != EINTR)
			return rail_fail_errno(error, errno, "wait for a socket");
	}
}

static int send_all(struct rail_uapi_connection *connection, const char *request, size_t size,
		    struct rail_error *error)
{
	while (size > 0) {
		ssize_t sent = send(connection->fd, request, size, MSG_NOSIGNAL);

		if (sent >= 0) {
			request += sent;
			size -= (size_t)sent;
			continue;
		}
		if (errno == EINTR)
			continue;
		if (errno == EPIPE || errno == ECONNRESET)
			return rail_fail(error, ENODEV, "the userspace WireGuard process is gone");
		if (errno != EAGAIN)
			return rail_fail_errno(error, errno,
					       "send to the userspace WireGuard process");

		int result = wait_for(connection, POLLOUT, error);
		if (result < 0)
			return result;
	}
	return 0;
}

void rail_uapi_reply_free(char *reply, size_t size)
{
	if (reply == NULL)
		return;
	explicit_bzero(reply, size);
	free(reply);
}

/* Where a reply is gathered. realloc would leave copies of a private key behind. */
struct reply {
	char *bytes;
	size_t size;
	size_t capacity;
};

static void reply_done(struct reply *reply)
{
	rail_uapi_reply_free(reply->bytes, reply->size);
}

static int reply_grow(struct reply *reply, struct rail_error *error)
{
	size_t capacity = reply->capacity == 0 ? REPLY_SIZE_AT_FIRST : reply->capacity * 2;

	if (reply->size >= RAIL_UAPI_REPLY_MAXIMUM)
		return rail_fail(error, EFBIG,
				 "the reply of the userspace WireGuard process is above %d bytes",
				 RAIL_UAPI_REPLY_MAXIMUM);

	char *grown = malloc(capacity);
	if (grown == NULL)
		return rail_fail_errno(error, ENOMEM, "read from the userspace WireGuard process");
	if (reply->bytes != NULL)
		memcpy(grown, reply->bytes, reply->size);
	rail_uapi_reply_free(reply->bytes, reply->size);
	reply->bytes = grown;
	reply->capacity = capacity;
	return 0;
}

int rail_uapi_exchange(struct rail_uapi_connection *connection, const char *request, size_t size,
		       char **ret_reply, size_t *ret_size, struct rail_error *error)
{
	RAIL_CLEANUP(reply_done) struct reply reply = {.bytes = NULL};

	connection->end_ms = rail_monotonic_ms() + RAIL_UAPI_DEADLINE_MS;

	int result = send_all(connection, request, size, error);
	if (result < 0)
		return result;

	while (!rail_uapi_reply_complete(reply.bytes, reply.size)) {
		if (reply.size == reply.capacity) {
			result = reply_grow(&reply, error);
			if (result < 0)
				return result;
		}

		ssize_t got = recv(connection->fd, reply.bytes + reply.size,
				   reply.capacity - reply.size, 0);
		if (got > 0) {
			reply.size += (size_t)got;
			continue;
		}
		if (got == 0 || errno == ECONNRESET)
			return rail_fail(error, ENODEV,
					 "the userspace WireGuard process went away");
		if (errno == EINTR)
			continue;
		if (errno != EAGAIN)
			return rail_fail_errno(error, errno,
					       "read from the userspace WireGuard process");
		result = wait_for(connection, POLLIN, error);
		if (result < 0)
			return result;
	}

	*ret_size = reply.size;
	*ret_reply = RAIL_TAKE_POINTER(reply.bytes);
	return 0;
}

int rail_uapi_set(struct rail_uapi_connection *connection, const char *request, size_t size,
		  struct rail_error *error)
{
	char *reply = NULL;
	size_t reply_size = 0;
	int result = rail_uapi_exchange(connection, request, size, &reply, &reply_size, error);

	if (result < 0)
		return result;
	result = rail_uapi_parse_set_reply(reply, reply_size, error);
	rail_uapi_reply_free(reply, reply_size);
	return result;
}

int rail_uapi_get(struct rail_uapi_connection *connection, struct rail_device *ret_device,
		  struct rail_error *error)
{
	static const struct rail_key no_key;
	struct rail_key private_key;
	struct rail_device device;
	char *reply = NULL;
	size_t size = 0;
	int result = rail_uapi_exchange(connection, rail_uapi_get_request,
					strlen(rail_uapi_get_request), &reply, &size, error);

	if (result < 0)
		return result;
	result = rail_uapi_parse_get_reply(reply, size, &device, &private_key, error);
	rail_uapi_reply_free(reply, size);
	if (result < 0)
		return result;

	bool keyless = rail_key_equal(&private_key, &no_key);
	rail_key_public(&private_key, &device.public_key);
	rail_key_wipe(&private_key);
	if (keyless) {
		rail_device_done(&device);
		return rail_fail(error, ENOKEY,
				 "the userspace WireGuard process has no private key");
	}
	*ret_device = device;
	return 0;
}
