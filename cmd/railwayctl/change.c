#include "cmd/railwayctl/ctl.h"

#include <errno.h>
#include <limits.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>

#include "pkg/base/cleanup.h"

/* The commands that change the registry. */

static bool is_clustered(const struct ctl *ctl)
{
	return ctl->settings.cluster.endpoint_count > 0;
}

static int set_enabled(struct ctl *ctl, const char *name, bool enabled, struct rail_error *error)
{
	RAIL_CLEANUP(rail_transaction_abort) struct rail_transaction *registry = NULL;
	int result = ctl_open(ctl, error);

	if (result == 0)
		result = rail_transaction_begin(ctl->store, RAIL_REGISTRY, RAIL_WRITE, &registry,
						error);
	if (result == 0)
		result = rail_environment_set_enabled(registry, name, enabled, error);
	return result == 0 ? rail_transaction_commit(&registry, error) : result;
}

static int print_enabled(struct ctl *ctl, const char *name, bool enabled, struct rail_error *error)
{
	static const struct table_column columns[] = {
		{"environment", "environment", TABLE_TEXT},
		{"enabled", "enabled", TABLE_TRUTH},
	};
	RAIL_CLEANUP(table_done) struct table table = TABLE_OF(columns);
	char quoted[RAIL_QUOTED_NAME_SIZE];

	if (ctl->json) {
		table_put_text(&table, name);
		table_put_truth(&table, enabled);
		return ctl_print(ctl, &(struct ctl_report){.record = &table}, error);
	}
	rail_name_quote(name, quoted);
	(void)printf("environment %s is %s on this node%s: %s\n", quoted,
		     enabled ? "enabled" : "disabled",
		     is_clustered(ctl) ? " (and on no other: the flag is not shared)" : "",
		     enabled ? "new pods get a private network; those that were started without "
			       "one stay without"
			     : "new pods get no private network; those that run keep theirs");
	return CTL_DONE;
}

static int change(struct ctl *ctl, const char *name, bool enabled, struct rail_error *error)
{
	int result = set_enabled(ctl, name, enabled, error);

	return result < 0 ? result : print_enabled(ctl, name, enabled, error);
}

int ctl_enable(struct ctl *ctl, char **arguments, struct rail_error *error)
{
	return change(ctl, arguments[0], true, error);
}

int ctl_disable(struct ctl *ctl, char **arguments, struct rail_error *error)
{
	return change(ctl, arguments[0], false, error);
}

/* Of a live store that was not there when the stores were opened: whether it was made since. One
 * that another boot left is older. */
static bool live_store_has_come(const struct ctl *ctl, const struct timespec *opened)
{
	char path[PATH_MAX];
	struct stat status;

	(void)snprintf(path, sizeof(path), "%s/data.mdb", rail_store_path(ctl->store, RAIL_LIVE));
	/* A file's times may be some milliseconds behind. */
	return stat(path, &status) == 0 && status.st_ctim.tv_sec >= opened->tv_sec - 1;
}

/*
 * Nothing of it may live. A pod whose ADD has looked it up already, and that is stored after this
 * look, finds that it is gone, and its ADD fails (pkg/attachment).
 */
static int remove_records(struct ctl *ctl, char **arguments, struct rail_error *error)
{
	struct timespec opened;

	RAIL_CLEANUP(rail_transaction_abort) struct rail_transaction *registry = NULL;
	RAIL_CLEANUP(rail_transaction_abort) struct rail_transaction *live = NULL;
	struct rail_environment environment;
	int result;

	(void)clock_gettime(CLOCK_REALTIME, &opened);
	result = ctl_open(ctl, error);
	if (result == 0)
		result = rail_transaction_begin(ctl->store, RAIL_REGISTRY, RAIL_WRITE, &registry,
						error);
	/* Without one nothing lives. */
	if (result == 0 && !rail_store_is_there(ctl->store, RAIL_LIVE) &&
	    live_store_has_come(ctl, &opened))
		return rail_fail(error, EAGAIN,
				 "this node's first pod since it booted comes at this moment: try "
				 "again");
	if (result == 0 && rail_store_is_there(ctl->store, RAIL_LIVE))
		result = rail_transaction_begin(ctl->store, RAIL_LIVE, RAIL_READ, &live, error);
	if (result == 0)
		result = rail_environment_get(registry, arguments[0], &environment, error);
	if (result < 0)
		return result;
	result = arguments[1] == NULL ? rail_environment_remove(registry, live, arguments[0], error)
				      : rail_service_remove(registry, live, &environment.prefix,
							    arguments[1], error);
	rail_transaction_abort(&live);
	return result == 0 ? rail_transaction_commit(&registry, error) : result;
}

