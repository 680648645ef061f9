/*
 * The input is what an upstream sends, over loopback, through c-ares: a byte of options (bit 0: the
 * query has EDNS; bit 1: the answer begins with the query's own ID; bit 2: behind the header the
 * query's question is put), and the datagram.
 */

#include <arpa/inet.h>
#include <errno.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>

#include "pkg/dns/forward.h"
#include "pkg/dns/message.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

enum { WATCHED_MAXIMUM = 64, WAITING_MAXIMUM = 200, HEADER_SIZE = 12, QUESTION_SIZE = 15 };

static struct rail_forwarder *forwarder;
static struct rail_endpoint upstream = {.family = AF_INET};
static int server = -1;
static struct pollfd watched[WATCHED_MAXIMUM];
static size_t watched_count;
static bool works;

static void require(bool truth)
{
	if (!truth)
		abort();
}

static void watch(void *context, int fd, bool readable, bool writable)
{
	size_t i = 0;

	(void)context;
	while (i < watched_count && watched[i].fd != fd)
		i++;
	if (!readable && !writable) {
		require(i < watched_count);
		watched[i] = watched[--watched_count];
		return;
	}
	require(i < WATCHED_MAXIMUM);
	watched[i].fd = fd;
	watched[i].events = (short)((readable ? POLLIN : 0) | (writable ? POLLOUT : 0));
	watched_count = i == watched_count ? i + 1 : watched_count;
}

static void works_for(void *context, uint64_t pod)
{
	(void)context;
	require((pod != 0) != works || pod == 0);
	works = pod != 0;
}

static void answered(void *context, int outcome, const uint8_t *message, size_t size)
{
	(void)context;
	require((outcome == 0) == (message != NULL));
	require(outcome != 0 || size >= HEADER_SIZE);
}

static void set_up(void)
{
	struct sockaddr_in address = {.sin_family = AF_INET,
				      .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
	socklen_t size = sizeof(address);

	server = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	require(server >= 0);
	require(bind(server, (struct sockaddr *)&address, size) == 0);
	require(getsockname(server, (struct sockaddr *)&address, &size) == 0);
	upstream.address.v4 = address.sin_addr;
	upstream.port = ntohs(address.sin_port);
}

static void start_again(void)
{
	const struct rail_forwarder_hooks hooks = {.watch = watch, .works_for = works_for};

	rail_forwarder_free(forwarder);
	require(watched_count == 0);
	forwarder = rail_forwarder_new(&hooks);
	require(forwarder != NULL);
}

static void turn(void)
{
	struct pollfd ready[WATCHED_MAXIMUM];
	size_t count = watched_count;

	memcpy(ready, watched, sizeof(ready));
	if (poll(ready, count, 0) <= 0)
		return;
	for (size_t i = 0; i < count; i++)
		if (ready[i].revents != 0)
			rail_forwarder_ready(forwarder, ready[i].fd,
					     (ready[i].revents & ~POLLOUT) != 0,
					     (ready[i].revents & POLLOUT) != 0);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static const struct rail_forward_asker asker = {.environment = 1, .pod = 2};
	/* AAAA of q.example, and OPT. */
	static const uint8_t query[] = "\0\0\1\0\0\1\0\0\0\0\0\1"
				       "\1q\7example\0\0\x1c\0\1"
				       "\0\0\x29\4\xd0\0\0\0\0\0";
	uint8_t asked[sizeof(query)];
	uint8_t bytes[5000];
	uint8_t plain[HEADER_SIZE + QUESTION_SIZE];
	struct sockaddr_in from;
	socklen_t from_size = sizeof(from);

	if (server < 0)
		set_up();
	if (forwarder == NULL || rail_forwarder_pending(forwarder) > WAITING_MAXIMUM)
		start_again();
	if (size == 0 || size > sizeof(bytes) - sizeof(query))
		return 0;

	bool edns = (data[0] & 1) != 0;

	memcpy(plain, query, sizeof(plain));
	plain[11] = 0;
	require(rail_forwarder_send(forwarder, &upstream, 1, &asker, edns ? query : plain,
				    edns ? sizeof(query) : sizeof(plain), answered, NULL) == 0);
	/* Of several, where one is repeated, any will do. */
	if (recvfrom(server, asked, sizeof(asked), 0, (struct sockaddr *)&from, &from_size) < 0)
		return 0;

	size_t length = size - 1;

	memcpy(bytes, data + 1, length);
	if ((data[0] & 2) != 0 && length >= 2)
		memcpy(bytes, asked, 2);
	if ((data[0] & 4) != 0 && length >= HEADER_SIZE) {
		memmove(bytes + HEADER_SIZE + QUESTION_SIZE, bytes + HEADER_SIZE,
			length - HEADER_SIZE);
		memcpy(bytes + HEADER_SIZE, asked + HEADER_SIZE, QUESTION_SIZE);
		length += QUESTION_SIZE;
	}
	(void)sendto(server, bytes, length, 0, (struct sockaddr *)&from, from_size);
	turn();
	/* What is asked again, without EDNS. */
	while (recv(server, asked, sizeof(asked), 0) > 0)
		continue;
	return 0;
}
