#pragma once

/* Processes that a test makes. */

#include <criterion/criterion.h>
#include <signal.h>
#include <stdio.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

/* An assertion in a child would wait for ever for somebody to hear it. */
#define CHILD_MUST(condition)                                                                      \
	do {                                                                                       \
		if (!(condition)) {                                                                \
			fprintf(stderr, "child: %s:%d: %s\n", __FILE__, __LINE__, #condition);     \
			_exit(1);                                                                  \
		}                                                                                  \
	} while (0)

/* fork; the child does not outlive its test, however that ends. */
static inline pid_t fork_child(void)
{
	pid_t child = fork();

	cr_assert_geq(child, 0);
	if (child == 0)
		CHILD_MUST(prctl(PR_SET_PDEATHSIG, SIGKILL) == 0);
	return child;
}

/* That a child writes when it is ready. */
static inline void wait_for_byte(int fd)
{
	char byte;

	cr_assert_eq(read(fd, &byte, 1), 1);
}

static inline void kill_child(pid_t child)
{
	cr_assert_eq(kill(child, SIGKILL), 0);
	cr_assert_eq(waitpid(child, NULL, 0), child);
}
