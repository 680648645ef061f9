#pragma once

#include "pkg/base/loop.h"
#include "pkg/store/registry.h"
#include "plugins/railway-dns/resolverd/metrics.h"

/*
 * The metrics in Prometheus' text format, over HTTP: at a Unix socket (0600) or a port of
 * 127.0.0.1. Whoever asks is given one answer and hung up on.
 */

struct rail_exposition;

/* What the supervisor knows itself; all of it borrowed. */
struct rail_exposition_facts {
	const struct rail_metrics *metrics;
	struct rail_store *store; /* for the environments' names */
	size_t (*registered)(void *context);
	size_t (*set_aside)(void *context);
	uint64_t (*worker_starts)(void *context);
	/* Whether a pod of that environment is here: others are not shown. */
	bool (*has_environment)(void *context, const struct rail_prefix *prefix);
	void *context;
};

/* where: an absolute path, or a port's number. A socket that is there already is replaced. */
int rail_exposition_open(struct rail_loop *loop, const char *where,
			 const struct rail_exposition_facts *facts,
			 struct rail_exposition **ret_exposition, struct rail_error *error);
void rail_exposition_close(struct rail_exposition *exposition); /* NULL-safe */
