#include "pkg/base/log.h"

#include <criterion/criterion.h>
#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "pkg/base/cleanup.h"

static void format(char line[RAIL_LOG_LINE_SIZE], const char *value)
{
	const struct rail_log_pair pair = {.key = "key", .value = value};
	int length = rail_log_format(line, RAIL_LOG_WARN, "what happened", &pair, 1);

	cr_assert_eq((size_t)length, strlen(line));
	cr_assert_eq(line[length - 1], '\n');
	cr_assert_eq(strchr(line, '\n'), line + length - 1, "one message is one line");
}

static void assert_value(const char *value, const char *expected)
{
	char line[RAIL_LOG_LINE_SIZE];
	char whole[256];

	format(line, value);
	(void)snprintf(whole, sizeof(whole), "level=warn msg=\"what happened\"%s%s\n",
		       *expected == '\0' ? "" : " key=", expected);
	cr_assert_str_eq(line, whole);
}

Test(base_log, plain_values_stand_as_they_are)
{
	assert_value("fd00::1/64,a-b_c.d@e%f+g", "fd00::1/64,a-b_c.d@e%f+g");
	assert_value(NULL, "");
}

Test(base_log, all_else_is_quoted_and_escaped)
{
	assert_value("", "\"\"");
	assert_value("two words", "\"two words\"");
	assert_value("a=b", "\"a=b\"");
	assert_value("a\nlevel=error msg=forged", "\"a\\x0alevel=error msg=forged\"");
	assert_value("\"quoted\\\"", "\"\\\"quoted\\\\\\\"\"");
	assert_value("\x1b[31m\x7f\xc3\xa9", "\"\\x1b[31m\\x7f\\xc3\\xa9\"");
}

Test(base_log, a_long_line_is_cut_between_escapes_and_stays_quoted)
{
	char value[2 * RAIL_LOG_LINE_SIZE];
	char line[RAIL_LOG_LINE_SIZE];

	/* Each start puts the escapes elsewhere at the end of the line. */
	for (size_t start = 0; start < 8; start++) {
		memset(value, '\n', sizeof(value));
		memset(value, 'a', start);
		value[sizeof(value) - 1] = '\0';
		format(line, value);

		size_t length = strlen(line);

		cr_assert_gt(length, RAIL_LOG_LINE_SIZE - 16);
		cr_assert_lt(length, RAIL_LOG_LINE_SIZE);
		cr_assert_str_eq(line + length - 6, "\\x0a\"\n");
	}
}

Test(base_log, pairs_behind_the_end_are_left_out)
{
	char value[RAIL_LOG_LINE_SIZE];
	char line[RAIL_LOG_LINE_SIZE];

	memset(value, 'v', sizeof(value));
	value[sizeof(value) - 1] = '\0';
	for (size_t length = sizeof(value) - 80; length < sizeof(value); length++) {
		value[length - 1] = '\0';

		const struct rail_log_pair pairs[] = {{"first", value}, {"second", "2 2"}};
		int size = rail_log_format(line, RAIL_LOG_INFO, "m", pairs, 2);

		cr_assert_lt(size, RAIL_LOG_LINE_SIZE);
		cr_assert_eq(strchr(line, '\n'), line + size - 1);
		value[length - 1] = 'v';
	}
}

Test(base_log, writes_what_is_important_enough)
{
	int pipe_fds[2];
	char text[256] = "";

	cr_assert_eq(pipe2(pipe_fds, O_CLOEXEC), 0);

	RAIL_CLOSE int reader = pipe_fds[0];
	RAIL_CLOSE int writer = pipe_fds[1];
	RAIL_CLOSE int saved = dup(STDERR_FILENO);

	cr_assert_geq(dup2(writer, STDERR_FILENO), 0);
	errno = ENOTTY;
	rail_log(RAIL_LOG_DEBUG, "left out", NULL);
	rail_log(RAIL_LOG_INFO, "first", "a", "1", "none", NULL, "b", "2", NULL);
	rail_log_set_level(RAIL_LOG_ERROR);
	rail_log(RAIL_LOG_WARN, "left out", NULL);
	rail_log(RAIL_LOG_ERROR, "second", NULL);

	int kept = errno;

	cr_assert_geq(dup2(saved, STDERR_FILENO), 0);
	cr_assert_eq(kept, ENOTTY);
	cr_assert_gt(read(reader, text, sizeof(text) - 1), 0);
	cr_assert_str_eq(text, "level=info msg=first a=1 b=2\nlevel=error msg=second\n");
}

