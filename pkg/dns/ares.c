#include "pkg/dns/ares.h"

#include <ares.h>
#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "pkg/base/file.h"
#include "pkg/base/pause.h"
#include "pkg/dns/forward.h"
#include "pkg/dns/message.h"
#include "pkg/dns/name.h"

enum {
	/* c-ares reads UDP messages into one byte more; what is longer arrives cut. */
	EDNS_UDP_LIMIT = 4096,
	PLAIN_UDP_LIMIT = 512,
	READS_A_WAKE = 64, /* of a socket, before others get their turn */
	QUESTION_COUNT_OFFSET = 4,
};

struct rail_ares {
	ares_channel channel;
	enum rail_ares_kind kind;
	struct rail_ares_hooks hooks;
	struct rail_endpoint upstreams[RAIL_UPSTREAM_MAXIMUM];
	size_t upstream_count;
	int sockets[RAIL_UPSTREAM_MAXIMUM]; /* to each; negative: none */
	size_t speaking; /* whose message is looked at; upstream_count: nobody's */
	size_t in_flight;
	size_t sent;
	uint64_t cause;
	LIST_HEAD(, rail_ares_query) queries; /* in flight */
	unsigned int reads;		      /* that are left */
};

/*
 * NOCHECKRESP: answers with SERVFAIL, NOTIMP or REFUSED are answers. IGNTC: c-ares would repeat a
 * truncated answer's query over TCP in the same channel, and when the upstream then closes that
 * connection, close the UDP socket with it and count a failure for every other query there. The
 * repetition is forward.c's, in a channel of its own.
 *
 * EDNS makes c-ares accept more than 512 bytes over UDP, and also cut the last 11 bytes off a query
 * that was answered with FORMERR, so it must be set where these are an OPT, and only there.
 */
static int flags_of(enum rail_ares_kind kind)
{
	static const int flags[RAIL_ARES_KIND_COUNT] = {
		[RAIL_ARES_UDP] = ARES_FLAG_IGNTC | ARES_FLAG_EDNS,
		[RAIL_ARES_UDP_PLAIN] = ARES_FLAG_IGNTC,
		[RAIL_ARES_TCP] = ARES_FLAG_USEVC,
	};

	return flags[kind] | ARES_FLAG_NOCHECKRESP | ARES_FLAG_NOSEARCH | ARES_FLAG_NOALIASES;
}

static void socket_state_changed(void *data, ares_socket_t fd, int readable, int writable)
{
	struct rail_ares *ares = data;

	ares->hooks.watch(ares->hooks.context, ares, fd, readable != 0, writable != 0);
}

static int socket_opened(ares_socket_t fd, int type, void *data)
{
	const struct rail_ares *ares = data;

	(void)type;
	return ares->hooks.admit(ares->hooks.context, fd) ? 0 : -1;
}

static ares_socket_t open_socket(int family, int type, int protocol, void *data)
{
	int fd = socket(family, type | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
	int on = 1;

	(void)protocol;
	(void)data;
	/* Without it small queries wait for each other's acknowledgement. */
	if (fd >= 0 && type == SOCK_STREAM)
		(void)setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof(on));
	return fd;
}

/* Nobody's: upstream_count. */
static size_t upstream_of(const struct rail_ares *ares, int fd)
{
	size_t i = 0;

	while (i < ares->upstream_count && ares->sockets[i] != fd)
		i++;
	return i;
}

static int close_socket(ares_socket_t fd, void *data)
{
	struct rail_ares *ares = data;
	size_t i = upstream_of(ares, fd);

	if (i < ares->upstream_count)
		ares->sockets[i] = -1;
	return close(fd);
}

