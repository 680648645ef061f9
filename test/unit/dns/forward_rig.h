#pragma once

/*
 * For the tests of the forwarder: a network namespace with nothing but a loopback device, fake
 * nameservers in it, and a small loop that drives them and a forwarder. A server notes each query
 * and does what rig.react says, if anything.
 */

#include <criterion/criterion.h>

#include <arpa/inet.h>
#include <errno.h>
#include <net/if.h>
#include <netinet/in.h>
#include <poll.h>
#include <sched.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#include "pkg/dns/forward.h"

enum {
	SERVER_COUNT = 3,
	NAME_SIZE = 13, /* \7q000000\3dev\0 */
	QUERY_SIZE = 12 + NAME_SIZE + 4 + 11,
	PLAIN_QUERY_SIZE = QUERY_SIZE - 11,
	RECEIVED_MAXIMUM = 16384,
	QUERY_MAXIMUM = 8192, /* numbers of queries are below */
	CONNECTION_MAXIMUM = 64,
	WATCHED_MAXIMUM = 2048,
	FLAG_QR = 0x8000,
	FLAG_TC = 0x0200,
};

struct server {
	int udp;
	int listener;
	struct rail_endpoint endpoint;
	int connections[CONNECTION_MAXIMUM];
	size_t connection_count; /* of its whole life */
};

/* A query that reached a server. */
struct received {
	struct server *server;
	struct sockaddr_in6 from;
	int connection; /* negative: over UDP */
	uint16_t id;
	uint16_t port; /* the forwarder's */
	uint32_t number;
	size_t size;
	uint8_t bytes[QUERY_SIZE];
};

/* How the caller of a query was called. */
struct outcome {
	unsigned calls;
	int outcome;
	size_t size;
	uint16_t flags;
	uint32_t number;
	int64_t at_ms;
};

struct rig {
	struct rail_forwarder *forwarder;
	struct server servers[SERVER_COUNT];
	void (*react)(const struct received *received);
	struct received received[RECEIVED_MAXIMUM];
	size_t received_count;
	struct pollfd watched[WATCHED_MAXIMUM];
	size_t watched_count;
	struct outcome outcomes[QUERY_MAXIMUM];
	size_t called;
	bool sending;
	uint64_t pods[RECEIVED_MAXIMUM]; /* that it worked for, one after the other */
	size_t pod_count;
};

static struct rig rig;

static inline int64_t clock_ms(void)
{
	struct timespec now;

	(void)clock_gettime(CLOCK_MONOTONIC, &now);
	return (int64_t)now.tv_sec * 1000 + now.tv_nsec / 1000000;
}

static inline uint16_t get_u16(const uint8_t *bytes)
{
	return (uint16_t)(bytes[0] << 8 | bytes[1]);
}

static inline void put_u16(uint8_t *bytes, size_t value)
{
	bytes[0] = (uint8_t)(value >> 8);
	bytes[1] = (uint8_t)value;
}

/* ---- messages ---- */

/* AAAA of q<number>.dev with an OPT of 1232 bytes; its last 11 bytes can be left away. */
static inline void make_query(uint8_t bytes[QUERY_SIZE], uint32_t number, bool edns)
{
	static const uint8_t opt[] = {0, 0, 41, 0x04, 0xd0, 0, 0, 0, 0, 0, 0};

	memset(bytes, 0, QUERY_SIZE);
	bytes[2] = 0x01;
	bytes[5] = 1;
	bytes[11] = edns ? 1 : 0;
	(void)snprintf((char *)bytes + 12, NAME_SIZE + 1, "\007q%06u\003dev", number % 1000000);
	put_u16(bytes + 12 + NAME_SIZE, 28);
	put_u16(bytes + 12 + NAME_SIZE + 2, 1);
	memcpy(bytes + PLAIN_QUERY_SIZE, opt, sizeof(opt));
}

static inline uint32_t number_of(const uint8_t *message)
{
	uint32_t number = 0;

	for (size_t i = 14; i < 20; i++)
		number = number * 10 + (uint32_t)(message[i] - '0');
	return number;
}

static inline bool has_opt(const struct received *received)
{
	return received->bytes[11] == 1;
}

