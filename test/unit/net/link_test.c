#include <arpa/inet.h>
#include <criterion/criterion.h>
#include <errno.h>
#include <linux/netlink.h>
#include <linux/rtnetlink.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "pkg/net/link.h"
#include "test/unit/net/namespaces.h"

static struct in6_addr address(const char *text)
{
	struct in6_addr binary;

	cr_assert_eq(inet_pton(AF_INET6, text, &binary), 1);
	return binary;
}

static struct rail_netlink *open_in(int netns_fd)
{
	struct rail_netlink *netlink = NULL;

	assert_ok(rail_netlink_open(netns_fd, &netlink, &failure));
	return netlink;
}

Test(net_link, describes_a_link)
{
	become_host();
	int netns_fd = make_netns();
	struct rail_netlink *netlink = open_in(netns_fd);
	struct rail_link link;
	struct rail_link by_index;

	assert_command(netns_fd, "ip link add va type veth peer name vb && "
				 "ip link set va mtu 1400 alias railway:x up");
	assert_ok(rail_link_get(netlink, "va", &link, &failure));
	cr_assert_str_eq(link.name, "va");
	cr_assert_str_eq(link.kind, "veth");
	cr_assert_str_eq(link.alias, "railway:x");
	cr_assert_eq(link.mtu, 1400);
	cr_assert(link.up);
	assert_ok(rail_link_get_index(netlink, link.index, &by_index, &failure));
	cr_assert_str_eq(by_index.name, "va");
	assert_ok(rail_link_get(netlink, "vb", &link, &failure));
	cr_assert_not(link.up);
	cr_assert_str_eq(link.alias, "");
	assert_ok(rail_link_get(netlink, "lo", &link, &failure));
	cr_assert_eq(link.index, RAIL_LOOPBACK_INDEX);
	cr_assert_str_eq(link.kind, "");

	/* One that the record cannot hold never equals it. */
	assert_command(netns_fd, "ip link set vb alias $(head -c 100 /dev/zero | tr '\\0' x)");
	assert_ok(rail_link_get(netlink, "vb", &link, &failure));
	cr_assert_str_eq(link.alias, "");
	rail_netlink_close(netlink);
}

Test(net_link, missing_links_are_enodev)
{
	become_host();
	struct rail_netlink *netlink = open_in(-1);
	struct rail_error error = RAIL_ERROR_NONE;
	struct rail_link link;

	cr_assert_eq(rail_link_get(netlink, "nothing", &link, &error), -ENODEV);
	cr_assert_not_null(strstr(error.message, "nothing"));
	cr_assert_eq(rail_link_get(netlink, "", &link, NULL), -ENODEV);
	cr_assert_eq(rail_link_get(netlink, "name-of-16-bytes", &link, NULL), -ENODEV);
	cr_assert_eq(rail_link_get_index(netlink, 4711, &link, NULL), -ENODEV);
	cr_assert_eq(rail_link_get_index(netlink, 0, &link, NULL), -ENODEV);
	assert_ok(rail_link_delete(netlink, 4711, &failure));
	cr_assert_eq(rail_link_delete(netlink, 0, NULL), -EINVAL);
	rail_netlink_close(netlink);
}

Test(net_link, changes_moves_and_deletes)
{
	become_host();
	int netns_fd = make_netns();
	struct rail_netlink *host = open_in(-1);
	struct rail_netlink *pod = open_in(netns_fd);
	struct rail_link link;

	assert_command(-1, "ip link add va type veth peer name vb");
	assert_ok(rail_link_get(host, "va", &link, &failure));
	assert_ok(rail_link_set_up(host, link.index, true, &failure));
	assert_ok(rail_link_move(host, link.index, netns_fd, &failure));
	cr_assert_eq(rail_link_get(host, "va", &link, NULL), -ENODEV);
	assert_ok(rail_link_get(pod, "va", &link, &failure));
	cr_assert_not(link.up);

	assert_ok(rail_link_change(pod, link.index, "eth7", "railway:y", 1300, &failure));
	assert_ok(rail_link_get(pod, "eth7", &link, &failure));
	cr_assert_eq(link.mtu, 1300);
	cr_assert_str_eq(link.alias, "railway:y");
	assert_ok(rail_link_change(pod, link.index, NULL, NULL, 1290, &failure));
	assert_ok(rail_link_get(pod, "eth7", &link, &failure));
	cr_assert_eq(link.mtu, 1290);
	cr_assert_str_eq(link.alias, "railway:y");

	assert_ok(rail_link_no_link_local(pod, link.index, &failure));
	assert_command(-1, "ip link set vb up");
	assert_ok(rail_link_set_up(pod, link.index, true, &failure));
	assert_ok(rail_link_get(pod, "eth7", &link, &failure));
	cr_assert(link.up);
	assert_command(netns_fd, "test -z \"$(ip -6 address show dev eth7)\"");

	assert_ok(rail_link_delete(pod, link.index, &failure));
	cr_assert_eq(rail_link_get(pod, "eth7", &link, NULL), -ENODEV);
	cr_assert_eq(rail_link_get(host, "vb", &link, NULL), -ENODEV);
	rail_netlink_close(host);
	rail_netlink_close(pod);
}

