#include <criterion/criterion.h>
#include <errno.h>
#include <fcntl.h>
#include <sched.h>
#include <signal.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "pkg/net/netns.h"
#include "test/unit/net/namespaces.h"

static char *path_of(int netns_fd)
{
	static char path[64];

	(void)snprintf(path, sizeof(path), "/proc/self/fd/%d", netns_fd);
	return path;
}

Test(net_netns, opens_and_tells_apart)
{
	become_host();
	int one = make_netns();
	int other = make_netns();
	struct rail_netns_id one_id;
	struct rail_netns_id other_id;
	struct rail_netns_id again_id;
	int fd;

	assert_ok(rail_netns_open(path_of(one), &fd, &one_id, &failure));
	cr_assert_neq(fcntl(fd, F_GETFD) & FD_CLOEXEC, 0);
	assert_ok(rail_netns_identify(fd, &again_id, &failure));
	close(fd);
	assert_ok(rail_netns_open(path_of(other), &fd, &other_id, &failure));
	close(fd);
	cr_assert(rail_netns_id_equal(&one_id, &again_id));
	cr_assert_not(rail_netns_id_equal(&one_id, &other_id));
}

Test(net_netns, refuses_what_is_no_netns_of_a_pod)
{
	become_host();
	static const struct {
		const char *path;
		int result;
	} cases[] = {
		{"/run/missing", -ENOENT},
		{"/run", -ENOTTY},
		{"/run/file", -ENOTTY},
		{"/run/fifo", -ENOTTY}, /* and does not wait for a writer */
		{"/dev/null", -ENOTTY},
		{"/proc/self/ns/mnt", -ENOTTY},
		{"/proc/self/ns/net", -EINVAL},
		{"/proc/thread-self/ns/net", -EINVAL},
	};

	cr_assert_eq(close(open("/run/file", O_CREAT | O_WRONLY, 0600)), 0);
	cr_assert_eq(mkfifo("/run/fifo", 0600), 0);
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		struct rail_error error = RAIL_ERROR_NONE;
		struct rail_netns_id id;
		int fd = -1;

		cr_assert_eq(rail_netns_open(cases[i].path, &fd, &id, &error), cases[i].result,
			     "%s: %s", cases[i].path, error.message);
		cr_assert_eq(error.code, RAIL_CODE_INVALID_NETNS);
		cr_assert_not_null(strstr(error.message, cases[i].path));
		cr_assert_eq(fd, -1);
	}
}

Test(net_netns, reopens_only_the_same)
{
	become_host();
	int one = make_netns();
	int other = make_netns();
	struct rail_netns_id id;
	struct rail_netns_id own_id;
	int fd = -1;

	assert_ok(rail_netns_identify(one, &id, &failure));
	cr_assert_eq(rail_netns_reopen(path_of(one), &id, &fd), 0);
	close(fd);
	fd = -1;
	cr_assert_eq(rail_netns_reopen("/run/missing", &id, &fd), -ENOENT);
	cr_assert_eq(rail_netns_reopen("/dev/null/x", &id, &fd), -ENOENT);
	cr_assert_eq(rail_netns_reopen(path_of(other), &id, &fd), -ESTALE);
	cr_assert_eq(rail_netns_reopen("/dev/null", &id, &fd), -ESTALE);
	cr_assert_eq(rail_netns_reopen("/proc/self/ns/net", &id, &fd), -ESTALE);

	/* A record that names the host's own is not believed. */
	int own = open("/proc/self/ns/net", O_RDONLY | O_CLOEXEC);
	assert_ok(rail_netns_identify(own, &own_id, &failure));
	cr_assert_eq(rail_netns_reopen("/proc/self/ns/net", &own_id, &fd), -ESTALE);
	cr_assert_eq(fd, -1);
}

/* /proc/<pid>/ns/net of a process that was a pod's, and whose end came. */
Test(net_netns, netns_of_an_ended_process_is_gone)
{
	become_host();
	struct rail_netns_id id;
	char path[64];
	int fd = -1;
	pid_t pid = fork();

	cr_assert_geq(pid, 0);
	if (pid == 0) {
		(void)pause();
		_exit(0);
	}
	(void)snprintf(path, sizeof(path), "/proc/%d/ns/net", (int)pid);
	assert_ok(rail_netns_identify(make_netns(), &id, &failure));
	cr_assert_eq(rail_netns_reopen(path, &id, &fd), -ESTALE);
	cr_assert_eq(kill(pid, SIGKILL), 0);
	cr_assert_eq(waitpid(pid, NULL, 0), pid);
	cr_assert_eq(rail_netns_reopen(path, &id, &fd), -ENOENT);
}

static int identify_here(void *context, struct rail_error *error)
{
	int fd = open("/proc/thread-self/ns/net", O_RDONLY | O_CLOEXEC);
	int result = rail_netns_identify(fd, context, error);

	close(fd);
	return result < 0 ? result : 42;
}

Test(net_netns, runs_inside_and_comes_back)
{
	become_host();
	int netns_fd = make_netns();
	struct rail_netns_id pod;
	struct rail_netns_id host;
	struct rail_netns_id inside;
	struct rail_netns_id after;
	struct rail_error error = RAIL_ERROR_NONE;

	assert_ok(rail_netns_identify(netns_fd, &pod, &failure));
	assert_ok(identify_here(&host, &failure));
	cr_assert_eq(rail_netns_run(netns_fd, identify_here, &inside, &error), 42);
	assert_ok(identify_here(&after, &failure));
	cr_assert(rail_netns_id_equal(&pod, &inside));
	cr_assert(rail_netns_id_equal(&host, &after));

	cr_assert_eq(rail_netns_run(-1, identify_here, &inside, &error), -EBADF);
}
