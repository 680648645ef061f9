#pragma once

#include "cmd/railwayctl/ctl.h"

/* What needs attention on a node: a list, each entry with what to do. */

enum attention_kind {
	ATTENTION_STORES,
	ATTENTION_TRANSPORT,
	ATTENTION_RESOLVER,
	ATTENTION_MESHD,
	ATTENTION_ENVIRONMENT, /* the cluster has it otherwise */
	ATTENTION_DEAD,
	ATTENTION_PENDING, /* a plugin died at it */
	ATTENTION_GONE,	   /* its netns went, and nobody noticed yet */
	ATTENTION_CARRIER, /* what carried its packets is gone */
	ATTENTION_NAMES,   /* the resolver does not serve it */
	ATTENTION_UNPUBLISHED,
	ATTENTION_KINDS,
};

/* How long status waits for the resolver: for an answer, and for those of all pods. */
enum { RESOLVER_LIMIT_MS = 2000, RESOLVER_ALL_MS = 5000 };

/* So many of a kind are listed one by one; the rest is counted in a row. */
enum { ATTENTION_LISTED_MAXIMUM = 10 };

struct attention {
	struct table table;
	size_t counts[ATTENTION_KINDS];
};

void attention_init(struct attention *attention);
void attention_done(struct attention *attention); /* for RAIL_CLEANUP */

/* subject: what it is about; NULL: the node. problem: what is wrong with it. */
void attention_add(struct attention *attention, enum attention_kind kind, const char *subject,
		   const char *problem);
/* All attachments and members of the snapshot, without waiting for any. */
int attention_judge(struct attention *attention, struct ctl *ctl, const struct snapshot *snapshot,
		    struct rail_error *error);
/* Asks the resolver, which answers, for each pod that should be registered with it; gives up after
 * RESOLVER_ALL_MS. */
void attention_judge_names(struct attention *attention, struct ctl *ctl,
			   const struct snapshot *snapshot);
/* The rows that count what was not listed. */
void attention_close(struct attention *attention);
