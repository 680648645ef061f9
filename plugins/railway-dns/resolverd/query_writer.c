#include "plugins/railway-dns/resolverd/query_writer.h"

#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "pkg/base/cleanup.h"
#include "pkg/base/file.h"
#include "pkg/base/log.h"
#include "pkg/dns/query_record.h"
#include "plugins/railway-dns/resolverd/sandbox.h"

enum {
	TICK_MS = 100,
	LINES_A_TICK = 400, /* twice what a worker notes: somebody else's worker fills no disk */
	TELL_MS = 1000,	    /* between two lines that say what is missing */
	COMPLAINTS = 1,
	COMPLAINTS_WINDOW_MS = 60000,
};

struct writer {
	struct rail_query_reader reader;
	/* A line that was not taken yet, and what of the ring it stands for: a record, or (where
	 * it is not 0) so many dropped ones. */
	char line[RAIL_QUERY_LINE_SIZE];
	size_t length;
	uint64_t dropped;
	int64_t told_ms;
	bool fails;
	struct rail_log_limit complaints;
};

/* Of a line that the disk took in part nothing stays, unless somebody has written behind it. */
static void take_back(size_t written)
{
	off_t own_end = lseek(RAIL_WRITER_FILE, 0, SEEK_CUR);

	if (own_end >= (off_t)written && lseek(RAIL_WRITER_FILE, 0, SEEK_END) == own_end)
		(void)!ftruncate(RAIL_WRITER_FILE, own_end - (off_t)written);
}

/* After a line of which a part stayed for ever (a crash of the machine), the next is whole. */
static void end_last_line(void)
{
	off_t end = lseek(RAIL_WRITER_FILE, 0, SEEK_END);
	char last;

	if (end > 0 && pread(RAIL_WRITER_FILE, &last, 1, end - 1) == 1 && last != '\n')
		(void)!write(RAIL_WRITER_FILE, "\n", 1);
}

static void note_failure(struct writer *writer, int cause)
{
	if (!writer->fails)
		rail_log(RAIL_LOG_WARN, "the query log takes no lines; what is missing is counted",
			 "reason",
			 cause == EAGAIN ? "nobody reads the pipe" : strerrordesc_np(cause), NULL);
	writer->fails = true;
}

/* Writes the line, whole or not at all. false: not now. */
static bool write_line(struct writer *writer)
{
	ssize_t written = write(RAIL_WRITER_FILE, writer->line, writer->length);
	int cause = written < 0 ? errno : ENOSPC;

	if (written != (ssize_t)writer->length) {
		if (written > 0)
			take_back((size_t)written);
		note_failure(writer, cause);
		return false;
	}
	if (writer->fails)
		rail_log(RAIL_LOG_INFO, "the query log takes lines again", NULL);
	writer->fails = false;
	writer->length = 0;
	if (writer->dropped == 0) {
		rail_query_reader_take(&writer->reader);
	} else {
		rail_query_reader_told(&writer->reader, writer->dropped);
		writer->told_ms = rail_monotonic_ms();
		writer->dropped = 0;
	}
	return true;
}

static void complain(struct writer *writer)
{
	unsigned int left_out;

	if (rail_log_allowed(&writer->complaints, rail_monotonic_ms(), &left_out))
		rail_log(RAIL_LOG_WARN, "the worker noted nonsense for the query log", NULL);
}

/* Makes the next line; false: there is none. */
static bool next_line(struct writer *writer, bool ends)
{
	uint64_t dropped = rail_query_reader_untold(&writer->reader);
	uint8_t bytes[RAIL_QUERY_RECORD_MAXIMUM];
	struct rail_query_record record;
	struct rail_query_pod pod;

	if (dropped != 0 && (ends || rail_monotonic_ms() - writer->told_ms >= TELL_MS)) {
		writer->dropped = dropped;
		writer->length =
			rail_query_line_dropped(rail_wall_clock_us(), dropped, writer->line);
		return true;
	}

	int size = rail_query_reader_peek(&writer->reader, bytes);

	if (size == 0)
		return false;
	if (size < 0) {
		complain(writer);
		return false;
	}
	if (rail_query_record_decode(bytes, (size_t)size, &record, &pod) < 0) {
		complain(writer);
		rail_query_reader_take(&writer->reader);
		return true;
	}
	writer->length = rail_query_line(&record, &pod, writer->line);
	return true;
}

static void write_lines(struct writer *writer, bool ends)
{
	int budget = ends ? RAIL_QUERY_RING_SIZE : LINES_A_TICK;

	for (; budget > 0; budget--) {
		if (writer->length == 0 && !next_line(writer, ends))
			return;
		if (writer->length != 0 && !write_line(writer))
			return;
	}
}

static int set_up(struct writer *writer, struct rail_error *error)
{
	int landlock_version;
	int type = 0;
	socklen_t size = sizeof(type);
	struct rail_query_ring *ring;

	if (getsockopt(RAIL_CHILD_CHANNEL, SOL_SOCKET, SO_TYPE, &type, &size) < 0 ||
	    type != SOCK_SEQPACKET)
		return rail_fail(error, EINVAL,
				 "only railway-resolverd itself starts its query log's writer");
	/* A limit of the file's size is one more reason for a line not to be taken. */
	(void)signal(SIGXFSZ, SIG_IGN);
	writer->complaints =
		(struct rail_log_limit){.maximum = COMPLAINTS, .window_ms = COMPLAINTS_WINDOW_MS};

	int result = rail_sandbox_check(error);

	if (result == 0)
		result = rail_query_ring_map(RAIL_WRITER_QUERIES, &ring, error);
	if (result < 0)
		return result;
	(void)close(RAIL_WRITER_QUERIES);
	writer->reader = rail_query_reader_init(ring);
	end_last_line();
	result = rail_sandbox_landlock(&landlock_version, error);
	return result == 0 ? rail_sandbox_filter_writer(error) : result;
}

int rail_query_writer_run(struct rail_error *error)
{
	struct writer writer = {.told_ms = INT64_MIN / 2};
	struct pollfd channel = {.fd = RAIL_CHILD_CHANNEL, .events = POLLIN};
	int result = set_up(&writer, error);
	bool ends = false;

	while (result == 0 && !ends) {
		/* The supervisor says nothing; it only goes. */
		ends = poll(&channel, 1, TICK_MS) > 0;
		write_lines(&writer, ends);
	}
	rail_query_ring_unmap(writer.reader.ring);
	return result;
}
