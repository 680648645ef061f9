#include "pkg/cni/delegate.h"

#include <ctype.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <poll.h>
#include <signal.h>
#include <spawn.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/pidfd.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "pkg/base/cleanup.h"

#define OUTPUT_MAXIMUM RAIL_JSON_SIZE_MAXIMUM

static const char *command_name(enum rail_cni_command command)
{
	static const char *const names[] = {
		[RAIL_CNI_ADD] = "ADD",	      [RAIL_CNI_DEL] = "DEL",
		[RAIL_CNI_CHECK] = "CHECK",   [RAIL_CNI_GC] = "GC",
		[RAIL_CNI_STATUS] = "STATUS", [RAIL_CNI_VERSION] = "VERSION",
	};

	return names[command];
}

static int find_plugin(const char *type, const char *path, char found[PATH_MAX],
		       struct rail_error *error)
{
	const char *directory = path;

	for (;;) {
		size_t length = strcspn(directory, ":");
		struct stat status;
		int printed = snprintf(found, PATH_MAX, "%.*s/%s", (int)length, directory, type);

		if (length > 0 && length < PATH_MAX && printed < PATH_MAX &&
		    stat(found, &status) == 0 && S_ISREG(status.st_mode) &&
		    faccessat(AT_FDCWD, found, X_OK, AT_EACCESS) == 0)
			return 0;
		if (directory[length] == '\0')
			return rail_fail_code(error, RAIL_CODE_INVALID_CONFIG, ENOENT,
					      "plugin '%s': no executable file of that name in "
					      "CNI_PATH (%.256s)",
					      type, path);
		directory += length + 1;
	}
}

/* Our environment with another CNI_COMMAND, which is in variable. The strings are borrowed. */
static char **make_environment(char *variable)
{
	static const char prefix[] = "CNI_COMMAND=";
	size_t count = 0;

	while (environ[count] != NULL)
		count++;

	char **copy = calloc(count + 2, sizeof(*copy));
	size_t kept = 0;
	if (copy == NULL)
		return NULL;
	for (size_t i = 0; i < count; i++)
		if (strncmp(environ[i], prefix, sizeof(prefix) - 1) != 0)
			copy[kept++] = environ[i];
	copy[kept] = variable;
	return copy;
}

struct child {
	const char *type;
	char *name;	    /* type, as its argv[0] */
	char **environment; /* a list of its own; the strings are borrowed */
	pid_t pid;	    /* 0: none, or waited for */
	int pidfd;	    /* readable when it has ended */
	int input;	    /* our end of its standard input; closed when all is written */
	int output;	    /* our end of its standard output */
	char *text;	    /* what it printed, with a NUL behind */
	size_t size;
	size_t capacity;
};

static void child_done(struct child *child)
{
	if (child->pid > 0) {
		(void)kill(child->pid, SIGKILL);
		while (waitpid(child->pid, NULL, 0) < 0 && errno == EINTR)
			;
	}
	rail_cleanup_close(&child->pidfd);
	rail_cleanup_close(&child->input);
	rail_cleanup_close(&child->output);
	free(child->text);
	free(child->environment);
	free(child->name);
}

/* All descriptors but the standard ones end with the exec; SIGPIPE is as a plugin expects it. The
 * signals that we block stay blocked: a half-done DEL helps nobody in the child either. */
static int prepare(posix_spawn_file_actions_t *actions, posix_spawnattr_t *attributes, int input,
		   int output)
{
	sigset_t defaults;
	int errnum;

	(void)sigemptyset(&defaults);
	(void)sigaddset(&defaults, SIGPIPE);

	errnum = posix_spawn_file_actions_adddup2(actions, input, STDIN_FILENO);
	if (errnum == 0)
		errnum = posix_spawn_file_actions_adddup2(actions, output, STDOUT_FILENO);
	if (errnum == 0)
		errnum = posix_spawn_file_actions_addclosefrom_np(actions, STDERR_FILENO + 1);
	if (errnum == 0)
		errnum = posix_spawnattr_setsigdefault(attributes, &defaults);
	if (errnum == 0)
		errnum = posix_spawnattr_setflags(attributes, POSIX_SPAWN_SETSIGDEF);
	return errnum;
}

static int spawn(struct child *child, const char *file, int input, int output,
		 struct rail_error *error)
{
	posix_spawn_file_actions_t actions;
	posix_spawnattr_t attributes;
	char *arguments[] = {child->name, NULL};
	pid_t pid = 0;

	int errnum = posix_spawn_file_actions_init(&actions);
	if (errnum != 0)
		return rail_fail_errno(error, errnum, "execute '%s'", file);
	errnum = posix_spawnattr_init(&attributes);
	if (errnum == 0) {
		errnum = prepare(&actions, &attributes, input, output);
		if (errnum == 0)
			errnum = posix_spawn(&pid, file, &actions, &attributes, arguments,
					     child->environment);
		(void)posix_spawnattr_destroy(&attributes);
	}
	(void)posix_spawn_file_actions_destroy(&actions);
	if (errnum != 0)
		return rail_fail_errno(error, errnum, "execute '%s'", file);
	child->pid = pid;
	return 0;
}

