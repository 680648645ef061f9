#include "pkg/store/registry.h"

#include <errno.h>

#include "pkg/store/live.h"
#include "pkg/store/records.h"
#include "test/unit/store/stores.h"

static struct rail_store *store;
static struct rail_transaction *registry;
static struct rail_pool pool;

static void open_for_writing(void)
{
	make_directories();
	store = open_stores();
	registry = begin(store, RAIL_REGISTRY, RAIL_WRITE);
	cr_assert_eq(rail_pool_parse("fd00::/8", &pool, NULL), 0);
}

static void close_both(void)
{
	rail_transaction_abort(&registry);
	rail_store_close(store);
	remove_directories();
}

TestSuite(store_registry, .init = open_for_writing, .fini = close_both);

static void reopen(void)
{
	commit(&registry);
	rail_store_close(store);
	store = open_stores();
	registry = begin(store, RAIL_REGISTRY, RAIL_WRITE);
}

static struct rail_environment environment_of(const char *name)
{
	struct rail_error error = RAIL_ERROR_NONE;
	struct rail_environment environment;

	cr_assert_eq(rail_environment_ensure(registry, name, &pool, &environment, &error), 0, "%s",
		     error.message);
	return environment;
}

static struct rail_service service_of(const struct rail_prefix *prefix, const char *label)
{
	struct rail_error error = RAIL_ERROR_NONE;
	struct rail_service service;

	cr_assert_eq(rail_service_ensure(registry, prefix, label, label, &service, &error), 0, "%s",
		     error.message);
	return service;
}

Test(store_registry, an_environment_keeps_its_prefix)
{
	struct rail_environment first = environment_of("production");
	struct rail_environment found;

	cr_assert_str_eq(first.name, "production");
	cr_assert(first.enabled);
	cr_assert_eq(first.prefix.bytes[0], 0xfd);
	reopen();
	struct rail_environment second = environment_of("production");
	cr_assert(rail_prefix_equal(&first.prefix, &second.prefix));
	cr_assert_eq(rail_environment_get(registry, "production", &found, NULL), 0);
	cr_assert(rail_prefix_equal(&first.prefix, &found.prefix));
	cr_assert_eq(rail_environment_by_prefix(registry, &first.prefix, &found, NULL), 0);
	cr_assert_str_eq(found.name, "production");
}

Test(store_registry, what_is_not_there)
{
	struct rail_error error = RAIL_ERROR_NONE;
	struct rail_environment environment = environment_of("production");
	struct rail_prefix unknown = environment.prefix;
	struct rail_environment found;
	struct rail_service service;

	unknown.bytes[5] ^= 1;
	cr_assert_eq(rail_environment_get(registry, "prod\"uction", &found, &error), -ENOENT);
	cr_assert_neq(strstr(error.message, "prod\"uction"), NULL, "%s", error.message);
	cr_assert_eq(rail_environment_by_prefix(registry, &unknown, &found, &error), -ENOENT);
	cr_assert_eq(rail_environment_set_enabled(registry, "staging", true, &error), -ENOENT);
	cr_assert_eq(rail_service_get(registry, &environment.prefix, "api", &service, &error),
		     -ENOENT);
	cr_assert_eq(rail_service_by_number(registry, &environment.prefix, 5, &service, &error),
		     -ENOENT);
	cr_assert_eq(rail_service_rename(registry, &environment.prefix, "a", "b", "b", &error),
		     -ENOENT);
	/* Names that no record could have. */
	cr_assert_lt(rail_environment_get(registry, "", &found, &error), 0);
	cr_assert_lt(rail_environment_get(registry, "a\nb", &found, &error), 0);
	cr_assert_lt(rail_service_get(registry, &environment.prefix, "", &service, &error), 0);
}

Test(store_registry, environments_have_names_as_they_are_and_prefixes_of_their_own)
{
	static const char *const names[] = {"team-a", "team_a", "Team-A", "team-a/b", "team-a "};
	struct rail_environment environments[5];

	for (size_t i = 0; i < 5; i++) {
		environments[i] = environment_of(names[i]);
		for (size_t j = 0; j < i; j++)
			cr_assert_not(rail_prefix_equal(&environments[i].prefix,
							&environments[j].prefix));
	}
}

