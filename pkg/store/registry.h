#pragma once

#include "pkg/identity/identity.h"
#include "pkg/ipam/address.h"
#include "pkg/store/store.h"

/*
 * The registry's records: environments, services and what was given out. All functions take a
 * transaction of the registry; those that change need a writing one. "Not there" is -ENOENT with an
 * error set.
 */

struct rail_environment {
	char name[RAIL_ENVIRONMENT_NAME_SIZE];
	struct rail_prefix prefix;
	bool enabled;
};

struct rail_service {
	struct rail_prefix prefix; /* of its environment */
	uint16_t number; /* belongs to the record, not to the name: a service can be renamed */
	char label[RAIL_LABEL_SIZE];
	char original[RAIL_ORIGINAL_NAME_SIZE];
};

int rail_environment_get(struct rail_transaction *transaction, const char *name,
			 struct rail_environment *ret_environment, struct rail_error *error);
int rail_environment_by_prefix(struct rail_transaction *transaction,
			       const struct rail_prefix *prefix,
			       struct rail_environment *ret_environment, struct rail_error *error);
/* The one of that name, made with a random /48 of the pool that no other has where it is not there
 * yet. Code 101 where the pool is full. */
int rail_environment_ensure(struct rail_transaction *transaction, const char *name,
			    const struct rail_pool *pool, struct rail_environment *ret_environment,
			    struct rail_error *error);
int rail_environment_set_enabled(struct rail_transaction *transaction, const char *name,
				 bool enabled, struct rail_error *error);
/* With its services and counters. live: a transaction of the live store (NULL: there is none, and
 * nothing lives); EBUSY where a lease, a member or an attachment of it lives. */
int rail_environment_remove(struct rail_transaction *transaction, struct rail_transaction *live,
			    const char *name, struct rail_error *error);
/* Calls each for every environment, in the order of names, until it returns other than 0, which is
 * then returned. */
int rail_environment_each(struct rail_transaction *transaction,
			  int (*each)(void *context, const struct rail_environment *environment),
			  void *context, struct rail_error *error);

int rail_service_get(struct rail_transaction *transaction, const struct rail_prefix *prefix,
		     const char *label, struct rail_service *ret_service, struct rail_error *error);
int rail_service_by_number(struct rail_transaction *transaction, const struct rail_prefix *prefix,
			   uint16_t number, struct rail_service *ret_service,
			   struct rail_error *error);
/*
 * The one of that label, made with a free number where it is not there yet. Another original name
 * behind the same label is refused (EEXIST, code 7, naming both). Code 101 where all 65,535 numbers
 * are taken.
 */
int rail_service_ensure(struct rail_transaction *transaction, const struct rail_prefix *prefix,
			const char *label, const char *original, struct rail_service *ret_service,
			struct rail_error *error);
/* Its number, and so its addresses, stay. EEXIST where the new label is taken. */
int rail_service_rename(struct rail_transaction *transaction, const struct rail_prefix *prefix,
			const char *label, const char *new_label, const char *new_original,
			struct rail_error *error);
/* EBUSY where a lease, a member or an attachment of it lives (live: as above). Its counters stay:
 * its number's addresses are never given out again. */
int rail_service_remove(struct rail_transaction *transaction, struct rail_transaction *live,
			const struct rail_prefix *prefix, const char *label,
			struct rail_error *error);
int rail_service_each(struct rail_transaction *transaction, const struct rail_prefix *prefix,
		      int (*each)(void *context, const struct rail_service *service), void *context,
		      struct rail_error *error);

/* This node's number; RAIL_NODE_LONE until it has been given another. RAIL_NODE_REQUESTED is no
 * node's. */
int rail_node_number_get(struct rail_transaction *transaction, uint32_t *ret_node,
			 struct rail_error *error);
int rail_node_number_set(struct rail_transaction *transaction, uint32_t node,
			 struct rail_error *error);

/* How far a service's counter on a node may go without asking the registry again. */
struct rail_counter_range {
	uint32_t next; /* the next to give out */
	uint32_t end;  /* the first that may not be given out */
};

enum { RAIL_COUNTER_STEP = 65536 };

/* Raises the high-water mark by RAIL_COUNTER_STEP and returns the range in between. Counters start
 * at 1. Code 101 at the end of the 32 bits. */
int rail_counter_reserve(struct rail_transaction *transaction, const struct rail_prefix *prefix,
			 uint16_t service, uint32_t node, struct rail_counter_range *ret_range,
			 struct rail_error *error);
