#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "pkg/base/cleanup.h"
#include "pkg/base/log.h"
#include "pkg/mesh/lock.h"
#include "pkg/store/database.h"
#include "plugins/railway-mesh/meshd/clients.h"
#include "plugins/railway-mesh/meshd/environment.h"
#include "plugins/railway-mesh/meshd/notices.h"
#include "plugins/railway-mesh/meshd/wire.h"

/* Brings what is known of an environment into the live store, and has the local pods wired. */

enum {
	LOCK_PATIENCE_MS = 5, /* the loop has others to serve; a plugin holds it for some ms */
	LOCK_RETRY_MS = 15,
	RETRY_MINIMUM_MS = 250,
	RETRY_MAXIMUM_MS = 30000,
};

bool environment_is_clean(const struct environment *environment)
{
	if (environment->gone_count != 0 || environment->needs_repair ||
	    environment->services_dirty || !environment->was_applied ||
	    environment_wiring_matters(environment))
		return false;
	for (size_t i = 0; i < environment->count; i++)
		if (environment->entries[i].dirty)
			return false;
	return true;
}

/* Of a family that this node has, too. */
static struct rail_endpoint choose_endpoint(const struct meshd *meshd,
					    const struct rail_published *published)
{
	for (size_t i = 0; i < meshd->underlay_count; i++)
		for (size_t j = 0; j < published->endpoint_count; j++)
			if (published->endpoints[j].family == meshd->underlay[i].family)
				return published->endpoints[j];
	return published->endpoints[0];
}

static struct rail_member member_of(const struct environment *environment,
				    const struct entry *entry)
{
	const struct meshd *meshd = environment->meshd;
	struct rail_member member = {
		.address = entry->address,
		.published = true,
		/* Here its address is another service's. */
		.named = entry->published.named &&
			 !environment_is_disputed(environment, &entry->address),
		.node = entry->published.node,
		.public_key = entry->published.public_key,
		.endpoint = choose_endpoint(meshd, &entry->published),
	};

	memcpy(member.replica, entry->published.replica, sizeof(member.replica));
	return member;
}

static int write_gone(struct rail_transaction *live, const struct in6_addr *address,
		      struct wire_job *job, struct rail_error *error)
{
	struct wire_step *step = &job->steps[job->step_count];
	int result = rail_member_get(live, address, &step->member, error);

	if (result == -ENOENT)
		return 0;
	if (result < 0 || step->member.local)
		return result;
	result = rail_member_delete(live, address, error);
	step->gone = true;
	job->step_count++;
	return result;
}

static int write_entry(struct environment *environment, struct rail_transaction *live,
		       struct entry *entry, struct wire_job *job, struct rail_error *error)
{
	struct wire_step *step = &job->steps[job->step_count];
	struct rail_member present;
	int result = rail_member_get(live, &entry->address, &present, error);

	if (result < 0 && result != -ENOENT)
		return result;
	if (result == 0 && present.local) {
		/* Two nodes with one address: the pod that is here stays. */
		rail_cluster_key key;

		rail_key_of_member(&entry->address, key);
		environment_complain(environment, key, "its address is a local pod's");
		entry->covered = true;
		return 0;
	}
	*step = (struct wire_step){.member = member_of(environment, entry),
				   .is_new = entry->is_new};
	job->step_count++;
	return rail_member_put(live, &step->member, error);
}

void environment_uncover(struct environment *environment)
{
	RAIL_CLEANUP(rail_transaction_abort) struct rail_transaction *live = NULL;

	for (size_t i = 0; i < environment->count; i++) {
		struct entry *entry = &environment->entries[i];
		struct rail_member present;

		if (!entry->covered)
			continue;
		if (live == NULL && rail_transaction_begin(environment->meshd->store, RAIL_LIVE,
							   RAIL_READ, &live, NULL) < 0)
			return;
		if (rail_member_get(live, &entry->address, &present, NULL) == 0 && present.local)
			continue;
		entry->covered = false;
		entry->dirty = entry->is_new = true;
	}
}

/* All of it in one transaction: half of a change is never seen. */
static int write_members(struct environment *environment, struct wire_job *job,
			 struct rail_error *error)
{
	RAIL_CLEANUP(rail_transaction_abort) struct rail_transaction *live = NULL;
	size_t maximum = environment->gone_count + environment->count + 1;

