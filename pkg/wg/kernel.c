#include <errno.h>
#include <linux/genetlink.h>
#include <linux/wireguard.h>
#include <stdio.h>
#include <string.h>

#include "pkg/base/cleanup.h"
#include "pkg/base/file.h"
#include "pkg/net/link.h"
#include "pkg/net/request.h"
#include "pkg/wg/kernel_message.h"
#include "pkg/wg/key.h"
#include "pkg/wg/transport.h"

/*
 * WireGuard by the kernel. The link is made in the pod's netns by a message sent from the host's,
 * where its UDP socket therefore is.
 */

static const char kind[] = WG_GENL_NAME;

/* A device that is reached by netlink in the pod's netns. */
struct reached {
	struct rail_netlink *route;
	struct rail_netlink *generic;
	uint16_t family;
	struct rail_link link;
};

static void reached_done(struct reached *reached)
{
	rail_netlink_close(reached->route);
	rail_netlink_close(reached->generic);
}

static int collect_family(void *context, const struct nlmsghdr *reply, struct rail_error *error)
{
	uint16_t *family = context;
	const struct nlattr *attribute;

	if (mnl_nlmsg_get_payload_len(reply) < GENL_HDRLEN)
		return rail_fail(error, EPROTO, "short message of the kernel");
	RAIL_FOR_EACH_ATTRIBUTE(attribute, reply, GENL_HDRLEN)
	{
		if (mnl_attr_get_type(attribute) == CTRL_ATTR_FAMILY_ID)
			(void)rail_attribute_bytes(attribute, family, sizeof(*family));
	}
	return 0;
}

/* The number of the family "wireguard"; asking loads the module where there is one. */
static int find_family(struct rail_netlink *generic, uint16_t *ret_family, struct rail_error *error)
{
	const struct genlmsghdr header = {.cmd = CTRL_CMD_GETFAMILY, .version = 1};
	struct rail_error one = RAIL_ERROR_NONE;
	struct rail_request request;
	uint16_t family = 0;

	rail_request_init(&request, GENL_ID_CTRL, 0, &header, sizeof(header));
	rail_request_put_string(&request, CTRL_ATTR_FAMILY_NAME, WG_GENL_NAME);

	int result = rail_request_query(generic, &request, collect_family, NULL, &family,
					"ask the kernel for WireGuard", &one);
	if (result == -ENOENT || (result == 0 && family < NLMSG_MIN_TYPE))
		return rail_fail_code(error, RAIL_CODE_NOT_AVAILABLE, ENOTSUP,
				      "this machine's kernel has no WireGuard (module "
				      "'wireguard')");
	if (result < 0) {
		if (error != NULL)
			*error = one;
		return result;
	}
	*ret_family = family;
	return 0;
}

static int open_generic(int netns_fd, struct reached *reached, struct rail_error *error)
{
	int result =
		rail_netlink_open_protocol(netns_fd, NETLINK_GENERIC, &reached->generic, error);

	return result < 0 ? result : find_family(reached->generic, &reached->family, error);
}

static int available(struct rail_error *error)
{
	RAIL_CLEANUP(reached_done) struct reached reached = {.route = NULL};

	return open_generic(-1, &reached, error);
}

/* ---- reading ---- */

static int collect_dump(void *context, const struct nlmsghdr *reply, struct rail_error *error)
{
	struct rail_kernel_dump *dump = context;
	int result = rail_kernel_decode(reply, dump, error);

	return result == 0 && dump->head_only ? 1 : result;
}

static void restart_dump(void *context)
{
	struct rail_kernel_dump *dump = context;

	rail_device_done(&dump->device);
	*dump = (struct rail_kernel_dump){.head_only = dump->head_only};
}

/* With head_only the generic socket is good for nothing more. */
static int get_device(struct reached *reached, bool head_only, struct rail_device *ret_device,
		      struct rail_error *error)
{
	struct rail_kernel_dump dump = {.head_only = head_only};
	struct rail_request request;

	rail_kernel_encode_get(reached->family, reached->link.index, &request);

	int result = rail_request_query(reached->generic, &request, collect_dump, restart_dump,
					&dump, "read the WireGuard device", error);
	if (result == 0 && !dump.has_head)
		result = rail_fail(error, EPROTO, "read the WireGuard device: no answer");
	if (result < 0) {
		rail_device_done(&dump.device);
		return result;
	}
	*ret_device = dump.device;
	return 0;
}

static int not_ours(const char *name, struct rail_error *error)
{
	return rail_fail(error, ENODEV, "interface %s is not the one that was made here", name);
}