/* An answer of just this size (above 80), all of it one record and, where asked for, an OPT. */
static inline void make_answer(uint8_t *bytes, size_t size, const struct received *to,
			       uint16_t flags, bool opt)
{
	size_t record = size - PLAIN_QUERY_SIZE - (opt ? 11 : 0);

	memset(bytes, 0, size);
	memcpy(bytes, to->bytes, PLAIN_QUERY_SIZE);
	put_u16(bytes + 2, FLAG_QR | flags);
	bytes[7] = 1;
	bytes[11] = opt ? 1 : 0;
	put_u16(bytes + PLAIN_QUERY_SIZE, 0xc00c);
	put_u16(bytes + PLAIN_QUERY_SIZE + 2, 16);
	put_u16(bytes + PLAIN_QUERY_SIZE + 4, 1);
	put_u16(bytes + PLAIN_QUERY_SIZE + 10, record - 12);
	if (opt)
		bytes[size - 9] = 41;
}

static inline void answer_from(int fd, const struct received *to, uint16_t flags, size_t size)
{
	static uint8_t bytes[2 + 65535];

	make_answer(bytes + 2, size, to, flags, has_opt(to));
	put_u16(bytes, size);
	if (to->connection >= 0)
		cr_assert_eq(send(to->connection, bytes, size + 2, MSG_NOSIGNAL),
			     (ssize_t)size + 2);
	else
		cr_assert_eq(sendto(fd, bytes + 2, size, 0, (const struct sockaddr *)&to->from,
				    sizeof(to->from)),
			     (ssize_t)size);
}

static inline void answer(const struct received *to, uint16_t flags, size_t size)
{
	answer_from(to->server->udp, to, flags, size);
}

/* ---- fake nameservers ---- */

