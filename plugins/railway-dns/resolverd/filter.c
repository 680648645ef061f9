#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <seccomp.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <unistd.h>

#include "plugins/railway-dns/resolverd/sandbox.h"

/*
 * The system calls of worker and query log's writer. What is not named here fails with EPERM, which
 * the C library and c-ares live with where they merely probe; what only an attacker would call ends
 * the process. The names are looked up at run time, so one list does for every architecture: those
 * that one lacks are left out.
 */

static const char *const of_worker[] = {
	/* the loop and its sockets */
	"epoll_wait", "epoll_pwait", "epoll_ctl", "recvfrom", "recvmsg", "recvmmsg",
	"sendmsg",    "sendmmsg",    "accept4",	  "connect",  "close",	 "writev",
};

static const char *const of_writer[] = {
	/* takes a part of a line away again */
	"ftruncate",
#if !RAIL_WITH_SANITIZER
	"lseek",
#endif
};

static const char *const of_both[] = {
	/* the log */
	"poll",
	"ppoll",
	"write",
	"sendto",
	/* memory */
	"brk",
	"munmap",
	"mremap",
	"madvise",
	/* time and chance */
	"clock_gettime",
	"gettimeofday",
	"time",
	"getrandom",
	/* the C library, and an orderly or disorderly end */
	"futex",
	"getpid",
	"gettid",
	"rt_sigaction",
	"rt_sigprocmask",
	"rt_sigreturn",
	"restart_syscall",
	"sigaltstack",
	"exit",
	"exit_group",
#if RAIL_WITH_SANITIZER
	/* AddressSanitizer reads /proc/self/maps and, to look for leaks at the end, stops the
	 * process from a thread of its own. */
	"open",
	"openat",
	"read",
	"fcntl",
	"tgkill",
	"readlink",
	"readlinkat",
	"lseek",
	"fstat",
	"stat",
	"newfstatat",
	"getdents",
	"getdents64",
	"getppid",
	"getuid",
	"prctl",
	"clone",
	"clone3",
	"ptrace",
	"wait4",
	"sched_yield",
	"sched_getaffinity",
	"getrlimit",
	"prlimit64",
	"dup",
	"dup2",
	"dup3",
	"process_vm_readv",
	"rseq",
	"set_robust_list",
#endif
};

static const char *const fatal[] = {
	"execve",      "execveat",
	"fork",	       "vfork",
	"setns",       "unshare",
	"mount",       "umount2",
	"pivot_root",  "chroot",
	"bpf",	       "perf_event_open",
	"userfaultfd", "io_uring_setup",
	"init_module", "finit_module",
	"kexec_load",  "keyctl",
	"add_key",     "open_by_handle_at",
	"pidfd_getfd", "process_vm_writev",
	"setuid",      "setresuid",
	"capset",
#if !RAIL_WITH_SANITIZER
	"clone",       "clone3",
	"ptrace",      "process_vm_readv",
#endif
};

static int add_names(scmp_filter_ctx filter, uint32_t action, const char *const *names,
		     size_t count)
{
	for (size_t i = 0; i < count; i++) {
		int number = seccomp_syscall_resolve_name(names[i]);

		/* A call that this architecture does not have, or a name that is newer than the
		 * library. */
		if (number < 0)
			continue;

		int result = seccomp_rule_add(filter, action, number, 0);

		if (result < 0)
			return result;
	}
	return 0;
}

/* That an argument has this value in the bits of the mask. The kernel takes 32 bits of these
 * arguments; the upper half of the register may hold anything. */
static struct scmp_arg_cmp argument(unsigned int index, uint32_t mask, uint32_t value)
{
	return (struct scmp_arg_cmp){
		.arg = index, .op = SCMP_CMP_MASKED_EQ, .datum_a = mask, .datum_b = value};
}

/* AF_UNIX above all is not among them, by which root's daemons are reached. */
static int add_sockets(scmp_filter_ctx filter)
{
	static const uint32_t families[] = {AF_INET, AF_INET6};
	static const uint32_t types[] = {SOCK_DGRAM, SOCK_STREAM};
	const uint32_t type_mask = ~(uint32_t)(SOCK_NONBLOCK | SOCK_CLOEXEC);

	for (size_t family = 0; family < 2; family++)
		for (size_t type = 0; type < 2; type++) {
			const struct scmp_arg_cmp conditions[] = {
				argument(0, UINT32_MAX, families[family]),
				argument(1, type_mask, types[type]),
				/* UDP and TCP; others have names of their own. */
				argument(2, UINT32_MAX, 0),
			};
			int result = seccomp_rule_add_array(filter, SCMP_ACT_ALLOW,
							    SCMP_SYS(socket), 3, conditions);

			if (result < 0)
				return result;
		}
	return 0;
}

