#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <sched.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

/*
 * For `make bench-dns`: the floor below any server, and a client that is quicker than the servers.
 *
 *     dns_bench echo PORT NETNS...
 *         gives every datagram to [fd12::10]:PORT back as it is, in each of these netns; one of
 *         them: without epoll
 *     dns_bench load PORT NAMES WINDOW SECONDS RATE NETNS...
 *         asks for the AAAA records of svc<0..NAMES-1>.railway.internal, in turn from each of these
 *         netns, WINDOW of them at a time, RATE a second (0: as fast as they are answered), and
 *         prints "answered lost seconds p50 p99 p99.9" (microseconds)
 */

enum {
	BATCH = 32,
	PACKET_SIZE = 1500,
	SLOT_COUNT = 65536, /* one for each ID */
	LOST_US = 1000000,
	LATENCY_MAXIMUM = 1 << 24,
};

struct batch {
	struct mmsghdr messages[BATCH];
	struct iovec parts[BATCH];
	struct sockaddr_in6 peers[BATCH];
	uint8_t bytes[BATCH][PACKET_SIZE];
};

static void give_up(const char *what)
{
	perror(what);
	exit(EXIT_FAILURE);
}

static int64_t now_us(void)
{
	struct timespec now;

	(void)clock_gettime(CLOCK_MONOTONIC, &now);
	return (int64_t)now.tv_sec * 1000000 + now.tv_nsec / 1000;
}

static struct batch *new_batch(void)
{
	struct batch *batch = calloc(1, sizeof(*batch));

	if (batch == NULL)
		give_up("calloc");
	for (int i = 0; i < BATCH; i++) {
		batch->parts[i].iov_base = batch->bytes[i];
		batch->parts[i].iov_len = PACKET_SIZE;
		batch->messages[i].msg_hdr.msg_iov = &batch->parts[i];
		batch->messages[i].msg_hdr.msg_iovlen = 1;
	}
	return batch;
}

static int open_socket(const char *netns, uint16_t port, bool server)
{
	struct sockaddr_in6 address = {.sin6_family = AF_INET6, .sin6_port = htons(port)};
	int size = 4 << 20;
	char path[256];
	int fd;

	(void)snprintf(path, sizeof(path), "/run/netns/%s", netns);
	fd = open(path, O_RDONLY | O_CLOEXEC);
	if (fd < 0 || setns(fd, CLONE_NEWNET) < 0)
		give_up(path);
	(void)close(fd);
	fd = socket(AF_INET6, SOCK_DGRAM | SOCK_CLOEXEC, 0);
	if (fd < 0 || inet_pton(AF_INET6, "fd12::10", &address.sin6_addr) != 1)
		give_up("socket");
	(void)setsockopt(fd, SOL_SOCKET, SO_RCVBUFFORCE, &size, sizeof(size));
	if ((server ? bind(fd, (struct sockaddr *)&address, sizeof(address))
		    : connect(fd, (struct sockaddr *)&address, sizeof(address))) < 0)
		give_up(server ? "bind" : "connect");
	return fd;
}

/* ---- the floor ------------------------------------------------------------------------------- */

static int echo_batch(int fd, struct batch *batch, int flags)
{
	for (int i = 0; i < BATCH; i++) {
		batch->messages[i].msg_hdr.msg_name = &batch->peers[i];
		batch->messages[i].msg_hdr.msg_namelen = sizeof(batch->peers[i]);
		batch->parts[i].iov_len = PACKET_SIZE;
	}

	int count = recvmmsg(fd, batch->messages, BATCH, flags, NULL);

	for (int i = 0; i < count; i++)
		batch->parts[i].iov_len = batch->messages[i].msg_len;
	if (count > 0)
		(void)sendmmsg(fd, batch->messages, (unsigned int)count, 0);
	return count;
}

