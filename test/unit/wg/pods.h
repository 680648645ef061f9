#pragma once

#include <arpa/inet.h>
#include <criterion/criterion.h>
#include <errno.h>
#include <sys/wait.h>
#include <unistd.h>

#include "pkg/base/file.h"
#include "pkg/net/link.h"
#include "pkg/wg/transport.h"
#include "pkg/wg/uapi_socket.h"
#include "test/unit/net/namespaces.h"

/* Pods with a WireGuard interface that wireguard-go carries. */

__attribute__((unused)) static const struct rail_transport *const userspace =
	&rail_transport_userspace;

struct pod {
	int netns_fd;
	struct in6_addr address;
	struct rail_interface interface;
};

NAMESPACES_HELPER struct rail_interface_request request_for(int netns_fd)
{
	return (struct rail_interface_request){
		.netns_fd = netns_fd, .name = "mesh0", .alias = "railway:test", .mtu = 1400};
}

NAMESPACES_HELPER struct pod make_pod(const char *address)
{
	struct rail_error error = RAIL_ERROR_NONE;
	struct pod pod = {.netns_fd = make_netns()};
	struct rail_interface_request request = request_for(pod.netns_fd);
	struct rail_netlink *netlink;
	struct rail_link link;

	cr_assert_eq(inet_pton(AF_INET6, address, &pod.address), 1);
	int result = userspace->create(&request, NULL, NULL, &pod.interface, &error);
	cr_assert_eq(result, 0, "%s", error.message);
	cr_assert_eq(rail_netlink_open(pod.netns_fd, &netlink, &error), 0);
	cr_assert_eq(rail_link_get(netlink, "mesh0", &link, &error), 0);
	cr_assert_eq(rail_address_add(netlink, link.index, &pod.address, 128, &error), 0);
	rail_netlink_close(netlink);
	assert_command(pod.netns_fd, "ip -6 route add fd00::/16 dev mesh0");
	return pod;
}

/* The process is this test's child and would stay a zombie. */
NAMESPACES_HELPER void destroy_pod(struct pod *pod)
{
	assert_ok(userspace->destroy(pod->netns_fd, &pod->interface, &failure));
	(void)waitpid(pod->interface.process.pid, NULL, 0);
	close(pod->netns_fd);
}

NAMESPACES_HELPER bool link_there(int netns_fd, const char *name)
{
	struct rail_netlink *netlink;
	struct rail_link link;

	assert_ok(rail_netlink_open(netns_fd, &netlink, &failure));
	int result = rail_link_get(netlink, name, &link, NULL);
	cr_assert(result == 0 || result == -ENODEV);
	rail_netlink_close(netlink);
	return result == 0;
}

/* The stand-in of a TUN link goes in a child for which nobody waits. */
NAMESPACES_HELPER void assert_no_stand_in(const struct rail_interface *interface)
{
	int64_t end_ms = rail_monotonic_ms() + 5000;

	while (link_there(-1, interface->device_name)) {
		cr_assert_lt(rail_monotonic_ms(), end_ms, "the stand-in is left");
		(void)usleep(1000);
	}
}

NAMESPACES_HELPER bool socket_there(const struct rail_interface *interface)
{
	char path[RAIL_UAPI_PATH_SIZE];

	assert_ok(rail_uapi_path(interface->device_name, path, &failure));
	return access(path, F_OK) == 0;
}

NAMESPACES_HELPER void assert_nothing_left(int netns_fd, const struct rail_interface *interface)
{
	cr_assert_not(rail_process_alive(&interface->process));
	cr_assert_not(socket_there(interface));
	assert_no_stand_in(interface);
	if (netns_fd >= 0) {
		cr_assert_not(link_there(netns_fd, interface->device_name));
		cr_assert_not(link_there(netns_fd, interface->name));
	}
}
