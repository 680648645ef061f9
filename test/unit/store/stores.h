#pragma once

/* Two directories for a test's stores, and stores in them. */

#include <criterion/criterion.h>
#include <ftw.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "pkg/base/cleanup.h"
#include "pkg/store/database.h"
#include "test/unit/children.h"

#define BOOT "11111111-2222-3333-4444-555555555555"
#define ANOTHER_BOOT "66666666-7777-8888-9999-aaaaaaaaaaaa"

static char root_directory[] = "/tmp/rail-store-test-XXXXXX";
static char state_directory[PATH_MAX];
static char run_directory[PATH_MAX];

static inline int remove_one(const char *path, const struct stat *status, int type,
			     struct FTW *walk)
{
	(void)status;
	(void)type;
	(void)walk;
	return remove(path);
}

static inline void remove_tree(const char *path)
{
	(void)nftw(path, remove_one, 16, FTW_DEPTH | FTW_PHYS);
}

static inline void make_directories(void)
{
	cr_assert_not_null(mkdtemp(root_directory));
	(void)snprintf(state_directory, sizeof(state_directory), "%s/state", root_directory);
	(void)snprintf(run_directory, sizeof(run_directory), "%s/run", root_directory);
}

static inline void remove_directories(void)
{
	remove_tree(root_directory);
}

static inline struct rail_store *open_in_boot(const char *boot_id)
{
	struct rail_error error = RAIL_ERROR_NONE;
	struct rail_store *store = NULL;

	cr_assert_eq(
		rail_store_open_in_boot(state_directory, run_directory, boot_id, &store, &error), 0,
		"%s", error.message);
	return store;
}

static inline struct rail_store *open_stores(void)
{
	return open_in_boot(BOOT);
}

static inline struct rail_transaction *begin(struct rail_store *store, enum rail_store_kind kind,
					     enum rail_access access)
{
	struct rail_error error = RAIL_ERROR_NONE;
	struct rail_transaction *transaction = NULL;

	cr_assert_eq(rail_transaction_begin(store, kind, access, &transaction, &error), 0, "%s",
		     error.message);
	return transaction;
}

static inline void commit(struct rail_transaction **transaction)
{
	struct rail_error error = RAIL_ERROR_NONE;

	cr_assert_eq(rail_transaction_commit(transaction, &error), 0, "%s", error.message);
	cr_assert_null(*transaction);
}

static inline struct rail_span span(const char *text)
{
	return (struct rail_span){text, strlen(text)};
}
