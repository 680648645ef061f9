#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "pkg/base/cleanup.h"
#include "pkg/base/file.h"
#include "pkg/net/link.h"
#include "pkg/wg/kernel_device.h"
#include "pkg/wg/key.h"
#include "pkg/wg/transport.h"

/*
 * WireGuard by the kernel. The link is made in the pod's netns by a message sent from the host's,
 * where its UDP socket therefore is.
 */

static const char kind[] = "wireguard";

/* The device in the pod's netns that has the stored interface's name and key. */
static int reach(int netns_fd, const struct rail_interface *interface,
		 struct rail_kernel_device *ret_device, struct rail_error *error)
{
	RAIL_CLEANUP(rail_kernel_device_close)
	struct rail_kernel_device device = RAIL_KERNEL_DEVICE_NONE;

	if (netns_fd < 0)
		return rail_fail_errno(error, EBADF, "the pod's netns");

	int result = rail_kernel_device_open(netns_fd, interface->name, &device, error);
	if (result < 0)
		return result;
	if (!rail_key_equal(&device.public_key, &interface->public_key))
		return rail_fail(error, ENODEV, "interface %s has another key than it was given",
				 interface->name);
	*ret_device = device;
	device = RAIL_KERNEL_DEVICE_NONE;
	return 0;
}

static int verify(int netns_fd, const struct rail_interface *interface, struct rail_error *error)
{
	RAIL_CLEANUP(rail_kernel_device_close)
	struct rail_kernel_device device = RAIL_KERNEL_DEVICE_NONE;

	return reach(netns_fd, interface, &device, error);
}

static int read_device(int netns_fd, const struct rail_interface *interface,
		       struct rail_device *ret_device, struct rail_error *error)
{
	RAIL_CLEANUP(rail_kernel_device_close)
	struct rail_kernel_device device = RAIL_KERNEL_DEVICE_NONE;
	int result = reach(netns_fd, interface, &device, error);

	if (result == 0)
		result = rail_kernel_device_read(&device, ret_device, error);
	return rail_wrap(error, result, "read WireGuard interface %s", interface->name);
}

static int apply(int netns_fd, const struct rail_interface *interface,
		 const struct rail_changes *changes, struct rail_error *error)
{
	RAIL_CLEANUP(rail_kernel_device_close)
	struct rail_kernel_device device = RAIL_KERNEL_DEVICE_NONE;

	if (changes->count == 0)
		return 0;

	int result = reach(netns_fd, interface, &device, error);
	if (result == 0)
		result = rail_kernel_device_change(&device, changes, error);
	return rail_wrap(error, result, "change the peers of WireGuard interface %s",
			 interface->name);
}

/* ---- making ---- */

/* The port is bound when the link goes up: only then is it seen to be taken. */
static int set_up(struct rail_netlink *pod, struct rail_kernel_device *device,
		  const struct rail_interface_request *request, struct rail_error *error)
{
	size_t count = request->listen_port_count;
	uint32_t start = 0;

	if (count == 0)
		return rail_link_set_up(pod, device->index, true, error);

	/* Another place to begin for each pod, or all would try all that are taken. */
	int result = rail_random(&start, sizeof(start), error);
	if (result < 0)
		return result;
	for (size_t i = 0; i < count; i++) {
		uint16_t port = request->listen_ports[(start + i) % count];
		struct rail_error one = RAIL_ERROR_NONE;

		result = rail_kernel_device_configure(device, NULL, port, &one);
		if (result == 0)
			result = rail_link_set_up(pod, device->index, true, &one);
		if (result == 0)
			return 0;
		if (result != -EADDRINUSE) {
			if (error != NULL)
				*error = one;
			return rail_wrap(error, result, "listen port %u", port);
		}
	}
	return rail_fail_code(error, RAIL_CODE_TRY_AGAIN, EADDRINUSE,
			      "all %zu ports of listenPorts are taken", count);
}

/* From the link that was just made to a device that listens. ret_index: 0 until it is known. */
static int build(struct rail_netlink *pod, const struct rail_interface_request *request,
		 const struct rail_key *private_key, struct rail_interface *interface,
		 int *ret_index, struct rail_error *error)
{
	RAIL_CLEANUP(rail_kernel_device_close)
	struct rail_kernel_device fresh = RAIL_KERNEL_DEVICE_NONE;
	RAIL_CLEANUP(rail_kernel_device_close)
	struct rail_kernel_device device = RAIL_KERNEL_DEVICE_NONE;
	int result =
		rail_kernel_device_open(request->netns_fd, interface->device_name, &fresh, error);

	*ret_index = fresh.index;
	if (result == 0)
		result =
			rail_link_change(pod, fresh.index, request->name, request->alias, 0, error);
	if (result == 0)
		result = rail_kernel_device_configure(&fresh, private_key, 0, error);
	if (result == 0)
		result = set_up(pod, &fresh, request, error);
	if (result == 0)
		result = reach(request->netns_fd, interface, &device, error);
	if (result == 0)
		interface->listen_port = device.listen_port;
	return result;
}

