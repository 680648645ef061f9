#include <criterion/criterion.h>
#include <dirent.h>
#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "pkg/base/file.h"
#include "test/unit/wg/pods.h"

struct announcement {
	int fail_at; /* the count of the call that fails; 0: none */
	int calls;
	struct rail_interface last;
};

static int announce(void *context, const struct rail_interface *interface, struct rail_error *error)
{
	struct announcement *announcement = context;

	announcement->last = *interface;
	announcement->calls++;
	cr_expect_neq(interface->device_name[0], '\0');
	if (announcement->calls == 1) {
		cr_expect_not(socket_there(interface));
		cr_expect_eq(interface->process.pid, 0);
	} else {
		cr_expect_neq(interface->process.pid, 0);
	}
	if (announcement->calls == announcement->fail_at)
		return rail_fail(error, ECANCELED, "announcement %d fails", announcement->calls);
	return 0;
}

Test(wg_userspace_crash, is_announced_before_it_exists)
{
	become_host();
	int netns_fd = make_netns();
	struct rail_interface_request request = request_for(netns_fd);

	for (int fail_at = 1; fail_at <= 3; fail_at++) {
		struct announcement announcement = {.fail_at = fail_at};
		struct rail_error error = RAIL_ERROR_NONE;
		struct rail_interface interface;
		int result =
			userspace->create(&request, announce, &announcement, &interface, &error);

		if (fail_at == 3) {
			cr_assert_eq(result, 0, "%s", error.message);
			cr_assert_eq(announcement.last.process.pid, interface.process.pid);
			cr_assert_eq(announcement.last.process.start_time,
				     interface.process.start_time);
			assert_ok(userspace->destroy(netns_fd, &interface, &failure));
			(void)waitpid(interface.process.pid, NULL, 0);
			cr_assert_eq(announcement.calls, 2);
		} else {
			cr_assert_eq(result, -ECANCELED);
			cr_assert_eq(announcement.calls, fail_at);
		}
		assert_nothing_left(netns_fd, &interface);
	}
	close(netns_fd);
}

/* Stores what is announced where the test finds it after the creator was killed. */
static int announce_to_file(void *context, const struct rail_interface *interface,
			    struct rail_error *error)
{
	int fd = *(int *)context;

	if (pwrite(fd, interface, sizeof(*interface), 0) != (ssize_t)sizeof(*interface))
		return rail_fail(error, EIO, "store");
	return 0;
}

/* The processes of this test's mount namespace besides its own: all that it started. */
static int count_processes(void)
{
	int count = 0;
	char own[64] = "";
	DIR *directory = opendir("/proc");

	cr_assert_not_null(directory);
	cr_assert_gt(readlink("/proc/self/ns/mnt", own, sizeof(own) - 1), 0);
	for (struct dirent *entry; (entry = readdir(directory)) != NULL;) {
		char path[300];
		char other[64] = "";

		(void)snprintf(path, sizeof(path), "/proc/%s/ns/mnt", entry->d_name);
		if (entry->d_name[0] < '0' || entry->d_name[0] > '9' ||
		    atoi(entry->d_name) == (int)getpid() ||
		    readlink(path, other, sizeof(other) - 1) <= 0)
			continue;
		count += strcmp(own, other) == 0;
	}
	closedir(directory);
	return count;
}

/* A child that its creator had not released ends by itself, at once but not before we look. */
static void assert_no_process(void)
{
	int64_t end_ms = rail_monotonic_ms() + 5000;

	while (count_processes() > 0) {
		cr_assert_lt(rail_monotonic_ms(), end_ms, "a process is left");
		(void)usleep(1000);
	}
}

/* kill -9 at any moment: destroy() of what was announced last finds all that is left. */
Test(wg_userspace_crash, killed_creation_is_undone, .timeout = 120)
{
	enum { ROUNDS = 50, STEP_US = 2000 };
	become_host();
	FILE *file = tmpfile();
	int file_fd = fileno(file);
	int netns_fd = make_netns();
	int cut_short = 0;

	for (int round = 0; round < ROUNDS; round++) {
		struct rail_interface interface = {.device_name = ""};
		struct rail_interface_request request = request_for(netns_fd);

		cr_assert_eq(ftruncate(file_fd, 0), 0);
		pid_t pid = fork();
		cr_assert_geq(pid, 0);
		if (pid == 0) {
			(void)userspace->create(&request, announce_to_file, &file_fd, &interface,
						NULL);
			_exit(0);
		}
		(void)usleep((useconds_t)(round * STEP_US));
		(void)kill(pid, SIGKILL);
		int status;
		cr_assert_eq(waitpid(pid, &status, 0), pid);
		cut_short += WIFSIGNALED(status);

		if (pread(file_fd, &interface, sizeof(interface), 0) !=
		    (ssize_t)sizeof(interface)) {
			assert_no_process();
			continue;
		}
		assert_ok(userspace->destroy(netns_fd, &interface, &failure));
		assert_nothing_left(netns_fd, &interface);
		assert_no_process();
	}
	cr_assert_gt(cut_short, 0);
	(void)fclose(file);
}
