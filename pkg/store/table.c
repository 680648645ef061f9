#include <errno.h>
#include <string.h>

#include "pkg/base/cleanup.h"
#include "pkg/store/engine.h"

const struct rail_store_table_facts rail_store_table_facts[RAIL_TABLE_COUNT] = {
	[RAIL_TABLE_META] = {"meta", {[RAIL_REGISTRY] = true, [RAIL_LIVE] = true}},
	[RAIL_TABLE_ENVIRONMENTS] = {"environments", {[RAIL_REGISTRY] = true}},
	[RAIL_TABLE_PREFIXES] = {"prefixes", {[RAIL_REGISTRY] = true}},
	[RAIL_TABLE_SERVICES] = {"services", {[RAIL_REGISTRY] = true}},
	[RAIL_TABLE_NUMBERS] = {"numbers", {[RAIL_REGISTRY] = true}},
	[RAIL_TABLE_COUNTERS] = {"counters", {[RAIL_REGISTRY] = true}},
	[RAIL_TABLE_ATTACHMENTS] = {"attachments", {[RAIL_LIVE] = true}},
	[RAIL_TABLE_LEASES] = {"leases", {[RAIL_LIVE] = true}},
	[RAIL_TABLE_RANGES] = {"ranges", {[RAIL_LIVE] = true}},
	[RAIL_TABLE_MEMBERS] = {"members", {[RAIL_LIVE] = true}},
};

static int check_use(const struct rail_transaction *transaction, enum rail_store_table table,
		     enum rail_access access, struct rail_error *error)
{
	if (!rail_store_table_facts[table].of[transaction->database->kind])
		return rail_store_misuse(EINVAL, "a record of the other store", error);
	if (access == RAIL_WRITE && transaction->access != RAIL_WRITE)
		return rail_store_misuse(EACCES, "a change in a transaction that only reads",
					 error);
	return 0;
}

static int check_key(struct rail_span key, struct rail_error *error)
{
	if (key.size == 0 || key.size > RAIL_TABLE_KEY_MAXIMUM)
		return rail_store_misuse(EINVAL, "a key that is empty or too long", error);
	return 0;
}

/* LMDB's type is not const; it does not write through it. */
MDB_val rail_value_of(struct rail_span span)
{
	return (MDB_val){.mv_size = span.size, .mv_data = (void *)(uintptr_t)span.bytes};
}

struct rail_span rail_span_of(const MDB_val *value)
{
	return (struct rail_span){.bytes = value->mv_data, .size = value->mv_size};
}

int rail_store_get(struct rail_transaction *transaction, enum rail_store_table table,
		   struct rail_span key, struct rail_span *ret_value, struct rail_error *error)
{
	int result = check_use(transaction, table, RAIL_READ, error);
	MDB_val key_value = rail_value_of(key);
	MDB_val value;

	if (result == 0)
		result = check_key(key, error);
	if (result < 0)
		return result;

	int status = mdb_get(transaction->handle, transaction->database->tables[table], &key_value,
			     &value);
	if (status == MDB_NOTFOUND)
		return 0;
	if (status != 0)
		return rail_database_fail(transaction->database, status, "read a record", error);
	*ret_value = rail_span_of(&value);
	return 1;
}

static bool is_there(const struct rail_transaction *transaction, enum rail_store_table table,
		     MDB_val *key)
{
	MDB_val value;

	return mdb_get(transaction->handle, transaction->database->tables[table], key, &value) == 0;
}

int rail_store_put(struct rail_transaction *transaction, enum rail_store_table table,
		   struct rail_span key, struct rail_span value, struct rail_error *error)
{
	int result = check_use(transaction, table, RAIL_WRITE, error);
	MDB_val key_value = rail_value_of(key);
	MDB_val new_value = rail_value_of(value);

	if (result == 0)
		result = check_key(key, error);
	if (result < 0)
		return result;

	int status = MDB_MAP_FULL;

	if (!transaction->database->is_full || is_there(transaction, table, &key_value))
		status = mdb_put(transaction->handle, transaction->database->tables[table],
				 &key_value, &new_value, 0);
	return status == 0
		       ? 0
		       : rail_database_fail(transaction->database, status, "write a record", error);
}

