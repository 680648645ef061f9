#pragma once

#include "pkg/mesh/wiring.h"
#include "pkg/store/cluster.h"
#include "plugins/railway-mesh/meshd/environments.h"

/* One environment; shared by sync.c (reading etcd), entries.c (what is known), apply.c (into the
 * store), wire.c (to the pods) and publish.c (into etcd). */

/* The loop has others to serve. */
enum { ENVIRONMENT_STORE_PATIENCE_MS = 200 };

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
	bool seen;    /* in the reading that goes on */
	bool dirty;   /* not yet in store and pods as it is here */
	bool is_new;  /* the pods do not have it as a peer */
	bool covered; /* a local pod has its address, and stays */
};

struct service_entry {
	struct rail_service service;
	bool seen;
};

/* A requested address, as etcd has it. */
struct claim {
	struct in6_addr address;
	int64_t mod_revision;
	int64_t lease;
	bool ours;
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

	/* Of the pods here: whoever else has one of these is not let in. */
	struct rail_key *local_keys;
	size_t local_key_count;
	struct entry *entries; /* by address */
	size_t count;
	size_t capacity;
	struct in6_addr *gone; /* to be taken out of store and pods */
	size_t gone_count;
	struct service_entry *services;
	size_t service_count;
	bool services_dirty;	 /* not yet compared with the registry */
	bool services_unwritten; /* what that showed; the members do not wait for it */
	int64_t services_not_before_ms;
	bool services_untold; /* to the resolver */
	uint16_t *disputed;   /* services' numbers that are another service's in the cluster */
	size_t disputed_count;
	bool disputes_told;
	struct claim *claims;
	size_t claim_count;

	struct rail_timer *apply_timer;
	int64_t apply_retry_ms;
	bool needs_repair; /* the pods' peers are not known to be right */
	bool was_applied;
	struct rail_timer *repair_timer; /* for endpoints that were too fresh to be rewritten */
	struct wiring *wiring;		 /* of the pods, under way; NULL: none */
	/* Pods whose WireGuard does not answer: asked again by themselves, now and then. */
	struct rail_attachment_key *silent;
	size_t silent_count;
	bool ask_silent;
	struct rail_timer *silent_timer;
	int64_t silent_retry_ms;

	struct rail_etcd_call *publication;
	struct entry_change *changes; /* of the publication */
	size_t change_count;
	struct rail_etcd_call *service_publication;
};

/* entries.c */
struct entry *environment_find(const struct environment *environment,
			       const struct in6_addr *address);
/* NULL where memory ran out. */
struct entry *environment_insert(struct environment *environment, const struct in6_addr *address);
void environment_drop(struct environment *environment, struct entry *entry);
/* Takes in one record of etcd's, or its deletion. */
void environment_take(struct environment *environment, const struct rail_etcd_record *record);
/* The local members may have changed. */
void environment_note_local(struct environment *environment);
void environment_begin_reading(struct environment *environment);
/* Everything was read: what was not seen is gone, unless nothing may be taken away yet. */
void environment_end_reading(struct environment *environment, bool may_remove);
/* What the live store holds of an earlier daemon's work. */
int environment_load(struct environment *environment, struct rail_error *error);
void environment_complain(struct environment *environment, const char *key, const char *why);

/* claims.c */
struct claim *environment_find_claim(const struct environment *environment,
				     const struct in6_addr *address);
/* Inserts or replaces; of others no more than a number. */
void environment_put_claim(struct environment *environment, const struct claim *claim);
void environment_drop_claim(struct environment *environment, struct claim *claim);
void environment_take_claim(struct environment *environment, const struct rail_etcd_record *record,
			    const struct in6_addr *address);
/* Whether etcd has one of this node's. */
bool environment_has_claims(const struct environment *environment);
/* What this node claims with, for free(); NULL where memory ran out. */
char *meshd_claim_value(const struct meshd *meshd);

/* sync.c */
void environment_start(struct environment *environment);
void environment_stop(struct environment *environment);
void environment_resync(struct environment *environment);

/* apply.c */
void environment_apply(struct environment *environment);
void environment_apply_timer(void *context);
void environment_repair_timer(void *context);
void environment_silent_timer(void *context);
/* Local pods have gone: whoever had the address of one comes to his own. */
void environment_uncover(struct environment *environment);
/* What is known is in the store, and every pod that answers has it. */
bool environment_is_clean(const struct environment *environment);
/* A wiring is through; all: what failed of it, but for pods that do not answer. */
void environment_wired(struct environment *environment, const struct rail_error *all);

/* services.c: what etcd says of services, into the registry. Fails where that cannot be read; one
 * that cannot be written is told in the log, and tried again: members go on meanwhile. */
int environment_write_services(struct environment *environment, struct rail_error *error);
/* Whether there is something to be compared, or tried again. */
bool environment_services_due(const struct environment *environment);
/* Whether an address is of a service that this node knows otherwise than the cluster. */
bool environment_is_disputed(const struct environment *environment, const struct in6_addr *address);
/* Brings to etcd what it lacks: of before this node joined, or of before etcd was restored. */
void environment_publish_service(struct environment *environment);

/* wire.c */
bool environment_is_silent(const struct environment *environment,
			   const struct rail_attachment_key *key);

/* publish.c */
void environment_publish(struct environment *environment);
/* Forgets what is being published. */
void environment_free_changes(struct environment *environment);
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
/* The last local member of one may have been withdrawn: then it is left. */
void meshd_environments_look_soon(struct meshd_environments *environments);
bool meshd_environments_may_remove(const struct meshd_environments *environments);
