#include "plugins/railway-dns/resolverd/sandbox.h"

#include <errno.h>
#include <fcntl.h>
#include <grp.h>
#include <linux/capability.h>
#include <signal.h>
#include <stdbool.h>
#include <stdint.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "pkg/base/cleanup.h"

#define CAPABILITY(number) (UINT64_C(1) << (number))

static const uint64_t supervisor_capabilities =
	CAPABILITY(CAP_SYS_ADMIN) | CAPABILITY(CAP_NET_BIND_SERVICE) | CAPABILITY(CAP_NET_ADMIN) |
	CAPABILITY(CAP_SYS_PTRACE) | CAPABILITY(CAP_SETUID) | CAPABILITY(CAP_SETGID) |
	CAPABILITY(CAP_SETPCAP) | CAPABILITY(CAP_KILL);

static int get_capabilities(struct __user_cap_data_struct data[2])
{
	struct __user_cap_header_struct header = {.version = _LINUX_CAPABILITY_VERSION_3};

	return syscall(SYS_capget, &header, data) < 0 ? -errno : 0;
}

static int set_capabilities(uint64_t set)
{
	struct __user_cap_header_struct header = {.version = _LINUX_CAPABILITY_VERSION_3};
	struct __user_cap_data_struct data[2] = {
		{.effective = (uint32_t)set, .permitted = (uint32_t)set},
		{.effective = (uint32_t)(set >> 32), .permitted = (uint32_t)(set >> 32)},
	};

	return syscall(SYS_capset, &header, data) < 0 ? -errno : 0;
}

static int raise_file_limit(struct rail_error *error)
{
	struct rlimit limit;

	if (getrlimit(RLIMIT_NOFILE, &limit) < 0)
		return rail_fail_errno(error, errno, "read the limit of open files");
	limit.rlim_cur = limit.rlim_max;
	if (setrlimit(RLIMIT_NOFILE, &limit) < 0)
		return rail_fail_errno(error, errno, "raise the limit of open files");
	return 0;
}

int rail_sandbox_supervisor(struct rail_error *error)
{
	struct __user_cap_data_struct data[2];
	int result = raise_file_limit(error);

	if (result < 0)
		return result;
	result = get_capabilities(data);
	if (result < 0)
		return rail_fail_errno(error, -result, "read the own capabilities");

	uint64_t permitted = data[0].permitted | (uint64_t)data[1].permitted << 32;
	uint64_t missing = supervisor_capabilities & ~permitted;

	if (missing != 0)
		return rail_fail(
			error, EPERM,
			"the resolver needs root's capabilities (missing: 0x%llx of "
			"0x%llx): start it as root, and let its unit keep SYS_ADMIN, "
			"NET_BIND_SERVICE, NET_ADMIN, SYS_PTRACE, SETUID, SETGID, SETPCAP and KILL",
			(unsigned long long)missing, (unsigned long long)supervisor_capabilities);
	result = set_capabilities(supervisor_capabilities);
	if (result < 0)
		return rail_fail_errno(error, -result, "give capabilities up");
	if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) < 0)
		return rail_fail_errno(error, errno, "set no_new_privs");
	return 0;
}

static int set_limit(__rlimit_resource_t resource, rlim_t value, struct rail_error *error)
{
	const struct rlimit limit = {.rlim_cur = value, .rlim_max = value};

	if (setrlimit(resource, &limit) < 0)
		return rail_fail_errno(error, errno, "set resource limit %d", (int)resource);
	return 0;
}

static int set_limits(bool writes, struct rail_error *error)
{
	struct stat log;
	int result = set_limit(RLIMIT_CORE, 0, error);

	/* A sanitizer writes reports, and looks for leaks from a thread of its own. */
	if (RAIL_WITH_SANITIZER)
		return result;
	/* Where the log is a file, the child writes to that one. */
	writes = writes || (fstat(STDERR_FILENO, &log) == 0 && S_ISREG(log.st_mode));
	if (result == 0 && !writes)
		result = set_limit(RLIMIT_FSIZE, 0, error);
	if (result == 0)
		result = set_limit(RLIMIT_NPROC, 0, error);
	return result;
}

static int set_standard_files(struct rail_error *error)
{
	RAIL_CLOSE int null = open("/dev/null", O_RDWR | O_CLOEXEC);

	if (null < 0)
		return rail_fail_errno(error, errno, "open /dev/null");
	if (dup2(null, STDIN_FILENO) < 0 || dup2(null, STDOUT_FILENO) < 0)
		return rail_fail_errno(error, errno, "set the child's standard files");
	return 0;
}