Test(store_registry, names_that_are_none_are_refused)
{
	static const char *const names[] = {"", "a\n", "\xc3\xa9"};
	char long_name[RAIL_ENVIRONMENT_NAME_SIZE + 1];
	struct rail_environment environment;
	struct rail_error error = RAIL_ERROR_NONE;

	for (size_t i = 0; i < 3; i++) {
		cr_assert_lt(
			rail_environment_ensure(registry, names[i], &pool, &environment, &error),
			0);
		cr_assert_eq(error.code, RAIL_CODE_INVALID_CONFIG);
	}
	memset(long_name, 'a', sizeof(long_name) - 1);
	long_name[sizeof(long_name) - 1] = '\0';
	cr_assert_lt(rail_environment_ensure(registry, long_name, &pool, &environment, &error), 0);
	long_name[RAIL_ENVIRONMENT_NAME_SIZE - 1] = '\0';
	cr_assert_str_eq(environment_of(long_name).name, long_name);
}

Test(store_registry, a_small_pool_is_used_to_its_end_and_then_says_so)
{
	static const struct {
		const char *pool;
		int usable;
	} rows[] = {
		{"fd12:3456:7880::/41", 128},
		{"fdab:cdef:1234::/48", 1},
		{"fd12::/44", 15}, /* without the resolver's */
		{"fd00::/46", 3},
	};

	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		struct rail_error error = RAIL_ERROR_NONE;
		struct rail_environment environment;
		char name[64];

		cr_assert_eq(rail_pool_parse(rows[i].pool, &pool, NULL), 0);
		for (int j = 0; j < rows[i].usable; j++) {
			struct rail_environment found;

			(void)snprintf(name, sizeof(name), "%s %d", rows[i].pool, j);
			environment = environment_of(name);
			/* Had two one prefix, the first would not be found by it any more. */
			cr_assert_eq(rail_environment_by_prefix(registry, &environment.prefix,
								&found, NULL),
				     0);
			cr_assert_str_eq(found.name, name);
			cr_assert_eq(environment.prefix.bytes[0], 0xfd);
		}
		cr_assert_eq(
			rail_environment_ensure(registry, "one more", &pool, &environment, &error),
			-ENOSPC);
		cr_assert_eq(error.code, RAIL_CODE_POOL_EXHAUSTED);
		cr_assert_neq(strstr(error.message, rows[i].pool), NULL, "%s", error.message);
		/* Who has one keeps it. */
		(void)environment_of(name);
	}

	uint64_t prefixes;
	uint64_t names;
	cr_assert_eq(rail_store_count(registry, RAIL_TABLE_PREFIXES, &prefixes, NULL), 0);
	cr_assert_eq(rail_store_count(registry, RAIL_TABLE_ENVIRONMENTS, &names, NULL), 0);
	cr_assert_eq(prefixes, names);
	cr_assert_eq(names, 128 + 1 + 15 + 3);
}

Test(store_registry, an_environment_is_switched_off_and_on)
{
	struct rail_environment environment = environment_of("production");
	struct rail_environment found;

	cr_assert_eq(rail_environment_set_enabled(registry, "production", false, NULL), 0);
	reopen();
	found = environment_of("production");
	cr_assert_not(found.enabled);
	cr_assert(rail_prefix_equal(&found.prefix, &environment.prefix));
	cr_assert_eq(rail_environment_set_enabled(registry, "production", true, NULL), 0);
	cr_assert(environment_of("production").enabled);
}

static int join_environments(void *context, const struct rail_environment *environment)
{
	char *joined = context;

	(void)strcat(joined, environment->name);
	(void)strcat(joined, ",");
	return strcmp(environment->name, "c") == 0 ? 5 : 0;
}

Test(store_registry, environments_are_visited_in_the_order_of_names)
{
	char joined[64] = "";

	(void)environment_of("b");
	(void)environment_of("a");
	cr_assert_eq(rail_environment_each(registry, join_environments, joined, NULL), 0);
	cr_assert_str_eq(joined, "a,b,");

	(void)environment_of("d");
	(void)environment_of("c");
	joined[0] = '\0';
	cr_assert_eq(rail_environment_each(registry, join_environments, joined, NULL), 5);
	cr_assert_str_eq(joined, "a,b,c,");
}

