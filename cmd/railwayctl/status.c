#include <errno.h>

#include "cmd/railwayctl/attention.h"
#include "cmd/railwayctl/ctl.h"
#include "pkg/base/cleanup.h"
#include "pkg/cluster/request.h"
#include "pkg/dns/registration.h"
#include "pkg/wg/transport.h"

static const struct table_column columns[] = {
	{"version", "version", TABLE_TEXT},
	{"config", "node's file", TABLE_TEXT},
	{"registry", "registry", TABLE_TEXT},
	{"registryThere", "registry is there", TABLE_TRUTH},
	{"live", "live store", TABLE_TEXT},
	{"liveThere", "live store is there", TABLE_TRUTH},
	{"transport", "transport of new pods", TABLE_TEXT},
	{"resolverSocket", "resolver's socket", TABLE_TEXT},
	{"resolverAnswers", "resolver answers", TABLE_TRUTH},
	{"meshSocket", "meshd's socket", TABLE_TEXT},
	{"meshAnswers", "meshd answers", TABLE_TRUTH},
	{"node", "node's number", TABLE_NUMBER},
	{"environments", "environments", TABLE_NUMBER},
	{"services", "services", TABLE_NUMBER},
	{"podsReady", "pods ready", TABLE_NUMBER},
	{"podsPending", "pods pending", TABLE_NUMBER},
	{"podsDead", "pods dead", TABLE_NUMBER},
	{"podsDisabled", "pods disabled", TABLE_NUMBER},
	{"membersLocal", "members of this node", TABLE_NUMBER},
	{"membersRemote", "members of other nodes", TABLE_NUMBER},
	{"membersUnpublished", "members not published", TABLE_NUMBER},
};

enum { COUNTS = 9 }; /* the columns from "environments" on */

/* A daemon is asked, and its answer judged: whether it is well. */
static bool judge_daemon(struct attention *attention, enum attention_kind kind, const char *socket,
			 int result, const struct rail_error *answer)
{
	if (result == 0)
		return true;
	attention_add(attention, kind, socket, answer->message);
	return false;
}

/* Whether the resolver answers. */
static bool put_daemons(struct ctl *ctl, struct table *record, struct attention *attention)
{
	const struct rail_registration_request resolver = {.kind = RAIL_REGISTRATION_STATUS};
	const struct rail_mesh_request mesh = {.kind = RAIL_MESH_STATUS};
	const struct rail_settings *settings = &ctl->settings;
	struct rail_error answer = RAIL_ERROR_NONE;
	int result = rail_registration_ask_within(settings->resolver_socket, &resolver, -1,
						  RESOLVER_LIMIT_MS, &answer);
	bool resolver_answers = judge_daemon(attention, ATTENTION_RESOLVER,
					     settings->resolver_socket, result, &answer);

	table_put_text(record, settings->resolver_socket);
	table_put_truth(record, resolver_answers);
	if (settings->cluster.endpoint_count == 0) {
		table_put_nothing(record);
		table_put_nothing(record);
		return resolver_answers;
	}
	answer = RAIL_ERROR_NONE;
	result = rail_mesh_ask(settings->mesh_socket, &mesh, &answer);
	table_put_text(record, settings->mesh_socket);
	table_put_truth(record, judge_daemon(attention, ATTENTION_MESHD, settings->mesh_socket,
					     result, &answer));
	return resolver_answers;
}

/* Of a pod that runs. Plugins are started by the runtime, in its mount namespace: what they find
 * there may not be found here, as in a container. NULL: there is none. */
static const char *transport_in_use(const struct snapshot *snapshot)
{
	for (size_t i = 0; i < snapshot->attachment_count; i++) {
		const struct rail_attachment *pod = &snapshot->attachments[i];

		if (pod->state == RAIL_READY && (pod->parts & RAIL_PART_INTERFACE) != 0)
			return pod->interface.transport;
	}
	return NULL;
}

static void put_transport(struct ctl *ctl, const struct snapshot *snapshot, struct table *record,
			  struct attention *attention)
{
	const struct rail_transport *transport = NULL;
	struct rail_error why = RAIL_ERROR_NONE;
	const char *name = NULL;

