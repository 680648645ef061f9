#include "pkg/cni/delegate.h"

#include <criterion/criterion.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "pkg/base/cleanup.h"

/* Plugins of a test are shell scripts in a directory of its own. */

static char directory[] = "/tmp/rail-delegate-XXXXXX";

static void set_up(void)
{
	(void)signal(SIGPIPE, SIG_IGN);
	cr_assert_not_null(mkdtemp(directory));
	cr_assert_eq(setenv("CNI_COMMAND", "ADD", 1), 0);
	cr_assert_eq(setenv("CNI_CONTAINERID", "abc", 1), 0);
}

static void tear_down(void)
{
	char command[64];

	(void)snprintf(command, sizeof(command), "rm -rf %s", directory);
	cr_assert_eq(system(command), 0);
}

TestSuite(cni_delegate, .init = set_up, .fini = tear_down, .timeout = 20);

static void make_plugin(const char *name, mode_t mode, const char *script)
{
	char path[128];
	(void)snprintf(path, sizeof(path), "%s/%s", directory, name);
	FILE *file = fopen(path, "we");

	cr_assert_not_null(file);
	(void)fprintf(file, "#!/bin/sh\n%s\n", script);
	cr_assert_eq(fclose(file), 0);
	cr_assert_eq(chmod(path, mode), 0);
}

static int run(const char *script, const char *configuration, struct rail_json **ret_output,
	       struct rail_error *error)
{
	*error = RAIL_ERROR_NONE;
	make_plugin("fake", 0700, script);
	return rail_delegate("fake", directory, RAIL_CNI_CHECK, configuration,
			     strlen(configuration), ret_output, error);
}

Test(cni_delegate, the_child_gets_environment_and_configuration)
{
	RAIL_CLEANUP(rail_json_freep) struct rail_json *output = NULL;
	struct rail_error error;

	cr_assert_eq(run("read -r text\n"
			 "printf '{\"command\":\"%s\",\"id\":\"%s\",\"text\":%s}' \"$CNI_COMMAND\""
			 " \"$CNI_CONTAINERID\" \"$text\"",
			 "{\"name\":\"n\"}\n", &output, &error),
		     0, "%s", error.message);
	RAIL_FREE char *text = rail_json_print(output);
	cr_assert_str_eq(text, "{\"command\":\"CHECK\",\"id\":\"abc\",\"text\":{\"name\":\"n\"}}");
	/* It is there once, and ours is as it was. */
	cr_assert_eq(run("test $(tr '\\0' '\\n' < /proc/$$/environ | grep -c ^CNI_COMMAND=) = 1",
			 "{}", NULL, &error),
		     0, "%s", error.message);
	cr_assert_str_eq(getenv("CNI_COMMAND"), "ADD");
}

Test(cni_delegate, the_child_has_the_standard_descriptors_only)
{
	RAIL_CLEANUP(rail_json_freep) struct rail_json *output = NULL;
	struct rail_error error;
	/* Without close-on-exec. */
	RAIL_CLOSE int leaked = fcntl(STDERR_FILENO, F_DUPFD, 77);
	char script[128];

	cr_assert_geq(leaked, 77);
	(void)snprintf(script, sizeof(script),
		       "test -e /proc/$$/fd/2 || exit 1\n"
		       "test -e /proc/$$/fd/%d && echo '{\"leaked\":true}' || echo '{}'",
		       leaked);
	cr_assert_eq(run(script, "{}", &output, &error), 0, "%s", error.message);
	RAIL_FREE char *text = rail_json_print(output);
	cr_assert_str_eq(text, "{}");
}

Test(cni_delegate, a_large_configuration_and_a_large_output_at_once)
{
	size_t size = 900 * 1024;
	RAIL_FREE char *text = malloc(size + 1);
	RAIL_CLEANUP(rail_json_freep) struct rail_json *output = NULL;
	struct rail_error error;

	memset(text, ' ', size);
	memcpy(text, "{\"a\":\"", 6);
	memset(text + 6, 'x', size - 8);
	memcpy(text + size - 2, "\"}", 2);
	text[size] = '\0';
	/* cat writes before all is read. */
	cr_assert_eq(run("exec cat", text, &output, &error), 0, "%s", error.message);
	cr_assert_eq(strlen(rail_json_string(rail_json_get(output, "a"))), size - 8);
}

