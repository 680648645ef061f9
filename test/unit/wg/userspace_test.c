#include <arpa/inet.h>
#include <criterion/criterion.h>
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "pkg/base/cleanup.h"
#include "pkg/base/file.h"
#include "pkg/wg/key.h"
#include "test/unit/wg/pods.h"

static void wire(struct pod *pod, const struct pod *other)
{
	struct rail_device want = {.peer_count = 0};
	struct rail_device have;
	struct rail_changes changes;
	struct rail_endpoint endpoint = {.family = AF_INET,
					 .port = other->interface.listen_port,
					 .address.v4.s_addr = htonl(INADDR_LOOPBACK)};

	cr_assert_eq(rail_device_add_peer(&want, &other->interface.public_key, &endpoint,
					  &other->address),
		     0);
	assert_ok(userspace->read(pod->netns_fd, &pod->interface, &have, &failure));
	assert_ok(rail_device_difference(&have, &want, 0, &changes, &failure));
	assert_ok(userspace->apply(pod->netns_fd, &pod->interface, &changes, &failure));
	rail_changes_done(&changes);
	rail_device_done(&have);
	rail_device_done(&want);
}

static int open_udp(void *context, struct rail_error *error)
{
	(void)error;
	*(int *)context = socket(AF_INET6, SOCK_DGRAM | SOCK_CLOEXEC, 0);
	return 0;
}

static int udp_socket(const struct pod *pod, uint16_t port)
{
	struct sockaddr_in6 address = {.sin6_family = AF_INET6, .sin6_port = htons(port)};
	int fd = -1;

	address.sin6_addr = pod->address;
	assert_ok(rail_netns_run(pod->netns_fd, open_udp, &fd, &failure));
	cr_assert_geq(fd, 0);
	cr_assert_eq(bind(fd, (struct sockaddr *)&address, sizeof(address)), 0);
	return fd;
}

static void send_datagram(int fd, const struct pod *to, const void *bytes, size_t size)
{
	struct sockaddr_in6 address = {.sin6_family = AF_INET6, .sin6_port = htons(4000)};

	address.sin6_addr = to->address;
	cr_assert_eq(sendto(fd, bytes, size, 0, (struct sockaddr *)&address, sizeof(address)),
		     (ssize_t)size);
}

static void expect_datagram(int fd, const void *bytes, size_t size)
{
	char received[2000];
	struct pollfd watched = {.fd = fd, .events = POLLIN};

	cr_assert_eq(poll(&watched, 1, 5000), 1, "nothing came within 5 s");
	cr_assert_eq(recv(fd, received, sizeof(received), 0), (ssize_t)size);
	cr_assert_eq(memcmp(received, bytes, size), 0);
}

Test(wg_userspace, first_datagram_arrives)
{
	become_host();
	struct pod a = make_pod("fd00::a");
	struct pod b = make_pod("fd00::b");
	int socket_a = udp_socket(&a, 4000);
	int socket_b = udp_socket(&b, 4000);

	wire(&a, &b);
	wire(&b, &a);
	send_datagram(socket_a, &b, "one", 3);
	expect_datagram(socket_b, "one", 3);
	send_datagram(socket_b, &a, "two", 3);
	expect_datagram(socket_a, "two", 3);

	destroy_pod(&a);
	destroy_pod(&b);
}

Test(wg_userspace, created_interface_is_as_asked_for)
{
	become_host();
	struct pod pod = make_pod("fd00::a");
	struct rail_netlink *netlink;
	struct rail_link link;
	struct rail_device device;
	char path[RAIL_UAPI_PATH_SIZE];
	struct stat status;

	assert_ok(rail_netlink_open(pod.netns_fd, &netlink, &failure));
	assert_ok(rail_link_get(netlink, "mesh0", &link, &failure));
	rail_netlink_close(netlink);
	cr_assert(link.up);
	cr_assert_eq(link.mtu, 1400);
	cr_assert_str_eq(link.alias, "railway:test");
	cr_assert_str_eq(link.kind, "tun");
	assert_command(pod.netns_fd, "test -z \"$(ip -6 address show dev mesh0 scope link)\"");

	cr_assert_str_eq(pod.interface.transport, "userspace");
	cr_assert_neq(pod.interface.listen_port, 0);
	assert_no_stand_in(&pod.interface);
	assert_ok(rail_uapi_path(pod.interface.device_name, path, &failure));
	cr_assert_eq(stat(path, &status), 0);
	cr_assert_eq(status.st_mode & 07777, 0600);
	cr_assert_eq(stat(RAIL_UAPI_DIRECTORY, &status), 0);
	cr_assert_eq(status.st_mode & 07777, 0700);

	assert_ok(userspace->verify(pod.netns_fd, &pod.interface, &failure));
	assert_ok(userspace->read(pod.netns_fd, &pod.interface, &device, &failure));
	cr_assert(rail_key_equal(&device.public_key, &pod.interface.public_key));
	cr_assert_eq(device.listen_port, pod.interface.listen_port);
	cr_assert_eq(device.peer_count, 0);
	/* Its UDP socket is in the host's netns. */
	assert_command(-1, "ss -Hlun 'sport = :%u' | grep -q .", pod.interface.listen_port);
	assert_command(pod.netns_fd, "! ss -Hlun 'sport = :%u' | grep -q .",
		       pod.interface.listen_port);

	destroy_pod(&pod);
}

