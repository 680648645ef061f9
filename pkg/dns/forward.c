#include "pkg/dns/forward.h"

#include <errno.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>
#include <sys/queue.h>
#include <sys/random.h>

#include "pkg/base/bytes.h"
#include "pkg/base/file.h"
#include "pkg/dns/message.h"
#include "pkg/dns/name.h"
#include "pkg/dns/table.h"
#include "pkg/dns/upstreams.h"

enum {
	TICK_MS = 50,		/* how late a repetition may be */
	CONNECTION_MAXIMUM = 4, /* that may break under a query before it fails */
	ADDITIONAL_COUNT_OFFSET = 10,
};

TAILQ_HEAD(pending_list, pending);

/* An environment that has queries here; its hash is its number. */
struct share {
	struct rail_table_link link; /* first */
	size_t count;		     /* of references: a query's, and of one that is being sent */
};

/* A query. It is released when its caller was called and c-ares has let go of it. */
struct pending {
	struct rail_ares_query query;	  /* first: this is what answered is given */
	TAILQ_ENTRY(pending) link;	  /* in waiting, then in settled */
	TAILQ_ENTRY(pending) repeat_link; /* in repeat or later, besides waiting */
	struct pending_list *repeat_list; /* which; NULL: neither */
	struct rail_forwarder *forwarder;
	struct share *share;
	struct rail_upstream_set *set; /* held while in waiting */
	rail_forward_callback callback;
	void *context;
	int64_t deadline_ms;
	enum rail_ares_kind kind;
	bool asked;   /* answered will be called */
	bool settled; /* outcome and answer are final */
	bool delivered;
	bool has_opt;
	unsigned connections; /* it was sent over */
	int outcome;
	uint8_t *answer; /* before it is settled: what to give where a repetition fails */
	size_t answer_size;
	size_t size;
	uint8_t bytes[];
};

struct rail_forwarder {
	struct rail_upstreams *upstreams;
	struct pending_list waiting; /* in the order of their deadlines */
	struct pending_list repeat;  /* to be asked again once c-ares has returned */
	struct pending_list later;   /* to be asked again at the next tick */
	struct pending_list settled; /* their callers are to be called */
	struct rail_table shares;
	size_t allocated;
	size_t asked;
	size_t owed; /* calls to callers */
	int64_t tick_ms;
};

/* A reference to it, for put_share; NULL: no memory. */
static struct share *get_share(struct rail_forwarder *forwarder, uint64_t environment)
{
	struct share *share = (struct share *)rail_table_find(&forwarder->shares, environment);

	if (share == NULL) {
		share = calloc(1, sizeof(*share));
		if (share == NULL || rail_table_reserve(&forwarder->shares) < 0) {
			free(share);
			return NULL;
		}
		rail_table_insert(&forwarder->shares, &share->link, environment);
	}
	share->count++;
	return share;
}

static void put_share(struct rail_forwarder *forwarder, struct share *share)
{
	if (--share->count != 0)
		return;
	rail_table_remove(&forwarder->shares, &share->link);
	free(share);
}

static void release(struct pending *pending)
{
	pending->forwarder->allocated--;
	put_share(pending->forwarder, pending->share);
	free(pending->answer);
	free(pending);
}

static void put_into(struct pending *pending, struct pending_list *list)
{
	if (pending->repeat_list != NULL)
		TAILQ_REMOVE(pending->repeat_list, pending, repeat_link);
	pending->repeat_list = list;
	if (list != NULL)
		TAILQ_INSERT_TAIL(list, pending, repeat_link);
}

/* c-ares knows when its next repetition is due only by looking at every query: while it has any,
 * it is called regularly. */
static bool is_ticking(const struct rail_forwarder *forwarder)
{
	return forwarder->asked > 0 || !TAILQ_EMPTY(&forwarder->later);
}

/* To be called before that becomes true. */
static void start_ticking(struct rail_forwarder *forwarder)
{
	if (!is_ticking(forwarder))
		forwarder->tick_ms = rail_monotonic_ms() + TICK_MS;
}

/* An answer that was to be bettered is better than none. */
static void settle(struct pending *pending, int outcome)
{
	struct rail_forwarder *forwarder = pending->forwarder;

	pending->outcome = pending->answer != NULL ? 0 : outcome;
	pending->settled = true;
	put_into(pending, NULL);
	rail_upstream_set_release(pending->set);
	pending->set = NULL;
	TAILQ_REMOVE(&forwarder->waiting, pending, link);
	TAILQ_INSERT_TAIL(&forwarder->settled, pending, link);
}

