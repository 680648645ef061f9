#include "pkg/store/cluster.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "pkg/base/bytes.h"
#include "pkg/store/keys.h"

enum { REFUSAL_KEY_SIZE = RAIL_ENVIRONMENT_NAME_SIZE + 16 };

static struct rail_span id_key(void)
{
	return rail_span_of_text("cluster id");
}

static struct rail_span lease_key(void)
{
	return rail_span_of_text("cluster lease");
}

int rail_cluster_id_get(struct rail_transaction *registry, uint8_t ret_id[RAIL_CLUSTER_ID_SIZE],
			struct rail_error *error)
{
	struct rail_span value;
	int result = rail_store_get(registry, RAIL_TABLE_META, id_key(), &value, error);

	if (result < 0)
		return result;
	if (result == 0)
		return rail_fail(error, ENOENT, "this node was never in a cluster");
	if (value.size != RAIL_CLUSTER_ID_SIZE)
		return rail_record_damaged(registry, "the node's identity", error);
	memcpy(ret_id, value.bytes, RAIL_CLUSTER_ID_SIZE);
	return 0;
}

int rail_cluster_id_set(struct rail_transaction *registry, const uint8_t id[RAIL_CLUSTER_ID_SIZE],
			struct rail_error *error)
{
	return rail_store_put(registry, RAIL_TABLE_META, id_key(),
			      (struct rail_span){id, RAIL_CLUSTER_ID_SIZE}, error);
}

int rail_cluster_lease_get(struct rail_transaction *live, int64_t *ret_lease,
			   struct rail_error *error)
{
	struct rail_span value;
	int result = rail_store_get(live, RAIL_TABLE_META, lease_key(), &value, error);

	if (result < 0)
		return result;
	if (result == 0)
		return rail_fail(error, ENOENT, "this node has no lease");

	struct rail_reader reader = rail_reader_init(value.bytes, value.size);
	uint64_t lease = rail_read_u64(&reader);

	if (reader.failed || rail_reader_left(&reader) != 0)
		return rail_record_damaged(live, "the node's lease", error);
	*ret_lease = (int64_t)lease;
	return 0;
}

int rail_cluster_lease_set(struct rail_transaction *live, int64_t lease, struct rail_error *error)
{
	uint8_t record[sizeof(uint64_t)];
	struct rail_writer writer = rail_writer_init(record, sizeof(record));

	rail_write_u64(&writer, (uint64_t)lease);
	return rail_store_put(live, RAIL_TABLE_META, lease_key(), rail_span_of_writer(&writer),
			      error);
}

int rail_environment_adopt(struct rail_transaction *registry, const char *name,
			   const struct rail_prefix *prefix, struct rail_error *error)
{
	struct rail_environment environment = {.prefix = *prefix, .enabled = true};
	struct rail_environment present;
	char text[RAIL_PREFIX_TEXT_SIZE];
	int result = rail_environment_get(registry, name, &present, NULL);

	if (result == 0 && rail_prefix_equal(&present.prefix, prefix))
		return 0;
	if (result == 0) {
		rail_prefix_format(&present.prefix, text);
		return rail_fail(error, EEXIST, "environment '%s' has %s on this node", name, text);
	}
	if (result != -ENOENT)
		return rail_environment_get(registry, name, &present, error);

	result = rail_environment_by_prefix(registry, prefix, &present, NULL);
	if (result == 0) {
		rail_prefix_format(prefix, text);
		return rail_fail(error, EADDRINUSE, "%s is environment '%s' on this node", text,
				 present.name);
	}
	if (result != -ENOENT)
		return rail_environment_by_prefix(registry, prefix, &present, error);
	(void)snprintf(environment.name, sizeof(environment.name), "%s", name);
	return rail_environment_put(registry, &environment, error);
}

int rail_environment_yield(struct rail_transaction *registry, struct rail_transaction *live,
			   const char *name, const struct rail_prefix *prefix,
			   struct rail_error *error)
{
	struct rail_environment present = {.enabled = true};
	int result = rail_environment_get(registry, name, &present, NULL);
	bool is_other = result == 0 && !rail_prefix_equal(&present.prefix, prefix);

	result = is_other ? rail_environment_remove(registry, live, name, error) : 0;
	/* It was refused when the cluster had another. */
	if (result == 0)
		result = rail_environment_refuse(registry, name, NULL, error);
	if (result == 0)
		result = rail_environment_adopt(registry, name, prefix, error);
	if (result == 0 && is_other)
		result = rail_environment_set_enabled(registry, name, present.enabled, error);
	return result < 0 ? result : is_other;
}

