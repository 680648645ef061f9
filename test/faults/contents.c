/*
 * What the stores hold, one line a record, for the comparison of before and after:
 *
 *     contents STATE RUN
 *
 * "<store> <table> <key> <value>", both in hexadecimal. Left out are what only grows, and shall:
 * the counters of addresses and their reserved ranges.
 */
#include <inttypes.h>
#include <lmdb.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static void check(int status, const char *what)
{
	if (status == 0)
		return;
	(void)fprintf(stderr, "contents: %s: %s\n", what, mdb_strerror(status));
	exit(EXIT_FAILURE);
}

static void print_bytes(const MDB_val *value)
{
	const unsigned char *bytes = value->mv_data;

	for (size_t i = 0; i < value->mv_size; i++)
		(void)printf("%02x", bytes[i]);
}

static void print_table(MDB_txn *transaction, const char *store, const char *table)
{
	MDB_cursor *cursor;
	MDB_val key;
	MDB_val value;
	MDB_dbi handle;

	check(mdb_dbi_open(transaction, table, 0, &handle), table);
	check(mdb_cursor_open(transaction, handle, &cursor), table);
	int status = mdb_cursor_get(cursor, &key, &value, MDB_FIRST);
	for (; status == 0; status = mdb_cursor_get(cursor, &key, &value, MDB_NEXT)) {
		(void)printf("%s %s ", store, table);
		print_bytes(&key);
		(void)printf(" ");
		print_bytes(&value);
		(void)printf("\n");
	}
	check(status == MDB_NOTFOUND ? 0 : status, table);
	mdb_cursor_close(cursor);
}

static void print_store(const char *parent, const char *store)
{
	MDB_txn *transaction;
	MDB_cursor *cursor;
	MDB_env *environment;
	MDB_val key;
	MDB_val value;
	MDB_dbi names;
	char path[4096];

	(void)snprintf(path, sizeof(path), "%s/%s", parent, store);
	check(mdb_env_create(&environment), path);
	check(mdb_env_set_maxdbs(environment, 16), path);
	check(mdb_env_open(environment, path, MDB_RDONLY, 0), path);
	check(mdb_txn_begin(environment, NULL, MDB_RDONLY, &transaction), path);
	/* The tables' names are the keys of the nameless one. */
	check(mdb_dbi_open(transaction, NULL, 0, &names), path);
	check(mdb_cursor_open(transaction, names, &cursor), path);
	while (mdb_cursor_get(cursor, &key, &value, MDB_NEXT) == 0) {
		char table[64];

		(void)snprintf(table, sizeof(table), "%.*s", (int)key.mv_size,
			       (const char *)key.mv_data);
		if (strcmp(table, "counters") != 0 && strcmp(table, "ranges") != 0)
			print_table(transaction, store, table);
	}
	mdb_cursor_close(cursor);
	mdb_txn_abort(transaction);
	mdb_env_close(environment);
}

int main(int argc, char **argv)
{
	if (argc != 3) {
		(void)fprintf(stderr, "usage: contents STATE RUN\n");
		return EXIT_FAILURE;
	}
	print_store(argv[1], "registry");
	print_store(argv[2], "live");
	return EXIT_SUCCESS;
}