static void echo(uint16_t port, char **netns, int count)
{
	struct batch *batch = new_batch();
	int epoll = epoll_create1(EPOLL_CLOEXEC);
	int fd = -1;

	for (int i = 0; i < count; i++) {
		struct epoll_event event = {.events = EPOLLIN};

		fd = open_socket(netns[i], port, true);
		event.data.fd = fd;
		if (epoll_ctl(epoll, EPOLL_CTL_ADD, fd, &event) < 0)
			give_up("epoll_ctl");
	}
	(void)puts("ready");
	(void)fflush(stdout);
	if (count == 1)
		for (;;)
			(void)echo_batch(fd, batch, MSG_WAITFORONE);
	for (;;) {
		struct epoll_event events[64];
		int ready = epoll_wait(epoll, events, 64, -1);

		for (int i = 0; i < ready; i++)
			while (echo_batch(events[i].data.fd, batch, MSG_DONTWAIT) == BATCH)
				;
	}
}

/* ---- the client ------------------------------------------------------------------------------ */

struct load {
	int *sockets;
	size_t socket_count;
	int epoll;
	unsigned int name_count;
	unsigned int window;
	int64_t sent_us[SLOT_COUNT]; /* 0: not on its way */
	unsigned int outstanding;
	uint64_t sent;
	uint64_t answered;
	uint64_t lost;
	uint32_t *latencies;
	size_t latency_count;
};

static size_t write_query(uint8_t *bytes, uint16_t id, unsigned int name)
{
	static const uint8_t rest[] = "\7railway\10internal\0\0\34\0\1";
	int length;

	memset(bytes, 0, 12);
	bytes[0] = (uint8_t)(id >> 8);
	bytes[1] = (uint8_t)id;
	bytes[2] = 1;
	bytes[5] = 1;
	length = snprintf((char *)bytes + 13, 16, "svc%u", name);
	bytes[12] = (uint8_t)length;
	memcpy(bytes + 13 + length, rest, sizeof(rest) - 1);
	return 13 + (size_t)length + sizeof(rest) - 1;
}

static void send_some(struct load *load, struct batch *batch, unsigned int count)
{
	size_t socket = (size_t)(load->sent / BATCH) % load->socket_count;
	unsigned int step = load->socket_count > 1 ? 1 : BATCH;

	while (count > 0) {
		unsigned int size = count < step ? count : step;
		int64_t now = now_us();
		unsigned int filled = 0;

		for (; filled < size; filled++) {
			uint16_t id = (uint16_t)(load->sent + filled);

			/* Its slot is taken by one that was lost, or is late. */
			if (load->sent_us[id] != 0) {
				load->lost++;
				load->outstanding--;
			}
			load->sent_us[id] = now;
			batch->parts[filled].iov_len = write_query(
				batch->bytes[filled], id,
				(unsigned int)((load->sent + filled) * 7919 % load->name_count));
		}
		if (load->socket_count > 1)
			socket = (size_t)(load->sent % load->socket_count);
		(void)sendmmsg(load->sockets[socket], batch->messages, filled, 0);
		load->sent += filled;
		load->outstanding += filled;
		count -= filled;
	}
}

static void receive_some(struct load *load, struct batch *batch, int fd)
{
	for (int i = 0; i < BATCH; i++)
		batch->parts[i].iov_len = PACKET_SIZE;

	int count = recvmmsg(fd, batch->messages, BATCH, MSG_DONTWAIT, NULL);
	int64_t now = now_us();

	for (int i = 0; i < count; i++) {
		uint16_t id = (uint16_t)(batch->bytes[i][0] << 8 | batch->bytes[i][1]);

		if (load->sent_us[id] == 0)
			continue;
		if (load->latency_count < LATENCY_MAXIMUM)
			load->latencies[load->latency_count++] =
				(uint32_t)(now - load->sent_us[id]);
		load->sent_us[id] = 0;
		load->outstanding--;
		load->answered++;
	}
}

