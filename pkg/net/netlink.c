#include "pkg/net/netlink.h"

#include <errno.h>
#include <libmnl/libmnl.h>
#include <linux/netlink.h>
#include <linux/rtnetlink.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <unistd.h>

#include "pkg/base/cleanup.h"
#include "pkg/net/netns.h"
#include "pkg/net/request.h"

enum {
	/* The kernel makes no larger part of a dump (NLMSG_GOODSIZE and the 32 KiB of
	 * netlink_dump). */
	RECEIVE_SIZE = 32768,
	DUMP_ATTEMPTS = 5,
	/* The kernel answers before send(2) returns; this is for a reply that was lost. */
	RECEIVE_TIMEOUT_S = 10,
	KERNEL_TEXT_SIZE = 256,
};

struct rail_netlink {
	int fd;
	uint32_t port;
	uint32_t sequence;
	union {
		struct nlmsghdr first;
		char bytes[RECEIVE_SIZE];
	} buffer;
};

struct open_request {
	int protocol;
	int fd;
};

static int open_socket(void *context, struct rail_error *error)
{
	struct open_request *request = context;

	request->fd = socket(AF_NETLINK, SOCK_RAW | SOCK_CLOEXEC, request->protocol);
	if (request->fd < 0)
		return rail_fail_errno(error, errno, "open a netlink socket");
	return 0;
}

int rail_netlink_open_protocol(int netns_fd, int protocol, struct rail_netlink **ret_netlink,
			       struct rail_error *error)
{
	struct open_request request = {.protocol = protocol, .fd = -EBADF};
	int result = netns_fd < 0 ? open_socket(&request, error)
				  : rail_netns_run(netns_fd, open_socket, &request, error);
	RAIL_CLOSE int fd = request.fd;
	const int on = 1;
	const struct timeval timeout = {.tv_sec = RECEIVE_TIMEOUT_S};
	struct sockaddr_nl address = {.nl_family = AF_NETLINK};
	socklen_t address_size = sizeof(address);

	if (result < 0)
		return result;
	if (setsockopt(fd, SOL_NETLINK, NETLINK_EXT_ACK, &on, sizeof(on)) < 0 ||
	    setsockopt(fd, SOL_NETLINK, NETLINK_CAP_ACK, &on, sizeof(on)) < 0 ||
	    setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &timeout, sizeof(timeout)) < 0)
		return rail_fail_errno(error, errno, "set the options of a netlink socket");
	/* Kernels before 4.20 lack it; what it filters is filtered again here. */
	(void)setsockopt(fd, SOL_NETLINK, NETLINK_GET_STRICT_CHK, &on, sizeof(on));
	if (bind(fd, (const struct sockaddr *)&address, sizeof(address)) < 0 ||
	    getsockname(fd, (struct sockaddr *)&address, &address_size) < 0)
		return rail_fail_errno(error, errno, "bind a netlink socket");

	struct rail_netlink *netlink = malloc(sizeof(*netlink));
	if (netlink == NULL)
		return rail_fail_errno(error, ENOMEM, "open a netlink socket");
	netlink->fd = RAIL_TAKE_FD(fd);
	netlink->port = address.nl_pid;
	netlink->sequence = 0;
	*ret_netlink = netlink;
	return 0;
}

int rail_netlink_open(int netns_fd, struct rail_netlink **ret_netlink, struct rail_error *error)
{
	return rail_netlink_open_protocol(netns_fd, NETLINK_ROUTE, ret_netlink, error);
}

void rail_netlink_close(struct rail_netlink *netlink)
{
	if (netlink == NULL)
		return;
	rail_cleanup_close(&netlink->fd);
	/* The kernel tells a WireGuard device's private key to whoever reads the device. */
	explicit_bzero(netlink, sizeof(*netlink));
	free(netlink);
}

void rail_netlink_closep(struct rail_netlink **netlink)
{
	rail_netlink_close(*netlink);
	*netlink = NULL;
}

static int send_bytes(struct rail_netlink *netlink, const void *bytes, size_t size,
		      const char *what, struct rail_error *error)
{
	struct sockaddr_nl kernel = {.nl_family = AF_NETLINK};
	ssize_t sent;

	do {
		sent = sendto(netlink->fd, bytes, size, 0, (const struct sockaddr *)&kernel,
			      sizeof(kernel));
	} while (sent < 0 && errno == EINTR);
	if (sent < 0)
		return rail_fail_errno(error, errno, "%s: send to the kernel", what);
	if ((size_t)sent != size)
		return rail_fail(error, EIO, "%s: the kernel took a part of the request", what);
	return 0;
}