static bool is_at(const struct rail_endpoint *upstream, const struct sockaddr *address)
{
	const struct sockaddr_in *v4 = (const void *)address;
	const struct sockaddr_in6 *v6 = (const void *)address;

	if (upstream->family != address->sa_family)
		return false;
	if (upstream->family == AF_INET)
		return upstream->port == ntohs(v4->sin_port) &&
		       upstream->address.v4.s_addr == v4->sin_addr.s_addr;
	return upstream->port == ntohs(v6->sin6_port) &&
	       memcmp(&upstream->address.v6, &v6->sin6_addr, sizeof(v6->sin6_addr)) == 0;
}

/* c-ares says of no answer who gave it. */
static int connect_socket(ares_socket_t fd, const struct sockaddr *address, ares_socklen_t size,
			  void *data)
{
	struct rail_ares *ares = data;

	for (size_t i = 0; i < ares->upstream_count; i++)
		if (is_at(&ares->upstreams[i], address)) {
			ares->sockets[i] = fd;
			break;
		}
	return connect(fd, address, size);
}

/*
 * A server that cannot read a query with EDNS may say so with a header alone (RFC 1035 7.3 allows
 * what follows to be missing; RFC 6891 7 asks for the code). c-ares matches answers by their
 * question, and would go on waiting: it gets the one that was asked under this ID.
 */
static size_t complete_answer(const struct rail_ares *ares, uint8_t *bytes, size_t size,
			      size_t capacity)
{
	struct rail_reader reader = rail_reader_init(bytes, size);
	struct rail_dns_header header = rail_dns_header_read(&reader);
	unsigned int rcode = header.flags & RAIL_DNS_FLAG_RCODE;
	const struct rail_ares_query *query;

	if (reader.failed || rail_reader_left(&reader) != 0 ||
	    (header.flags & RAIL_DNS_FLAG_QR) == 0 || header.question_count != 0 ||
	    (rcode != RAIL_DNS_FORMERR && rcode != RAIL_DNS_NOTIMP))
		return size;
	LIST_FOREACH(query, &ares->queries, link)
	{
		struct rail_name name;
		struct rail_reader question = rail_reader_init(query->bytes, query->size);

		(void)rail_dns_header_read(&question);
		if (memcmp(query->bytes, bytes, sizeof(uint16_t)) != 0 ||
		    rail_name_read(&question, &name) < 0)
			continue;
		(void)rail_read_u32(&question); /* type and class */

		size_t end = question.position;

		if (question.failed || end > capacity)
			return size;
		memcpy(bytes + size, query->bytes + size, end - size);
		bytes[QUESTION_COUNT_OFFSET + 1] = 1;
		return end;
	}
	return size;
}

/*
 * c-ares reads UDP until there is nothing left, which an upstream that sends faster than that is
 * handled would make for ever; and an empty datagram it may take for a failure of the upstream.
 */
static ares_ssize_t receive_from(ares_socket_t fd, void *bytes, size_t size, int flags,
				 struct sockaddr *from, ares_socklen_t *from_size, void *data)
{
	struct rail_ares *ares = data;
	bool tcp = ares->kind == RAIL_ARES_TCP;
	ssize_t received = 0;

	while (received == 0) {
		if (ares->reads == 0) {
			errno = EAGAIN;
			return -1;
		}
		ares->reads--;
		received = recvfrom(fd, bytes, size, flags, from, from_size);
		if (tcp)
			break;
	}
	if (received <= 0)
		return received;
	ares->speaking = upstream_of(ares, fd);
	rail_crash(bytes, (size_t)received);
	return tcp ? received : (ssize_t)complete_answer(ares, bytes, (size_t)received, size);
}

/* writev(2), which c-ares would use, has no way to say that a connection that was reset is no
 * reason for SIGPIPE. */
static ares_ssize_t send_parts(ares_socket_t fd, const struct iovec *parts, int count, void *data)
{
	const struct msghdr message = {
		.msg_iov = (struct iovec *)parts,
		.msg_iovlen = (size_t)count,
	};

	(void)data;
	return sendmsg(fd, &message, MSG_NOSIGNAL);
}

