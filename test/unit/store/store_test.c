#include "pkg/store/store.h"

#include <errno.h>
#include <fcntl.h>
#include <sched.h>
#include <sys/mount.h>

#include "pkg/base/bytes.h"
#include "pkg/base/file.h"
#include "test/unit/store/stores.h"

TestSuite(store_store, .init = make_directories, .fini = remove_directories);

static void put_text(struct rail_transaction *transaction, enum rail_store_table table,
		     const char *key, const char *value)
{
	struct rail_error error = RAIL_ERROR_NONE;

	cr_assert_eq(rail_store_put(transaction, table, span(key), span(value), &error), 0, "%s",
		     error.message);
}

static bool has(struct rail_transaction *transaction, enum rail_store_table table, const char *key)
{
	struct rail_span value;
	int result = rail_store_get(transaction, table, span(key), &value, NULL);

	cr_assert_geq(result, 0);
	return result == 1;
}

static bool store_has(struct rail_store *store, enum rail_store_kind kind,
		      enum rail_store_table table, const char *key)
{
	RAIL_CLEANUP(rail_transaction_abort)
	struct rail_transaction *transaction = begin(store, kind, RAIL_READ);

	return has(transaction, table, key);
}

static void store_put(struct rail_store *store, enum rail_store_kind kind,
		      enum rail_store_table table, const char *key)
{
	struct rail_transaction *transaction = begin(store, kind, RAIL_WRITE);

	put_text(transaction, table, key, "value");
	commit(&transaction);
}

/* The stores are refused with this code, by a message that holds text. */
static void refused(int code, const char *text)
{
	struct rail_error error = RAIL_ERROR_NONE;
	struct rail_store *store = NULL;

	cr_assert_lt(rail_store_open(state_directory, run_directory, &store, &error), 0);
	cr_assert_null(store);
	cr_assert_eq(error.code, code, "%d: %s", error.code, error.message);
	cr_assert_neq(strstr(error.message, text), NULL, "'%s' is not in: %s", text, error.message);
}

static mode_t mode_of(const char *directory, const char *name)
{
	char path[PATH_MAX + 64];
	struct stat status;

	(void)snprintf(path, sizeof(path), "%s/%s", directory, name);
	cr_assert_eq(stat(path, &status), 0, "%s", path);
	return status.st_mode & 07777;
}

Test(store_store, directories_and_files_are_made_for_root_only)
{
	static const char *const files[] = {"data.mdb", "lock.mdb", "write.lock"};

	(void)umask(0);
	rail_store_close(open_stores());
	cr_assert_eq(mode_of(state_directory, "."), 0700);
	cr_assert_eq(mode_of(state_directory, "registry"), 0700);
	cr_assert_eq(mode_of(run_directory, "live"), 0700);
	for (size_t i = 0; i < sizeof(files) / sizeof(files[0]); i++) {
		char path[64];

		(void)snprintf(path, sizeof(path), "registry/%s", files[i]);
		cr_assert_eq(mode_of(state_directory, path), 0600, "%s", path);
		(void)snprintf(path, sizeof(path), "live/%s", files[i]);
		cr_assert_eq(mode_of(run_directory, path), 0600, "%s", path);
	}
}

Test(store_store, no_descriptor_is_handed_on_to_programs)
{
	enum { DESCRIPTORS = 256 };
	bool before[DESCRIPTORS];
	int opened = 0;

	for (int fd = 0; fd < DESCRIPTORS; fd++)
		before[fd] = fcntl(fd, F_GETFD) >= 0;

	RAIL_CLEANUP(rail_store_closep) struct rail_store *store = open_stores();
	cr_assert_not_null(store);
	for (int fd = 0; fd < DESCRIPTORS; fd++) {
		int flags = before[fd] ? -1 : fcntl(fd, F_GETFD);

		if (flags < 0)
			continue;
		opened++;
		cr_expect_eq(flags & FD_CLOEXEC, FD_CLOEXEC, "descriptor %d", fd);
	}
	cr_assert_geq(opened, 6, "data, lock and write lock of both");
}

Test(store_store, descriptors_are_closed_with_the_stores)
{
	int before = open("/dev/null", O_RDONLY | O_CLOEXEC);

	(void)close(before);
	rail_store_close(open_stores());
	rail_store_close(NULL);
	int after = open("/dev/null", O_RDONLY | O_CLOEXEC);
	cr_assert_eq(before, after);
	(void)close(after);
}

