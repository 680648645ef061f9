#include <errno.h>
#include <linux/netlink.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>

#include "pkg/net/isolation.h"
#include "pkg/net/link.h"

/*
 * What routing netlink may reply: links, addresses, routes, rules, acknowledgements, dumps. The
 * first byte chooses the question; then come datagrams, each behind its size (2 bytes). Sender,
 * sequence and port are made right, so that what is inside is read.
 */

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

enum { SIZE_MAXIMUM = 65536 };

static const uint8_t *replies;
static size_t replies_size;
static uint32_t asked_sequence;
static uint32_t asked_port;

/* In place of libc's: nothing reaches the kernel, and its replies are the input's. */

ssize_t sendto(int fd, const void *bytes, size_t size, int flags, const struct sockaddr *address,
	       socklen_t address_size)
{
	struct nlmsghdr header;

	(void)fd;
	(void)flags;
	(void)address;
	(void)address_size;
	if (size < sizeof(header))
		abort();
	memcpy(&header, bytes, sizeof(header));
	if (header.nlmsg_len != size)
		abort();
	asked_sequence = header.nlmsg_seq;
	asked_port = header.nlmsg_pid;
	return (ssize_t)size;
}

static void address_messages(uint8_t *bytes, size_t size)
{
	for (size_t position = 0; size - position >= sizeof(struct nlmsghdr);) {
		struct nlmsghdr header;

		memcpy(&header, bytes + position, sizeof(header));
		header.nlmsg_seq = asked_sequence;
		header.nlmsg_pid = asked_port;
		/* The kernel's own lengths are true. */
		if (header.nlmsg_len > size - position)
			header.nlmsg_len = (uint32_t)(size - position);
		memcpy(bytes + position, &header, sizeof(header));
		size_t step = NLMSG_ALIGN((size_t)header.nlmsg_len);
		if (step < sizeof(header) || step > size - position)
			return;
		position += step;
	}
}

ssize_t recvmsg(int fd, struct msghdr *message, int flags)
{
	const struct sockaddr_nl kernel = {.nl_family = AF_NETLINK};
	struct iovec *part = message->msg_iov;

	(void)fd;
	(void)flags;
	if (replies_size < 2) {
		errno = EAGAIN;
		return -1;
	}
	size_t size = (size_t)replies[0] << 8 | replies[1];
	replies += 2;
	replies_size -= 2;
	if (size > replies_size)
		size = replies_size;
	size_t taken = size < part->iov_len ? size : part->iov_len;
	memcpy(part->iov_base, replies, taken);
	address_messages(part->iov_base, taken);
	replies += size;
	replies_size -= size;
	memcpy(message->msg_name, &kernel, sizeof(kernel));
	message->msg_namelen = sizeof(kernel);
	message->msg_flags = taken < size ? MSG_TRUNC : 0;
	return (ssize_t)taken;
}

static int ask(uint8_t question, struct rail_netlink *netlink, struct rail_error *error)
{
	const struct in6_addr address = {.s6_addr = {0xfd, 1, 2, 3, 4, 5, 6, 7}};
	const struct rail_isolation isolation = {
		.interface = "eth0",
		.interface_index = 2,
		.prefix = {.bytes = {0xfd, 1, 2, 3, 4, 5}},
		.address = address,
	};
	struct rail_link link = {.index = 0};
	unsigned int mtu = 0;
	bool usable;
	int result;

	switch (question % 8) {
	case 0:
		result = rail_link_get(netlink, "eth0", &link, error);
		if (result == 0 && (strnlen(link.alias, sizeof(link.alias)) == sizeof(link.alias) ||
				    strnlen(link.kind, sizeof(link.kind)) == sizeof(link.kind) ||
				    strnlen(link.name, sizeof(link.name)) == sizeof(link.name)))
			abort();
		return result;
	case 1:
		return rail_link_get_index(netlink, 1, &link, error);
	case 2:
		return rail_address_usable(netlink, 2, &address, &usable, error);
	case 3:
		result = rail_tunnel_mtu(netlink, &mtu, error);
		if (result == 0 && mtu < 1280)
			abort();
		return result;
	case 4:
		return rail_isolation_check(netlink, &isolation, error);
	case 5:
		return rail_isolation_remove(netlink, &isolation, error);
	case 6:
		return rail_isolation_apply(netlink, &isolation, error);
	default:
		return rail_link_delete(netlink, 2, error);
	}
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct rail_netlink *netlink = NULL;
	struct rail_error error = RAIL_ERROR_NONE;

	if (size < 1 || size > SIZE_MAXIMUM)
		return 0;
	if (rail_netlink_open(-1, &netlink, &error) < 0)
		abort();
	replies = data + 1;
	replies_size = size - 1;
	int result = ask(data[0], netlink, &error);
	if ((result < 0) != (error.errnum != 0))
		abort();
	rail_netlink_close(netlink);
	return 0;
}
