#include "pkg/wg/userspace.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <linux/if_tun.h>
#include <net/if.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>
#include <time.h>
#include <unistd.h>

#include "pkg/base/cleanup.h"
#include "pkg/base/file.h"
#include "pkg/net/link.h"
#include "pkg/wg/key.h"
#include "pkg/wg/uapi_socket.h"
#include "pkg/wg/wireguard_go.h"

enum {
	/* wireguard-go looks once in that time whether its device is up. */
	PROBE_PERIOD_MS = 1000,
	PROBE_SAFE_MS = 800,
	WIREGUARD_GO_MTU = 1420,
	TELL_MTU_MS = 50,
};

/* Everything that is open while an interface is made. */
struct creation {
	const struct rail_interface_request *request;
	struct rail_interface *interface;
	struct rail_netlink *host;
	struct rail_netlink *pod;
	struct rail_wireguard_go child;
	int uapi_fd;
	int tun_fd;
	int stand_in_fd;
	int pod_index; /* of the TUN link */
	short tun_flags;
	int64_t started_ms;
	char path[PATH_MAX];
};

static void creation_done(struct creation *creation)
{
	rail_netlink_close(creation->host);
	rail_netlink_close(creation->pod);
	rail_cleanup_close(&creation->uapi_fd);
	rail_cleanup_close(&creation->tun_fd);
	rail_cleanup_close(&creation->stand_in_fd);
}

/* A TUN link in the caller's netns. It is gone when its last descriptor is closed. */
static int open_tun(const char *name, short flags, int *ret_fd, struct rail_error *error)
{
	RAIL_CLOSE int fd = open(RAIL_TUN_PATH, O_RDWR | O_CLOEXEC);
	struct ifreq request = {.ifr_flags = (short)(flags | IFF_TUN_EXCL)};

	if (fd < 0)
		return rail_fail_errno(error, errno, "open %s", RAIL_TUN_PATH);
	(void)snprintf(request.ifr_name, sizeof(request.ifr_name), "%s", name);
	if (ioctl(fd, TUNSETIFF, &request) < 0)
		return rail_fail_errno(error, errno, "make TUN interface %s", name);
	*ret_fd = RAIL_TAKE_FD(fd);
	return 0;
}

/* The pod's end of the device: there, up, under its unique name. */
static int make_link(struct creation *creation, struct rail_error *error)
{
	const struct rail_interface_request *request = creation->request;
	const char *name = creation->interface->device_name;
	struct rail_link link = {.index = 0};
	int result = open_tun(name, creation->tun_flags, &creation->tun_fd, error);

	if (result == 0)
		result = rail_link_get(creation->host, name, &link, error);
	if (result == 0)
		result = rail_link_move(creation->host, link.index, request->netns_fd, error);
	if (result == 0)
		result = rail_link_get(creation->pod, name, &link, error);
	if (result < 0)
		return result;

	creation->pod_index = link.index;
	result = rail_link_change(creation->pod, link.index, NULL, request->alias, request->mtu,
				  error);
	if (result < 0)
		return result;
	/* A comfort only, and refused where the pod has no IPv6 yet. */
	(void)rail_link_no_link_local(creation->pod, link.index, NULL);
	return rail_link_set_up(creation->pod, link.index, true, error);
}

static int start_process(struct creation *creation,
			 int (*announce)(void *context, const struct rail_interface *interface,
					 struct rail_error *error),
			 void *context, struct rail_error *error)
{
	struct rail_interface *interface = creation->interface;
	int result =
		rail_wireguard_go_fork(creation->path, interface->device_name, creation->tun_fd,
				       creation->uapi_fd, &creation->child, error);

	if (result == 0)
		result = rail_process_identify(creation->child.pid, &interface->process, error);
	if (result == 0 && announce != NULL)
		result = announce(context, interface, error);
	if (result < 0)
		return result;

	creation->started_ms = rail_monotonic_ms();
	result = rail_wireguard_go_release(&creation->child, error);
	if (result < 0)
		return result;

	/* Its own now. While we held the socket, connections to a dead process would wait. */
	rail_cleanup_close(&creation->tun_fd);
	creation->tun_fd = -EBADF;
	rail_cleanup_close(&creation->uapi_fd);
	creation->uapi_fd = -EBADF;
	return 0;
}

static int set_up_key(struct rail_uapi_connection *connection, const struct rail_key *private_key,
		      struct rail_error *error)
{
	char request[RAIL_UAPI_REQUEST_MINIMUM];
	int size = rail_uapi_encode_configure(private_key, 0, request, sizeof(request));

	if (size < 0)
		return rail_fail_errno(error, -size, "encode the private key");

	int result = rail_uapi_set(connection, request, (size_t)size, error);
	explicit_bzero(request, sizeof(request));
	return rail_wrap(error, result, "set the private key");
}