int rail_service_adopt(struct rail_transaction *registry, const struct rail_service *service,
		       struct rail_error *error)
{
	struct rail_service present;
	int result = rail_service_get(registry, &service->prefix, service->label, &present, NULL);

	if (result == 0 && present.number == service->number)
		return 0;
	if (result == 0)
		return rail_fail(error, EEXIST, "service '%s' has the number %u on this node",
				 service->label, (unsigned int)present.number);
	if (result != -ENOENT)
		return rail_service_get(registry, &service->prefix, service->label, &present,
					error);

	result =
		rail_service_by_number(registry, &service->prefix, service->number, &present, NULL);
	if (result == 0)
		return rail_fail(error, EADDRINUSE,
				 "number %u, of service '%s', is service '%s' on this node",
				 (unsigned int)service->number, service->label, present.label);
	if (result != -ENOENT)
		return rail_service_by_number(registry, &service->prefix, service->number, &present,
					      error);
	return rail_service_put(registry, service, error);
}

struct use {
	const struct rail_service *service;
	struct rail_attachment_key key;
};

static int find_use(void *context, const struct rail_attachment *attachment)
{
	struct use *use = context;

	if (!rail_prefix_equal(&attachment->prefix, &use->service->prefix) ||
	    attachment->service != use->service->number)
		return 0;
	use->key = attachment->key;
	return 1;
}

/* Succeeds where there is no such service. */
static int forget_service(struct rail_transaction *registry, struct rail_transaction *live,
			  const struct rail_service *service, struct rail_error *error)
{
	struct use use = {.service = service};
	struct rail_subnet_key key;
	int result = rail_attachment_each(live, NULL, find_use, &use, error);

	if (result > 0)
		return rail_fail(error, EBUSY, "container '%s' is of service '%s' (number %u here)",
				 use.key.container_id, service->label,
				 (unsigned int)service->number);
	if (result == 0)
		result = rail_store_delete(registry, RAIL_TABLE_SERVICES,
					   rail_service_key(&service->prefix, service->label, &key),
					   error);
	if (result == 0)
		result = rail_store_delete(registry, RAIL_TABLE_NUMBERS,
					   rail_number_key(&service->prefix, service->number, &key),
					   error);
	return result;
}

int rail_service_yield(struct rail_transaction *registry, struct rail_transaction *live,
		       const struct rail_service *service, struct rail_error *error)
{
	struct rail_service present;
	int result = rail_service_get(registry, &service->prefix, service->label, &present, NULL);

	if (result == 0 && present.number != service->number)
		result = forget_service(registry, live, &present, error);
	if (result < 0 && result != -ENOENT)
		return result;
	result =
		rail_service_by_number(registry, &service->prefix, service->number, &present, NULL);
	if (result == 0 && strcmp(present.label, service->label) != 0)
		result = forget_service(registry, live, &present, error);
	if (result < 0 && result != -ENOENT)
		return result;
	return rail_service_adopt(registry, service, error);
}

static struct rail_span refusal_key(const char *name, char room[REFUSAL_KEY_SIZE])
{
	(void)snprintf(room, REFUSAL_KEY_SIZE, "refused %s", name);
	return rail_span_of_text(room);
}

int rail_environment_refuse(struct rail_transaction *registry, const char *name, const char *reason,
			    struct rail_error *error)
{
	char room[REFUSAL_KEY_SIZE];
	struct rail_span key = refusal_key(name, room);

	if (reason == NULL)
		return rail_store_delete(registry, RAIL_TABLE_META, key, error);
	return rail_store_put(registry, RAIL_TABLE_META, key, rail_span_of_text(reason), error);
}

int rail_environment_check_refused(struct rail_transaction *registry, const char *name,
				   struct rail_error *error)
{
	char reason[RAIL_REFUSAL_SIZE];
	char room[REFUSAL_KEY_SIZE];
	struct rail_span value;
	int result =
		rail_store_get(registry, RAIL_TABLE_META, refusal_key(name, room), &value, error);

	if (result <= 0)
		return result;
	if (!rail_text_of_span(value, reason, sizeof(reason)))
		return rail_record_damaged(registry, "a refusal", error);
	return rail_fail_code(error, RAIL_CODE_INVALID_CONFIG, EREMCHG, "%s", reason);
}
