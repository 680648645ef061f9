#include "pkg/base/process.h"

#include <criterion/criterion.h>
#include <errno.h>
#include <signal.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#include "pkg/base/file.h"

/* A child that waits, once it says that it is ready. */
static pid_t start_child(bool deaf)
{
	int ready[2];
	char byte;

	cr_assert_eq(pipe(ready), 0);

	pid_t child = fork();
	cr_assert_geq(child, 0);
	if (child == 0) {
		(void)prctl(PR_SET_PDEATHSIG, SIGKILL);
		(void)signal(SIGTERM, deaf ? SIG_IGN : SIG_DFL);
		if (write(ready[1], "", 1) == 1)
			for (;;)
				(void)pause();
		_exit(1);
	}
	cr_assert_eq(read(ready[0], &byte, 1), 1);
	(void)close(ready[0]);
	(void)close(ready[1]);
	return child;
}

static int signal_that_ended(pid_t child)
{
	int status;

	cr_assert_eq(waitpid(child, &status, 0), child);
	return WIFSIGNALED(status) ? WTERMSIG(status) : 0;
}

Test(base_process, a_process_knows_itself)
{
	struct rail_process self;
	struct rail_process same;

	cr_assert_eq(rail_process_self(&self, NULL), 0);
	cr_assert_eq(self.pid, getpid());
	cr_assert_gt(self.start_time, 0);
	cr_assert_eq(rail_process_identify(getpid(), &same, NULL), 0);
	cr_assert_eq(self.start_time, same.start_time);
	cr_assert(rail_process_alive(&self));
}

Test(base_process, the_name_of_a_program_does_not_confuse)
{
	struct rail_process before;
	struct rail_process after;

	cr_assert_eq(rail_process_self(&before, NULL), 0);
	cr_assert_eq(prctl(PR_SET_NAME, "x) Z 1 2 (y\n)"), 0);
	cr_assert_eq(rail_process_self(&after, NULL), 0);
	cr_assert_eq(before.start_time, after.start_time);
	cr_assert(rail_process_alive(&after));
}

Test(base_process, a_reused_number_is_another_process)
{
	struct rail_process process;

	cr_assert_eq(rail_process_self(&process, NULL), 0);
	process.start_time++;
	cr_assert_not(rail_process_alive(&process));
}

Test(base_process, a_process_that_is_not_there)
{
	struct rail_error error = RAIL_ERROR_NONE;
	struct rail_process process;
	pid_t child = start_child(false);

	cr_assert_eq(rail_process_identify(child, &process, NULL), 0);
	cr_assert(rail_process_alive(&process));
	cr_assert_eq(kill(child, SIGKILL), 0);
	cr_assert_eq(signal_that_ended(child), SIGKILL);

	cr_assert_not(rail_process_alive(&process));
	cr_assert_eq(rail_process_identify(child, &process, &error), -ESRCH);
	cr_assert_eq(rail_process_identify(0, &process, &error), -ESRCH);
	cr_assert_eq(rail_process_identify(-1, &process, &error), -ESRCH);
	cr_assert_not(rail_process_alive(&(struct rail_process){.pid = 0}));
	cr_assert_eq(rail_process_end(&process, 0, &error), 0);
	cr_assert_eq(rail_process_end(&(struct rail_process){.pid = 0}, 0, &error), 0);
}

Test(base_process, a_zombie_does_not_run)
{
	struct rail_process process;
	siginfo_t information;
	pid_t child = start_child(false);

	cr_assert_eq(rail_process_identify(child, &process, NULL), 0);
	cr_assert_eq(kill(child, SIGKILL), 0);
	cr_assert_eq(waitid(P_PID, (id_t)child, &information, WEXITED | WNOWAIT), 0);
	cr_assert_not(rail_process_alive(&process));
	cr_assert_eq(rail_process_end(&process, 0, NULL), 0);
	cr_assert_eq(signal_that_ended(child), SIGKILL);
}

Test(base_process, one_that_listens_is_ended_by_term)
{
	struct rail_error error = RAIL_ERROR_NONE;
	struct rail_process process;
	pid_t child = start_child(false);

	cr_assert_eq(rail_process_identify(child, &process, NULL), 0);
	cr_assert_eq(rail_process_end(&process, 10000, &error), 0, "%s", error.message);
	cr_assert_not(rail_process_alive(&process));
	cr_assert_eq(signal_that_ended(child), SIGTERM);
}

Test(base_process, one_that_does_not_is_killed_after_its_grace)
{
	struct rail_error error = RAIL_ERROR_NONE;
	struct rail_process process;
	pid_t child = start_child(true);
	int64_t before = rail_monotonic_ms();

	cr_assert_eq(rail_process_identify(child, &process, NULL), 0);
	cr_assert_eq(rail_process_end(&process, 50, &error), 0, "%s", error.message);
	cr_assert_geq(rail_monotonic_ms() - before, 50);
	cr_assert_eq(signal_that_ended(child), SIGKILL);
}

Test(base_process, another_process_under_the_number_is_left_alone)
{
	struct rail_process process;
	pid_t child = start_child(false);

	cr_assert_eq(rail_process_identify(child, &process, NULL), 0);
	process.start_time--;
	cr_assert_eq(rail_process_end(&process, 0, NULL), 0);
	process.start_time++;
	cr_assert(rail_process_alive(&process));
	cr_assert_eq(kill(child, SIGKILL), 0);
	cr_assert_eq(signal_that_ended(child), SIGKILL);
}

/* A child without descriptors, of which its test waits for the exit status. */
Test(base_process, one_that_cannot_be_looked_at_counts_as_alive_and_is_not_signalled)
{
	struct rail_process process;
	pid_t other = start_child(false);
	int status;

	cr_assert_eq(rail_process_identify(other, &process, NULL), 0);
	pid_t child = fork();
	if (child == 0) {
		const struct rlimit none = {0};
		struct rail_error error = RAIL_ERROR_NONE;

		process.start_time--;
		bool gone = !rail_process_alive(&process);
		(void)setrlimit(RLIMIT_NOFILE, &none);
		bool alive = rail_process_alive(&process);
		int result = rail_process_end(&process, 0, &error);
		_exit(gone && alive && result == -EMFILE ? 0 : 1);
	}
	cr_assert_eq(waitpid(child, &status, 0), child);
	cr_assert_eq(status, 0);
	cr_assert_eq(kill(other, 0), 0);
	cr_assert_eq(kill(other, SIGKILL), 0);
	cr_assert_eq(signal_that_ended(other), SIGKILL);
}
