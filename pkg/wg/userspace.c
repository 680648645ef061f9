#include "pkg/wg/userspace.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "pkg/base/cleanup.h"
#include "pkg/net/link.h"
#include "pkg/wg/uapi_socket.h"
#include "pkg/wg/wireguard_go.h"

enum {
	END_GRACE_MS = 1000,
	APPLY_REQUEST_SIZE = 16384, /* some 70 peers: each request has a deadline of its own */
};

static int available(struct rail_error *error)
{
	char path[PATH_MAX];
	RAIL_CLOSE int fd = open(RAIL_TUN_PATH, O_RDWR | O_CLOEXEC);

	if (fd < 0)
		return rail_fail_code(error, RAIL_CODE_NOT_AVAILABLE, errno,
				      "open %s: %s; the kernel's module 'tun' is needed",
				      RAIL_TUN_PATH, strerrordesc_np(errno));
	return rail_wireguard_go_find(path, error);
}

/* ENODEV where the interface in the netns is not the stored one. */
static int find_link(struct rail_netlink *pod, const struct rail_interface *interface,
		     const char *name, struct rail_link *ret_link, struct rail_error *error)
{
	int result = rail_link_get(pod, name, ret_link, error);

	if (result < 0)
		return result;
	/* An empty alias would equal that of every link that has none. */
	if (interface->alias[0] == '\0' || strcmp(ret_link->alias, interface->alias) != 0 ||
	    strcmp(ret_link->kind, "tun") != 0)
		return rail_fail(error, ENODEV, "interface %s is not the one that was made here",
				 name);
	return 0;
}

static int verify(int netns_fd, const struct rail_interface *interface, struct rail_error *error)
{
	RAIL_CLEANUP(rail_netlink_closep) struct rail_netlink *pod = NULL;
	struct rail_link link;

	if (netns_fd < 0)
		return rail_fail_errno(error, EBADF, "the pod's netns");

	int result = rail_netlink_open(netns_fd, &pod, error);
	if (result == 0)
		result = find_link(pod, interface, interface->name, &link, error);
	if (result < 0)
		return result;
	if (!rail_process_alive(&interface->process))
		return rail_fail(error, ESRCH,
				 "the userspace WireGuard process %d of interface %s is gone",
				 (int)interface->process.pid, interface->name);
	return 0;
}

static int read_device(int netns_fd, const struct rail_interface *interface,
		       struct rail_device *ret_device, struct rail_error *error)
{
	struct rail_uapi_connection connection;
	int result = verify(netns_fd, interface, error);

	if (result == -ESRCH) {
		if (error != NULL)
			error->errnum = ENODEV;
		return -ENODEV;
	}
	if (result == 0)
		result = rail_uapi_connect(interface->device_name, &connection, error);
	if (result < 0)
		return result;
	result = rail_uapi_get(&connection, ret_device, error);
	rail_uapi_disconnect(&connection);
	return rail_wrap(error, result, "read WireGuard interface %s", interface->name);
}

static int send_changes(struct rail_uapi_connection *connection, const struct rail_changes *changes,
			struct rail_error *error)
{
	RAIL_FREE char *request = malloc(APPLY_REQUEST_SIZE);
	struct rail_uapi_position position = {.change = 0};

	if (request == NULL)
		return rail_fail_errno(error, ENOMEM, "change peers");
	for (;;) {
		int size =
			rail_uapi_encode_changes(changes, &position, request, APPLY_REQUEST_SIZE);

		if (size == 0)
			return 0;
		if (size < 0)
			return rail_fail_errno(error, -size, "encode a change of peers");

		int result = rail_uapi_set(connection, request, (size_t)size, error);
		if (result < 0)
			return result;
	}
}

static int apply(int netns_fd, const struct rail_interface *interface,
		 const struct rail_changes *changes, struct rail_error *error)
{
	struct rail_uapi_connection connection;

	/* The process is reached from the host; its name and start time tell it from any other. */
	(void)netns_fd;
	if (changes->count == 0)
		return 0;
	if (!rail_process_alive(&interface->process))
		return rail_fail(error, ENODEV,
				 "the userspace WireGuard process %d of interface %s is gone",
				 (int)interface->process.pid, interface->name);

	int result = rail_uapi_connect(interface->device_name, &connection, error);
	if (result < 0)
		return result;
	result = send_changes(&connection, changes, error);
	rail_uapi_disconnect(&connection);
	return rail_wrap(error, result, "change the peers of WireGuard interface %s",
			 interface->name);
}

static int delete_links(int netns_fd, const struct rail_interface *interface,
			struct rail_error *error)
{
	RAIL_CLEANUP(rail_netlink_closep) struct rail_netlink *pod = NULL;
	/* The second is the link's until it has its final name. */
	const char *names[] = {interface->name, interface->device_name};
	int result = rail_netlink_open(netns_fd, &pod, error);

	for (size_t i = 0; i < 2 && result == 0; i++) {
		struct rail_link link;

		if (names[i][0] == '\0')
			continue;
		result = find_link(pod, interface, names[i], &link, error);
		if (result == 0)
			result = rail_link_delete(pod, link.index, error);
		else if (result == -ENODEV)
			result = 0;
	}
	return result;
}

static int destroy(int netns_fd, const struct rail_interface *interface, struct rail_error *error)
{
	struct rail_error all = RAIL_ERROR_NONE;
	struct rail_error one = RAIL_ERROR_NONE;

	/*
	 * With the process goes its TUN link, wherever that is. A creation that died earlier left
	 * no process (it starts when its number is stored), and a link that died with it.
	 */
	if (rail_process_end(&interface->process, END_GRACE_MS, &one) < 0)
		rail_error_collect(&all, &one);
	one = RAIL_ERROR_NONE;
	if (interface->device_name[0] != '\0' && rail_uapi_unlink(interface->device_name, &one) < 0)
		rail_error_collect(&all, &one);
	one = RAIL_ERROR_NONE;
	if (netns_fd >= 0 && delete_links(netns_fd, interface, &one) < 0)
		rail_error_collect(&all, &one);

	if (all.errnum == 0)
		return 0;
	if (error != NULL)
		*error = all;
	return rail_wrap(error, -all.errnum, "remove WireGuard interface %s", interface->name);
}

const struct rail_transport rail_transport_userspace = {
	.name = "userspace",
	.available = available,
	.create = rail_userspace_create,
	.read = read_device,
	.verify = verify,
	.apply = apply,
	.destroy = destroy,
};
