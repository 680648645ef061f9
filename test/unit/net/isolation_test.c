#include <arpa/inet.h>
#include <criterion/criterion.h>
#include <errno.h>
#include <linux/if_ether.h>
#include <netinet/ip6.h>
#include <poll.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "pkg/net/isolation.h"
#include "pkg/net/link.h"
#include "test/unit/net/namespaces.h"

/*
 * A pod with two wires: eth0, to a neighbour who routes the pod's private addresses to it, and
 * mesh0, which stands for the WireGuard interface, to another pod of the environment.
 */

#define PREFIX "fd34:5678:9abc"
#define POD PREFIX ":5::1"
#define MEMBER PREFIX ":6::1"
#define POD_PUBLIC "2001:db8::1"
#define NEIGHBOUR "2001:db8::2"
#define RESOLVER "fd12::10"

enum { PORT = 4000 };

struct wires {
	int pod_fd;
	int neighbour_fd;
	int member_fd;
	struct rail_netlink *netlink; /* in the pod */
	struct rail_isolation isolation;
};

static struct in6_addr address(const char *text)
{
	struct in6_addr binary;

	cr_assert_eq(inet_pton(AF_INET6, text, &binary), 1);
	return binary;
}

static struct wires make_wires(void)
{
	struct wires wires;
	struct rail_link link;

	become_host();
	wires.pod_fd = make_netns();
	wires.neighbour_fd = make_netns();
	wires.member_fd = make_netns();

	assert_command(wires.pod_fd,
		       "ip link add eth0 type veth peer name eth0 netns /proc/%d/fd/%d && "
		       "ip link add mesh0 type veth peer name mesh0 netns /proc/%d/fd/%d",
		       (int)getpid(), wires.neighbour_fd, (int)getpid(), wires.member_fd);
	assert_command(wires.neighbour_fd, "ip link set eth0 up && ip -6 address add " NEIGHBOUR
					   "/64 dev eth0 nodad && "
					   "ip -6 route add " PREFIX "::/48 via " POD_PUBLIC " && "
					   "ip -6 route add " RESOLVER " via " POD_PUBLIC);
	assert_command(wires.member_fd, "ip link set mesh0 up && ip -6 address add " MEMBER
					"/128 dev mesh0 nodad && "
					"ip -6 route add " PREFIX "::/48 dev mesh0");
	assert_command(wires.pod_fd, "ip link set eth0 up && ip link set mesh0 up && "
				     "ip -6 address add " POD_PUBLIC "/64 dev eth0 nodad && "
				     "ip -6 route add default via " NEIGHBOUR " && "
				     "ip -6 address add " POD "/128 dev mesh0 nodad && "
				     "ip -6 address add " RESOLVER "/128 dev lo nodad");

	assert_ok(rail_netlink_open(wires.pod_fd, &wires.netlink, &failure));
	assert_ok(rail_link_get(wires.netlink, "mesh0", &link, &failure));
	wires.isolation = (struct rail_isolation){
		.interface = "mesh0", .interface_index = link.index, .address = address(POD)};
	memcpy(wires.isolation.prefix.bytes, &wires.isolation.address, 6);
	return wires;
}

static void wires_done(struct wires *wires)
{
	rail_netlink_close(wires->netlink);
	close(wires->pod_fd);
	close(wires->neighbour_fd);
	close(wires->member_fd);
}

struct socket_request {
	int domain;
	int type;
	int protocol;
	int fd;
};

static int make_socket(void *context, struct rail_error *error)
{
	struct socket_request *request = context;

	(void)error;
	request->fd = socket(request->domain, request->type | SOCK_CLOEXEC, request->protocol);
	return 0;
}

static int socket_in(int netns_fd, int domain, int type, int protocol)
{
	struct socket_request request = {.domain = domain, .type = type, .protocol = protocol};

	assert_ok(rail_netns_run(netns_fd, make_socket, &request, &failure));
	cr_assert_geq(request.fd, 0);
	return request.fd;
}

static struct sockaddr_in6 at(const char *text)
{
	return (struct sockaddr_in6){
		.sin6_family = AF_INET6, .sin6_port = htons(PORT), .sin6_addr = address(text)};
}

