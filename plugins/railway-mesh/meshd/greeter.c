#include "plugins/railway-mesh/meshd/greeter.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "pkg/base/cleanup.h"
#include "pkg/base/file.h"
#include "pkg/base/log.h"
#include "pkg/mesh/lock.h"
#include "plugins/railway-mesh/meshd/environment.h"

enum {
	PACE_MS = 5,	    /* between two that are met by the same member: 200 a second */
	A_TURN = 8,	    /* greetings in a row; then others are served ... */
	PAUSE_MS = 8,	    /* ... for so long: 1,000 a second at most */
	BUSY_MS = 10,	    /* the environment's lock is held */
	TRIES_MAXIMUM = 50, /* of those */
	KEEPALIVE_S = 5,
	MOMENT_MS = 4000, /* then the keepalive is switched off again */
	JOBS_MAXIMUM = 200000,
};

struct job {
	int64_t due_ms;
	struct in6_addr local; /* who greets */
	struct rail_key remote;
	uint16_t keepalive_s;
	uint16_t tries;
};

/* A heap, the earliest first. */
struct meshd_greeter {
	struct meshd *meshd;
	struct job *jobs;
	size_t count;
	size_t capacity;
	struct rail_timer *timer;
};

static void swap(struct job *one, struct job *other)
{
	struct job kept = *one;

	*one = *other;
	*other = kept;
}

static void push(struct meshd_greeter *greeter, const struct job *job)
{
	if (greeter->count == greeter->capacity) {
		size_t capacity = greeter->capacity == 0 ? 64 : greeter->capacity * 2;
		struct job *grown = NULL;

		if (capacity <= 2 * (size_t)JOBS_MAXIMUM)
			grown = reallocarray(greeter->jobs, capacity, sizeof(*grown));
		if (grown == NULL)
			return; /* without a greeting it takes WireGuard's 5 s */
		greeter->jobs = grown;
		greeter->capacity = capacity;
	}

	size_t index = greeter->count++;

	greeter->jobs[index] = *job;
	while (index > 0 && greeter->jobs[(index - 1) / 2].due_ms > greeter->jobs[index].due_ms) {
		swap(&greeter->jobs[(index - 1) / 2], &greeter->jobs[index]);
		index = (index - 1) / 2;
	}
}

static struct job pop(struct meshd_greeter *greeter)
{
	struct job first = greeter->jobs[0];
	size_t index = 0;

	greeter->jobs[0] = greeter->jobs[--greeter->count];
	for (;;) {
		size_t least = index;

		for (size_t child = 2 * index + 1; child <= 2 * index + 2; child++)
			if (child < greeter->count &&
			    greeter->jobs[child].due_ms < greeter->jobs[least].due_ms)
				least = child;
		if (least == index)
			return first;
		swap(&greeter->jobs[least], &greeter->jobs[index]);
		index = least;
	}
}

static void schedule(struct meshd_greeter *greeter, int64_t minimum_ms)
{
	int64_t left_ms;

	if (greeter->count == 0)
		return;
	left_ms = greeter->jobs[0].due_ms - rail_monotonic_ms();
	rail_timer_start(greeter->timer, left_ms > minimum_ms ? left_ms : minimum_ms);
}

static int find_pod(struct meshd *meshd, const struct in6_addr *address,
		    struct rail_attachment *ret_pod)
{
	RAIL_CLEANUP(rail_transaction_abort) struct rail_transaction *live = NULL;
	struct rail_member member;

	int result = rail_transaction_begin(meshd->store, RAIL_LIVE, RAIL_READ, &live, NULL);
	if (result == 0)
		result = rail_member_get(live, address, &member, NULL);
	if (result == 0 && !member.local)
		result = -ENOENT;
	return result < 0 ? result : rail_attachment_get(live, &member.key, ret_pod, NULL);
}

