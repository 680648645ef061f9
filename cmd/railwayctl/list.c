#include "cmd/railwayctl/ctl.h"

#include <stdlib.h>
#include <string.h>

#include "pkg/base/cleanup.h"
#include "pkg/wg/key.h"

/* The commands that list what the stores hold. */

static int print_list(const struct ctl *ctl, const char *name, const struct table *table,
		      struct rail_error *error)
{
	return ctl_print(ctl, &(struct ctl_report){.list = table, .list_name = name}, error);
}

/* The stores, and the environment that a command is about. */
static int read_environment(struct ctl *ctl, const char *name, struct snapshot *ret_snapshot,
			    const struct rail_environment **ret_environment,
			    struct rail_error *error)
{
	int result = ctl_read(ctl, ret_snapshot, error);

	return result < 0 ? result
			  : snapshot_environment(ret_snapshot, name, ret_environment, error);
}

/* The attachments of an environment that are given a private network. */
static int64_t count_pods(const struct snapshot *snapshot, const struct rail_prefix *prefix)
{
	int64_t count = 0;

	for (size_t i = 0; i < snapshot->attachment_count; i++) {
		const struct rail_attachment *pod = &snapshot->attachments[i];

		count += pod->state != RAIL_DISABLED && rail_prefix_equal(&pod->prefix, prefix);
	}
	return count;
}

int ctl_environments(struct ctl *ctl, char **arguments, struct rail_error *error)
{
	static const struct table_column columns[] = {
		{"environment", "ENVIRONMENT", TABLE_TEXT}, {"prefix", "PREFIX", TABLE_TEXT},
		{"enabled", "ENABLED", TABLE_TRUTH},	    {"services", "SERVICES", TABLE_NUMBER},
		{"localPods", "LOCAL PODS", TABLE_NUMBER},  {"members", "MEMBERS", TABLE_NUMBER},
	};
	RAIL_CLEANUP(table_done) struct table table = TABLE_OF(columns);
	RAIL_CLEANUP(snapshot_done) struct snapshot snapshot = {.node = 0};

	(void)arguments;
	int result = ctl_read(ctl, &snapshot, error);
	if (result < 0)
		return result;
	for (size_t i = 0; i < snapshot.environment_count; i++) {
		const struct rail_environment *environment = &snapshot.environments[i];
		char prefix[RAIL_PREFIX_TEXT_SIZE];
		size_t count;

		rail_prefix_format(&environment->prefix, prefix);
		table_put_text(&table, environment->name);
		table_put_text(&table, prefix);
		table_put_truth(&table, environment->enabled);
		(void)snapshot_services(&snapshot, &environment->prefix, &count);
		table_put_number(&table, (int64_t)count);
		table_put_number(&table, count_pods(&snapshot, &environment->prefix));
		(void)snapshot_members(&snapshot, &environment->prefix, &count);
		table_put_number(&table, (int64_t)count);
	}
	return print_list(ctl, "environments", &table, error);
}

int ctl_services(struct ctl *ctl, char **arguments, struct rail_error *error)
{
	static const struct table_column columns[] = {
		{"service", "SERVICE", TABLE_TEXT},
		{"originalName", "ORIGINAL NAME", TABLE_TEXT},
		{"number", "NUMBER", TABLE_NUMBER},
		{"subnet", "SUBNET", TABLE_TEXT},
		{"replicas", "REPLICAS", TABLE_NUMBER},
		{"localReplicas", "LOCAL", TABLE_NUMBER},
	};
	RAIL_CLEANUP(table_done) struct table table = TABLE_OF(columns);
	RAIL_CLEANUP(snapshot_done) struct snapshot snapshot = {.node = 0};
	const struct rail_environment *environment = NULL;
	size_t member_count = 0;
	size_t count = 0;
	int result = read_environment(ctl, arguments[0], &snapshot, &environment, error);

	if (result < 0)
		return result;

	const struct rail_service *services =
		snapshot_services(&snapshot, &environment->prefix, &count);
	const struct rail_member *members =
		snapshot_members(&snapshot, &environment->prefix, &member_count);

	for (size_t i = 0; i < count; i++) {
		const struct rail_service *service = &services[i];
		bool has_other_name = strcmp(service->original, service->label) != 0;
		char subnet[RAIL_PREFIX_TEXT_SIZE];
		int64_t replicas = 0;
		int64_t local = 0;

		for (size_t j = 0; j < member_count; j++) {
			if (rail_address_split(&members[j].address).service != service->number)
				continue;
			replicas++;
			local += members[j].local;
		}
		rail_subnet_format(&service->prefix, service->number, subnet);
		table_put_text(&table, service->label);
		table_put_text(&table, has_other_name ? service->original : NULL);
		table_put_number(&table, service->number);
		table_put_text(&table, subnet);
		table_put_number(&table, replicas);
		table_put_number(&table, local);
	}
	return print_list(ctl, "services", &table, error);
}

