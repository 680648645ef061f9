/*
 * Preloaded into a plugin: lets one of its allocations fail. From the environment:
 *
 *     RAILWAY_ALLOCATION  PROGRAM:N, the Nth allocation of the program of that name fails; or
 * "none" RAILWAY_ALLOCATION_REPORT  a file to which "PROGRAM allocation COUNT" is appended at the
 * end, and "injected" where the fault was reached
 */
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

/* glibc's own, behind the names that this library takes. */
extern void *__libc_malloc(size_t size);	       /* NOLINT(bugprone-reserved-identifier) */
extern void *__libc_calloc(size_t count, size_t size); /* NOLINT(bugprone-reserved-identifier) */
extern void *__libc_realloc(void *old, size_t size);   /* NOLINT(bugprone-reserved-identifier) */
extern void *__libc_memalign(size_t alignment,
			     size_t size); /* NOLINT(bugprone-reserved-identifier) */

static unsigned long allocations;
static unsigned long failing; /* 0: none */
static bool reached;

static bool fails(void)
{
	if (++allocations != failing)
		return false;
	reached = true;
	errno = ENOMEM;
	return true;
}

void *malloc(size_t size)
{
	return fails() ? NULL : __libc_malloc(size);
}

void *calloc(size_t count, size_t size)
{
	return fails() ? NULL : __libc_calloc(count, size);
}

void *realloc(void *old, size_t size)
{
	return fails() ? NULL : __libc_realloc(old, size);
}

int posix_memalign(void **target, size_t alignment, size_t size)
{
	void *memory = fails() ? NULL : __libc_memalign(alignment, size);

	if (memory == NULL)
		return ENOMEM;
	*target = memory;
	return 0;
}

__attribute__((constructor)) static void begin(void)
{
	const char *wanted = getenv("RAILWAY_ALLOCATION");
	size_t length = strlen(program_invocation_short_name);

	/* What was allocated before main is the loader's. */
	allocations = 0;
	if (wanted != NULL && strncmp(wanted, program_invocation_short_name, length) == 0 &&
	    wanted[length] == ':')
		failing = strtoul(wanted + length + 1, NULL, 10);
}

__attribute__((destructor)) static void report(void)
{
	const char *path = getenv("RAILWAY_ALLOCATION_REPORT");
	char line[256];
	int size =
		snprintf(line, sizeof(line), "%s allocation %lu\n%s", program_invocation_short_name,
			 allocations, reached ? "injected\n" : "");
	int fd = path == NULL ? -1 : open(path, O_WRONLY | O_APPEND | O_CREAT | O_CLOEXEC, 0600);

	if (fd < 0)
		return;
	(void)!write(fd, line, (size_t)size);
	(void)close(fd);
}