static int listener_in(int netns_fd, int type)
{
	int fd = socket_in(netns_fd, AF_INET6, type, 0);
	struct sockaddr_in6 any = at("::");

	cr_assert_eq(bind(fd, (struct sockaddr *)&any, sizeof(any)), 0);
	if (type == SOCK_STREAM)
		cr_assert_eq(listen(fd, 16), 0);
	return fd;
}

/* 0, or the errno value of a TCP connection from the netns to the address. */
static int try_tcp(int netns_fd, const char *to)
{
	int fd = socket_in(netns_fd, AF_INET6, SOCK_STREAM | SOCK_NONBLOCK, 0);
	struct sockaddr_in6 target = at(to);
	struct pollfd watched = {.fd = fd, .events = POLLOUT};
	int errnum = 0;
	socklen_t size = sizeof(errnum);

	if (connect(fd, (struct sockaddr *)&target, sizeof(target)) < 0)
		errnum = errno;
	if (errnum == EINPROGRESS) {
		if (poll(&watched, 1, 3000) == 1)
			cr_assert_eq(getsockopt(fd, SOL_SOCKET, SO_ERROR, &errnum, &size), 0);
		else
			errnum = ETIMEDOUT;
	}
	close(fd);
	return errnum;
}

/*
 * Whether a datagram from the netns arrives at the listener. One to an address that is surely
 * reached follows on the same wire, so that no time has to be waited for what does not come.
 */
static bool udp_arrives(int netns_fd, const char *to, const char *reached, int listener)
{
	int fd = socket_in(netns_fd, AF_INET6, SOCK_DGRAM, 0);
	struct sockaddr_in6 target = at(to);
	struct sockaddr_in6 sure = at(reached);
	bool arrived = false;

	(void)sendto(fd, "test", 4, 0, (struct sockaddr *)&target, sizeof(target));
	/* An error that an earlier datagram brought is reported once, by the next call. */
	if (sendto(fd, "end", 3, 0, (struct sockaddr *)&sure, sizeof(sure)) < 0)
		cr_assert_eq(sendto(fd, "end", 3, 0, (struct sockaddr *)&sure, sizeof(sure)), 3);
	close(fd);
	for (;;) {
		struct pollfd watched = {.fd = listener, .events = POLLIN};
		char bytes[8];

		cr_assert_eq(poll(&watched, 1, 5000), 1, "the second datagram does not arrive");
		if (recv(listener, bytes, sizeof(bytes), 0) != 4)
			return arrived;
		arrived = true;
	}
}

Test(net_isolation, neighbour_reaches_the_public_address_alone)
{
	struct wires wires = make_wires();
	int tcp = listener_in(wires.pod_fd, SOCK_STREAM);
	int udp = listener_in(wires.pod_fd, SOCK_DGRAM);

	/* Without the rules Linux lets a neighbour in. */
	cr_assert_eq(try_tcp(wires.neighbour_fd, POD), 0);
	cr_assert_eq(try_tcp(wires.neighbour_fd, RESOLVER), 0);
	cr_assert(udp_arrives(wires.neighbour_fd, POD, POD_PUBLIC, udp));
	cr_assert(udp_arrives(wires.neighbour_fd, RESOLVER, POD_PUBLIC, udp));

	assert_ok(rail_isolation_apply(wires.netlink, &wires.isolation, &failure));

	cr_assert_neq(try_tcp(wires.neighbour_fd, POD), 0);
	cr_assert_neq(try_tcp(wires.neighbour_fd, RESOLVER), 0);
	cr_assert_not(udp_arrives(wires.neighbour_fd, POD, POD_PUBLIC, udp));
	cr_assert_not(udp_arrives(wires.neighbour_fd, RESOLVER, POD_PUBLIC, udp));
	cr_assert_eq(try_tcp(wires.neighbour_fd, POD_PUBLIC), 0);
	/* A member reaches the private address, the pod itself everything. */
	cr_assert_eq(try_tcp(wires.member_fd, POD), 0);
	cr_assert(udp_arrives(wires.member_fd, POD, POD, udp));
	cr_assert_eq(try_tcp(wires.pod_fd, POD), 0);
	cr_assert_eq(try_tcp(wires.pod_fd, RESOLVER), 0);
	cr_assert_eq(try_tcp(wires.pod_fd, POD_PUBLIC), 0);
	cr_assert_eq(try_tcp(wires.pod_fd, "::1"), 0);

	close(tcp);
	close(udp);
	wires_done(&wires);
}

