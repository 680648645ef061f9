/*
 * What the steps of an ADD and a DEL take, for benchmarks: the library's own functions, one by one,
 * in a netns that is given.
 *
 *     steps ROUNDS NETNS PLUGIN
 *
 * PLUGIN is executed without CNI_COMMAND: what it costs to start one. Prints "<median ms> <step>"
 * lines.
 */
#include <malloc.h>
#include <spawn.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "pkg/base/cleanup.h"
#include "pkg/mesh/pod.h"
#include "pkg/net/isolation.h"
#include "pkg/net/link.h"
#include "pkg/net/netns.h"
#include "pkg/store/live.h"
#include "pkg/wg/key.h"

enum step {
	STEP_PROCESS,
	STEP_STORES,
	STEP_LEASE,
	STEP_INTERFACE,
	STEP_RULES,
	STEP_PEER,
	STEP_RULES_AWAY,
	STEP_INTERFACE_AWAY,
	STEP_COUNT,
};

static const char *const step_names[STEP_COUNT] = {
	[STEP_PROCESS] =
		"start and end of a plugin's process (two an ADD, three in the plain chain)",
	[STEP_STORES] = "open both stores, and close them (once a process)",
	[STEP_LEASE] = "lease and record in one transaction",
	[STEP_INTERFACE] = "ADD: the WireGuard interface in the pod's netns",
	[STEP_RULES] = "ADD: address, route, routing rules",
	[STEP_PEER] = "ADD and DEL: one peer on one sibling",
	[STEP_RULES_AWAY] = "DEL: routing rules",
	[STEP_INTERFACE_AWAY] = "DEL: the interface, and its process if it has one",
};

enum { ROUNDS_MAXIMUM = 1000 };

static double samples[STEP_COUNT][ROUNDS_MAXIMUM];
static struct timespec began;

static void begin(void)
{
	(void)clock_gettime(CLOCK_MONOTONIC, &began);
}

static void end(enum step step, size_t round)
{
	struct timespec now;

	(void)clock_gettime(CLOCK_MONOTONIC, &now);
	samples[step][round] = (double)(now.tv_sec - began.tv_sec) * 1e3 +
			       (double)(now.tv_nsec - began.tv_nsec) / 1e6;
}

static void check(int result, const struct rail_error *error)
{
	if (result >= 0)
		return;
	fprintf(stderr, "steps: %s\n", error->message);
	exit(1);
}

static void start_process(const char *path)
{
	char *const arguments[] = {(char *)path, NULL};
	char *const environment[] = {NULL};
	posix_spawn_file_actions_t actions;
	pid_t pid = 0;

	(void)posix_spawn_file_actions_init(&actions);
	(void)posix_spawn_file_actions_addopen(&actions, 2, "/dev/null", 1, 0);
	if (posix_spawn(&pid, path, &actions, NULL, arguments, environment) == 0)
		(void)waitpid(pid, NULL, 0);
	(void)posix_spawn_file_actions_destroy(&actions);
}

static void lease(struct rail_store *store, size_t round)
{
	RAIL_CLEANUP(rail_transaction_abort) struct rail_transaction *live = NULL;
	static struct rail_attachment attachment;
	static const struct rail_prefix prefix = {{0xfd, 1, 2, 3, 4, 5}};
	const struct rail_counter_range range = {.next = 1, .end = RAIL_COUNTER_STEP};
	struct rail_error error = RAIL_ERROR_NONE;

	(void)snprintf(attachment.key.network, sizeof(attachment.key.network), "steps");
	(void)snprintf(attachment.key.container_id, sizeof(attachment.key.container_id), "c%zu",
		       round);
	(void)snprintf(attachment.key.interface, sizeof(attachment.key.interface), "eth0");
	attachment.prefix = prefix;
	check(rail_transaction_begin(store, RAIL_LIVE, RAIL_WRITE, &live, &error), &error);
	check(rail_lease_range(live, &prefix, 7, 1, &range, &error), &error);
	check(rail_lease_take(live, &prefix, 7, 1, &attachment.key, &attachment.address, &error),
	      &error);
	check(rail_attachment_put(live, &attachment, &error), &error);
	check(rail_transaction_commit(&live, &error), &error);
}