	if (rail_transport_choose(ctl->settings.transport, &transport, &why) == 0)
		name = transport->name;
	else
		name = transport_in_use(snapshot);
	if (name == NULL)
		attention_add(attention, ATTENTION_TRANSPORT, NULL, why.message);
	table_put_text(record, name);
}

static void put_counts(struct table *record, const struct snapshot *snapshot)
{
	static const enum rail_attachment_state states[] = {RAIL_READY, RAIL_PENDING, RAIL_DEAD,
							    RAIL_DISABLED};
	int64_t local = 0;
	int64_t unpublished = 0;

	table_put_number(record, snapshot->node);
	table_put_number(record, (int64_t)snapshot->environment_count);
	table_put_number(record, (int64_t)snapshot->service_count);
	for (size_t i = 0; i < sizeof(states) / sizeof(states[0]); i++) {
		int64_t count = 0;

		for (size_t j = 0; j < snapshot->attachment_count; j++)
			count += snapshot->attachments[j].state == states[i];
		table_put_number(record, count);
	}
	for (size_t i = 0; i < snapshot->member_count; i++) {
		const struct rail_member *member = &snapshot->members[i];

		local += member->local;
		unpublished += member->local && !member->published;
	}
	table_put_number(record, local);
	table_put_number(record, (int64_t)snapshot->member_count - local);
	table_put_number(record, unpublished);
}

static void put_stores(struct ctl *ctl, struct table *record)
{
	static const enum rail_store_kind kinds[] = {RAIL_REGISTRY, RAIL_LIVE};
	const char *const directories[] = {ctl->settings.state_directory,
					   ctl->settings.run_directory};

	for (size_t i = 0; i < sizeof(kinds) / sizeof(kinds[0]); i++) {
		if (ctl->store == NULL) {
			table_put_text(record, directories[i]);
			table_put_nothing(record);
		} else {
			table_put_text(record, rail_store_path(ctl->store, kinds[i]));
			table_put_truth(record, rail_store_is_there(ctl->store, kinds[i]));
		}
	}
}

/* A store that cannot be read is one of the things that are shown. */
static int read_stores(struct ctl *ctl, struct snapshot *snapshot, struct attention *attention)
{
	struct rail_error why = RAIL_ERROR_NONE;
	int result = ctl_open(ctl, &why);

	if (result == 0)
		result = snapshot_read(ctl->store, snapshot, &why);
	if (result == 0)
		result = attention_judge(attention, ctl, snapshot, &why);
	if (result < 0)
		attention_add(attention, ATTENTION_STORES, NULL, why.message);
	return result;
}

int ctl_status(struct ctl *ctl, char **arguments, struct rail_error *error)
{
	RAIL_CLEANUP(table_done) struct table record = TABLE_OF(columns);
	RAIL_CLEANUP(snapshot_done) struct snapshot snapshot = {.node = 0};
	RAIL_CLEANUP(attention_done) struct attention attention;

	(void)arguments;
	attention_init(&attention);
	int result = read_stores(ctl, &snapshot, &attention);

	table_put_text(&record, RAIL_VERSION);
	table_put_text(&record, ctl->config != NULL ? ctl->config : RAIL_NODE_FILE);
	put_stores(ctl, &record);
	put_transport(ctl, &snapshot, &record, &attention);
	if (put_daemons(ctl, &record, &attention) && result == 0)
		attention_judge_names(&attention, ctl, &snapshot);
	if (result == 0)
		put_counts(&record, &snapshot);
	for (int i = 0; result < 0 && i < 1 + COUNTS; i++)
		table_put_nothing(&record);
	attention_close(&attention);

	const struct ctl_report report = {
		.record = &record,
		.list = &attention.table,
		.list_name = "attention",
		.none = "nothing needs attention",
	};

	result = ctl_print(ctl, &report, error);
	if (result < 0)
		return result;
	return table_row_count(&attention.table) == 0 ? CTL_DONE : CTL_ATTENTION;
}
