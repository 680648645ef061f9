#include "plugins/railway-dns/resolverd/sockets.h"

#include <errno.h>
#include <linux/filter.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sys/resource.h>
#include <sys/socket.h>

#include "pkg/base/cleanup.h"
#include "pkg/ipam/address.h"
#include "pkg/net/intercept.h"
#include "pkg/net/netns.h"

enum {
	LOOPBACK_INDEX = 1, /* in every netns: the kernel makes its loopback first */
	BACKLOG = 128,
	/* A connection whose client no longer takes anything must not keep the netns alive for the
	 * many minutes that TCP would try. */
	UNACKNOWLEDGED_MS = 5000,
	/* Four times the default: what comes while a worker is replaced, or in a burst, waits. */
	QUEUE_SIZE = 512 * 1024,
	/* Of a connection, in the kernel, which for a client that takes nothing would else let it
	 * grow to megabytes: one answer of any size. */
	UNTAKEN_SIZE = 64 * 1024,
	/* What a worker has besides pods' sockets at most: its clients' connections and upstreams'
	 * sockets, 1,024 each. A supervisor without any left could start no worker. */
	OTHER_DESCRIPTORS = 2200,
};

struct order {
	uint16_t port;
	struct rail_pod_sockets sockets;
};

static int set_option(int fd, int level, int name, int value, struct rail_error *error)
{
	if (setsockopt(fd, level, name, &value, sizeof(value)) < 0)
		return rail_fail_errno(error, errno, "set socket option %d/%d", level, name);
	return 0;
}

static int take_loopback_only(int fd, struct rail_error *error)
{
	struct sock_filter instructions[] = {
		BPF_STMT(BPF_LD | BPF_W | BPF_ABS, (uint32_t)(SKF_AD_OFF + SKF_AD_IFINDEX)),
		BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, LOOPBACK_INDEX, 0, 1),
		BPF_STMT(BPF_RET | BPF_K, UINT32_MAX),
		BPF_STMT(BPF_RET | BPF_K, 0),
	};
	struct sock_fprog program = {
		.len = sizeof(instructions) / sizeof(instructions[0]),
		.filter = instructions,
	};

	if (setsockopt(fd, SOL_SOCKET, SO_ATTACH_FILTER, &program, sizeof(program)) < 0)
		return rail_fail_errno(error, errno, "attach the loopback filter to a socket");
	return set_option(fd, SOL_SOCKET, SO_LOCK_FILTER, 1, error);
}

/*
 * Queries that were brought here have the address of any nameserver, IPv4's too, and the answer
 * comes from that one: a TCP connection has it, of a datagram the worker learns it.
 */
static int take_any_address(int fd, struct rail_error *error)
{
	int result = set_option(fd, IPPROTO_IPV6, IPV6_V6ONLY, 0, error);

	if (result == 0)
		result = set_option(fd, IPPROTO_IPV6, IPV6_TRANSPARENT, 1, error);
	if (result == 0)
		result = set_option(fd, IPPROTO_IPV6, IPV6_RECVPKTINFO, 1, error);
	return result;
}

static int open_one(int type, uint16_t port, int *ret_fd, struct rail_error *error)
{
	RAIL_CLOSE int fd = socket(AF_INET6, type | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
	bool tcp = type == SOCK_STREAM;
	struct sockaddr_in6 address = {
		.sin6_family = AF_INET6,
		.sin6_port = htons(port),
	};

	if (fd < 0)
		return rail_fail_errno(error, errno, "make a socket in the pod");

	int result;

	if (port == RAIL_DNS_PORT) {
		address.sin6_addr = rail_resolver_address;
		result = set_option(fd, IPPROTO_IPV6, IPV6_V6ONLY, 1, error);
	} else {
		result = take_any_address(fd, error);
	}

	/* Before the socket has a port, so that no packet ever gets past the filter. */
	if (result == 0)
		result = take_loopback_only(fd, error);
	if (!tcp && result == 0)
		result = set_option(fd, SOL_SOCKET, SO_RCVBUFFORCE, QUEUE_SIZE, error);
	if (tcp) {
		/* Connections of the resolver before us may still be in TIME_WAIT. */
		if (result == 0)
			result = set_option(fd, SOL_SOCKET, SO_REUSEADDR, 1, error);
		/* Accepted connections inherit these. */
		if (result == 0)
			result = set_option(fd, IPPROTO_TCP, TCP_USER_TIMEOUT, UNACKNOWLEDGED_MS,
					    error);
		if (result == 0)
			result = set_option(fd, IPPROTO_TCP, TCP_NODELAY, 1, error);
		if (result == 0)
			result = set_option(fd, SOL_SOCKET, SO_SNDBUF, UNTAKEN_SIZE, error);
	}
	if (result < 0)
		return result;

	if (bind(fd, (const struct sockaddr *)&address, sizeof(address)) < 0)
		return rail_fail_errno(
			error, errno, "bind %s port %u of [%s] in the pod%s", tcp ? "TCP" : "UDP",
			port, port == RAIL_DNS_PORT ? "fd12::10" : "::",
			errno == EADDRINUSE
				? " (a program there has it: set dnsPort to another port)"
				: "");
	if (tcp && listen(fd, BACKLOG) < 0)
		return rail_fail_errno(error, errno, "listen on TCP port %u in the pod", port);
	*ret_fd = RAIL_TAKE_FD(fd);
	return 0;
}

static int open_both(void *context, struct rail_error *error)
{
	struct order *order = context;
	int result = open_one(SOCK_DGRAM, order->port, &order->sockets.udp, error);

	if (result < 0)
		return result;
	return open_one(SOCK_STREAM, order->port, &order->sockets.tcp, error);
}

/* The kernel gives out the lowest number that is free. */
static int check_room(const struct rail_pod_sockets *sockets, struct rail_error *error)
{
	struct rlimit limit;

	if (getrlimit(RLIMIT_NOFILE, &limit) < 0)
		return rail_fail_errno(error, errno, "read the limit of open files");

	rlim_t others =
		limit.rlim_cur / 2 < OTHER_DESCRIPTORS ? limit.rlim_cur / 2 : OTHER_DESCRIPTORS;

	if ((rlim_t)sockets->tcp < limit.rlim_cur - others)
		return 0;
	return rail_fail_code(
		error, RAIL_CODE_TRY_AGAIN, EMFILE,
		"railway-resolverd may open %llu files, which is no room for one more "
		"pod: raise LimitNOFILE of its unit",
		(unsigned long long)limit.rlim_cur);
}

int rail_pod_sockets_open(int netns_fd, uint16_t port, struct rail_pod_sockets *ret_sockets,
			  struct rail_error *error)
{
	struct order order = {.port = port, .sockets = RAIL_POD_SOCKETS_CLOSED};
	int result = rail_netns_run(netns_fd, open_both, &order, error);

	if (result == 0)
		result = check_room(&order.sockets, error);
	if (result < 0) {
		rail_pod_sockets_close(&order.sockets);
		return result;
	}
	*ret_sockets = order.sockets;
	return 0;
}

void rail_pod_sockets_close(struct rail_pod_sockets *sockets)
{
	if (sockets->udp >= 0)
		(void)close(sockets->udp);
	if (sockets->tcp >= 0)
		(void)close(sockets->tcp);
	*sockets = RAIL_POD_SOCKETS_CLOSED;
}
