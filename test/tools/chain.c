/*
 * Plays a runtime for tests, the demo and benchmarks: executes the plugins of a network
 * configuration list as the CNI specification says (section 3), with CNI_PATH, CNI_ARGS and
 * CAP_ARGS (a JSON object of capabilities) from the environment. Results are kept in $CHAIN_CACHE
 * (default /run/railway-chain) for CHECK and DEL.
 *
 *     chain [--time] [--no-cache] add|check|del|status LIST CONTAINER NETNS [INTERFACE]
 *     chain [--time] gc LIST [CONTAINER/INTERFACE ...]
 *
 * --time prints "<plugin> <command> <milliseconds>" for each plugin on standard error.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "pkg/base/cleanup.h"
#include "pkg/base/file.h"
#include "pkg/base/json.h"
#include "pkg/cni/delegate.h"
#include "pkg/cni/result.h"

static bool show_time;
static bool use_cache = true;

struct run {
	const char *name; /* of the network */
	const char *version;
	struct rail_json *capabilities; /* CAP_ARGS */
	struct rail_json *valid;	/* GC's list */
};

static void put(struct rail_json *object, const char *key, struct rail_json *value)
{
	if (rail_json_put(object, key, value) < 0) {
		fprintf(stderr, "chain: out of memory\n");
		exit(2);
	}
}

/* A plugin gets the capabilities that it declares, and no others. */
static struct rail_json *runtime_config(const struct rail_json *plugin, const struct run *run)
{
	const struct rail_json *declared = rail_json_get(plugin, "capabilities");
	struct rail_json *config = rail_json_new_object();

	for (const struct rail_json *value = rail_json_first(declared); value != NULL;
	     value = rail_json_next(value)) {
		const struct rail_json *given =
			rail_json_get(run->capabilities, rail_json_key(value));

		if (rail_json_is_true(value) && given != NULL)
			put(config, rail_json_key(value), rail_json_copy(given));
	}
	return config;
}

static int execute(const struct rail_json *plugin, enum rail_cni_command command,
		   const struct run *run, const struct rail_json *previous,
		   struct rail_json **ret_output, struct rail_error *error)
{
	static const char *const names[] = {"ADD", "DEL", "CHECK", "GC", "STATUS", "VERSION"};
	RAIL_CLEANUP(rail_json_freep) struct rail_json *config = rail_json_copy(plugin);
	const char *type = rail_json_string(rail_json_get(plugin, "type"));
	struct timespec before, after;

	put(config, "name", rail_json_new_string(run->name));
	put(config, "cniVersion", rail_json_new_string(run->version));
	if (rail_json_get(plugin, "capabilities") != NULL && command != RAIL_CNI_GC &&
	    command != RAIL_CNI_STATUS)
		put(config, "runtimeConfig", runtime_config(plugin, run));
	if (previous != NULL)
		put(config, "prevResult", rail_json_copy(previous));
	if (run->valid != NULL) {
		put(config, "cni.dev/valid-attachments", rail_json_copy(run->valid));
		put(config, "cni.dev/attachments", rail_json_copy(run->valid));
	}

	RAIL_FREE char *text = rail_json_print(config);
	(void)clock_gettime(CLOCK_MONOTONIC, &before);
	int result = rail_delegate(type, getenv("CNI_PATH"), command, text, strlen(text),
				   ret_output, error);
	(void)clock_gettime(CLOCK_MONOTONIC, &after);
	if (show_time)
		fprintf(stderr, "%s %s %.3f\n", type, names[command],
			(double)(after.tv_sec - before.tv_sec) * 1000 +
				(double)(after.tv_nsec - before.tv_nsec) / 1e6);
	return result;
}

static void cache_path(char *path, size_t size, const struct run *run, const char *container,
		       const char *interface)
{
	const char *directory = getenv("CHAIN_CACHE");

	if (directory == NULL)
		directory = "/run/railway-chain";
	(void)rail_make_directories(directory, NULL);
	(void)snprintf(path, size, "%s/%s-%s-%s", directory, run->name, container, interface);
}

static void write_cache(const char *path, const struct rail_json *result)
{
	RAIL_FREE char *text = rail_json_print(result);
	RAIL_FCLOSE FILE *file = fopen(path, "we");

	if (file != NULL)
		fputs(text, file);
}

static struct rail_json *read_cache(const char *path)
{
	RAIL_FREE char *text = NULL;
	struct rail_json *result = NULL;
	size_t size = 0;

	if (use_cache && rail_read_file(path, RAIL_JSON_SIZE_MAXIMUM, &text, &size, NULL) == 0)
		(void)rail_json_parse(text, size, &result, NULL);
	return result;
}