Test(net_link, errors_carry_the_kernels_words)
{
	become_host();
	struct rail_netlink *netlink = open_in(-1);
	struct rail_error error = RAIL_ERROR_NONE;

	cr_assert_eq(
		rail_link_change(netlink, RAIL_LOOPBACK_INDEX, NULL, NULL, 0x80000000U, &error),
		-EINVAL);
	cr_assert_not_null(strstr(error.message, "the kernel says: mtu"), "%s", error.message);
	/* The socket is as good as before. */
	struct rail_link link;
	assert_ok(rail_link_get(netlink, "lo", &link, &failure));
	rail_netlink_close(netlink);
}

Test(net_address, can_be_bound_at_once)
{
	become_host();
	int netns_fd = make_netns();
	struct rail_netlink *netlink = open_in(netns_fd);
	struct in6_addr own = address("fd00::1");
	struct rail_link link;
	bool usable = true;

	assert_command(netns_fd, "ip link add va type veth peer name vb && ip link set vb up && "
				 "ip link set va up");
	assert_ok(rail_link_get(netlink, "va", &link, &failure));
	assert_ok(rail_address_usable(netlink, link.index, &own, &usable, &failure));
	cr_assert_not(usable);
	assert_ok(rail_address_add(netlink, link.index, &own, 64, &failure));
	assert_ok(rail_address_usable(netlink, link.index, &own, &usable, &failure));
	cr_assert(usable);
	cr_assert_eq(rail_address_add(netlink, link.index, &own, 64, NULL), -EEXIST);
	assert_command(netns_fd, "test -z \"$(ip -6 route show fd00::/64)\"");
	assert_ok(rail_address_usable(netlink, RAIL_LOOPBACK_INDEX, &own, &usable, &failure));
	cr_assert_not(usable);
	assert_ok(rail_address_usable(netlink, 4711, &own, &usable, &failure));
	cr_assert_not(usable);

	assert_ok(rail_address_delete(netlink, link.index, &own, 64, &failure));
	assert_ok(rail_address_usable(netlink, link.index, &own, &usable, &failure));
	cr_assert_not(usable);
	assert_ok(rail_address_delete(netlink, link.index, &own, 64, &failure));
	assert_ok(rail_address_delete(netlink, 4711, &own, 64, &failure));
	cr_assert_eq(rail_address_add(netlink, link.index, &own, 129, NULL), -EINVAL);

	/* With duplicate address detection it is tentative for a second. */
	assert_command(netns_fd, "ip -6 address add fd00::1/64 dev va");
	assert_ok(rail_address_usable(netlink, link.index, &own, &usable, &failure));
	cr_assert_not(usable);
	/* The other end's address is not the link's. */
	assert_command(netns_fd, "ip -6 address add fd00::8 peer fd00::9 dev va nodad");
	own = address("fd00::9");
	assert_ok(rail_address_usable(netlink, link.index, &own, &usable, &failure));
	cr_assert_not(usable);
	own = address("fd00::8");
	assert_ok(rail_address_usable(netlink, link.index, &own, &usable, &failure));
	cr_assert(usable);
	rail_netlink_close(netlink);
}

Test(net_ipv6, is_switched_on)
{
	become_host();
	int netns_fd = make_netns();
	struct rail_netlink *netlink = open_in(netns_fd);
	struct in6_addr own = address("fd00::1");
	struct rail_link link;

	assert_command(netns_fd, "ip link add va type veth peer name vb && "
				 "echo 1 > /proc/sys/net/ipv6/conf/all/disable_ipv6");
	assert_ok(rail_link_get(netlink, "va", &link, &failure));
	cr_assert_eq(rail_address_add(netlink, link.index, &own, 128, NULL), -EACCES);
	assert_ok(rail_ipv6_enable(netns_fd, "va", &failure));
	assert_ok(rail_ipv6_enable(netns_fd, "va", &failure));
	assert_ok(rail_address_add(netlink, link.index, &own, 128, &failure));
	assert_command(netns_fd, "grep -qx 0 /proc/sys/net/ipv6/conf/va/disable_ipv6");
	assert_command(netns_fd, "grep -qx 1 /proc/sys/net/ipv6/conf/vb/disable_ipv6");

	cr_assert_eq(rail_ipv6_enable(netns_fd, "nothing", NULL), -ENODEV);
	cr_assert_eq(rail_ipv6_enable(netns_fd, "..", NULL), -EINVAL);
	cr_assert_eq(rail_ipv6_enable(netns_fd, "a/b", NULL), -EINVAL);
	cr_assert_eq(rail_ipv6_enable(netns_fd, "", NULL), -EINVAL);
	rail_netlink_close(netlink);
}

