#include "pkg/store/cluster.h"

#include <errno.h>
#include <string.h>

#include "test/unit/store/stores.h"

static struct rail_store *store;
static const struct rail_prefix prefix = {{0xfd, 1, 2, 3, 4, 5}};
static const struct rail_prefix other = {{0xfd, 1, 2, 3, 4, 6}};

static void open_both(void)
{
	make_directories();
	store = open_stores();
}

static void close_both(void)
{
	rail_store_close(store);
	remove_directories();
}

TestSuite(store_cluster, .init = open_both, .fini = close_both);

Test(store_cluster, an_environment_is_adopted_once)
{
	struct rail_transaction *registry = begin(store, RAIL_REGISTRY, RAIL_WRITE);
	struct rail_environment environment;

	cr_assert_eq(rail_environment_adopt(registry, "one", &prefix, NULL), 0);
	cr_assert_eq(rail_environment_adopt(registry, "one", &prefix, NULL), 0);
	cr_assert_eq(rail_environment_adopt(registry, "one", &other, NULL), -EEXIST);
	cr_assert_eq(rail_environment_adopt(registry, "two", &prefix, NULL), -EADDRINUSE);
	cr_assert_eq(rail_environment_by_prefix(registry, &prefix, &environment, NULL), 0);
	cr_assert_str_eq(environment.name, "one");
	cr_assert(environment.enabled);
	commit(&registry);
}

Test(store_cluster, an_environment_yields_once_nothing_of_it_lives_here)
{
	struct rail_transaction *registry = begin(store, RAIL_REGISTRY, RAIL_WRITE);
	struct rail_transaction *live = begin(store, RAIL_LIVE, RAIL_WRITE);
	const struct rail_service service = {
		.prefix = prefix, .number = 7, .label = "a", .original = "A"};
	struct rail_attachment pod = {
		.key = {.network = "n", .container_id = "c", .interface = "eth0"},
		.prefix = prefix,
		.service = 7,
		.netns_path = "/run/netns/c",
		.identity = {.environment = "one", .service = "a", .replica = "r"},
	};
	struct rail_error error = RAIL_ERROR_NONE;
	struct rail_environment environment;
	struct rail_service read;

	cr_assert_eq(rail_environment_yield(registry, live, "one", &prefix, NULL), 0);
	cr_assert_eq(rail_environment_set_enabled(registry, "one", false, NULL), 0);
	cr_assert_eq(rail_service_adopt(registry, &service, NULL), 0);
	cr_assert_eq(rail_environment_refuse(registry, "one", "because", NULL), 0);
	cr_assert_eq(rail_attachment_put(live, &pod, &error), 0, "%s", error.message);
	cr_assert_eq(rail_environment_yield(registry, live, "one", &other, NULL), -EBUSY);
	cr_assert_eq(rail_service_get(registry, &prefix, "a", &read, NULL), 0);
	/* The cluster has the same again. */
	cr_assert_eq(rail_environment_yield(registry, live, "one", &prefix, NULL), 0);
	cr_assert_eq(rail_environment_check_refused(registry, "one", NULL), 0);
	cr_assert_eq(rail_environment_refuse(registry, "one", "because", NULL), 0);

	cr_assert_eq(rail_attachment_delete(live, &pod.key, NULL), 0);
	cr_assert_eq(rail_environment_yield(registry, live, "one", &other, &error), 1, "%s",
		     error.message);
	cr_assert_eq(rail_environment_by_prefix(registry, &prefix, &environment, NULL), -ENOENT);
	cr_assert_eq(rail_service_get(registry, &prefix, "a", &read, NULL), -ENOENT);
	cr_assert_eq(rail_environment_by_prefix(registry, &other, &environment, NULL), 0);
	cr_assert_not(environment.enabled);
	cr_assert_eq(rail_environment_check_refused(registry, "one", NULL), 0);
	rail_transaction_abort(&live);
	commit(&registry);
}

Test(store_cluster, a_service_is_adopted_once)
{
	struct rail_transaction *registry = begin(store, RAIL_REGISTRY, RAIL_WRITE);
	struct rail_service service = {
		.prefix = prefix, .number = 7, .label = "a", .original = "A"};
	struct rail_service read;

	cr_assert_eq(rail_service_adopt(registry, &service, NULL), 0);
	cr_assert_eq(rail_service_adopt(registry, &service, NULL), 0);
	service.number = 8;
	cr_assert_eq(rail_service_adopt(registry, &service, NULL), -EEXIST);
	service.number = 7;
	service.label[0] = 'b';
	cr_assert_eq(rail_service_adopt(registry, &service, NULL), -EADDRINUSE);
	cr_assert_eq(rail_service_by_number(registry, &prefix, 7, &read, NULL), 0);
	cr_assert_str_eq(read.label, "a");
	cr_assert_str_eq(read.original, "A");
	commit(&registry);
}