static int create(const struct rail_interface_request *request,
		  int (*announce)(void *context, const struct rail_interface *interface,
				  struct rail_error *error),
		  void *context, struct rail_interface *ret_interface, struct rail_error *error)
{
	RAIL_CLEANUP(rail_netlink_closep) struct rail_netlink *pod = NULL;
	RAIL_CLEANUP(rail_netlink_closep) struct rail_netlink *host = NULL;
	RAIL_CLEANUP(rail_key_wipe) struct rail_key private_key = {.bytes = {0}};
	struct rail_link link;
	int index = 0;

	*ret_interface = (struct rail_interface){.transport = "kernel", .nsid = RAIL_NSID_NONE};

	int result = rail_transport_check_request(request, error);
	if (result < 0)
		return result;
	(void)snprintf(ret_interface->name, sizeof(ret_interface->name), "%s", request->name);
	(void)snprintf(ret_interface->alias, sizeof(ret_interface->alias), "%s", request->alias);

	result = rail_netlink_open(request->netns_fd, &pod, error);
	if (result == 0)
		result = rail_netlink_open(-1, &host, error);
	if (result == 0)
		result = rail_nsid_of(host, request->netns_fd, &ret_interface->nsid, error);
	if (result == 0)
		result = rail_key_generate(&private_key, error);
	if (result == 0)
		result = rail_transport_make_device_name(ret_interface->device_name, error);
	if (result < 0)
		return result;
	rail_key_public(&private_key, &ret_interface->public_key);
	if (announce != NULL) {
		result = announce(context, ret_interface, error);
		if (result < 0)
			return result;
	}

	/* Under a name that the node has not, either: a node's own eth0 would be in the way. */
	result = rail_link_create(host, ret_interface->device_name, kind, request->mtu,
				  request->netns_fd, error);
	if (result < 0)
		return result;
	result = build(pod, request, &private_key, ret_interface, &index, error);
	if (result < 0) {
		if (index == 0 && rail_link_get(pod, ret_interface->device_name, &link, NULL) == 0)
			index = link.index;
		if (index != 0)
			(void)rail_link_delete(pod, index, NULL);
		return rail_wrap(error, result, "make WireGuard interface %s", request->name);
	}
	return 0;
}

/* ---- removing ---- */

/*
 * Whether a link is the stored interface: 1 or 0. By its alias; where the pod has changed that, or
 * its name, by its key. A creation that was killed before the alias left a link of its first name,
 * which nobody else has.
 */
static int is_ours(int netns_fd, const struct rail_link *link,
		   const struct rail_interface *interface, struct rail_error *error)
{
	RAIL_CLEANUP(rail_kernel_device_close)
	struct rail_kernel_device device = RAIL_KERNEL_DEVICE_NONE;

	if (strcmp(link->kind, kind) != 0)
		return 0;
	/* An empty alias would equal that of every link that has none. */
	if (interface->alias[0] != '\0' && strcmp(link->alias, interface->alias) == 0)
		return 1;
	if (interface->device_name[0] != '\0' && strcmp(link->name, interface->device_name) == 0)
		return 1;
	if (netns_fd < 0)
		return 0;

	int result = rail_kernel_device_open(netns_fd, link->name, &device, error);
	if (result < 0)
		return result == -ENODEV ? 0 : result;
	return rail_key_equal(&device.public_key, &interface->public_key);
}

/*
 * Deleting a device that has peers takes a full RCU grace period for each of them (wg_destruct
 * runs without the RTNL lock, where synchronize_net is not expedited). Peers that are taken away
 * before cost an expedited one; from their first moment on nothing is sent or received.
 */
static int remove_link(int netns_fd, struct rail_netlink *netlink, int32_t nsid,
		       const struct rail_link *link, struct rail_error *error)
{
	RAIL_CLEANUP(rail_kernel_device_close)
	struct rail_kernel_device device = RAIL_KERNEL_DEVICE_NONE;

	/* What fails here costs time, no more. */
	if (netns_fd >= 0 && rail_kernel_device_open(netns_fd, link->name, &device, NULL) == 0 &&
	    device.has_peers)
		(void)rail_kernel_device_clear(&device, NULL);
	return rail_link_delete_within(netlink, nsid, link->index, error);
}

static int destroy(int netns_fd, const struct rail_interface *interface, struct rail_error *error)
{
	RAIL_CLEANUP(rail_netlink_closep) struct rail_netlink *netlink = NULL;
	RAIL_FREE struct rail_link *links = NULL;
	/* A netns without a path is reached from the host by its number. */
	int32_t nsid = netns_fd < 0 ? interface->nsid : RAIL_NSID_NONE;
	size_t count = 0;

	if (netns_fd < 0 && nsid == RAIL_NSID_NONE)
		return 0;

	int result = rail_netlink_open(netns_fd, &netlink, error);
	if (result == 0)
		result = rail_link_list(netlink, nsid, &links, &count, error);
	for (size_t i = 0; i < count && result >= 0; i++) {
		result = is_ours(netns_fd, &links[i], interface, error);
		if (result > 0)
			result = remove_link(netns_fd, netlink, nsid, &links[i], error);
	}
	return rail_wrap(error, result < 0 ? result : 0, "remove WireGuard interface %s",
			 interface->name);
}

const struct rail_transport rail_transport_kernel = {
	.name = "kernel",
	.available = rail_kernel_available,
	.create = create,
	.read = read_device,
	.verify = verify,
	.apply = apply,
	.destroy = destroy,
};
