#include "pkg/wg/kernel_device.h"

#include <errno.h>
#include <linux/genetlink.h>
#include <linux/wireguard.h>
#include <net/if.h>
#include <string.h>

#include "pkg/base/cleanup.h"
#include "pkg/net/request.h"
#include "pkg/wg/kernel_message.h"

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

/* The number of the family "wireguard", which stays while the module is loaded. */
static int find_family(struct rail_netlink *generic, uint16_t *ret_family, struct rail_error *error)
{
	const struct genlmsghdr header = {.cmd = CTRL_CMD_GETFAMILY, .version = 1};
	struct rail_error one = RAIL_ERROR_NONE;
	static _Atomic uint16_t known_family; /* threads may find it at once: the same */
	struct rail_request request;
	uint16_t family = 0;

	if (known_family != 0) {
		*ret_family = known_family;
		return 0;
	}
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
	known_family = family;
	*ret_family = family;
	return 0;
}

static int open_generic(int netns_fd, struct rail_netlink **ret_generic, uint16_t *ret_family,
			struct rail_error *error)
{
	RAIL_CLEANUP(rail_netlink_closep) struct rail_netlink *generic = NULL;
	int result = rail_netlink_open_protocol(netns_fd, NETLINK_GENERIC, &generic, error);

	if (result == 0)
		result = find_family(generic, ret_family, error);
	if (result == 0)
		*ret_generic = RAIL_TAKE_POINTER(generic);
	return result;
}

int rail_kernel_available(struct rail_error *error)
{
	RAIL_CLEANUP(rail_netlink_closep) struct rail_netlink *generic = NULL;
	uint16_t family;

	return open_generic(-1, &generic, &family, error);
}

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

/* With head_only the socket is good for nothing more. */
static int dump_device(struct rail_netlink *generic, uint16_t family, const char *name,
		       struct rail_kernel_dump *dump, struct rail_error *error)
{
	struct rail_error one = RAIL_ERROR_NONE;
	struct rail_request request;

	rail_kernel_encode_get(family, name, &request);

	int result = rail_request_query(generic, &request, collect_dump, restart_dump, dump,
					"read the WireGuard device", &one);
	/* A link of another kind has the name. */
	if (result == -EOPNOTSUPP)
		return rail_fail(error, ENODEV, "interface %s is no WireGuard interface", name);
	if (result == 0 && (!dump->has_head || dump->index <= 0))
		result = rail_fail(&one, EPROTO, "read the WireGuard device: no answer");
	if (result < 0 && error != NULL)
		*error = one;
	return result;
}

int rail_kernel_device_open(int netns_fd, const char *name, struct rail_kernel_device *ret_device,
			    struct rail_error *error)
{
	RAIL_CLEANUP(rail_netlink_closep) struct rail_netlink *generic = NULL;
	struct rail_kernel_dump dump = {.head_only = true};
	struct rail_kernel_device device = RAIL_KERNEL_DEVICE_NONE;

	if (name[0] == '\0' || strlen(name) >= sizeof(device.name))
		return rail_fail(error, ENODEV, "'%.32s' is no interface name: 1 to %zu characters",
				 name, sizeof(device.name) - 1);
	memcpy(device.name, name, strlen(name));
	device.netns_fd = netns_fd;

	int result = open_generic(netns_fd, &generic, &device.family, error);
	if (result == 0)
		result = dump_device(generic, device.family, name, &dump, error);
	if (result < 0)
		return result;
	device.index = dump.index;
	device.public_key = dump.device.public_key;
	device.listen_port = dump.device.listen_port;
	device.has_peers = dump.has_peers;
	*ret_device = device;
	return 0;
}

void rail_kernel_device_close(struct rail_kernel_device *device)
{
	rail_netlink_closep(&device->generic);
}

/* The socket that opening the device used is in the middle of a dump. */
static int ensure_socket(struct rail_kernel_device *device, struct rail_error *error)
{
	return device->generic != NULL
		       ? 0
		       : open_generic(device->netns_fd, &device->generic, &device->family, error);
}

int rail_kernel_device_read(struct rail_kernel_device *device, struct rail_device *ret_device,
			    struct rail_error *error)
{
	struct rail_kernel_dump dump = {.head_only = false};
	int result = ensure_socket(device, error);

	if (result == 0)
		result = dump_device(device->generic, device->family, device->name, &dump, error);
	if (result == 0 && dump.index != device->index)
		result = rail_fail(error, ENODEV, "interface %s became another", device->name);
	if (result < 0) {
		rail_device_done(&dump.device);
		return result;
	}
	*ret_device = dump.device;
	return 0;
}

static int send_request(struct rail_kernel_device *device, struct rail_request *request,
			const char *what, struct rail_error *error)
{
	int result = ensure_socket(device, error);

	return result < 0 ? result : rail_request_send(device->generic, request, what, error);
}

int rail_kernel_device_configure(struct rail_kernel_device *device,
				 const struct rail_key *private_key, uint16_t listen_port,
				 struct rail_error *error)
{
	struct rail_request request;

	rail_kernel_encode_configure(device->family, device->index, private_key, listen_port,
				     &request);

	int result = send_request(
		device, &request,
		private_key != NULL ? "set the private key" : "set the listen port", error);
	explicit_bzero(&request, sizeof(request));
	return result;
}

int rail_kernel_device_change(struct rail_kernel_device *device, const struct rail_changes *changes,
			      struct rail_error *error)
{
	struct rail_kernel_position position = {.change = 0};
	struct rail_request request;

	for (;;) {
		int result = rail_kernel_encode_changes(device->family, device->index, changes,
							&position, &request);

		if (result == 0)
			return 0;
		if (result < 0)
			return rail_fail_errno(error, -result, "encode a change of peers");
		result = send_request(device, &request, "change peers", error);
		if (result < 0)
			return result;
	}
}

int rail_kernel_device_clear(struct rail_kernel_device *device, struct rail_error *error)
{
	struct rail_request request;

	rail_kernel_encode_clear(device->family, device->index, &request);
	return send_request(device, &request, "take all peers away", error);
}