static int send_request(struct rail_netlink *netlink, struct nlmsghdr *message, const char *what,
			struct rail_error *error)
{
	message->nlmsg_seq = ++netlink->sequence;
	message->nlmsg_pid = netlink->port;
	return send_bytes(netlink, message, message->nlmsg_len, what, error);
}

/* Receives one datagram of the kernel's into the buffer. */
static int receive(struct rail_netlink *netlink, int *ret_size, const char *what,
		   struct rail_error *error)
{
	for (;;) {
		struct sockaddr_nl sender;
		struct iovec part = {.iov_base = &netlink->buffer,
				     .iov_len = sizeof(netlink->buffer)};
		struct msghdr message = {.msg_name = &sender,
					 .msg_namelen = sizeof(sender),
					 .msg_iov = &part,
					 .msg_iovlen = 1};
		ssize_t size = recvmsg(netlink->fd, &message, 0);

		if (size < 0 && errno == EINTR)
			continue;
		if (size < 0 && (errno == EAGAIN || errno == EWOULDBLOCK))
			return rail_fail(error, ETIMEDOUT,
					 "%s: the kernel gave no answer for %d seconds", what,
					 RECEIVE_TIMEOUT_S);
		if (size < 0)
			return rail_fail_errno(error, errno, "%s: receive from the kernel", what);
		/* Any process may send to a netlink socket; the kernel alone is port 0. */
		if (message.msg_namelen != sizeof(sender) || sender.nl_family != AF_NETLINK ||
		    sender.nl_pid != 0)
			continue;
		if ((message.msg_flags & MSG_TRUNC) != 0)
			return rail_fail(error, EMSGSIZE,
					 "%s: the kernel's answer is above %d bytes", what,
					 RECEIVE_SIZE);
		*ret_size = (int)size;
		return 0;
	}
}

/* The kernel's own words behind an acknowledgement; "" where there are none. */
static void kernel_text(const struct nlmsghdr *message, size_t offset,
			char text[static KERNEL_TEXT_SIZE])
{
	const struct nlattr *attribute;

	text[0] = '\0';
	if ((message->nlmsg_flags & NLM_F_ACK_TLVS) == 0 ||
	    mnl_nlmsg_get_payload_len(message) < offset)
		return;
	RAIL_FOR_EACH_ATTRIBUTE(attribute, message, (unsigned int)offset)
	{
		if (mnl_attr_get_type(attribute) != NLMSGERR_ATTR_MSG)
			continue;

		size_t length = strnlen(mnl_attr_get_payload(attribute),
					mnl_attr_get_payload_len(attribute));
		if (length >= KERNEL_TEXT_SIZE)
			length = KERNEL_TEXT_SIZE - 1;
		memcpy(text, mnl_attr_get_payload(attribute), length);
		text[length] = '\0';
		return;
	}
}

static int kernel_failed(const struct nlmsghdr *message, int kernel_error, size_t text_offset,
			 const char *what, struct rail_error *error)
{
	char text[KERNEL_TEXT_SIZE];

	kernel_text(message, text_offset, text);
	if (kernel_error >= 0 || kernel_error < -4095)
		return rail_fail(error, EPROTO, "%s: malformed acknowledgement of the kernel",
				 what);
	if (text[0] == '\0')
		return rail_fail_errno(error, -kernel_error, "%s", what);
	return rail_fail(error, -kernel_error, "%s: %s (the kernel says: %s)", what,
			 strerrordesc_np(-kernel_error), text);
}

/* What a reply is gathered with; see rail_netlink_query. */
struct collector {
	int (*each)(void *context, const struct nlmsghdr *reply, struct rail_error *error);
	void *context;
	const char *what;
	bool dump;
	bool interrupted;
	int failed; /* of each() */
};

/*
 * One message of the reply. 1 where it was the last one. A collector that failed is not called
 * again, but the reply is read to its end: the kernel refuses a second dump while one is unread.
 */
static int handle(struct collector *collector, const struct nlmsghdr *message,
		  struct rail_error *error)
{
	if (collector->dump && (message->nlmsg_flags & NLM_F_DUMP_INTR) != 0)
		collector->interrupted = true;