static void forget_lost(struct load *load)
{
	int64_t before = now_us() - LOST_US;

	for (size_t i = 0; i < SLOT_COUNT; i++)
		if (load->sent_us[i] != 0 && load->sent_us[i] < before) {
			load->sent_us[i] = 0;
			load->outstanding--;
			load->lost++;
		}
}

static int compare(const void *one, const void *other)
{
	uint32_t a = *(const uint32_t *)one;
	uint32_t b = *(const uint32_t *)other;

	return (a > b) - (a < b);
}

static uint32_t percentile(const struct load *load, double part)
{
	size_t index = (size_t)((double)load->latency_count * part);

	if (load->latency_count == 0)
		return 0;
	return load->latencies[index < load->latency_count ? index : load->latency_count - 1];
}

static void run(struct load *load, double seconds, double rate)
{
	struct batch *out = new_batch();
	struct batch *in = new_batch();
	int64_t start = now_us();
	int64_t end = start + (int64_t)(seconds * 1e6);
	int64_t check = start + LOST_US;

	for (;;) {
		int64_t now = now_us();
		unsigned int room = 0;
		struct epoll_event events[64];

		if (now >= end && (load->outstanding == 0 || now >= end + LOST_US))
			break;
		if (now >= check) {
			forget_lost(load);
			check = now + LOST_US / 4;
		}
		if (now < end && load->outstanding < load->window)
			room = load->window - load->outstanding;
		if (rate > 0) {
			double due = (double)(now - start) * rate / 1e6 - (double)load->sent;

			room = due < 1 ? 0 : due < room ? (unsigned int)due : room;
		}
		/* A whole batch, or what there is room for while nothing is on its way. */
		if (rate > 0 || room >= BATCH || load->outstanding == 0)
			send_some(load, out, room);

		int ready = epoll_wait(load->epoll, events, 64, rate > 0 ? 0 : 1);

		for (int i = 0; i < ready; i++)
			receive_some(load, in, events[i].data.fd);
	}
	forget_lost(load);
	qsort(load->latencies, load->latency_count, sizeof(load->latencies[0]), compare);
	(void)printf("%lu %lu %.3f %u %u %u\n", (unsigned long)load->answered,
		     (unsigned long)(load->lost + load->outstanding), seconds,
		     percentile(load, 0.5), percentile(load, 0.99), percentile(load, 0.999));
	free(out);
	free(in);
}

static void load_netns(char **arguments, int count)
{
	struct load *load = calloc(1, sizeof(*load));

	if (load == NULL)
		give_up("calloc");
	load->name_count = (unsigned int)strtoul(arguments[1], NULL, 10);
	load->window = (unsigned int)strtoul(arguments[2], NULL, 10);
	load->sockets = calloc((size_t)count, sizeof(int));
	load->latencies = calloc(LATENCY_MAXIMUM, sizeof(load->latencies[0]));
	load->epoll = epoll_create1(EPOLL_CLOEXEC);
	if (load->sockets == NULL || load->latencies == NULL || load->name_count == 0)
		give_up("load");
	for (int i = 5; i < count; i++) {
		struct epoll_event event = {.events = EPOLLIN};
		int fd =
			open_socket(arguments[i], (uint16_t)strtoul(arguments[0], NULL, 10), false);

		event.data.fd = fd;
		if (epoll_ctl(load->epoll, EPOLL_CTL_ADD, fd, &event) < 0)
			give_up("epoll_ctl");
		load->sockets[load->socket_count++] = fd;
	}
	run(load, strtod(arguments[3], NULL), strtod(arguments[4], NULL));
	free(load->sockets);
	free(load->latencies);
	free(load);
}

int main(int argc, char **argv)
{
	if (argc >= 4 && strcmp(argv[1], "echo") == 0)
		echo((uint16_t)strtoul(argv[2], NULL, 10), argv + 3, argc - 3);
	else if (argc >= 8 && strcmp(argv[1], "load") == 0)
		load_netns(argv + 2, argc - 2);
	else
		return EXIT_FAILURE;
	return EXIT_SUCCESS;
}
