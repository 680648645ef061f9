#include "plugins/railway-mesh/meshd/registered.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "pkg/base/cleanup.h"
#include "pkg/base/log.h"
#include "pkg/store/registry.h"
#include "plugins/railway-mesh/meshd/consensus.h"

enum { RETRY_MS = 1000, BUSY_MS = 15000 };

typedef char environment_name[RAIL_ENVIRONMENT_NAME_SIZE];

struct meshd_registered {
	struct meshd *meshd;
	struct rail_timer *timer;
	environment_name *names;
	size_t count;
	size_t next;
	size_t busy_count; /* of those before next, moved to the front: to be compared again */
	struct meshd_consensus *consensus; /* on the next one */
};

static int add_name(void *context, const struct rail_environment *environment)
{
	struct meshd_registered *registered = context;
	environment_name *grown =
		reallocarray(registered->names, registered->count + 1, sizeof(*grown));

	if (grown == NULL)
		return -ENOMEM;
	registered->names = grown;
	memcpy(grown[registered->count++], environment->name, sizeof(*grown));
	return 0;
}

/* What is left of one with another /48 may be no member, and nobody else would see it end. */
static void start_round(struct meshd_registered *registered)
{
	bool is_over = registered->next == registered->count;

	if (is_over) {
		registered->count = registered->busy_count;
		registered->next = registered->busy_count = 0;
	}
	rail_timer_start(registered->timer, is_over ? BUSY_MS : 0);
}

/* One at a time: a node that starts is no burden. */
static void on_compared(void *context, const struct rail_error *outcome)
{
	struct meshd_registered *registered = context;

	registered->consensus = NULL;
	if (rail_etcd_may_pass(outcome)) {
		rail_timer_start(registered->timer, RETRY_MS);
		return;
	}
	if (outcome->errnum == EBUSY)
		memmove(registered->names[registered->busy_count++],
			registered->names[registered->next], sizeof(environment_name));
	else if (outcome->errnum != 0)
		rail_log(RAIL_LOG_WARN, "an environment cannot be compared with the cluster's",
			 "environment", registered->names[registered->next], "error",
			 outcome->message, NULL);
	registered->next++;
	start_round(registered);
}

static void on_timer(void *context)
{
	struct meshd_registered *registered = context;
	struct meshd *meshd = registered->meshd;
	struct rail_mesh_request request = {.kind = RAIL_MESH_ENSURE, .pool = meshd->settings.pool};
	struct rail_error error = RAIL_ERROR_NONE;

	if (registered->consensus != NULL || registered->next == registered->count)
		return;
	if (!meshd_is_joined(meshd)) {
		rail_timer_start(registered->timer, RETRY_MS);
		return;
	}
	memcpy(request.environment, registered->names[registered->next],
	       sizeof(request.environment));
	if (meshd_consensus_begin(meshd, &request, on_compared, registered, &registered->consensus,
				  &error) < 0)
		on_compared(registered, &error);
}

void meshd_registered_compare(struct meshd_registered *registered)
{
	RAIL_CLEANUP(rail_transaction_abort) struct rail_transaction *registry = NULL;
	struct rail_error error = RAIL_ERROR_NONE;

	meshd_consensus_cancel(&registered->consensus);
	registered->count = registered->next = registered->busy_count = 0;

	int result = rail_transaction_begin(registered->meshd->store, RAIL_REGISTRY, RAIL_READ,
					    &registry, &error);
	if (result == 0)
		result = rail_environment_each(registry, add_name, registered, &error);
	if (result < 0)
		rail_log(RAIL_LOG_WARN,
			 "the registry's environments cannot be compared with the "
			 "cluster's",
			 "error", error.message, NULL);
	rail_timer_start(registered->timer, 0);
}

int meshd_registered_new(struct meshd *meshd, struct meshd_registered **ret_registered,
			 struct rail_error *error)
{
	struct meshd_registered *registered = calloc(1, sizeof(*registered));

	if (registered == NULL)
		return rail_fail(error, ENOMEM, "no memory for the registry's environments");
	registered->meshd = meshd;

	int result = rail_loop_timer(meshd->loop, on_timer, registered, &registered->timer, error);

	if (result < 0)
		free(registered);
	else
		*ret_registered = registered;
	return result;
}

void meshd_registered_free(struct meshd_registered *registered)
{
	if (registered == NULL)
		return;
	meshd_consensus_cancel(&registered->consensus);
	rail_timer_remove(&registered->timer);
	free(registered->names);
	free(registered);
}