Test(store_registry, a_service_keeps_its_number)
{
	struct rail_environment environment = environment_of("production");
	struct rail_environment other = environment_of("staging");
	struct rail_service service = service_of(&environment.prefix, "api");
	struct rail_service found;

	cr_assert_eq(service.number, rail_service_number_start("api"));
	cr_assert_neq(service_of(&environment.prefix, "db").number, service.number);
	reopen();
	cr_assert_eq(service_of(&environment.prefix, "api").number, service.number);
	cr_assert_eq(
		rail_service_by_number(registry, &environment.prefix, service.number, &found, NULL),
		0);
	cr_assert_str_eq(found.label, "api");
	cr_assert_str_eq(found.original, "api");
	cr_assert(rail_prefix_equal(&found.prefix, &environment.prefix));
	cr_assert_eq(rail_service_get(registry, &other.prefix, "api", &found, NULL), -ENOENT);
}

Test(store_registry, two_originals_of_one_label_are_refused_naming_both)
{
	struct rail_environment environment = environment_of("production");
	struct rail_environment other = environment_of("staging");
	struct rail_error error = RAIL_ERROR_NONE;
	struct rail_service service;

	cr_assert_eq(rail_service_ensure(registry, &environment.prefix, "my-api", "my_api",
					 &service, NULL),
		     0);
	cr_assert_eq(rail_service_ensure(registry, &environment.prefix, "my-api", "My\nApi",
					 &service, &error),
		     -EEXIST);
	cr_assert_eq(error.code, RAIL_CODE_INVALID_CONFIG);
	cr_assert_neq(strstr(error.message, "'my_api'"), NULL, "%s", error.message);
	cr_assert_neq(strstr(error.message, "'My\\x0aApi'"), NULL, "%s", error.message);
	/* In another environment it is nobody's. */
	cr_assert_eq(
		rail_service_ensure(registry, &other.prefix, "my-api", "My\nApi", &service, NULL),
		0);
	cr_assert_eq(rail_service_ensure(registry, &environment.prefix, "my-api", "my_api",
					 &service, NULL),
		     0);
}

Test(store_registry, a_taken_number_leads_to_the_next)
{
	struct rail_environment environment = environment_of("production");
	uint16_t start = rail_service_number_start("api");
	struct rail_service other = {.prefix = environment.prefix, .number = start};
	uint8_t key[8];
	struct rail_writer writer = rail_writer_init(key, sizeof(key));

	rail_write_bytes(&writer, other.prefix.bytes, sizeof(other.prefix.bytes));
	rail_write_u16(&writer, start);
	cr_assert_eq(rail_store_put(registry, RAIL_TABLE_NUMBERS,
				    (struct rail_span){key, sizeof(key)}, span("other"), NULL),
		     0);
	cr_assert_eq(service_of(&environment.prefix, "api").number,
		     rail_service_number_next(start));
}

Test(store_registry, an_environment_has_65535_numbers)
{
	struct rail_environment environment = environment_of("production");
	struct rail_error error = RAIL_ERROR_NONE;
	struct rail_service service;
	uint8_t key[8];
	/* The search comes there at its very end. */
	uint16_t last = (uint16_t)(rail_service_number_start("api") - 1);

	for (uint32_t number = 1; number <= UINT16_MAX; number++) {
		struct rail_writer writer = rail_writer_init(key, sizeof(key));

		rail_write_bytes(&writer, environment.prefix.bytes, 6);
		rail_write_u16(&writer, (uint16_t)number);
		if (number != last)
			cr_assert_eq(rail_store_put(registry, RAIL_TABLE_NUMBERS,
						    (struct rail_span){key, sizeof(key)},
						    span("other"), NULL),
				     0);
	}
	cr_assert_eq(service_of(&environment.prefix, "api").number, last);
	cr_assert_eq(
		rail_service_ensure(registry, &environment.prefix, "db", "db", &service, &error),
		-ENOSPC);
	cr_assert_eq(error.code, RAIL_CODE_POOL_EXHAUSTED);
	cr_assert_eq(service_of(&environment.prefix, "api").number, last, "it is there");
}

