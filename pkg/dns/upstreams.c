#include "pkg/dns/upstreams.h"

#include <errno.h>
#include <netinet/in.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>

#include "pkg/base/cleanup.h"
#include "pkg/base/file.h"

enum {
	SET_MAXIMUM = 64,
	CHANNEL_MAXIMUM = 256,	  /* of all sets; one takes 75 KB */
	SET_CHANNELS_IN_TURN = 8, /* a query over UDP goes to one of these */
	SET_CHANNEL_MAXIMUM = 16, /* of a kind, with those that only wait for their answers */
	CHANNEL_QUERIES = 64,	  /* with one source port */
	CHANNEL_IDLE_MS = 10000,  /* then its memory is given back */
	CHANNEL_BUDGET_MS = RAIL_FORWARD_DEADLINE_MS - 200,
	/* Where TCP leads nowhere there is the truncated answer, and a client that waits for it;
	 * but each upstream may have to ask others first. */
	CHANNEL_BUDGET_TCP_MS = 1500,
	UPSTREAM_SHARE_TCP_MS = 750,
	/* One that has left so many queries in a row, over so long, to others is asked last. */
	MISSES = 3,
	MISSES_MS = 2000,
	SILENT_MS = 30000,
};

typedef uint8_t upstream_order[RAIL_UPSTREAM_MAXIMUM];

struct slot {
	struct rail_upstream_set *set;
	struct rail_ares *channel;
	upstream_order order; /* in which it asks them */
	int64_t used_ms;
};

/* How an upstream of a set has answered lately. */
struct hearing {
	int64_t heard_ms;
	unsigned int misses;   /* since then */
	int64_t missed_ms;     /* the first of them */
	int64_t silent_end_ms; /* until then it is asked after the others */
};

struct rail_upstream_set {
	struct rail_upstreams *upstreams;
	uint64_t asker; /* for whom it was made */
	struct rail_endpoint endpoints[RAIL_UPSTREAM_MAXIMUM];
	size_t endpoint_count; /* 0: an unused set */
	struct hearing hearing[RAIL_UPSTREAM_MAXIMUM];
	struct slot slots[RAIL_ARES_KIND_COUNT][SET_CHANNEL_MAXIMUM];
	size_t turn[RAIL_ARES_KIND_COUNT];
	size_t holders;
	size_t channel_count;
	size_t socket_count;
	uint64_t last_use;
};

struct rail_upstreams {
	struct rail_forwarder_hooks hooks;
	struct rail_upstream_set sets[SET_MAXIMUM];
	uint64_t uses;
	size_t channel_count;
	int64_t sweep_ms;
	struct rail_ares **sockets; /* by descriptor */
	size_t socket_capacity;
	size_t socket_count;
};

/*
 * How much of a limited resource one set, or one asker, may have: as much as is left for all
 * others. So n of them that want all of it get an n+1-th each, and who comes next finds as much.
 */
static bool is_fair(size_t own, size_t all, size_t maximum)
{
	return all < maximum && own < maximum - all;
}

static bool admit_socket(void *context, int fd)
{
	const struct rail_upstream_set *set = ((const struct slot *)context)->set;
	struct rail_upstreams *upstreams = set->upstreams;
	struct rail_ares **sockets;
	size_t capacity;

	if (fd < 0 ||
	    !is_fair(set->socket_count, upstreams->socket_count, RAIL_FORWARD_SOCKET_MAXIMUM))
		return false;
	if ((size_t)fd < upstreams->socket_capacity)
		return true;
	capacity = ((size_t)fd + 1) * 2;
	sockets = reallocarray(upstreams->sockets, capacity, sizeof(struct rail_ares *));
	if (sockets == NULL)
		return false;
	memset(sockets + upstreams->socket_capacity, 0,
	       (capacity - upstreams->socket_capacity) * sizeof(struct rail_ares *));
	upstreams->sockets = sockets;
	upstreams->socket_capacity = capacity;
	return true;
}

static void watch_socket(void *context, struct rail_ares *channel, int fd, bool readable,
			 bool writable)
{
	struct rail_upstream_set *set = ((const struct slot *)context)->set;
	struct rail_upstreams *upstreams = set->upstreams;
	struct rail_ares **owner = &upstreams->sockets[fd];

	if (*owner == NULL) {
		upstreams->socket_count++;
		set->socket_count++;
	}
	*owner = channel;
	if (!readable && !writable) {
		*owner = NULL;
		upstreams->socket_count--;
		set->socket_count--;
	}
	upstreams->hooks.watch(upstreams->hooks.context, fd, readable, writable);
}

