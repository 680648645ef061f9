#include "plugins/railway-mesh/meshd/leftovers.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "pkg/base/cleanup.h"
#include "pkg/base/log.h"
#include "plugins/railway-mesh/meshd/environments.h"

enum { LOOK_MS = 60000 };

struct meshd_leftovers {
	struct meshd *meshd;
	struct rail_etcd_call *call;
	struct rail_timer *timer;
};

/* Of which environment a key is; false: of none. */
static bool read_prefix(const char *key, struct rail_prefix *ret_prefix)
{
	struct rail_prefix prefix = {{0}};
	uint8_t *bytes = prefix.bytes;
	rail_cluster_key inside;

	if (sscanf(key, RAIL_CLUSTER_ROOT "in/%2hhx%2hhx%2hhx%2hhx%2hhx%2hhx/", &bytes[0],
		   &bytes[1], &bytes[2], &bytes[3], &bytes[4], &bytes[5]) != 6)
		return false;
	rail_key_of_inside(&prefix, inside);
	*ret_prefix = prefix;
	return strncmp(key, inside, strlen(inside)) == 0;
}

static void on_keys(void *context, const struct rail_json *answer, const struct rail_error *error)
{
	struct meshd_leftovers *leftovers = context;
	RAIL_CLEANUP(rail_etcd_records_done) struct rail_etcd_records records = {.count = 0};
	struct rail_error parsing = RAIL_ERROR_NONE;
	struct rail_etcd_header header;
	struct rail_prefix prefix;

	leftovers->call = NULL;
	if (answer != NULL && rail_etcd_parse_lease_keys(answer, &header, &records, &parsing) < 0) {
		answer = NULL;
		error = &parsing;
	}
	/* That etcd is away, or the lease gone, is the session's to tell. */
	if (answer == NULL && !rail_etcd_may_pass(error))
		rail_log(RAIL_LOG_WARN,
			 "etcd does not tell what this node has there: records of pods that are "
			 "gone may stay; railway-meshd needs to read all below 'railway/'",
			 "error", error->message, NULL);
	for (size_t i = 0; i < records.count; i++)
		if (read_prefix(records.records[i].key, &prefix))
			meshd_environments_take_up(leftovers->meshd->environments, &prefix);
}

static void on_timer(void *context)
{
	struct meshd_leftovers *leftovers = context;
	const struct meshd *meshd = leftovers->meshd;
	struct rail_error error = RAIL_ERROR_NONE;

	rail_timer_start(leftovers->timer, LOOK_MS);
	if (leftovers->call != NULL || !meshd_is_joined(meshd))
		return;
	if (rail_etcd_begin(meshd->etcd, "/v3/lease/timetolive",
			    rail_etcd_encode_lease_keys(meshd->lease), on_keys, leftovers,
			    &leftovers->call, &error) < 0)
		rail_log(RAIL_LOG_WARN, "etcd cannot be asked what this node has there", "error",
			 error.message, NULL);
}

void meshd_leftovers_look_soon(struct meshd_leftovers *leftovers)
{
	rail_timer_start(leftovers->timer, 0);
}

int meshd_leftovers_new(struct meshd *meshd, struct meshd_leftovers **ret_leftovers,
			struct rail_error *error)
{
	struct meshd_leftovers *leftovers = calloc(1, sizeof(*leftovers));

	if (leftovers == NULL)
		return rail_fail(error, ENOMEM, "no memory for the node's leftovers");
	leftovers->meshd = meshd;

	int result = rail_loop_timer(meshd->loop, on_timer, leftovers, &leftovers->timer, error);

	if (result < 0) {
		free(leftovers);
		return result;
	}
	rail_timer_start(leftovers->timer, LOOK_MS);
	*ret_leftovers = leftovers;
	return 0;
}

void meshd_leftovers_free(struct meshd_leftovers *leftovers)
{
	if (leftovers == NULL)
		return;
	rail_etcd_cancel(&leftovers->call);
	rail_timer_remove(&leftovers->timer);
	free(leftovers);
}