Test(cni_delegate, a_child_that_does_not_read)
{
	size_t size = 900 * 1024;
	RAIL_FREE char *text = malloc(size + 1);
	RAIL_CLEANUP(rail_json_freep) struct rail_json *output = NULL;
	struct rail_error error;

	memset(text, ' ', size);
	text[size] = '\0';
	cr_assert_eq(run("exec <&-; printf '{\"a\":1}'", text, &output, &error), 0, "%s",
		     error.message);
	cr_assert_not_null(rail_json_get(output, "a"));
}

Test(cni_delegate, no_output)
{
	struct rail_json *output = (struct rail_json *)directory;
	struct rail_error error;

	cr_assert_eq(run("exit 0", "{}", &output, &error), 0);
	cr_assert_null(output);
	output = (struct rail_json *)directory;
	cr_assert_eq(run("echo; echo ' '", "{}", &output, &error), 0);
	cr_assert_null(output);
	/* Not asked for, it is not looked at. */
	cr_assert_eq(run("echo hello", "{}", NULL, &error), 0);
}

Test(cni_delegate, failures)
{
	static const struct {
		const char *script;
		int code;
		const char *says;
	} cases[] = {
		{"echo '{\"cniVersion\":\"1.0.0\",\"code\":101,\"msg\":\"no address left\"}';exit "
		 "1",
		 101, "fake: no address left"},
		{"echo '{\"code\":7,\"msg\":\"a\",\"details\":\"b\"}'; exit 3", 7, "fake: a; b"},
		{"echo '{\"msg\":\"a\"}'; exit 1", 999, "fake: a"},
		{"echo '{\"code\":\"7\",\"msg\":\"a\"}'; exit 1", 999, "fake: a"},
		{"echo '{\"code\":7}'; exit 1", 999, "it printed: '{\"code\":7}\\x0a'"},
		{"printf 'pan\\tic'; exit 2", 999, "status 2"},
		{"printf 'pan\\tic'; exit 2", 999, "'pan\\x09ic'"},
		{"exit 1", 999, "it printed: ''"},
		{"echo hello", RAIL_CODE_DECODE, "fake"},
		{"echo '[]'", RAIL_CODE_DECODE, "a list"},
		{"echo '{\"a\":1,\"a\":2}'", RAIL_CODE_DECODE, "'a'"},
		{"kill -9 $$", 999, "killed by signal 9"},
		{"kill -15 $$; exit 0", 999, "killed by signal 15"},
		{"head -c 5000000 /dev/zero", 999, "4 MiB"},
	};

	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		struct rail_json *output = NULL;
		struct rail_error error;

		cr_assert_lt(run(cases[i].script, "{}", &output, &error), 0, "%s", cases[i].script);
		cr_assert_eq(error.code, cases[i].code, "%s: %d", cases[i].script, error.code);
		cr_assert(strstr(error.message, cases[i].says) != NULL, "%s: %s", cases[i].script,
			  error.message);
		cr_assert_null(output);
	}
}

Test(cni_delegate, long_output_of_a_failure_is_cut)
{
	struct rail_error error;

	cr_assert_lt(run("head -c 1000 /dev/zero | tr '\\0' '\\377'; exit 1", "{}", NULL, &error),
		     0);
	cr_assert_null(strstr(error.message, "\xff"));
	cr_assert_not_null(strstr(error.message, "\\xff\\xff'"));
}

Test(cni_delegate, what_the_child_leaves_behind_is_not_waited_for)
{
	RAIL_CLEANUP(rail_json_freep) struct rail_json *output = NULL;
	struct rail_error error;
	char fifo[64];
	char script[192];

	/* A process that has the output's pipe until this test lets it go. */
	(void)snprintf(fifo, sizeof(fifo), "%s/hold", directory);
	cr_assert_eq(mkfifo(fifo, 0600), 0);
	(void)snprintf(script, sizeof(script), "(read -r line < %s) & printf '{\"a\":1}'", fifo);
	cr_assert_eq(run(script, "{}", &output, &error), 0, "%s", error.message);
	cr_assert_not_null(rail_json_get(output, "a"));

	/* Waits until it reads. */
	RAIL_CLOSE int hold = open(fifo, O_WRONLY | O_CLOEXEC);
	cr_assert_geq(hold, 0);
	cr_assert_eq(write(hold, "go\n", 3), 3);
}

