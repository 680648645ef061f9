#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>

#include "pkg/base/cleanup.h"
#include "pkg/base/file.h"
#include "pkg/store/engine.h"

static void unlock(const struct rail_database *database)
{
	struct flock whole = {.l_type = F_UNLCK, .l_whence = SEEK_SET};

	(void)fcntl(database->lock_fd, F_OFD_SETLK, &whole);
}

static int lock(const struct rail_database *database, int deadline_ms, struct rail_error *error)
{
	char what[PATH_MAX + 64];

	(void)snprintf(what, sizeof(what), "the %s store ('%s/write.lock')",
		       rail_store_facts[database->kind].name, database->path);
	return rail_lock_file(database->lock_fd, deadline_ms, what, error);
}

enum { FREE_PAGES_MINIMUM = 64 }; /* a transaction replaces fewer, and leaves as many behind it */

/* A line of mdb_reader_list: process, thread, and the transaction that it reads or "-". */
static int note_reader(const char *line, void *context)
{
	size_t *oldest = context;
	size_t transaction;

	if (sscanf(line, "%*d %*x %zu", &transaction) == 1 && transaction < *oldest)
		*oldest = transaction;
	return 0;
}

/* Those that were used before and that no reader keeps, as far as they count. */
static size_t count_free_pages(MDB_env *environment)
{
	const MDB_dbi free_list = 0;
	size_t oldest = SIZE_MAX;
	MDB_txn *transaction = NULL;
	MDB_cursor *cursor = NULL;
	MDB_val key;
	MDB_val pages;
	size_t count = 0;
	int dead;

	(void)mdb_reader_check(environment, &dead);
	(void)mdb_reader_list(environment, note_reader, &oldest);
	if (mdb_txn_begin(environment, NULL, MDB_RDONLY, &transaction) != 0)
		return 0;
	if (mdb_cursor_open(transaction, free_list, &cursor) == 0) {
		/* By the transaction that left them, a list that begins with its length. */
		while (count < FREE_PAGES_MINIMUM &&
		       mdb_cursor_get(cursor, &key, &pages, MDB_NEXT) == 0) {
			size_t left_by;
			size_t length;

			memcpy(&left_by, key.mv_data, sizeof(left_by));
			memcpy(&length, pages.mv_data, sizeof(length));
			if (left_by >= oldest)
				break;
			count += length;
		}
		mdb_cursor_close(cursor);
	}
	mdb_txn_abort(transaction);
	return count;
}

/* Whether new records have no room. The file does not shrink, so where it has grown to its limit
 * the pages tell. */
static bool is_full(const struct rail_database *database)
{
	MDB_envinfo info;
	MDB_stat statistics;

	return mdb_env_info(database->environment, &info) == 0 &&
	       mdb_env_stat(database->environment, &statistics) == 0 &&
	       (info.me_last_pgno + 1) * statistics.ms_psize >=
		       rail_store_facts[database->kind].map_size &&
	       count_free_pages(database->environment) < FREE_PAGES_MINIMUM;
}

/*
 * The lock of our own comes first because LMDB's has no deadline. Behind it LMDB's own is free, or
 * its holder is dead.
 */
int rail_database_begin(struct rail_database *database, enum rail_access access, int deadline_ms,
			MDB_txn **ret_handle, struct rail_error *error)
{
	unsigned int flags = access == RAIL_READ ? MDB_RDONLY : 0;
	bool checked = false;
	bool resized = false;
	int status;

	if (access == RAIL_WRITE) {
		int result = lock(database, deadline_ms, error);

		if (result < 0)
			return result;
		database->is_full = is_full(database);
	}

	for (;;) {
		int dead;

		status = mdb_txn_begin(database->environment, NULL, flags, ret_handle);
		if (status == MDB_MAP_RESIZED && !resized) {
			/* A newer release made the map larger. */
			resized = true;
			status = mdb_env_set_mapsize(database->environment, 0);
		} else if (status == MDB_READERS_FULL && !checked) {
			checked = true;
			status = mdb_reader_check(database->environment, &dead);
		} else {
			break;
		}
		if (status != 0)
			break;
	}
	if (status != 0) {
		if (access == RAIL_WRITE)
			unlock(database);
		return rail_database_fail(database, status,
					  access == RAIL_READ ? "begin to read" : "begin to write",
					  error);
	}
	return 0;
}

int rail_database_end(struct rail_database *database, enum rail_access access, MDB_txn *handle,
		      bool commit, struct rail_error *error)
{
	int status = 0;

	if (commit)
		status = mdb_txn_commit(handle);
	else
		mdb_txn_abort(handle);
	if (access == RAIL_WRITE)
		unlock(database);
	return status == 0 ? 0 : rail_database_fail(database, status, "commit", error);
}

int rail_transaction_begin_within(struct rail_store *store, enum rail_store_kind kind,
				  enum rail_access access, int deadline_ms,
				  struct rail_transaction **ret_transaction,
				  struct rail_error *error)
{
	struct rail_database *database = &store->databases[kind];
	struct rail_transaction *transaction = &database->transaction;
	MDB_txn *handle;

	if (database->environment == NULL)
		return rail_fail_code(error, RAIL_CODE_IO, ENOENT,
				      "there is no %s store in '%s': no pod was added on this node "
				      "yet (the live store: since it booted)",
				      rail_store_facts[kind].name, database->path);
	if (transaction->handle != NULL)
		return rail_store_misuse(EBUSY, "a second transaction of one kind", error);
	if (kind == RAIL_REGISTRY && store->databases[RAIL_LIVE].transaction.handle != NULL)
		return rail_store_misuse(
			EDEADLK, "a transaction of the registry after one of the live store",
			error);

	int result = rail_database_begin(database, access, deadline_ms, &handle, error);
	if (result < 0)
		return result;
	*transaction = (struct rail_transaction){database, handle, access};
	*ret_transaction = transaction;
	return 0;
}

int rail_transaction_begin(struct rail_store *store, enum rail_store_kind kind,
			   enum rail_access access, struct rail_transaction **ret_transaction,
			   struct rail_error *error)
{
	return rail_transaction_begin_within(store, kind, access, RAIL_STORE_WRITE_DEADLINE_MS,
					     ret_transaction, error);
}

static int finish(struct rail_transaction **transaction, bool commit, struct rail_error *error)
{
	struct rail_transaction *ended = *transaction;
	MDB_txn *handle = RAIL_TAKE_POINTER(ended->handle);

	*transaction = NULL;
	return rail_database_end(ended->database, ended->access, handle, commit, error);
}

int rail_transaction_commit(struct rail_transaction **transaction, struct rail_error *error)
{
	return finish(transaction, true, error);
}

void rail_transaction_abort(struct rail_transaction **transaction)
{
	if (*transaction != NULL)
		(void)finish(transaction, false, NULL);
}

const char *rail_transaction_path(const struct rail_transaction *transaction)
{
	return transaction->database->path;
}
