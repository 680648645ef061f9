#pragma once

/* Two directories for a test's stores, and stores in them. */

#include <criterion/criterion.h>
#include <ftw.h>
#include <limits.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "pkg/base/cleanup.h"
#include "pkg/store/database.h"

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

/* For children, whose assertions nobody would hear. */
#define CHILD_MUST(condition)                                                                      \
	do {                                                                                       \
		if (!(condition)) {                                                                \
			fprintf(stderr, "child: %s:%d: %s\n", __FILE__, __LINE__, #condition);     \
			_exit(1);                                                                  \
		}                                                                                  \
	} while (0)

/* fork; the child does not outlive its test, however that ends. */
static inline pid_t fork_child(void)
{
	pid_t child = fork();

	cr_assert_geq(child, 0);
	if (child == 0)
		CHILD_MUST(prctl(PR_SET_PDEATHSIG, SIGKILL) == 0);
	return child;
}

static inline void wait_for_byte(int fd)
{
	char byte;

	cr_assert_eq(read(fd, &byte, 1), 1);
}

static inline void kill_child(pid_t child)
{
	cr_assert_eq(kill(child, SIGKILL), 0);
	cr_assert_eq(waitpid(child, NULL, 0), child);
}