Test(store_store, what_is_committed_is_there_for_the_next_and_what_is_aborted_is_not)
{
	struct rail_store *store = open_stores();

	store_put(store, RAIL_REGISTRY, RAIL_TABLE_ENVIRONMENTS, "kept");
	struct rail_transaction *transaction = begin(store, RAIL_REGISTRY, RAIL_WRITE);
	put_text(transaction, RAIL_TABLE_ENVIRONMENTS, "given up", "x");
	cr_assert(has(transaction, RAIL_TABLE_ENVIRONMENTS, "given up"));
	rail_transaction_abort(&transaction);
	cr_assert_null(transaction);
	rail_transaction_abort(&transaction);
	rail_store_close(store);

	store = open_stores();
	cr_assert(store_has(store, RAIL_REGISTRY, RAIL_TABLE_ENVIRONMENTS, "kept"));
	cr_assert_not(store_has(store, RAIL_REGISTRY, RAIL_TABLE_ENVIRONMENTS, "given up"));
	rail_store_close(store);
}

Test(store_store, both_stores_may_be_below_one_directory)
{
	memcpy(run_directory, state_directory, sizeof(run_directory));
	RAIL_CLEANUP(rail_store_closep) struct rail_store *store = open_stores();

	store_put(store, RAIL_LIVE, RAIL_TABLE_MEMBERS, "member");
	cr_assert(store_has(store, RAIL_LIVE, RAIL_TABLE_MEMBERS, "member"));
}

Test(store_store, records_are_visited_in_order_by_the_start_of_their_keys)
{
	RAIL_CLEANUP(rail_store_closep) struct rail_store *store = open_stores();
	RAIL_CLEANUP(rail_transaction_abort)
	struct rail_transaction *transaction = begin(store, RAIL_LIVE, RAIL_WRITE);
	static const char *const keys[] = {"b", "ab", "a", "abc", "c", "b\xff", "\xff"};
	uint64_t count;

	for (size_t i = 0; i < sizeof(keys) / sizeof(keys[0]); i++)
		put_text(transaction, RAIL_TABLE_MEMBERS, keys[i], "");
	cr_assert_eq(rail_store_count(transaction, RAIL_TABLE_MEMBERS, &count, NULL), 0);
	cr_assert_eq(count, 7);
	cr_assert_eq(rail_store_any(transaction, RAIL_TABLE_MEMBERS, span("ab"), NULL), 1);
	cr_assert_eq(rail_store_any(transaction, RAIL_TABLE_MEMBERS, span("ac"), NULL), 0);
	cr_assert_eq(rail_store_any(transaction, RAIL_TABLE_MEMBERS, span("\xff\xff"), NULL), 0);
	cr_assert_eq(rail_store_any(transaction, RAIL_TABLE_LEASES, span(""), NULL), 0);

	cr_assert_eq(rail_store_delete_prefix(transaction, RAIL_TABLE_MEMBERS, span("a"), NULL), 0);
	cr_assert_eq(rail_store_count(transaction, RAIL_TABLE_MEMBERS, &count, NULL), 0);
	cr_assert_eq(count, 4);
	cr_assert(has(transaction, RAIL_TABLE_MEMBERS, "b"));
	cr_assert_not(has(transaction, RAIL_TABLE_MEMBERS, "abc"));
	cr_assert_eq(rail_store_delete_prefix(transaction, RAIL_TABLE_MEMBERS, span("\xff"), NULL),
		     0);
	cr_assert_not(has(transaction, RAIL_TABLE_MEMBERS, "\xff"));
	cr_assert_eq(rail_store_delete(transaction, RAIL_TABLE_MEMBERS, span("never there"), NULL),
		     0);
}