/* A query was waiting for it in vain, and another upstream has answered. */
static void miss(struct hearing *hearing, int64_t now)
{
	if (hearing->misses++ == 0)
		hearing->missed_ms = now;
	if (hearing->misses >= MISSES && now - hearing->missed_ms >= MISSES_MS)
		hearing->silent_end_ms = now + SILENT_MS;
}

/*
 * An upstream that answers nobody is asked last for a while, or every question would wait for it
 * first. Not so one that has answered others meanwhile, or that was missed once: who comes first
 * may know more than who comes second.
 */
static void hear(void *context, const struct rail_ares_query *query, size_t upstream)
{
	const struct slot *slot = context;
	struct rail_upstream_set *set = slot->set;
	int64_t now = rail_monotonic_ms();

	set->hearing[slot->order[upstream]] = (struct hearing){.heard_ms = now};
	for (size_t i = 0; i < upstream; i++) {
		struct hearing *hearing = &set->hearing[slot->order[i]];

		if (hearing->heard_ms < query->sent_ms)
			miss(hearing, now);
	}
}

static void make_order(const struct rail_upstream_set *set, upstream_order ret_order)
{
	int64_t now = rail_monotonic_ms();
	size_t count = 0;

	for (int silent = 0; silent <= 1; silent++)
		for (size_t i = 0; i < set->endpoint_count; i++)
			if ((set->hearing[i].silent_end_ms > now) == (silent == 1))
				ret_order[count++] = (uint8_t)i;
}

static void close_slot(struct rail_upstream_set *set, struct slot *slot)
{
	if (slot->channel == NULL)
		return;
	rail_ares_free(RAIL_TAKE_POINTER(slot->channel));
	set->channel_count--;
	set->upstreams->channel_count--;
}

static void close_set(struct rail_upstream_set *set)
{
	for (size_t kind = 0; kind < RAIL_ARES_KIND_COUNT; kind++)
		for (size_t i = 0; i < SET_CHANNEL_MAXIMUM; i++)
			close_slot(set, &set->slots[kind][i]);
	*set = (struct rail_upstream_set){.upstreams = set->upstreams};
}

typedef void (*slot_visitor)(struct rail_upstream_set *set, struct slot *slot, int64_t now);

static void visit_slots(struct rail_upstreams *upstreams, slot_visitor visit, int64_t now)
{
	for (size_t i = 0; i < SET_MAXIMUM; i++)
		for (size_t kind = 0; kind < RAIL_ARES_KIND_COUNT; kind++)
			for (size_t j = 0; j < SET_CHANNEL_MAXIMUM; j++)
				if (upstreams->sets[i].slots[kind][j].channel != NULL)
					visit(&upstreams->sets[i],
					      &upstreams->sets[i].slots[kind][j], now);
}

static void close_where_idle(struct rail_upstream_set *set, struct slot *slot, int64_t now)
{
	(void)now;
	if (rail_ares_in_flight(slot->channel) == 0)
		close_slot(set, slot);
}

static void close_where_unused(struct rail_upstream_set *set, struct slot *slot, int64_t now)
{
	if (now - slot->used_ms >= CHANNEL_IDLE_MS)
		close_where_idle(set, slot, now);
}

static void process_where_busy(struct rail_upstream_set *set, struct slot *slot, int64_t now)
{
	(void)set;
	(void)now;
	if (rail_ares_in_flight(slot->channel) > 0)
		rail_ares_process(slot->channel, -1, -1);
}

struct rail_upstreams *rail_upstreams_new(const struct rail_forwarder_hooks *hooks)
{
	struct rail_upstreams *upstreams = calloc(1, sizeof(*upstreams));

	if (upstreams == NULL)
		return NULL;
	upstreams->hooks = *hooks;
	for (size_t i = 0; i < SET_MAXIMUM; i++)
		upstreams->sets[i].upstreams = upstreams;
	return upstreams;
}

void rail_upstreams_free(struct rail_upstreams *upstreams)
{
	if (upstreams == NULL)
		return;
	for (size_t i = 0; i < SET_MAXIMUM; i++)
		close_set(&upstreams->sets[i]);
	free(upstreams->sockets);
	free(upstreams);
}

