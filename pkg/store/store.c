#include "pkg/store/store.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/statvfs.h>

#include "pkg/base/bytes.h"
#include "pkg/base/cleanup.h"
#include "pkg/base/file.h"
#include "pkg/store/directory.h"
#include "pkg/store/engine.h"

enum {
	BOOT_ID_FILE_MAXIMUM = 64,
	STAT_BLOCK_SIZE = 512, /* stat(2), st_blocks */
	/* A header, and 64 bytes for each reader. */
	LOCK_FILE_SIZE = 64 * (RAIL_READERS_MAXIMUM + 2),
};

const struct rail_store_facts rail_store_facts[RAIL_STORE_COUNT] = {
	[RAIL_REGISTRY] = {"registry", (size_t)256 << 20, 0},
	/* What it holds ends with the boot: what a crash of the machine loses is lost anyway. */
	[RAIL_LIVE] = {"live", (size_t)2 << 30, MDB_NOSYNC},
};

static const char format_key[] = "format";
static const char boot_key[] = "boot";

static bool file_system_full(const char *path)
{
	struct statvfs file_system;

	return statvfs(path, &file_system) == 0 && file_system.f_bavail == 0;
}

/* status: an errno value, or one of LMDB's own, which are negative. */
int rail_database_fail(const struct rail_database *database, int status, const char *action,
		       struct rail_error *error)
{
	const char *name = rail_store_facts[database->kind].name;
	const char *path = database->path;

	/* LMDB calls a write that came to only a part EIO. */
	if (status == EIO && file_system_full(path))
		status = ENOSPC;
	switch (status) {
	case ENOSPC:
		return rail_fail_code(error, RAIL_CODE_IO, ENOSPC,
				      "%s in the %s store: the file system of '%s' is full; make "
				      "room there",
				      action, name, path);
	case MDB_MAP_FULL:
		return rail_fail_code(error, RAIL_CODE_IO, ENOSPC,
				      "%s: the %s store in '%s' is full (%zu MiB); remove what is "
				      "not needed any more, and end processes that hold it open "
				      "for reading",
				      action, name, path,
				      rail_store_facts[database->kind].map_size >> 20);
	case MDB_READERS_FULL:
		return rail_fail_code(error, RAIL_CODE_TRY_AGAIN, EAGAIN,
				      "%s: more than %d processes read the %s store in '%s' at "
				      "once; try again",
				      action, RAIL_READERS_MAXIMUM, name, path);
	case MDB_VERSION_MISMATCH:
		return rail_fail_code(error, RAIL_CODE_INVALID_CONFIG, EPROTO,
				      "%s: the %s store in '%s' is in use by, or was written by, "
				      "another version of LMDB than %d.%d; install a release "
				      "built with that one",
				      action, name, path, MDB_VERSION_MAJOR, MDB_VERSION_MINOR);
	case MDB_INVALID:
	case MDB_CORRUPTED:
	case MDB_PAGE_NOTFOUND:
		return rail_fail_code(error, RAIL_CODE_IO, EUCLEAN,
				      "%s: the %s store in '%s' is damaged (%s); move the "
				      "directory aside, and a new one is made",
				      action, name, path, mdb_strerror(status));
	default:
		return rail_fail_code(error, RAIL_CODE_IO, status > 0 ? status : EIO,
				      "%s in the %s store in '%s': %s", action, name, path,
				      mdb_strerror(status));
	}
}

int rail_store_misuse(int errnum, const char *what, struct rail_error *error)
{
	return rail_fail_code(error, RAIL_CODE_INTERNAL, errnum, "store: %s", what);
}

/* flags: MDB_CREATE or 0. MDB_NOTFOUND where a table is missing. */
static int open_tables(struct rail_database *database, MDB_txn *handle, unsigned int flags)
{
	int status = 0;

	for (size_t i = 0; status == 0 && i < RAIL_TABLE_COUNT; i++) {
		if (rail_store_table_facts[i].of[database->kind])
			status = mdb_dbi_open(handle, rail_store_table_facts[i].name, flags,
					      &database->tables[i]);
	}
	return status;
}

static int get_meta(const struct rail_database *database, MDB_txn *handle, const char *key,
		    MDB_val *ret_value)
{
	MDB_val key_value = rail_value_of((struct rail_span){key, strlen(key)});

	return mdb_get(handle, database->tables[RAIL_TABLE_META], &key_value, ret_value);
}