Test(net_link, tunnel_mtu_follows_the_default_route)
{
	become_host();
	struct rail_netlink *netlink = open_in(-1);
	unsigned int mtu = 0;

	assert_ok(rail_tunnel_mtu(netlink, &mtu, &failure));
	cr_assert_eq(mtu, 1420);

	assert_command(-1, "ip link add va type veth peer name vb && ip link set vb up && "
			   "ip link set va up mtu 9000 && ip link add vc type veth peer name vd && "
			   "ip link set vd up && ip link set vc up mtu 1450");
	assert_command(-1, "ip address add 192.0.2.1/24 dev va && "
			   "ip route add default via 192.0.2.2 metric 100");
	assert_ok(rail_tunnel_mtu(netlink, &mtu, &failure));
	cr_assert_eq(mtu, 8920);
	/* A worse default route is not used. */
	assert_command(-1, "ip address add 198.51.100.1/24 dev vc && "
			   "ip route add default via 198.51.100.2 metric 200");
	assert_ok(rail_tunnel_mtu(netlink, &mtu, &failure));
	cr_assert_eq(mtu, 8920);
	/* IPv6's may be another. */
	assert_command(-1, "ip -6 address add 2001:db8::1/64 dev vc nodad && "
			   "ip -6 route add default via 2001:db8::2");
	assert_ok(rail_tunnel_mtu(netlink, &mtu, &failure));
	cr_assert_eq(mtu, 1370);
	/* Of several next hops, the smallest counts. */
	assert_command(-1, "ip -6 route del default && ip route replace default metric 100 "
			   "nexthop via 192.0.2.2 nexthop via 198.51.100.2");
	assert_ok(rail_tunnel_mtu(netlink, &mtu, &failure));
	cr_assert_eq(mtu, 1370);
	assert_command(-1, "ip link set vc mtu 1300");
	assert_ok(rail_tunnel_mtu(netlink, &mtu, &failure));
	cr_assert_eq(mtu, 1280);
	rail_netlink_close(netlink);
}

/* ---- netlink itself ---- */

static int count_links(void *context, const struct nlmsghdr *reply, struct rail_error *error)
{
	(void)error;
	if (reply->nlmsg_type == RTM_NEWLINK)
		++*(int *)context;
	return 0;
}

static int refuse(void *context, const struct nlmsghdr *reply, struct rail_error *error)
{
	(void)reply;
	++*(int *)context;
	return rail_fail(error, ECANCELED, "enough");
}

struct dump {
	struct nlmsghdr header;
	struct ifinfomsg info;
};

static struct dump link_dump(void)
{
	return (struct dump){.header = {.nlmsg_len = sizeof(struct dump),
					.nlmsg_type = RTM_GETLINK,
					.nlmsg_flags = NLM_F_REQUEST | NLM_F_DUMP}};
}

Test(net_netlink, collector_that_fails_leaves_a_good_socket)
{
	become_host();
	struct rail_netlink *netlink = open_in(-1);
	struct rail_error error = RAIL_ERROR_NONE;
	int count = 0;

	/* Enough for a dump of several parts. */
	assert_command(-1, "for i in $(seq 60); do ip link add a$i type veth peer name b$i; done");
	struct dump dump = link_dump();
	cr_assert_eq(rail_netlink_query(netlink, &dump.header, refuse, NULL, &count, "read links",
					&error),
		     -ECANCELED);
	cr_assert_str_eq(error.message, "enough");
	cr_assert_eq(count, 1);

	count = 0;
	dump = link_dump();
	assert_ok(rail_netlink_query(netlink, &dump.header, count_links, NULL, &count, "read links",
				     &failure));
	cr_assert_eq(count, 1 + 2 * 60);
	rail_netlink_close(netlink);
}

/* Any process may send to a netlink socket. */
Test(net_netlink, messages_of_others_are_not_believed)
{
	become_host();
	struct rail_netlink *netlink = open_in(-1);
	struct sockaddr_nl kernel_port = {.nl_family = AF_NETLINK};
	struct rail_link link;
	int forger = socket(AF_NETLINK, SOCK_RAW | SOCK_CLOEXEC, NETLINK_ROUTE);
	struct {
		struct nlmsghdr header;
		struct nlmsgerr status;
	} forged = {.header = {.nlmsg_len = sizeof(forged), .nlmsg_type = NLMSG_ERROR},
		    .status = {.error = -EPERM}};

	/* The first socket of a process has its number; the forger, the second, has another. */
	kernel_port.nl_pid = (uint32_t)getpid();
	for (uint32_t sequence = 1; sequence < 4; sequence++) {
		forged.header.nlmsg_seq = sequence;
		forged.header.nlmsg_pid = kernel_port.nl_pid;
		cr_assert_eq(sendto(forger, &forged, sizeof(forged), 0,
				    (struct sockaddr *)&kernel_port, sizeof(kernel_port)),
			     (ssize_t)sizeof(forged));
	}
	assert_ok(rail_link_get(netlink, "lo", &link, &failure));
	cr_assert_eq(link.index, RAIL_LOOPBACK_INDEX);
	close(forger);
	rail_netlink_close(netlink);
}
