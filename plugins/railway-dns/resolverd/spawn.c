#include "plugins/railway-dns/resolverd/spawn.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <time.h>

#include "pkg/base/cleanup.h"
#include "pkg/base/log.h"
#include "pkg/base/pause.h"

enum { ARGUMENTS_MAXIMUM = 32 };

int rail_child_open_log(const char *path, struct rail_error *error)
{
	/* For reading too: so a FIFO needs no reader, and a line that is not whole is seen. */
	int fd = open(path, O_RDWR | O_APPEND | O_CREAT | O_NONBLOCK | O_NOCTTY | O_CLOEXEC, 0600);

	if (fd < 0)
		return rail_fail_errno(error, errno,
				       "open the query log '%s' (root without CAP_DAC_OVERRIDE "
				       "must be able to, and the unit must let it)",
				       path);
	return fd;
}

/* In the new process, which ends where that fails. */
static int open_log(const struct rail_child *child, struct rail_error *error)
{
	rail_pause("log-opened");

	int fd = rail_child_open_log(child->log_path, error);

	if (fd < 0) {
		if (!child->log_failure_told)
			rail_log(RAIL_LOG_ERROR, "the query log stands still; it is tried again",
				 "error", error->message, NULL);
		_exit(RAIL_CHILD_NO_LOG);
	}
	/* It has the next free place, and stays. */
	return fcntl(fd, F_SETFD, 0) < 0
		       ? rail_fail_errno(error, errno, "keep the query log's descriptor")
		       : 0;
}

/* The new process. */
static _Noreturn void become_child(const struct rail_child *child, int channel, pid_t parent)
{
	struct rail_error error = RAIL_ERROR_NONE;
	const int descriptors[RAIL_CHILD_DESCRIPTORS_MAXIMUM] = {channel, child->descriptors[0],
								 child->descriptors[1]};
	char name[] = "railway-resolverd";
	char *arguments[] = {name, (char *)child->role, NULL};
	char *environment[] = {NULL};
	char **variables = RAIL_WITH_SANITIZER ? environ : environment;
	int result = rail_sandbox_descriptors(descriptors, &error);

	/* With no pod's sockets, which would keep its netns for as long as the disk hangs. */
	if (result == 0 && child->log_path != NULL)
		result = open_log(child, &error);
	if (result == 0)
		result = rail_sandbox_before_exec(child->uid, child->log_path != NULL, &error);
	if (result == 0 && child->tied)
		result = rail_sandbox_tie(parent, &error);
	if (result == 0) {
		(void)execve("/proc/self/exe", arguments, variables);
		(void)rail_fail_errno(&error, errno,
				      "execute this program as user %u (every user must be "
				      "allowed to execute its file)",
				      (unsigned int)child->uid);
	}
	rail_log(RAIL_LOG_ERROR, "a child cannot be started", "role", child->role, "error",
		 error.message, NULL);
	_exit(EXIT_FAILURE);
}

int rail_child_spawn(const struct rail_child *child, pid_t *ret_pid, int *ret_pidfd,
		     int *ret_channel, struct rail_error *error)
{
	int pair[2];

	if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC | SOCK_NONBLOCK, 0, pair) < 0)
		return rail_fail_errno(error, errno, "make a child's channel");

	RAIL_CLOSE int channel = pair[0];
	RAIL_CLOSE int other_end = pair[1];
	pid_t parent = getpid();
	pid_t pid = fork();

	if (pid < 0)
		return rail_fail_errno(error, errno, "fork");
	if (pid == 0)
		become_child(child, other_end, parent);

	/* Nobody else waits for this child, so its number is still its own. */
	int pidfd = (int)syscall(SYS_pidfd_open, pid, 0);

	if (pidfd < 0) {
		int result = rail_fail_errno(error, errno, "watch a child");

		(void)kill(pid, SIGKILL);
		(void)waitpid(pid, NULL, 0);
		return result;
	}
	*ret_pid = pid;
	*ret_pidfd = pidfd;
	*ret_channel = RAIL_TAKE_FD(channel);
	return 0;
}

void rail_child_kill(int pidfd)
{
	(void)syscall(SYS_pidfd_send_signal, pidfd, SIGKILL, NULL, 0);
}

bool rail_child_wait(int pidfd, int limit_ms)
{
	const struct timespec limit = {.tv_sec = limit_ms / 1000};
	struct pollfd gone = {.fd = pidfd, .events = POLLIN};
	sigset_t none;

	(void)sigfillset(&none);
	return ppoll(&gone, 1, &limit, &none) == 1;
}

bool rail_child_reap(int pidfd, struct rail_child_end *ret_end)
{
	siginfo_t info = {0};

	if (waitid(P_PIDFD, (id_t)pidfd, &info, WEXITED | WNOHANG) < 0 || info.si_pid == 0)
		return false;

	bool exited = info.si_code == CLD_EXITED;

	ret_end->signal_number = exited ? 0 : info.si_status;
	ret_end->status = exited ? info.si_status : 0;
	(void)snprintf(ret_end->text, sizeof(ret_end->text),
		       exited ? "exit status %d" : "signal %d", info.si_status);
	return true;
}

/* The new process of a successor: this one's child's child, for which init or the service manager
 * waits. */
static _Noreturn void become_successor(const char *program, char *const *arguments)
{
	char option[] = "--take-over";
	char *list[ARGUMENTS_MAXIMUM + 3] = {(char *)program, option};
	sigset_t none;

	for (size_t i = 0; i < ARGUMENTS_MAXIMUM && arguments[i] != NULL; i++)
		list[i + 2] = arguments[i];
	(void)sigemptyset(&none);
	(void)sigprocmask(SIG_SETMASK, &none, NULL);
	if (fork() != 0)
		_exit(EXIT_SUCCESS);
	(void)close_range(STDERR_FILENO + 1, ~0U, 0);
	(void)execv(program, list);
	rail_log(RAIL_LOG_ERROR, "a successor cannot be started", "program", program, "error",
		 strerrordesc_np(errno), NULL);
	_exit(EXIT_FAILURE);
}

int rail_successor_spawn(const char *program, char *const *arguments, struct rail_error *error)
{
	pid_t pid = fork();

	if (pid < 0)
		return rail_fail_errno(error, errno, "fork");
	if (pid == 0)
		become_successor(program, arguments);
	(void)waitpid(pid, NULL, 0);
	return 0;
}
