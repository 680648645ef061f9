#include "pkg/base/pause.h"

#ifdef RAIL_PAUSES

#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "pkg/base/cleanup.h"

static int open_fifo(const char *directory, const char *name, int flags)
{
	char path[4096];

	(void)snprintf(path, sizeof(path), "%s/%s", directory, name);
	return open(path, flags | O_CLOEXEC);
}

void rail_pause(const char *moment)
{
	const char *wanted = getenv("RAIL_PAUSE");
	size_t length = strlen(moment);
	char go;

	if (wanted == NULL || strncmp(wanted, moment, length) != 0 || wanted[length] != ' ')
		return;

	const char *directory = wanted + length + 1;
	RAIL_CLOSE int reached_fd = open_fifo(directory, "reached", O_WRONLY);
	if (reached_fd >= 0)
		(void)!write(reached_fd, "reached\n", 8);
	RAIL_CLOSE int go_fd = open_fifo(directory, "go", O_RDONLY);
	if (go_fd >= 0)
		(void)!read(go_fd, &go, 1);
}

static int has(const void *bytes, size_t size, const char *text)
{
	return memmem(bytes, size, text, strlen(text)) != NULL;
}

void rail_crash(const void *bytes, size_t size)
{
	volatile int *volatile nowhere = NULL;

	if (has(bytes, size, "rail-crash-abort"))
		abort();
	if (has(bytes, size, "rail-crash-segv"))
		*nowhere = 0;
	if (has(bytes, size, "rail-crash-hang"))
		for (;;)
			;
}

#else

/* An empty translation unit is none in ISO C. */
typedef int rail_no_pauses;

#endif