/* Of a packet that fills the link, nothing is left to pad. */
Test(wg_userspace, process_knows_the_mtu)
{
	enum {
		HEADERS = 40 + 8,   /* IPv6, UDP */
		OVERHEAD = 16 + 16, /* WireGuard's header and tag */
	};
	become_host();
	struct pod a = make_pod("fd00::a");
	struct pod b = make_pod("fd00::b");
	int socket_a = udp_socket(&a, 4000);
	int socket_b = udp_socket(&b, 4000);
	char bytes[1395 - HEADERS] = "full";
	struct rail_device before;
	struct rail_device after;

	wire(&a, &b);
	wire(&b, &a);
	send_datagram(socket_a, &b, "one", 3);
	expect_datagram(socket_b, "one", 3);
	assert_ok(userspace->read(b.netns_fd, &b.interface, &before, &failure));
	send_datagram(socket_a, &b, bytes, sizeof(bytes));
	expect_datagram(socket_b, bytes, sizeof(bytes));
	assert_ok(userspace->read(b.netns_fd, &b.interface, &after, &failure));

	cr_assert_eq(
		after.peers[0].received_bytes - before.peers[0].received_bytes, 1400 + OVERHEAD,
		"%lu bytes",
		(unsigned long)(after.peers[0].received_bytes - before.peers[0].received_bytes));
	rail_device_done(&before);
	rail_device_done(&after);
	destroy_pod(&a);
	destroy_pod(&b);
}

Test(wg_userspace, process_has_nothing_of_ours)
{
	become_host();
	int leak = open("/dev/zero", O_RDONLY); /* no O_CLOEXEC */
	int pipe_fds[2];
	char pipe_name[64] = "";

	/* As a runtime's standard output: it is read until everybody has closed it. */
	cr_assert_eq(pipe(pipe_fds), 0);
	(void)snprintf(pipe_name, sizeof(pipe_name), "/proc/self/fd/%d", pipe_fds[1]);
	char own_pipe[64] = "";
	cr_assert_gt(readlink(pipe_name, own_pipe, sizeof(own_pipe) - 1), 0);
	struct pod pod = make_pod("fd00::a");
	char path[64];
	char target[256];
	char *text;
	size_t size;
	int listed = 0;

	cr_assert_geq(leak, 0);
	(void)snprintf(path, sizeof(path), "/proc/%d/fd", (int)pod.interface.process.pid);
	DIR *directory = opendir(path);
	cr_assert_not_null(directory);
	for (struct dirent *entry; (entry = readdir(directory)) != NULL;) {
		ssize_t length =
			readlinkat(dirfd(directory), entry->d_name, target, sizeof(target) - 1);

		if (length < 0)
			continue;
		target[length] = '\0';
		cr_assert_neq(strcmp(target, "/dev/zero"), 0);
		cr_assert_neq(strcmp(target, own_pipe), 0);
		if (atoi(entry->d_name) <= 2)
			cr_assert_str_eq(target, "/dev/null");
		listed++;
	}
	closedir(directory);
	cr_assert_gt(listed, 4);

	(void)snprintf(path, sizeof(path), "/proc/%d/environ", (int)pod.interface.process.pid);
	assert_ok(rail_read_file(path, 65536, &text, &size, &failure));
	cr_assert_null(memmem(text, size, "HOME=", 5));
	cr_assert_not_null(memmem(text, size, "WG_TUN_FD=3", 11));
	free(text);
	(void)snprintf(path, sizeof(path), "/proc/%d/cwd", (int)pod.interface.process.pid);
	cr_assert_eq(readlink(path, target, sizeof(target)), 1);
	cr_assert_eq(getsid(pod.interface.process.pid), pod.interface.process.pid);

	destroy_pod(&pod);
	close(leak);
}

