#pragma once

#include "pkg/store/database.h"
#include "pkg/store/registry.h"

/* What the files that know records share: the keys of tables, and their errors. */

enum {
	RAIL_PREFIX_SIZE = sizeof(struct rail_prefix),
	RAIL_SUBNET_KEY_MAXIMUM = RAIL_PREFIX_SIZE + RAIL_LABEL_SIZE,
};

/* Room for a key that begins with a /48. */
struct rail_subnet_key {
	uint8_t bytes[RAIL_SUBNET_KEY_MAXIMUM];
};

struct rail_writer;

/* Spans of what is borrowed. A text's is without its NUL. */
struct rail_span rail_span_of_writer(const struct rail_writer *writer);
struct rail_span rail_span_of_text(const char *text);
struct rail_span rail_span_of_prefix(const struct rail_prefix *prefix);
struct rail_span rail_span_of_address(const struct in6_addr *address);

/* Keys; room is where their bytes are put. A label is at most RAIL_LABEL_SIZE - 1 long. */
struct rail_span rail_service_key(const struct rail_prefix *prefix, const char *label,
				  struct rail_subnet_key *room);
struct rail_span rail_number_key(const struct rail_prefix *prefix, uint16_t number,
				 struct rail_subnet_key *room);
struct rail_span rail_counter_key(const struct rail_prefix *prefix, uint16_t service, uint32_t node,
				  struct rail_subnet_key *room);

/* A text that a table holds without NUL. false where it does not fit, or holds one. */
bool rail_text_of_span(struct rail_span span, char *target, size_t target_size);

/* Code 5: a record that cannot be read. what: "an environment". */
int rail_record_damaged(const struct rail_transaction *transaction, const char *what,
			struct rail_error *error);
/* Code 999: the caller's value does not fit into its record. */
int rail_record_unwritable(const char *what, struct rail_error *error);

/* Write an environment under its name and its /48, a service under its label and its number. */
int rail_environment_put(struct rail_transaction *transaction,
			 const struct rail_environment *environment, struct rail_error *error);
int rail_service_put(struct rail_transaction *transaction, const struct rail_service *service,
		     struct rail_error *error);

/*
 * EBUSY where something lives in the /48, or in one service's /64 of it (service NULL: in any).
 * live NULL: there is no live store. what and name are the message's: "service", "api".
 */
int rail_check_uninhabited(struct rail_transaction *live, const struct rail_prefix *prefix,
			   const uint16_t *service, const char *what, const char *name,
			   struct rail_error *error);
