#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "pkg/base/cleanup.h"
#include "pkg/base/file.h"
#include "pkg/base/log.h"
#include "plugins/railway-mesh/meshd/environment.h"

/* Which environments there are, and what concerns them all. */

enum {
	SWEEP_MS = 10000, /* for pods that went without a word: their resolver marked them dead */
	GRACE_EXTRA_MS = 5000,
	BUSY_MS = 500,
};

struct meshd_environments {
	struct meshd *meshd;
	struct environment *first;
	struct rail_timer *sweep;
	int64_t keep_until_ms; /* nothing is taken away by a reading before */
	bool reread_pending;
};

static void retry(void *context)
{
	environment_start(context);
}

static void free_environment(struct environment *environment)
{
	environment_stop(environment);
	rail_timer_remove(&environment->timer);
	rail_timer_remove(&environment->apply_timer);
	rail_timer_remove(&environment->repair_timer);
	rail_timer_remove(&environment->silent_timer);
	free(environment->silent);
	free(environment->read_after);
	free(environment->entries);
	free(environment->gone);
	free(environment->services);
	free(environment->local_keys);
	free(environment->claims);
	free(environment->disputed);
	free(environment);
}

static int read_name(struct environment *environment, struct rail_error *error)
{
	RAIL_CLEANUP(rail_transaction_abort) struct rail_transaction *registry = NULL;
	struct rail_environment record;

	int result = rail_transaction_begin(environment->meshd->store, RAIL_REGISTRY, RAIL_READ,
					    &registry, error);
	if (result == 0)
		result = rail_environment_by_prefix(registry, &environment->prefix, &record, error);
	if (result == 0)
		memcpy(environment->name, record.name, sizeof(environment->name));
	return result;
}

static struct environment *find(const struct meshd_environments *environments,
				const struct rail_prefix *prefix)
{
	struct environment *environment = environments->first;

	while (environment != NULL && !rail_prefix_equal(&environment->prefix, prefix))
		environment = environment->next;
	return environment;
}

static struct environment *make(struct meshd_environments *environments,
				const struct rail_prefix *prefix)
{
	struct meshd *meshd = environments->meshd;
	struct environment *environment = calloc(1, sizeof(*environment));
	struct rail_error error = RAIL_ERROR_NONE;

	if (environment == NULL)
		return NULL;
	*environment = (struct environment){.meshd = meshd, .prefix = *prefix};

	int result = read_name(environment, &error);

	if (result == 0)
		result = rail_loop_timer(meshd->loop, retry, environment, &environment->timer,
					 &error);
	if (result == 0)
		result = rail_loop_timer(meshd->loop, environment_apply_timer, environment,
					 &environment->apply_timer, &error);
	if (result == 0)
		result = rail_loop_timer(meshd->loop, environment_repair_timer, environment,
					 &environment->repair_timer, &error);
	if (result == 0)
		result = rail_loop_timer(meshd->loop, environment_silent_timer, environment,
					 &environment->silent_timer, &error);
	if (result == 0)
		result = environment_load(environment, &error);
	if (result < 0) {
		rail_log(RAIL_LOG_ERROR, "an environment cannot be taken up", "error",
			 error.message, NULL);
		free_environment(environment);
		return NULL;
	}
	environment->next = environments->first;
	environments->first = environment;
	environment_start(environment);
	return environment;
}

/* No pod of it is here any more: its members of other nodes are nobody's business. */
static int forget_members(struct environment *environment, struct rail_error *error)
{
	RAIL_CLEANUP(rail_transaction_abort) struct rail_transaction *live = NULL;
	RAIL_FREE struct rail_member *members = NULL;
	size_t count = 0;

	int result = rail_transaction_begin(environment->meshd->store, RAIL_LIVE, RAIL_WRITE, &live,
					    error);
	if (result == 0)
		result = rail_member_list(live, &environment->prefix, &members, &count, error);
	for (size_t i = 0; result == 0 && i < count; i++)
		if (!members[i].local)
			result = rail_member_delete(live, &members[i].address, error);
	return result < 0 ? result : rail_transaction_commit(&live, error);
}