	job->steps = calloc(maximum, sizeof(*job->steps));
	if (job->steps == NULL)
		return rail_fail(error, ENOMEM, "no memory for an environment's changes");

	int result = rail_transaction_begin_within(environment->meshd->store, RAIL_LIVE, RAIL_WRITE,
						   ENVIRONMENT_STORE_PATIENCE_MS, &live, error);

	for (size_t i = 0; result == 0 && i < environment->gone_count; i++)
		result = write_gone(live, &environment->gone[i], job, error);
	for (size_t i = 0; result == 0 && i < environment->count; i++)
		if (environment->entries[i].dirty)
			result = write_entry(environment, live, &environment->entries[i], job,
					     error);
	return result < 0 ? result : rail_transaction_commit(&live, error);
}

/* The store has it; what comes from now on is another change. */
static void note_stored(struct environment *environment, const struct wire_job *job)
{
	if (job->step_count == 0 && environment->services_untold)
		meshd_notices_add_services(environment->meshd->notices, &environment->prefix);
	for (size_t i = 0; i < environment->count; i++) {
		environment->entries[i].dirty = false;
		environment->entries[i].is_new = false;
	}
	environment->gone_count = 0;
	environment->services_untold = false;
	environment->needs_repair = false;
}

static void later(struct environment *environment, const struct rail_error *error)
{
	environment->apply_retry_ms = environment->apply_retry_ms == 0
					      ? RETRY_MINIMUM_MS
					      : environment->apply_retry_ms * 2;
	if (environment->apply_retry_ms > RETRY_MAXIMUM_MS)
		environment->apply_retry_ms = RETRY_MAXIMUM_MS;
	rail_log(RAIL_LOG_WARN,
		 "the peers of an environment's pods could not all be set; trying "
		 "again",
		 "environment", environment->name, "error", error->message, NULL);
	rail_timer_start(environment->apply_timer, environment->apply_retry_ms);
}

/* A peer that is there keeps a fresh endpoint, and its session: by comparison only. */
static bool changes_peers(const struct wire_job *job)
{
	for (size_t i = 0; i < job->step_count; i++)
		if (!job->steps[i].gone && !job->steps[i].is_new)
			return true;
	return false;
}

static void apply(struct environment *environment)
{
	struct wire_job job = {.lock = RAIL_ENVIRONMENT_LOCK_NONE};
	struct rail_error error = RAIL_ERROR_NONE;
	int result = 0;

	if (environment_services_due(environment))
		result = environment_write_services(environment, &error);
	if (result == 0) {
		result = rail_environment_lock_take_within(
			environment->meshd->settings.run_directory, &environment->prefix,
			LOCK_PATIENCE_MS, &job.lock, &error);
		if (result == -ETIMEDOUT) {
			rail_timer_start(environment->apply_timer, LOCK_RETRY_MS);
			return;
		}
	}
	if (result == 0)
		result = write_members(environment, &job, &error);
	if (result < 0) {
		rail_environment_lock_abandon(&job.lock);
		free(job.steps);
		later(environment, &error);
		return;
	}
	job.repair = job.lock.needs_repair || environment->needs_repair ||
		     !environment->was_applied || changes_peers(&job);
	note_stored(environment, &job);
	if (environment_wire(environment, &job, &error) < 0) {
		/* What the store has and the pods lack is mended by a repair. */
		environment->needs_repair = true;
		later(environment, &error);
	}
}

void environment_wired(struct environment *environment, const struct rail_error *all)
{
	environment->was_applied = true;
	if (all->errnum != 0) {
		environment->needs_repair = true;
		if (!environment->meshd->ends)
			later(environment, all);
		return;
	}
	environment->apply_retry_ms = 0;
	environment_apply(environment);
}

void environment_apply(struct environment *environment)
{
	if (environment->meshd->ends)
		return;
	if ((!environment_is_clean(environment) || environment_services_due(environment) ||
	     environment->services_untold || environment->ask_silent) &&
	    environment->wiring == NULL && environment->synced)
		apply(environment);
	if (environment_is_clean(environment))
		environment_publish(environment);
	meshd_clients_check(environment->meshd->clients);
}

void environment_apply_timer(void *context)
{
	environment_apply(context);
}

void environment_repair_timer(void *context)
{
	struct environment *environment = context;

	environment->needs_repair = true;
	environment_apply(environment);
}

void environment_silent_timer(void *context)
{
	struct environment *environment = context;

	environment->ask_silent = true;
	environment_apply(environment);
}
