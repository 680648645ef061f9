#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <signal.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/ptrace.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "plugins/railway-dns/resolverd/sandbox.h"

/*
 * What the worker's system-call filter lets through: each call is tried in a process of its own
 * behind the same filter. Prints "<call> <outcome>": allowed, killed, or the error's name.
 *
 *     filter_probe             the worker's filter
 *     filter_probe writer      that of the query log's writer
 *     filter_probe landlock    Landlock alone
 */

#define EXECUTABLE_SIZE 4096

static int udp = -1; /* made before the filter, as the pods' sockets are */
static pid_t parent;

static long try_socket(int family, int type, int protocol)
{
	return syscall(SYS_socket, family, type, protocol);
}

static long unix_stream(void)
{
	return try_socket(AF_UNIX, SOCK_STREAM, 0);
}

static long unix_datagram(void)
{
	return try_socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0);
}

static long unix_seqpacket(void)
{
	return try_socket(AF_UNIX, SOCK_SEQPACKET, 0);
}

/* The kernel looks at the lower half of the register. */
static long unix_by_upper_half(void)
{
	return syscall(SYS_socket, (long)(UINT64_C(1) << 32 | AF_UNIX), (long)SOCK_STREAM, 0L);
}

static long unix_pair(void)
{
	int pair[2];

	return socketpair(AF_UNIX, SOCK_STREAM, 0, pair);
}

static long netlink(void)
{
	return try_socket(AF_NETLINK, SOCK_RAW, 0);
}

static long packet(void)
{
	return try_socket(AF_PACKET, SOCK_DGRAM, 0);
}

static long vsock(void)
{
	return try_socket(AF_VSOCK, SOCK_STREAM, 0);
}

static long raw(void)
{
	return try_socket(AF_INET, SOCK_RAW, IPPROTO_ICMP);
}

static long ping(void)
{
	return try_socket(AF_INET, SOCK_DGRAM, IPPROTO_ICMP);
}

static long mptcp(void)
{
	return try_socket(AF_INET6, SOCK_STREAM, IPPROTO_MPTCP);
}

