#include "plugins/railway-dns/resolverd/exposition.h"

#include <errno.h>
#include <netinet/in.h>
#include <stdio.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>

#include "pkg/base/cleanup.h"
#include "pkg/base/file.h"

enum {
	READERS_MAXIMUM = 8,
	REQUEST_SIZE = 4096,
	DEADLINE_MS = 5000, /* from connecting until everything is taken */
	TICK_MS = 1000,
	BACKLOG = 16,
};

struct reader {
	struct rail_exposition *exposition;
	int fd; /* negative: free */
	struct rail_source *source;
	int64_t deadline_ms;
	char request[REQUEST_SIZE];
	size_t request_size;
	char *answer;
	size_t answer_size;
	size_t sent;
};

struct rail_exposition {
	struct rail_loop *loop;
	struct rail_exposition_facts facts;
	char path[sizeof(((struct sockaddr_un *)NULL)->sun_path)]; /* "": a port */
	int listener;
	struct rail_source *source;
	struct rail_timer *tick;
	struct reader readers[READERS_MAXIMUM];
};

/* ---- the text -------------------------------------------------------------------------------- */

static const char *const type_names[RAIL_METRICS_TYPE_COUNT] = {
	[RAIL_METRICS_A] = "A",	    [RAIL_METRICS_AAAA] = "AAAA",
	[RAIL_METRICS_PTR] = "PTR", [RAIL_METRICS_SRV] = "SRV",
	[RAIL_METRICS_TXT] = "TXT", [RAIL_METRICS_SOA] = "SOA",
	[RAIL_METRICS_NS] = "NS",   [RAIL_METRICS_HTTPS] = "HTTPS",
	[RAIL_METRICS_ANY] = "ANY", [RAIL_METRICS_OTHER_TYPE] = "other",
};

static const char *const answer_names[RAIL_METRICS_ANSWER_COUNT] = {
	[RAIL_METRICS_NOERROR] = "NOERROR",   [RAIL_METRICS_NODATA] = "NODATA",
	[RAIL_METRICS_NXDOMAIN] = "NXDOMAIN", [RAIL_METRICS_SERVFAIL] = "SERVFAIL",
	[RAIL_METRICS_REFUSED] = "REFUSED",   [RAIL_METRICS_OTHER_ANSWER] = "other",
};

struct family {
	const char *name;
	const char *help;
};

static const struct family counters[RAIL_METRICS_COUNTER_COUNT] = {
	[RAIL_METRICS_DROPPED] = {"queries_dropped_total", "Packets that get no answer."},
	[RAIL_METRICS_CACHE_HITS] = {"cache_hits_total", "Public questions answered at once."},
	[RAIL_METRICS_CACHE_MISSES] = {"cache_misses_total", "Public questions that were not."},
	[RAIL_METRICS_JOINED] = {"forward_joined_total",
				 "Queries that waited for a question already on its way."},
	[RAIL_METRICS_ASKED] = {"forward_questions_total", "Questions that upstreams were asked."},
	[RAIL_METRICS_FAILED] = {"forward_failures_total", "Questions that no upstream answered."},
	[RAIL_METRICS_UNLOGGED] = {"query_log_dropped_total",
				   "Answers that are missing from the query log."},
};

static const struct family gauges[RAIL_METRICS_GAUGE_COUNT] = {
	[RAIL_METRICS_CACHE_ENTRIES] = {"cache_entries", "Public answers that are kept."},
	[RAIL_METRICS_CACHE_BYTES] = {"cache_bytes", "Their size."},
	[RAIL_METRICS_WAITING] = {"forward_waiting", "Clients that wait for an upstream."},
	[RAIL_METRICS_FORWARD_SOCKETS] = {"forward_sockets", "Sockets to upstreams."},
	[RAIL_METRICS_CONNECTIONS] = {"tcp_connections", "Connections of pods."},
	[RAIL_METRICS_PODS] = {"pods_served", "Pods whose sockets the worker serves."},
};

static void put_head(FILE *text, const char *name, const char *type, const char *help)
{
	(void)fprintf(text, "# HELP railway_resolver_%s %s\n# TYPE railway_resolver_%s %s\n", name,
		      help, name, type);
}

static void put_number(FILE *text, const struct family *family, const char *type, uint64_t value)
{
	put_head(text, family->name, type, family->help);
	(void)fprintf(text, "railway_resolver_%s %llu\n", family->name, (unsigned long long)value);
}