static void one_peer(const struct rail_transport *transport, int netns_fd,
		     const struct rail_interface *interface)
{
	RAIL_CLEANUP(rail_device_done) struct rail_device nothing = {0};
	RAIL_CLEANUP(rail_device_done) struct rail_device wanted = {0};
	RAIL_CLEANUP(rail_changes_done) struct rail_changes changes = {0};
	struct rail_endpoint endpoint = {.family = AF_INET, .port = 1};
	struct rail_error error = RAIL_ERROR_NONE;
	struct rail_key key;

	check(rail_key_generate(&key, &error), &error);
	check(rail_device_add_peer(&wanted, &key, &endpoint, &rail_resolver_address), &error);
	check(rail_device_difference(&nothing, &wanted, 0, &changes, &error), &error);
	check(transport->apply(netns_fd, interface, &changes, &error), &error);
}

static void one_round(size_t round, const char *netns_path, const char *plugin)
{
	RAIL_CLEANUP(rail_netlink_closep) struct rail_netlink *netlink = NULL;
	RAIL_CLEANUP(rail_store_closep) struct rail_store *store = NULL;
	const struct rail_transport *transport = NULL;
	struct rail_error error = RAIL_ERROR_NONE;
	struct rail_interface interface;
	struct rail_netns_id netns;
	struct rail_link link;
	RAIL_CLOSE int fd = -1;

	begin();
	start_process(plugin);
	end(STEP_PROCESS, round);

	begin();
	check(rail_store_open("/var/lib/railway", "/run/railway", &store, &error), &error);
	rail_store_closep(&store);
	end(STEP_STORES, round);
	store = NULL;
	check(rail_store_open("/var/lib/railway", "/run/railway", &store, &error), &error);
	begin();
	lease(store, round);
	end(STEP_LEASE, round);

	check(rail_netns_open(netns_path, &fd, &netns, &error), &error);
	check(rail_transport_choose("auto", &transport, &error), &error);
	struct rail_interface_request request = {
		.netns_fd = fd, .name = "eth0", .alias = "steps", .mtu = 1420};
	begin();
	check(transport->create(&request, NULL, NULL, &interface, &error), &error);
	end(STEP_INTERFACE, round);

	check(rail_netlink_open(fd, &netlink, &error), &error);
	check(rail_link_get(netlink, "eth0", &link, &error), &error);
	struct rail_isolation isolation = {.interface = "eth0", .interface_index = link.index};
	(void)memset(isolation.prefix.bytes, 0xfd, sizeof(isolation.prefix.bytes));
	(void)memset(isolation.address.s6_addr, 0xfd, sizeof(isolation.address.s6_addr));
	begin();
	check(rail_address_add(netlink, link.index, &isolation.address, 64, &error), &error);
	check(rail_isolation_apply(netlink, &isolation, &error), &error);
	end(STEP_RULES, round);

	begin();
	one_peer(transport, fd, &interface);
	end(STEP_PEER, round);

	begin();
	check(rail_isolation_remove(netlink, &isolation, &error), &error);
	end(STEP_RULES_AWAY, round);
	begin();
	check(transport->destroy(fd, &interface, &error), &error);
	end(STEP_INTERFACE_AWAY, round);
}

static int compare(const void *one, const void *other)
{
	double a = *(const double *)one;
	double b = *(const double *)other;

	return a < b ? -1 : a > b;
}

int main(int argc, char **argv)
{
	size_t rounds = argc == 4 ? strtoul(argv[1], NULL, 10) : 0;

	if (rounds == 0 || rounds > ROUNDS_MAXIMUM) {
		fprintf(stderr, "usage: steps ROUNDS NETNS PLUGIN\n");
		return 2;
	}
	/* As in a fresh process: LMDB's large tables come zeroed from the kernel, not from the
	 * heap. */
	(void)mallopt(M_MMAP_THRESHOLD, 128 * 1024);
	for (size_t round = 0; round < rounds; round++)
		one_round(round, argv[2], argv[3]);
	for (size_t step = 0; step < STEP_COUNT; step++) {
		qsort(samples[step], rounds, sizeof(double), compare);
		printf("  %8.2f  %s\n", samples[step][rounds / 2], step_names[step]);
	}
	return 0;
}