/* What stands in the way, for a removal that was refused. */
static int explain_refusal(struct ctl *ctl, char **arguments, struct rail_error *error)
{
	RAIL_CLEANUP(snapshot_done) struct snapshot snapshot = {.node = 0};
	const struct rail_environment *environment = NULL;
	const struct rail_error refusal = *error;
	size_t members = 0;
	size_t pods = 0;
	size_t member_count;
	size_t service_count;

	if (snapshot_read(ctl->store, &snapshot, NULL) < 0 ||
	    snapshot_environment(&snapshot, arguments[0], &environment, NULL) < 0)
		return -EBUSY;

	const struct rail_member *member =
		snapshot_members(&snapshot, &environment->prefix, &member_count);
	const struct rail_service *services =
		snapshot_services(&snapshot, &environment->prefix, &service_count);
	const struct rail_service *service = NULL;

	for (size_t i = 0; arguments[1] != NULL && i < service_count; i++)
		if (strcmp(services[i].label, arguments[1]) == 0)
			service = &services[i];
	for (size_t i = 0; i < member_count; i++)
		members += service == NULL ||
			   rail_address_split(&member[i].address).service == service->number;
	for (size_t i = 0; i < snapshot.attachment_count; i++) {
		const struct rail_attachment *pod = &snapshot.attachments[i];

		pods += rail_prefix_equal(&pod->prefix, &environment->prefix) &&
			(service == NULL || pod->service == service->number);
	}
	return rail_fail(error, EBUSY,
			 "%.700s (pods of this node: %zu, members: %zu; 'railwayctl pods' and "
			 "'railwayctl members' list them)",
			 refusal.message, pods, members);
}

static int print_removed(struct ctl *ctl, char **arguments, struct rail_error *error)
{
	static const struct table_column columns[] = {
		{"environment", "environment", TABLE_TEXT},
		{"service", "service", TABLE_TEXT},
		{"removed", "removed", TABLE_TRUTH},
	};
	RAIL_CLEANUP(table_done) struct table table = TABLE_OF(columns);
	char environment[RAIL_QUOTED_NAME_SIZE];
	char service[RAIL_QUOTED_NAME_SIZE];

	if (ctl->json) {
		table_put_text(&table, arguments[0]);
		table_put_text(&table, arguments[1]);
		table_put_truth(&table, true);
		return ctl_print(ctl, &(struct ctl_report){.record = &table}, error);
	}
	rail_name_quote(arguments[0], environment);
	if (arguments[1] == NULL) {
		(void)printf("environment %s is removed, with its services and its /48\n",
			     environment);
		return CTL_DONE;
	}
	rail_name_quote(arguments[1], service);
	(void)printf("service %s of environment %s is removed; its addresses are never given out "
		     "again\n",
		     service, environment);
	return CTL_DONE;
}

int ctl_remove(struct ctl *ctl, char **arguments, struct rail_error *error)
{
	/* An environment that comes back from etcd has the same /48, and here no counter any more
	 * that says which of its addresses were given out. */
	if (is_clustered(ctl))
		return rail_fail(error, EPERM,
				 "this node is in a cluster (key 'cluster'): etcd holds its "
				 "environments and services for all nodes and keeps them for ever. "
				 "Removed here, it would come back with the next pod, and give out "
				 "addresses a second time");

	int result = remove_records(ctl, arguments, error);

	if (result == -EBUSY)
		return explain_refusal(ctl, arguments, error);
	return result < 0 ? result : print_removed(ctl, arguments, error);
}
