#include "pkg/base/process.h"

#include <errno.h>
#include <limits.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "pkg/base/cleanup.h"
#include "pkg/base/file.h"

enum {
	STAT_SIZE_MAXIMUM = 4096,
	START_TIME_FIELD = 22,
	KILL_WAIT_MS = 10000,
};

/* State and start time out of the text of /proc/<pid>/stat. */
static bool parse_stat(const char *text, char *ret_state, uint64_t *ret_start_time)
{
	/* The second field is the program's name, which may hold blanks and parentheses. */
	const char *position = strrchr(text, ')');
	uint64_t number = 0;

	if (position == NULL || position[1] != ' ' || position[2] == '\0')
		return false;
	position += 2;
	*ret_state = *position;

	for (int field = 3; field < START_TIME_FIELD; field++) {
		position = strchr(position, ' ');
		if (position == NULL)
			return false;
		position++;
	}

	size_t digits = strspn(position, "0123456789");
	if (digits == 0 || position[digits] != ' ')
		return false;
	for (size_t i = 0; i < digits; i++) {
		if (__builtin_mul_overflow(number, 10U, &number) ||
		    __builtin_add_overflow(number, (uint64_t)(position[i] - '0'), &number))
			return false;
	}
	*ret_start_time = number;
	return true;
}

static int look(pid_t pid, char *ret_state, uint64_t *ret_start_time, struct rail_error *error)
{
	RAIL_FREE char *text = NULL;
	size_t size;
	char path[64];

	if (pid <= 0)
		return rail_fail(error, ESRCH, "process %d: no such process", (int)pid);

	(void)snprintf(path, sizeof(path), "/proc/%d/stat", (int)pid);
	int result = rail_read_file(path, STAT_SIZE_MAXIMUM, &text, &size, error);
	if (result == -ENOENT || result == -ESRCH)
		return rail_fail(error, ESRCH, "process %d: no such process", (int)pid);
	if (result < 0)
		return result;
	if (!parse_stat(text, ret_state, ret_start_time))
		return rail_fail(error, EIO, "'%s' has a form that is not known", path);
	return 0;
}

int rail_process_identify(pid_t pid, struct rail_process *ret_process, struct rail_error *error)
{
	uint64_t start_time;
	char state;
	int result = look(pid, &state, &start_time, error);

	if (result < 0)
		return result;
	*ret_process = (struct rail_process){.pid = pid, .start_time = start_time};
	return 0;
}

int rail_process_self(struct rail_process *ret_process, struct rail_error *error)
{
	return rail_process_identify(getpid(), ret_process, error);
}

static bool is_running(const struct rail_process *process, char state, uint64_t start_time)
{
	return start_time == process->start_time && state != 'Z' && state != 'X';
}

bool rail_process_alive(const struct rail_process *process)
{
	uint64_t start_time;
	char state;

	int result = look(process->pid, &state, &start_time, NULL);
	if (result < 0)
		return result != -ESRCH;
	return is_running(process, state, start_time);
}

/* Waits until the process of a pidfd has ended: 1 where it has, 0 where the time is up. */
static int wait_end(int pidfd, int wait_ms)
{
	int64_t end = rail_monotonic_ms() + wait_ms;

	for (;;) {
		struct pollfd ended = {.fd = pidfd, .events = POLLIN};
		int64_t left = end - rail_monotonic_ms();
		int result = poll(&ended, 1, left > 0 ? (int)left : 0);

		if (result > 0)
			return 1;
		if (result < 0 && errno != EINTR)
			return -errno;
		if (left <= 0)
			return 0;
	}
}

int rail_process_end(const struct rail_process *process, int grace_ms, struct rail_error *error)
{
	static const int signals[] = {SIGTERM, SIGKILL};
	uint64_t start_time;
	char state;

	if (process->pid <= 0)
		return 0;

	RAIL_CLOSE int pidfd = (int)syscall(SYS_pidfd_open, process->pid, 0);
	if (pidfd < 0) {
		/* EINVAL: the number is now that of a thread of another process. */
		if (errno == ESRCH || errno == EINVAL)
			return 0;
		return rail_fail_errno(error, errno, "open process %d", (int)process->pid);
	}
	/* Only now, with the descriptor open, is the answer about the process that is signalled. */
	int found = look(process->pid, &state, &start_time, error);
	if (found < 0)
		return found == -ESRCH ? 0 : found;
	if (!is_running(process, state, start_time))
		return 0;

	for (size_t i = 0; i < sizeof(signals) / sizeof(signals[0]); i++) {
		if (syscall(SYS_pidfd_send_signal, pidfd, signals[i], NULL, 0) < 0) {
			if (errno == ESRCH)
				return 0;
			return rail_fail_errno(error, errno, "end process %d", (int)process->pid);
		}

		int result = wait_end(pidfd, signals[i] == SIGKILL ? KILL_WAIT_MS : grace_ms);
		if (result < 0)
			return rail_fail_errno(error, -result, "wait for the end of process %d",
					       (int)process->pid);
		if (result > 0)
			return 0;
	}
	return rail_fail_code(error, RAIL_CODE_TRY_AGAIN, ETIMEDOUT,
			      "process %d did not end within %d ms after SIGKILL; try again",
			      (int)process->pid, KILL_WAIT_MS);
}
