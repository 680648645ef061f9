#pragma once

#include "pkg/store/store.h"

/*
 * What registry.c and live.c stand on: tables of byte ranges in the two stores. Private to
 * pkg/store and its tests.
 */

enum rail_store_table {
	/* Both stores: the format's version, the boot's ID, the node's number. */
	RAIL_TABLE_META,

	/* The registry's. */
	RAIL_TABLE_ENVIRONMENTS, /* name: record */
	RAIL_TABLE_PREFIXES,	 /* /48: name */
	RAIL_TABLE_SERVICES,	 /* /48, label: record */
	RAIL_TABLE_NUMBERS,	 /* /48, number: label */
	RAIL_TABLE_COUNTERS,	 /* /48, number, node: high-water mark */

	/* The live store's. */
	RAIL_TABLE_ATTACHMENTS, /* network, container ID, interface: record */
	RAIL_TABLE_LEASES,	/* address: attachment's key */
	RAIL_TABLE_RANGES,	/* /48, number, node: what is left of a reserved range */
	RAIL_TABLE_MEMBERS,	/* address: record */

	RAIL_TABLE_COUNT,
};

enum {
	RAIL_TABLE_KEY_MAXIMUM = 511, /* LMDB's MDB_MAXKEYSIZE; keys are never empty */
	RAIL_BOOT_ID_SIZE = 37,	      /* a UUID and NUL */
	RAIL_STORE_FORMAT = 1,
};

/* Bytes somewhere, borrowed. What a table gives is valid until the transaction's next change or
 * end. */
struct rail_span {
	const void *bytes;
	size_t size;
};

/*
 * A table's functions fail where the table is of the other store, and those that change where the
 * transaction only reads.
 */

/* 1 where the key is there, 0 (and no error set) where not. */
int rail_store_get(struct rail_transaction *transaction, enum rail_store_table table,
		   struct rail_span key, struct rail_span *ret_value, struct rail_error *error);
/* Inserts or replaces. */
int rail_store_put(struct rail_transaction *transaction, enum rail_store_table table,
		   struct rail_span key, struct rail_span value, struct rail_error *error);
/* Succeeds where it is not there. */
int rail_store_delete(struct rail_transaction *transaction, enum rail_store_table table,
		      struct rail_span key, struct rail_error *error);
/* Deletes all whose key begins so. */
int rail_store_delete_prefix(struct rail_transaction *transaction, enum rail_store_table table,
			     struct rail_span prefix, struct rail_error *error);
/*
 * Calls each for all whose key begins so (an empty prefix: all), in the order of keys, until it
 * returns other than 0, which is then returned. each sets the error where it fails, and must not
 * change the store.
 */
typedef int (*rail_store_visitor)(void *context, struct rail_span key, struct rail_span value,
				  struct rail_error *error);
int rail_store_each(struct rail_transaction *transaction, enum rail_store_table table,
		    struct rail_span prefix, rail_store_visitor each, void *context,
		    struct rail_error *error);
/* Whether there is one whose key begins so: 1 or 0. */
int rail_store_any(struct rail_transaction *transaction, enum rail_store_table table,
		   struct rail_span prefix, struct rail_error *error);
/* How many records a table has. */
int rail_store_count(struct rail_transaction *transaction, enum rail_store_table table,
		     uint64_t *ret_count, struct rail_error *error);

/* The directory of the store that the transaction is in, for messages. */
const char *rail_transaction_path(const struct rail_transaction *transaction);

/* Opening with the boot's ID as the caller says, for tests of what a reboot does. */
int rail_store_open_in_boot(const char *state_directory, const char *run_directory,
			    const char *boot_id, struct rail_store **ret_store,
			    struct rail_error *error);
int rail_store_open_present_in_boot(const char *state_directory, const char *run_directory,
				    const char *boot_id, struct rail_store **ret_store,
				    struct rail_error *error);
/* rail_transaction_begin with another deadline. */
int rail_transaction_begin_within(struct rail_store *store, enum rail_store_kind kind,
				  enum rail_access access, int deadline_ms,
				  struct rail_transaction **ret_transaction,
				  struct rail_error *error);