/* An environment's name is whatever its author wrote: what the format gives a meaning is escaped.
 */
static void put_label(FILE *text, const char *value)
{
	for (; *value != '\0'; value++) {
		if (*value == '\\' || *value == '"')
			(void)fputc('\\', text);
		(void)fputc(*value, text);
	}
}

static void put_answers(FILE *text, const char *name,
			const struct rail_metrics_environment *environment)
{
	for (size_t type = 0; type < RAIL_METRICS_TYPE_COUNT; type++)
		for (size_t answer = 0; answer < RAIL_METRICS_ANSWER_COUNT; answer++) {
			uint64_t count = rail_metric_read(&environment->answers[type][answer]);

			if (count == 0)
				continue;
			(void)fputs("railway_resolver_queries_total{environment=\"", text);
			put_label(text, name);
			(void)fprintf(text, "\",type=\"%s\",answer=\"%s\"} %llu\n",
				      type_names[type], answer_names[answer],
				      (unsigned long long)count);
		}
}

/* The number that a slot bears, as a prefix again; false where it can be none. */
static bool prefix_of(uint64_t number, struct rail_prefix *ret_prefix)
{
	for (size_t i = sizeof(ret_prefix->bytes); i > 0; i--) {
		ret_prefix->bytes[i - 1] = (uint8_t)number;
		number >>= 8;
	}
	return number == 1;
}

static void put_queries(FILE *text, const struct rail_exposition_facts *facts)
{
	RAIL_CLEANUP(rail_transaction_abort) struct rail_transaction *registry = NULL;
	struct rail_environment environment;
	struct rail_prefix prefix;

	put_head(text, "queries_total", "counter", "Answers given to pods.");
	/* Environments that found no slot of their own. */
	put_answers(text, "", &facts->metrics->environments[0]);
	if (rail_transaction_begin(facts->store, RAIL_REGISTRY, RAIL_READ, &registry, NULL) < 0)
		return;
	for (size_t i = 1; i <= RAIL_METRICS_ENVIRONMENTS; i++) {
		const struct rail_metrics_environment *slot = &facts->metrics->environments[i];

		if (prefix_of(rail_metric_read(&slot->prefix), &prefix) &&
		    facts->has_environment(facts->context, &prefix) &&
		    rail_environment_by_prefix(registry, &prefix, &environment, NULL) == 0)
			put_answers(text, environment.name, slot);
	}
}

static void put_latencies(FILE *text, const struct rail_metrics *metrics)
{
	static const char *const sources[RAIL_METRICS_SOURCE_COUNT] = {
		[RAIL_METRICS_LOCAL] = "local", [RAIL_METRICS_FORWARDED] = "forwarded"};
	static const char name[] = "railway_resolver_answer_duration_seconds";

	put_head(text, "answer_duration_seconds", "histogram",
		 "From reading a query to sending its answer.");
	for (size_t source = 0; source < RAIL_METRICS_SOURCE_COUNT; source++) {
		const struct rail_metrics_histogram *histogram = &metrics->latencies[source];
		unsigned long long count = 0;

		for (size_t i = 0; i < RAIL_METRICS_BUCKETS; i++) {
			char bound[24] = "+Inf";

			if (i < RAIL_METRICS_BUCKETS - 1)
				(void)snprintf(bound, sizeof(bound), "%g",
					       rail_metrics_bounds_us[i] / 1e6);
			count += rail_metric_read(&histogram->buckets[i]);
			(void)fprintf(text, "%s_bucket{source=\"%s\",le=\"%s\"} %llu\n", name,
				      sources[source], bound, count);
		}
		(void)fprintf(text, "%s_sum{source=\"%s\"} %.6f\n%s_count{source=\"%s\"} %llu\n",
			      name, sources[source],
			      (double)rail_metric_read(&histogram->sum_us) / 1e6, name,
			      sources[source], count);
	}
}

