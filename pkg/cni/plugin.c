#include "pkg/cni/plugin.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "pkg/base/cleanup.h"
#include "pkg/base/file.h"

static const char *get_variable(const char *name)
{
	return getenv(name);
}

/* A file of ours must not get the number of a standard descriptor that the runtime closed. Reading
 * from the stand-in gives nothing, and writing to that of standard output fails. */
static void open_standard_files(void)
{
	for (int fd = STDIN_FILENO; fd <= STDERR_FILENO; fd++)
		if (fcntl(fd, F_GETFD) < 0)
			(void)open("/dev/null", fd == STDERR_FILENO ? O_WRONLY : O_RDONLY);
}

static void hold_signals(void)
{
	sigset_t signals;

	(void)signal(SIGPIPE, SIG_IGN);
	(void)sigemptyset(&signals);
	(void)sigaddset(&signals, SIGTERM);
	(void)sigaddset(&signals, SIGINT);
	(void)sigaddset(&signals, SIGHUP);
	(void)sigprocmask(SIG_BLOCK, &signals, NULL);
}

/* Nomad runs every plugin without a command and looks for the first word that is a version. */
static int say_what_it_is(const struct rail_cni_plugin *plugin)
{
	(void)fprintf(stderr, "CNI %s plugin v%s\n%s\nCNI versions:", plugin->name, RAIL_VERSION,
		      plugin->description);
	for (int i = 0; i < RAIL_CNI_VERSION_COUNT; i++)
		(void)fprintf(stderr, " %s", rail_cni_version_names[i]);
	(void)fprintf(stderr, "\n");
	return EXIT_SUCCESS;
}

static bool write_all(const char *text, size_t size)
{
	while (size > 0) {
		ssize_t put = write(STDOUT_FILENO, text, size);

		if (put < 0 && errno == EINTR)
			continue;
		if (put <= 0)
			return false;
		text += put;
		size -= (size_t)put;
	}
	return true;
}

static int print_error(enum rail_cni_version version, const struct rail_error *error)
{
	static const char last_resort[] = "{\"cniVersion\":\"0.2.0\",\"code\":11,"
					  "\"msg\":\"out of memory\"}";
	RAIL_FREE char *text = rail_error_print(version, error);
	const char *printed = text != NULL ? text : last_resort;

	if (!write_all(printed, strlen(printed)) || !write_all("\n", 1))
		(void)fprintf(stderr, "%s\n", printed);
	return EXIT_FAILURE;
}

static struct rail_json *versions_answer(const struct rail_cni_call *call)
{
	const char *asked = rail_json_string(rail_json_get(call->document, "cniVersion"));
	RAIL_CLEANUP(rail_json_freep) struct rail_json *answer = rail_json_new_object();
	RAIL_CLEANUP(rail_json_freep) struct rail_json *versions = rail_json_new_array();

	for (int i = 0; i < RAIL_CNI_VERSION_COUNT; i++)
		if (rail_json_append(versions, rail_json_new_string(rail_cni_version_names[i])) < 0)
			return NULL;
	if (rail_json_put(answer, "cniVersion",
			  rail_json_new_string(
				  asked != NULL ? asked : rail_cni_version_names[RAIL_CNI_1_1_0])) <
		    0 ||
	    rail_json_put(answer, "supportedVersions", RAIL_TAKE_POINTER(versions)) < 0)
		return NULL;
	return RAIL_TAKE_POINTER(answer);
}

static int fail_command(const char *command, struct rail_error *error)
{
	return rail_fail_code(error, RAIL_CODE_INVALID_ENVIRONMENT, ENOSYS,
			      "environment variable CNI_COMMAND='%s': this plugin does not have it",
			      command);
}

/* ret_result stays NULL where the command has none. */
static int dispatch(const struct rail_cni_plugin *plugin, const struct rail_cni_call *call,
		    struct rail_json **ret_result, struct rail_error *error)
{
	int result;

	switch (call->command) {
	case RAIL_CNI_ADD:
		if (plugin->add == NULL)
			return fail_command("ADD", error);
		result = plugin->add(call, ret_result, error);
		if (result >= 0 && *ret_result == NULL)
			return rail_fail_code(error, RAIL_CODE_INTERNAL, EIO,
					      "ADD succeeded without a result: this is a fault of "
					      "the plugin");
		return result;
	case RAIL_CNI_DEL:
		return plugin->del != NULL ? plugin->del(call, error) : fail_command("DEL", error);
	case RAIL_CNI_CHECK:
		return plugin->check != NULL ? plugin->check(call, error)
					     : fail_command("CHECK", error);
	case RAIL_CNI_GC:
		return plugin->gc != NULL ? plugin->gc(call, error) : fail_command("GC", error);
	case RAIL_CNI_STATUS:
		return plugin->status != NULL ? plugin->status(call, error)
					      : fail_command("STATUS", error);
	case RAIL_CNI_VERSION:
		*ret_result = versions_answer(call);
		if (*ret_result == NULL)
			return rail_fail_errno(error, ENOMEM, "answer VERSION");
		return 0;
	}
	return fail_command("?", error);
}

static int read_input(bool version, char **ret_input, size_t *ret_size, struct rail_error *error)
{
	/* VERSION needs no input, and a person who asks for it gives none. */
	if (version && isatty(STDIN_FILENO))
		return 0;

	int result =
		rail_read_all(STDIN_FILENO, RAIL_JSON_SIZE_MAXIMUM, ret_input, ret_size, error);
	if (result >= 0 || version)
		return 0;
	if (result == -EFBIG)
		error->code = RAIL_CODE_DECODE;
	return rail_wrap(error, result, "the network configuration on standard input");
}

/* A result that nobody gets is no success: its ADD has failed, and undoes itself as any that
 * failed. */
static int print_result(const struct rail_cni_plugin *plugin, const struct rail_cni_call *call,
			const struct rail_json *result)
{
	RAIL_FREE char *text = rail_json_print(result);
	struct rail_error error = RAIL_ERROR_NONE;

	if (text != NULL && write_all(text, strlen(text)) && write_all("\n", 1))
		return EXIT_SUCCESS;
	int errnum = text == NULL ? ENOMEM : errno;
	if (call->command == RAIL_CNI_ADD && plugin->undo_add != NULL)
		plugin->undo_add(call);
	(void)rail_fail_errno(&error, errnum, "print the result");
	/* Not behind a part of the result on standard output. */
	if (text == NULL)
		return print_error(call->version, &error);
	(void)fprintf(stderr, "%s: %s\n", plugin->name, error.message);
	return EXIT_FAILURE;
}

int rail_cni_main(const struct rail_cni_plugin *plugin)
{
	const char *command = getenv("CNI_COMMAND");
	RAIL_FREE char *input = NULL;
	size_t input_size = 0;
	struct rail_error error = RAIL_ERROR_NONE;
	RAIL_CLEANUP(rail_cni_call_done)
	struct rail_cni_call call = {.version = RAIL_CNI_1_1_0};
	RAIL_CLEANUP(rail_json_freep) struct rail_json *output = NULL;

	open_standard_files();
	if (command == NULL || command[0] == '\0')
		return say_what_it_is(plugin);
	hold_signals();

	int result = read_input(strcmp(command, "VERSION") == 0, &input, &input_size, &error);
	if (result >= 0)
		result = rail_cni_call_read(get_variable, input != NULL ? input : "", input_size,
					    &call, &error);
	if (result >= 0)
		result = dispatch(plugin, &call, &output, &error);
	if (result < 0)
		return print_error(call.version, &error);

	return output != NULL ? print_result(plugin, &call, output) : EXIT_SUCCESS;
}