/* Member by member, so that the same endpoints have the same bytes. */
static int copy_endpoints(struct rail_endpoint target[RAIL_UPSTREAM_MAXIMUM],
			  const struct rail_endpoint *endpoints, size_t count)
{
	if (count == 0 || count > RAIL_UPSTREAM_MAXIMUM)
		return -EINVAL;
	memset(target, 0, RAIL_UPSTREAM_MAXIMUM * sizeof(*target));
	for (size_t i = 0; i < count; i++) {
		target[i].family = endpoints[i].family;
		target[i].port = endpoints[i].port;
		if (endpoints[i].port == 0)
			return -EINVAL;
		if (endpoints[i].family == AF_INET)
			target[i].address.v4 = endpoints[i].address.v4;
		else if (endpoints[i].family == AF_INET6)
			target[i].address.v6 = endpoints[i].address.v6;
		else
			return -EINVAL;
	}
	return 0;
}

int rail_upstreams_find(struct rail_upstreams *upstreams, const struct rail_endpoint *endpoints,
			size_t count, uint64_t asker, struct rail_upstream_set **ret_set)
{
	struct rail_endpoint wanted[RAIL_UPSTREAM_MAXIMUM];
	struct rail_upstream_set *best = NULL;
	size_t held = 0;
	size_t held_for_asker = 0;

	if (copy_endpoints(wanted, endpoints, count) < 0)
		return -EINVAL;
	for (size_t i = 0; i < SET_MAXIMUM; i++) {
		struct rail_upstream_set *set = &upstreams->sets[i];

		if (set->endpoint_count == count &&
		    memcmp(set->endpoints, wanted, sizeof(wanted)) == 0) {
			set->last_use = ++upstreams->uses;
			*ret_set = set;
			return 0;
		}
		if (set->holders != 0) {
			held++;
			held_for_asker += set->asker == asker ? 1 : 0;
		}
		/* An unused set has never been used: its last use is the longest ago. */
		if (set->holders == 0 && (best == NULL || set->last_use < best->last_use))
			best = set;
	}
	if (best == NULL || !is_fair(held_for_asker, held, SET_MAXIMUM))
		return -EAGAIN;
	close_set(best);
	best->asker = asker;
	memcpy(best->endpoints, wanted, sizeof(wanted));
	best->endpoint_count = count;
	best->last_use = ++upstreams->uses;
	*ret_set = best;
	return 0;
}

void rail_upstream_set_hold(struct rail_upstream_set *set)
{
	set->holders++;
}

void rail_upstream_set_release(struct rail_upstream_set *set)
{
	set->holders--;
}

static int budget_ms(const struct rail_upstream_set *set, enum rail_ares_kind kind)
{
	int shares = (int)set->endpoint_count * UPSTREAM_SHARE_TCP_MS;

	if (kind != RAIL_ARES_TCP)
		return CHANNEL_BUDGET_MS;
	if (shares > CHANNEL_BUDGET_MS)
		return CHANNEL_BUDGET_MS;
	return shares > CHANNEL_BUDGET_TCP_MS ? shares : CHANNEL_BUDGET_TCP_MS;
}

static bool open_slot(struct rail_upstream_set *set, enum rail_ares_kind kind, struct slot *slot)
{
	struct rail_upstreams *upstreams = set->upstreams;
	const struct rail_ares_hooks hooks = {
		.admit = admit_socket,
		.watch = watch_socket,
		.heard = hear,
		.context = slot,
	};
	struct rail_endpoint endpoints[RAIL_UPSTREAM_MAXIMUM];

	if (!is_fair(set->channel_count, upstreams->channel_count, CHANNEL_MAXIMUM))
		visit_slots(upstreams, close_where_idle, 0);
	if (!is_fair(set->channel_count, upstreams->channel_count, CHANNEL_MAXIMUM))
		return false;
	slot->set = set;
	make_order(set, slot->order);
	for (size_t i = 0; i < set->endpoint_count; i++)
		endpoints[i] = set->endpoints[slot->order[i]];
	slot->channel =
		rail_ares_new(kind, endpoints, set->endpoint_count, budget_ms(set, kind), &hooks);
	if (slot->channel == NULL)
		return false;
	set->channel_count++;
	if (upstreams->channel_count++ == 0)
		upstreams->sweep_ms = rail_monotonic_ms() + CHANNEL_IDLE_MS;
	return true;
}