/* variable: the child's CNI_COMMAND, as it stands in an environment. */
static int start(struct child *child, const char *file, char *variable, struct rail_error *error)
{
	int input[2];
	int output[2];

	child->environment = make_environment(variable);
	child->name = strdup(child->type);
	if (child->environment == NULL || child->name == NULL)
		return rail_fail_errno(error, ENOMEM, "execute '%s'", file);

	if (pipe2(input, O_CLOEXEC) < 0)
		return rail_fail_errno(error, errno, "execute '%s'", file);
	RAIL_CLOSE int input_read = input[0];
	child->input = input[1];
	if (pipe2(output, O_CLOEXEC) < 0)
		return rail_fail_errno(error, errno, "execute '%s'", file);
	RAIL_CLOSE int output_write = output[1];
	child->output = output[0];
	if (fcntl(child->input, F_SETFL, O_NONBLOCK) < 0 ||
	    fcntl(child->output, F_SETFL, O_NONBLOCK) < 0)
		return rail_fail_errno(error, errno, "execute '%s'", file);

	int result = spawn(child, file, input_read, output_write, error);
	if (result < 0)
		return result;
	child->pidfd = pidfd_open(child->pid, 0);
	if (child->pidfd < 0)
		return rail_fail_errno(error, errno, "watch plugin '%s'", child->type);
	return 0;
}

static void close_now(int *fd)
{
	rail_cleanup_close(fd);
	*fd = -EBADF;
}

/* Writes what the pipe takes; closes it when all is written or the child reads no more. */
static int feed(struct child *child, const char *configuration, size_t size, size_t *written,
		struct rail_error *error)
{
	while (*written < size) {
		ssize_t put = write(child->input, configuration + *written, size - *written);

		if (put >= 0) {
			*written += (size_t)put;
		} else if (errno == EAGAIN) {
			return 0;
		} else if (errno == EPIPE) {
			break;
		} else if (errno != EINTR) {
			return rail_fail_errno(error, errno, "write to plugin '%s'", child->type);
		}
	}
	close_now(&child->input);
	return 0;
}

/* Reads what is there; closes the pipe at its end. */
static int drain(struct child *child, struct rail_error *error)
{
	for (;;) {
		if (child->capacity - child->size < 2) {
			size_t larger = child->capacity == 0 ? 4096 : child->capacity * 2;
			char *grown = realloc(child->text, larger);

			if (grown == NULL)
				return rail_fail_errno(error, ENOMEM, "read from plugin '%s'",
						       child->type);
			child->text = grown;
			child->capacity = larger;
		}

		ssize_t got = read(child->output, child->text + child->size,
				   child->capacity - child->size - 1);
		if (got < 0 && errno == EINTR)
			continue;
		if (got < 0 && errno == EAGAIN)
			break;
		if (got < 0)
			return rail_fail_errno(error, errno, "read from plugin '%s'", child->type);
		if (got == 0) {
			close_now(&child->output);
			break;
		}
		child->size += (size_t)got;
		if (child->size > OUTPUT_MAXIMUM)
			return rail_fail_code(error, RAIL_CODE_INTERNAL, EFBIG,
					      "plugin '%s' printed more than 4 MiB", child->type);
	}
	child->text[child->size] = '\0';
	return 0;
}

/* Both pipes are served at once, because either side may wait for the other. */
static int talk(struct child *child, const char *configuration, size_t size,
		struct rail_error *error)
{
	size_t written = 0;
	bool ended = false;

	while (!ended) {
		struct pollfd fds[] = {
			{.fd = child->pidfd, .events = POLLIN},
			{.fd = child->input, .events = POLLOUT},
			{.fd = child->output, .events = POLLIN},
		};
		int result = 0;

		if (poll(fds, 3, -1) < 0) {
			if (errno == EINTR)
				continue;
			return rail_fail_errno(error, errno, "wait for plugin '%s'", child->type);
		}
		ended = fds[0].revents != 0;
		if (fds[1].revents != 0)
			result = feed(child, configuration, size, &written, error);
		/* When it has ended, what it printed is in the pipe, even where a process that it
		 * left behind still holds the other end. */
		if (result == 0 && child->output >= 0 && (ended || fds[2].revents != 0))
			result = drain(child, error);
		if (result < 0)
			return result;
	}
	return 0;
}

/* At most 200 bytes of what a child printed, as one line of printable ASCII. */
static void quote(const struct child *child, char text[801])
{
	size_t position = 0;

	text[0] = '\0';
	for (size_t i = 0; i < child->size && i < 200; i++) {
		unsigned char c = (unsigned char)child->text[i];

		if (c == '\\' || c >= 0x7f || c < 0x20)
			position += (size_t)snprintf(text + position, 801 - position, "\\x%02x", c);
		else
			position += (size_t)snprintf(text + position, 801 - position, "%c", c);
	}
}