/* ENODEV where the interface in the netns is not the stored one. */
static int find_link(int netns_fd, const struct rail_interface *interface, struct reached *reached,
		     struct rail_error *error)
{
	if (netns_fd < 0)
		return rail_fail_errno(error, EBADF, "the pod's netns");

	int result = rail_netlink_open(netns_fd, &reached->route, error);
	if (result == 0)
		result = rail_link_get(reached->route, interface->name, &reached->link, error);
	if (result < 0)
		return result;
	/* An empty alias would equal that of every link that has none. */
	if (strcmp(reached->link.kind, kind) != 0 || interface->alias[0] == '\0' ||
	    strcmp(reached->link.alias, interface->alias) != 0)
		return not_ours(interface->name, error);
	return 0;
}

static int reach(int netns_fd, const struct rail_interface *interface, struct reached *reached,
		 struct rail_error *error)
{
	int result = find_link(netns_fd, interface, reached, error);

	return result < 0 ? result : open_generic(netns_fd, reached, error);
}

static int verify(int netns_fd, const struct rail_interface *interface, struct rail_error *error)
{
	RAIL_CLEANUP(reached_done) struct reached reached = {.route = NULL};
	struct rail_device device;
	int result = reach(netns_fd, interface, &reached, error);

	if (result == 0)
		result = get_device(&reached, true, &device, error);
	if (result < 0)
		return result;
	if (!rail_key_equal(&device.public_key, &interface->public_key))
		return rail_fail(error, ENODEV, "interface %s has another key than it was given",
				 interface->name);
	return 0;
}

static int read_device(int netns_fd, const struct rail_interface *interface,
		       struct rail_device *ret_device, struct rail_error *error)
{
	RAIL_CLEANUP(reached_done) struct reached reached = {.route = NULL};
	int result = reach(netns_fd, interface, &reached, error);

	if (result == 0)
		result = get_device(&reached, false, ret_device, error);
	return rail_wrap(error, result, "read WireGuard interface %s", interface->name);
}

/* ---- changing ---- */

static int send_changes(struct reached *reached, const struct rail_changes *changes,
			struct rail_error *error)
{
	struct rail_kernel_position position = {.change = 0};
	struct rail_request request;

	for (;;) {
		int result = rail_kernel_encode_changes(reached->family, reached->link.index,
							changes, &position, &request);

		if (result == 0)
			return 0;
		if (result < 0)
			return rail_fail_errno(error, -result, "encode a change of peers");
		result = rail_request_send(reached->generic, &request, "change peers", error);
		if (result < 0)
			return result;
	}
}

static int apply(int netns_fd, const struct rail_interface *interface,
		 const struct rail_changes *changes, struct rail_error *error)
{
	RAIL_CLEANUP(reached_done) struct reached reached = {.route = NULL};

	if (changes->count == 0)
		return 0;

	int result = reach(netns_fd, interface, &reached, error);
	if (result == 0)
		result = send_changes(&reached, changes, error);
	return rail_wrap(error, result, "change the peers of WireGuard interface %s",
			 interface->name);
}

/* ---- making and removing ---- */

static int configure(struct reached *reached, const struct rail_key *private_key,
		     uint16_t listen_port, const char *what, struct rail_error *error)
{
	struct rail_request request;

	rail_kernel_encode_configure(reached->family, reached->link.index, private_key, listen_port,
				     &request);

	int result = rail_request_send(reached->generic, &request, what, error);
	explicit_bzero(&request, sizeof(request));
	return result;
}

/* The port is bound when the link goes up: only then is it seen to be taken. */
static int set_up(struct reached *reached, const struct rail_interface_request *request,
		  struct rail_error *error)
{
	size_t count = request->listen_port_count;
	uint32_t start = 0;

	if (count == 0)
		return rail_link_set_up(reached->route, reached->link.index, true, error);