static int keep_answer(struct pending *pending, const uint8_t *message, size_t size)
{
	uint8_t *copy = malloc(size);

	if (copy == NULL)
		return -ENOMEM;
	memcpy(copy, message, size);
	free(pending->answer);
	pending->answer = copy;
	pending->answer_size = size;
	return 0;
}

static void strip_opt(struct pending *pending)
{
	pending->has_opt = false;
	pending->size -= RAIL_DNS_OPT_SIZE;
	memset(pending->bytes + ADDITIONAL_COUNT_OFFSET, 0, sizeof(uint16_t));
}

/* Some that do not know EDNS do not know the response code for that, either. */
static bool knows_no_edns(const struct rail_dns_header *header)
{
	unsigned int rcode = header->flags & RAIL_DNS_FLAG_RCODE;

	return (rcode == RAIL_DNS_FORMERR || rcode == RAIL_DNS_NOTIMP) &&
	       header->additional_count == 0;
}

/*
 * Whether an answer is not the last word: a truncated one, or one of a server that does not know
 * EDNS (RFC 6891 7). c-ares sees to the latter too, but only once in a channel's life.
 */
static bool wants_repetition(struct pending *pending, const uint8_t *message, size_t size)
{
	struct rail_reader reader = rail_reader_init(message, size);
	struct rail_dns_header header = rail_dns_header_read(&reader);

	if (reader.failed)
		return false;
	if (pending->has_opt && knows_no_edns(&header)) {
		strip_opt(pending);
		if (pending->kind == RAIL_ARES_UDP)
			pending->kind = RAIL_ARES_UDP_PLAIN;
		return true;
	}
	if (pending->kind != RAIL_ARES_TCP && (header.flags & RAIL_DNS_FLAG_TC) != 0) {
		pending->kind = RAIL_ARES_TCP;
		return true;
	}
	return false;
}

/* Runs inside c-ares, where nothing of it may be called, and no caller who might. */
static void answered(struct rail_ares_query *query, int outcome, const uint8_t *message,
		     size_t size)
{
	struct pending *pending = (struct pending *)query;
	struct rail_forwarder *forwarder = pending->forwarder;

	pending->asked = false;
	forwarder->asked--;
	if (pending->settled) {
		if (pending->delivered)
			release(pending);
		return;
	}
	if (outcome == 0)
		outcome = keep_answer(pending, message, size);
	if (outcome == 0 && wants_repetition(pending, message, size)) {
		put_into(pending, &forwarder->repeat);
	} else if (outcome == -EMSGSIZE) {
		pending->kind = RAIL_ARES_TCP;
		put_into(pending, &forwarder->repeat);
	} else if (outcome == -ECONNREFUSED && pending->kind == RAIL_ARES_TCP &&
		   pending->connections < CONNECTION_MAXIMUM) {
		start_ticking(forwarder);
		put_into(pending, &forwarder->later);
	} else {
		settle(pending, outcome);
	}
}

/* Gives a query that is in waiting to a channel of its kind. */
static int ask(struct rail_forwarder *forwarder, struct pending *pending)
{
	int rc;

	/* c-ares sends the ID that it finds. */
	if (getrandom(pending->bytes, sizeof(uint16_t), 0) != (ssize_t)sizeof(uint16_t))
		return -EIO;
	start_ticking(forwarder);
	forwarder->asked++;
	pending->asked = true;
	pending->connections += pending->kind == RAIL_ARES_TCP ? 1 : 0;
	rc = rail_upstreams_ask(pending->set, pending->kind, pending->bytes, pending->size,
				&pending->query);
	if (rc < 0) {
		pending->asked = false;
		forwarder->asked--;
	}
	return rc;
}

/* Asks again what answered could not. */
static void repeat_queries(struct rail_forwarder *forwarder)
{
	struct pending *pending;

	while ((pending = TAILQ_FIRST(&forwarder->repeat)) != NULL) {
		int rc;

		put_into(pending, NULL);
		rc = ask(forwarder, pending);
		if (rc < 0)
			settle(pending, rc);
	}
}