Test(store_store, mistakes_of_the_caller_are_refused)
{
	RAIL_CLEANUP(rail_store_closep) struct rail_store *store = open_stores();
	struct rail_error error = RAIL_ERROR_NONE;
	struct rail_transaction *live = begin(store, RAIL_LIVE, RAIL_READ);
	struct rail_transaction *second = NULL;
	char long_key[RAIL_TABLE_KEY_MAXIMUM + 2];
	struct rail_span value;

	cr_assert_eq(rail_transaction_begin(store, RAIL_LIVE, RAIL_READ, &second, &error), -EBUSY);
	cr_assert_eq(rail_transaction_begin(store, RAIL_REGISTRY, RAIL_READ, &second, &error),
		     -EDEADLK);
	cr_assert_null(second);
	cr_assert_eq(rail_store_put(live, RAIL_TABLE_MEMBERS, span("k"), span("v"), &error),
		     -EACCES);
	cr_assert_eq(rail_store_delete(live, RAIL_TABLE_MEMBERS, span("k"), &error), -EACCES);
	cr_assert_eq(rail_store_delete_prefix(live, RAIL_TABLE_MEMBERS, span("k"), &error),
		     -EACCES);
	cr_assert_eq(rail_store_get(live, RAIL_TABLE_SERVICES, span("k"), &value, &error), -EINVAL);
	cr_assert_eq(rail_store_get(live, RAIL_TABLE_MEMBERS, span(""), &value, &error), -EINVAL);
	memset(long_key, 'k', sizeof(long_key) - 1);
	long_key[sizeof(long_key) - 1] = '\0';
	cr_assert_eq(rail_store_get(live, RAIL_TABLE_MEMBERS, span(long_key), &value, &error),
		     -EINVAL);
	long_key[RAIL_TABLE_KEY_MAXIMUM] = '\0';
	cr_assert_eq(rail_store_get(live, RAIL_TABLE_MEMBERS, span(long_key), &value, &error), 0);
	cr_assert_eq(error.code, RAIL_CODE_INTERNAL);
	rail_transaction_abort(&live);

	/* In this order both are allowed. */
	struct rail_transaction *registry = begin(store, RAIL_REGISTRY, RAIL_WRITE);
	live = begin(store, RAIL_LIVE, RAIL_WRITE);
	commit(&live);
	commit(&registry);
}

static void write_format(enum rail_store_kind kind, uint32_t format)
{
	RAIL_CLEANUP(rail_store_closep) struct rail_store *store = open_stores();
	struct rail_transaction *transaction = begin(store, kind, RAIL_WRITE);
	uint8_t bytes[4];
	struct rail_writer writer = rail_writer_init(bytes, sizeof(bytes));

	rail_write_u32(&writer, format);
	cr_assert_eq(rail_store_put(transaction, RAIL_TABLE_META, span("format"),
				    (struct rail_span){bytes, sizeof(bytes)}, NULL),
		     0);
	commit(&transaction);
}

Test(store_store, a_newer_format_of_the_registry_is_refused_with_code_7)
{
	write_format(RAIL_REGISTRY, RAIL_STORE_FORMAT + 1);
	refused(RAIL_CODE_INVALID_CONFIG, "registry");
	refused(RAIL_CODE_INVALID_CONFIG, "format 2");
	refused(RAIL_CODE_INVALID_CONFIG, "knows format 1");
	refused(RAIL_CODE_INVALID_CONFIG, state_directory);
}

Test(store_store, a_newer_format_of_the_live_store_is_refused_with_code_7)
{
	write_format(RAIL_LIVE, 77);
	/* Also by another boot, which would empty one that it knows. */
	refused(RAIL_CODE_INVALID_CONFIG, "format 77");
	refused(RAIL_CODE_INVALID_CONFIG, run_directory);
}

Test(store_store, another_boot_finds_the_registry_and_an_empty_live_store)
{
	struct rail_store *store = open_stores();

	store_put(store, RAIL_REGISTRY, RAIL_TABLE_ENVIRONMENTS, "environment");
	store_put(store, RAIL_LIVE, RAIL_TABLE_ATTACHMENTS, "attachment");
	store_put(store, RAIL_LIVE, RAIL_TABLE_LEASES, "lease");
	store_put(store, RAIL_LIVE, RAIL_TABLE_RANGES, "range");
	store_put(store, RAIL_LIVE, RAIL_TABLE_MEMBERS, "member");
	rail_store_close(store);

	store = open_stores();
	cr_assert(store_has(store, RAIL_LIVE, RAIL_TABLE_MEMBERS, "member"), "the same boot");
	rail_store_close(store);

	store = open_in_boot(ANOTHER_BOOT);
	cr_assert(store_has(store, RAIL_REGISTRY, RAIL_TABLE_ENVIRONMENTS, "environment"));
	cr_assert_not(store_has(store, RAIL_LIVE, RAIL_TABLE_ATTACHMENTS, "attachment"));
	cr_assert_not(store_has(store, RAIL_LIVE, RAIL_TABLE_LEASES, "lease"));
	cr_assert_not(store_has(store, RAIL_LIVE, RAIL_TABLE_RANGES, "range"));
	cr_assert_not(store_has(store, RAIL_LIVE, RAIL_TABLE_MEMBERS, "member"));
	store_put(store, RAIL_LIVE, RAIL_TABLE_MEMBERS, "new");
	rail_store_close(store);

	store = open_in_boot(ANOTHER_BOOT);
	cr_assert(store_has(store, RAIL_LIVE, RAIL_TABLE_MEMBERS, "new"), "emptied once");
	rail_store_close(store);
}