	if (message->nlmsg_type == NLMSG_ERROR) {
		const struct nlmsgerr *status = mnl_nlmsg_get_payload(message);
		size_t text_offset = sizeof(*status);

		if (mnl_nlmsg_get_payload_len(message) < sizeof(*status))
			return rail_fail(error, EPROTO, "%s: short acknowledgement of the kernel",
					 collector->what);
		if (status->error == 0)
			return 1;
		if ((message->nlmsg_flags & NLM_F_CAPPED) == 0 &&
		    status->msg.nlmsg_len >= sizeof(status->msg))
			text_offset += status->msg.nlmsg_len - sizeof(status->msg);
		return kernel_failed(message, status->error, text_offset, collector->what, error);
	}
	if (message->nlmsg_type == NLMSG_DONE) {
		int status = 0;

		if (mnl_nlmsg_get_payload_len(message) >= sizeof(status))
			memcpy(&status, mnl_nlmsg_get_payload(message), sizeof(status));
		if (status < 0)
			return kernel_failed(message, status, sizeof(status), collector->what,
					     error);
		return 1;
	}
	if (message->nlmsg_type < NLMSG_MIN_TYPE)
		return 0;
	if (collector->each != NULL && collector->failed == 0) {
		int result = collector->each(collector->context, message, error);

		if (result > 0) {
			collector->interrupted = false;
			return 1;
		}
		if (result < 0)
			collector->failed = result;
	}
	return 0;
}

static int collect(struct rail_netlink *netlink, struct collector *collector,
		   struct rail_error *error)
{
	for (;;) {
		int size = 0;
		int result = receive(netlink, &size, collector->what, error);

		if (result < 0)
			return result;

		const struct nlmsghdr *message = &netlink->buffer.first;
		for (; mnl_nlmsg_ok(message, size); message = mnl_nlmsg_next(message, &size)) {
			/* What an earlier request that failed half-way left behind. */
			if (message->nlmsg_seq != netlink->sequence ||
			    message->nlmsg_pid != netlink->port)
				continue;
			result = handle(collector, message, error);
			if (result < 0)
				return result;
			if (result > 0)
				return collector->failed;
		}
	}
}

int rail_netlink_request(struct rail_netlink *netlink, struct nlmsghdr *message, const char *what,
			 struct rail_error *error)
{
	struct collector collector = {.what = what};

	message->nlmsg_flags |= NLM_F_REQUEST | NLM_F_ACK;

	int result = send_request(netlink, message, what, error);
	return result < 0 ? result : collect(netlink, &collector, error);
}

int rail_netlink_batch(struct rail_netlink *netlink, void *messages, size_t size, const char *what,
		       struct rail_error *error)
{
	struct collector collector = {.what = what};
	struct nlmsghdr *message = messages;
	int left = (int)size;

	/* One number for all: whichever of them fails first is the batch's outcome. */
	netlink->sequence++;
	for (; mnl_nlmsg_ok(message, left); message = mnl_nlmsg_next(message, &left)) {
		message->nlmsg_seq = netlink->sequence;
		message->nlmsg_pid = netlink->port;
	}

	int result = send_bytes(netlink, messages, size, what, error);
	return result < 0 ? result : collect(netlink, &collector, error);
}

int rail_netlink_query(struct rail_netlink *netlink, struct nlmsghdr *message,
		       int (*each)(void *context, const struct nlmsghdr *reply,
				   struct rail_error *error),
		       void (*restart)(void *context), void *context, const char *what,
		       struct rail_error *error)
{
	bool dump = (message->nlmsg_flags & NLM_F_DUMP) == NLM_F_DUMP;

	/* A dump ends with NLMSG_DONE; a single reply needs an acknowledgement to show its end. */
	message->nlmsg_flags |= dump ? NLM_F_REQUEST : NLM_F_REQUEST | NLM_F_ACK;

	for (int attempt = 0; attempt < DUMP_ATTEMPTS; attempt++) {
		struct collector collector = {
			.each = each, .context = context, .what = what, .dump = dump};

		if (attempt > 0 && restart != NULL)
			restart(context);

		int result = send_request(netlink, message, what, error);
		if (result == 0)
			result = collect(netlink, &collector, error);
		if (result < 0 || !collector.interrupted)
			return result;
	}
	return rail_fail_code(error, RAIL_CODE_TRY_AGAIN, EAGAIN,
			      "%s: changed %d times while it was read; try again", what,
			      DUMP_ATTEMPTS);
}