Test(net_isolation, pod_reaches_members_and_the_world)
{
	struct wires wires = make_wires();
	int member = listener_in(wires.member_fd, SOCK_STREAM);
	int neighbour = listener_in(wires.neighbour_fd, SOCK_STREAM);
	struct sockaddr_in6 target = at(MEMBER);
	struct sockaddr_in6 own;
	socklen_t size = sizeof(own);

	assert_ok(rail_isolation_apply(wires.netlink, &wires.isolation, &failure));
	cr_assert_eq(try_tcp(wires.pod_fd, MEMBER), 0);
	cr_assert_eq(try_tcp(wires.pod_fd, NEIGHBOUR), 0);

	int fd = socket_in(wires.pod_fd, AF_INET6, SOCK_DGRAM, 0);
	cr_assert_eq(connect(fd, (struct sockaddr *)&target, sizeof(target)), 0);
	cr_assert_eq(getsockname(fd, (struct sockaddr *)&own, &size), 0);
	cr_assert(IN6_ARE_ADDR_EQUAL(&own.sin6_addr, &wires.isolation.address));

	close(fd);
	close(member);
	close(neighbour);
	wires_done(&wires);
}

/* Sends a datagram into the /48 and says whether it came out on eth0's wire; a second one, to the
 * neighbour, marks the end. */
static bool leaves_by_eth0(const struct wires *wires)
{
	int wire = socket_in(wires->neighbour_fd, AF_PACKET, SOCK_DGRAM, htons(ETH_P_IPV6));
	int fd = socket_in(wires->pod_fd, AF_INET6, SOCK_DGRAM, 0);
	struct sockaddr_in6 member = at(MEMBER);
	struct sockaddr_in6 neighbour = at(NEIGHBOUR);
	bool seen = false;

	(void)sendto(fd, "test", 4, 0, (struct sockaddr *)&member, sizeof(member));
	cr_assert_eq(sendto(fd, "end", 3, 0, (struct sockaddr *)&neighbour, sizeof(neighbour)), 3);
	close(fd);
	for (;;) {
		struct pollfd watched = {.fd = wire, .events = POLLIN};
		struct ip6_hdr header;

		cr_assert_eq(poll(&watched, 1, 5000), 1, "the second datagram does not come");
		if (recv(wire, &header, sizeof(header), 0) != (ssize_t)sizeof(header))
			continue;
		if (memcmp(&header.ip6_dst, wires->isolation.prefix.bytes, 6) == 0)
			seen = true;
		if (header.ip6_nxt == IPPROTO_UDP &&
		    IN6_ARE_ADDR_EQUAL(&header.ip6_dst, &neighbour.sin6_addr))
			break;
	}
	close(wire);
	return seen;
}

static int send_errno(const struct wires *wires)
{
	int fd = socket_in(wires->pod_fd, AF_INET6, SOCK_DGRAM, 0);
	struct sockaddr_in6 member = at(MEMBER);
	int errnum = 0;

	if (sendto(fd, "test", 4, 0, (struct sockaddr *)&member, sizeof(member)) < 0)
		errnum = errno;
	close(fd);
	return errnum;
}

static const char *const broken[] = {
	"ip link set mesh0 down",
	"ip link del mesh0",
	"ip -6 address del " POD "/128 dev mesh0",
};

