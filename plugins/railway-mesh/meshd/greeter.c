#include "plugins/railway-mesh/meshd/greeter.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "pkg/base/cleanup.h"
#include "pkg/base/file.h"
#include "pkg/base/log.h"
#include "pkg/mesh/wiring.h"
#include "plugins/railway-mesh/meshd/environment.h"
#include "plugins/railway-mesh/meshd/workers.h"

enum {
	PACE_MS = 5,  /* between two that are met by the same member: 200 a second */
	A_TURN = 8,   /* greetings in a row; then others are served ... */
	PAUSE_MS = 8, /* ... for so long: 1,000 a second at most */
	BUSY_MS = 20, /* the pod is still at the greetings before */
	KEEPALIVE_S = 5,
	MOMENT_MS = 4000, /* then the keepalive is switched off again */
	JOBS_MAXIMUM = 200000,
};

struct job {
	int64_t due_ms;
	struct in6_addr local; /* who greets */
	struct rail_key remote;
	uint16_t keepalive_s;
};

/* What one pod does of a turn, in a thread: its WireGuard may not answer. */
struct greeting {
	struct meshd_task task;
	struct meshd_greeter *greeter;
	struct greeting *next;
	struct rail_attachment pod;
	struct job jobs[A_TURN];
	struct rail_peer_change changes[A_TURN];
	size_t count;
	bool started;
	int result;
	struct rail_error error;
};

/* A heap of jobs, the earliest first; and what is under way. */
struct meshd_greeter {
	struct meshd *meshd;
	struct job *jobs;
	size_t count;
	size_t capacity;
	struct rail_timer *timer;
	int64_t next_turn_ms;
	struct greeting *greetings;
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

static void schedule(struct meshd_greeter *greeter)
{
	int64_t due_ms = greeter->next_turn_ms;

	if (greeter->count == 0)
		return;
	if (greeter->jobs[0].due_ms > due_ms)
		due_ms = greeter->jobs[0].due_ms;
	due_ms -= rail_monotonic_ms();
	rail_timer_start(greeter->timer, due_ms > 0 ? due_ms : 0);
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

/* Without the environment's lock: it updates peers that are there, and brings none back. */
static void work(struct meshd_task *task)
{
	struct greeting *greeting = (struct greeting *)task;
	const struct rail_changes changes = {.changes = greeting->changes,
					     .count = greeting->count};

	greeting->result = rail_wiring_change_pod(&greeting->pod, &changes, &greeting->error);
}

static void done(struct meshd_task *task)
{
	struct greeting *greeting = (struct greeting *)task;
	struct meshd_greeter *greeter = greeting->greeter;
	struct greeting **link = &greeter->greetings;

	while (*link != greeting)
		link = &(*link)->next;
	*link = greeting->next;
	if (!task->dropped && greeting->result < 0 && greeting->result != -ENODEV)
		rail_log(RAIL_LOG_DEBUG, "a pod cannot greet another", "error",
			 greeting->error.message, NULL);
	for (size_t i = 0; i < greeting->count && !task->dropped && greeting->result == 0; i++) {
		struct job *job = &greeting->jobs[i];

		if (job->keepalive_s == 0)
			continue;
		job->keepalive_s = 0;
		job->due_ms = rail_monotonic_ms() + MOMENT_MS;
		push(greeter, job);
	}
	free(greeting);
	schedule(greeter);
}

static struct greeting *greeting_of(struct meshd_greeter *greeter, const struct job *job)
{
	struct greeting *greeting = greeter->greetings;

	while (greeting != NULL && !IN6_ARE_ADDR_EQUAL(&greeting->jobs[0].local, &job->local))
		greeting = greeting->next;
	if (greeting != NULL)
		return greeting;
	greeting = calloc(1, sizeof(*greeting));
	if (greeting == NULL || find_pod(greeter->meshd, &job->local, &greeting->pod) < 0) {
		free(greeting);
		return NULL; /* it went */
	}
	greeting->task = (struct meshd_task){.work = work, .done = done};
	greeting->greeter = greeter;
	greeting->next = greeter->greetings;
	greeter->greetings = greeting;
	return greeting;
}

static void greet_one(struct meshd_greeter *greeter, struct job *job)
{
	struct greeting *greeting = greeting_of(greeter, job);

	if (greeting == NULL)
		return;
	if (greeting->started) {
		job->due_ms = rail_monotonic_ms() + BUSY_MS;
		push(greeter, job);
		return;
	}
	greeting->jobs[greeting->count] = *job;
	greeting->changes[greeting->count++] = (struct rail_peer_change){
		.kind = RAIL_PEER_UPDATE,
		.public_key = job->remote,
		.set_keepalive = true,
		.keepalive_s = job->keepalive_s,
	};
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
	for (struct greeting *greeting = greeter->greetings; greeting != NULL;
	     greeting = greeting->next)
		if (!greeting->started) {
			greeting->started = true;
			meshd_workers_start(greeter->meshd->workers, &greeting->task);
		}
	greeter->next_turn_ms = now_ms + PAUSE_MS;
	schedule(greeter);
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
	schedule(greeter);
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