/* Waits until the device is up, which its listen port shows, and gives that. */
static int wait_port(struct rail_uapi_connection *connection, struct rail_interface *interface,
		     struct rail_error *error)
{
	int64_t end_ms = rail_monotonic_ms() + RAIL_UAPI_DEADLINE_MS;

	for (;;) {
		struct rail_device device;
		int result = rail_uapi_get(connection, &device, error);

		if (result < 0)
			return rail_wrap(error, result, "read the new device");

		uint16_t port = device.listen_port;
		bool same = rail_key_equal(&device.public_key, &interface->public_key);
		rail_device_done(&device);
		if (!same)
			return rail_fail(error, EPROTO,
					 "the userspace WireGuard process has another key than "
					 "the one it was given");
		if (port != 0) {
			interface->listen_port = port;
			return 0;
		}
		if (rail_monotonic_ms() >= end_ms)
			return rail_fail_code(error, RAIL_CODE_TRY_AGAIN, ETIMEDOUT,
					      "the userspace WireGuard process opens no UDP port");

		const struct timespec pause = {.tv_nsec = 1000000};
		(void)nanosleep(&pause, NULL);
	}
}

/* Only now that the device is up: before that, a port that is taken would not be noticed. */
static int choose_port(struct rail_uapi_connection *connection, const struct creation *creation,
		       struct rail_error *error)
{
	const uint16_t *ports = creation->request->listen_ports;
	size_t count = creation->request->listen_port_count;
	uint32_t start;
	int result;

	if (count == 0)
		return 0;
	/* Another place to begin for each pod, or all would try all that are taken. */
	result = rail_random(&start, sizeof(start), error);
	if (result < 0)
		return result;

	for (size_t i = 0; i < count; i++) {
		uint16_t port = ports[(start + i) % count];
		char request[RAIL_UAPI_REQUEST_MINIMUM];
		int size = rail_uapi_encode_configure(NULL, port, request, sizeof(request));

		if (size < 0)
			return rail_fail_errno(error, -size, "encode the listen port");
		result = rail_uapi_set(connection, request, (size_t)size, error);
		if (result != -EADDRINUSE) {
			if (result == 0)
				creation->interface->listen_port = port;
			return rail_wrap(error, result, "set listen port %u", port);
		}
	}
	return rail_fail_code(error, RAIL_CODE_TRY_AGAIN, EADDRINUSE,
			      "all %zu ports of listenPorts are taken", count);
}

/* Whether the process has read what its netlink socket got (/proc/net/netlink, "Rmem"). */
static bool has_read_netlink(pid_t pid)
{
	RAIL_FCLOSE FILE *sockets = fopen("/proc/net/netlink", "re");
	char line[256];

	while (sockets != NULL && fgets(line, sizeof(line), sockets) != NULL) {
		unsigned int port;
		unsigned int unread;

		/* A socket gets its process's number for its port. */
		if (sscanf(line, "%*s %*u %u %*x %u", &port, &unread) == 2 &&
		    port == (unsigned int)pid && unread > 0)
			return false;
	}
	return true;
}

/*
 * wireguard-go pads packets, up to the MTU that it believes in. That is WIREGUARD_GO_MTU until it
 * is told by netlink that the link has changed which bears its device's name, when it asks that
 * link: the stand-in, which therefore stays until it has asked. A packet padded beyond the MTU
 * would still arrive, in fragments; so this need not succeed.
 */
static void tell_mtu(struct creation *creation)
{
	const struct timespec pause = {.tv_nsec = 1000000};
	struct rail_link link;

	if (creation->request->mtu == WIREGUARD_GO_MTU ||
	    rail_link_get(creation->host, creation->interface->device_name, &link, NULL) < 0 ||
	    rail_link_change(creation->host, link.index, NULL, NULL, creation->request->mtu, NULL) <
		    0)
		return;

	/* What it has read it acts upon at once; that cannot be seen. */
	for (int i = 0; i < TELL_MTU_MS && !has_read_netlink(creation->child.pid); i++)
		(void)nanosleep(&pause, NULL);
	(void)nanosleep(&pause, NULL);
}

static int configure(struct creation *creation, const struct rail_key *private_key,
		     struct rail_error *error)
{
	struct rail_uapi_connection connection;
	int result = rail_uapi_connect(creation->interface->device_name, &connection, error);

	if (result < 0)
		return result;
	result = set_up_key(&connection, private_key, error);
	if (result == 0) {
		/* It answers, so it has done with setting the MTU itself. */
		tell_mtu(creation);
		result = wait_port(&connection, creation->interface, error);
	}
	if (result == 0)
		result = choose_port(&connection, creation, error);
	rail_uapi_disconnect(&connection);
	return result;
}

