#pragma once

#include "pkg/base/loop.h"
#include "pkg/cluster/etcd.h"
#include "pkg/cluster/records.h"
#include "pkg/config/settings.h"
#include "pkg/store/store.h"

/*
 * The daemon that keeps a node in step with its cluster: publishes the node's members, and brings
 * the members of other nodes into the live store and to the local pods. One loop, and threads only
 * for what must wait for a pod (workers.h).
 */

struct meshd_session;
struct meshd_environments;
struct meshd_clients;
struct meshd_greeter;
struct meshd_notices;
struct meshd_workers;
struct meshd_leftovers;
struct meshd_registered;

struct meshd {
	struct rail_settings settings;
	struct rail_loop *loop;
	struct rail_store *store;
	struct rail_etcd *etcd;
	struct meshd_session *session;
	struct meshd_environments *environments;
	struct meshd_clients *clients;
	struct meshd_greeter *greeter;
	struct meshd_notices *notices;
	struct meshd_workers *workers;
	struct meshd_leftovers *leftovers;
	struct meshd_registered *registered;
	bool ends; /* nothing new is begun */

	/* The session's: who this node is. */
	uint32_t node;		   /* 0: it has not joined since this daemon started */
	int64_t lease;		   /* 0: none at the moment */
	bool connected;		   /* the last exchange with etcd went well */
	struct rail_error trouble; /* why it did not; errnum 0: there was none yet */
	int64_t revision;	   /* the highest that etcd has told */

	/* Where other nodes reach this one; without ports. */
	struct rail_endpoint underlay[RAIL_PUBLISHED_ENDPOINTS_MAXIMUM];
	size_t underlay_count;
};

struct meshd_options {
	const char *config; /* NULL: the default */
	int ready_fd;	    /* negative: none */
};

/* Runs until SIGTERM or SIGINT. */
int meshd_run(const struct meshd_options *options, struct rail_error *error);

/* Whether this node has joined, has a lease, and etcd answers. */
bool meshd_is_joined(const struct meshd *meshd);
/* Code 11: why nothing can be asked of the cluster now. */
void meshd_explain(const struct meshd *meshd, struct rail_error *ret_error);

/*
 * Looks at what came with a linearizable answer of etcd's: where the cluster was restored from an
 * older state everything is read anew. asked_at: meshd->revision when it was asked, below which no
 * answer can be (answers overtake each other); 0: only to note how far etcd is.
 */
void meshd_saw(struct meshd *meshd, const struct rail_etcd_header *header, int64_t asked_at);

/* underlay.c: finds where this node is reached; true where that has changed. */
bool meshd_find_underlay(struct meshd *meshd);