Test(store_cluster, a_service_yields_once_no_pod_of_this_node_uses_it)
{
	struct rail_transaction *registry = begin(store, RAIL_REGISTRY, RAIL_WRITE);
	struct rail_transaction *live = begin(store, RAIL_LIVE, RAIL_WRITE);
	const struct rail_service of_cluster = {
		.prefix = prefix, .number = 7, .label = "b", .original = "b"};
	const struct rail_service number_here = {
		.prefix = prefix, .number = 7, .label = "a", .original = "a"};
	const struct rail_service label_here = {
		.prefix = prefix, .number = 9, .label = "b", .original = "b"};
	struct rail_attachment pod = {
		.key = {.network = "n", .container_id = "c", .interface = "eth0"},
		.prefix = prefix,
		.service = 7,
		.netns_path = "/run/netns/c",
		.identity = {.environment = "e", .service = "a", .replica = "r"},
	};
	struct rail_error error = RAIL_ERROR_NONE;
	struct rail_service read;

	cr_assert_eq(rail_service_adopt(registry, &number_here, NULL), 0);
	cr_assert_eq(rail_service_adopt(registry, &label_here, NULL), 0);
	cr_assert_eq(rail_attachment_put(live, &pod, &error), 0, "%s", error.message);
	cr_assert_eq(rail_service_yield(registry, live, &of_cluster, &error), -EBUSY);
	cr_assert(strstr(error.message, "container 'c' is of service 'a'") != NULL, "%s",
		  error.message);
	cr_assert_eq(rail_service_by_number(registry, &prefix, 7, &read, NULL), 0);
	cr_assert_str_eq(read.label, "a");

	/* A pod of another environment is in nobody's way. */
	cr_assert_eq(rail_attachment_delete(live, &pod.key, NULL), 0);
	pod.prefix = other;
	cr_assert_eq(rail_attachment_put(live, &pod, NULL), 0);
	cr_assert_eq(rail_service_yield(registry, live, &of_cluster, NULL), 0);
	cr_assert_eq(rail_service_by_number(registry, &prefix, 7, &read, NULL), 0);
	cr_assert_str_eq(read.label, "b");
	cr_assert_eq(rail_service_get(registry, &prefix, "a", &read, NULL), -ENOENT);
	cr_assert_eq(rail_service_by_number(registry, &prefix, 9, &read, NULL), -ENOENT);
	cr_assert_eq(rail_service_yield(registry, live, &of_cluster, NULL), 0);
	rail_transaction_abort(&live);
	commit(&registry);
}

Test(store_cluster, identity_and_lease)
{
	uint8_t id[RAIL_CLUSTER_ID_SIZE] = {1, 2, 3};
	uint8_t read[RAIL_CLUSTER_ID_SIZE];
	int64_t lease = 0;
	struct rail_transaction *registry = begin(store, RAIL_REGISTRY, RAIL_WRITE);
	struct rail_transaction *live = begin(store, RAIL_LIVE, RAIL_WRITE);

	cr_assert_eq(rail_cluster_id_get(registry, read, NULL), -ENOENT);
	cr_assert_eq(rail_cluster_lease_get(live, &lease, NULL), -ENOENT);
	cr_assert_eq(rail_cluster_id_set(registry, id, NULL), 0);
	cr_assert_eq(rail_cluster_lease_set(live, INT64_MAX, NULL), 0);
	cr_assert_eq(rail_cluster_lease_get(live, &lease, NULL), 0);
	cr_assert_eq(lease, INT64_MAX);
	cr_assert_eq(lease, INT64_MAX);
	commit(&live);
	commit(&registry);

	rail_store_close(store);
	store = open_in_boot(ANOTHER_BOOT);
	registry = begin(store, RAIL_REGISTRY, RAIL_READ);
	cr_assert_eq(rail_cluster_id_get(registry, read, NULL), 0);
	cr_assert_arr_eq(read, id, sizeof(id));
	rail_transaction_abort(&registry);
}

Test(store_cluster, an_environment_is_refused_with_its_reason_until_that_is_taken_back)
{
	struct rail_transaction *registry = begin(store, RAIL_REGISTRY, RAIL_WRITE);
	struct rail_error error;

	cr_assert_eq(rail_environment_check_refused(registry, "one", NULL), 0);
	cr_assert_eq(rail_environment_refuse(registry, "one", "because", NULL), 0);
	cr_assert_eq(rail_environment_check_refused(registry, "one", &error), -EREMCHG);
	cr_assert_eq(error.code, RAIL_CODE_INVALID_CONFIG);
	cr_assert_str_eq(error.message, "because");
	cr_assert_eq(rail_environment_check_refused(registry, "on", NULL), 0);
	cr_assert_eq(rail_environment_refuse(registry, "one", NULL, NULL), 0);
	cr_assert_eq(rail_environment_check_refused(registry, "one", NULL), 0);
	commit(&registry);
}