static const struct ares_socket_functions socket_functions = {
	.asocket = open_socket,
	.aclose = close_socket,
	.aconnect = connect_socket,
	.arecvfrom = receive_from,
	.asendv = send_parts,
};

/*
 * Whatever is left out here c-ares looks for in the environment, in /etc/resolv.conf and in
 * /etc/nsswitch.conf. It still tries to read /dev/urandom, for IDs of its own, and does without
 * where it may not: no ID of its own is ever sent.
 */
static int open_channel(struct rail_ares *ares, size_t upstream_count, int budget_ms)
{
	/* A second round waits twice as long as the first. Over TCP c-ares would not repeat what it
	 * has sent over a connection that still stands. */
	int tries = upstream_count <= 2 && ares->kind != RAIL_ARES_TCP ? 2 : 1;
	int shares = (int)upstream_count * ((1 << tries) - 1);
	char lookups[] = "b";
	struct ares_options options = {
		.flags = flags_of(ares->kind),
		.timeout = budget_ms / shares,
		.tries = tries,
		.ndots = 1,
		.lookups = lookups,
		.sock_state_cb = socket_state_changed,
		.sock_state_cb_data = ares,
		.ednspsz = EDNS_UDP_LIMIT,
	};

	return ares_init_options(&ares->channel, &options,
				 ARES_OPT_FLAGS | ARES_OPT_TIMEOUTMS | ARES_OPT_TRIES |
					 ARES_OPT_NDOTS | ARES_OPT_SERVERS | ARES_OPT_DOMAINS |
					 ARES_OPT_LOOKUPS | ARES_OPT_SORTLIST | ARES_OPT_NOROTATE |
					 ARES_OPT_SOCK_STATE_CB | ARES_OPT_EDNSPSZ);
}

static int set_upstreams(ares_channel channel, const struct rail_endpoint *upstreams, size_t count)
{
	struct ares_addr_port_node nodes[RAIL_UPSTREAM_MAXIMUM] = {0};

	for (size_t i = 0; i < count; i++) {
		nodes[i].next = i + 1 < count ? &nodes[i + 1] : NULL;
		nodes[i].family = upstreams[i].family;
		nodes[i].udp_port = upstreams[i].port;
		nodes[i].tcp_port = upstreams[i].port;
		if (upstreams[i].family == AF_INET)
			nodes[i].addr.addr4 = upstreams[i].address.v4;
		else
			memcpy(&nodes[i].addr.addr6, &upstreams[i].address.v6,
			       sizeof(nodes[i].addr.addr6));
	}
	return ares_set_servers_ports(channel, nodes);
}

struct rail_ares *rail_ares_new(enum rail_ares_kind kind, const struct rail_endpoint *upstreams,
				size_t upstream_count, int budget_ms,
				const struct rail_ares_hooks *hooks)
{
	struct rail_ares *ares = calloc(1, sizeof(*ares));

	if (ares == NULL)
		return NULL;
	ares->kind = kind;
	ares->upstream_count = upstream_count;
	ares->speaking = upstream_count;
	memcpy(ares->upstreams, upstreams, upstream_count * sizeof(*upstreams));
	for (size_t i = 0; i < upstream_count; i++)
		ares->sockets[i] = -1;
	LIST_INIT(&ares->queries);
	ares->hooks = *hooks;
	if (ares_library_init(ARES_LIB_INIT_ALL) != ARES_SUCCESS) {
		free(ares);
		return NULL;
	}
	if (open_channel(ares, upstream_count, budget_ms) != ARES_SUCCESS) {
		ares->channel = NULL;
		rail_ares_free(ares);
		return NULL;
	}
	if (set_upstreams(ares->channel, upstreams, upstream_count) != ARES_SUCCESS) {
		rail_ares_free(ares);
		return NULL;
	}
	ares_set_socket_functions(ares->channel, &socket_functions, ares);
	ares_set_socket_configure_callback(ares->channel, socket_opened, ares);
	return ares;
}

