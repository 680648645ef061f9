#include "pkg/base/notify.h"

#include <criterion/criterion.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include "pkg/base/file.h"

static int manager = -1;
static char path[64];
static struct rail_loop *loop;

/* The service manager's socket; an abstract name begins with '@'. */
static void listen_at(const char *name)
{
	struct sockaddr_un address = {.sun_family = AF_UNIX};
	size_t length = strlen(name);

	memcpy(address.sun_path, name, length);
	if (*name == '@')
		address.sun_path[0] = '\0';
	manager = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	cr_assert_eq(bind(manager, (const struct sockaddr *)&address,
			  (socklen_t)(offsetof(struct sockaddr_un, sun_path) + length)),
		     0);
	(void)setenv("NOTIFY_SOCKET", name, 1);
}

static void set_up(void)
{
	(void)snprintf(path, sizeof(path), "/tmp/rail-notify-%d", (int)getpid());
	(void)unsetenv("WATCHDOG_PID");
	(void)unsetenv("WATCHDOG_USEC");
	listen_at(path);
	cr_assert_eq(rail_loop_new(&loop, NULL), 0);
}

static void tear_down(void)
{
	rail_loop_free(loop);
	(void)close(manager);
	(void)unlink(path);
}

TestSuite(base_notify, .init = set_up, .fini = tear_down, .timeout = 60);

/* What was said next, or "" where nothing was. */
static const char *heard(void)
{
	static char state[128];
	ssize_t size = recv(manager, state, sizeof(state) - 1, 0);

	state[size > 0 ? size : 0] = '\0';
	return state;
}

Test(base_notify, says_it_to_the_socket_that_is_named)
{
	rail_notify("READY=1");
	cr_assert_str_eq(heard(), "READY=1");
	cr_assert_str_empty(heard());
}

Test(base_notify, an_abstract_name_is_one)
{
	char name[64];

	(void)close(manager);
	(void)snprintf(name, sizeof(name), "@rail-notify-%d", (int)getpid());
	listen_at(name);
	rail_notify("STOPPING=1");
	cr_assert_str_eq(heard(), "STOPPING=1");
}

Test(base_notify, says_nothing_to_what_is_no_socket)
{
	static const char *const names[] = {"", "/", "relative", "vsock:2:1"};
	char too_long[200] = "/";

	for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++) {
		(void)setenv("NOTIFY_SOCKET", names[i], 1);
		rail_notify("READY=1");
	}
	memset(too_long + 1, 'x', sizeof(too_long) - 2);
	(void)setenv("NOTIFY_SOCKET", too_long, 1);
	rail_notify("READY=1");
	(void)unsetenv("NOTIFY_SOCKET");
	rail_notify("READY=1");
	cr_assert_str_empty(heard());
}

Test(base_notify, reloading_comes_with_the_time)
{
	long long before_us = (long long)rail_monotonic_ms() * 1000;
	long long time_us = 0;

	rail_notify_reloading();
	cr_assert_eq(sscanf(heard(), "RELOADING=1\nMONOTONIC_USEC=%lld", &time_us), 1);
	cr_assert_geq(time_us, before_us);
	cr_assert_leq(time_us, (long long)(rail_monotonic_ms() + 1) * 1000);
}

Test(base_notify, the_watchdog_is_told_while_the_loop_turns_and_only_then)
{
	struct rail_watchdog *watchdog = NULL;
	int64_t start_ms = rail_monotonic_ms();

	(void)setenv("WATCHDOG_USEC", "100000", 1);
	cr_assert_eq(rail_watchdog_new(loop, &watchdog, NULL), 0);
	cr_assert_not_null(watchdog);
	cr_assert_str_empty(heard());
	for (int told = 0; told < 3;) {
		cr_assert_eq(rail_loop_turn(loop, 1000, NULL), 0);
		for (const char *state; *(state = heard()) != '\0'; told++)
			cr_assert_str_eq(state, "WATCHDOG=1");
	}
	/* At once, and then at half of the time that it has. */
	cr_assert_geq(rail_monotonic_ms() - start_ms, 99);

	/* The loop stands still. */
	cr_assert_eq(usleep(300000), 0);
	cr_assert_str_empty(heard());

	cr_assert_eq(rail_loop_turn(loop, 1000, NULL), 0);
	cr_assert_str_eq(heard(), "WATCHDOG=1");
	cr_assert_str_empty(heard());
	rail_watchdog_free(watchdog);
}

Test(base_notify, the_watchdog_of_another_process_or_of_nobody_is_none)
{
	static const char *const limits[] = {"", "0", "1999", "-1", "1s", "99999999999999999999"};
	struct rail_watchdog *watchdog = NULL;

	cr_assert_eq(rail_watchdog_new(loop, &watchdog, NULL), 0);
	cr_assert_null(watchdog);
	for (size_t i = 0; i < sizeof(limits) / sizeof(limits[0]); i++) {
		(void)setenv("WATCHDOG_USEC", limits[i], 1);
		cr_assert_eq(rail_watchdog_new(loop, &watchdog, NULL), 0);
		cr_assert_null(watchdog, "\"%s\"", limits[i]);
	}
	(void)setenv("WATCHDOG_USEC", "100000", 1);
	(void)setenv("WATCHDOG_PID", "1", 1);
	cr_assert_eq(rail_watchdog_new(loop, &watchdog, NULL), 0);
	cr_assert_null(watchdog);
}