static int put_meta(const struct rail_database *database, MDB_txn *handle, const char *key,
		    const void *bytes, size_t size)
{
	MDB_val key_value = rail_value_of((struct rail_span){key, strlen(key)});
	MDB_val value = rail_value_of((struct rail_span){bytes, size});

	return mdb_put(handle, database->tables[RAIL_TABLE_META], &key_value, &value, 0);
}

/* 1 where the store has the format that is known here, 0 where it has none yet. */
static int check_format(const struct rail_database *database, MDB_txn *handle,
			struct rail_error *error)
{
	MDB_val value;
	int status = get_meta(database, handle, format_key, &value);

	if (status == MDB_NOTFOUND)
		return 0;
	if (status != 0)
		return rail_database_fail(database, status, "read the format", error);

	struct rail_reader reader = rail_reader_init(value.mv_data, value.mv_size);
	uint32_t format = rail_read_u32(&reader);
	if (reader.failed)
		return rail_database_fail(database, MDB_CORRUPTED, "read the format", error);
	if (format != RAIL_STORE_FORMAT)
		return rail_fail_code(error, RAIL_CODE_INVALID_CONFIG, EPROTO,
				      "the %s store in '%s' has format %u; release %s knows format "
				      "%d only: install the release that wrote it",
				      rail_store_facts[database->kind].name, database->path, format,
				      RAIL_VERSION, RAIL_STORE_FORMAT);
	return 1;
}

/* Whether the content is this boot's; a registry's always is. */
static int is_of_boot(const struct rail_database *database, MDB_txn *handle, const char *boot_id,
		      struct rail_error *error)
{
	MDB_val value;

	if (database->kind != RAIL_LIVE)
		return 1;

	int status = get_meta(database, handle, boot_key, &value);
	if (status == MDB_NOTFOUND)
		return 0;
	if (status != 0)
		return rail_database_fail(database, status, "read the boot's ID", error);
	return value.mv_size == strlen(boot_id) &&
	       memcmp(value.mv_data, boot_id, value.mv_size) == 0;
}

/* Makes what is missing, and empties what another boot left. Everything is asked again here, under
 * the lock: another process may have done it meanwhile. */
static int set_up(struct rail_database *database, MDB_txn *handle, const char *boot_id,
		  struct rail_error *error)
{
	uint8_t format[4];
	struct rail_writer writer = rail_writer_init(format, sizeof(format));
	int status = mdb_dbi_open(handle, rail_store_table_facts[RAIL_TABLE_META].name, MDB_CREATE,
				  &database->tables[RAIL_TABLE_META]);

	if (status != 0)
		return rail_database_fail(database, status, "make tables", error);

	int result = check_format(database, handle, error);
	if (result < 0)
		return result;
	status = open_tables(database, handle, MDB_CREATE);
	if (status != 0)
		return rail_database_fail(database, status, "make tables", error);

	if (result == 0) {
		rail_write_u32(&writer, RAIL_STORE_FORMAT);
		status = put_meta(database, handle, format_key, format, sizeof(format));
		if (status != 0)
			return rail_database_fail(database, status, "note the format", error);
	}

	result = is_of_boot(database, handle, boot_id, error);
	if (result != 0)
		return result < 0 ? result : 0;
	for (size_t i = 0; status == 0 && i < RAIL_TABLE_COUNT; i++) {
		if (i != RAIL_TABLE_META && rail_store_table_facts[i].of[database->kind])
			status = mdb_drop(handle, database->tables[i], 0);
	}
	if (status == 0)
		status = put_meta(database, handle, boot_key, boot_id, strlen(boot_id));
	return status == 0 ? 0
			   : rail_database_fail(database, status, "empty what another boot left",
						error);
}

/* Whether nothing has to be set up: 1 or 0. */
static int look_in(struct rail_database *database, MDB_txn *handle, const char *boot_id,
		   struct rail_error *error)
{
	int status = mdb_dbi_open(handle, rail_store_table_facts[RAIL_TABLE_META].name, 0,
				  &database->tables[RAIL_TABLE_META]);
	int result = 0;

	if (status == 0) {
		result = check_format(database, handle, error);
		if (result > 0)
			result = is_of_boot(database, handle, boot_id, error);
		if (result <= 0)
			return result;
		status = open_tables(database, handle, 0);
	}
	if (status != 0 && status != MDB_NOTFOUND)
		return rail_database_fail(database, status, "open tables", error);
	return status == 0;
}