static void put_everything(FILE *text, const struct rail_exposition_facts *facts)
{
	static const struct family registered = {"pods_registered",
						 "Attachments that are registered."};
	static const struct family set_aside = {
		"pods_set_aside", "Pods that are not served, for their packets end the worker."};
	static const struct family starts = {"worker_starts_total", "Workers that were started."};
	const struct rail_metrics *metrics = facts->metrics;

	put_head(text, "build_info", "gauge", "The release.");
	(void)fputs("railway_resolver_build_info{version=\"" RAIL_VERSION "\"} 1\n", text);
	put_number(text, &registered, "gauge", facts->registered(facts->context));
	put_number(text, &set_aside, "gauge", facts->set_aside(facts->context));
	put_number(text, &starts, "counter", facts->worker_starts(facts->context));
	for (size_t i = 0; i < RAIL_METRICS_COUNTER_COUNT; i++)
		put_number(text, &counters[i], "counter", rail_metric_read(&metrics->counters[i]));
	for (size_t i = 0; i < RAIL_METRICS_GAUGE_COUNT; i++)
		put_number(text, &gauges[i], "gauge", rail_metric_read(&metrics->gauges[i]));
	put_latencies(text, metrics);
	put_queries(text, facts);
}

static int make_answer(struct reader *reader)
{
	bool known = strncmp(reader->request, "GET / ", 6) == 0 ||
		     strncmp(reader->request, "GET /metrics ", 13) == 0;
	FILE *text = open_memstream(&reader->answer, &reader->answer_size);

	if (text == NULL)
		return -ENOMEM;
	(void)fprintf(text,
		      "HTTP/1.0 %s\r\nContent-Type: text/plain; version=0.0.4\r\n"
		      "Connection: close\r\n\r\n",
		      known ? "200 OK" : "404 Not Found");
	if (known)
		put_everything(text, &reader->exposition->facts);
	return fclose(text) == 0 ? 0 : -ENOMEM;
}

/* ---- readers --------------------------------------------------------------------------------- */

static void close_reader(struct reader *reader)
{
	rail_source_remove(&reader->source);
	(void)close(reader->fd);
	free(reader->answer);
	reader->fd = -EBADF;
	reader->answer = NULL;
}

static void receive(struct reader *reader)
{
	size_t room = REQUEST_SIZE - 1 - reader->request_size;
	ssize_t size = recv(reader->fd, reader->request + reader->request_size, room, MSG_DONTWAIT);

	if (size < 0 && (errno == EWOULDBLOCK || errno == EINTR))
		return;
	if (size <= 0) {
		close_reader(reader);
		return;
	}
	reader->request_size += (size_t)size;
	reader->request[reader->request_size] = '\0';
	if (strstr(reader->request, "\r\n\r\n") == NULL) {
		if (reader->request_size == REQUEST_SIZE - 1)
			close_reader(reader);
		return;
	}
	if (make_answer(reader) < 0 || rail_source_change(reader->source, EPOLLOUT, NULL) < 0)
		close_reader(reader);
}

static void send_answer(struct reader *reader)
{
	ssize_t size = send(reader->fd, reader->answer + reader->sent,
			    reader->answer_size - reader->sent, MSG_DONTWAIT | MSG_NOSIGNAL);

	if (size < 0 && (errno == EWOULDBLOCK || errno == EINTR))
		return;
	if (size > 0)
		reader->sent += (size_t)size;
	if (size <= 0 || reader->sent == reader->answer_size)
		close_reader(reader);
}

static void on_reader(void *context, uint32_t events)
{
	struct reader *reader = context;

	if ((events & EPOLLERR) != 0)
		close_reader(reader);
	else if (reader->answer != NULL)
		send_answer(reader);
	else
		receive(reader);
}

static void on_listener(void *context, uint32_t events)
{
	struct rail_exposition *exposition = context;
	int fd = accept4(exposition->listener, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK);

	(void)events;
	for (size_t i = 0; i < READERS_MAXIMUM && fd >= 0; i++) {
		struct reader *reader = &exposition->readers[i];

		if (reader->fd >= 0)
			continue;
		*reader = (struct reader){.exposition = exposition,
					  .fd = fd,
					  .deadline_ms = rail_monotonic_ms() + DEADLINE_MS};
		if (rail_loop_watch(exposition->loop, fd, EPOLLIN, on_reader, reader,
				    &reader->source, NULL) < 0)
			close_reader(reader);
		rail_timer_ensure(exposition->tick, TICK_MS);
		return;
	}
	if (fd >= 0)
		(void)close(fd);
}