Test(store_store, of_many_that_open_at_once_in_a_new_boot_one_empties_the_store)
{
	enum { CHILDREN = 12 };
	int start[2];
	struct rail_store *store = open_stores();

	store_put(store, RAIL_LIVE, RAIL_TABLE_MEMBERS, "old");
	rail_store_close(store);
	cr_assert_eq(pipe(start), 0);
	for (int i = 0; i < CHILDREN; i++) {
		pid_t child = fork_child();

		if (child == 0) {
			struct rail_transaction *transaction;
			char key[16];
			char byte;

			(void)close(start[1]);
			(void)snprintf(key, sizeof(key), "new %d", i);
			CHILD_MUST(read(start[0], &byte, 1) == 0);
			CHILD_MUST(rail_store_open_in_boot(state_directory, run_directory,
							   ANOTHER_BOOT, &store, NULL) == 0);
			CHILD_MUST(rail_transaction_begin(store, RAIL_LIVE, RAIL_WRITE,
							  &transaction, NULL) == 0);
			CHILD_MUST(rail_store_put(transaction, RAIL_TABLE_MEMBERS, span(key),
						  span(""), NULL) == 0);
			CHILD_MUST(rail_transaction_commit(&transaction, NULL) == 0);
			rail_store_close(store);
			_exit(0);
		}
	}
	(void)close(start[0]);
	(void)close(start[1]);
	for (int i = 0; i < CHILDREN; i++) {
		int status;

		cr_assert_gt(wait(&status), 0);
		cr_assert_eq(status, 0);
	}

	store = open_in_boot(ANOTHER_BOOT);
	cr_assert_not(store_has(store, RAIL_LIVE, RAIL_TABLE_MEMBERS, "old"));
	for (int i = 0; i < CHILDREN; i++) {
		char key[16];

		(void)snprintf(key, sizeof(key), "new %d", i);
		cr_assert(store_has(store, RAIL_LIVE, RAIL_TABLE_MEMBERS, key), "%s", key);
	}
	rail_store_close(store);
}

Test(store_store, the_boot_is_the_kernels)
{
	RAIL_FREE char *boot_id = NULL;
	struct rail_error error = RAIL_ERROR_NONE;
	struct rail_store *store = NULL;
	size_t size;

	cr_assert_eq(rail_store_open(state_directory, run_directory, &store, &error), 0, "%s",
		     error.message);
	store_put(store, RAIL_LIVE, RAIL_TABLE_MEMBERS, "member");
	rail_store_close(store);

	cr_assert_eq(rail_read_file("/proc/sys/kernel/random/boot_id", 64, &boot_id, &size, NULL),
		     0);
	boot_id[36] = '\0';
	store = open_in_boot(boot_id);
	cr_assert(store_has(store, RAIL_LIVE, RAIL_TABLE_MEMBERS, "member"));
	rail_store_close(store);
}

/* A child with the stores open that says when it is in a writing transaction, in which it has put
 * "half", and stays there. */
static pid_t start_writer(enum rail_store_kind kind, enum rail_store_table table)
{
	int ready[2];

	cr_assert_eq(pipe(ready), 0);

	pid_t child = fork_child();

	if (child == 0) {
		struct rail_transaction *transaction;
		struct rail_store *store;

		CHILD_MUST(rail_store_open_in_boot(state_directory, run_directory, BOOT, &store,
						   NULL) == 0);
		CHILD_MUST(rail_transaction_begin(store, kind, RAIL_WRITE, &transaction, NULL) ==
			   0);
		CHILD_MUST(rail_store_put(transaction, table, span("half"), span("x"), NULL) == 0);
		CHILD_MUST(write(ready[1], "", 1) == 1);
		for (;;)
			(void)pause();
	}
	(void)close(ready[1]);
	wait_for_byte(ready[0]);
	(void)close(ready[0]);
	return child;
}