Test(net_isolation, nothing_leaves_by_another_interface)
{
	for (size_t i = 0; i < sizeof(broken) / sizeof(broken[0]); i++) {
		struct wires wires = make_wires();

		/* Without the rules it goes to the default route. */
		assert_command(wires.pod_fd, "ip link set mesh0 down");
		cr_assert(leaves_by_eth0(&wires));
		assert_command(wires.pod_fd, "ip link set mesh0 up && "
					     "ip -6 address replace " POD "/128 dev mesh0 nodad");

		assert_ok(rail_isolation_apply(wires.netlink, &wires.isolation, &failure));
		cr_assert_eq(send_errno(&wires), 0);
		cr_assert_not(leaves_by_eth0(&wires));
		assert_command(wires.pod_fd, "%s", broken[i]);
		cr_assert_not(leaves_by_eth0(&wires), "%s", broken[i]);
		if (i < 2)
			cr_assert_eq(send_errno(&wires), EACCES, "%s", broken[i]);
		assert_command(wires.pod_fd, "ip link set lo down");
		cr_assert_not(leaves_by_eth0(&wires), "%s, and lo down", broken[i]);
		wires_done(&wires);
	}
}

Test(net_isolation, nothing_leaves_with_lo_down)
{
	struct wires wires = make_wires();
	int udp = listener_in(wires.pod_fd, SOCK_DGRAM);

	assert_ok(rail_isolation_apply(wires.netlink, &wires.isolation, &failure));
	assert_command(wires.pod_fd, "ip link set lo down");
	cr_assert_not(leaves_by_eth0(&wires));
	cr_assert_not(udp_arrives(wires.neighbour_fd, POD, POD_PUBLIC, udp));
	cr_assert_not(udp_arrives(wires.neighbour_fd, RESOLVER, POD_PUBLIC, udp));
	close(udp);
	wires_done(&wires);
}

/* ---- applying, checking, removing ---- */

static void assert_check(const struct wires *wires, const char *missing)
{
	struct rail_error error = RAIL_ERROR_NONE;
	int result = rail_isolation_check(wires->netlink, &wires->isolation, &error);

	if (missing == NULL) {
		cr_assert_eq(result, 0, "%s", error.message);
		return;
	}
	cr_assert_lt(result, 0, "expected: %s", missing);
	cr_assert_eq(error.code, RAIL_CODE_CHECK_FAILED);
	cr_assert_not_null(strstr(error.message, missing), "%s", error.message);
}

static void assert_there(const struct wires *wires, bool expected)
{
	bool is_there = !expected;

	assert_ok(rail_isolation_is_there(wires->netlink, &is_there, &failure));
	cr_assert_eq(is_there, expected);
}

Test(net_isolation, applied_twice_is_the_same)
{
	struct wires wires = make_wires();

	assert_there(&wires, false);
	for (int i = 0; i < 2; i++) {
		assert_ok(rail_isolation_apply(wires.netlink, &wires.isolation, &failure));
		assert_check(&wires, NULL);
		assert_command(wires.pod_fd, "test $(ip -6 rule | wc -l) = 9");
	}
	assert_there(&wires, true);
	/* Of one that was begun, or of which a part is gone. */
	assert_command(wires.pod_fd, "ip -6 rule del pref 8");
	assert_there(&wires, true);
	assert_command(wires.pod_fd, "ip -6 rule add pref 8 lookup local; ip -6 rule del pref 1");
	assert_there(&wires, true);
	assert_command(wires.pod_fd, "ip -6 rule add pref 1 iif lo lookup local");
	/* What is behind the rules is another's business. */
	assert_command(wires.pod_fd, "ip -6 rule add to 2001:db8:7::/48 lookup 7 pref 100");
	assert_check(&wires, NULL);
	wires_done(&wires);
}

Test(net_isolation, removal_gives_back_what_was)
{
	struct wires wires = make_wires();

	assert_command(wires.pod_fd, "ip -6 rule > /run/rules; ip -6 -details rule > /run/details");
	for (int i = 0; i < 2; i++) {
		assert_ok(rail_isolation_apply(wires.netlink, &wires.isolation, &failure));
		assert_command_fails(wires.pod_fd, "ip -6 rule | cmp -s /run/rules");
		wires.isolation.interface_index = 0;
		for (int j = 0; j < 2; j++) {
			assert_ok(rail_isolation_remove(wires.netlink, &wires.isolation, &failure));
			assert_command(wires.pod_fd, "ip -6 rule | cmp /run/rules && "
						     "ip -6 -details rule | cmp /run/details");
			assert_command(wires.pod_fd,
				       "test -z \"$(ip -6 route show table 21057 2>/dev/null)\"");
		}
		struct rail_link link;
		assert_ok(rail_link_get(wires.netlink, "mesh0", &link, &failure));
		wires.isolation.interface_index = link.index;
	}

	/* With the interface gone, and half of the rules. */
	assert_ok(rail_isolation_apply(wires.netlink, &wires.isolation, &failure));
	assert_command(wires.pod_fd, "ip link del mesh0 && ip -6 rule del pref 3");
	assert_ok(rail_isolation_remove(wires.netlink, &wires.isolation, &failure));
	assert_command(wires.pod_fd, "ip -6 rule | cmp /run/rules");
	wires_done(&wires);
}

