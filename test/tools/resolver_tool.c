#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/ipv6.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mount.h>
#include <sys/socket.h>

#include "pkg/base/cleanup.h"
#include "pkg/dns/registration.h"
#include "pkg/net/link.h"
#include "pkg/store/registry.h"

/*
 * For tests of the resolver daemon without the plugins: writes what they would into the stores, and
 * asks what they would.
 *
 *     resolver_tool put STATE RUN ENVIRONMENT SERVICE REPLICA CONTAINER NETNS [UPSTREAM-V4:PORT]
 *     resolver_tool fill STATE RUN ENVIRONMENT SERVICES REPLICAS NETNS    members svc<n>, that no
 *                                                       resolver has to serve
 *     resolver_tool pods STATE RUN COUNT                netns pod-<n> with the resolver's address,
 *                                                       and what put would write of each: fifty
 *                                                       pods an environment, of ten services
 *     resolver_tool named STATE RUN CONTAINER 0|1      the member's flag
 *     resolver_tool crowd STATE RUN                     environments until the registry is full
 *     resolver_tool disperse STATE RUN                  the first thousand of these
 *     resolver_tool enabled STATE RUN ENVIRONMENT 0|1
 *     resolver_tool show STATE RUN CONTAINER           "<state> <parts> <named> <address>"
 *     resolver_tool delete STATE RUN CONTAINER
 *     resolver_tool leases STATE RUN ENVIRONMENT       the container of each
 *     resolver_tool ask SOCKET add|remove|check|status [CONTAINER [NETNS]]
 *
 * The attachment is ($NETWORK or test, CONTAINER, eth0). put prints the address that it gives.
 */

static int fail(const struct rail_error *error)
{
	(void)fprintf(stderr, "%s (code %d, errno %d)\n", error->message, error->code,
		      error->errnum);
	return EXIT_FAILURE;
}

static void copy(char *target, size_t size, const char *source)
{
	(void)snprintf(target, size, "%s", source);
}

static struct rail_attachment_key make_key(const char *container)
{
	struct rail_attachment_key key = {.interface = "eth0"};
	const char *network = getenv("NETWORK");

	copy(key.network, sizeof(key.network), network != NULL ? network : "test");
	copy(key.container_id, sizeof(key.container_id), container);
	return key;
}

static void print_address(const struct in6_addr *address)
{
	char text[INET6_ADDRSTRLEN];

	(void)puts(inet_ntop(AF_INET6, address, text, sizeof(text)));
}

static int parse_upstream(const char *text, struct rail_endpoint *ret_endpoint)
{
	char address[INET_ADDRSTRLEN];
	const char *colon = strchr(text, ':');
	size_t length = colon == NULL ? 0 : (size_t)(colon - text);

	if (colon == NULL || length >= sizeof(address))
		return -EINVAL;
	memcpy(address, text, length);
	address[length] = '\0';
	ret_endpoint->family = AF_INET;
	ret_endpoint->port = (uint16_t)strtoul(colon + 1, NULL, 10);
	return inet_pton(AF_INET, address, &ret_endpoint->address.v4) == 1 ? 0 : -EINVAL;
}

static int put_registry(struct rail_store *store, const char *environment_name,
			struct rail_attachment *attachment, struct rail_error *error)
{
	RAIL_CLEANUP(rail_transaction_abort) struct rail_transaction *registry = NULL;
	RAIL_CLEANUP(rail_transaction_abort) struct rail_transaction *live = NULL;
	const struct rail_pool pool = {.base = {.s6_addr = {0xfd}}, .length = 8};
	struct rail_environment environment = {0};
	struct rail_service service = {0};
	struct rail_counter_range range = {0};
	const char *label = attachment->identity.service;
	int result = rail_transaction_begin(store, RAIL_REGISTRY, RAIL_WRITE, &registry, error);

	if (result == 0)
		result = rail_environment_ensure(registry, environment_name, &pool, &environment,
						 error);
	if (result == 0)
		result = rail_service_ensure(registry, &environment.prefix, label, label, &service,
					     error);
	if (result == 0)
		result = rail_counter_reserve(registry, &environment.prefix, service.number,
					      RAIL_NODE_LONE, &range, error);
	if (result == 0)
		result = rail_transaction_commit(&registry, error);
	if (result < 0)
		return result;
	attachment->prefix = environment.prefix;
	attachment->service = service.number;

	result = rail_transaction_begin(store, RAIL_LIVE, RAIL_WRITE, &live, error);
	if (result == 0)
		result = rail_lease_range(live, &attachment->prefix, attachment->service,
					  RAIL_NODE_LONE, &range, error);
	if (result == 0)
		result = rail_lease_take(live, &attachment->prefix, attachment->service,
					 RAIL_NODE_LONE, &attachment->key, &attachment->address,
					 error);
	if (result == 0)
		result = rail_transaction_commit(&live, error);
	return result;
}