/* The environment of before this node joined goes, so that the cluster's can come. */
static int give_up_refused(struct environment *environment)
{
	RAIL_CLEANUP(rail_transaction_abort) struct rail_transaction *registry = NULL;
	RAIL_CLEANUP(rail_transaction_abort) struct rail_transaction *live = NULL;
	struct rail_store *store = environment->meshd->store;
	struct rail_error error = RAIL_ERROR_NONE;
	struct rail_environment present;

	int result = rail_transaction_begin(store, RAIL_REGISTRY, RAIL_WRITE, &registry, &error);
	/* Or it has the cluster's already. */
	bool is_there = result == 0 && rail_environment_by_prefix(registry, &environment->prefix,
								  &present, NULL) != -ENOENT;

	if (is_there)
		result = rail_transaction_begin(store, RAIL_LIVE, RAIL_READ, &live, &error);
	if (result == 0 && is_there)
		result = rail_environment_remove(registry, live, environment->name, &error);
	if (result == 0)
		result = rail_environment_refuse(registry, environment->name, NULL, &error);
	rail_transaction_abort(&live);
	if (result == 0)
		result = rail_transaction_commit(&registry, &error);
	if (result == 0)
		rail_log(RAIL_LOG_INFO,
			 "an environment has no pods here any more, and takes the "
			 "cluster's /48",
			 "environment", environment->name, NULL);
	else if (result != -EBUSY)
		rail_log(RAIL_LOG_WARN, "an environment that is refused cannot be given up yet",
			 "environment", environment->name, "error", error.message, NULL);
	return result;
}

/* What etcd may still have of this node there is taken out first: it would stay for as long as the
 * lease is renewed. A daemon that has not joined yet finds it by the lease (leftovers.h). */
static bool may_leave(const struct environment *environment)
{
	const struct meshd *meshd = environment->meshd;

	if (meshd->node == 0 || environment->state == ENVIRONMENT_REFUSED)
		return true;
	if (!meshd_is_joined(meshd) || !environment->synced || environment->publication != NULL)
		return false;
	for (size_t i = 0; i < environment->count; i++)
		if (environment->entries[i].ours)
			return false;
	return !environment_has_claims(environment);
}

static void leave(struct meshd_environments *environments, struct environment **link)
{
	struct environment *environment = *link;
	struct rail_error error = RAIL_ERROR_NONE;
	bool refused = environment->state == ENVIRONMENT_REFUSED;

	if (forget_members(environment, &error) < 0) {
		rail_log(RAIL_LOG_WARN, "an environment cannot be left", "error", error.message,
			 NULL);
		return;
	}
	/* The last pod's DEL is still at work. */
	if (refused && give_up_refused(environment) < 0) {
		rail_timer_start(environments->sweep, BUSY_MS);
		return;
	}
	*link = environment->next;
	free_environment(environment);
}

static bool has_local_member(struct meshd *meshd, const struct rail_prefix *prefix)
{
	RAIL_FREE struct rail_member *members = NULL;
	struct rail_error error = RAIL_ERROR_NONE;
	size_t count = 0;

	/* Where it cannot be told, it stays. */
	return environment_local_members(meshd, prefix, &members, &count, &error) < 0 || count > 0;
}

/* Brings one environment in line with the live store; true where it was left. */
static bool look_at(struct meshd_environments *environments, struct environment **link)
{
	struct environment *environment = *link;

	/* The last pod that stood in the way may have gone. */
	if (environment->disputed_count > 0)
		environment->services_dirty = true;
	environment_uncover(environment);
	environment_note_local(environment);
	if (has_local_member(environments->meshd, &environment->prefix) ||
	    environment->wiring != NULL || !may_leave(environment)) {
		environment_apply(environment);
		return false;
	}
	leave(environments, link);
	return *link != environment;
}