/* 1 where the content is ready to be used, 0 where it has to be set up first. */
static int open_content(struct rail_database *database, const char *boot_id,
			struct rail_error *error)
{
	MDB_txn *handle;
	int result = rail_database_begin(database, RAIL_READ, 0, &handle, error);

	if (result < 0)
		return result;
	result = look_in(database, handle, boot_id, error);
	/* A commit keeps the handles of the tables open, also one that only read. */
	int ended = rail_database_end(database, RAIL_READ, handle, result > 0, error);
	if (result <= 0)
		return result;
	return ended < 0 ? ended : 1;
}

static int make_content(struct rail_database *database, const char *boot_id,
			struct rail_error *error)
{
	MDB_txn *handle;
	int result = rail_database_begin(database, RAIL_WRITE, RAIL_STORE_WRITE_DEADLINE_MS,
					 &handle, error);

	if (result < 0)
		return result;
	result = set_up(database, handle, boot_id, error);
	int ended = rail_database_end(database, RAIL_WRITE, handle, result == 0, error);
	return result < 0 ? result : ended;
}

/*
 * LMDB maps its lock file and writes into it: on a file system that is full that is SIGBUS and not
 * an error. So the file gets its pages first. It is closed again before this process has a lock on
 * it.
 */
static int allocate_lock_file(const char *path, struct rail_error *error)
{
	char name[PATH_MAX + 16];
	struct stat status;

	(void)snprintf(name, sizeof(name), "%s/lock.mdb", path);
	RAIL_CLOSE int fd = open(name, O_RDWR | O_CREAT | O_NOFOLLOW | O_CLOEXEC, 0600);
	if (fd < 0 || fstat(fd, &status) < 0)
		return rail_fail_code(error, RAIL_CODE_IO, errno, "open '%s': %s", name,
				      strerrordesc_np(errno));
	if ((size_t)status.st_blocks * STAT_BLOCK_SIZE >= LOCK_FILE_SIZE)
		return 0;
	int errnum = posix_fallocate(fd, 0, LOCK_FILE_SIZE);
	if (errnum != 0)
		return rail_fail_code(error, RAIL_CODE_IO, errnum,
				      "reserve %d bytes for '%s': %s; make room there",
				      LOCK_FILE_SIZE, name, strerrordesc_np(errnum));
	return 0;
}

/* The directory is there. */
static int open_environment(struct rail_database *database, struct rail_error *error)
{
	const struct rail_store_facts *facts = &rail_store_facts[database->kind];
	int descriptor;
	int dead;

	int result = allocate_lock_file(database->path, error);
	if (result < 0)
		return result;

	int status = mdb_env_create(&database->environment);
	if (status == 0)
		status = mdb_env_set_mapsize(database->environment,
					     facts->map_size + RAIL_STORE_RESERVE);
	if (status == 0)
		status = mdb_env_set_maxdbs(database->environment, RAIL_TABLE_COUNT);
	if (status == 0)
		status = mdb_env_set_maxreaders(database->environment, RAIL_READERS_MAXIMUM);
	if (status == 0)
		status = mdb_env_open(database->environment, database->path,
				      facts->flags | MDB_NOTLS, 0600);
	/* The one descriptor that LMDB would hand on to the programs that we execute. */
	if (status == 0)
		status = mdb_env_get_fd(database->environment, &descriptor);
	if (status == 0 && fcntl(descriptor, F_SETFD, FD_CLOEXEC) < 0)
		status = errno;
	if (status == 0)
		status = mdb_reader_check(database->environment, &dead);
	return status == 0 ? 0 : rail_database_fail(database, status, "open", error);
}

static int database_open(struct rail_database *database, const char *parent, const char *boot_id,
			 struct rail_error *error)
{
	int result = rail_store_directory_open(parent, rail_store_facts[database->kind].name,
					       database->path, &database->lock_fd, error);

	if (result == 0)
		result = open_environment(database, error);
	if (result == 0)
		result = open_content(database, boot_id, error);
	if (result == 0)
		return make_content(database, boot_id, error);
	return result < 0 ? result : 0;
}

