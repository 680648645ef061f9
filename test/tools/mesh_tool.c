#include <arpa/inet.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "pkg/base/cleanup.h"
#include "pkg/base/file.h"
#include "pkg/mesh/lock.h"
#include "pkg/mesh/wiring.h"
#include "pkg/net/link.h"
#include "pkg/store/registry.h"
#include "pkg/wg/key.h"

/*
 * For tests of large environments on one machine: members and leases that are records only, beside
 * real pods.
 *
 *     mesh_tool members STATE RUN ENVIRONMENT FIRST COUNT   members of another node, wired into the
 *                                                           environment's pods
 *     mesh_tool forget STATE RUN ENVIRONMENT FIRST COUNT    takes them away again
 *     mesh_tool list STATE RUN ENVIRONMENT                  "<key> <address>/128" of every member
 *     mesh_tool interface STATE RUN NETWORK CONTAINER INTERFACE
 *                                                "<transport> <name> <device or -> <process or 0>"
 *     mesh_tool leases STATE RUN ENVIRONMENT SERVICE COUNT  live attachments with leases
 */

enum { OTHER_NODE = 9, OTHER_SERVICE = 9 };

static int fail(const struct rail_error *error)
{
	(void)fprintf(stderr, "%s (code %d, errno %d)\n", error->message, error->code,
		      error->errnum);
	return EXIT_FAILURE;
}

static int find_environment(struct rail_store *store, const char *name, const char *service,
			    struct rail_environment *ret_environment,
			    struct rail_service *ret_service, struct rail_error *error)
{
	RAIL_CLEANUP(rail_transaction_abort) struct rail_transaction *registry = NULL;
	const struct rail_pool pool = {.base = {.s6_addr = {0xfd}}, .length = 8};
	int result = rail_transaction_begin(store, RAIL_REGISTRY, RAIL_WRITE, &registry, error);

	if (result == 0)
		result = rail_environment_ensure(registry, name, &pool, ret_environment, error);
	if (result == 0 && service != NULL)
		result = rail_service_ensure(registry, &ret_environment->prefix, service, service,
					     ret_service, error);
	if (result == 0)
		result = rail_transaction_commit(&registry, error);
	return result;
}

static struct in6_addr address_of(const struct rail_prefix *prefix, uint32_t number)
{
	const struct rail_address_parts parts = {
		.prefix = *prefix, .service = OTHER_SERVICE, .node = OTHER_NODE, .counter = number};

	return rail_address_compose(&parts);
}

static int put_members(struct rail_store *store, const struct rail_prefix *prefix, uint32_t first,
		       uint32_t count, bool present, struct rail_error *error)
{
	RAIL_CLEANUP(rail_transaction_abort) struct rail_transaction *live = NULL;
	int result = rail_transaction_begin(store, RAIL_LIVE, RAIL_WRITE, &live, error);

	for (uint32_t i = first; i < first + count && result == 0; i++) {
		struct rail_member member = {.address = address_of(prefix, i),
					     .published = true,
					     .node = OTHER_NODE,
					     .endpoint = {.family = AF_INET, .port = 9}};

		member.endpoint.address.v4.s_addr = htonl(INADDR_LOOPBACK);
		(void)snprintf(member.replica, sizeof(member.replica), "remote-%u", i);
		result = rail_random(&member.public_key, sizeof(member.public_key), error);
		if (result == 0)
			result = present ? rail_member_put(live, &member, error)
					 : rail_member_delete(live, &member.address, error);
	}
	return result == 0 ? rail_transaction_commit(&live, error) : result;
}

static int change_members(struct rail_store *store, char **argv, bool present,
			  struct rail_error *error)
{
	RAIL_CLEANUP(rail_environment_lock_abandon)
	struct rail_environment_lock lock = RAIL_ENVIRONMENT_LOCK_NONE;
	RAIL_CLEANUP(rail_gone_done) struct rail_gone gone = {0};
	struct rail_environment environment = {0};
	int result = find_environment(store, argv[2], NULL, &environment, NULL, error);

	if (result == 0)
		result = rail_environment_lock_take(argv[1], &environment.prefix, &lock, error);
	if (result == 0)
		result = put_members(store, &environment.prefix,
				     (uint32_t)strtoul(argv[3], NULL, 10),
				     (uint32_t)strtoul(argv[4], NULL, 10), present, error);
	if (result == 0)
		result = rail_wiring_repair(store, &environment.prefix, &gone, error);
	if (result == 0)
		rail_environment_lock_finish(&lock, false);
	return result;
}

static int list(struct rail_store *store, char **argv, struct rail_error *error)
{
	RAIL_CLEANUP(rail_transaction_abort) struct rail_transaction *live = NULL;
	RAIL_FREE struct rail_member *members = NULL;
	struct rail_environment environment = {0};
	size_t count = 0;
	int result = find_environment(store, argv[2], NULL, &environment, NULL, error);

	if (result == 0)
		result = rail_transaction_begin(store, RAIL_LIVE, RAIL_READ, &live, error);
	if (result == 0)
		result = rail_member_list(live, &environment.prefix, &members, &count, error);
	for (size_t i = 0; i < count && result == 0; i++) {
		char address[INET6_ADDRSTRLEN];
		char key[RAIL_KEY_TEXT_SIZE];

		rail_key_format(&members[i].public_key, key);
		(void)printf("%s %s/128\n", key,
			     inet_ntop(AF_INET6, &members[i].address, address, sizeof(address)));
	}
	return result;
}