static int put(struct rail_store *store, int argc, char **argv, unsigned int parts,
	       struct rail_error *error)
{
	RAIL_CLEANUP(rail_transaction_abort) struct rail_transaction *live = NULL;
	RAIL_CLOSE int netns_fd = -EBADF;
	struct rail_attachment attachment = {
		.key = make_key(argv[3]),
		.state = RAIL_READY,
		.parts = RAIL_PART_LEASE | RAIL_PART_MEMBER | parts,
		.interface.nsid = RAIL_NSID_NONE,
		.resolver = {.port = 53, .ttl_s = 5},
	};

	copy(attachment.identity.environment, sizeof(attachment.identity.environment), argv[0]);
	copy(attachment.identity.service, sizeof(attachment.identity.service), argv[1]);
	copy(attachment.identity.service_original, sizeof(attachment.identity.service_original),
	     argv[1]);
	copy(attachment.identity.replica, sizeof(attachment.identity.replica), argv[2]);
	copy(attachment.identity.replica_original, sizeof(attachment.identity.replica_original),
	     argv[2]);
	copy(attachment.netns_path, sizeof(attachment.netns_path), argv[4]);
	if (argc > 5) {
		if (parse_upstream(argv[5], &attachment.resolver.upstreams[0]) < 0)
			return rail_fail(error, EINVAL, "'%s' is no upstream", argv[5]);
		attachment.resolver.upstream_count = 1;
	}

	int result = rail_netns_open(argv[4], &netns_fd, &attachment.netns, error);

	if (result == 0)
		result = put_registry(store, argv[0], &attachment, error);
	if (result == 0)
		result = rail_transaction_begin(store, RAIL_LIVE, RAIL_WRITE, &live, error);
	if (result < 0)
		return result;

	struct rail_member member = {
		.address = attachment.address,
		.local = true,
		.published = true,
		.named = true,
		.node = RAIL_NODE_LONE,
		.key = attachment.key,
	};

	memcpy(member.replica, attachment.identity.replica, sizeof(member.replica));
	result = rail_attachment_put(live, &attachment, error);
	if (result == 0)
		result = rail_member_put(live, &member, error);
	if (result == 0)
		result = rail_transaction_commit(&live, error);
	if (result == 0)
		print_address(&attachment.address);
	return result;
}

static int fill(struct rail_store *store, char **argv, struct rail_error *error)
{
	unsigned long services = strtoul(argv[1], NULL, 10);
	unsigned long replicas = strtoul(argv[2], NULL, 10);
	int result = 0;

	for (unsigned long i = 0; i < services * replicas && result == 0; i++) {
		char service[32];
		char replica[32];
		char *arguments[] = {argv[0], service, replica, replica, argv[3]};

		(void)snprintf(service, sizeof(service), "svc%lu", i / replicas);
		(void)snprintf(replica, sizeof(replica), "replica-%lu", i);
		result = put(store, 5, arguments, 0, error);
	}
	return result;
}

/* What "ip netns add", "ip link set lo up" and "ip addr add" do. */
static int set_up_netns(const char *path, struct rail_error *error)
{
	struct ifreq loopback = {.ifr_name = "lo", .ifr_flags = IFF_UP};
	struct in6_ifreq address = {.ifr6_addr = rail_resolver_address,
				    .ifr6_prefixlen = 128,
				    .ifr6_ifindex = RAIL_LOOPBACK_INDEX};
	RAIL_CLOSE int file = open(path, O_RDONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0);

	if (file < 0 || unshare(CLONE_NEWNET) < 0 ||
	    mount("/proc/thread-self/ns/net", path, "none", MS_BIND, NULL) < 0)
		return rail_fail_errno(error, errno, "make netns '%s'", path);

	RAIL_CLOSE int fd = socket(AF_INET6, SOCK_DGRAM | SOCK_CLOEXEC, 0);

	if (fd < 0 || ioctl(fd, SIOCSIFFLAGS, &loopback) < 0 ||
	    ioctl(fd, SIOCSIFADDR, &address) < 0)
		return rail_fail_errno(error, errno, "give netns '%s' its address", path);
	return 0;
}

static int make_netns(const char *path, struct rail_error *error)
{
	RAIL_CLOSE int own = open("/proc/thread-self/ns/net", O_RDONLY | O_CLOEXEC);
	int result = set_up_netns(path, error);

	if (own < 0 || setns(own, CLONE_NEWNET) < 0)
		return rail_fail_errno(error, errno, "go back to the own netns");
	return result;
}