Test(store_store, writers_wait_up_to_the_deadline_and_readers_never)
{
	RAIL_CLEANUP(rail_store_closep) struct rail_store *store = open_stores();
	struct rail_error error = RAIL_ERROR_NONE;
	struct rail_transaction *transaction = NULL;

	store_put(store, RAIL_LIVE, RAIL_TABLE_MEMBERS, "whole");
	pid_t child = start_writer(RAIL_LIVE, RAIL_TABLE_MEMBERS);

	int64_t before = rail_monotonic_ms();
	cr_assert_eq(rail_transaction_begin_within(store, RAIL_LIVE, RAIL_WRITE, 60, &transaction,
						   &error),
		     -ETIMEDOUT);
	cr_assert_geq(rail_monotonic_ms() - before, 60);
	cr_assert_eq(error.code, RAIL_CODE_TRY_AGAIN);
	cr_assert_neq(strstr(error.message, run_directory), NULL, "%s", error.message);
	cr_assert_null(transaction);

	before = rail_monotonic_ms();
	cr_assert(store_has(store, RAIL_LIVE, RAIL_TABLE_MEMBERS, "whole"));
	cr_assert_not(store_has(store, RAIL_LIVE, RAIL_TABLE_MEMBERS, "half"));
	/* Nor do those who open, nor writers of the other store. */
	store_put(store, RAIL_REGISTRY, RAIL_TABLE_ENVIRONMENTS, "other");
	cr_assert_lt(rail_monotonic_ms() - before, 5000);
	kill_child(child);
}

Test(store_store, opening_does_not_wait_for_a_writer)
{
	rail_store_close(open_stores());

	pid_t child = start_writer(RAIL_REGISTRY, RAIL_TABLE_ENVIRONMENTS);
	int64_t before = rail_monotonic_ms();
	struct rail_store *store = open_stores();
	cr_assert_lt(rail_monotonic_ms() - before, 5000);
	rail_store_close(store);
	kill_child(child);
}

Test(store_store, a_writer_that_is_killed_leaves_the_last_whole_state_and_the_next_goes_on)
{
	RAIL_CLEANUP(rail_store_closep) struct rail_store *store = open_stores();

	for (int i = 0; i < 5; i++) {
		kill_child(start_writer(RAIL_REGISTRY, RAIL_TABLE_ENVIRONMENTS));
		cr_assert_not(store_has(store, RAIL_REGISTRY, RAIL_TABLE_ENVIRONMENTS, "half"));

		char key[16];
		(void)snprintf(key, sizeof(key), "key %d", i);
		store_put(store, RAIL_REGISTRY, RAIL_TABLE_ENVIRONMENTS, key);
		cr_assert(store_has(store, RAIL_REGISTRY, RAIL_TABLE_ENVIRONMENTS, key));
	}
}

/* A child with the stores open that says so and stays; reading: in a transaction of one of them. */
static pid_t start_opener(bool reading, enum rail_store_kind kind)
{
	int ready[2];

	cr_assert_eq(pipe(ready), 0);

	pid_t child = fork_child();

	if (child == 0) {
		struct rail_transaction *transaction;
		struct rail_store *store;

		CHILD_MUST(rail_store_open_in_boot(state_directory, run_directory, BOOT, &store,
						   NULL) == 0);
		CHILD_MUST(!reading ||
			   rail_transaction_begin(store, kind, RAIL_READ, &transaction, NULL) == 0);
		CHILD_MUST(write(ready[1], "", 1) == 1);
		for (;;)
			(void)pause();
	}
	(void)close(ready[1]);
	wait_for_byte(ready[0]);
	(void)close(ready[0]);
	return child;
}

Test(store_store, a_reader_that_was_killed_does_not_make_the_file_grow)
{
	static char value[100000];
	char path[PATH_MAX + 32];
	struct stat status;

	memset(value, 'x', sizeof(value) - 1);
	rail_store_close(open_stores());
	/* Who opens a store that nobody has open finds no readers in any case. */
	pid_t other = start_opener(false, RAIL_LIVE);
	kill_child(start_opener(true, RAIL_LIVE));

	struct rail_store *store = open_stores();
	for (int i = 0; i < 100; i++) {
		struct rail_transaction *transaction = begin(store, RAIL_LIVE, RAIL_WRITE);

		put_text(transaction, RAIL_TABLE_MEMBERS, "key", value);
		commit(&transaction);
	}
	rail_store_close(store);
	(void)snprintf(path, sizeof(path), "%s/live/data.mdb", run_directory);
	cr_assert_eq(stat(path, &status), 0);
	cr_assert_lt(status.st_size, 2000000);
	kill_child(other);
}

