#include <criterion/criterion.h>
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include "pkg/mesh/lock.h"
#include "test/unit/children.h"

static char directory[64];
static const struct rail_prefix prefix = {{0xfd, 1, 2, 3, 4, 5}};

static void make_directory(void)
{
	(void)snprintf(directory, sizeof(directory), "/tmp/rail-lock-XXXXXX");
	cr_assert_not_null(mkdtemp(directory));
}

static void remove_directory(void)
{
	char path[128];

	(void)snprintf(path, sizeof(path), "%s/locks/fd0102030405", directory);
	(void)unlink(path);
	(void)snprintf(path, sizeof(path), "%s/locks", directory);
	(void)rmdir(path);
	(void)rmdir(directory);
}

TestSuite(mesh_lock, .init = make_directory, .fini = remove_directory);

static void take(struct rail_environment_lock *lock)
{
	struct rail_error error = RAIL_ERROR_NONE;

	cr_assert_eq(rail_environment_lock_take(directory, &prefix, lock, &error), 0, "%s",
		     error.message);
}

Test(mesh_lock, a_finished_holder_leaves_no_mark)
{
	struct rail_environment_lock lock = RAIL_ENVIRONMENT_LOCK_NONE;

	for (int i = 0; i < 2; i++) {
		take(&lock);
		cr_assert_not(lock.needs_repair);
		rail_environment_lock_finish(&lock, false);
		cr_assert_eq(lock.fd, -1);
	}
}

Test(mesh_lock, a_holder_that_gave_up_leaves_a_mark_until_one_finishes)
{
	struct rail_environment_lock lock = RAIL_ENVIRONMENT_LOCK_NONE;

	take(&lock);
	rail_environment_lock_abandon(&lock);
	take(&lock);
	cr_assert(lock.needs_repair);
	rail_environment_lock_finish(&lock, false);
	take(&lock);
	cr_assert_not(lock.needs_repair);
	rail_environment_lock_finish(&lock, false);
}

Test(mesh_lock, a_killed_holder_lets_go_and_leaves_its_mark)
{
	struct rail_environment_lock lock = RAIL_ENVIRONMENT_LOCK_NONE;
	int told[2];
	char byte = 0;

	cr_assert_eq(pipe(told), 0);
	pid_t child = fork_child();
	if (child == 0) {
		CHILD_MUST(rail_environment_lock_take(directory, &prefix, &lock, NULL) == 0);
		(void)!write(told[1], "x", 1);
		pause();
		_exit(0);
	}
	cr_assert_eq(read(told[0], &byte, 1), 1);
	(void)kill(child, SIGKILL);
	(void)waitpid(child, NULL, 0);
	take(&lock);
	cr_assert(lock.needs_repair);
	rail_environment_lock_finish(&lock, false);
	(void)close(told[0]);
	(void)close(told[1]);
}

/* Every holder adds one to a number that only the lock protects; the file of the lock comes and
 * goes meanwhile. */
Test(mesh_lock, holders_exclude_each_other_also_while_the_file_is_taken_away)
{
	enum { PROCESSES = 4, ROUNDS = 200 };
	char path[128];

	(void)snprintf(path, sizeof(path), "%s/number", directory);
	FILE *file = fopen(path, "w");
	cr_assert_not_null(file);
	(void)fputs("0", file);
	(void)fclose(file);

	for (int i = 0; i < PROCESSES; i++) {
		if (fork_child() != 0)
			continue;
		for (int round = 0; round < ROUNDS; round++) {
			struct rail_environment_lock lock = RAIL_ENVIRONMENT_LOCK_NONE;
			long number = -1;

			CHILD_MUST(rail_environment_lock_take(directory, &prefix, &lock, NULL) ==
				   0);
			file = fopen(path, "r");
			CHILD_MUST(file != NULL && fscanf(file, "%ld", &number) == 1);
			(void)fclose(file);
			file = fopen(path, "w");
			CHILD_MUST(file != NULL);
			(void)fprintf(file, "%ld", number + 1);
			(void)fclose(file);
			rail_environment_lock_finish(&lock, round % 2 == 0);
		}
		_exit(0);
	}
	for (int i = 0; i < PROCESSES; i++) {
		int status = 0;

		(void)wait(&status);
		cr_assert_eq(status, 0);
	}

	long number = 0;
	file = fopen(path, "r");
	cr_assert_not_null(file);
	cr_assert_eq(fscanf(file, "%ld", &number), 1);
	(void)fclose(file);
	(void)unlink(path);
	cr_assert_eq(number, PROCESSES * ROUNDS);
}