Test(store_registry, a_renamed_service_keeps_its_number)
{
	struct rail_environment environment = environment_of("production");
	struct rail_service before = service_of(&environment.prefix, "api");
	struct rail_service other = service_of(&environment.prefix, "db");
	struct rail_error error = RAIL_ERROR_NONE;
	struct rail_service found;

	cr_assert_eq(
		rail_service_rename(registry, &environment.prefix, "api", "front", "Front", &error),
		0, "%s", error.message);
	reopen();
	cr_assert_eq(rail_service_get(registry, &environment.prefix, "api", &found, NULL), -ENOENT);
	cr_assert_eq(rail_service_get(registry, &environment.prefix, "front", &found, NULL), 0);
	cr_assert_eq(found.number, before.number);
	cr_assert_str_eq(found.original, "Front");
	cr_assert_eq(
		rail_service_by_number(registry, &environment.prefix, before.number, &found, NULL),
		0);
	cr_assert_str_eq(found.label, "front");

	/* The old name is free, for another number. */
	cr_assert_neq(service_of(&environment.prefix, "api").number, before.number);

	cr_assert_eq(
		rail_service_rename(registry, &environment.prefix, "front", "db", "db", &error),
		-EEXIST);
	cr_assert_eq(error.code, RAIL_CODE_INVALID_CONFIG);
	cr_assert_eq(service_of(&environment.prefix, "db").number, other.number);
	/* To itself: only the original changes. */
	cr_assert_eq(rail_service_rename(registry, &environment.prefix, "front", "front", "FRONT",
					 &error),
		     0);
	cr_assert_eq(rail_service_get(registry, &environment.prefix, "front", &found, NULL), 0);
	cr_assert_str_eq(found.original, "FRONT");
	cr_assert_eq(found.number, before.number);
}

Test(store_registry, names_that_no_service_has_are_refused)
{
	struct rail_environment environment = environment_of("production");
	struct rail_service service;
	char label[RAIL_LABEL_SIZE + 1] = "";
	static char original[RAIL_ORIGINAL_NAME_SIZE + 1];

	memset(label, 'a', sizeof(label) - 1);
	memset(original, 'a', sizeof(original) - 1);
	cr_assert_lt(rail_service_ensure(registry, &environment.prefix, label, "a", &service, NULL),
		     0);
	cr_assert_lt(
		rail_service_ensure(registry, &environment.prefix, "a", original, &service, NULL),
		0);
	cr_assert_lt(rail_service_ensure(registry, &environment.prefix, "", "a", &service, NULL),
		     0);
	label[RAIL_LABEL_SIZE - 1] = '\0';
	original[RAIL_ORIGINAL_NAME_SIZE - 1] = '\0';
	cr_assert_eq(
		rail_service_ensure(registry, &environment.prefix, label, original, &service, NULL),
		0);
	cr_assert_lt(rail_service_rename(registry, &environment.prefix, label, "", "a", NULL), 0);
}

static int join_services(void *context, const struct rail_service *service)
{
	char *joined = context;

	(void)strcat(joined, service->label);
	(void)strcat(joined, ",");
	return strcmp(service->label, "db") == 0 ? 5 : 0;
}

Test(store_registry, services_are_visited_by_environment)
{
	struct rail_environment environment = environment_of("production");
	struct rail_environment other = environment_of("staging");
	char joined[64] = "";

	(void)service_of(&environment.prefix, "web");
	(void)service_of(&environment.prefix, "api");
	(void)service_of(&other.prefix, "x");
	cr_assert_eq(rail_service_each(registry, &environment.prefix, join_services, joined, NULL),
		     0);
	cr_assert_str_eq(joined, "api,web,");
	(void)service_of(&environment.prefix, "db");
	joined[0] = '\0';
	cr_assert_eq(rail_service_each(registry, &environment.prefix, join_services, joined, NULL),
		     5);
	cr_assert_str_eq(joined, "api,db,");
}

/* What lives in a service, put by one of these, keeps it and its environment. */
static void put_lease(struct rail_transaction *live, const struct rail_service *service)
{
	struct rail_attachment_key key = {"net", "container", "eth0"};
	struct rail_address_parts parts = {service->prefix, service->number, 1, 1};
	struct in6_addr address = rail_address_compose(&parts);

	cr_assert_eq(rail_lease_claim(live, &address, &key, NULL), 0);
}

static void put_member(struct rail_transaction *live, const struct rail_service *service)
{
	struct rail_address_parts parts = {service->prefix, service->number, 7, 1};
	struct rail_member member = {.address = rail_address_compose(&parts)};

	cr_assert_eq(rail_member_put(live, &member, NULL), 0);
}