Test(store_store, directories_that_others_may_write_to_are_refused)
{
	char path[PATH_MAX + 16];

	rail_store_close(open_stores());
	(void)snprintf(path, sizeof(path), "%s/registry", state_directory);
	cr_assert_eq(chmod(path, 0720), 0);
	refused(RAIL_CODE_IO, "chmod go-w");
	refused(RAIL_CODE_IO, path);
	cr_assert_eq(chmod(path, 0702), 0);
	refused(RAIL_CODE_IO, path);
	cr_assert_eq(chmod(path, 0755), 0);
	rail_store_close(open_stores());

	cr_assert_eq(chmod(run_directory, 0770), 0);
	refused(RAIL_CODE_IO, run_directory);
	cr_assert_eq(chmod(run_directory, 01777), 0);
	refused(RAIL_CODE_IO, run_directory);
}

Test(store_store, files_that_others_may_write_to_are_refused)
{
	static const char *const files[] = {"data.mdb", "lock.mdb", "write.lock"};

	rail_store_close(open_stores());
	for (size_t i = 0; i < sizeof(files) / sizeof(files[0]); i++) {
		char path[PATH_MAX + 32];

		(void)snprintf(path, sizeof(path), "%s/live/%s", run_directory, files[i]);
		cr_assert_eq(chmod(path, 0660), 0);
		refused(RAIL_CODE_IO, path);
		cr_assert_eq(chmod(path, 0600), 0);
	}
	rail_store_close(open_stores());
}

/* A test that is skipped does not come to its end, where the directories are removed. */
static void skip_without_root(void)
{
	if (geteuid() == 0)
		return;
	remove_directories();
	cr_skip_test("only root can give files away, and mount");
}

Test(store_store, what_belongs_to_somebody_else_is_refused)
{
	char path[PATH_MAX + 32];

	skip_without_root();
	rail_store_close(open_stores());
	(void)snprintf(path, sizeof(path), "%s/registry/data.mdb", state_directory);
	cr_assert_eq(chown(path, 12345, 0), 0);
	refused(RAIL_CODE_IO, "12345");
	cr_assert_eq(chown(path, 0, 0), 0);
	(void)snprintf(path, sizeof(path), "%s/registry", state_directory);
	cr_assert_eq(chown(path, 12345, 0), 0);
	refused(RAIL_CODE_IO, path);
	cr_assert_eq(chown(path, 0, 0), 0);
	cr_assert_eq(chown(state_directory, 12345, 0), 0);
	refused(RAIL_CODE_IO, state_directory);
}

Test(store_store, symbolic_links_are_refused)
{
	char path[PATH_MAX + 32];
	char target[PATH_MAX + 32];

	rail_store_close(open_stores());
	/* The directory that is named, */
	(void)snprintf(target, sizeof(target), "%s/elsewhere", root_directory);
	cr_assert_eq(rename(state_directory, target), 0);
	cr_assert_eq(symlink(target, state_directory), 0);
	refused(RAIL_CODE_IO, "symbolic link");
	cr_assert_eq(unlink(state_directory), 0);
	cr_assert_eq(rename(target, state_directory), 0);
	/* the store's own in it, */
	(void)snprintf(path, sizeof(path), "%s/registry", state_directory);
	cr_assert_eq(rename(path, target), 0);
	cr_assert_eq(symlink(target, path), 0);
	refused(RAIL_CODE_IO, "symbolic link");
	cr_assert_eq(unlink(path), 0);
	cr_assert_eq(rename(target, path), 0);
	/* and a file, also one that points nowhere, which LMDB would make. */
	(void)snprintf(path, sizeof(path), "%s/registry/data.mdb", state_directory);
	cr_assert_eq(unlink(path), 0);
	cr_assert_eq(symlink(target, path), 0);
	refused(RAIL_CODE_IO, "data.mdb");
	cr_assert_neq(access(target, F_OK), 0);
	cr_assert_eq(unlink(path), 0);
	cr_assert_eq(mkdir(path, 0700), 0);
	refused(RAIL_CODE_IO, "data.mdb");
}