static void deliver(struct rail_forwarder *forwarder)
{
	struct pending_list batch = TAILQ_HEAD_INITIALIZER(batch);
	struct pending *pending;

	/* Callers may send more, which may fail at once: that is for the next time. */
	TAILQ_CONCAT(&batch, &forwarder->settled, link);
	while ((pending = TAILQ_FIRST(&batch)) != NULL) {
		TAILQ_REMOVE(&batch, pending, link);
		forwarder->owed--;
		pending->callback(pending->context, pending->outcome,
				  pending->outcome == 0 ? pending->answer : NULL,
				  pending->outcome == 0 ? pending->answer_size : 0);
		/* Not before: what the caller sends may close a channel that still has it. */
		pending->delivered = true;
		if (!pending->asked)
			release(pending);
	}
}

struct rail_forwarder *rail_forwarder_new(const struct rail_forwarder_hooks *hooks)
{
	struct rail_forwarder *forwarder = calloc(1, sizeof(*forwarder));

	if (forwarder == NULL)
		return NULL;
	forwarder->upstreams = rail_upstreams_new(hooks);
	if (forwarder->upstreams == NULL) {
		free(forwarder);
		return NULL;
	}
	TAILQ_INIT(&forwarder->waiting);
	TAILQ_INIT(&forwarder->repeat);
	TAILQ_INIT(&forwarder->later);
	TAILQ_INIT(&forwarder->settled);
	return forwarder;
}

void rail_forwarder_free(struct rail_forwarder *forwarder)
{
	struct pending *pending;

	if (forwarder == NULL)
		return;
	while ((pending = TAILQ_FIRST(&forwarder->waiting)) != NULL)
		settle(pending, -ECANCELED);
	while ((pending = TAILQ_FIRST(&forwarder->settled)) != NULL) {
		TAILQ_REMOVE(&forwarder->settled, pending, link);
		pending->delivered = true;
		if (!pending->asked)
			release(pending);
	}
	/* What the channels still have is released as they give it back. */
	rail_upstreams_free(forwarder->upstreams);
	rail_table_done(&forwarder->shares);
	free(forwarder);
}

/* -EINVAL unless it is one question and nothing else but one OPT without options. */
static int inspect_query(const uint8_t *query, size_t size, bool *ret_has_opt)
{
	struct rail_reader reader = rail_reader_init(query, size);
	struct rail_dns_header header = rail_dns_header_read(&reader);
	struct rail_name name;
	bool bare = true;

	if (reader.failed || (header.flags & RAIL_DNS_FLAG_QR) != 0 || header.question_count != 1 ||
	    header.answer_count != 0 || header.authority_count != 0 || header.additional_count > 1)
		return -EINVAL;
	if (rail_name_read(&reader, &name) < 0)
		return -EINVAL;
	(void)rail_read_u32(&reader); /* type and class */
	if (header.additional_count == 1) {
		bare = rail_read_u8(&reader) == 0;
		bare = rail_read_u16(&reader) == RAIL_DNS_TYPE_OPT && bare;
		(void)rail_read_u16(&reader); /* UDP size */
		(void)rail_read_u32(&reader); /* extended response code, version, flags */
		bare = rail_read_u16(&reader) == 0 && bare;
	}
	if (reader.failed || rail_reader_left(&reader) != 0 || !bare)
		return -EINVAL;
	*ret_has_opt = header.additional_count == 1;
	return 0;
}

static struct pending *pending_new(struct rail_forwarder *forwarder, struct share *share,
				   const uint8_t *query, size_t size, bool has_opt)
{
	struct pending *pending = calloc(1, sizeof(*pending) + size);

	if (pending == NULL)
		return NULL;
	pending->share = share;
	pending->query.answered = answered;
	pending->forwarder = forwarder;
	pending->deadline_ms = rail_monotonic_ms() + RAIL_FORWARD_DEADLINE_MS;
	pending->has_opt = has_opt;
	pending->kind = has_opt ? RAIL_ARES_UDP : RAIL_ARES_UDP_PLAIN;
	pending->size = size;
	memcpy(pending->bytes, query, size);
	forwarder->allocated++;
	return pending;
}

/* Whether an environment may have the one that is being sent: as many as are left for all others,
 * so that n of them that want all have an n+1-th each, and the next one finds as much. A query
 * whose caller was told its end counts until c-ares lets go of it, which an upstream can put off.
 */