static int by_identity(const void *one, const void *other)
{
	const struct rail_attachment *first = one;
	const struct rail_attachment *second = other;
	int order = strcmp(first->identity.environment, second->identity.environment);

	if (order == 0)
		order = strcmp(first->identity.service, second->identity.service);
	if (order == 0)
		order = strcmp(first->identity.replica, second->identity.replica);
	return order != 0 ? order : strcmp(first->key.container_id, second->key.container_id);
}

int ctl_pods(struct ctl *ctl, char **arguments, struct rail_error *error)
{
	static const struct table_column columns[] = {
		{"environment", "ENVIRONMENT", TABLE_TEXT},
		{"service", "SERVICE", TABLE_TEXT},
		{"replica", "REPLICA", TABLE_TEXT},
		{"address", "ADDRESS", TABLE_TEXT},
		{"state", "STATE", TABLE_TEXT},
		{"containerId", "CONTAINER ID", TABLE_TEXT},
		{"interface", "INTERFACE", TABLE_TEXT},
		{"netns", "NETNS", TABLE_TEXT},
	};
	RAIL_CLEANUP(table_done) struct table table = TABLE_OF(columns);
	RAIL_CLEANUP(snapshot_done) struct snapshot snapshot = {.node = 0};
	const struct rail_environment *environment = NULL;
	int result = ctl_read(ctl, &snapshot, error);

	if (result == 0 && arguments[0] != NULL)
		result = snapshot_environment(&snapshot, arguments[0], &environment, error);
	if (result < 0)
		return result;
	if (snapshot.attachment_count > 0)
		qsort(snapshot.attachments, snapshot.attachment_count,
		      sizeof(*snapshot.attachments), by_identity);
	for (size_t i = 0; i < snapshot.attachment_count; i++) {
		const struct rail_attachment *pod = &snapshot.attachments[i];

		if (environment != NULL && !rail_prefix_equal(&pod->prefix, &environment->prefix))
			continue;
		table_put_text(&table, pod->identity.environment);
		table_put_text(&table, pod->identity.service);
		table_put_text(&table, pod->identity.replica);
		if ((pod->parts & RAIL_PART_LEASE) != 0)
			ctl_put_address(&table, &pod->address);
		else
			table_put_nothing(&table);
		table_put_text(&table, ctl_state_name(pod->state));
		table_put_text(&table, pod->key.container_id);
		table_put_text(&table, pod->key.interface);
		table_put_text(&table, pod->netns_path);
	}
	return print_list(ctl, "pods", &table, error);
}

static void put_member(struct table *table, const struct snapshot *snapshot,
		       const struct rail_member *member)
{
	const struct rail_address_parts parts = rail_address_split(&member->address);
	const struct rail_service *service =
		snapshot_service(snapshot, &parts.prefix, parts.service);
	char endpoint[RAIL_ENDPOINT_TEXT_SIZE];
	char key[RAIL_KEY_TEXT_SIZE];

	rail_endpoint_format(&member->endpoint, endpoint);
	rail_key_format(&member->public_key, key);
	ctl_put_address(table, &member->address);
	table_put_text(table, service != NULL ? service->label : NULL);
	table_put_text(table, member->replica);
	table_put_number(table, member->node);
	table_put_truth(table, member->local);
	table_put_truth(table, member->named);
	table_put_truth(table, member->published);
	table_put_text(table, endpoint);
	table_put_text(table, key);
}

int ctl_members(struct ctl *ctl, char **arguments, struct rail_error *error)
{
	static const struct table_column columns[] = {
		{"address", "ADDRESS", TABLE_TEXT},	 {"service", "SERVICE", TABLE_TEXT},
		{"replica", "REPLICA", TABLE_TEXT},	 {"node", "NODE", TABLE_NUMBER},
		{"local", "LOCAL", TABLE_TRUTH},	 {"named", "NAMED", TABLE_TRUTH},
		{"published", "PUBLISHED", TABLE_TRUTH}, {"endpoint", "ENDPOINT", TABLE_TEXT},
		{"publicKey", "PUBLIC KEY", TABLE_TEXT},
	};
	RAIL_CLEANUP(table_done) struct table table = TABLE_OF(columns);
	RAIL_CLEANUP(snapshot_done) struct snapshot snapshot = {.node = 0};
	const struct rail_environment *environment = NULL;
	size_t count = 0;
	int result = read_environment(ctl, arguments[0], &snapshot, &environment, error);

	if (result < 0)
		return result;

	const struct rail_member *members =
		snapshot_members(&snapshot, &environment->prefix, &count);

	for (size_t i = 0; i < count; i++)
		put_member(&table, &snapshot, &members[i]);
	return print_list(ctl, "members", &table, error);
}