static void take_up(struct meshd_environments *environments)
{
	RAIL_FREE struct rail_member *members = NULL;
	struct rail_error error = RAIL_ERROR_NONE;
	size_t count = 0;

	if (environment_local_members(environments->meshd, NULL, &members, &count, &error) < 0) {
		rail_log(RAIL_LOG_ERROR, "the live store cannot be read", "error", error.message,
			 NULL);
		return;
	}
	for (size_t i = 0; i < count; i++) {
		struct rail_prefix prefix = rail_address_split(&members[i].address).prefix;

		if (find(environments, &prefix) == NULL)
			(void)make(environments, &prefix);
	}
}

static void on_sweep(void *context)
{
	struct meshd_environments *environments = context;
	struct meshd *meshd = environments->meshd;

	if (meshd_find_underlay(meshd))
		meshd_environments_underlay_changed(environments);
	take_up(environments);
	for (struct environment **link = &environments->first; *link != NULL;)
		if (!look_at(environments, link))
			link = &(*link)->next;
	/* What was kept although etcd lacks it is looked at once more. */
	if (environments->reread_pending && rail_monotonic_ms() >= environments->keep_until_ms) {
		environments->reread_pending = false;
		for (struct environment *environment = environments->first; environment != NULL;
		     environment = environment->next)
			environment_resync(environment);
	}
	rail_timer_start(environments->sweep, SWEEP_MS);
}

void meshd_environments_look_soon(struct meshd_environments *environments)
{
	rail_timer_start(environments->sweep, 0);
}

bool meshd_environments_may_remove(const struct meshd_environments *environments)
{
	return rail_monotonic_ms() >= environments->keep_until_ms;
}

void meshd_environments_joined(struct meshd_environments *environments)
{
	for (struct environment *environment = environments->first; environment != NULL;
	     environment = environment->next) {
		environment_start(environment);
		environment_apply(environment);
	}
	rail_timer_start(environments->sweep, 0);
}

void meshd_environments_moved(struct meshd_environments *environments)
{
	for (struct environment *environment = environments->first; environment != NULL;
	     environment = environment->next) {
		if (environment->watch == NULL)
			continue;
		rail_etcd_unwatch(&environment->watch);
		rail_timer_start(environment->timer, 0);
	}
}

void meshd_environments_restored(struct meshd_environments *environments)
{
	environments->keep_until_ms =
		rail_monotonic_ms() +
		(int64_t)environments->meshd->settings.cluster.lease_s * 1000 + GRACE_EXTRA_MS;
	environments->reread_pending = true;
	for (struct environment *environment = environments->first; environment != NULL;
	     environment = environment->next)
		environment_resync(environment);
}

void meshd_environments_underlay_changed(struct meshd_environments *environments)
{
	rail_log(RAIL_LOG_INFO, "this node is reached at another address now", NULL);
	for (struct environment *environment = environments->first; environment != NULL;
	     environment = environment->next) {
		for (size_t i = 0; i < environment->count; i++) {
			struct entry *entry = &environment->entries[i];

			/* Whoever hears from us at the new address answers there. */
			if (entry->valid && !entry->ours)
				entry->dirty = entry->is_new = true;
		}
		environment->needs_repair = true;
		environment_apply(environment);
	}
}

void meshd_environments_touch(struct meshd_environments *environments,
			      const struct in6_addr *address)
{
	struct rail_prefix prefix = rail_address_split(address).prefix;

	for (struct environment **link = &environments->first; *link != NULL; link = &(*link)->next)
		if (rail_prefix_equal(&(*link)->prefix, &prefix)) {
			(void)look_at(environments, link);
			return;
		}
	if (has_local_member(environments->meshd, &prefix))
		(void)make(environments, &prefix);
}

