#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "pkg/base/cleanup.h"
#include "pkg/base/log.h"
#include "pkg/mesh/lock.h"
#include "pkg/store/database.h"
#include "plugins/railway-mesh/meshd/clients.h"
#include "plugins/railway-mesh/meshd/environment.h"
#include "plugins/railway-mesh/meshd/greeter.h"
#include "plugins/railway-mesh/meshd/notices.h"

/* Brings what is known of an environment into the live store and to the local pods' peers. */

enum {
	LOCK_PATIENCE_MS = 5, /* the loop has others to serve; a plugin holds it for some ms */
	LOCK_RETRY_MS = 15,
	STORE_PATIENCE_MS = 200,
	RETRY_MINIMUM_MS = 250,
	RETRY_MAXIMUM_MS = 30000,
	ONE_BY_ONE_MAXIMUM =
		128, /* changes; above, each device is read whole, which takes longer */
	/* A session that is older than this no longer keeps an endpoint (pkg/wg). */
	REPAIR_MS = 185000,
};

/* A change, as the pods are told of it. */
struct step {
	struct rail_member member;
	bool gone;
	bool is_new;
};

struct steps {
	struct step *steps;
	size_t count;
};

static void steps_done(struct steps *steps)
{
	free(steps->steps);
}

bool environment_is_clean(const struct environment *environment)
{
	if (environment->gone_count != 0 || environment->needs_repair ||
	    environment->services_dirty || !environment->was_applied)
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

static struct rail_member member_of(const struct meshd *meshd, const struct entry *entry)
{
	struct rail_member member = {
		.address = entry->address,
		.published = true,
		.named = entry->published.named,
		.node = entry->published.node,
		.public_key = entry->published.public_key,
		.endpoint = choose_endpoint(meshd, &entry->published),
	};

	memcpy(member.replica, entry->published.replica, sizeof(member.replica));
	return member;
}

static int write_gone(struct rail_transaction *live, const struct in6_addr *address,
		      struct steps *steps, struct rail_error *error)
{
	struct step *step = &steps->steps[steps->count];
	int result = rail_member_get(live, address, &step->member, error);

	if (result == -ENOENT)
		return 0;
	if (result < 0 || step->member.local)
		return result;
	result = rail_member_delete(live, address, error);
	step->gone = true;
	steps->count++;
	return result;
}

static int write_entry(struct environment *environment, struct rail_transaction *live,
		       struct entry *entry, struct steps *steps, struct rail_error *error)
{
	struct step *step = &steps->steps[steps->count];
	struct rail_member present;
	int result = rail_member_get(live, &entry->address, &present, error);

	if (result < 0 && result != -ENOENT)
		return result;
	if (result == 0 && present.local) {
		/* Two nodes with one address: the pod that is here stays. */
		environment_complain(environment, entry->published.replica,
				     "its address is a local pod's");
		entry->valid = false;
		entry->dirty = false;
		return 0;
	}
	*step = (struct step){.member = member_of(environment->meshd, entry),
			      .is_new = entry->is_new};
	steps->count++;
	return rail_member_put(live, &step->member, error);
}

/* All of it in one transaction: half of a change is never seen. */
static int write_members(struct environment *environment, struct steps *steps,
			 struct rail_error *error)
{
	RAIL_CLEANUP(rail_transaction_abort) struct rail_transaction *live = NULL;
	size_t maximum = environment->gone_count + environment->count + 1;

	steps->steps = calloc(maximum, sizeof(*steps->steps));
	if (steps->steps == NULL)
		return rail_fail(error, ENOMEM, "no memory for an environment's changes");

	int result = rail_transaction_begin_within(environment->meshd->store, RAIL_LIVE, RAIL_WRITE,
						   STORE_PATIENCE_MS, &live, error);

	for (size_t i = 0; result == 0 && i < environment->gone_count; i++)
		result = write_gone(live, &environment->gone[i], steps, error);
	for (size_t i = 0; result == 0 && i < environment->count; i++)
		if (environment->entries[i].dirty)
			result = write_entry(environment, live, &environment->entries[i], steps,
					     error);
	return result < 0 ? result : rail_transaction_commit(&live, error);
}

static int write_services(struct environment *environment, struct rail_error *error)
{
	RAIL_CLEANUP(rail_transaction_abort) struct rail_transaction *registry = NULL;
	bool missing = false;

	int result = rail_transaction_begin(environment->meshd->store, RAIL_REGISTRY, RAIL_READ,
					    &registry, error);
	for (size_t i = 0; result == 0 && i < environment->service_count; i++) {
		struct rail_service present;

		missing = missing || rail_service_get(registry, &environment->prefix,
						      environment->services[i].service.label,
						      &present, NULL) < 0;
	}
	rail_transaction_abort(&registry);
	if (result < 0 || !missing)
		return result;
	result = rail_transaction_begin(environment->meshd->store, RAIL_REGISTRY, RAIL_WRITE,
					&registry, error);
	for (size_t i = 0; result == 0 && i < environment->service_count; i++) {
		struct rail_error one = RAIL_ERROR_NONE;

		result = rail_service_adopt(registry, &environment->services[i].service, &one);
		if (result == -EEXIST || result == -EADDRINUSE) {
			environment_complain(environment, environment->services[i].service.label,
					     one.message);
			result = 0;
		}
		if (result < 0)
			*error = one;
	}
	return result < 0 ? result : rail_transaction_commit(&registry, error);
}

static int wire(struct environment *environment, const struct steps *steps, bool repair,
		struct rail_error *error)
{
	RAIL_CLEANUP(rail_gone_done) struct rail_gone gone = {0};
	struct rail_store *store = environment->meshd->store;
	int result = 0;

	/* A peer that is there keeps a fresh endpoint, and its session: by comparison only. */
	for (size_t i = 0; i < steps->count; i++)
		repair = repair || (!steps->steps[i].gone && !steps->steps[i].is_new);
	if (repair || steps->count > ONE_BY_ONE_MAXIMUM)
		return rail_wiring_repair(store, &environment->prefix, &gone, error);
	for (size_t i = 0; result == 0 && i < steps->count; i++)
		result = steps->steps[i].gone
				 ? rail_wiring_remove_member(store, &environment->prefix,
							     &steps->steps[i].member, &gone, error)
				 : rail_wiring_add_member(store, &environment->prefix,
							  &steps->steps[i].member, &gone, error);
	return result;
}

static void tell(struct environment *environment, const struct steps *steps)
{
	for (size_t i = 0; i < steps->count; i++)
		meshd_notices_add(environment->meshd->notices, &steps->steps[i].member.address);
	if (steps->count == 0 && environment->services_dirty)
		meshd_notices_add_services(environment->meshd->notices, &environment->prefix);
}

static void settle(struct environment *environment, const struct steps *steps)
{
	bool kept = false;

	for (size_t i = 0; i < steps->count; i++)
		kept = kept || (!steps->steps[i].gone && !steps->steps[i].is_new);
	if (kept)
		rail_timer_start(environment->repair_timer, REPAIR_MS);
	for (size_t i = 0; i < steps->count; i++)
		if (steps->steps[i].is_new)
			meshd_greet(environment->meshd->greeter, environment,
				    &steps->steps[i].member);
	for (size_t i = 0; i < environment->count; i++) {
		environment->entries[i].dirty = false;
		environment->entries[i].is_new = false;
	}
	environment->gone_count = 0;
	environment->needs_repair = false;
	environment->services_dirty = false;
	environment->was_applied = true;
	environment->apply_retry_ms = 0;
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

static void apply(struct environment *environment)
{
	RAIL_CLEANUP(rail_environment_lock_abandon)
	struct rail_environment_lock lock = RAIL_ENVIRONMENT_LOCK_NONE;
	RAIL_CLEANUP(steps_done) struct steps steps = {.count = 0};
	struct rail_error error = RAIL_ERROR_NONE;
	int result = 0;

	if (environment->services_dirty)
		result = write_services(environment, &error);
	if (result == 0)
		result = rail_environment_lock_take_within(
			environment->meshd->settings.run_directory, &environment->prefix,
			LOCK_PATIENCE_MS, &lock, &error);
	if (result == -ETIMEDOUT) {
		rail_timer_start(environment->apply_timer, LOCK_RETRY_MS);
		return;
	}
	if (result == 0)
		result = write_members(environment, &steps, &error);
	if (result == 0) {
		bool repair =
			lock.needs_repair || environment->needs_repair || !environment->was_applied;

		/* From here on the store has it: what fails now is mended by a repair. */
		environment->needs_repair = true;
		result = wire(environment, &steps, repair, &error);
		tell(environment, &steps);
	}
	if (result < 0) {
		later(environment, &error);
		return;
	}
	rail_environment_lock_finish(&lock, false);
	settle(environment, &steps);
}

void environment_apply(struct environment *environment)
{
	if (!environment_is_clean(environment) && environment->synced)
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