int rail_sandbox_descriptors(const int descriptors[RAIL_CHILD_DESCRIPTORS_MAXIMUM],
			     struct rail_error *error)
{
	const int end = RAIL_CHILD_CHANNEL + RAIL_CHILD_DESCRIPTORS_MAXIMUM;
	int high[RAIL_CHILD_DESCRIPTORS_MAXIMUM];
	int count = 0;
	int result = set_standard_files(error);

	if (result < 0)
		return result;

	/* Above all of their places first: one may be in another's. */
	for (; count < RAIL_CHILD_DESCRIPTORS_MAXIMUM && descriptors[count] >= 0; count++) {
		high[count] = fcntl(descriptors[count], F_DUPFD_CLOEXEC, end);
		if (high[count] < 0)
			return rail_fail_errno(error, errno, "set the child's descriptors");
	}
	for (int i = 0; i < count; i++)
		if (dup2(high[i], RAIL_CHILD_CHANNEL + i) < 0)
			return rail_fail_errno(error, errno, "set the child's descriptors");
	if (close_range((unsigned int)(RAIL_CHILD_CHANNEL + count), ~0U, 0) < 0)
		return rail_fail_errno(error, errno, "close the child's inherited files");
	return 0;
}

static int set_user(uid_t uid, struct rail_error *error)
{
	gid_t gid = (gid_t)uid;

	for (int capability = 0; capability <= 63; capability++)
		if (prctl(PR_CAPBSET_DROP, capability, 0, 0, 0) < 0 && errno != EINVAL)
			return rail_fail_errno(error, errno, "drop capability %d for good",
					       capability);
	if (prctl(PR_CAP_AMBIENT, PR_CAP_AMBIENT_CLEAR_ALL, 0, 0, 0) < 0)
		return rail_fail_errno(error, errno, "clear the ambient capabilities");
	if (setgroups(0, NULL) < 0 || setresgid(gid, gid, gid) < 0 || setresuid(uid, uid, uid) < 0)
		return rail_fail_errno(error, errno, "become user and group %u", (unsigned int)uid);

	int result = set_capabilities(0);

	if (result < 0)
		return rail_fail_errno(error, -result, "give all capabilities up");
	if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) < 0)
		return rail_fail_errno(error, errno, "set no_new_privs");
	return 0;
}

int rail_sandbox_before_exec(uid_t uid, bool writes, struct rail_error *error)
{
	sigset_t none;

	/* Signals to the whole group are for the supervisor; its children end when that does. */
	(void)signal(SIGTERM, SIG_IGN);
	(void)signal(SIGINT, SIG_IGN);
	(void)signal(SIGHUP, SIG_IGN);
	(void)signal(SIGPIPE, SIG_IGN);
	(void)sigemptyset(&none);
	(void)sigprocmask(SIG_SETMASK, &none, NULL);
	if (chdir("/") < 0)
		return rail_fail_errno(error, errno, "chdir /");

	int result = set_user(uid, error);

	/* After the change of user, at which the kernel compares the limit of processes with the
	 * number of the user's. */
	if (result == 0)
		result = set_limits(writes, error);
	return result;
}

int rail_sandbox_tie(pid_t parent, struct rail_error *error)
{
	/* A change of user would make the kernel forget it. */
	if (prctl(PR_SET_PDEATHSIG, SIGKILL, 0, 0, 0) < 0)
		return rail_fail_errno(error, errno, "tie the worker to its supervisor");
	if (getppid() != parent)
		return rail_fail(error, ESRCH, "the supervisor is gone");
	return 0;
}

int rail_sandbox_check(struct rail_error *error)
{
	struct __user_cap_data_struct data[2];
	int result = get_capabilities(data);

	if (result < 0)
		return rail_fail_errno(error, -result, "read the child's capabilities");

	uint32_t any = 0;

	for (int i = 0; i < 2; i++)
		any |= data[i].effective | data[i].permitted | data[i].inheritable;
	if (any != 0 || getuid() == 0 || geteuid() == 0 || getgid() == 0 || getegid() == 0)
		return rail_fail(error, EPERM, "the child has privileges left");
	if (prctl(PR_GET_NO_NEW_PRIVS, 0, 0, 0, 0) != 1)
		return rail_fail(error, EPERM, "the child could gain privileges");
	/* execve(2) made it dumpable again. (A leak check reads what then is root's in /proc.) */
	if (!RAIL_WITH_SANITIZER && prctl(PR_SET_DUMPABLE, 0, 0, 0, 0) < 0)
		return rail_fail_errno(error, errno, "make the child's memory private");
	return 0;
}
