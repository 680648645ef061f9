#include "plugins/railway-dns/resolverd/spawn.h"

#include <errno.h>
#include <signal.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/wait.h>

#include "pkg/base/cleanup.h"
#include "pkg/base/log.h"
#include "plugins/railway-dns/resolverd/sandbox.h"

enum { ARGUMENTS_MAXIMUM = 32 };

/* The new process. */
static _Noreturn void become_worker(int channel, int metrics, uid_t uid, pid_t parent)
{
	struct rail_error error = RAIL_ERROR_NONE;
	char name[] = "railway-resolverd";
	char argument[] = "--worker";
	char *arguments[] = {name, argument, NULL};
	char *environment[] = {NULL};
	char **variables = RAIL_WITH_SANITIZER ? environ : environment;

	if (rail_sandbox_before_exec(channel, metrics, uid, parent, &error) == 0) {
		(void)execve("/proc/self/exe", arguments, variables);
		(void)rail_fail_errno(&error, errno,
				      "execute this program as user %u (every user must be "
				      "allowed to execute its file)",
				      (unsigned int)uid);
	}
	rail_log(RAIL_LOG_ERROR, "the worker cannot be started", "error", error.message, NULL);
	_exit(EXIT_FAILURE);
}

int rail_worker_spawn(uid_t uid, int metrics, pid_t *ret_pid, int *ret_channel,
		      struct rail_error *error)
{
	int pair[2];

	if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC | SOCK_NONBLOCK, 0, pair) < 0)
		return rail_fail_errno(error, errno, "make the worker's channel");

	RAIL_CLOSE int channel = pair[0];
	RAIL_CLOSE int other_end = pair[1];
	pid_t parent = getpid();
	pid_t pid = fork();

	if (pid < 0)
		return rail_fail_errno(error, errno, "fork");
	if (pid == 0)
		become_worker(other_end, metrics, uid, parent);
	*ret_pid = pid;
	*ret_channel = RAIL_TAKE_FD(channel);
	return 0;
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