static bool only_blanks(const struct child *child)
{
	for (size_t i = 0; i < child->size; i++)
		if (!isspace((unsigned char)child->text[i]))
			return false;
	return true;
}

/* The error that a child which failed printed. */
static int fail_of_child(const struct child *child, int status, struct rail_error *error)
{
	RAIL_CLEANUP(rail_json_freep) struct rail_json *object = NULL;
	const char *message = NULL;
	int64_t code = RAIL_CODE_INTERNAL;

	if (rail_json_parse(child->text, child->size, &object, NULL) == 0) {
		message = rail_json_string(rail_json_get(object, "msg"));
		if (rail_json_integer(rail_json_get(object, "code"), 1, INT_MAX, &code) < 0)
			code = RAIL_CODE_INTERNAL;
	}
	if (message == NULL) {
		char text[801];

		quote(child, text);
		return rail_fail_code(error, RAIL_CODE_INTERNAL, EIO,
				      "plugin '%s' ended with status %d and without an error in "
				      "JSON; it printed: '%s'",
				      child->type, status, text);
	}

	const char *details = rail_json_string(rail_json_get(object, "details"));
	bool more = details != NULL && details[0] != '\0';
	return rail_fail_code(error, (int)code, EIO, "%s: %s%s%s", child->type, message,
			      more ? "; " : "", more ? details : "");
}

static int judge(const struct child *child, int status, struct rail_json **ret_output,
		 struct rail_error *error)
{
	if (WIFSIGNALED(status))
		return rail_fail_code(error, RAIL_CODE_INTERNAL, EIO,
				      "plugin '%s' was killed by signal %d (%s)", child->type,
				      WTERMSIG(status), strsignal(WTERMSIG(status)));
	if (WEXITSTATUS(status) != 0)
		return fail_of_child(child, WEXITSTATUS(status), error);
	if (ret_output == NULL)
		return 0;
	if (only_blanks(child)) {
		*ret_output = NULL;
		return 0;
	}

	RAIL_CLEANUP(rail_json_freep) struct rail_json *output = NULL;
	int result = rail_json_parse(child->text, child->size, &output, error);
	if (result < 0)
		return rail_wrap(error, result, "what plugin '%s' printed", child->type);
	if (rail_json_type(output) != RAIL_JSON_OBJECT)
		return rail_fail_code(error, RAIL_CODE_DECODE, EBADMSG,
				      "what plugin '%s' printed is %s, not an object", child->type,
				      rail_json_type_name(rail_json_type(output)));
	*ret_output = RAIL_TAKE_POINTER(output);
	return 0;
}

static int execute(struct child *child, const char *file, enum rail_cni_command command,
		   const char *configuration, size_t size, struct rail_json **ret_output,
		   struct rail_error *error)
{
	char variable[32];
	int status;

	(void)snprintf(variable, sizeof(variable), "CNI_COMMAND=%s", command_name(command));
	int result = start(child, file, variable, error);
	if (result == 0)
		result = talk(child, configuration, size, error);
	if (result < 0)
		return result;

	while (waitpid(child->pid, &status, 0) < 0)
		if (errno != EINTR)
			return rail_fail_errno(error, errno, "wait for plugin '%s'", child->type);
	child->pid = 0;
	return judge(child, status, ret_output, error);
}

int rail_delegate(const char *type, const char *path, enum rail_cni_command command,
		  const char *configuration, size_t configuration_size,
		  struct rail_json **ret_output, struct rail_error *error)
{
	char file[PATH_MAX];
	struct child child = {
		.type = type,
		.pidfd = -EBADF,
		.input = -EBADF,
		.output = -EBADF,
	};

	if (!rail_cni_type_valid(type))
		return rail_fail_code(error, RAIL_CODE_INVALID_CONFIG, EINVAL,
				      "'%.64s' is not the name of a plugin's file", type);
	int result = find_plugin(type, path, file, error);
	if (result < 0)
		return result;

	result = execute(&child, file, command, configuration, configuration_size, ret_output,
			 error);
	child_done(&child);
	return result;
}

bool rail_delegate_is_beside(const char *type, const char *path)
{
	char found[PATH_MAX];
	char resolved[PATH_MAX];
	char own[PATH_MAX];
	ssize_t size = readlink("/proc/self/exe", own, sizeof(own) - 1);

	if (size <= 0 || find_plugin(type, path, found, NULL) < 0 ||
	    realpath(found, resolved) == NULL)
		return false;
	own[size] = '\0';

	const char *own_name = strrchr(own, '/');
	const char *name = strrchr(resolved, '/');
	return own_name != NULL && name != NULL && own_name - own == name - resolved &&
	       memcmp(own, resolved, (size_t)(name - resolved)) == 0 && strcmp(name + 1, type) == 0;
}
