/* Preloaded into a program: its wall clock is RAILWAY_CLOCK_OFFSET seconds from the machine's. */
#include <stdlib.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

static time_t offset(void)
{
	const char *text = getenv("RAILWAY_CLOCK_OFFSET");

	return text == NULL ? 0 : (time_t)strtoll(text, NULL, 10);
}

int clock_gettime(clockid_t clock, struct timespec *time)
{
	int result = (int)syscall(SYS_clock_gettime, clock, time);

	if (result == 0 && clock == CLOCK_REALTIME)
		time->tv_sec += offset();
	return result;
}

time_t time(time_t *target)
{
	struct timespec now = {0};

	(void)clock_gettime(CLOCK_REALTIME, &now);
	if (target != NULL)
		*target = now.tv_sec;
	return now.tv_sec;
}
