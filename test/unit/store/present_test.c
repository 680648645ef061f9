#include <errno.h>
#include <fcntl.h>

#include "pkg/store/registry.h"
#include "test/unit/store/stores.h"

/* Opening for who only looks. */

TestSuite(store_present, .init = make_directories, .fini = remove_directories);

static struct rail_store *open_present(const char *boot_id)
{
	struct rail_error error = RAIL_ERROR_NONE;
	struct rail_store *store = NULL;

	cr_assert_eq(rail_store_open_present_in_boot(state_directory, run_directory, boot_id,
						     &store, &error),
		     0, "%s", error.message);
	return store;
}

static bool is_empty(const char *directory)
{
	return rmdir(directory) == 0 || errno == ENOENT;
}

Test(store_present, nothing_is_made_where_nothing_is)
{
	struct rail_error error = RAIL_ERROR_NONE;
	struct rail_transaction *transaction = NULL;
	char path[PATH_MAX + 16];
	struct rail_store *store = open_present(BOOT);

	cr_assert_not(rail_store_is_there(store, RAIL_REGISTRY));
	cr_assert_not(rail_store_is_there(store, RAIL_LIVE));
	(void)snprintf(path, sizeof(path), "%s/registry", state_directory);
	cr_assert_str_eq(rail_store_path(store, RAIL_REGISTRY), path);
	cr_assert_eq(rail_transaction_begin(store, RAIL_REGISTRY, RAIL_READ, &transaction, &error),
		     -ENOENT);
	cr_assert_not_null(strstr(error.message, path), "%s", error.message);
	cr_assert_eq(rail_transaction_begin(store, RAIL_LIVE, RAIL_WRITE, &transaction, &error),
		     -ENOENT);
	rail_store_close(store);
	cr_assert(is_empty(state_directory));
	cr_assert(is_empty(run_directory));
}

Test(store_present, what_is_there_can_be_read_and_written)
{
	const struct rail_pool pool = {.base = {.s6_addr = {0xfd}}, .length = 8};
	struct rail_environment environment;
	struct rail_store *store = open_stores();
	struct rail_transaction *registry = begin(store, RAIL_REGISTRY, RAIL_WRITE);

	cr_assert_eq(rail_environment_ensure(registry, "production", &pool, &environment, NULL), 0);
	commit(&registry);
	rail_store_close(store);

	store = open_present(BOOT);
	cr_assert(rail_store_is_there(store, RAIL_REGISTRY));
	cr_assert(rail_store_is_there(store, RAIL_LIVE));
	registry = begin(store, RAIL_REGISTRY, RAIL_WRITE);
	cr_assert_eq(rail_environment_set_enabled(registry, "production", false, NULL), 0);
	commit(&registry);
	rail_store_close(store);

	store = open_stores();
	registry = begin(store, RAIL_REGISTRY, RAIL_READ);
	cr_assert_eq(rail_environment_get(registry, "production", &environment, NULL), 0);
	cr_assert_not(environment.enabled);
	rail_transaction_abort(&registry);
	rail_store_close(store);
}

Test(store_present, what_another_boot_left_is_not_there_and_not_emptied)
{
	struct rail_error error = RAIL_ERROR_NONE;
	struct rail_transaction *live = NULL;
	struct rail_store *store = open_stores();
	uint64_t count = 0;

	live = begin(store, RAIL_LIVE, RAIL_WRITE);
	cr_assert_eq(rail_store_put(live, RAIL_TABLE_MEMBERS, span("member"), span("x"), NULL), 0);
	commit(&live);
	rail_store_close(store);

	store = open_present(ANOTHER_BOOT);
	cr_assert(rail_store_is_there(store, RAIL_REGISTRY));
	cr_assert_not(rail_store_is_there(store, RAIL_LIVE));
	cr_assert_eq(rail_transaction_begin(store, RAIL_LIVE, RAIL_READ, &live, &error), -ENOENT);
	rail_store_close(store);

	store = open_stores();
	live = begin(store, RAIL_LIVE, RAIL_READ);
	cr_assert_eq(rail_store_count(live, RAIL_TABLE_MEMBERS, &count, NULL), 0);
	cr_assert_eq(count, 1);
	rail_transaction_abort(&live);
	rail_store_close(store);
}

Test(store_present, a_file_that_its_maker_did_not_fill_is_not_there)
{
	char path[PATH_MAX + 64];

	rail_store_close(open_stores());
	(void)snprintf(path, sizeof(path), "%s/registry/data.mdb", state_directory);
	cr_assert_eq(truncate(path, 0), 0);

	RAIL_CLEANUP(rail_store_closep) struct rail_store *store = open_present(BOOT);
	cr_assert_not(rail_store_is_there(store, RAIL_REGISTRY));
	cr_assert(rail_store_is_there(store, RAIL_LIVE));
}

Test(store_present, what_others_could_have_written_is_refused_as_ever)
{
	struct rail_error error = RAIL_ERROR_NONE;
	struct rail_store *store = NULL;
	char path[PATH_MAX + 64];

	rail_store_close(open_stores());
	(void)snprintf(path, sizeof(path), "%s/registry", state_directory);
	cr_assert_eq(chmod(path, 0722), 0);
	cr_assert_eq(rail_store_open_present_in_boot(state_directory, run_directory, BOOT, &store,
						     &error),
		     -EPERM);
	cr_assert_null(store);
	cr_assert_not_null(strstr(error.message, "chmod go-w"), "%s", error.message);
}
