#include "pkg/base/file.h"

#include <criterion/criterion.h>
#include <errno.h>
#include <fcntl.h>
#include <ftw.h>
#include <limits.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "pkg/base/cleanup.h"

static char directory[] = "/tmp/rail-file-test-XXXXXX";

static int remove_one(const char *path, const struct stat *status, int type, struct FTW *walk)
{
	(void)status;
	(void)type;
	(void)walk;
	return remove(path);
}

static void make_directory(void)
{
	cr_assert_not_null(mkdtemp(directory));
}

static void remove_directory(void)
{
	(void)nftw(directory, remove_one, 16, FTW_DEPTH | FTW_PHYS);
}

TestSuite(base_file, .init = make_directory, .fini = remove_directory);

static void path_of(char path[PATH_MAX], const char *name)
{
	(void)snprintf(path, PATH_MAX, "%s/%s", directory, name);
}

static void write_file(const char *path, const void *bytes, size_t size)
{
	RAIL_CLOSE int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);

	cr_assert_geq(fd, 0);
	cr_assert_eq(write(fd, bytes, size), (ssize_t)size);
}

Test(base_file, random_bytes_fill_the_target_and_nothing_else)
{
	uint8_t one[66] = {0};
	uint8_t other[66] = {0};

	cr_assert_eq(rail_random(one + 1, 64, NULL), 0);
	cr_assert_eq(rail_random(other + 1, 64, NULL), 0);
	cr_assert_arr_neq(one, other, sizeof(one));
	cr_assert_eq(one[0] | one[65], 0);
	/* The last half too: eight zeroes in a row come once in 2^64. */
	cr_assert_arr_neq(one + 57, (const uint8_t[8]){0}, 8);
}

Test(base_file, monotonic_time_goes_on_in_milliseconds)
{
	int64_t before = rail_monotonic_ms();
	struct timespec pause = {.tv_nsec = 20000000};

	(void)nanosleep(&pause, NULL);
	int64_t passed = rail_monotonic_ms() - before;
	cr_assert_geq(passed, 19);
	cr_assert_lt(passed, 10000);
}

Test(base_file, a_file_is_read_whole_up_to_the_maximum)
{
	RAIL_FREE char *text = NULL;
	RAIL_FREE uint8_t *bytes = malloc(20000);
	struct rail_error error = RAIL_ERROR_NONE;
	char path[PATH_MAX];
	size_t size = 0;

	cr_assert_not_null(bytes);
	memset(bytes, 'x', 20000);
	bytes[5000] = '\0';
	path_of(path, "file");
	write_file(path, bytes, 20000);
	cr_assert_eq(rail_read_file(path, 20000, &text, &size, &error), 0, "%s", error.message);
	cr_assert_eq(size, 20000);
	cr_assert_arr_eq(text, bytes, 20000);
	cr_assert_eq(text[20000], '\0');
}

Test(base_file, a_file_above_the_maximum_is_refused_by_name)
{
	struct rail_error error = RAIL_ERROR_NONE;
	char path[PATH_MAX];
	char *text = NULL;
	size_t size;

	path_of(path, "file");
	write_file(path, "12345", 5);
	cr_assert_eq(rail_read_file(path, 4, &text, &size, &error), -EFBIG);
	cr_assert_null(text);
	cr_assert_neq(strstr(error.message, path), NULL);

	path_of(path, "missing");
	cr_assert_eq(rail_read_file(path, 4, &text, &size, &error), -ENOENT);
	cr_assert_neq(strstr(error.message, path), NULL);
}

Test(base_file, an_empty_file_is_an_empty_text)
{
	RAIL_FREE char *text = NULL;
	char path[PATH_MAX];
	size_t size = 1;

	path_of(path, "file");
	write_file(path, "", 0);
	cr_assert_eq(rail_read_file(path, 0, &text, &size, NULL), 0);
	cr_assert_eq(size, 0);
	cr_assert_str_empty(text);
}

Test(base_file, directories_are_made_with_all_above_them)
{
	struct rail_error error = RAIL_ERROR_NONE;
	struct stat status;
	char path[PATH_MAX];

	path_of(path, "a/b//c/");
	cr_assert_eq(rail_make_directories(path, &error), 0, "%s", error.message);
	cr_assert_eq(rail_make_directories(path, &error), 0, "a second time");
	path_of(path, "a/b");
	cr_assert_eq(stat(path, &status), 0);
	cr_assert_eq(status.st_mode & 07777, 0700);
}

Test(base_file, a_component_that_is_no_directory_is_refused)
{
	struct rail_error error = RAIL_ERROR_NONE;
	char path[PATH_MAX];
	char long_path[PATH_MAX + 2];

	path_of(path, "file");
	write_file(path, "", 0);
	cr_assert_eq(rail_make_directories(path, &error), -ENOTDIR);
	path_of(path, "file/below");
	cr_assert_eq(rail_make_directories(path, &error), -ENOTDIR);
	cr_assert_neq(strstr(error.message, path), NULL);

	memset(long_path, 'x', sizeof(long_path) - 1);
	long_path[sizeof(long_path) - 1] = '\0';
	cr_assert_eq(rail_make_directories(long_path, &error), -ENAMETOOLONG);
	cr_assert_eq(rail_make_directories("", &error), -ENAMETOOLONG);
}

Test(base_file, a_lock_that_another_process_has_is_waited_for_until_the_deadline)
{
	struct rail_error error = RAIL_ERROR_NONE;
	char path[PATH_MAX];
	int held[2];
	char byte;

	path_of(path, "lock");
	cr_assert_eq(pipe(held), 0);

	pid_t child = fork();
	cr_assert_geq(child, 0);
	if (child == 0) {
		(void)prctl(PR_SET_PDEATHSIG, SIGKILL);
		int fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0600);

		if (rail_lock_file(fd, 1000, "x", NULL) == 0 && write(held[1], "", 1) == 1)
			(void)pause();
		_exit(1);
	}
	cr_assert_eq(read(held[0], &byte, 1), 1);

	RAIL_CLOSE int fd = open(path, O_RDWR | O_CLOEXEC);
	int64_t before = rail_monotonic_ms();
	cr_assert_eq(rail_lock_file(fd, 50, "the thing", &error), -ETIMEDOUT);
	cr_assert_geq(rail_monotonic_ms() - before, 50);
	cr_assert_eq(error.code, RAIL_CODE_TRY_AGAIN);
	cr_assert_neq(strstr(error.message, "the thing"), NULL);

	/* The lock dies with its holder. */
	cr_assert_eq(kill(child, SIGKILL), 0);
	cr_assert_eq(waitpid(child, NULL, 0), child);
	cr_assert_eq(rail_lock_file(fd, 0, "the thing", &error), 0, "%s", error.message);
}

Test(base_file, a_lock_is_its_descriptors_not_its_processs)
{
	char path[PATH_MAX];

	path_of(path, "lock");
	RAIL_CLOSE int one = open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0600);
	RAIL_CLOSE int other = open(path, O_RDWR | O_CLOEXEC);

	cr_assert_eq(rail_lock_file(one, 0, "x", NULL), 0);
	cr_assert_eq(rail_lock_file(other, 0, "x", NULL), -ETIMEDOUT);
	cr_assert_eq(close(one), 0);
	one = -EBADF;
	cr_assert_eq(rail_lock_file(other, 0, "x", NULL), 0);
}