Test(store_store, a_path_that_cannot_be_a_directory_is_refused)
{
	char path[PATH_MAX];

	cr_assert_eq(mkdir(state_directory, 0700), 0);
	(void)snprintf(path, sizeof(path), "%s/run", root_directory);
	int fd = open(path, O_WRONLY | O_CREAT | O_CLOEXEC, 0600);
	cr_assert_geq(fd, 0);
	(void)close(fd);
	refused(RAIL_CODE_IO, path);
	memset(run_directory, 'x', sizeof(run_directory) - 1);
	refused(RAIL_CODE_IO, "too long");
	run_directory[0] = '\0';
	refused(RAIL_CODE_IO, "empty");
}

Test(store_store, a_file_that_is_no_store_is_refused_as_damaged)
{
	static char garbage[16384];
	char path[PATH_MAX + 32];

	rail_store_close(open_stores());
	(void)snprintf(path, sizeof(path), "%s/registry/data.mdb", state_directory);
	RAIL_CLOSE int fd = open(path, O_WRONLY | O_TRUNC | O_CLOEXEC);
	memset(garbage, 'x', sizeof(garbage));
	cr_assert_eq(write(fd, garbage, sizeof(garbage)), (ssize_t)sizeof(garbage));
	refused(RAIL_CODE_IO, "damaged");
}

/* A file system of this test's own at the path, gone with its process. */
static void mount_own(const char *path, const char *options)
{
	skip_without_root();
	cr_assert_eq(mkdir(path, 0700), 0);
	cr_assert_eq(unshare(CLONE_NEWNS), 0);
	cr_assert_eq(mount("none", "/", NULL, MS_REC | MS_PRIVATE, NULL), 0);
	cr_assert_eq(mount("none", path, "tmpfs", 0, options), 0);
}

Test(store_store, a_read_only_file_system_is_refused)
{
	mount_own(state_directory, "size=1m,mode=0700");
	rail_store_close(open_stores());
	cr_assert_eq(mount("none", state_directory, NULL, MS_REMOUNT | MS_RDONLY, NULL), 0);
	refused(RAIL_CODE_IO, "read-only");
	refused(RAIL_CODE_IO, state_directory);
	cr_assert_eq(umount(state_directory), 0);

	/* Over the store's own directory only. */
	char path[PATH_MAX + 16];
	rail_store_close(open_stores());
	(void)snprintf(path, sizeof(path), "%s/registry", state_directory);
	cr_assert_eq(mount(path, path, NULL, MS_BIND, NULL), 0);
	cr_assert_eq(mount("none", path, NULL, MS_REMOUNT | MS_BIND | MS_RDONLY, NULL), 0);
	refused(RAIL_CODE_IO, "read-only");
	cr_assert_eq(umount(path), 0);
}

Test(store_store, a_full_file_system_is_an_error_that_says_so_and_changes_nothing)
{
	static char value[4000];
	struct rail_error error = RAIL_ERROR_NONE;
	int result = 0;

	mount_own(run_directory, "size=1m,mode=0700");
	struct rail_store *store = open_stores();
	store_put(store, RAIL_LIVE, RAIL_TABLE_MEMBERS, "whole");

	struct rail_transaction *transaction = begin(store, RAIL_LIVE, RAIL_WRITE);
	memset(value, 'x', sizeof(value) - 1);
	for (int i = 0; result == 0 && i < 500; i++) {
		char key[16];

		(void)snprintf(key, sizeof(key), "key %d", i);
		result = rail_store_put(transaction, RAIL_TABLE_MEMBERS, span(key), span(value),
					&error);
	}
	if (result == 0)
		result = rail_transaction_commit(&transaction, &error);
	else
		rail_transaction_abort(&transaction);
	cr_assert_eq(result, -ENOSPC, "%s", error.message);
	cr_assert_neq(strstr(error.message, run_directory), NULL, "%s", error.message);
	rail_store_close(store);

	store = open_stores();
	cr_assert(store_has(store, RAIL_LIVE, RAIL_TABLE_MEMBERS, "whole"));
	cr_assert_not(store_has(store, RAIL_LIVE, RAIL_TABLE_MEMBERS, "key 0"));
	store_put(store, RAIL_LIVE, RAIL_TABLE_MEMBERS, "and on");
	rail_store_close(store);
	cr_assert_eq(umount(run_directory), 0);
}