static void on_tick(void *context)
{
	struct rail_exposition *exposition = context;
	int64_t now_ms = rail_monotonic_ms();
	bool any = false;

	for (size_t i = 0; i < READERS_MAXIMUM; i++) {
		struct reader *reader = &exposition->readers[i];

		if (reader->fd >= 0 && reader->deadline_ms <= now_ms)
			close_reader(reader);
		any = any || reader->fd >= 0;
	}
	if (any)
		rail_timer_ensure(exposition->tick, TICK_MS);
}

/* ---- the socket ------------------------------------------------------------------------------ */

static int listen_at_path(struct rail_exposition *exposition, const char *path,
			  struct rail_error *error)
{
	struct sockaddr_un address = {.sun_family = AF_UNIX};
	struct stat status;

	if (strlen(path) >= sizeof(address.sun_path))
		return rail_fail(error, ENAMETOOLONG, "--metrics %s: too long for a socket", path);
	(void)memccpy(address.sun_path, path, '\0', sizeof(address.sun_path));
	if (lstat(path, &status) == 0 && !S_ISSOCK(status.st_mode))
		return rail_fail(error, EEXIST, "'%s' is there and no socket", path);
	(void)unlink(path);
	exposition->listener = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);

	mode_t mask = umask(0177);
	int bound = bind(exposition->listener, (const struct sockaddr *)&address, sizeof(address));
	int cause = errno;

	(void)umask(mask);
	if (bound < 0)
		return rail_fail_errno(error, cause, "make the metrics' socket '%s'", path);
	memcpy(exposition->path, address.sun_path, sizeof(exposition->path));
	return 0;
}

static int listen_at_port(struct rail_exposition *exposition, const char *text,
			  struct rail_error *error)
{
	struct sockaddr_in address = {.sin_family = AF_INET,
				      .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
	char *end = NULL;
	unsigned long port = strtoul(text, &end, 10);
	int on = 1;

	if (*text < '1' || *text > '9' || *end != '\0' || port > UINT16_MAX)
		return rail_fail(error, EINVAL, "--metrics %s: neither an absolute path nor a port",
				 text);
	address.sin_port = htons((uint16_t)port);
	exposition->listener = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	/* A daemon that takes over listens while the one before it still does. */
	(void)setsockopt(exposition->listener, SOL_SOCKET, SO_REUSEADDR, &on, sizeof(on));
	(void)setsockopt(exposition->listener, SOL_SOCKET, SO_REUSEPORT, &on, sizeof(on));
	if (bind(exposition->listener, (const struct sockaddr *)&address, sizeof(address)) < 0)
		return rail_fail_errno(error, errno, "bind the metrics to 127.0.0.1:%s", text);
	return 0;
}

int rail_exposition_open(struct rail_loop *loop, const char *where,
			 const struct rail_exposition_facts *facts,
			 struct rail_exposition **ret_exposition, struct rail_error *error)
{
	struct rail_exposition *exposition = calloc(1, sizeof(*exposition));

	if (exposition == NULL)
		return rail_fail(error, ENOMEM, "no memory for the metrics");
	exposition->loop = loop;
	exposition->facts = *facts;
	exposition->listener = -EBADF;
	for (size_t i = 0; i < READERS_MAXIMUM; i++)
		exposition->readers[i].fd = -EBADF;

	int result = *where == '/' ? listen_at_path(exposition, where, error)
				   : listen_at_port(exposition, where, error);

	if (result == 0 && listen(exposition->listener, BACKLOG) < 0)
		result = rail_fail_errno(error, errno, "listen for who asks for the metrics");
	if (result == 0)
		result = rail_loop_timer(loop, on_tick, exposition, &exposition->tick, error);
	if (result == 0)
		result = rail_loop_watch(loop, exposition->listener, EPOLLIN, on_listener,
					 exposition, &exposition->source, error);
	if (result < 0) {
		rail_exposition_close(exposition);
		return result;
	}
	*ret_exposition = exposition;
	return 0;
}

void rail_exposition_close(struct rail_exposition *exposition)
{
	if (exposition == NULL)
		return;
	for (size_t i = 0; i < READERS_MAXIMUM; i++)
		if (exposition->readers[i].fd >= 0)
			close_reader(&exposition->readers[i]);
	rail_source_remove(&exposition->source);
	rail_timer_remove(&exposition->tick);
	/* By now the name may be a successor's socket: it stays, as a socket that nobody serves. */
	if (exposition->listener >= 0)
		(void)close(exposition->listener);
	free(exposition);
}