static int database_open_present(struct rail_database *database, const char *parent,
				 const char *boot_id, struct rail_error *error)
{
	int result = rail_store_directory_find(parent, rail_store_facts[database->kind].name,
					       database->path, &database->lock_fd, error);

	if (result <= 0)
		return result;
	result = open_environment(database, error);
	if (result == 0)
		result = open_content(database, boot_id, error);
	if (result == 0)
		mdb_env_close(RAIL_TAKE_POINTER(database->environment));
	return result < 0 ? result : 0;
}

typedef int (*database_opener)(struct rail_database *database, const char *parent,
			       const char *boot_id, struct rail_error *error);

static int open_both(const char *state_directory, const char *run_directory, const char *boot_id,
		     database_opener open_one, struct rail_store **ret_store,
		     struct rail_error *error)
{
	RAIL_CLEANUP(rail_store_closep) struct rail_store *store = calloc(1, sizeof(*store));

	if (store == NULL)
		return rail_fail_errno(error, ENOMEM, "open the stores");
	for (size_t i = 0; i < RAIL_STORE_COUNT; i++) {
		struct rail_database *database = &store->databases[i];

		database->kind = (enum rail_store_kind)i;
		database->lock_fd = -EBADF;
		database->transaction.database = database;
	}

	int result = open_one(&store->databases[RAIL_REGISTRY], state_directory, boot_id, error);
	if (result == 0)
		result = open_one(&store->databases[RAIL_LIVE], run_directory, boot_id, error);
	if (result < 0)
		return result;
	*ret_store = RAIL_TAKE_POINTER(store);
	return 0;
}

int rail_store_open_in_boot(const char *state_directory, const char *run_directory,
			    const char *boot_id, struct rail_store **ret_store,
			    struct rail_error *error)
{
	return open_both(state_directory, run_directory, boot_id, database_open, ret_store, error);
}

int rail_store_open_present_in_boot(const char *state_directory, const char *run_directory,
				    const char *boot_id, struct rail_store **ret_store,
				    struct rail_error *error)
{
	return open_both(state_directory, run_directory, boot_id, database_open_present, ret_store,
			 error);
}

static int read_boot_id(char **ret_boot_id, struct rail_error *error)
{
	RAIL_FREE char *boot_id = NULL;
	size_t size;
	int result = rail_read_file("/proc/sys/kernel/random/boot_id", BOOT_ID_FILE_MAXIMUM,
				    &boot_id, &size, error);

	if (result < 0)
		return rail_wrap(error, result, "learn which boot this is");
	boot_id[strcspn(boot_id, "\n")] = '\0';
	if (strlen(boot_id) != RAIL_BOOT_ID_SIZE - 1)
		return rail_fail_code(error, RAIL_CODE_IO, EIO,
				      "'/proc/sys/kernel/random/boot_id' has a form that is not "
				      "known");
	*ret_boot_id = RAIL_TAKE_POINTER(boot_id);
	return 0;
}

int rail_store_open(const char *state_directory, const char *run_directory,
		    struct rail_store **ret_store, struct rail_error *error)
{
	RAIL_FREE char *boot_id = NULL;
	int result = read_boot_id(&boot_id, error);

	if (result < 0)
		return result;
	return rail_store_open_in_boot(state_directory, run_directory, boot_id, ret_store, error);
}

int rail_store_open_present(const char *state_directory, const char *run_directory,
			    struct rail_store **ret_store, struct rail_error *error)
{
	RAIL_FREE char *boot_id = NULL;
	int result = read_boot_id(&boot_id, error);

	if (result < 0)
		return result;
	return rail_store_open_present_in_boot(state_directory, run_directory, boot_id, ret_store,
					       error);
}

bool rail_store_is_there(const struct rail_store *store, enum rail_store_kind kind)
{
	return store->databases[kind].environment != NULL;
}

const char *rail_store_path(const struct rail_store *store, enum rail_store_kind kind)
{
	return store->databases[kind].path;
}

void rail_store_close(struct rail_store *store)
{
	if (store == NULL)
		return;
	for (size_t i = 0; i < RAIL_STORE_COUNT; i++) {
		struct rail_database *database = &store->databases[i];

		if (database->environment != NULL)
			mdb_env_close(database->environment);
		if (database->lock_fd >= 0)
			(void)close(database->lock_fd);
	}
	free(store);
}

void rail_store_closep(struct rail_store **store)
{
	rail_store_close(*store);
}