static void put_attachment(struct rail_transaction *live, const struct rail_service *service)
{
	struct rail_attachment attachment = {.key = {"net", "container", "eth0"},
					     .prefix = service->prefix,
					     .service = service->number};

	cr_assert_eq(rail_attachment_put(live, &attachment, NULL), 0);
}

Test(store_registry, what_is_lived_in_is_not_removed)
{
	static void (*const put[])(struct rail_transaction * live,
				   const struct rail_service *service) = {put_lease, put_member,
									  put_attachment};
	struct rail_environment environment = environment_of("production");
	struct rail_service service = service_of(&environment.prefix, "api");
	struct rail_error error = RAIL_ERROR_NONE;

	(void)service_of(&environment.prefix, "db");
	for (size_t i = 0; i < sizeof(put) / sizeof(put[0]); i++) {
		struct rail_transaction *live = begin(store, RAIL_LIVE, RAIL_WRITE);
		struct rail_service found;

		put[i](live, &service);
		cr_assert_eq(
			rail_service_remove(registry, live, &environment.prefix, "api", &error),
			-EBUSY);
		cr_assert_neq(strstr(error.message, "api"), NULL, "%s", error.message);
		cr_assert_eq(rail_environment_remove(registry, live, "production", &error), -EBUSY);
		cr_assert_neq(strstr(error.message, "production"), NULL, "%s", error.message);
		cr_assert_eq(rail_service_get(registry, &environment.prefix, "api", &found, NULL),
			     0);
		rail_transaction_abort(&live);
	}

	/* Its neighbour is not. */
	struct rail_transaction *live = begin(store, RAIL_LIVE, RAIL_WRITE);
	put_lease(live, &service);
	put_member(live, &service);
	put_attachment(live, &service);
	cr_assert_eq(rail_service_remove(registry, live, &environment.prefix, "db", &error), 0,
		     "%s", error.message);
	rail_transaction_abort(&live);
}

Test(store_registry, a_removed_environment_leaves_nothing)
{
	struct rail_transaction *live = begin(store, RAIL_LIVE, RAIL_READ);
	struct rail_environment other;
	struct rail_environment environment;
	struct rail_counter_range range;
	struct rail_error error = RAIL_ERROR_NONE;
	struct rail_environment found;
	uint64_t count;

	rail_transaction_abort(&live);
	other = environment_of("staging");
	environment = environment_of("production");
	(void)service_of(&other.prefix, "api");
	struct rail_service service = service_of(&environment.prefix, "api");
	(void)service_of(&environment.prefix, "db");
	cr_assert_eq(rail_counter_reserve(registry, &environment.prefix, service.number, 1, &range,
					  NULL),
		     0);

	live = begin(store, RAIL_LIVE, RAIL_READ);
	cr_assert_eq(rail_environment_remove(registry, live, "production", &error), 0, "%s",
		     error.message);
	cr_assert_eq(rail_environment_remove(registry, live, "production", &error), -ENOENT);
	rail_transaction_abort(&live);
	cr_assert_eq(rail_environment_by_prefix(registry, &environment.prefix, &found, NULL),
		     -ENOENT);

	/* One environment with one service is left. */
	static const enum rail_store_table tables[] = {RAIL_TABLE_ENVIRONMENTS, RAIL_TABLE_PREFIXES,
						       RAIL_TABLE_SERVICES, RAIL_TABLE_NUMBERS};
	for (size_t i = 0; i < sizeof(tables) / sizeof(tables[0]); i++) {
		cr_assert_eq(rail_store_count(registry, tables[i], &count, NULL), 0);
		cr_assert_eq(count, 1, "table %zu", i);
	}
	cr_assert_eq(rail_store_count(registry, RAIL_TABLE_COUNTERS, &count, NULL), 0);
	cr_assert_eq(count, 0);
	found = environment_of("staging");
	cr_assert(rail_prefix_equal(&found.prefix, &other.prefix));
}

Test(store_registry, without_a_live_store_nothing_lives)
{
	struct rail_environment environment = environment_of("production");
	struct rail_error error = RAIL_ERROR_NONE;

	(void)service_of(&environment.prefix, "api");
	cr_assert_eq(rail_service_remove(registry, NULL, &environment.prefix, "api", &error), 0,
		     "%s", error.message);
	cr_assert_eq(rail_environment_remove(registry, NULL, "production", &error), 0, "%s",
		     error.message);
	cr_assert_eq(rail_environment_get(registry, "production", &environment, NULL), -ENOENT);
}