static int make_pods(struct rail_store *store, unsigned long count, struct rail_error *error)
{
	int result = 0;

	for (unsigned long n = 1; n <= count && result == 0; n++) {
		char environment[32];
		char service[32];
		char pod[32];
		char path[64];
		char *arguments[] = {environment, service, pod, pod, path};

		(void)snprintf(environment, sizeof(environment), "environment-%lu", n / 50);
		(void)snprintf(service, sizeof(service), "service-%lu", n % 10);
		(void)snprintf(pod, sizeof(pod), "pod-%lu", n);
		(void)snprintf(path, sizeof(path), "/run/netns/%s", pod);
		result = make_netns(path, error);
		if (result == 0)
			result = put(store, 5, arguments, RAIL_PART_NAME, error);
	}
	return result;
}

static int change(struct rail_store *store, const char *container, int named, bool removes,
		  struct rail_error *error)
{
	RAIL_CLEANUP(rail_transaction_abort) struct rail_transaction *live = NULL;
	const struct rail_attachment_key key = make_key(container);
	struct rail_attachment attachment = {0};
	struct rail_member member = {0};
	int result = rail_transaction_begin(store, RAIL_LIVE, RAIL_WRITE, &live, error);

	if (result == 0)
		result = rail_attachment_get(live, &key, &attachment, error);
	if (result == 0)
		result = rail_member_get(live, &attachment.address, &member, error);
	if (result < 0)
		return result;
	if (removes) {
		result = rail_attachment_delete(live, &key, error);
		if (result == 0)
			result = rail_member_delete(live, &attachment.address, error);
		if (result == 0)
			result = rail_lease_release(live, &attachment.address, &key, error);
	} else if (named >= 0) {
		member.named = named != 0;
		result = rail_member_put(live, &member, error);
	} else {
		static const char *const states[] = {[RAIL_PENDING] = "pending",
						     [RAIL_READY] = "ready",
						     [RAIL_DEAD] = "dead",
						     [RAIL_DISABLED] = "disabled"};

		(void)printf("%s %u %d ", states[attachment.state], attachment.parts, member.named);
		print_address(&attachment.address);
	}
	return result < 0 ? result : rail_transaction_commit(&live, error);
}

static int print_lease(void *context, const struct in6_addr *address,
		       const struct rail_attachment_key *key, struct rail_error *error)
{
	(void)context;
	(void)address;
	(void)error;
	(void)puts(key->container_id);
	return 0;
}

static int print_leases(struct rail_store *store, const char *name, struct rail_error *error)
{
	RAIL_CLEANUP(rail_transaction_abort) struct rail_transaction *registry = NULL;
	RAIL_CLEANUP(rail_transaction_abort) struct rail_transaction *live = NULL;
	struct rail_environment environment;
	int result = rail_transaction_begin(store, RAIL_REGISTRY, RAIL_READ, &registry, error);

	if (result == 0)
		result = rail_environment_get(registry, name, &environment, error);
	if (result == 0)
		result = rail_transaction_begin(store, RAIL_LIVE, RAIL_READ, &live, error);
	if (result == 0)
		result = rail_lease_each(live, &environment.prefix, print_lease, NULL, error);
	return result;
}

static void name_one(unsigned long number, char name[static RAIL_ENVIRONMENT_NAME_SIZE])
{
	(void)snprintf(name, RAIL_ENVIRONMENT_NAME_SIZE, "crowd-%06lu-%0*d", number, 200, 0);
}

/* So many environments in one transaction: all or none. */
static int add_crowd(struct rail_store *store, unsigned long first, unsigned long count,
		     struct rail_error *error)
{
	const struct rail_pool pool = {.base = {.s6_addr = {0xfd}}, .length = 8};
	RAIL_CLEANUP(rail_transaction_abort) struct rail_transaction *registry = NULL;
	int result = rail_transaction_begin(store, RAIL_REGISTRY, RAIL_WRITE, &registry, error);

	for (unsigned long i = 0; i < count && result == 0; i++) {
		struct rail_environment environment;
		char name[RAIL_ENVIRONMENT_NAME_SIZE];

		name_one(first + i, name);
		result = rail_environment_ensure(registry, name, &pool, &environment, error);
	}
	return result < 0 ? result : rail_transaction_commit(&registry, error);
}

static int crowd(struct rail_store *store, struct rail_error *error)
{
	unsigned long added = 0;
	int result = 0;

	for (unsigned long step = 4096; step > 0; step /= 8) {
		for (result = 0; result == 0; added += step)
			result = add_crowd(store, added, step, error);
		added -= step;
	}
	return result == -ENOSPC ? 0 : result;
}