Test(base_log, limits_a_window_and_counts_the_rest)
{
	struct rail_log_limit limit = {.maximum = 2, .window_ms = 100};
	unsigned int dropped = 99;

	cr_assert(rail_log_allowed(&limit, 1000, &dropped));
	cr_assert_eq(dropped, 0);
	cr_assert(rail_log_allowed(&limit, 1050, &dropped));
	cr_assert_not(rail_log_allowed(&limit, 1051, &dropped));
	cr_assert_not(rail_log_allowed(&limit, 1099, &dropped));
	cr_assert(rail_log_allowed(&limit, 1100, &dropped));
	cr_assert_eq(dropped, 2);
	cr_assert(rail_log_allowed(&limit, 1101, &dropped));
	cr_assert_eq(dropped, 0);
	cr_assert_not(rail_log_allowed(&limit, 1199, &dropped));
}

/* Reads all that is there; counts the lines. */
static size_t drain(int fd, char *last, size_t last_size)
{
	size_t lines = 0;
	size_t length = 0;
	char byte;

	while (read(fd, &byte, 1) == 1) {
		if (byte == '\n') {
			last[length] = '\0';
			length = 0;
			lines++;
		} else if (length + 1 < last_size) {
			last[length++] = byte;
		}
	}
	return lines;
}

static void log_into_full(int reader, int writer)
{
	enum { LINES = 20000 };
	static char value[1024];
	RAIL_CLOSE int saved = dup(STDERR_FILENO);
	char line[256] = "";

	memset(value, 'x', sizeof(value) - 1);
	cr_assert_eq(fcntl(reader, F_SETFL, O_NONBLOCK), 0);
	cr_assert_geq(dup2(writer, STDERR_FILENO), 0);
	for (int i = 0; i < LINES; i++)
		rail_log(RAIL_LOG_INFO, "what happened", "value", value, NULL);

	size_t lines = drain(reader, line, sizeof(line));
	char expected[64];

	rail_log(RAIL_LOG_INFO, "first", NULL);
	rail_log(RAIL_LOG_INFO, "second", NULL);
	(void)dup2(saved, STDERR_FILENO);
	cr_assert_gt(lines, 0);
	cr_assert_lt(lines, LINES);
	(void)snprintf(expected, sizeof(expected),
		       "level=warn msg=\"log lines were dropped\" count=%zu", LINES - lines);

	char all[512] = "";

	cr_assert_gt(read(reader, all, sizeof(all) - 1), 0);
	cr_assert_eq(strncmp(all, expected, strlen(expected)), 0, "%s", all);
}

Test(base_log, a_full_pipe_is_not_waited_for, .timeout = 10)
{
	int fds[2];

	cr_assert_eq(pipe2(fds, O_CLOEXEC), 0);
	log_into_full(fds[0], fds[1]);
	cr_assert_eq(fcntl(fds[1], F_GETFL) & O_NONBLOCK, 0, "others share it");
	(void)close(fds[0]);
	(void)close(fds[1]);
}

Test(base_log, a_full_socket_is_not_waited_for, .timeout = 10)
{
	int fds[2];

	cr_assert_eq(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, fds), 0);
	log_into_full(fds[0], fds[1]);
	(void)close(fds[0]);
	(void)close(fds[1]);
}
