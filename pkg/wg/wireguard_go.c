#include "pkg/wg/wireguard_go.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/close_range.h>
#include <linux/if_tun.h>
#include <net/if.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "pkg/base/cleanup.h"
#include "pkg/base/file.h"

enum {
	DEADLINE_MS = 5000,
	/* Above every number that a child gets, so that none is overwritten before it is moved. */
	SAFE_FD = 16,
	DESCRIPTORS_MAXIMUM = 5,
	VERSION_TEXT_SIZE = 1024,
	FIRST_RELEASE_WITHOUT_HEADER = 20230223,
	CHILD_FAILED = 127,
};

/* ---- finding it ---- */

static bool is_program(const char *path)
{
	struct stat status;

	return stat(path, &status) == 0 && S_ISREG(status.st_mode) && access(path, X_OK) == 0;
}

static bool find_in(const char *directories, char ret_path[PATH_MAX])
{
	while (*directories != '\0') {
		size_t length = strcspn(directories, ":");

		/* Relative entries of PATH mean whatever directory a runtime stands in. */
		if (directories[0] == '/' && length + sizeof("/wireguard-go") <= PATH_MAX) {
			(void)snprintf(ret_path, PATH_MAX, "%.*s/wireguard-go", (int)length,
				       directories);
			if (is_program(ret_path))
				return true;
		}
		directories += length;
		directories += *directories == ':';
	}
	return false;
}

int rail_wireguard_go_find(char ret_path[PATH_MAX], struct rail_error *error)
{
	const char *path = getenv("PATH");

	if (path != NULL && find_in(path, ret_path))
		return 0;
	if (find_in("/usr/bin:/usr/sbin:/usr/local/bin", ret_path))
		return 0;
	return rail_fail(error, ENOENT,
			 "wireguard-go is neither on PATH nor in /usr/bin, /usr/sbin or "
			 "/usr/local/bin; install it (Debian: apt-get install wireguard-go)");
}

/* ---- starting programs ---- */

/* What a child does with itself; everything is made before the fork. */
struct start {
	const char *path;
	char *const *arguments;
	char *const *environment;
	int descriptors[DESCRIPTORS_MAXIMUM]; /* become 0, 1, ... */
	int descriptor_count;
	int control_fd;
	bool gated; /* waits for a byte before it executes the program */
};

/* Only async-signal-safe calls from here on (signal-safety(7)). */
__attribute__((noreturn)) static void fail_in_child(int control_fd)
{
	int errnum = errno;

	(void)!write(control_fd, &errnum, sizeof(errnum));
	_exit(CHILD_FAILED);
}

__attribute__((noreturn)) static void run_child(struct start *start)
{
	struct sigaction plain = {.sa_handler = SIG_DFL};
	sigset_t none;
	int control_fd = fcntl(start->control_fd, F_DUPFD, SAFE_FD);

	if (control_fd < 0)
		fail_in_child(start->control_fd);
	for (int i = 0; i < start->descriptor_count; i++) {
		start->descriptors[i] = fcntl(start->descriptors[i], F_DUPFD, SAFE_FD);
		if (start->descriptors[i] < 0)
			fail_in_child(control_fd);
	}
	for (int i = 0; i < start->descriptor_count; i++)
		if (dup2(start->descriptors[i], i) < 0)
			fail_in_child(control_fd);
	if (dup3(control_fd, start->descriptor_count, O_CLOEXEC) < 0)
		fail_in_child(control_fd);
	control_fd = start->descriptor_count;
	/* The runtime waits for the end of every pipe that it gave us. */
	if (close_range((unsigned int)control_fd + 1, ~0U, 0) < 0 || chdir("/") < 0)
		fail_in_child(control_fd);
	(void)umask(077);
	(void)setsid();

	for (int number = 1; number < NSIG; number++)
		(void)sigaction(number, &plain, NULL);
	(void)sigemptyset(&none);
	(void)sigprocmask(SIG_SETMASK, &none, NULL);

	if (start->gated) {
		char go;
		ssize_t got;

		do {
			got = read(control_fd, &go, 1);
		} while (got < 0 && errno == EINTR);
		if (got != 1)
			_exit(CHILD_FAILED);
	}
	(void)execve(start->path, start->arguments, start->environment);
	fail_in_child(control_fd);
}

static int start_child(struct start *start, struct rail_wireguard_go *ret_child,
		       struct rail_error *error)
{
	int pair[2];
	sigset_t all;
	sigset_t before;

	if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair) < 0)
		return rail_fail_errno(error, errno, "start %s", start->path);
	start->control_fd = pair[1];

	/* No handler of the caller's may run in the child. */
	(void)sigfillset(&all);
	(void)sigprocmask(SIG_SETMASK, &all, &before);
	pid_t pid = fork();
	if (pid == 0)
		run_child(start);
	int errnum = errno;
	(void)sigprocmask(SIG_SETMASK, &before, NULL);

	(void)close(pair[1]);
	if (pid < 0) {
		(void)close(pair[0]);
		return rail_fail_errno(error, errnum, "start %s", start->path);
	}
	*ret_child = (struct rail_wireguard_go){.pid = pid, .control_fd = pair[0]};
	return 0;
}

static int wait_readable(int fd, int64_t end_ms, struct rail_error *error)
{
	for (;;) {
		struct pollfd watched = {.fd = fd, .events = POLLIN};
		int64_t left_ms = end_ms - rail_monotonic_ms();
		int count = left_ms <= 0 ? 0 : poll(&watched, 1, (int)left_ms);

		if (count > 0)
			return 0;
		if (count == 0)
			return rail_fail_code(error, RAIL_CODE_TRY_AGAIN, ETIMEDOUT,
					      "wireguard-go does not start");
		if (errno != EINTR)
			return rail_fail_errno(error, errno, "wait for wireguard-go");
	}
}