/* Busy, asks in this order, and may have more queries with its source port. */
static bool is_in_turn(const struct slot *slot, const upstream_order order)
{
	return slot->channel != NULL && rail_ares_in_flight(slot->channel) > 0 &&
	       rail_ares_sent(slot->channel) < CHANNEL_QUERIES &&
	       memcmp(slot->order, order, sizeof(slot->order)) == 0;
}

/* Whether it would be of use when it is idle: a channel keeps its upstreams and their order. */
static bool is_stale(const struct slot *slot, const upstream_order order)
{
	return memcmp(slot->order, order, sizeof(slot->order)) != 0 ||
	       rail_ares_is_spoilt(slot->channel);
}

/* The next one that is in turn or, where there is none, the next one. */
static struct slot *next_in_turn(struct rail_upstream_set *set, enum rail_ares_kind kind,
				 const upstream_order order, bool any_in_turn)
{
	for (size_t step = 1; step <= SET_CHANNEL_MAXIMUM; step++) {
		size_t i = (set->turn[kind] + step) % SET_CHANNEL_MAXIMUM;
		struct slot *slot = &set->slots[kind][i];

		if (slot->channel == NULL || (any_in_turn && !is_in_turn(slot, order)))
			continue;
		set->turn[kind] = i;
		return slot;
	}
	return NULL;
}

/*
 * An idle channel is the best one, for its next query has a source port of its own. But only so
 * many take turns at a time: one that has had its share gets no more until it was idle, and the
 * others are there for when all of these have. Over TCP as few as possible share one, for a server
 * may close the connection after any answer.
 */
static struct slot *pick_slot(struct rail_upstream_set *set, enum rail_ares_kind kind)
{
	size_t wanted = kind == RAIL_ARES_TCP ? SET_CHANNEL_MAXIMUM : SET_CHANNELS_IN_TURN;
	struct slot *slots = set->slots[kind];
	struct slot *idle = NULL;
	struct slot *empty = NULL;
	upstream_order order = {0};
	size_t in_turn = 0;

	make_order(set, order);
	for (size_t i = 0; i < SET_CHANNEL_MAXIMUM; i++) {
		struct slot *slot = &slots[i];

		if (is_in_turn(slot, order))
			in_turn++;
		else if (slot->channel == NULL)
			empty = empty == NULL ? slot : empty;
		else if (rail_ares_in_flight(slot->channel) == 0)
			idle = idle == NULL ? slot : idle;
	}
	if (idle != NULL && is_stale(idle, order)) {
		close_slot(set, idle);
		empty = idle;
		idle = NULL;
	}
	if (in_turn < wanted && idle == NULL && empty != NULL && open_slot(set, kind, empty))
		idle = empty;
	if (in_turn < wanted && idle != NULL) {
		set->turn[kind] = (size_t)(idle - slots);
		return idle;
	}
	return next_in_turn(set, kind, order, in_turn > 0);
}

int rail_upstreams_ask(struct rail_upstream_set *set, enum rail_ares_kind kind,
		       const uint8_t *bytes, size_t size, struct rail_ares_query *query)
{
	struct slot *slot = pick_slot(set, kind);

	if (slot == NULL)
		return -EAGAIN;
	slot->used_ms = rail_monotonic_ms();
	rail_ares_send(slot->channel, bytes, size, query);
	return 0;
}

void rail_upstreams_ready(struct rail_upstreams *upstreams, int fd, bool readable, bool writable)
{
	const struct rail_forwarder_hooks *hooks = &upstreams->hooks;
	struct rail_ares *channel;

	if (fd < 0 || (size_t)fd >= upstreams->socket_capacity || upstreams->sockets[fd] == NULL)
		return;
	channel = upstreams->sockets[fd];
	hooks->works_for(hooks->context, rail_ares_cause(channel));
	rail_ares_process(channel, readable ? fd : -1, writable ? fd : -1);
	hooks->works_for(hooks->context, 0);
}

void rail_upstreams_process(struct rail_upstreams *upstreams)
{
	visit_slots(upstreams, process_where_busy, 0);
}

int64_t rail_upstreams_sweep_due_ms(const struct rail_upstreams *upstreams)
{
	return upstreams->channel_count > 0 ? upstreams->sweep_ms : INT64_MAX;
}

void rail_upstreams_sweep(struct rail_upstreams *upstreams, int64_t now)
{
	visit_slots(upstreams, close_where_unused, now);
	upstreams->sweep_ms = now + CHANNEL_IDLE_MS;
}