void meshd_environments_take_up(struct meshd_environments *environments,
				const struct rail_prefix *prefix)
{
	RAIL_CLEANUP(rail_transaction_abort) struct rail_transaction *registry = NULL;
	struct rail_environment record;

	/* One that this node has forgotten cannot be read: the lease's end takes it away. */
	if (find(environments, prefix) != NULL ||
	    rail_transaction_begin(environments->meshd->store, RAIL_REGISTRY, RAIL_READ, &registry,
				   NULL) < 0 ||
	    rail_environment_by_prefix(registry, prefix, &record, NULL) < 0)
		return;
	rail_transaction_abort(&registry);
	(void)make(environments, prefix);
}

int meshd_environments_published(struct meshd_environments *environments,
				 const struct in6_addr *address, struct rail_error *error)
{
	struct rail_prefix prefix = rail_address_split(address).prefix;
	const struct environment *environment = find(environments, &prefix);
	struct meshd *meshd = environments->meshd;
	RAIL_CLEANUP(rail_transaction_abort) struct rail_transaction *live = NULL;
	struct rail_published wanted;
	struct rail_member member;

	int result = rail_transaction_begin(meshd->store, RAIL_LIVE, RAIL_READ, &live, error);
	if (result == 0)
		result = rail_member_get(live, address, &member, error);
	if (result < 0)
		return result;
	if (environment != NULL && environment->state == ENVIRONMENT_REFUSED)
		return rail_fail_code(error, RAIL_CODE_TRY_AGAIN, EREMCHG,
				      "environment '%s' has another /48 in the cluster",
				      environment->name);
	if (meshd->node != 0 && meshd->underlay_count == 0)
		return rail_fail_code(
			error, RAIL_CODE_TRY_AGAIN, ENETUNREACH,
			"this node has no address that others could reach; set 'endpoint' "
			"in the node's file, or a default route");
	if (environment == NULL || !environment->synced || !environment_is_clean(environment))
		return 0;
	if (environment_is_disputed(environment, address))
		return rail_fail_code(error, RAIL_CODE_TRY_AGAIN, EREMCHG,
				      "its service has another number on this node than in the "
				      "cluster; end the service's pods on this node");

	const struct entry *entry = environment_find(environment, address);

	environment_describe(meshd, &member, &wanted);
	if (entry != NULL && (!entry->valid || !entry->ours))
		return rail_fail_code(error, RAIL_CODE_TRY_AGAIN, EADDRINUSE,
				      "another node has published a member with this address");
	return entry != NULL && environment_says(entry, &wanted, meshd->lease);
}

int meshd_environments_withdrawn(struct meshd_environments *environments,
				 const struct in6_addr *address)
{
	struct rail_prefix prefix = rail_address_split(address).prefix;
	const struct environment *environment = find(environments, &prefix);
	const struct entry *entry =
		environment == NULL ? NULL : environment_find(environment, address);

	return entry == NULL || !entry->ours;
}

int meshd_environments_new(struct meshd *meshd, struct meshd_environments **ret_environments,
			   struct rail_error *error)
{
	struct meshd_environments *environments = calloc(1, sizeof(*environments));

	if (environments == NULL)
		return rail_fail(error, ENOMEM, "no memory for the environments");
	environments->meshd = meshd;

	int result =
		rail_loop_timer(meshd->loop, on_sweep, environments, &environments->sweep, error);

	if (result < 0) {
		free(environments);
		return result;
	}
	rail_timer_start(environments->sweep, 0);
	*ret_environments = environments;
	return 0;
}

void meshd_environments_free(struct meshd_environments *environments)
{
	if (environments == NULL)
		return;
	while (environments->first != NULL) {
		struct environment *environment = environments->first;

		environments->first = environment->next;
		free_environment(environment);
	}
	rail_timer_remove(&environments->sweep);
	free(environments);
}