/* -ETIMEDOUT where the environment's lock is held. */
static int set_keepalive(struct meshd *meshd, const struct job *job, struct rail_error *error)
{
	RAIL_CLEANUP(rail_environment_lock_abandon)
	struct rail_environment_lock lock = RAIL_ENVIRONMENT_LOCK_NONE;
	struct rail_prefix prefix = rail_address_split(&job->local).prefix;
	struct rail_peer_change change = {
		.kind = RAIL_PEER_UPDATE,
		.public_key = job->remote,
		.set_keepalive = true,
		.keepalive_s = job->keepalive_s,
	};
	const struct rail_changes changes = {.changes = &change, .count = 1};
	const struct rail_transport *transport;
	struct rail_attachment pod;
	RAIL_CLOSE int netns_fd = -1;

	int result = find_pod(meshd, &job->local, &pod);
	if (result < 0)
		return 0; /* it went */
	transport = rail_transport_by_name(pod.interface.transport);
	result = rail_environment_lock_take_within(meshd->settings.run_directory, &prefix, 0, &lock,
						   error);
	if (result < 0)
		return result;
	if (transport != NULL && rail_wiring_open_netns(&pod, &netns_fd) == 0)
		result = transport->apply(netns_fd, &pod.interface, &changes, error);
	if (!lock.needs_repair)
		rail_environment_lock_finish(&lock, false);
	return result;
}

static void greet_one(struct meshd_greeter *greeter, struct job *job)
{
	struct rail_error error = RAIL_ERROR_NONE;
	int result = set_keepalive(greeter->meshd, job, &error);

	if (result == -ETIMEDOUT && job->tries < TRIES_MAXIMUM) {
		job->tries++;
		job->due_ms = rail_monotonic_ms() + BUSY_MS;
		push(greeter, job);
		return;
	}
	if (result < 0 && result != -ENODEV && result != -ESRCH)
		rail_log(RAIL_LOG_DEBUG, "a pod cannot greet another", "error", error.message,
			 NULL);
	if (job->keepalive_s == 0)
		return;
	job->keepalive_s = 0;
	job->tries = 0;
	job->due_ms = rail_monotonic_ms() + MOMENT_MS;
	push(greeter, job);
}

static void on_timer(void *context)
{
	struct meshd_greeter *greeter = context;
	int64_t now_ms = rail_monotonic_ms();

	for (int i = 0; i < A_TURN && greeter->count > 0 && greeter->jobs[0].due_ms <= now_ms;
	     i++) {
		struct job job = pop(greeter);

		greet_one(greeter, &job);
	}
	schedule(greeter, PAUSE_MS);
}

/* How many are newer than the one that greets: they go before. */
static int64_t rank(const struct environment *environment, int64_t create_revision,
		    const struct in6_addr *except)
{
	int64_t count = 0;

	for (size_t i = 0; i < environment->count; i++) {
		const struct entry *entry = &environment->entries[i];

		if (entry->valid && entry->create_revision > create_revision &&
		    !IN6_ARE_ADDR_EQUAL(&entry->address, except))
			count++;
	}
	return count;
}

void meshd_greet(struct meshd_greeter *greeter, const struct environment *environment,
		 const struct rail_member *member)
{
	int64_t now_ms = rail_monotonic_ms();

	for (size_t i = 0; i < environment->count; i++) {
		const struct entry *entry = &environment->entries[i];

		if (!entry->ours || entry->create_revision == 0)
			continue;

		struct job job = {
			.due_ms = now_ms + PACE_MS * rank(environment, entry->create_revision,
							  &member->address),
			.local = entry->address,
			.remote = member->public_key,
			.keepalive_s = KEEPALIVE_S,
		};

		push(greeter, &job);
	}
	schedule(greeter, 0);
}

int meshd_greeter_new(struct meshd *meshd, struct meshd_greeter **ret_greeter,
		      struct rail_error *error)
{
	struct meshd_greeter *greeter = calloc(1, sizeof(*greeter));

	if (greeter == NULL)
		return rail_fail(error, ENOMEM, "no memory for greetings");
	greeter->meshd = meshd;

	int result = rail_loop_timer(meshd->loop, on_timer, greeter, &greeter->timer, error);

	if (result < 0) {
		free(greeter);
		return result;
	}
	*ret_greeter = greeter;
	return 0;
}

void meshd_greeter_free(struct meshd_greeter *greeter)
{
	if (greeter == NULL)
		return;
	rail_timer_remove(&greeter->timer);
	free(greeter->jobs);
	free(greeter);
}