static inline int open_socket(int type, const struct in6_addr *address, uint16_t *port)
{
	struct sockaddr_in6 own = {
		.sin6_family = AF_INET6, .sin6_port = htons(*port), .sin6_addr = *address};
	socklen_t size = sizeof(own);
	int fd = socket(AF_INET6, type | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	int bytes = 4 << 20;

	cr_assert_geq(fd, 0);
	(void)setsockopt(fd, SOL_SOCKET, SO_RCVBUFFORCE, &bytes, sizeof(bytes));
	cr_assert_eq(bind(fd, (struct sockaddr *)&own, sizeof(own)), 0);
	cr_assert_eq(getsockname(fd, (struct sockaddr *)&own, &size), 0);
	*port = ntohs(own.sin6_port);
	return fd;
}

/* At [::1]; over UDP and TCP. */
static inline void open_server(struct server *server)
{
	server->endpoint.family = AF_INET6;
	server->endpoint.address.v6 = in6addr_loopback;
	server->udp = open_socket(SOCK_DGRAM, &in6addr_loopback, &server->endpoint.port);
	server->listener = open_socket(SOCK_STREAM, &in6addr_loopback, &server->endpoint.port);
	cr_assert_eq(listen(server->listener, 64), 0);
	for (size_t i = 0; i < CONNECTION_MAXIMUM; i++)
		server->connections[i] = -1;
}

static inline void note_query(struct server *server, int connection, const uint8_t *bytes,
			      size_t size, const struct sockaddr_in6 *from)
{
	struct received *received = &rig.received[rig.received_count++];

	cr_assert_lt(rig.received_count, RECEIVED_MAXIMUM);
	cr_assert(size == QUERY_SIZE || size == PLAIN_QUERY_SIZE, "a query of %zu bytes", size);
	*received = (struct received){
		.server = server,
		.from = *from,
		.connection = connection,
		.id = get_u16(bytes),
		.port = ntohs(from->sin6_port),
		.number = number_of(bytes),
		.size = size,
	};
	memcpy(received->bytes, bytes, size);
	if (rig.react != NULL)
		rig.react(received);
}

static inline void serve_udp(struct server *server)
{
	struct sockaddr_in6 from;
	socklen_t from_size = sizeof(from);
	uint8_t bytes[512];
	ssize_t size;

	while ((size = recvfrom(server->udp, bytes, sizeof(bytes), 0, (struct sockaddr *)&from,
				&from_size)) >= 0)
		note_query(server, -1, bytes, (size_t)size, &from);
}

static inline void serve_listener(struct server *server)
{
	int fd = accept4(server->listener, NULL, NULL, SOCK_CLOEXEC);

	cr_assert_geq(fd, 0);
	cr_assert_lt(server->connection_count, CONNECTION_MAXIMUM);
	server->connections[server->connection_count++] = fd;
}

static inline void close_connection(struct server *server, int fd)
{
	for (size_t i = 0; i < CONNECTION_MAXIMUM; i++)
		if (server->connections[i] == fd)
			server->connections[i] = -1;
	(void)close(fd);
}

static inline void serve_connection(struct server *server, int fd)
{
	struct sockaddr_in6 from = {0};
	uint8_t bytes[2 + 512];
	size_t size;

	if (recv(fd, bytes, 2, MSG_WAITALL) != 2) {
		close_connection(server, fd);
		return;
	}
	size = get_u16(bytes);
	cr_assert_leq(size, sizeof(bytes) - 2);
	cr_assert_eq(recv(fd, bytes + 2, size, MSG_WAITALL), (ssize_t)size);
	note_query(server, fd, bytes + 2, size, &from);
}

/* ---- the loop ---- */

static inline void watch(void *context, int fd, bool readable, bool writable)
{
	size_t i = 0;

	(void)context;
	while (i < rig.watched_count && rig.watched[i].fd != fd)
		i++;
	if (!readable && !writable) {
		cr_assert_lt(i, rig.watched_count);
		rig.watched[i] = rig.watched[--rig.watched_count];
		return;
	}
	if (i == rig.watched_count)
		rig.watched_count++;
	cr_assert_lt(rig.watched_count, WATCHED_MAXIMUM);
	rig.watched[i] = (struct pollfd){
		.fd = fd,
		.events = (short)((readable ? POLLIN : 0) | (writable ? POLLOUT : 0)),
	};
}

static inline void step(int longest_ms)
{
	struct pollfd fds[WATCHED_MAXIMUM + SERVER_COUNT * (2 + CONNECTION_MAXIMUM)];
	int timeout = rail_forwarder_timeout_ms(rig.forwarder);
	size_t own = rig.watched_count;
	size_t count = own;

	if (timeout < 0 || timeout > longest_ms)
		timeout = longest_ms;
	memcpy(fds, rig.watched, own * sizeof(*fds));
	for (size_t i = 0; i < SERVER_COUNT; i++) {
		struct server *server = &rig.servers[i];

		fds[count++] = (struct pollfd){.fd = server->udp, .events = POLLIN};
		fds[count++] = (struct pollfd){.fd = server->listener, .events = POLLIN};
		for (size_t j = 0; j < CONNECTION_MAXIMUM; j++)
			fds[count++] =
				(struct pollfd){.fd = server->connections[j], .events = POLLIN};
	}
	cr_assert_geq(poll(fds, count, timeout), 0);
	for (size_t i = 0; i < own; i++) {
		bool broken = (fds[i].revents & (POLLERR | POLLHUP)) != 0;

		if (fds[i].revents != 0)
			rail_forwarder_ready(rig.forwarder, fds[i].fd,
					     broken || (fds[i].revents & POLLIN) != 0,
					     broken || (fds[i].revents & POLLOUT) != 0);
	}
	rail_forwarder_expire(rig.forwarder);
	for (size_t i = 0, at = own; i < SERVER_COUNT; i++) {
		struct server *server = &rig.servers[i];

		if (fds[at++].revents != 0)
			serve_udp(server);
		if (fds[at++].revents != 0)
			serve_listener(server);
		for (size_t j = 0; j < CONNECTION_MAXIMUM; j++, at++)
			if (fds[at].revents != 0)
				serve_connection(server, fds[at].fd);
	}
}

static inline bool are_called_within(size_t count, int limit_ms)
{
	int64_t end = clock_ms() + limit_ms;

	while (rig.called < count && clock_ms() < end)
		step(100);
	return rig.called == count;
}

static inline void run_until_called(size_t count, int limit_ms)
{
	(void)are_called_within(count, limit_ms);
	cr_assert_eq(rig.called, count, "%zu of %zu callers were called", rig.called, count);
}

static inline void run_until_received(size_t count, int limit_ms)
{
	int64_t end = clock_ms() + limit_ms;

	while (rig.received_count < count && clock_ms() < end)
		step(100);
	cr_assert_eq(rig.received_count, count, "%zu of %zu queries arrived", rig.received_count,
		     count);
}

static inline void run_for(int duration_ms)
{
	int64_t end = clock_ms() + duration_ms;
	int64_t now;

	while ((now = clock_ms()) < end)
		step((int)(end - now));
}

/* ---- queries ---- */

static inline void called(void *context, int outcome, const uint8_t *message, size_t size)
{
	struct outcome *mine = context;

	cr_assert(!rig.sending, "a caller is called from within rail_forwarder_send");
	cr_assert_eq(message == NULL, outcome != 0);
	mine->calls++;
	mine->outcome = outcome;
	mine->size = size;
	mine->at_ms = clock_ms();
	if (size >= 20) {
		mine->flags = get_u16(message + 2);
		mine->number = number_of(message);
	}
	rig.called++;
}

static inline int send_for(uint64_t asker, uint32_t number, const struct rail_endpoint *upstreams,
			   size_t count, bool edns)
{
	uint8_t bytes[QUERY_SIZE];
	int rc;

	make_query(bytes, number, edns);
	rig.sending = true;
	rc = rail_forwarder_send(
		rig.forwarder, upstreams, count, &(struct rail_forward_asker){asker, asker + 1},
		bytes, edns ? QUERY_SIZE : PLAIN_QUERY_SIZE, called, &rig.outcomes[number]);
	rig.sending = false;
	return rc;
}

static inline int send_to(uint32_t number, const struct rail_endpoint *upstreams, size_t count,
			  bool edns)
{
	return send_for(0, number, upstreams, count, edns);
}

/* To the first server, of an environment of its own. */
static inline void send_query(uint32_t number)
{
	cr_assert_eq(send_for(number, number, &rig.servers[0].endpoint, 1, true), 0);
}

static inline void expect_answer(uint32_t number, uint16_t flags, size_t size)
{
	const struct outcome *mine = &rig.outcomes[number];

	cr_assert_eq(mine->calls, 1, "query %u: called %u times", number, mine->calls);
	cr_assert_eq(mine->outcome, 0, "query %u: %s", number, strerror(-mine->outcome));
	cr_assert_eq(mine->size, size, "query %u: %zu bytes", number, mine->size);
	cr_assert_eq(mine->flags, FLAG_QR | flags, "query %u: flags %#x", number, mine->flags);
	cr_assert_eq(mine->number, number);
}

static inline void expect_failure(uint32_t number, int outcome)
{
	const struct outcome *mine = &rig.outcomes[number];

	cr_assert_eq(mine->calls, 1, "query %u: called %u times", number, mine->calls);
	cr_assert_eq(mine->outcome, outcome, "query %u: %d", number, mine->outcome);
}

/* ---- set-up ---- */

static const struct rail_forward_asker nobody;

static inline void works_for(void *context, uint64_t pod)
{
	(void)context;
	if (rig.pod_count < RECEIVED_MAXIMUM)
		rig.pods[rig.pod_count++] = pod;
}

static inline void set_up(void)
{
	const struct rail_forwarder_hooks hooks = {.watch = watch, .works_for = works_for};
	struct ifreq request = {.ifr_name = "lo"};
	int fd;

	if (unshare(CLONE_NEWNET) < 0)
		cr_skip_test("no network namespace of its own: %s", strerror(errno));
	fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
	request.ifr_flags = IFF_UP;
	cr_assert_eq(ioctl(fd, SIOCSIFFLAGS, &request), 0);
	(void)close(fd);
	for (size_t i = 0; i < SERVER_COUNT; i++)
		open_server(&rig.servers[i]);
	rig.forwarder = rail_forwarder_new(&hooks);
	cr_assert_not_null(rig.forwarder);
}

static inline void tear_down(void)
{
	if (rig.forwarder == NULL)
		return;
	rail_forwarder_free(rig.forwarder);
	cr_expect_eq(rig.watched_count, 0, "%zu sockets are still watched", rig.watched_count);
}
