#include "pkg/mesh/pod.h"

#include <arpa/inet.h>
#include <errno.h>
#include <string.h>

#include "pkg/base/cleanup.h"
#include "pkg/net/isolation.h"
#include "pkg/net/link.h"
#include "pkg/net/netlink.h"

static int configure(int netns_fd, struct rail_netlink *netlink, const struct rail_pod *pod,
		     struct rail_error *error)
{
	struct rail_link link;
	bool usable = false;

	int result = rail_link_get(netlink, pod->interface_name, &link, error);
	if (result < 0)
		return result;
	result = rail_ipv6_enable(netns_fd, pod->interface_name, error);
	if (result < 0)
		return result;
	result = rail_address_add(netlink, link.index, &pod->address, RAIL_POD_ADDRESS_LENGTH,
				  error);
	if (result < 0)
		return result;

	struct rail_isolation isolation = {
		.interface = pod->interface_name,
		.interface_index = link.index,
		.prefix = pod->prefix,
		.address = pod->address,
	};
	result = rail_isolation_apply(netlink, &isolation, error);
	if (result < 0)
		return result;

	result = rail_address_usable(netlink, link.index, &pod->address, &usable, error);
	if (result < 0)
		return result;
	if (!usable)
		return rail_fail(
			error, EADDRNOTAVAIL,
			"the address on '%s' is still tentative: a program could not bind it",
			pod->interface_name);
	return 0;
}

/* A second one would share rules, route, resolver's address and its sockets with the first, and
 * take them away as it goes: the first would be open to its neighbours. */
static int check_alone(struct rail_netlink *netlink, struct rail_error *error)
{
	bool is_there = false;
	int result = rail_isolation_is_there(netlink, &is_there, error);

	if (result == 0 && is_there)
		return rail_fail_code(
			error, RAIL_CODE_INVALID_CONFIG, EEXIST,
			"the pod's netns has the rules of a private network already: one netns has "
			"one. Take railway-mesh out of the other list or attachment, or DEL that "
			"one first");
	return result;
}

int rail_pod_create(int netns_fd, const struct rail_pod *pod,
		    int (*announce)(void *context, const struct rail_interface *interface,
				    struct rail_error *error),
		    void *context, struct rail_interface *ret_interface, unsigned int *ret_mtu,
		    struct rail_error *error)
{
	RAIL_CLEANUP(rail_netlink_closep) struct rail_netlink *netlink = NULL;
	struct rail_interface interface = {0};
	struct rail_link existing;
	unsigned int mtu = pod->mtu;

	int result = rail_netlink_open(netns_fd, &netlink, error);
	if (result < 0)
		return result;
	result = rail_link_get(netlink, pod->interface_name, &existing, NULL);
	if (result == 0)
		return rail_fail_code(
			error, RAIL_CODE_ATTACHMENT_EXISTS, EEXIST,
			"interface '%s' is in the pod's netns already; it is left as it is",
			pod->interface_name);

	result = check_alone(netlink, error);
	if (result < 0)
		return result;

	if (mtu == 0) {
		RAIL_CLEANUP(rail_netlink_closep) struct rail_netlink *host = NULL;

		result = rail_netlink_open(-1, &host, error);
		if (result == 0)
			result = rail_tunnel_mtu(host, &mtu, error);
		if (result < 0)
			return result;
	}

	/* In Nomad's netns nobody else switches lo on. */
	result = rail_ipv6_enable(netns_fd, "lo", error);
	if (result == 0)
		result = rail_link_set_up(netlink, RAIL_LOOPBACK_INDEX, true, error);
	if (result < 0)
		return rail_wrap(error, result, "lo");

	struct rail_interface_request request = {
		.netns_fd = netns_fd,
		.name = pod->interface_name,
		.alias = pod->alias,
		.mtu = mtu,
		.listen_ports = pod->listen_ports,
		.listen_port_count = pod->listen_port_count,
	};
	result = pod->transport->create(&request, announce, context, &interface, error);
	if (result < 0)
		return result;

	result = configure(netns_fd, netlink, pod, error);
	if (result < 0) {
		(void)rail_pod_destroy(netns_fd, &pod->prefix, &pod->address, &interface, NULL);
		return result;
	}
	*ret_interface = interface;
	*ret_mtu = mtu;
	return 0;
}

int rail_pod_destroy(int netns_fd, const struct rail_prefix *prefix, const struct in6_addr *address,
		     const struct rail_interface *interface, struct rail_error *error)
{
	struct rail_error all = RAIL_ERROR_NONE;
	struct rail_error one = RAIL_ERROR_NONE;

	/* The interface goes before the rules that hold its traffic back. */
	const struct rail_transport *transport = rail_transport_by_name(interface->transport);
	int result =
		transport != NULL
			? transport->destroy(netns_fd, interface, &one)
			: rail_fail(&one, ENOTSUP,
				    "interface '%s' has the transport '%s', which this release "
				    "does not know: install the one that made it",
				    interface->name, interface->transport);
	if (result < 0)
		rail_error_collect(&all, &one);

	if (netns_fd >= 0) {
		RAIL_CLEANUP(rail_netlink_closep) struct rail_netlink *netlink = NULL;
		struct rail_isolation isolation = {
			.interface = interface->name,
			.prefix = *prefix,
			.address = *address,
		};

		if (rail_netlink_open(netns_fd, &netlink, &one) < 0 ||
		    rail_isolation_remove(netlink, &isolation, &one) < 0)
			rail_error_collect(&all, &one);
	}

	return rail_error_outcome(&all, error);
}

int rail_pod_check(int netns_fd, const struct rail_prefix *prefix, const struct in6_addr *address,
		   const struct rail_interface *interface, struct rail_error *error)
{
	RAIL_CLEANUP(rail_netlink_closep) struct rail_netlink *netlink = NULL;
	char text[INET6_ADDRSTRLEN];
	struct rail_link link;
	bool usable = false;

	int result = rail_netlink_open(netns_fd, &netlink, error);
	if (result < 0)
		return result;
	if (rail_link_get(netlink, interface->name, &link, NULL) < 0)
		return rail_fail_code(error, RAIL_CODE_CHECK_FAILED, ENODEV,
				      "interface '%s' is gone", interface->name);
	if (strcmp(link.alias, interface->alias) != 0)
		return rail_fail_code(error, RAIL_CODE_CHECK_FAILED, ENODEV,
				      "interface '%s' is not the one that ADD made",
				      interface->name);
	if (!link.up)
		return rail_fail_code(error, RAIL_CODE_CHECK_FAILED, ENETDOWN,
				      "interface '%s' is down", interface->name);

	result = rail_address_usable(netlink, link.index, address, &usable, error);
	if (result < 0)
		return result;
	(void)inet_ntop(AF_INET6, address, text, sizeof(text));
	if (!usable)
		return rail_fail_code(error, RAIL_CODE_CHECK_FAILED, EADDRNOTAVAIL,
				      "address %s is not on interface '%s', or cannot be bound",
				      text, interface->name);

	result = rail_link_get_index(netlink, RAIL_LOOPBACK_INDEX, &link, error);
	if (result < 0)
		return result;
	if (!link.up)
		return rail_fail_code(error, RAIL_CODE_CHECK_FAILED, ENETDOWN, "lo is down");

	result = rail_link_get(netlink, interface->name, &link, error);
	if (result < 0)
		return result;
	struct rail_isolation isolation = {
		.interface = interface->name,
		.interface_index = link.index,
		.prefix = *prefix,
		.address = *address,
	};
	return rail_isolation_check(netlink, &isolation, error);
}
