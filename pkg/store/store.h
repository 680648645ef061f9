#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "pkg/base/error.h"

/*
 * The two LMDB environments of a node, and transactions in them. The only module that includes
 * LMDB.
 *
 *     registry   <state directory>/registry   environments, services, numbers, high-water marks;
 *                                             synced; survives a reboot
 *     live       <run directory>/live         attachments, leases, members; gone with the boot that
 *                                             made it; not synced, so on a tmpfs
 *
 * Both hold their format's version: a newer format is refused. The live one holds the boot's ID:
 * another boot's content is emptied at open. Files are 0600, directories 0700, owned by root (by
 * the caller's effective user): where they are anyone else's, or anyone else could write to them,
 * the store is refused. A process opens a store once, and never uses one that it had before a fork.
 */

struct rail_store;
struct rail_transaction;

enum rail_store_kind {
	RAIL_REGISTRY,
	RAIL_LIVE,
};

enum rail_access {
	RAIL_READ,
	RAIL_WRITE,
};

/*
 * Makes what is missing (the directories too), checks the rest, clears stale readers. A file system
 * that is read-only is refused: LMDB would work there without a reader slot, silently. Errors: code
 * 5 for what cannot be opened or written, 7 for a newer format, 11 for a deadline. Waits for no
 * writer, but where something must be made or emptied.
 */
int rail_store_open(const char *state_directory, const char *run_directory,
		    struct rail_store **ret_store, struct rail_error *error);
/*
 * For who looks at a node: opens what is there, and makes and empties nothing. A store that was
 * never made, or holds what another boot left, stays closed: rail_store_is_there says so, and a
 * transaction in it fails with ENOENT. What is there can be written to as well.
 */
int rail_store_open_present(const char *state_directory, const char *run_directory,
			    struct rail_store **ret_store, struct rail_error *error);
bool rail_store_is_there(const struct rail_store *store, enum rail_store_kind kind);
/* The directory that it is in, or would be. */
const char *rail_store_path(const struct rail_store *store, enum rail_store_kind kind);
/* No transaction may be open. */
void rail_store_close(struct rail_store *store);
void rail_store_closep(struct rail_store **store); /* for RAIL_CLEANUP */

enum { RAIL_STORE_WRITE_DEADLINE_MS = 10000 };

/*
 * Begins a transaction. Readers never wait. A writer waits for the others of the same store, at
 * most the deadline: then ETIMEDOUT with code 11. One transaction of a kind at a time in a process
 * (EBUSY); to hold one of each is allowed in the order registry, live (else EDEADLK). Read
 * transactions must be short: a long one makes the file grow.
 */
int rail_transaction_begin(struct rail_store *store, enum rail_store_kind kind,
			   enum rail_access access, struct rail_transaction **ret_transaction,
			   struct rail_error *error);
/* Consumes the transaction, also on failure, and sets the pointer to NULL. ENOSPC where the store
 * or its file system is full: nothing is changed then. */
int rail_transaction_commit(struct rail_transaction **transaction, struct rail_error *error);
/* For RAIL_CLEANUP: gives the transaction up, if there still is one. */
void rail_transaction_abort(struct rail_transaction **transaction);
