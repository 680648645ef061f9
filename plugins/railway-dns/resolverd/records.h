#pragma once

#include "pkg/store/live.h"

/* What the supervisor reads in the stores, and the one thing that it writes. Each function is one
 * short transaction of each store that it looks into. */

/* Of an attachment, what the resolver needs. */
struct rail_pod_record {
	struct rail_attachment_key key;
	struct rail_prefix prefix;
	struct in6_addr address;
	char environment[RAIL_ENVIRONMENT_NAME_SIZE];
	char service[RAIL_LABEL_SIZE];
	char replica[RAIL_LABEL_SIZE];
	char netns_path[RAIL_NETNS_PATH_SIZE];
	struct rail_netns_id netns;
	struct rail_resolver_settings resolver;
};

/* Fails with code 3 where the attachment is not there, dead, or without RAIL_PART_NAME. */
int rail_pod_record_read(struct rail_store *store, const struct rail_attachment_key *key,
			 struct rail_pod_record *ret_record, struct rail_error *error);
/* Of every attachment that has RAIL_PART_NAME and is not dead; for free(). */
int rail_pod_records_read(struct rail_store *store, struct rail_pod_record **ret_records,
			  size_t *ret_count, struct rail_error *error);

/* Fails with code 7 where the environment is disabled or unknown. */
int rail_environment_check_enabled(struct rail_store *store, const struct rail_prefix *prefix,
				   struct rail_error *error);

/* The names of an environment: every service, and every member that is named. */
struct rail_service_name {
	uint16_t number;
	char label[RAIL_LABEL_SIZE];
};

struct rail_replica_name {
	char service[RAIL_LABEL_SIZE];
	char replica[RAIL_LABEL_SIZE];
	struct in6_addr address;
};

struct rail_environment_names {
	struct rail_prefix prefix;
	struct rail_service_name *services;
	size_t service_count;
	struct rail_replica_name *replicas;
	size_t replica_count;
};

int rail_environment_names_read(struct rail_store *store, const struct rail_prefix *prefix,
				struct rail_environment_names *ret_names, struct rail_error *error);
void rail_environment_names_done(struct rail_environment_names *names);

/*
 * Marks an attachment dead and takes its member's name away, where it is still the one of this
 * record (the same netns and address); else leaves it. All records in one transaction. Hardly waits
 * for other writers: -ETIMEDOUT, and the caller tries again.
 */
int rail_pod_records_mark_dead(struct rail_store *store,
			       const struct rail_pod_record *const *records, size_t count,
			       struct rail_error *error);
