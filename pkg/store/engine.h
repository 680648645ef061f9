#pragma once

#include <limits.h>
#include <lmdb.h>

#include "pkg/store/database.h"

/*
 * What the files of this package share that know LMDB: store.c opens, transaction.c begins and
 * ends, table.c reads and writes. The one place that includes LMDB.
 */

enum {
	RAIL_STORE_COUNT = 2,
	RAIL_READERS_MAXIMUM = 2048,
	/* Behind map_size: a deletion writes, too, and must find room where there is none for what
	 * is new. */
	RAIL_STORE_RESERVE = 16 << 20,
};

struct rail_transaction {
	struct rail_database *database;
	MDB_txn *handle; /* NULL: there is none */
	enum rail_access access;
};

struct rail_database {
	enum rail_store_kind kind;
	MDB_env *environment;
	MDB_dbi tables[RAIL_TABLE_COUNT];
	int lock_fd;  /* of the file that writers lock */
	bool is_full; /* for new records, while a writer is at work */
	char path[PATH_MAX];
	struct rail_transaction transaction;
};

struct rail_store {
	struct rail_database databases[RAIL_STORE_COUNT];
};

struct rail_store_facts {
	const char *name; /* the directory's, and in messages */
	size_t map_size; /* of address space, for new records; pages are used as they are written */
	unsigned int flags;
};

struct rail_store_table_facts {
	const char *name;
	bool of[RAIL_STORE_COUNT]; /* by enum rail_store_kind */
};

extern const struct rail_store_facts rail_store_facts[RAIL_STORE_COUNT];
extern const struct rail_store_table_facts rail_store_table_facts[RAIL_TABLE_COUNT];

/* status: an errno value, or one of LMDB's own, which are negative. action: what was tried. */
int rail_database_fail(const struct rail_database *database, int status, const char *action,
		       struct rail_error *error);

/* A mistake of the calling code: code 999. */
int rail_store_misuse(int errnum, const char *what, struct rail_error *error);

/* The transactions beneath those of store.h. A writer has the lock from begin to end. */
int rail_database_begin(struct rail_database *database, enum rail_access access, int deadline_ms,
			MDB_txn **ret_handle, struct rail_error *error);
int rail_database_end(struct rail_database *database, enum rail_access access, MDB_txn *handle,
		      bool commit, struct rail_error *error);

MDB_val rail_value_of(struct rail_span span);
struct rail_span rail_span_of(const MDB_val *value);