int rail_wireguard_go_release(struct rail_wireguard_go *child, struct rail_error *error)
{
	RAIL_CLOSE int fd = RAIL_TAKE_FD(child->control_fd);
	int errnum = 0;

	if (send(fd, "", 1, MSG_NOSIGNAL) != 1)
		return rail_fail_errno(error, errno, "start wireguard-go");

	int result = wait_readable(fd, rail_monotonic_ms() + DEADLINE_MS, error);
	if (result < 0)
		return result;

	/* The end of the stream: the descriptor went with the execve that succeeded. */
	ssize_t got = recv(fd, &errnum, sizeof(errnum), 0);
	if (got < 0)
		return rail_fail_errno(error, errno, "start wireguard-go");
	if (got > 0)
		return rail_fail_errno(error, errnum, "execute wireguard-go");
	return 0;
}

void rail_wireguard_go_kill(struct rail_wireguard_go *child)
{
	if (child->control_fd >= 0)
		(void)close(child->control_fd);
	/* Not reaped yet, so the number is still its own. */
	if (child->pid > 0 && waitpid(child->pid, NULL, WNOHANG) == 0) {
		(void)kill(child->pid, SIGKILL);
		while (waitpid(child->pid, NULL, 0) < 0 && errno == EINTR)
			;
	}
	*child = (struct rail_wireguard_go){.control_fd = -EBADF};
}

int rail_wireguard_go_fork(const char *path, const char *device_name, int tun_fd, int uapi_fd,
			   struct rail_wireguard_go *ret_child, struct rail_error *error)
{
	RAIL_CLOSE int null_fd = open("/dev/null", O_RDWR | O_CLOEXEC);
	char device[IFNAMSIZ];
	char program[] = "wireguard-go";
	char foreground[] = "-f";
	char variable_path[] = "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";
	char variable_tun[] = "WG_TUN_FD=3";
	char variable_uapi[] = "WG_UAPI_FD=4";
	char variable_level[] = "LOG_LEVEL=silent";
	char *arguments[] = {program, foreground, device, NULL};
	char *environment[] = {variable_path, variable_tun, variable_uapi, variable_level, NULL};

	if (null_fd < 0)
		return rail_fail_errno(error, errno, "open /dev/null");
	(void)snprintf(device, sizeof(device), "%s", device_name);

	struct start start = {.path = path,
			      .arguments = arguments,
			      .environment = environment,
			      .descriptors = {null_fd, null_fd, null_fd, tun_fd, uapi_fd},
			      .descriptor_count = 5,
			      .gated = true};
	return start_child(&start, ret_child, error);
}

/* ---- its version ---- */

int rail_wireguard_go_tun_flags(const char *version_text, short *ret_flags,
				struct rail_error *error)
{
	static const char before[] = "wireguard-go v0.0.";
	const char *digits = version_text + sizeof(before) - 1;
	unsigned int date = 0;

	if (strncmp(version_text, before, sizeof(before) - 1) != 0 ||
	    strspn(digits, "0123456789") != 8)
		return rail_fail(error, EINVAL,
				 "wireguard-go calls itself '%.*s', which is no version that is "
				 "known here; known are those like 'wireguard-go v0.0.20220316'",
				 (int)strcspn(version_text, "\n"), version_text);
	for (size_t i = 0; i < 8; i++)
		date = date * 10 + (unsigned int)(digits[i] - '0');

	*ret_flags =
		date < FIRST_RELEASE_WITHOUT_HEADER ? IFF_TUN : IFF_TUN | IFF_NO_PI | IFF_VNET_HDR;
	return 0;
}

static int read_version(int fd, char text[static VERSION_TEXT_SIZE], struct rail_error *error)
{
	int64_t end_ms = rail_monotonic_ms() + DEADLINE_MS;
	size_t size = 0;

	while (size < VERSION_TEXT_SIZE - 1) {
		int result = wait_readable(fd, end_ms, error);

		if (result < 0)
			return result;

		ssize_t got = read(fd, text + size, VERSION_TEXT_SIZE - 1 - size);
		if (got < 0 && errno == EINTR)
			continue;
		if (got < 0)
			return rail_fail_errno(error, errno, "read the version of wireguard-go");
		if (got == 0)
			break;
		size += (size_t)got;
	}
	text[size] = '\0';
	return 0;
}

int rail_wireguard_go_probe(const char *path, short *ret_flags, struct rail_error *error)
{
	RAIL_CLOSE int null_fd = open("/dev/null", O_RDWR | O_CLOEXEC);
	char program[] = "wireguard-go";
	char version[] = "--version";
	char *arguments[] = {program, version, NULL};
	char *environment[] = {NULL};
	char text[VERSION_TEXT_SIZE];
	struct rail_wireguard_go child;
	int pipe_fds[2];

	if (null_fd < 0 || pipe2(pipe_fds, O_CLOEXEC) < 0)
		return rail_fail_errno(error, errno, "ask wireguard-go for its version");

	RAIL_CLOSE int read_fd = pipe_fds[0];
	struct start start = {.path = path,
			      .arguments = arguments,
			      .environment = environment,
			      .descriptors = {null_fd, pipe_fds[1], null_fd},
			      .descriptor_count = 3};
	int result = start_child(&start, &child, error);
	(void)close(pipe_fds[1]);
	if (result < 0)
		return result;

	/* A program that cannot be executed prints nothing, which is an unknown version. */
	result = read_version(read_fd, text, error);
	rail_wireguard_go_kill(&child);
	return result < 0 ? result : rail_wireguard_go_tun_flags(text, ret_flags, error);
}