static long udp_socket(void)
{
	return try_socket(AF_INET, SOCK_DGRAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
}

static long tcp_socket(void)
{
	return try_socket(AF_INET6, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
}

static long bind_port(void)
{
	const struct sockaddr_in6 any = {.sin6_family = AF_INET6};

	return bind(udp, (const struct sockaddr *)&any, sizeof(any));
}

static long listen_port(void)
{
	return listen(udp, 1);
}

static long attach_filter(void)
{
	return setsockopt(udp, SOL_SOCKET, SO_ATTACH_FILTER, "", 0);
}

static long linger(void)
{
	const struct linger now = {.l_onoff = 1};

	return setsockopt(udp, SOL_SOCKET, SO_LINGER, &now, sizeof(now));
}

static long peer_credentials(void)
{
	struct ucred peer;
	socklen_t size = sizeof(peer);

	return getsockopt(udp, SOL_SOCKET, SO_PEERCRED, &peer, &size);
}

static long set_nonblocking(void)
{
	return fcntl(udp, F_SETFL, O_NONBLOCK);
}

static long duplicate(void)
{
	return dup(udp);
}

static long control(void)
{
	int size;

	return ioctl(udp, FIONREAD, &size);
}

static long open_file(void)
{
	return syscall(SYS_openat, AT_FDCWD, "/etc/passwd", O_RDONLY);
}

static long memory_file(void)
{
	return memfd_create("probe", 0);
}

static long execute(void)
{
	char name[] = "true";
	char *arguments[] = {name, NULL};

	return execve("/bin/true", arguments, NULL);
}

static long new_process(void)
{
	return syscall(SYS_clone, SIGCHLD, NULL, NULL, NULL, NULL);
}

static long new_process_3(void)
{
	return syscall(SYS_clone3, NULL, 0);
}

static long trace(void)
{
	return syscall(SYS_ptrace, PTRACE_TRACEME, 0, NULL, NULL);
}

static long read_memory(void)
{
	return syscall(SYS_process_vm_readv, parent, NULL, 0, NULL, 0, 0);
}

static long signal_other(void)
{
	return kill(parent, 0);
}

static long signal_thread_of_other(void)
{
	return syscall(SYS_tgkill, parent, parent, 0);
}

static long signal_itself(void)
{
	return syscall(SYS_tgkill, getpid(), syscall(SYS_gettid), 0);
}

static long process_descriptor(void)
{
	return syscall(SYS_pidfd_open, parent, 0);
}

static long steal_descriptor(void)
{
	return syscall(SYS_pidfd_getfd, udp, 0, 0);
}

static long enter_namespace(void)
{
	return syscall(SYS_setns, udp, 0);
}

static long new_namespace(void)
{
	return syscall(SYS_unshare, 0);
}

static long io_uring(void)
{
	return syscall(SYS_io_uring_setup, 1, NULL);
}

static long load_bpf(void)
{
	return syscall(SYS_bpf, 0, NULL, 0);
}

static long make_dumpable(void)
{
	return prctl(PR_SET_DUMPABLE, 1, 0, 0, 0);
}

static long raise_limit(void)
{
	struct rlimit limit;

	return getrlimit(RLIMIT_NOFILE, &limit);
}

static long map_code(void)
{
	return mmap(NULL, EXECUTABLE_SIZE, PROT_READ | PROT_EXEC, MAP_PRIVATE | MAP_ANONYMOUS, -1,
		    0) == MAP_FAILED
		       ? -1
		       : 0;
}

static long map_data(void)
{
	return mmap(NULL, EXECUTABLE_SIZE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1,
		    0) == MAP_FAILED
		       ? -1
		       : 0;
}

#ifdef __x86_64__
/* The other ABI of the same processor, whose calls have other numbers. */
static long other_abi(void)
{
	return syscall(0x40000000 | SYS_getpid);
}
#endif

static const struct {
	const char *name;
	long (*call)(void);
} calls[] = {
	{"unix_stream", unix_stream},
	{"unix_datagram", unix_datagram},
	{"unix_seqpacket", unix_seqpacket},
	{"unix_by_upper_half", unix_by_upper_half},
	{"unix_pair", unix_pair},
	{"netlink", netlink},
	{"packet", packet},
	{"vsock", vsock},
	{"raw", raw},
	{"ping", ping},
	{"mptcp", mptcp},
	{"udp_socket", udp_socket},
	{"tcp_socket", tcp_socket},
	{"bind", bind_port},
	{"listen", listen_port},
	{"attach_filter", attach_filter},
	{"linger", linger},
	{"peer_credentials", peer_credentials},
	{"set_nonblocking", set_nonblocking},
	{"duplicate", duplicate},
	{"ioctl", control},
	{"open", open_file},
	{"memory_file", memory_file},
	{"execve", execute},
	{"clone", new_process},
	{"clone3", new_process_3},
	{"ptrace", trace},
	{"read_memory", read_memory},
	{"signal_other", signal_other},
	{"signal_thread_of_other", signal_thread_of_other},
	{"signal_itself", signal_itself},
	{"pidfd_open", process_descriptor},
	{"pidfd_getfd", steal_descriptor},
	{"setns", enter_namespace},
	{"unshare", new_namespace},
	{"io_uring", io_uring},
	{"bpf", load_bpf},
	{"make_dumpable", make_dumpable},
	{"limits", raise_limit},
	{"map_code", map_code},
	{"map_data", map_data},
#ifdef __x86_64__
	{"other_abi", other_abi},
#endif
};

static int restrict_landlock(struct rail_error *error)
{
	int version;

	return rail_sandbox_landlock(&version, error);
}

static _Noreturn void probe(long (*call)(void), int (*restrict_process)(struct rail_error *))
{
	struct rail_error error = RAIL_ERROR_NONE;

	if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) < 0 || restrict_process(&error) < 0) {
		(void)fprintf(stderr, "no filter: %s\n", error.message);
		_exit(EXIT_FAILURE);
	}
	errno = 0;
	_exit(call() >= 0 ? 0 : errno);
}

int main(int argc, char **argv)
{
	int (*restrict_process)(struct rail_error *) = rail_sandbox_filter;

	if (argc > 1)
		restrict_process = strcmp(argv[1], "writer") == 0 ? rail_sandbox_filter_writer
								  : restrict_landlock;
	parent = getpid();
	udp = socket(AF_INET6, SOCK_DGRAM | SOCK_CLOEXEC, 0);
	if (udp < 0)
		return EXIT_FAILURE;
	for (size_t i = 0; i < sizeof(calls) / sizeof(calls[0]); i++) {
		pid_t child = fork();
		int status;

		if (child == 0)
			probe(calls[i].call, restrict_process);
		if (child < 0 || waitpid(child, &status, 0) != child)
			return EXIT_FAILURE;
		if (WIFSIGNALED(status))
			(void)printf("%s %s\n", calls[i].name,
				     WTERMSIG(status) == SIGSYS ? "killed" : "crashed");
		else if (WEXITSTATUS(status) == 0)
			(void)printf("%s allowed\n", calls[i].name);
		else
			(void)printf("%s %s\n", calls[i].name,
				     strerrorname_np(WEXITSTATUS(status)));
	}
	return EXIT_SUCCESS;
}