static bool has_room(const struct rail_forwarder *forwarder, const struct share *share)
{
	return forwarder->allocated < RAIL_FORWARD_PENDING_MAXIMUM &&
	       share->count <= RAIL_FORWARD_PENDING_MAXIMUM - forwarder->allocated;
}

static int start(struct pending *pending)
{
	struct rail_forwarder *forwarder = pending->forwarder;
	int rc;

	rail_upstream_set_hold(pending->set);
	TAILQ_INSERT_TAIL(&forwarder->waiting, pending, link);
	rc = ask(forwarder, pending);
	if (rc < 0) {
		TAILQ_REMOVE(&forwarder->waiting, pending, link);
		rail_upstream_set_release(pending->set);
		release(pending);
		return rc;
	}
	forwarder->owed++;
	return 0;
}

int rail_forwarder_send(struct rail_forwarder *forwarder, const struct rail_endpoint *upstreams,
			size_t upstream_count, const struct rail_forward_asker *asker,
			const uint8_t *query, size_t query_size, rail_forward_callback callback,
			void *context)
{
	struct rail_upstream_set *set = NULL;
	struct pending *pending = NULL;
	struct share *share;
	bool has_opt = false;
	int rc;

	if (upstream_count == 0)
		return -EDESTADDRREQ;
	if (inspect_query(query, query_size, &has_opt) < 0)
		return -EINVAL;
	/* Held: a set that makes way may have the environment's last other query. */
	share = get_share(forwarder, asker->environment);
	if (share == NULL)
		return -ENOMEM;
	rc = has_room(forwarder, share)
		     ? rail_upstreams_find(forwarder->upstreams, upstreams, upstream_count,
					   asker->environment, &set)
		     : -EAGAIN;
	if (rc == 0) {
		pending = pending_new(forwarder, share, query, query_size, has_opt);
		rc = pending == NULL ? -ENOMEM : 0;
	}
	if (rc < 0) {
		put_share(forwarder, share);
		return rc;
	}
	pending->callback = callback;
	pending->context = context;
	pending->query.cause = asker->pod;
	pending->set = set;
	return start(pending);
}

void rail_forwarder_ready(struct rail_forwarder *forwarder, int fd, bool readable, bool writable)
{
	rail_upstreams_ready(forwarder->upstreams, fd, readable, writable);
	repeat_queries(forwarder);
	deliver(forwarder);
}

int rail_forwarder_timeout_ms(struct rail_forwarder *forwarder)
{
	const struct pending *first = TAILQ_FIRST(&forwarder->waiting);
	int64_t due = rail_upstreams_sweep_due_ms(forwarder->upstreams);
	int64_t now;

	if (!TAILQ_EMPTY(&forwarder->settled))
		return 0;
	if (is_ticking(forwarder) && forwarder->tick_ms < due)
		due = forwarder->tick_ms;
	if (first != NULL && first->deadline_ms < due)
		due = first->deadline_ms;
	if (due == INT64_MAX)
		return -1;
	now = rail_monotonic_ms();
	return due > now ? (int)(due - now) : 0;
}

void rail_forwarder_expire(struct rail_forwarder *forwarder)
{
	int64_t now = rail_monotonic_ms();
	struct pending *pending;

	if (is_ticking(forwarder) && now >= forwarder->tick_ms) {
		while ((pending = TAILQ_FIRST(&forwarder->later)) != NULL)
			put_into(pending, &forwarder->repeat);
		rail_upstreams_process(forwarder->upstreams);
		forwarder->tick_ms = now + TICK_MS;
	}
	repeat_queries(forwarder);
	while ((pending = TAILQ_FIRST(&forwarder->waiting)) != NULL && pending->deadline_ms <= now)
		settle(pending, -ETIMEDOUT);
	if (now >= rail_upstreams_sweep_due_ms(forwarder->upstreams))
		rail_upstreams_sweep(forwarder->upstreams, now);
	deliver(forwarder);
}

size_t rail_forwarder_room(const struct rail_forwarder *forwarder)
{
	return RAIL_FORWARD_PENDING_MAXIMUM - forwarder->allocated;
}

size_t rail_forwarder_pending(const struct rail_forwarder *forwarder)
{
	return forwarder->owed;
}
