#include <errno.h>
#include <getopt.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "pkg/base/daemon.h"
#include "pkg/base/log.h"
#include "pkg/config/settings.h"
#include "plugins/railway-dns/resolverd/query_writer.h"
#include "plugins/railway-dns/resolverd/sandbox.h"
#include "plugins/railway-dns/resolverd/supervisor.h"
#include "plugins/railway-dns/resolverd/worker.h"

static void print_usage(FILE *stream)
{
	(void)fprintf(
		stream,
		"usage: railway-resolverd [--config FILE] [--take-over] [--ready-fd N] "
		"[--worker-uid N] [--metrics WHERE] [--query-log PATH]\n"
		"Answers DNS queries inside every pod of this node.\n"
		"\n"
		"  --config FILE    the node's file (default " RAIL_NODE_FILE ")\n"
		"  --take-over      from the daemon that runs, if there is one, without a "
		"break\n"
		"  --ready-fd N     write a newline to this descriptor when every pod is "
		"served\n"
		"  --worker-uid N   user and group of the process that handles packets "
		"(default %d)\n"
		"  --metrics WHERE  Prometheus' text format over HTTP, at a Unix socket "
		"(/path)\n"
		"                   or a port of 127.0.0.1\n"
		"  --query-log PATH a line of JSON for each answer, to this file or FIFO; HUP "
		"opens it anew\n"
		"  --version        print the version\n",
		(int)RAIL_WORKER_UID);
}

static int parse_number(const char *option, const char *text, unsigned long minimum,
			unsigned long maximum, unsigned long *ret_number)
{
	char *end;

	errno = 0;

	unsigned long number = strtoul(text, &end, 10);

	if (*text < '0' || *text > '9' || *end != '\0' || errno != 0 || number < minimum ||
	    number > maximum) {
		(void)fprintf(stderr, "railway-resolverd: %s %s: not a number from %lu to %lu\n",
			      option, text, minimum, maximum);
		return -EINVAL;
	}
	*ret_number = number;
	return 0;
}

/* Returns 0 to go on, or 1 + the exit status. */
static int parse_options(int argc, char **argv, struct rail_supervisor_options *options)
{
	static const struct option known[] = {
		{"config", required_argument, NULL, 'c'},
		{"take-over", no_argument, NULL, 't'},
		{"metrics", required_argument, NULL, 'm'},
		{"query-log", required_argument, NULL, 'q'},
		{"ready-fd", required_argument, NULL, 'r'},
		{"worker-uid", required_argument, NULL, 'u'},
		{"version", no_argument, NULL, 'v'},
		{"help", no_argument, NULL, 'h'},
		{NULL, 0, NULL, 0},
	};
	unsigned long number;
	int option;

	while ((option = getopt_long(argc, argv, "", known, NULL)) != -1) {
		switch (option) {
		case 'c':
			options->config = optarg;
			break;
		case 'r':
			if (parse_number("--ready-fd", optarg, 1, 65535, &number) < 0)
				return 1 + EXIT_FAILURE;
			options->ready_fd = (int)number;
			break;
		case 'u':
			/* -1, as a number, is "no change" to setresuid(2). */
			if (parse_number("--worker-uid", optarg, 1, UINT32_MAX - 1, &number) < 0)
				return 1 + EXIT_FAILURE;
			options->worker_uid = (uid_t)number;
			break;
		case 'm':
			options->metrics = optarg;
			break;
		case 'q':
			if (*optarg != '/') {
				(void)fprintf(stderr,
					      "railway-resolverd: --query-log %s: not an absolute "
					      "path\n",
					      optarg);
				return 1 + EXIT_FAILURE;
			}
			options->query_log = optarg;
			break;
		case 't':
			options->takes_over = true;
			break;
		case 'v':
			(void)puts("railway-resolverd " RAIL_VERSION);
			return 1 + EXIT_SUCCESS;
		case 'h':
			print_usage(stdout);
			return 1 + EXIT_SUCCESS;
		default:
			print_usage(stderr);
			return 1 + EXIT_FAILURE;
		}
	}
	if (optind != argc) {
		print_usage(stderr);
		return 1 + EXIT_FAILURE;
	}
	return 0;
}

static int run_child(const char *role, int (*run)(struct rail_error *error))
{
	struct rail_error error = RAIL_ERROR_NONE;

	if (run(&error) == 0)
		return EXIT_SUCCESS;
	rail_log(RAIL_LOG_ERROR, "a child ends", "role", role, "error", error.message, NULL);
	return EXIT_FAILURE;
}

int main(int argc, char **argv)
{
	struct rail_supervisor_options options = {
		.ready_fd = -1,
		.worker_uid = RAIL_WORKER_UID,
	};
	struct rail_error error = RAIL_ERROR_NONE;

	/* How the supervisor executes this program again; of no use to anyone else. */
	if (argc == 2 && strcmp(argv[1], "--worker") == 0)
		return run_child("worker", rail_worker_run);
	if (argc == 2 && strcmp(argv[1], "--query-log-writer") == 0)
		return run_child("query log's writer", rail_query_writer_run);

	char program[PATH_MAX] = "";

	/* Now, for later another file may have its place. */
	if (readlink("/proc/self/exe", program, sizeof(program) - 1) < 0)
		program[0] = '\0';
	options.program = program;

	int status = parse_options(argc, argv, &options);

	if (status != 0)
		return status - 1;

	/* Of this one's arguments, those that are a successor's, too. */
	char uid_option[] = "--worker-uid";
	char uid[16];
	char config_option[] = "--config";
	char metrics_option[] = "--metrics";
	char query_log_option[] = "--query-log";
	char *arguments[9] = {uid_option, uid};
	size_t count = 2;

	if (options.config != NULL) {
		arguments[count++] = config_option;
		arguments[count++] = (char *)options.config;
	}
	if (options.metrics != NULL) {
		arguments[count++] = metrics_option;
		arguments[count++] = (char *)options.metrics;
	}
	if (options.query_log != NULL) {
		arguments[count++] = query_log_option;
		arguments[count++] = (char *)options.query_log;
	}

	(void)snprintf(uid, sizeof(uid), "%u", (unsigned int)options.worker_uid);
	options.arguments = arguments;
	if (rail_open_standard_files() < 0 || rail_supervise(&options, &error) < 0) {
		rail_log(RAIL_LOG_ERROR, "railway-resolverd cannot run", "error", error.message,
			 NULL);
		return EXIT_FAILURE;
	}
	return EXIT_SUCCESS;
}