static int reserve(struct rail_store *store, const struct rail_service *service,
		   struct rail_counter_range *ret_range, struct rail_error *error)
{
	RAIL_CLEANUP(rail_transaction_abort) struct rail_transaction *registry = NULL;
	int result = rail_transaction_begin(store, RAIL_REGISTRY, RAIL_WRITE, &registry, error);

	if (result == 0)
		result = rail_counter_reserve(registry, &service->prefix, service->number,
					      RAIL_NODE_LONE, ret_range, error);
	return result == 0 ? rail_transaction_commit(&registry, error) : result;
}

/* As many as there are until the range is used up. */
static int take_leases(struct rail_store *store, const struct rail_service *service,
		       const struct rail_counter_range *range, unsigned long *next,
		       unsigned long end, struct rail_error *error)
{
	RAIL_CLEANUP(rail_transaction_abort) struct rail_transaction *live = NULL;
	int result = rail_transaction_begin(store, RAIL_LIVE, RAIL_WRITE, &live, error);

	if (result == 0)
		result = rail_lease_range(live, &service->prefix, service->number, RAIL_NODE_LONE,
					  range, error);
	while (*next < end && result == 0) {
		struct rail_attachment attachment = {
			.key = {.network = "leases", .interface = "eth0"},
			.state = RAIL_READY,
			.parts = RAIL_PART_LEASE,
			.prefix = service->prefix,
			.service = service->number,
			.netns_path = "/nowhere",
			.interface.nsid = RAIL_NSID_NONE,
		};

		(void)snprintf(attachment.key.container_id, sizeof(attachment.key.container_id),
			       "lease-%08lx", *next * 2654435761UL % (1UL << 32));
		result = rail_lease_take(live, &service->prefix, service->number, RAIL_NODE_LONE,
					 &attachment.key, &attachment.address, error);
		if (result == 0)
			result = rail_attachment_put(live, &attachment, error);
		if (result == 0)
			(*next)++;
	}
	if (result == -ERANGE)
		result = 0;
	return result == 0 ? rail_transaction_commit(&live, error) : result;
}

static int leases(struct rail_store *store, char **argv, struct rail_error *error)
{
	unsigned long end = strtoul(argv[4], NULL, 10);
	struct rail_environment environment = {0};
	struct rail_service service = {0};
	unsigned long next = 0;
	int result = find_environment(store, argv[2], argv[3], &environment, &service, error);

	while (next < end && result == 0) {
		struct rail_counter_range range;

		result = reserve(store, &service, &range, error);
		if (result == 0)
			result = take_leases(store, &service, &range, &next, end, error);
	}
	return result;
}

static int show_interface(struct rail_store *store, char **argv, struct rail_error *error)
{
	RAIL_CLEANUP(rail_transaction_abort) struct rail_transaction *live = NULL;
	struct rail_attachment_key key = {.network = ""};
	struct rail_attachment attachment;

	(void)snprintf(key.network, sizeof(key.network), "%s", argv[2]);
	(void)snprintf(key.container_id, sizeof(key.container_id), "%s", argv[3]);
	(void)snprintf(key.interface, sizeof(key.interface), "%s", argv[4]);
	int result = rail_transaction_begin(store, RAIL_LIVE, RAIL_READ, &live, error);
	if (result == 0)
		result = rail_attachment_get(live, &key, &attachment, error);
	if (result < 0)
		return result;

	const struct rail_interface *interface = &attachment.interface;
	(void)printf("%s %s %s %d\n", interface->transport, interface->name,
		     interface->device_name[0] != '\0' ? interface->device_name : "-",
		     interface->process.pid);
	return 0;
}

int main(int argc, char **argv)
{
	RAIL_CLEANUP(rail_store_closep) struct rail_store *store = NULL;
	struct rail_error error = RAIL_ERROR_NONE;
	const char *command = argc > 1 ? argv[1] : "";
	int arguments = argc - 2;
	int result = -EINVAL;

	if (arguments < 3) {
		(void)fprintf(stderr, "usage: see the comment in mesh_tool.c\n");
		return 2;
	}
	if (rail_store_open(argv[2], argv[3], &store, &error) < 0)
		return fail(&error);
	if (strcmp(command, "members") == 0 && arguments == 5)
		result = change_members(store, argv + 2, true, &error);
	else if (strcmp(command, "forget") == 0 && arguments == 5)
		result = change_members(store, argv + 2, false, &error);
	else if (strcmp(command, "list") == 0)
		result = list(store, argv + 2, &error);
	else if (strcmp(command, "interface") == 0 && arguments == 5)
		result = show_interface(store, argv + 2, &error);
	else if (strcmp(command, "leases") == 0 && arguments == 5)
		result = leases(store, argv + 2, &error);
	else
		(void)snprintf(error.message, sizeof(error.message), "unknown command '%s'",
			       command);
	return result < 0 ? fail(&error) : EXIT_SUCCESS;
}