Test(store_store, a_full_map_is_an_error_that_says_so)
{
	RAIL_CLEANUP(rail_store_closep) struct rail_store *store = open_stores();
	RAIL_CLEANUP(rail_transaction_abort)
	struct rail_transaction *transaction = begin(store, RAIL_REGISTRY, RAIL_WRITE);
	struct rail_span large = {.size = (size_t)60 << 20};
	RAIL_FREE void *bytes = calloc(1, large.size);
	struct rail_error error = RAIL_ERROR_NONE;
	int result = 0;

	cr_assert_not_null(bytes);
	large.bytes = bytes;
	for (int i = 0; result == 0 && i < 5; i++) {
		char key[16];

		(void)snprintf(key, sizeof(key), "key %d", i);
		result = rail_store_put(transaction, RAIL_TABLE_SERVICES, span(key), large, &error);
	}
	cr_assert_eq(result, -ENOSPC, "%s", error.message);
	cr_assert_eq(error.code, RAIL_CODE_IO);
	cr_assert_neq(strstr(error.message, "256 MiB"), NULL, "%s", error.message);
	cr_assert_neq(strstr(error.message, state_directory), NULL, "%s", error.message);

	/* A transaction in which something failed cannot be committed. */
	cr_assert_lt(rail_transaction_commit(&transaction, &error), 0);
	cr_assert_null(transaction);
	store_put(store, RAIL_REGISTRY, RAIL_TABLE_SERVICES, "and on");
}

enum { RECORD_SIZE = 100 * 1024, NEARLY = 10 };

/* -ENOSPC where there is no room for it. */
static int try_record(struct rail_store *store, int number, struct rail_error *error)
{
	static const char bytes[RECORD_SIZE];
	RAIL_CLEANUP(rail_transaction_abort)
	struct rail_transaction *transaction = begin(store, RAIL_REGISTRY, RAIL_WRITE);
	char key[16];

	(void)snprintf(key, sizeof(key), "key %d", number);
	int result = rail_store_put(transaction, RAIL_TABLE_SERVICES, span(key),
				    (struct rail_span){bytes, sizeof(bytes)}, error);
	return result < 0 ? result : rail_transaction_commit(&transaction, error);
}

/* LMDB writes for that, too. */
Test(store_store, what_is_full_can_be_emptied, .timeout = 60)
{
	RAIL_CLEANUP(rail_store_closep) struct rail_store *store = open_stores();
	struct rail_error error = RAIL_ERROR_NONE;
	int count = 0;
	int result;

	while ((result = try_record(store, count, &error)) == 0)
		count++;
	cr_assert_eq(result, -ENOSPC, "%s", error.message);
	cr_assert_neq(strstr(error.message, "is full (256 MiB)"), NULL, "%s", error.message);
	cr_assert_gt(count, 2000);
	/* What is there may change. */
	cr_assert_eq(try_record(store, 0, &error), 0, "%s", error.message);
	cr_assert_eq(try_record(store, count, &error), -ENOSPC);
	for (int i = 0; i < count; i++) {
		RAIL_CLEANUP(rail_transaction_abort)
		struct rail_transaction *transaction = begin(store, RAIL_REGISTRY, RAIL_WRITE);
		char key[16];

		(void)snprintf(key, sizeof(key), "key %d", i);
		cr_assert_eq(rail_store_delete(transaction, RAIL_TABLE_SERVICES, span(key), &error),
			     0, "%d: %s", i, error.message);
		commit(&transaction);
	}
	for (int i = 0; i < count - NEARLY; i++)
		cr_assert_eq(try_record(store, i, &error), 0, "%d: %s", i, error.message);
}

/* What a reader keeps is no room: else what is new would take the room of what goes. */
Test(store_store, a_reader_that_keeps_all_pages_leaves_room_for_what_goes, .timeout = 60)
{
	RAIL_CLEANUP(rail_store_closep) struct rail_store *store = open_stores();
	struct rail_error error = RAIL_ERROR_NONE;
	int count = 0;

	while (try_record(store, count, &error) == 0)
		count++;
	pid_t reader = start_opener(true, RAIL_REGISTRY);

	/* 100 KB each that nobody can use. */
	for (int i = 0; i < 20; i++) {
		RAIL_CLEANUP(rail_transaction_abort)
		struct rail_transaction *transaction = begin(store, RAIL_REGISTRY, RAIL_WRITE);
		char key[16];

		(void)snprintf(key, sizeof(key), "key %d", i);
		cr_assert_eq(rail_store_delete(transaction, RAIL_TABLE_SERVICES, span(key), &error),
			     0, "%d: %s", i, error.message);
		commit(&transaction);
		cr_assert_eq(try_record(store, count + i, &error), -ENOSPC, "%d", i);
	}
	kill_child(reader);
	cr_assert_eq(try_record(store, 0, &error), 0, "%s", error.message);
}