static int run_list(const struct rail_json *list, enum rail_cni_command command,
		    const struct run *run, const char *path, struct rail_error *error)
{
	const struct rail_json *plugins = rail_json_get(list, "plugins");
	const struct rail_json *order[16];
	struct rail_json *previous = NULL;
	size_t count = 0;
	int result = 0;

	for (const struct rail_json *plugin = rail_json_first(plugins);
	     plugin != NULL && count < 16; plugin = rail_json_next(plugin))
		order[count++] = plugin;

	if (command == RAIL_CNI_CHECK || command == RAIL_CNI_DEL)
		previous = read_cache(path);
	for (size_t i = 0; i < count && result == 0; i++) {
		const struct rail_json *plugin = order[command == RAIL_CNI_DEL ? count - 1 - i : i];
		struct rail_json *output = NULL;

		result = execute(plugin, command, run, previous, &output, error);
		if (result == 0 && command == RAIL_CNI_ADD) {
			rail_json_free(previous);
			previous = output;
		} else {
			rail_json_free(output);
		}
	}
	if (result == 0 && command == RAIL_CNI_ADD) {
		RAIL_FREE char *text = rail_json_print(previous);

		printf("%s\n", text);
		if (use_cache)
			write_cache(path, previous);
	}
	if (result == 0 && command == RAIL_CNI_DEL)
		(void)unlink(path);
	rail_json_free(previous);
	return result;
}

static enum rail_cni_command parse_command(const char *text)
{
	static const char *const names[] = {"add", "del", "check", "gc", "status"};

	for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++)
		if (strcmp(text, names[i]) == 0)
			return (enum rail_cni_command)i;
	fprintf(stderr, "chain: unknown command '%s'\n", text);
	exit(2);
}

static struct rail_json *valid_list(char *const *arguments)
{
	struct rail_json *list = rail_json_new_array();

	for (; *arguments != NULL; arguments++) {
		struct rail_json *entry = rail_json_new_object();
		char *slash = strchr(*arguments, '/');

		if (slash != NULL)
			*slash = '\0';
		put(entry, "containerID", rail_json_new_string(*arguments));
		put(entry, "ifname", rail_json_new_string(slash != NULL ? slash + 1 : "eth0"));
		(void)rail_json_append(list, entry);
	}
	return list;
}

int main(int argc, char **argv)
{
	RAIL_CLEANUP(rail_json_freep) struct rail_json *list = NULL;
	RAIL_CLEANUP(rail_json_freep) struct rail_json *capabilities = NULL;
	RAIL_CLEANUP(rail_json_freep) struct rail_json *valid = NULL;
	RAIL_FREE char *text = NULL;
	struct rail_error error = RAIL_ERROR_NONE;
	char path[4096] = "";
	size_t size = 0;

	for (; argc > 1 && argv[1][0] == '-'; argc--, argv++) {
		show_time = show_time || strcmp(argv[1], "--time") == 0;
		use_cache = use_cache && strcmp(argv[1], "--no-cache") != 0;
	}
	if (argc < 3) {
		fprintf(stderr, "usage: chain [--time] [--no-cache] COMMAND LIST ...\n");
		return 2;
	}
	enum rail_cni_command command = parse_command(argv[1]);
	if (rail_read_file(argv[2], RAIL_JSON_SIZE_MAXIMUM, &text, &size, &error) < 0 ||
	    rail_json_parse(text, size, &list, &error) < 0) {
		fprintf(stderr, "chain: %s\n", error.message);
		return 2;
	}

	const char *cap_args = getenv("CAP_ARGS");
	if (cap_args != NULL &&
	    rail_json_parse(cap_args, strlen(cap_args), &capabilities, &error) < 0) {
		fprintf(stderr, "chain: CAP_ARGS: %s\n", error.message);
		return 2;
	}
	struct run run = {
		.name = rail_json_string(rail_json_get(list, "name")),
		.version = rail_json_string(rail_json_get(list, "cniVersion")),
		.capabilities = capabilities,
	};

	if (command == RAIL_CNI_GC) {
		valid = valid_list(argv + 3);
		run.valid = valid;
	} else if (command != RAIL_CNI_STATUS) {
		const char *interface = argc > 5 ? argv[5] : "eth0";

		if (argc < 5) {
			fprintf(stderr, "chain: CONTAINER and NETNS are missing\n");
			return 2;
		}
		(void)setenv("CNI_CONTAINERID", argv[3], 1);
		(void)setenv("CNI_NETNS", argv[4], 1);
		(void)setenv("CNI_IFNAME", interface, 1);
		cache_path(path, sizeof(path), &run, argv[3], interface);
	}

	if (run_list(list, command, &run, path, &error) < 0) {
		RAIL_FREE char *printed = rail_error_print(RAIL_CNI_1_0_0, &error);

		printf("%s\n", printed);
		return 1;
	}
	return 0;
}
