#pragma once

#include <criterion/criterion.h>
#include <fcntl.h>
#include <sched.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>
#include <unistd.h>

#include "pkg/net/netns.h"

/*
 * Network namespaces for tests. Each test runs in a process of its own, so what it unshares here
 * ends with it.
 */

#define NAMESPACES_HELPER __attribute__((unused)) static

/* Skips the test where it cannot have namespaces. Else the process is alone in a netns that stands
 * for the host's, with a /run of its own. */
NAMESPACES_HELPER void become_host(void)
{
	if (geteuid() != 0)
		cr_skip_test("needs root: it makes network namespaces");
	cr_assert_eq(unshare(CLONE_NEWNET | CLONE_NEWNS), 0);
	cr_assert_eq(mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL), 0);
	cr_assert_eq(mount("tmpfs", "/run", "tmpfs", 0, "mode=0755"), 0);
	cr_assert_eq(system("ip link set lo up"), 0);
}

/* A new netns, lo up; it lives as long as the descriptor. The caller stays where it is. */
NAMESPACES_HELPER int make_netns(void)
{
	int own = open("/proc/thread-self/ns/net", O_RDONLY | O_CLOEXEC);

	cr_assert_geq(own, 0);
	cr_assert_eq(unshare(CLONE_NEWNET), 0);
	cr_assert_eq(system("ip link set lo up"), 0);
	int fd = open("/proc/thread-self/ns/net", O_RDONLY | O_CLOEXEC);
	cr_assert_geq(fd, 0);
	cr_assert_eq(setns(own, CLONE_NEWNET), 0);
	cr_assert_eq(close(own), 0);
	return fd;
}

NAMESPACES_HELPER int run_command(void *context, struct rail_error *error)
{
	(void)error;
	return system(context);
}

/* Runs a shell command in the netns (netns_fd < 0: in the host's) and gives its status. */
__attribute__((format(printf, 2, 3))) NAMESPACES_HELPER int command(int netns_fd,
								    const char *format, ...)
{
	struct rail_error error = RAIL_ERROR_NONE;
	char text[1024];
	va_list arguments;

	va_start(arguments, format);
	cr_assert_lt((size_t)vsnprintf(text, sizeof(text), format, arguments), sizeof(text));
	va_end(arguments);
	return netns_fd < 0 ? run_command(text, &error)
			    : rail_netns_run(netns_fd, run_command, text, &error);
}

#define assert_command(netns_fd, ...) cr_assert_eq(command(netns_fd, __VA_ARGS__), 0)
#define assert_command_fails(netns_fd, ...) cr_assert_neq(command(netns_fd, __VA_ARGS__), 0)

/* For calls that take an error, &failure here: shows it where they fail. */
#define assert_ok(call)                                                                            \
	do {                                                                                       \
		struct rail_error failure = RAIL_ERROR_NONE;                                       \
		int result_ = (call);                                                              \
		cr_assert_geq(result_, 0, "%s: %s", #call, failure.message);                       \
	} while (0)
