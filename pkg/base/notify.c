#include "pkg/base/notify.h"

#include <errno.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <time.h>

#include "pkg/base/cleanup.h"

struct rail_watchdog {
	struct rail_timer *timer;
	int64_t period_ms;
};

void rail_notify(const char *state)
{
	const char *path = getenv("NOTIFY_SOCKET");
	struct sockaddr_un address = {.sun_family = AF_UNIX};
	size_t length = path == NULL ? 0 : strlen(path);

	if (length < 2 || length >= sizeof(address.sun_path) || (*path != '/' && *path != '@'))
		return;
	memcpy(address.sun_path, path, length);
	/* An abstract name (unix(7)) begins with a NUL and has none behind it. */
	if (*path == '@')
		address.sun_path[0] = '\0';

	RAIL_CLOSE int fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0);

	/* There is nobody to tell about a failure. */
	if (fd >= 0)
		(void)sendto(fd, state, strlen(state), MSG_NOSIGNAL | MSG_DONTWAIT,
			     (const struct sockaddr *)&address,
			     (socklen_t)(offsetof(struct sockaddr_un, sun_path) + length));
}

void rail_notify_reloading(void)
{
	struct timespec now;
	char state[64];

	(void)clock_gettime(CLOCK_MONOTONIC, &now);
	(void)snprintf(state, sizeof(state), "RELOADING=1\nMONOTONIC_USEC=%lld",
		       (long long)now.tv_sec * 1000000 + now.tv_nsec / 1000);
	rail_notify(state);
}

static void on_timer(void *context)
{
	struct rail_watchdog *watchdog = context;

	rail_notify("WATCHDOG=1");
	rail_timer_start(watchdog->timer, watchdog->period_ms);
}

/* A positive number in the environment; 0: there is none. */
static long long number_of(const char *variable)
{
	const char *text = getenv(variable);
	char *end = NULL;
	long long number;

	if (text == NULL || *text < '0' || *text > '9')
		return 0;
	errno = 0;
	number = strtoll(text, &end, 10);
	return errno == 0 && *end == '\0' ? number : 0;
}

int rail_watchdog_new(struct rail_loop *loop, struct rail_watchdog **ret_watchdog,
		      struct rail_error *error)
{
	long long limit_us = number_of("WATCHDOG_USEC");
	long long pid = number_of("WATCHDOG_PID");

	*ret_watchdog = NULL;
	if (limit_us < 2000 || (pid != 0 && pid != getpid()))
		return 0;

	struct rail_watchdog *watchdog = calloc(1, sizeof(*watchdog));

	if (watchdog == NULL)
		return rail_fail(error, ENOMEM, "no memory for the watchdog");
	watchdog->period_ms = limit_us / 2000;

	int result = rail_loop_timer(loop, on_timer, watchdog, &watchdog->timer, error);

	if (result < 0) {
		free(watchdog);
		return result;
	}
	rail_timer_start(watchdog->timer, 0);
	*ret_watchdog = watchdog;
	return 0;
}

void rail_watchdog_free(struct rail_watchdog *watchdog)
{
	if (watchdog == NULL)
		return;
	rail_timer_remove(&watchdog->timer);
	free(watchdog);
}