Test(cni_delegate, a_type_that_is_no_file_name)
{
	static const char *const types[] = {"", ".", "..", "a/b", "/bin/true"};

	for (size_t i = 0; i < sizeof(types) / sizeof(types[0]); i++) {
		struct rail_error error = RAIL_ERROR_NONE;

		cr_assert_lt(rail_delegate(types[i], "/bin", RAIL_CNI_ADD, "{}", 2, NULL, &error),
			     0);
		cr_assert_eq(error.code, RAIL_CODE_INVALID_CONFIG);
	}
}

Test(cni_delegate, the_plugin_is_looked_for_in_each_directory)
{
	char path[256];
	struct rail_error error = RAIL_ERROR_NONE;

	make_plugin("not-executable", 0600, "exit 0");
	make_plugin("real", 0700, "exit 0");
	(void)snprintf(path, sizeof(path), "%s/a-directory", directory);
	cr_assert_eq(mkdir(path, 0700), 0);

	(void)snprintf(path, sizeof(path), ":/nowhere::%s", directory);
	cr_assert_eq(rail_delegate("real", path, RAIL_CNI_ADD, "{}", 2, NULL, &error), 0);
	(void)snprintf(path, sizeof(path), "%s:/nowhere", directory);
	cr_assert_eq(rail_delegate("real", path, RAIL_CNI_ADD, "{}", 2, NULL, &error), 0);

	static const char *const missing[] = {"not-executable", "a-directory", "nothing"};
	for (size_t i = 0; i < sizeof(missing) / sizeof(missing[0]); i++) {
		cr_assert_eq(rail_delegate(missing[i], path, RAIL_CNI_ADD, "{}", 2, NULL, &error),
			     -ENOENT);
		cr_assert_eq(error.code, RAIL_CODE_INVALID_CONFIG);
		cr_assert_not_null(strstr(error.message, path));
		cr_assert_not_null(strstr(error.message, missing[i]));
	}
}

Test(cni_delegate, a_file_that_cannot_be_executed)
{
	char path[128];
	struct rail_error error = RAIL_ERROR_NONE;

	(void)snprintf(path, sizeof(path), "%s/broken", directory);
	RAIL_CLOSE int fd = open(path, O_CREAT | O_WRONLY | O_CLOEXEC, 0700);
	cr_assert_eq(write(fd,
			   "\x7f"
			   "ELF",
			   4),
		     4);
	(void)close(RAIL_TAKE_FD(fd));
	cr_assert_lt(rail_delegate("broken", directory, RAIL_CNI_ADD, "{}", 2, NULL, &error), 0);
	cr_assert_not_null(strstr(error.message, "broken"));
}

Test(cni_delegate, a_plugin_beside_this_one_is_told_from_another_of_its_name)
{
	char own[PATH_MAX] = "";
	char path[PATH_MAX + 64];
	char link_path[PATH_MAX + 64];

	cr_assert_gt(readlink("/proc/self/exe", own, sizeof(own) - 1), 0);
	char *name = strrchr(own, '/') + 1;
	name[-1] = '\0';
	cr_assert(rail_delegate_is_beside(name, own));
	cr_assert_not(rail_delegate_is_beside("no-such-plugin", own));

	/* CNI_PATH with a link to this one's directory, and with another file of the name. */
	(void)snprintf(link_path, sizeof(link_path), "%s/link", directory);
	cr_assert_eq(symlink(own, link_path), 0);
	cr_assert(rail_delegate_is_beside(name, link_path));
	(void)snprintf(path, sizeof(path), "%s/%s", directory, name);
	int fd = open(path, O_WRONLY | O_CREAT | O_EXCL, 0755);
	cr_assert_geq(fd, 0);
	(void)close(fd);
	cr_assert_not(rail_delegate_is_beside(name, directory));
}