	/* Another place to begin for each pod, or all would try all that are taken. */
	int result = rail_random(&start, sizeof(start), error);
	if (result < 0)
		return result;
	for (size_t i = 0; i < count; i++) {
		uint16_t port = request->listen_ports[(start + i) % count];
		struct rail_error one = RAIL_ERROR_NONE;

		result = configure(reached, NULL, port, "set the listen port", &one);
		if (result == 0)
			result = rail_link_set_up(reached->route, reached->link.index, true, &one);
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

/* From the link that was just made to a device that listens. */
static int build(struct reached *reached, const struct rail_interface_request *request,
		 const struct rail_key *private_key, struct rail_interface *interface,
		 struct rail_error *error)
{
	struct rail_device device;
	int result = rail_link_get(reached->route, request->name, &reached->link, error);

	if (result == 0)
		result = rail_link_change(reached->route, reached->link.index, NULL, request->alias,
					  0, error);
	if (result == 0)
		result = configure(reached, private_key, 0, "set the private key", error);
	if (result == 0)
		result = set_up(reached, request, error);
	if (result == 0)
		result = get_device(reached, true, &device, error);
	if (result < 0)
		return result;
	if (!rail_key_equal(&device.public_key, &interface->public_key))
		return rail_fail(error, EPROTO,
				 "the kernel's device has another key than the one it was given");
	interface->listen_port = device.listen_port;
	return 0;
}

static int create(const struct rail_interface_request *request,
		  int (*announce)(void *context, const struct rail_interface *interface,
				  struct rail_error *error),
		  void *context, struct rail_interface *ret_interface, struct rail_error *error)
{
	RAIL_CLEANUP(reached_done) struct reached pod = {.route = NULL};
	RAIL_CLEANUP(rail_netlink_closep) struct rail_netlink *host = NULL;
	RAIL_CLEANUP(rail_key_wipe) struct rail_key private_key = {.bytes = {0}};

	*ret_interface = (struct rail_interface){.transport = "kernel"};

	int result = rail_transport_check_request(request, error);
	if (result < 0)
		return result;
	(void)snprintf(ret_interface->name, sizeof(ret_interface->name), "%s", request->name);
	(void)snprintf(ret_interface->alias, sizeof(ret_interface->alias), "%s", request->alias);

	result = open_generic(request->netns_fd, &pod, error);
	if (result == 0)
		result = rail_netlink_open(request->netns_fd, &pod.route, error);
	if (result == 0)
		result = rail_netlink_open(-1, &host, error);
	if (result == 0)
		result = rail_key_generate(&private_key, error);
	if (result < 0)
		return result;
	rail_key_public(&private_key, &ret_interface->public_key);
	if (announce != NULL) {
		result = announce(context, ret_interface, error);
		if (result < 0)
			return result;
	}

	/* Where this fails, a link of that name is another's. */
	result =
		rail_link_create(host, request->name, kind, request->mtu, request->netns_fd, error);
	if (result < 0)
		return result;
	result = build(&pod, request, &private_key, ret_interface, error);
	if (result < 0) {
		if (rail_link_get(pod.route, request->name, &pod.link, NULL) == 0)
			(void)rail_link_delete(pod.route, pod.link.index, NULL);
		return rail_wrap(error, result, "make WireGuard interface %s", request->name);
	}
	return 0;
}

/*
 * A creation that was killed between making the link and giving it its alias left a WireGuard link
 * of the announced name that is down and has no key: nobody has begun to use it. 1 for such a one.
 */
static int is_unfinished(int netns_fd, struct reached *reached, struct rail_error *error)
{
	const struct rail_key none = {.bytes = {0}};
	struct rail_device device;

	if (strcmp(reached->link.kind, kind) != 0 || reached->link.alias[0] != '\0' ||
	    reached->link.up)
		return 0;

	int result = open_generic(netns_fd, reached, error);
	if (result == 0)
		result = get_device(reached, true, &device, error);
	if (result < 0)
		return result;
	return rail_key_equal(&device.public_key, &none) ? 1 : 0;
}

static int destroy(int netns_fd, const struct rail_interface *interface, struct rail_error *error)
{
	RAIL_CLEANUP(reached_done) struct reached reached = {.route = NULL};
	struct rail_error one = RAIL_ERROR_NONE;

	/* All of the interface is in the pod's netns. Without a way in there is nothing to remove
	 * from the host; it goes with the netns. */
	if (netns_fd < 0)
		return 0;

	int result = find_link(netns_fd, interface, &reached, &one);
	if (result == -ENODEV && reached.link.index > 0) {
		one = RAIL_ERROR_NONE;
		result = is_unfinished(netns_fd, &reached, &one);
		if (result == 0)
			return 0;
	}
	if (result >= 0)
		result = rail_link_delete(reached.route, reached.link.index, &one);
	if (result == 0 || result == -ENODEV)
		return 0;
	if (error != NULL)
		*error = one;
	return rail_wrap(error, result, "remove WireGuard interface %s", interface->name);
}

const struct rail_transport rail_transport_kernel = {
	.name = "kernel",
	.available = available,
	.create = create,
	.read = read_device,
	.verify = verify,
	.apply = apply,
	.destroy = destroy,
};