Test(wg_userspace, destroy_leaves_nothing_and_may_be_repeated)
{
	become_host();
	struct pod pod = make_pod("fd00::a");

	assert_ok(userspace->destroy(pod.netns_fd, &pod.interface, &failure));
	assert_nothing_left(pod.netns_fd, &pod.interface);
	assert_ok(userspace->destroy(pod.netns_fd, &pod.interface, &failure));
	cr_assert_eq(userspace->verify(pod.netns_fd, &pod.interface, NULL), -ENODEV);
	destroy_pod(&pod);
}

Test(wg_userspace, destroy_without_the_netns)
{
	become_host();
	struct pod pod = make_pod("fd00::a");

	assert_ok(userspace->destroy(-1, &pod.interface, &failure));
	assert_nothing_left(pod.netns_fd, &pod.interface);
	destroy_pod(&pod);
}

Test(wg_userspace, destroy_leaves_another_interface_of_the_name)
{
	become_host();
	struct pod pod = make_pod("fd00::a");

	assert_ok(userspace->destroy(pod.netns_fd, &pod.interface, &failure));
	assert_command(pod.netns_fd, "ip tuntap add dev mesh0 mode tun");
	assert_ok(userspace->destroy(pod.netns_fd, &pod.interface, &failure));
	cr_assert(link_there(pod.netns_fd, "mesh0"));
	cr_assert_eq(userspace->verify(pod.netns_fd, &pod.interface, NULL), -ENODEV);
	destroy_pod(&pod);
}

static bool wait_end(const struct rail_process *process, int wait_ms)
{
	RAIL_CLOSE int pidfd = (int)syscall(SYS_pidfd_open, process->pid, 0);
	struct pollfd watched = {.fd = pidfd, .events = POLLIN};

	return pidfd < 0 || poll(&watched, 1, wait_ms) == 1;
}

Test(wg_userspace, process_ends_with_its_netns)
{
	become_host();
	struct pod pod = make_pod("fd00::a");

	close(pod.netns_fd);
	cr_assert(wait_end(&pod.interface.process, 10000));
	(void)waitpid(pod.interface.process.pid, NULL, 0);
	assert_ok(userspace->destroy(-1, &pod.interface, &failure));
	assert_nothing_left(-1, &pod.interface);
}

Test(wg_userspace, dead_process_is_noticed)
{
	become_host();
	struct pod pod = make_pod("fd00::a");
	struct rail_peer_change change = {.kind = RAIL_PEER_REMOVE};
	struct rail_changes changes = {.changes = &change, .count = 1};
	struct rail_device device;

	cr_assert_eq(kill(pod.interface.process.pid, SIGKILL), 0);
	(void)waitpid(pod.interface.process.pid, NULL, 0);
	/* A persistent link of the same name and alias, so that only the process is missing. */
	assert_command(pod.netns_fd, "ip tuntap add dev mesh0 mode tun && "
				     "ip link set dev mesh0 alias railway:test");
	cr_assert_eq(userspace->verify(pod.netns_fd, &pod.interface, NULL), -ESRCH);
	cr_assert_eq(userspace->read(pod.netns_fd, &pod.interface, &device, NULL), -ENODEV);
	cr_assert_eq(userspace->apply(pod.netns_fd, &pod.interface, &changes, NULL), -ENODEV);
	destroy_pod(&pod);
}

Test(wg_userspace, another_process_of_the_number_is_left)
{
	become_host();
	struct pod pod = make_pod("fd00::a");
	struct rail_interface stale = pod.interface;

	stale.process.start_time--;
	stale.device_name[0] = '\0';
	cr_assert_eq(userspace->verify(pod.netns_fd, &stale, NULL), -ESRCH);
	assert_ok(userspace->destroy(-1, &stale, &failure));
	cr_assert(rail_process_alive(&pod.interface.process));
	destroy_pod(&pod);
}

/* A process that is stopped must fail the call, not hang it. */
Test(wg_userspace, hung_process_meets_the_deadline)
{
	become_host();
	struct pod pod = make_pod("fd00::a");
	struct rail_error error = RAIL_ERROR_NONE;
	struct rail_device device;
	pid_t pid = pod.interface.process.pid;
	int64_t start = rail_monotonic_ms();
	int status;

	cr_assert_eq(kill(pid, SIGSTOP), 0);
	cr_assert_eq(waitpid(pid, &status, WUNTRACED), pid);
	cr_assert(WIFSTOPPED(status));
	cr_assert_eq(userspace->read(pod.netns_fd, &pod.interface, &device, &error), -ETIMEDOUT);
	cr_assert_eq(error.code, RAIL_CODE_TRY_AGAIN);
	cr_assert_lt(rail_monotonic_ms() - start, 2 * RAIL_UAPI_DEADLINE_MS);
	destroy_pod(&pod);
}

