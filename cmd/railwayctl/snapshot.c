#include "cmd/railwayctl/snapshot.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "pkg/base/cleanup.h"
#include "pkg/base/grow.h"

void snapshot_done(struct snapshot *snapshot)
{
	free(snapshot->environments);
	free(snapshot->services);
	free(snapshot->by_number);
	free(snapshot->attachments);
	free(snapshot->members);
	*snapshot = (struct snapshot){.node = 0};
}

static int take_environment(void *context, const struct rail_environment *environment)
{
	struct snapshot *snapshot = context;
	struct rail_environment *grown =
		rail_grow(snapshot->environments, snapshot->environment_count, sizeof(*grown));

	if (grown == NULL)
		return -ENOMEM;
	snapshot->environments = grown;
	grown[snapshot->environment_count++] = *environment;
	return 0;
}

static int take_service(void *context, const struct rail_service *service)
{
	struct snapshot *snapshot = context;
	struct rail_service *grown =
		rail_grow(snapshot->services, snapshot->service_count, sizeof(*grown));

	if (grown == NULL)
		return -ENOMEM;
	snapshot->services = grown;
	grown[snapshot->service_count++] = *service;
	return 0;
}

static int take_attachment(void *context, const struct rail_attachment *attachment)
{
	struct snapshot *snapshot = context;
	struct rail_attachment *grown =
		rail_grow(snapshot->attachments, snapshot->attachment_count, sizeof(*grown));

	if (grown == NULL)
		return -ENOMEM;
	snapshot->attachments = grown;
	grown[snapshot->attachment_count++] = *attachment;
	return 0;
}

static int read_live(struct rail_store *store, struct snapshot *snapshot, struct rail_error *error)
{
	RAIL_CLEANUP(rail_transaction_abort) struct rail_transaction *live = NULL;

	if (!rail_store_is_there(store, RAIL_LIVE))
		return 0;
	int result = rail_transaction_begin(store, RAIL_LIVE, RAIL_READ, &live, error);
	if (result == 0)
		result = rail_attachment_each(live, NULL, take_attachment, snapshot, error);
	if (result == 0)
		result = rail_member_list(live, NULL, &snapshot->members, &snapshot->member_count,
					  error);
	return result;
}

static int read_registry(struct rail_store *store, struct snapshot *snapshot,
			 struct rail_error *error)
{
	RAIL_CLEANUP(rail_transaction_abort) struct rail_transaction *registry = NULL;

	if (!rail_store_is_there(store, RAIL_REGISTRY))
		return 0;
	int result = rail_transaction_begin(store, RAIL_REGISTRY, RAIL_READ, &registry, error);
	if (result == 0)
		result = rail_environment_each(registry, take_environment, snapshot, error);
	for (size_t i = 0; result == 0 && i < snapshot->environment_count; i++)
		result = rail_service_each(registry, &snapshot->environments[i].prefix,
					   take_service, snapshot, error);
	if (result == 0)
		result = rail_node_number_get(registry, &snapshot->node, error);
	return result;
}

static int by_number(const void *one, const void *other)
{
	const struct rail_service *first = one;
	const struct rail_service *second = other;
	int order = memcmp(&first->prefix, &second->prefix, sizeof(first->prefix));

	return order != 0 ? order : (int)first->number - (int)second->number;
}

static int index_services(struct snapshot *snapshot)
{
	size_t size = snapshot->service_count * sizeof(*snapshot->services);

	if (size == 0)
		return 0;
	snapshot->by_number = malloc(size);
	if (snapshot->by_number == NULL)
		return -ENOMEM;
	memcpy(snapshot->by_number, snapshot->services, size);
	qsort(snapshot->by_number, snapshot->service_count, sizeof(*snapshot->by_number),
	      by_number);
	return 0;
}

int snapshot_read(struct rail_store *store, struct snapshot *ret_snapshot, struct rail_error *error)
{
	RAIL_CLEANUP(snapshot_done) struct snapshot snapshot = {.node = RAIL_NODE_LONE};
	int result = read_live(store, &snapshot, error);

	if (result == 0)
		result = read_registry(store, &snapshot, error);
	if (result == 0)
		result = index_services(&snapshot);
	/* That of the visitors, who set no error. */
	if (result == -ENOMEM)
		return rail_fail_errno(error, ENOMEM, "copy the stores");
	if (result < 0)
		return result;
	*ret_snapshot = snapshot;
	snapshot = (struct snapshot){.node = 0};
	return 0;
}

int snapshot_environment(const struct snapshot *snapshot, const char *name,
			 const struct rail_environment **ret_environment, struct rail_error *error)
{
	char quoted[RAIL_QUOTED_NAME_SIZE];

	for (size_t i = 0; i < snapshot->environment_count; i++)
		if (strcmp(snapshot->environments[i].name, name) == 0) {
			*ret_environment = &snapshot->environments[i];
			return 0;
		}
	rail_name_quote(name, quoted);
	return rail_fail(error, ENOENT,
			 "there is no environment %s on this node; 'railwayctl environments' lists "
			 "them",
			 quoted);
}

const struct rail_service *snapshot_service(const struct snapshot *snapshot,
					    const struct rail_prefix *prefix, uint16_t number)
{
	const struct rail_service wanted = {.prefix = *prefix, .number = number};

	if (snapshot->service_count == 0)
		return NULL;
	return bsearch(&wanted, snapshot->by_number, snapshot->service_count,
		       sizeof(*snapshot->by_number), by_number);
}

const struct rail_service *snapshot_services(const struct snapshot *snapshot,
					     const struct rail_prefix *prefix, size_t *ret_count)
{
	size_t first = 0;
	size_t end;

	while (first < snapshot->service_count &&
	       !rail_prefix_equal(&snapshot->services[first].prefix, prefix))
		first++;
	for (end = first; end < snapshot->service_count &&
			  rail_prefix_equal(&snapshot->services[end].prefix, prefix);
	     end++)
		;
	*ret_count = end - first;
	return snapshot->services == NULL ? NULL : &snapshot->services[first];
}

const struct rail_member *snapshot_members(const struct snapshot *snapshot,
					   const struct rail_prefix *prefix, size_t *ret_count)
{
	size_t first = 0;
	size_t end;

	while (first < snapshot->member_count &&
	       !rail_prefix_contains(prefix, &snapshot->members[first].address))
		first++;
	for (end = first; end < snapshot->member_count &&
			  rail_prefix_contains(prefix, &snapshot->members[end].address);
	     end++)
		;
	*ret_count = end - first;
	return snapshot->members == NULL ? NULL : &snapshot->members[first];
}