void rail_ares_free(struct rail_ares *ares)
{
	if (ares == NULL)
		return;
	if (ares->channel != NULL)
		ares_destroy(ares->channel);
	ares_library_cleanup();
	free(ares);
}

static int errno_of(int status)
{
	switch (status) {
	case ARES_SUCCESS:
		return 0;
	case ARES_ETIMEOUT:
		return -ETIMEDOUT;
	case ARES_ECONNREFUSED:
		return -ECONNREFUSED;
	case ARES_ENOMEM:
		return -ENOMEM;
	case ARES_EBADQUERY:
		return -EINVAL;
	case ARES_ECANCELLED:
	case ARES_EDESTRUCTION:
		return -ECANCELED;
	default:
		return -EIO;
	}
}

/* With IGNTC c-ares cuts what is above its limit, without a sign; a spoilt channel's is the lower
 * one. */
static bool is_cut(const struct rail_ares *ares, size_t size)
{
	switch (ares->kind) {
	case RAIL_ARES_UDP:
		return size >= EDNS_UDP_LIMIT ||
		       (size == PLAIN_UDP_LIMIT && rail_ares_is_spoilt(ares));
	case RAIL_ARES_UDP_PLAIN:
		return size >= PLAIN_UDP_LIMIT;
	default:
		return false;
	}
}

static void answered(void *argument, int status, int timeouts, unsigned char *message, int size)
{
	struct rail_ares_query *query = argument;
	struct rail_ares *ares = query->ares;
	int outcome = errno_of(status);

	(void)timeouts;
	LIST_REMOVE(query, link);
	ares->in_flight--;
	if (outcome == 0 && (message == NULL || size < 0))
		outcome = -EIO;
	if (outcome == 0 && is_cut(ares, (size_t)size))
		outcome = -EMSGSIZE;
	if ((outcome == 0 || outcome == -EMSGSIZE) && ares->speaking < ares->upstream_count &&
	    ares->kind != RAIL_ARES_TCP)
		ares->hooks.heard(ares->hooks.context, query, ares->speaking);
	if (outcome == 0)
		query->answered(query, 0, message, (size_t)size);
	else
		query->answered(query, outcome, NULL, 0);
}

void rail_ares_send(struct rail_ares *ares, const uint8_t *bytes, size_t size,
		    struct rail_ares_query *query)
{
	query->ares = ares;
	query->bytes = bytes;
	query->size = size;
	query->sent_ms = rail_monotonic_ms();
	LIST_INSERT_HEAD(&ares->queries, query, link);
	if (ares->in_flight == 0) {
		ares->sent = 0;
		ares->cause = query->cause;
	} else if (ares->cause != query->cause) {
		ares->cause = 0;
	}
	ares->in_flight++;
	ares->sent++;
	ares_send(ares->channel, bytes, (int)size, answered, query);
}

void rail_ares_process(struct rail_ares *ares, int readable_fd, int writable_fd)
{
	ares->reads = READS_A_WAKE;
	ares_process_fd(ares->channel, readable_fd < 0 ? ARES_SOCKET_BAD : readable_fd,
			writable_fd < 0 ? ARES_SOCKET_BAD : writable_fd);
	ares->speaking = ares->upstream_count;
}

size_t rail_ares_in_flight(const struct rail_ares *ares)
{
	return ares->in_flight;
}

size_t rail_ares_sent(const struct rail_ares *ares)
{
	return ares->sent;
}

uint64_t rail_ares_cause(const struct rail_ares *ares)
{
	return ares->cause;
}

bool rail_ares_is_spoilt(const struct rail_ares *ares)
{
	struct ares_options options = {0};
	int mask = 0;
	bool spoilt = true;

	if (ares->kind != RAIL_ARES_UDP)
		return false;
	if (ares_save_options(ares->channel, &options, &mask) == ARES_SUCCESS)
		spoilt = (options.flags & ARES_FLAG_EDNS) == 0;
	ares_destroy_options(&options);
	return spoilt;
}