Test(wg_userspace, listen_port_is_one_of_those_given)
{
	become_host();
	uint16_t ports[] = {40000, 40001};
	struct rail_interface interfaces[3];
	int netns_fds[3];
	struct rail_error error = RAIL_ERROR_NONE;

	for (size_t i = 0; i < 3; i++) {
		netns_fds[i] = make_netns();
		struct rail_interface_request request = request_for(netns_fds[i]);
		request.listen_ports = ports;
		request.listen_port_count = 2;
		int result = userspace->create(&request, NULL, NULL, &interfaces[i], &error);
		if (i < 2) {
			cr_assert_eq(result, 0, "%s", error.message);
			cr_assert(interfaces[i].listen_port == 40000 ||
				  interfaces[i].listen_port == 40001);
		} else {
			cr_assert_eq(result, -EADDRINUSE);
			cr_assert_eq(error.code, RAIL_CODE_TRY_AGAIN);
			assert_nothing_left(netns_fds[i], &interfaces[i]);
		}
	}
	cr_assert_neq(interfaces[0].listen_port, interfaces[1].listen_port);
	for (size_t i = 0; i < 2; i++) {
		assert_ok(userspace->destroy(netns_fds[i], &interfaces[i], &failure));
		(void)waitpid(interfaces[i].process.pid, NULL, 0);
	}
}

Test(wg_userspace, many_changes_are_applied_in_order)
{
	enum { PEERS = 1500 };
	become_host();
	struct pod pod = make_pod("fd00::a");
	struct rail_endpoint none = {.family = 0};
	struct rail_device want = {.peer_count = 0};
	struct rail_device have;
	struct rail_changes changes;

	for (uint32_t i = 0; i < PEERS; i++) {
		struct rail_key key = {.bytes = {1}};
		struct in6_addr address = pod.address;

		memcpy(&key.bytes[4], &i, sizeof(i));
		memcpy(&address.s6_addr[8], &i, sizeof(i));
		cr_assert_eq(rail_device_add_peer(&want, &key, &none, &address), 0);
	}
	for (int round = 0; round < 2; round++) {
		assert_ok(userspace->read(pod.netns_fd, &pod.interface, &have, &failure));
		assert_ok(rail_device_difference(&have, &want, 0, &changes, &failure));
		cr_assert_eq(changes.count, round == 0 ? PEERS : 0);
		assert_ok(userspace->apply(pod.netns_fd, &pod.interface, &changes, &failure));
		rail_changes_done(&changes);
		rail_device_done(&have);
	}
	rail_device_done(&want);
	assert_ok(userspace->read(pod.netns_fd, &pod.interface, &have, &failure));
	assert_ok(rail_device_difference(&have, &want, 0, &changes, &failure));
	assert_ok(userspace->apply(pod.netns_fd, &pod.interface, &changes, &failure));
	rail_changes_done(&changes);
	rail_device_done(&have);
	assert_ok(userspace->read(pod.netns_fd, &pod.interface, &have, &failure));
	cr_assert_eq(have.peer_count, 0);
	destroy_pod(&pod);
}

Test(wg_userspace, invalid_requests_are_refused)
{
	become_host();
	int netns_fd = make_netns();
	struct rail_interface interface;
	struct rail_interface_request good = request_for(netns_fd);
	struct rail_interface_request bad;

	bad = good;
	bad.name = "name-of-16-bytes";
	cr_assert_eq(userspace->create(&bad, NULL, NULL, &interface, NULL), -EINVAL);
	bad = good;
	bad.alias = "";
	cr_assert_eq(userspace->create(&bad, NULL, NULL, &interface, NULL), -EINVAL);
	bad = good;
	bad.mtu = 1279;
	cr_assert_eq(userspace->create(&bad, NULL, NULL, &interface, NULL), -EINVAL);
	bad = good;
	bad.netns_fd = -1;
	cr_assert_eq(userspace->create(&bad, NULL, NULL, &interface, NULL), -EBADF);
}

Test(wg_userspace, taken_name_is_refused_and_undone)
{
	become_host();
	int netns_fd = make_netns();
	struct rail_interface_request request = request_for(netns_fd);
	struct rail_interface interface;

	assert_command(netns_fd, "ip tuntap add dev mesh0 mode tun");
	cr_assert_eq(userspace->create(&request, NULL, NULL, &interface, NULL), -EEXIST);
	cr_assert(link_there(netns_fd, "mesh0"));
	cr_assert_not(link_there(netns_fd, interface.device_name));
	cr_assert_not(socket_there(&interface));
	cr_assert_not(rail_process_alive(&interface.process));
}
