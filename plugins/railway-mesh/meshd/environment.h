#pragma once

#include "pkg/mesh/wiring.h"
#include "pkg/store/cluster.h"
#include "plugins/railway-mesh/meshd/environments.h"

/* One environment; shared by sync.c (reading etcd), entries.c (what is known), apply.c (into store
 * and pods) and publish.c (into etcd). */

enum environment_state {
	ENVIRONMENT_IDLE,     /* this node has not joined */
	ENVIRONMENT_ENSURING, /* its own record is written or confirmed */
	ENVIRONMENT_READING,
	ENVIRONMENT_WATCHING,
	ENVIRONMENT_WAITING, /* to try again */
	ENVIRONMENT_REFUSED, /* etcd has it under another /48 */
};

/* A member as etcd has it. */
struct entry {
	struct in6_addr address;
	struct rail_published published; /* where valid */
	int64_t create_revision;	 /* 0: known from the live store only */
	int64_t mod_revision;
	int64_t lease;
	bool valid;
	bool ours;
	bool seen;   /* in the reading that goes on */
	bool dirty;  /* not yet in store and pods as it is here */
	bool is_new; /* the pods do not have it as a peer */
};

struct service_entry {
	struct rail_service service;
	bool seen;
};

struct environment {
	struct environment *next;
	struct meshd *meshd;
	struct rail_prefix prefix;
	char name[RAIL_ENVIRONMENT_NAME_SIZE];

	enum environment_state state;
	struct rail_etcd_call *call; /* of reading */
	struct rail_etcd_watch *watch;
	struct rail_timer *timer; /* of trying again */
	int64_t retry_ms;
	int64_t revision; /* up to which everything is known */
	bool synced;	  /* was read whole */

	/* A reading under way. */
	int64_t read_revision;
	int64_t asked_at; /* meshd_saw */
	int64_t read_limit;
	char *read_after;

	struct entry *entries; /* by address */
	size_t count;
	size_t capacity;
	struct in6_addr *gone; /* to be taken out of store and pods */
	size_t gone_count;
	struct service_entry *services;
	size_t service_count;
	bool services_dirty;
	struct in6_addr *claims; /* this node's, in etcd */
	size_t claim_count;

	struct rail_timer *apply_timer;
	int64_t apply_retry_ms;
	bool needs_repair; /* the pods' peers are not known to be right */
	bool was_applied;
	struct rail_timer *repair_timer; /* for endpoints that were too fresh to be rewritten */

	struct rail_etcd_call *publication;
	struct entry_change *changes; /* of the publication */
	size_t change_count;
	struct rail_etcd_call *service_publication;
};

/* entries.c */
struct entry *environment_find(const struct environment *environment,
			       const struct in6_addr *address);
/* NULL where memory ran out or there are too many. */
struct entry *environment_insert(struct environment *environment, const struct in6_addr *address);
void environment_drop(struct environment *environment, struct entry *entry);
/* Takes in one record of etcd's, or its deletion. */
void environment_take(struct environment *environment, const struct rail_etcd_record *record);
void environment_begin_reading(struct environment *environment);
/* Everything was read: what was not seen is gone, unless nothing may be taken away yet. */
void environment_end_reading(struct environment *environment, bool may_remove);
/* What the live store holds of an earlier daemon's work. */
int environment_load(struct environment *environment, struct rail_error *error);
void environment_complain(struct environment *environment, const char *key, const char *why);

/* sync.c */
void environment_start(struct environment *environment);
void environment_stop(struct environment *environment);
void environment_resync(struct environment *environment);

/* apply.c */
void environment_apply(struct environment *environment);
void environment_apply_timer(void *context);
void environment_repair_timer(void *context);
bool environment_is_clean(const struct environment *environment);

/* publish.c */
void environment_publish(struct environment *environment);
/* What this node says of a local member. */
void environment_describe(const struct meshd *meshd, const struct rail_member *member,
			  struct rail_published *ret_published);
bool environment_says(const struct entry *entry, const struct rail_published *published,
		      int64_t lease);
/* For free(). */
int environment_local_members(struct meshd *meshd, const struct rail_prefix *prefix,
			      struct rail_member **ret_members, size_t *ret_count,
			      struct rail_error *error);

/* environments.c */
bool meshd_environments_may_remove(const struct meshd_environments *environments);
