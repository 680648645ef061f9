#include <errno.h>
#include <getopt.h>
#include <stdio.h>
#include <stdlib.h>

#include "pkg/base/daemon.h"
#include "pkg/base/log.h"
#include "plugins/railway-mesh/meshd/meshd.h"

static void print_usage(FILE *stream)
{
	(void)fprintf(
		stream,
		"usage: railway-meshd [--config FILE] [--ready-fd N]\n"
		"Keeps this node in step with its cluster, through etcd.\n"
		"\n"
		"  --config FILE   the node's file, with the key cluster (default " RAIL_NODE_FILE
		")\n"
		"  --ready-fd N    write a newline to this descriptor when plugins are "
		"answered\n"
		"  --version       print the version\n");
}

/* Returns 0 to go on, or 1 + the exit status. */
static int parse_options(int argc, char **argv, struct meshd_options *options)
{
	static const struct option known[] = {
		{"config", required_argument, NULL, 'c'},
		{"ready-fd", required_argument, NULL, 'r'},
		{"version", no_argument, NULL, 'v'},
		{"help", no_argument, NULL, 'h'},
		{NULL, 0, NULL, 0},
	};
	int option;

	while ((option = getopt_long(argc, argv, "", known, NULL)) != -1) {
		char *end;

		switch (option) {
		case 'c':
			options->config = optarg;
			break;
		case 'r':
			options->ready_fd = (int)strtoul(optarg, &end, 10);
			if (*optarg < '0' || *optarg > '9' || *end != '\0' ||
			    options->ready_fd <= 0 || options->ready_fd > 65535) {
				(void)fprintf(stderr,
					      "railway-meshd: --ready-fd %s: no descriptor\n",
					      optarg);
				return 1 + EXIT_FAILURE;
			}
			break;
		case 'v':
			(void)puts("railway-meshd " RAIL_VERSION);
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

int main(int argc, char **argv)
{
	struct meshd_options options = {.ready_fd = -1};
	struct rail_error error = RAIL_ERROR_NONE;
	int status = parse_options(argc, argv, &options);

	if (status != 0)
		return status - 1;
	if (rail_open_standard_files() < 0 || meshd_run(&options, &error) < 0) {
		rail_log(RAIL_LOG_ERROR, "railway-meshd cannot run", "error", error.message, NULL);
		return EXIT_FAILURE;
	}
	return EXIT_SUCCESS;
}
