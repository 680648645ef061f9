#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "pkg/dns/ares.h"
#include "pkg/dns/forward.h"

/*
 * The sets of upstreams that are asked, and their c-ares channels: which channel a query goes to,
 * and how long a channel lives. A part of forward.c, which is its only user.
 */

struct rail_upstreams;
struct rail_upstream_set;

/* NULL: no memory. */
struct rail_upstreams *rail_upstreams_new(const struct rail_forwarder_hooks *hooks);
/* What is on its way is answered with -ECANCELED. */
void rail_upstreams_free(struct rail_upstreams *upstreams);

/*
 * The set of these endpoints in this order; a new one takes the place of the one whose last use is
 * the longest ago of those that nobody holds. asker: who wants it, of whom nobody can hold more
 * sets that nobody else had asked for than are left for all others. -EINVAL: an endpoint without
 * port or family, none, or more than RAIL_UPSTREAM_MAXIMUM; -EAGAIN: all are held, or that many by
 * the asker.
 */
int rail_upstreams_find(struct rail_upstreams *upstreams, const struct rail_endpoint *endpoints,
			size_t count, uint64_t asker, struct rail_upstream_set **ret_set);
/* A set stays as long as it is held as often as it was let go. */
void rail_upstream_set_hold(struct rail_upstream_set *set);
void rail_upstream_set_release(struct rail_upstream_set *set);

/*
 * Gives a query to a channel of the set. bytes begin with the ID that goes out. -EAGAIN: there is
 * none, and no room or memory for one; query is not answered then.
 */
int rail_upstreams_ask(struct rail_upstream_set *set, enum rail_ares_kind kind,
		       const uint8_t *bytes, size_t size, struct rail_ares_query *query);
void rail_upstreams_ready(struct rail_upstreams *upstreams, int fd, bool readable, bool writable);
/* Repeats and gives up what is due, in all channels. */
void rail_upstreams_process(struct rail_upstreams *upstreams);

/* When rail_upstreams_sweep is to be called, on now_ms' clock; INT64_MAX: not at all. */
int64_t rail_upstreams_sweep_due_ms(const struct rail_upstreams *upstreams);
/* Closes the channels that have not been used for a while. now_ms: CLOCK_MONOTONIC. */
void rail_upstreams_sweep(struct rail_upstreams *upstreams, int64_t now_ms);
