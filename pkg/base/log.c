#include "pkg/base/log.h"

#include <errno.h>
#include <poll.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

enum { PAIRS_MAXIMUM = 16 };

static enum rail_log_level threshold = RAIL_LOG_INFO;

static const char *const level_names[] = {
	[RAIL_LOG_ERROR] = "error",
	[RAIL_LOG_WARN] = "warn",
	[RAIL_LOG_INFO] = "info",
	[RAIL_LOG_DEBUG] = "debug",
};

/* A line that is being written; two bytes stay free for the newline and the NUL. */
struct line {
	char *text;
	size_t length;
};

static void put(struct line *line, const char *text, size_t length)
{
	/* All or nothing, so that an escape is never cut in the middle. */
	if (length <= RAIL_LOG_LINE_SIZE - 2 - line->length) {
		memcpy(line->text + line->length, text, length);
		line->length += length;
	}
}

static bool is_plain(const char *value)
{
	static const char allowed[] = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ"
				      "0123456789._:/@%+,-";

	return *value != '\0' && value[strspn(value, allowed)] == '\0';
}

static void put_value(struct line *line, const char *value)
{
	if (is_plain(value)) {
		put(line, value, strlen(value));
		return;
	}
	put(line, "\"", 1);
	for (; *value != '\0'; value++) {
		unsigned char byte = (unsigned char)*value;
		char escaped[5];

		/* Keeps room for the closing quote of a value that is cut. */
		if (line->length > RAIL_LOG_LINE_SIZE - 2 - sizeof(escaped))
			break;
		if (byte == '"' || byte == '\\') {
			escaped[0] = '\\';
			escaped[1] = (char)byte;
			put(line, escaped, 2);
		} else if (byte < 0x20 || byte > 0x7e) {
			(void)snprintf(escaped, sizeof(escaped), "\\x%02x", (unsigned int)byte);
			put(line, escaped, 4);
		} else {
			put(line, value, 1);
		}
	}
	put(line, "\"", 1);
}

static void put_pair(struct line *line, const char *key, const char *value)
{
	size_t start = line->length;

	if (start != 0)
		put(line, " ", 1);
	put(line, key, strlen(key));
	put(line, "=", 1);
	/* A key of which nothing of the value fits says nothing. */
	if (line->length + 8 > RAIL_LOG_LINE_SIZE - 2) {
		line->length = start;
		return;
	}
	put_value(line, value);
}

int rail_log_format(char text[RAIL_LOG_LINE_SIZE], enum rail_log_level level, const char *message,
		    const struct rail_log_pair *pairs, int pair_count)
{
	struct line line = {.text = text};

	put_pair(&line, "level", level_names[level]);
	put_pair(&line, "msg", message);
	for (int i = 0; i < pair_count; i++)
		if (pairs[i].value != NULL)
			put_pair(&line, pairs[i].key, pairs[i].value);
	text[line.length++] = '\n';
	text[line.length] = '\0';
	return (int)line.length;
}

void rail_log_set_level(enum rail_log_level level)
{
	threshold = level;
}

/*
 * Others hold the same open file, so it must stay as blocking as it is. A socket is asked not to
 * wait; a pipe that is writable takes PIPE_BUF bytes, which is a line, at once.
 */
_Static_assert(RAIL_LOG_LINE_SIZE <= 4096, "a line is written in one piece (PIPE_BUF)");

static bool write_line(const char *line, size_t length)
{
	struct pollfd log = {.fd = STDERR_FILENO, .events = POLLOUT};
	ssize_t written = send(STDERR_FILENO, line, length, MSG_DONTWAIT | MSG_NOSIGNAL);

	if (written < 0 && errno == ENOTSOCK) {
		if (poll(&log, 1, 0) == 0)
			return false;
		written = write(STDERR_FILENO, line, length);
	}
	/* Where it cannot be written at all there is nobody left to tell. */
	return written >= 0 || errno != EAGAIN;
}

static void write_or_count(const char *line, size_t length)
{
	static unsigned int dropped;

	if (dropped != 0) {
		char text[RAIL_LOG_LINE_SIZE];
		char number[16];
		const struct rail_log_pair pair = {.key = "count", .value = number};

		(void)snprintf(number, sizeof(number), "%u", dropped);

		int size = rail_log_format(text, RAIL_LOG_WARN, "log lines were dropped", &pair, 1);

		if (write_line(text, (size_t)size))
			dropped = 0;
	}
	if (dropped != 0 || !write_line(line, length))
		dropped++;
}

void rail_log_texts(enum rail_log_level level, const char *message, const char *const *texts)
{
	if (level > threshold)
		return;

	int saved = errno;
	struct rail_log_pair pairs[PAIRS_MAXIMUM];
	int count = 0;
	char line[RAIL_LOG_LINE_SIZE];

	for (; count < PAIRS_MAXIMUM && *texts != NULL; texts += 2)
		pairs[count++] = (struct rail_log_pair){.key = texts[0], .value = texts[1]};

	int length = rail_log_format(line, level, message, pairs, count);

	write_or_count(line, (size_t)length);
	errno = saved;
}

bool rail_log_allowed(struct rail_log_limit *limit, int64_t now_ms, unsigned int *ret_dropped)
{
	if (limit->count == 0 || now_ms - limit->window_start_ms >= limit->window_ms) {
		limit->window_start_ms = now_ms;
		limit->count = 0;
	}
	if (limit->count >= limit->maximum) {
		limit->dropped++;
		return false;
	}
	limit->count++;
	*ret_dropped = limit->dropped;
	limit->dropped = 0;
	return true;
}