Test(net_isolation, removal_leaves_rules_of_others)
{
	struct wires wires = make_wires();

	assert_ok(rail_isolation_apply(wires.netlink, &wires.isolation, &failure));
	assert_command(wires.pod_fd, "ip -6 rule add pref 2 iif other lookup local && "
				     "ip -6 rule add pref 40 lookup 7");
	assert_ok(rail_isolation_remove(wires.netlink, &wires.isolation, &failure));
	assert_command(wires.pod_fd, "test $(ip -6 rule | wc -l) = 4");
	wires_done(&wires);
}

Test(net_isolation, check_names_what_is_missing)
{
	static const char *const rules[] = {
		"1: iif lo lookup local",
		"2: iif mesh0 lookup local",
		"3: iif lo to " PREFIX "::/48 lookup 21057",
		"4: to " PREFIX "::/48 prohibit",
		"5: to " RESOLVER "/128 prohibit",
		"6: from " PREFIX "::/48 prohibit",
		"7: from " RESOLVER "/128 prohibit",
		"8: lookup local",
	};
	struct wires wires = make_wires();

	assert_check(&wires, rules[0]);
	for (int i = 0; i < 8; i++) {
		assert_ok(rail_isolation_apply(wires.netlink, &wires.isolation, &failure));
		assert_check(&wires, NULL);
		assert_command(wires.pod_fd, "ip -6 rule del pref %d", i + 1);
		assert_check(&wires, rules[i]);
	}
	wires_done(&wires);
}

Test(net_isolation, check_finds_what_is_out_of_place)
{
	static const struct {
		const char *change;
		const char *found;
	} cases[] = {
		/* The default's first rule is back: everything is local again. */
		{"ip -6 rule add pref 0 lookup local", "'0: lookup local' stands before"},
		{"ip -6 rule add pref 3 lookup main", "'3: lookup 254' stands before '4:"},
		{"ip -6 rule add pref 0 iif eth0 lookup local", "'0: iif eth0 lookup local'"},
		{"ip -6 rule add pref 1 to " PREFIX "::/48 fwmark 1 lookup 7", "(and more)"},
		/* Two that have changed places, and one that says more than it did. */
		{"ip -6 rule del pref 4 && ip -6 rule add pref 9 to " PREFIX "::/48 prohibit",
		 "'4: to " PREFIX "::/48 prohibit' is missing"},
		{"ip -6 rule del pref 4 && ip -6 rule add pref 4 not to " PREFIX "::/48 prohibit",
		 "'4: to " PREFIX "::/48 prohibit' is missing"},
		{"ip -6 rule del pref 4 && ip -6 rule add pref 4 to " PREFIX
		 "::/48 tos 0x10 prohibit",
		 "'4: to " PREFIX "::/48 prohibit' is missing"},
		{"ip -6 route flush table 21057", "the route to " PREFIX "::/48 by mesh0"},
		{"ip link set mesh0 down", "the route to " PREFIX "::/48 by mesh0"},
		{"ip -6 route replace " PREFIX "::/48 dev eth0 table 21057", "the route to"},
		{"ip -6 route replace " PREFIX "::/48 dev mesh0 table 21057", "the route to"},
		{"ip -6 route replace blackhole " PREFIX "::/48 table 21057", "the route to"},
	};

	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		struct wires wires = make_wires();

		assert_ok(rail_isolation_apply(wires.netlink, &wires.isolation, &failure));
		assert_check(&wires, NULL);
		assert_command(wires.pod_fd, "%s", cases[i].change);
		assert_check(&wires, cases[i].found);
		wires_done(&wires);
	}
}