static int add_socket_options(scmp_filter_ctx filter)
{
	static const struct {
		int call;
		uint32_t level;
		uint32_t name;
	} options[] = {
		{SCMP_SYS(setsockopt), SOL_SOCKET, SO_LINGER},
		{SCMP_SYS(setsockopt), IPPROTO_TCP, TCP_NODELAY},
		{SCMP_SYS(getsockopt), SOL_SOCKET, SO_ERROR},
	};

	for (size_t i = 0; i < sizeof(options) / sizeof(options[0]); i++) {
		const struct scmp_arg_cmp conditions[] = {
			argument(1, UINT32_MAX, options[i].level),
			argument(2, UINT32_MAX, options[i].name),
		};
		int result = seccomp_rule_add_array(filter, SCMP_ACT_ALLOW, options[i].call, 2,
						    conditions);

		if (result < 0)
			return result;
	}
	return 0;
}

/* For abort(3). Other processes of its user may be the worker of another daemon. */
static int add_own_end(scmp_filter_ctx filter)
{
#if RAIL_WITH_SANITIZER
	(void)filter;
	return 0;
#else
	const struct scmp_arg_cmp itself = argument(0, UINT32_MAX, (uint32_t)getpid());

	return seccomp_rule_add_array(filter, SCMP_ACT_ALLOW, SCMP_SYS(tgkill), 1, &itself);
#endif
}

static int add_memory(scmp_filter_ctx filter)
{
	static const int calls[] = {SCMP_SYS(mmap), SCMP_SYS(mprotect)};
	const struct scmp_arg_cmp no_code = argument(2, PROT_EXEC, 0);

	for (size_t i = 0; i < sizeof(calls) / sizeof(calls[0]); i++) {
		int result = seccomp_rule_add_array(filter, SCMP_ACT_ALLOW, calls[i], 1, &no_code);

		if (result < 0)
			return result;
	}
	return 0;
}

/* To the worker the file system is empty: for the libraries that look for their configuration. */
static int hide_files(scmp_filter_ctx filter)
{
#if RAIL_WITH_SANITIZER
	(void)filter;
	return 0;
#else
	static const char *const names[] = {"open", "openat", "openat2"};

	return add_names(filter, SCMP_ACT_ERRNO(ENOENT), names, sizeof(names) / sizeof(names[0]));
#endif
}

/* What only one of the two may do. */
typedef int (*add_own)(scmp_filter_ctx filter);

static int add_worker(scmp_filter_ctx filter)
{
	int result = add_names(filter, SCMP_ACT_ALLOW, of_worker,
			       sizeof(of_worker) / sizeof(of_worker[0]));

	if (result == 0)
		result = add_sockets(filter);
	return result == 0 ? add_socket_options(filter) : result;
}

static int add_writer(scmp_filter_ctx filter)
{
	return add_names(filter, SCMP_ACT_ALLOW, of_writer,
			 sizeof(of_writer) / sizeof(of_writer[0]));
}

static int load_filter(add_own add, struct rail_error *error)
{
	scmp_filter_ctx filter = seccomp_init(SCMP_ACT_ERRNO(EPERM));

	if (filter == NULL)
		return rail_fail(error, ENOMEM, "no memory for the system-call filter");

	int result = seccomp_attr_set(filter, SCMP_FLTATR_ACT_BADARCH, SCMP_ACT_KILL_PROCESS);

	/* A binary tree: some ten comparisons a call instead of one for each name. */
	if (result == 0)
		result = seccomp_attr_set(filter, SCMP_FLTATR_CTL_OPTIMIZE, 2);
	if (result == 0)
		result = add_names(filter, SCMP_ACT_ALLOW, of_both,
				   sizeof(of_both) / sizeof(of_both[0]));
	if (result == 0)
		result = add(filter);
	if (result == 0)
		result = add_names(filter, SCMP_ACT_KILL_PROCESS, fatal,
				   sizeof(fatal) / sizeof(fatal[0]));
	if (result == 0)
		result = add_memory(filter);
	if (result == 0)
		result = add_own_end(filter);
	if (result == 0)
		result = hide_files(filter);
	if (result == 0)
		result = seccomp_load(filter);
	seccomp_release(filter);
	if (result < 0)
		return rail_fail_errno(error, -result, "load the system-call filter");
	return 0;
}

int rail_sandbox_filter(struct rail_error *error)
{
	return load_filter(add_worker, error);
}

int rail_sandbox_filter_writer(struct rail_error *error)
{
	return load_filter(add_writer, error);
}
