#include <errno.h>
#include <getopt.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "cmd/railwayctl/ctl.h"
#include "pkg/base/cleanup.h"

struct entry {
	const char *name;
	const char *arguments;
	int minimum;
	int maximum;
	const char *summary;
	ctl_command run;
};

static const struct entry entries[] = {
	{"status", "", 0, 0, "this node, and what needs attention on it", ctl_status},
	{"environments", "", 0, 0, "its environments", ctl_environments},
	{"services", "ENVIRONMENT", 1, 1, "an environment's services", ctl_services},
	{"pods", "[ENVIRONMENT]", 0, 1, "the pods of this node", ctl_pods},
	{"members", "ENVIRONMENT", 1, 1, "an environment's members, of all nodes", ctl_members},
	{"peers", "CONTAINER [INTERFACE]", 1, 2,
	 "a pod's WireGuard peers, beside what they should be", ctl_peers},
	{"enable", "ENVIRONMENT", 1, 1, "new pods get a private network again", ctl_enable},
	{"disable", "ENVIRONMENT", 1, 1, "new pods get none; those that run keep theirs",
	 ctl_disable},
	{"remove", "ENVIRONMENT [SERVICE]", 1, 2, "from the registry, where nothing of it lives",
	 ctl_remove},
};

enum { ENTRY_COUNT = sizeof(entries) / sizeof(entries[0]) };

static void print_usage(FILE *stream)
{
	(void)fprintf(stream,
		      "usage: railwayctl [--config FILE] [--json] COMMAND [ARGUMENT...]\n"
		      "Shows what this node's private networks are made of, and maintains the "
		      "registry.\n"
		      "\n");
	for (size_t i = 0; i < ENTRY_COUNT; i++)
		(void)fprintf(stream, "  %-12s %-22s %s\n", entries[i].name, entries[i].arguments,
			      entries[i].summary);
	(void)fprintf(stream,
		      "\n"
		      "  --config FILE  the node's file (default " RAIL_NODE_FILE ")\n"
		      "  --json         one JSON document instead of text\n"
		      "  --version      print the version\n"
		      "\n"
		      "CONTAINER may be the beginning of an ID. Exit status: 0 done, 1 something "
		      "needs attention\n"
		      "(status, peers), 2 wrong usage, 3 it could not be done.\n");
}

/* Returns 0 to go on, or 1 + the exit status. */
static int parse_options(int argc, char **argv, struct ctl *ctl)
{
	static const struct option known[] = {
		{"config", required_argument, NULL, 'c'},
		{"json", no_argument, NULL, 'j'},
		{"version", no_argument, NULL, 'v'},
		{"help", no_argument, NULL, 'h'},
		{NULL, 0, NULL, 0},
	};
	int option;

	while ((option = getopt_long(argc, argv, "", known, NULL)) != -1) {
		switch (option) {
		case 'c':
			ctl->config = optarg;
			break;
		case 'j':
			ctl->json = true;
			break;
		case 'v':
			(void)puts("railwayctl " RAIL_VERSION);
			return 1 + CTL_DONE;
		case 'h':
			print_usage(stdout);
			return 1 + CTL_DONE;
		default:
			print_usage(stderr);
			return 1 + CTL_USAGE;
		}
	}
	return 0;
}

/* NULL, with a word about it, where there is no such command, or not with so many arguments. */
static const struct entry *find_entry(int count, char **words)
{
	char text[128];

	for (size_t i = 0; count > 0 && i < ENTRY_COUNT; i++) {
		if (strcmp(entries[i].name, words[0]) != 0)
			continue;
		if (count - 1 >= entries[i].minimum && count - 1 <= entries[i].maximum)
			return &entries[i];
		(void)snprintf(text, sizeof(text), "usage: railwayctl %s %s", entries[i].name,
			       entries[i].arguments);
		ctl_say(text);
		return NULL;
	}
	if (count > 0) {
		(void)snprintf(text, sizeof(text), "unknown command '%.64s'", words[0]);
		ctl_say(text);
	}
	print_usage(stderr);
	return NULL;
}

static int run(const struct entry *entry, struct ctl *ctl, char **arguments,
	       struct rail_error *error)
{
	int result;

	/* What the stores would say of another user is not what is wrong. */
	if (geteuid() != 0)
		return rail_fail(error, EPERM, "only root can read the node's stores: use sudo");
	result = rail_settings_of_node(ctl->config, &ctl->settings, error);
	if (result == 0)
		result = entry->run(ctl, arguments, error);
	if (result >= 0 && (fflush(stdout) != 0 || ferror(stdout)))
		return rail_fail_errno(error, errno, "write to standard output");
	return result;
}

int main(int argc, char **argv)
{
	struct rail_error error = RAIL_ERROR_NONE;
	struct ctl ctl = {.json = false};
	int result = parse_options(argc, argv, &ctl);

	if (result != 0)
		return result - 1;

	const struct entry *entry = find_entry(argc - optind, argv + optind);

	if (entry == NULL)
		return CTL_USAGE;
	result = run(entry, &ctl, argv + optind + 1, &error);
	rail_store_close(ctl.store);
	if (result < 0) {
		ctl_say(error.message);
		return CTL_FAILED;
	}
	return result;
}