static int disperse(struct rail_store *store, struct rail_error *error)
{
	int result = 0;

	for (unsigned long i = 0; i < 1000 && result == 0; i++) {
		RAIL_CLEANUP(rail_transaction_abort) struct rail_transaction *registry = NULL;
		RAIL_CLEANUP(rail_transaction_abort) struct rail_transaction *live = NULL;
		char name[RAIL_ENVIRONMENT_NAME_SIZE];

		name_one(i, name);
		result = rail_transaction_begin(store, RAIL_REGISTRY, RAIL_WRITE, &registry, error);
		if (result == 0)
			result = rail_transaction_begin(store, RAIL_LIVE, RAIL_WRITE, &live, error);
		if (result == 0)
			result = rail_environment_remove(registry, live, name, error);
		if (result == 0)
			result = rail_transaction_commit(&live, error);
		if (result == 0)
			result = rail_transaction_commit(&registry, error);
	}
	return result;
}

static int enable(struct rail_store *store, const char *environment, bool enabled,
		  struct rail_error *error)
{
	RAIL_CLEANUP(rail_transaction_abort) struct rail_transaction *registry = NULL;
	int result = rail_transaction_begin(store, RAIL_REGISTRY, RAIL_WRITE, &registry, error);

	if (result == 0)
		result = rail_environment_set_enabled(registry, environment, enabled, error);
	return result < 0 ? result : rail_transaction_commit(&registry, error);
}

static int ask(int argc, char **argv, struct rail_error *error)
{
	static const char *const kinds[] = {
		[RAIL_REGISTRATION_ADD] = "add",
		[RAIL_REGISTRATION_REMOVE] = "remove",
		[RAIL_REGISTRATION_CHECK] = "check",
		[RAIL_REGISTRATION_STATUS] = "status",
	};
	struct rail_registration_request request = {.kind = RAIL_REGISTRATION_ADD};
	RAIL_CLOSE int netns_fd = -EBADF;
	struct rail_netns_id id;

	while (strcmp(kinds[request.kind], argv[1]) != 0)
		if (++request.kind > RAIL_REGISTRATION_STATUS)
			return rail_fail(error, EINVAL, "'%s' is no request", argv[1]);
	if (argc > 2)
		request.key = make_key(argv[2]);
	if (argc > 3) {
		int result = rail_netns_open(argv[3], &netns_fd, &id, error);

		if (result < 0)
			return result;
	}
	return rail_registration_ask(argv[0], &request, netns_fd, error);
}

int main(int argc, char **argv)
{
	struct rail_error error = RAIL_ERROR_NONE;
	RAIL_CLEANUP(rail_store_closep) struct rail_store *store = NULL;
	const char *verb = argc > 1 ? argv[1] : "";

	if (strcmp(verb, "ask") == 0 && argc >= 4)
		return ask(argc - 2, argv + 2, &error) < 0 ? fail(&error) : EXIT_SUCCESS;
	if (argc < (strcmp(verb, "crowd") == 0 || strcmp(verb, "disperse") == 0 ? 4 : 5)) {
		(void)fputs("usage: see the head of test/tools/resolver_tool.c\n", stderr);
		return EXIT_FAILURE;
	}
	if (rail_store_open(argv[2], argv[3], &store, &error) < 0)
		return fail(&error);

	int result = -EINVAL;

	if (strcmp(verb, "put") == 0 && argc >= 9)
		result = put(store, argc - 4, argv + 4, RAIL_PART_NAME, &error);
	else if (strcmp(verb, "fill") == 0 && argc == 8)
		result = fill(store, argv + 4, &error);
	else if (strcmp(verb, "pods") == 0)
		result = make_pods(store, strtoul(argv[4], NULL, 10), &error);
	else if (strcmp(verb, "named") == 0 && argc == 6)
		result = change(store, argv[4], *argv[5] == '1', false, &error);
	else if (strcmp(verb, "enabled") == 0 && argc == 6)
		result = enable(store, argv[4], *argv[5] == '1', &error);
	else if (strcmp(verb, "show") == 0)
		result = change(store, argv[4], -1, false, &error);
	else if (strcmp(verb, "crowd") == 0)
		result = crowd(store, &error);
	else if (strcmp(verb, "disperse") == 0)
		result = disperse(store, &error);
	else if (strcmp(verb, "leases") == 0)
		result = print_leases(store, argv[4], &error);
	else if (strcmp(verb, "delete") == 0)
		result = change(store, argv[4], -1, true, &error);
	else
		(void)rail_fail(&error, EINVAL,
				"'%s' with %d arguments: see the head of "
				"test/tools/resolver_tool.c",
				verb, argc - 2);
	return result < 0 ? fail(&error) : EXIT_SUCCESS;
}