/*
 * Gives the pod's link its final name. Kernels before 6.2 want it down for that (EBUSY).
 * wireguard-go would close its UDP port if it looked just then; it looks once in PROBE_PERIOD_MS
 * from its start on, so a rename that follows soon lies between its first and its second look.
 * Where much time has passed, one more look must have found the link up again.
 */
static int rename_link(struct creation *creation, struct rail_error *error)
{
	const char *name = creation->request->name;
	int result = rail_link_change(creation->pod, creation->pod_index, name, NULL, 0, error);

	if (result != -EBUSY)
		return result;
	result = rail_link_set_up(creation->pod, creation->pod_index, false, error);
	if (result == 0)
		result = rail_link_change(creation->pod, creation->pod_index, name, NULL, 0, error);
	if (result == 0)
		result = rail_link_set_up(creation->pod, creation->pod_index, true, error);
	if (result < 0)
		return result;

	if (rail_monotonic_ms() - creation->started_ms > PROBE_SAFE_MS) {
		const struct timespec pause = {.tv_sec = PROBE_PERIOD_MS / 1000,
					       .tv_nsec = 100000000};

		(void)nanosleep(&pause, NULL);
	}
	return 0;
}

/*
 * The kernel waits for a grace period when a link goes (20 ms were measured), and so does whoever
 * closes a TUN link's last descriptor: a child, for which nobody waits. What it has of ours it
 * closes first, or the runtime would wait for it at the end of a pipe.
 */
static void release_stand_in(struct creation *creation)
{
	int fd = RAIL_TAKE_FD(creation->stand_in_fd);

	if (fork() == 0) {
		(void)close_range(0, (unsigned int)fd - 1, 0);
		(void)close_range((unsigned int)fd + 1, ~0U, 0);
		_exit(0);
	}
	(void)close(fd);
}

static int build(struct creation *creation, const struct rail_key *private_key,
		 int (*announce)(void *context, const struct rail_interface *interface,
				 struct rail_error *error),
		 void *context, struct rail_error *error)
{
	const char *name = creation->interface->device_name;
	int result = rail_uapi_listen(name, &creation->uapi_fd, error);

	if (result == 0)
		result = make_link(creation, error);
	/*
	 * wireguard-go looks its device up by name where it runs itself, in the host's netns. There
	 * it finds a second link of the same name, which stays down and goes before we return.
	 */
	if (result == 0)
		result = open_tun(name, creation->tun_flags, &creation->stand_in_fd, error);
	if (result == 0)
		result = start_process(creation, announce, context, error);
	if (result == 0)
		result = configure(creation, private_key, error);
	if (result == 0)
		result = rename_link(creation, error);
	if (result == 0)
		release_stand_in(creation);
	return result;
}

int rail_userspace_create(const struct rail_interface_request *request,
			  int (*announce)(void *context, const struct rail_interface *interface,
					  struct rail_error *error),
			  void *context, struct rail_interface *ret_interface,
			  struct rail_error *error)
{
	RAIL_CLEANUP(creation_done)
	struct creation creation = {.request = request,
				    .interface = ret_interface,
				    .child = {.control_fd = -EBADF},
				    .uapi_fd = -EBADF,
				    .tun_fd = -EBADF,
				    .stand_in_fd = -EBADF};
	RAIL_CLEANUP(rail_key_wipe) struct rail_key private_key = {.bytes = {0}};

	*ret_interface = (struct rail_interface){.transport = "userspace", .nsid = RAIL_NSID_NONE};

	int result = rail_transport_check_request(request, error);
	if (result < 0)
		return result;
	(void)snprintf(ret_interface->name, sizeof(ret_interface->name), "%s", request->name);
	(void)snprintf(ret_interface->alias, sizeof(ret_interface->alias), "%s", request->alias);

	/* What may be missing on this machine comes before anything is made. */
	result = rail_wireguard_go_find(creation.path, error);
	if (result == 0)
		result = rail_wireguard_go_probe(creation.path, &creation.tun_flags, error);
	if (result == 0)
		result = rail_netlink_open(-1, &creation.host, error);
	if (result == 0)
		result = rail_netlink_open(request->netns_fd, &creation.pod, error);
	if (result == 0)
		result = rail_key_generate(&private_key, error);
	if (result < 0)
		return result;
	rail_key_public(&private_key, &ret_interface->public_key);

	result = rail_transport_make_device_name(ret_interface->device_name, error);
	if (result == 0 && announce != NULL)
		result = announce(context, ret_interface, error);
	if (result < 0)
		return result;

	result = build(&creation, &private_key, announce, context, error);
	if (result < 0) {
		rail_wireguard_go_kill(&creation.child);
		(void)rail_uapi_unlink(ret_interface->device_name, NULL);
		return rail_wrap(error, result, "make WireGuard interface %s", request->name);
	}
	return 0;
}
