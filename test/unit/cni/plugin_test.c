#include "pkg/cni/plugin.h"

#include <criterion/criterion.h>
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#include "pkg/base/cleanup.h"
#include "pkg/base/file.h"

/* A plugin runs in a child of the test, with files of its own. */

static int fake_add(const struct rail_cni_call *call, struct rail_json **ret_result,
		    struct rail_error *error)
{
	if (strcmp(call->interface, "fails") == 0)
		return rail_fail_code(error, RAIL_CODE_POOL_EXHAUSTED, ENOSPC, "none left");
	if (strcmp(call->interface, "nothing") == 0)
		return 0;
	return rail_result_begin(call, ret_result, error);
}

static void fake_undo_add(const struct rail_cni_call *call)
{
	(void)fprintf(stderr, "undone: %s\n", call->interface);
}

static int fake_del(const struct rail_cni_call *call, struct rail_error *error)
{
	(void)call;
	(void)error;
	return 0;
}

/* Fails unless the signals are held. */
static int fake_check(const struct rail_cni_call *call, struct rail_error *error)
{
	struct sigaction action;

	(void)call;
	(void)raise(SIGTERM);
	(void)raise(SIGINT);
	(void)raise(SIGHUP);
	(void)sigaction(SIGPIPE, NULL, &action);
	if (action.sa_handler != SIG_IGN)
		return rail_fail(error, EINVAL, "SIGPIPE is not ignored");
	return 0;
}

static int fake_gc(const struct rail_cni_call *call, struct rail_error *error)
{
	return rail_fail(error, EAGAIN, "%zu", call->valid_attachment_count);
}

static const struct rail_cni_plugin plugin = {
	.name = "railway-fake",
	.description = "does nothing",
	.add = fake_add,
	.undo_add = fake_undo_add,
	.del = fake_del,
	.check = fake_check,
	.gc = fake_gc,
};

struct outcome {
	int status; /* exit status; -1: killed */
	char output[8192];
	char messages[1024];
};

static int memory_file(const char *text, size_t size)
{
	int fd = memfd_create("standard", MFD_CLOEXEC);

	cr_assert_geq(fd, 0);
	cr_assert_eq(write(fd, text, size), (ssize_t)size);
	cr_assert_eq(lseek(fd, 0, SEEK_SET), 0);
	return fd;
}

static void read_back(int fd, char *text, size_t size)
{
	ssize_t got = pread(fd, text, size - 1, 0);

	cr_assert_geq(got, 0);
	text[got] = '\0';
}

/* output_fd < 0: a file; interface is CNI_IFNAME. */
static struct outcome run_to(int input, int output_fd, const char *command, const char *interface)
{
	struct outcome outcome = {.status = -1};
	RAIL_CLOSE int output = memory_file("", 0);
	RAIL_CLOSE int messages = memory_file("", 0);
	int status;

	pid_t pid = fork();
	cr_assert_geq(pid, 0);
	if (pid == 0) {
		(void)signal(SIGPIPE, SIG_DFL);
		(void)dup2(input, STDIN_FILENO);
		(void)dup2(output_fd < 0 ? output : output_fd, STDOUT_FILENO);
		(void)dup2(messages, STDERR_FILENO);
		if (command != NULL)
			(void)setenv("CNI_COMMAND", command, 1);
		else
			(void)unsetenv("CNI_COMMAND");
		(void)setenv("CNI_CONTAINERID", "abc", 1);
		(void)setenv("CNI_NETNS", "/run/netns/x", 1);
		(void)setenv("CNI_IFNAME", interface, 1);
		(void)setenv("CNI_PATH", "/opt/cni/bin", 1);
		_exit(rail_cni_main(&plugin));
	}
	cr_assert_eq(waitpid(pid, &status, 0), pid);
	if (WIFEXITED(status))
		outcome.status = WEXITSTATUS(status);
	read_back(output, outcome.output, sizeof(outcome.output));
	read_back(messages, outcome.messages, sizeof(outcome.messages));
	return outcome;
}

static struct outcome run(const char *command, const char *interface, const char *text)
{
	RAIL_CLOSE int input = memory_file(text, strlen(text));

	return run_to(input, -1, command, interface);
}

#define CONFIGURATION "{\"cniVersion\":\"1.1.0\",\"name\":\"n\",\"type\":\"railway-fake\"}"

Test(cni_plugin, a_result_is_printed_once)
{
	struct outcome outcome = run("ADD", "eth0", CONFIGURATION);

	cr_assert_eq(outcome.status, 0);
	cr_assert_str_eq(outcome.output, "{\"cniVersion\":\"1.1.0\"}\n");
	cr_assert_str_eq(outcome.messages, "");
}

Test(cni_plugin, a_success_without_result_prints_nothing)
{
	struct outcome outcome = run("DEL", "eth0", CONFIGURATION);

	cr_assert_eq(outcome.status, 0);
	cr_assert_str_eq(outcome.output, "");
}