int rail_store_delete(struct rail_transaction *transaction, enum rail_store_table table,
		      struct rail_span key, struct rail_error *error)
{
	int result = check_use(transaction, table, RAIL_WRITE, error);
	MDB_val key_value = rail_value_of(key);

	if (result == 0)
		result = check_key(key, error);
	if (result < 0)
		return result;

	int status = mdb_del(transaction->handle, transaction->database->tables[table], &key_value,
			     NULL);
	if (status != 0 && status != MDB_NOTFOUND)
		return rail_database_fail(transaction->database, status, "delete a record", error);
	return 0;
}

static void close_cursor(MDB_cursor **cursor)
{
	if (*cursor != NULL)
		mdb_cursor_close(*cursor);
}

static bool begins_with(const MDB_val *key, struct rail_span prefix)
{
	return key->mv_size >= prefix.size &&
	       (prefix.size == 0 || memcmp(key->mv_data, prefix.bytes, prefix.size) == 0);
}

/* The first record at or behind prefix; MDB_NOTFOUND where none begins so. */
static int seek(MDB_cursor *cursor, struct rail_span prefix, MDB_val *key, MDB_val *value)
{
	*key = rail_value_of(prefix);

	int status =
		mdb_cursor_get(cursor, key, value, prefix.size > 0 ? MDB_SET_RANGE : MDB_FIRST);
	return status == 0 && !begins_with(key, prefix) ? MDB_NOTFOUND : status;
}

int rail_store_delete_prefix(struct rail_transaction *transaction, enum rail_store_table table,
			     struct rail_span prefix, struct rail_error *error)
{
	struct rail_database *database = transaction->database;
	RAIL_CLEANUP(close_cursor) MDB_cursor *cursor = NULL;
	int result = check_use(transaction, table, RAIL_WRITE, error);
	MDB_val key;
	MDB_val value;

	if (result < 0)
		return result;

	int status = mdb_cursor_open(transaction->handle, database->tables[table], &cursor);
	/* From the start each time: where a cursor stands after a deletion is not worth knowing. */
	while (status == 0) {
		status = seek(cursor, prefix, &key, &value);
		if (status == 0)
			status = mdb_cursor_del(cursor, 0);
	}
	return status == MDB_NOTFOUND
		       ? 0
		       : rail_database_fail(database, status, "delete records", error);
}

int rail_store_each(struct rail_transaction *transaction, enum rail_store_table table,
		    struct rail_span prefix, rail_store_visitor each, void *context,
		    struct rail_error *error)
{
	struct rail_database *database = transaction->database;
	RAIL_CLEANUP(close_cursor) MDB_cursor *cursor = NULL;
	int result = check_use(transaction, table, RAIL_READ, error);
	MDB_val key;
	MDB_val value;

	if (result < 0)
		return result;

	int status = mdb_cursor_open(transaction->handle, database->tables[table], &cursor);
	if (status == 0)
		status = seek(cursor, prefix, &key, &value);
	while (status == 0) {
		result = each(context, rail_span_of(&key), rail_span_of(&value), error);
		if (result != 0)
			return result;
		status = mdb_cursor_get(cursor, &key, &value, MDB_NEXT);
		if (status == 0 && !begins_with(&key, prefix))
			break;
	}
	return status == 0 || status == MDB_NOTFOUND
		       ? 0
		       : rail_database_fail(database, status, "read records", error);
}

static int stop_at_first(void *context, struct rail_span key, struct rail_span value,
			 struct rail_error *error)
{
	(void)context;
	(void)key;
	(void)value;
	(void)error;
	return 1;
}

int rail_store_any(struct rail_transaction *transaction, enum rail_store_table table,
		   struct rail_span prefix, struct rail_error *error)
{
	return rail_store_each(transaction, table, prefix, stop_at_first, NULL, error);
}

int rail_store_count(struct rail_transaction *transaction, enum rail_store_table table,
		     uint64_t *ret_count, struct rail_error *error)
{
	int result = check_use(transaction, table, RAIL_READ, error);
	MDB_stat statistics;

	if (result < 0)
		return result;

	int status =
		mdb_stat(transaction->handle, transaction->database->tables[table], &statistics);
	if (status != 0)
		return rail_database_fail(transaction->database, status, "count records", error);
	*ret_count = statistics.ms_entries;
	return 0;
}
