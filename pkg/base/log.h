#pragma once

#include <stdbool.h>
#include <stdint.h>

/*
 * The daemons' log: one line of logfmt a message on stderr ("level=warn msg="worker died" pid=7"),
 * without the time, which whoever collects the lines adds. Only programs log; library code returns
 * errors.
 */

enum rail_log_level {
	RAIL_LOG_ERROR,
	RAIL_LOG_WARN,
	RAIL_LOG_INFO,
	RAIL_LOG_DEBUG,
};

enum { RAIL_LOG_LINE_SIZE = 4096 };

/* Messages less important than this are left out; RAIL_LOG_INFO until it is set. */
void rail_log_set_level(enum rail_log_level level);

/*
 * rail_log(RAIL_LOG_WARN, "worker died", "pid", text, NULL): logs a message and pairs of key and
 * value (strings, 16 pairs at most), ended by NULL. A value that is NULL leaves
 * its pair out. Values may come from anyone: what is not plain is quoted and escaped, so one
 * message is always one line. A line that does not fit RAIL_LOG_LINE_SIZE is cut. Keeps errno.
 * Never waits: while nobody takes the lines (a full pipe) they are dropped, and counted in a line
 * of their own once there is room again. SIGPIPE is the program's to ignore.
 */
#define rail_log(level, message, ...)                                                              \
	rail_log_texts((level), (message), (const char *const[]){__VA_ARGS__})
void rail_log_texts(enum rail_log_level level, const char *message, const char *const *texts);

/* The line itself, with the newline and a NUL behind it; returns its length without the NUL. */
struct rail_log_pair {
	const char *key;
	const char *value;
};

int rail_log_format(char line[RAIL_LOG_LINE_SIZE], enum rail_log_level level, const char *message,
		    const struct rail_log_pair *pairs, int pair_count);

/* For messages that others can cause: a number of them in a window of time, the rest is counted. */
struct rail_log_limit {
	unsigned int maximum; /* in a window */
	int64_t window_ms;
	int64_t window_start_ms;
	unsigned int count;
	unsigned int dropped;
};

/*
 * Whether one more may be logged at now_ms. Where true, *ret_dropped is the number of those that
 * were not since the last one that was.
 */
bool rail_log_allowed(struct rail_log_limit *limit, int64_t now_ms, unsigned int *ret_dropped);