Test(cni_plugin, errors_are_printed_in_the_calls_version)
{
	static const struct {
		const char *command;
		const char *interface;
		const char *input;
		const char *output; /* how it begins */
	} cases[] = {
		{"ADD", "fails", CONFIGURATION,
		 "{\"cniVersion\":\"1.1.0\",\"code\":101,\"msg\":\"none left\"}\n"},
		{"ADD", "fails", "{\"name\":\"n\",\"type\":\"t\"}",
		 "{\"cniVersion\":\"0.2.0\",\"code\":101,\"msg\":\"none left\"}\n"},
		{"ADD", "nothing", CONFIGURATION, "{\"cniVersion\":\"1.1.0\",\"code\":999,"},
		{"ADD", "", CONFIGURATION, "{\"cniVersion\":\"1.1.0\",\"code\":4,"},
		{"ADD", "eth0", "{", "{\"cniVersion\":\"1.1.0\",\"code\":6,"},
		{"ADD", "eth0", "", "{\"cniVersion\":\"1.1.0\",\"code\":6,"},
		{"ADD", "eth0", "{\"cniVersion\":\"3.0\"}",
		 "{\"cniVersion\":\"1.1.0\",\"code\":1,"},
		{"CHECK", "eth0", "{\"cniVersion\":\"0.3.1\",\"name\":\"n\",\"type\":\"t\"}",
		 "{\"cniVersion\":\"0.3.1\",\"code\":1,"},
		{"NONSENSE", "eth0", CONFIGURATION, "{\"cniVersion\":\"1.1.0\",\"code\":4,"},
		{"GC", "", CONFIGURATION, "{\"cniVersion\":\"1.1.0\",\"code\":11,\"msg\":\"0\"}\n"},
		/* The fake has no STATUS. */
		{"STATUS", "", CONFIGURATION, "{\"cniVersion\":\"1.1.0\",\"code\":4,"},
	};

	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		struct outcome outcome = run(cases[i].command, cases[i].interface, cases[i].input);
		struct rail_json *document = NULL;

		cr_assert_eq(outcome.status, 1, "%s", cases[i].input);
		cr_assert_eq(strncmp(outcome.output, cases[i].output, strlen(cases[i].output)), 0,
			     "%s %s: %s", cases[i].command, cases[i].input, outcome.output);
		cr_assert_eq(
			rail_json_parse(outcome.output, strlen(outcome.output), &document, NULL),
			0);
		rail_json_free(document);
	}
}

Test(cni_plugin, version)
{
	static const struct {
		const char *input;
		const char *version;
	} cases[] = {
		{"", "1.1.0"},
		{"nonsense", "1.1.0"},
		{"{\"cniVersion\":\"0.4.0\"}", "0.4.0"},
		{"{\"cniVersion\":\"9.9.9\"}", "9.9.9"},
	};

	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		struct outcome outcome = run("VERSION", "", cases[i].input);
		char wanted[256];

		(void)snprintf(wanted, sizeof(wanted),
			       "{\"cniVersion\":\"%s\",\"supportedVersions\":[\"0.1.0\",\"0.2.0\","
			       "\"0.3.0\",\"0.3.1\",\"0.4.0\",\"1.0.0\",\"1.1.0\"]}\n",
			       cases[i].version);
		cr_assert_eq(outcome.status, 0);
		cr_assert_str_eq(outcome.output, wanted);
	}
}

Test(cni_plugin, without_a_command_it_says_what_it_is, .timeout = 10)
{
	int input[2];

	/* Nobody writes to it, and it does not end. */
	cr_assert_eq(pipe2(input, O_CLOEXEC), 0);
	struct outcome outcome = run_to(input[0], -1, NULL, "");
	(void)close(input[0]);
	(void)close(input[1]);

	cr_assert_eq(outcome.status, 0);
	cr_assert_str_eq(outcome.output, "");
	cr_assert_eq(strncmp(outcome.messages, "CNI railway-fake plugin v" RAIL_VERSION "\n",
			     strlen("CNI railway-fake plugin v" RAIL_VERSION "\n")),
		     0, "%s", outcome.messages);
	cr_assert_not_null(strstr(outcome.messages, "1.1.0"));
	cr_assert_eq(run("", "", "").status, 0);
}

Test(cni_plugin, signals_are_held_while_it_works)
{
	struct outcome outcome = run("CHECK", "eth0", CONFIGURATION);

	cr_assert_eq(outcome.status, 0, "%s", outcome.output);
}

Test(cni_plugin, a_result_that_cannot_be_written_is_a_failure)
{
	RAIL_CLOSE int full = open("/dev/full", O_WRONLY | O_CLOEXEC);
	RAIL_CLOSE int input = memory_file(CONFIGURATION, strlen(CONFIGURATION));
	struct outcome outcome = run_to(input, full, "ADD", "eth0");

	cr_assert_eq(outcome.status, 1);
	cr_assert_not_null(strstr(outcome.messages, "No space left"));
	/* Nomad comes again without a DEL. */
	cr_assert_not_null(strstr(outcome.messages, "undone: eth0"));

	/* A pipe that nobody reads. */
	int output[2];
	cr_assert_eq(pipe2(output, O_CLOEXEC), 0);
	(void)close(output[0]);
	cr_assert_eq(lseek(input, 0, SEEK_SET), 0);
	outcome = run_to(input, output[1], "ADD", "eth0");
	(void)close(output[1]);
	cr_assert_eq(outcome.status, 1);
}

Test(cni_plugin, too_large_an_input)
{
	size_t size = RAIL_JSON_SIZE_MAXIMUM + 1;
	RAIL_FREE char *text = malloc(size);

	memset(text, ' ', size);
	RAIL_CLOSE int input = memory_file(text, size);
	struct outcome outcome = run_to(input, -1, "ADD", "eth0");

	cr_assert_eq(outcome.status, 1);
	cr_assert_not_null(strstr(outcome.output, "\"code\":6,"));
	cr_assert_not_null(strstr(outcome.output, "4194304"));
}