Test(store_registry, a_service_that_comes_again_goes_on_where_it_was)
{
	struct rail_environment environment = environment_of("production");
	struct rail_service service = service_of(&environment.prefix, "api");
	struct rail_counter_range first;
	struct rail_counter_range second;
	struct rail_error error = RAIL_ERROR_NONE;

	cr_assert_eq(rail_counter_reserve(registry, &environment.prefix, service.number, 1, &first,
					  NULL),
		     0);
	struct rail_transaction *live = begin(store, RAIL_LIVE, RAIL_READ);
	cr_assert_eq(rail_service_remove(registry, live, &environment.prefix, "api", &error), 0,
		     "%s", error.message);
	cr_assert_eq(rail_service_remove(registry, live, &environment.prefix, "api", &error),
		     -ENOENT);
	rail_transaction_abort(&live);
	cr_assert_eq(rail_service_by_number(registry, &environment.prefix, service.number, &service,
					    NULL),
		     -ENOENT);

	cr_assert_eq(service_of(&environment.prefix, "api").number, service.number);
	cr_assert_eq(rail_counter_reserve(registry, &environment.prefix, service.number, 1, &second,
					  NULL),
		     0);
	cr_assert_eq(second.next, first.end);
}

Test(store_registry, counters_start_at_1_and_only_go_up)
{
	struct rail_environment environment = environment_of("production");
	struct rail_counter_range range;
	uint32_t expected = 1;

	for (int i = 0; i < 4; i++) {
		cr_assert_eq(
			rail_counter_reserve(registry, &environment.prefix, 5, 1, &range, NULL), 0);
		cr_assert_eq(range.next, expected);
		cr_assert_eq(range.end, expected + RAIL_COUNTER_STEP);
		expected = range.end;
		reopen();
	}
	/* Each service and node has one of its own. */
	cr_assert_eq(rail_counter_reserve(registry, &environment.prefix, 6, 1, &range, NULL), 0);
	cr_assert_eq(range.next, 1);
	cr_assert_eq(rail_counter_reserve(registry, &environment.prefix, 5, 2, &range, NULL), 0);
	cr_assert_eq(range.next, 1);
	cr_assert_lt(rail_counter_reserve(registry, &environment.prefix, 5, RAIL_NODE_REQUESTED,
					  &range, NULL),
		     0);
}

Test(store_registry, counters_end_with_their_32_bits)
{
	struct rail_environment environment = environment_of("production");
	struct rail_error error = RAIL_ERROR_NONE;
	struct rail_counter_range range;
	uint8_t key[12];
	uint8_t record[16];
	struct rail_writer key_writer = rail_writer_init(key, sizeof(key));
	struct rail_writer writer = rail_writer_init(record, sizeof(record));

	rail_write_bytes(&key_writer, environment.prefix.bytes, 6);
	rail_write_u16(&key_writer, 5);
	rail_write_u32(&key_writer, 1);
	rail_write_number(&writer, UINT32_MAX - RAIL_COUNTER_STEP);
	cr_assert_eq(rail_store_put(registry, RAIL_TABLE_COUNTERS,
				    (struct rail_span){key, sizeof(key)},
				    (struct rail_span){record, writer.position}, NULL),
		     0);
	cr_assert_eq(rail_counter_reserve(registry, &environment.prefix, 5, 1, &range, &error), 0,
		     "%s", error.message);
	cr_assert_eq(range.end, UINT32_MAX);
	cr_assert_eq(rail_counter_reserve(registry, &environment.prefix, 5, 1, &range, &error),
		     -ENOSPC);
	cr_assert_eq(error.code, RAIL_CODE_POOL_EXHAUSTED);
}

Test(store_registry, a_node_is_number_1_until_it_is_given_another)
{
	uint32_t node = 0;

	cr_assert_eq(rail_node_number_get(registry, &node, NULL), 0);
	cr_assert_eq(node, RAIL_NODE_LONE);
	cr_assert_lt(rail_node_number_set(registry, RAIL_NODE_REQUESTED, NULL), 0);
	cr_assert_eq(rail_node_number_set(registry, UINT32_MAX, NULL), 0);
	reopen();
	cr_assert_eq(rail_node_number_get(registry, &node, NULL), 0);
	cr_assert_eq(node, UINT32_MAX);
}
