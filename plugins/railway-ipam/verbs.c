#include "plugins/railway-ipam/verbs.h"

#include <arpa/inet.h>
#include <errno.h>
#include <string.h>

#include "pkg/attachment/attachment.h"
#include "pkg/attachment/lease.h"
#include "pkg/attachment/undo.h"
#include "pkg/base/cleanup.h"
#include "pkg/cni/result.h"

enum { ADDRESS_LENGTH = 64 };

static int make_result(const struct rail_cni_call *call, const struct rail_attachment *attachment,
		       struct rail_json **ret_result, struct rail_error *error)
{
	RAIL_CLEANUP(rail_json_freep) struct rail_json *result = NULL;
	char environment[RAIL_PREFIX_TEXT_SIZE];

	int outcome = rail_result_begin(call, &result, error);
	if (outcome == 0 && attachment->state != RAIL_DISABLED) {
		rail_prefix_format(&attachment->prefix, environment);
		outcome = rail_result_add_address(result, call->version, &attachment->address,
						  ADDRESS_LENGTH, -1, error);
		if (outcome == 0)
			outcome = rail_result_add_route(result, call->version, environment, error);
	}
	if (outcome == 0)
		*ret_result = RAIL_TAKE_POINTER(result);
	return outcome;
}

/* Nothing of an ADD that failed stays. Where railway-mesh called us, the rest of the attachment is
 * its own to undo. */
static void undo_failed(struct rail_operation *operation, const struct rail_attachment *attachment)
{
	bool delegated = rail_attachment_is_delegated(operation, attachment);

	(void)rail_attachment_give_up(operation, attachment,
				      delegated ? RAIL_PART_LEASE : RAIL_PARTS_ALL, NULL);
}

int ipam_add(const struct rail_cni_call *call, struct rail_json **ret_result,
	     struct rail_error *error)
{
	RAIL_CLEANUP(rail_operation_end) struct rail_operation operation = {0};
	struct rail_attachment attachment = {0};
	RAIL_CLOSE int netns_fd = -1;

	int result = rail_operation_begin(call, RAIL_PLUGIN_IPAM, &operation, error);
	if (result == 0)
		result = rail_attachment_begin(&operation, &attachment, &netns_fd, error);
	if (result < 0)
		return result;
	if (attachment.state == RAIL_DISABLED)
		return make_result(call, &attachment, ret_result, error);

	result = rail_attachment_take_lease(&operation, &attachment, error);
	if (result == 0)
		result = make_result(call, &attachment, ret_result, error);
	if (result == 0)
		result = rail_attachment_finish(&operation, &attachment, error);
	if (result < 0)
		undo_failed(&operation, &attachment);
	return result;
}

void ipam_undo_add(const struct rail_cni_call *call)
{
	rail_attachment_withdraw(call, RAIL_PLUGIN_IPAM, true);
}

int ipam_del(const struct rail_cni_call *call, struct rail_error *error)
{
	RAIL_CLEANUP(rail_operation_end) struct rail_operation operation = {0};

	int result = rail_operation_begin(call, RAIL_PLUGIN_IPAM, &operation, error);
	if (result < 0)
		return result;
	/* Addresses are the first thing that an attachment gets and the last that it gives back:
	 * what others left behind goes with it. */
	return rail_attachment_undo(&operation, &operation.key, RAIL_PARTS_ALL, error);
}

struct address_search {
	const struct rail_attachment *attachment;
	bool differs;
};

/* Behind another main plugin the result does not have the private address; where it has one it is
 * the leased one. */
static int compare_address(void *context, const struct rail_result_address *address)
{
	struct address_search *search = context;

	search->differs = rail_prefix_contains(&search->attachment->prefix, &address->address) &&
			  memcmp(&address->address, &search->attachment->address,
				 sizeof(address->address)) != 0;
	return search->differs ? 1 : 0;
}

int ipam_check(const struct rail_cni_call *call, struct rail_error *error)
{
	RAIL_CLEANUP(rail_operation_end) struct rail_operation operation = {0};
	RAIL_CLEANUP(rail_transaction_abort) struct rail_transaction *live = NULL;
	struct rail_attachment_key owner;
	struct rail_attachment attachment = {0};
	char text[INET6_ADDRSTRLEN];

	int result = rail_operation_begin(call, RAIL_PLUGIN_IPAM, &operation, error);
	if (result < 0)
		return result;
	result = rail_operation_attachment(&operation, &attachment, error);
	if (result == 0 && attachment.state == RAIL_DISABLED)
		return 0;
	if (result == -ENOENT || (result == 0 && (attachment.parts & RAIL_PART_LEASE) == 0))
		return rail_fail_code(error, RAIL_CODE_CHECK_FAILED, ENOENT,
				      "container '%s' has no lease for '%s' in network '%s'",
				      call->container_id, call->interface, call->network);
	if (result < 0)
		return result;

	(void)inet_ntop(AF_INET6, &attachment.address, text, sizeof(text));
	result = rail_transaction_begin(operation.store, RAIL_LIVE, RAIL_READ, &live, error);
	if (result < 0)
		return result;
	result = rail_lease_owner(live, &attachment.address, &owner, error);
	if (result < 0 || !rail_attachment_key_equal(&owner, &operation.key))
		return rail_fail_code(error, RAIL_CODE_CHECK_FAILED, ENOENT,
				      "address %s is not leased to container '%s'", text,
				      call->container_id);

	if (call->prev_result == NULL)
		return 0;
	struct address_search search = {.attachment = &attachment};
	result = rail_result_each_address(call->prev_result, call->version, compare_address,
					  &search, error);
	if (result < 0 && result != -ENOENT)
		return result;
	if (search.differs)
		return rail_fail_code(error, RAIL_CODE_CHECK_FAILED, ESTALE,
				      "prevResult has another address of the environment than the "
				      "leased one, %s",
				      text);
	return 0;
}

int ipam_gc(const struct rail_cni_call *call, struct rail_error *error)
{
	RAIL_CLEANUP(rail_operation_end) struct rail_operation operation = {0};

	int result = rail_operation_begin(call, RAIL_PLUGIN_IPAM, &operation, error);
	if (result < 0)
		return result;
	return rail_attachment_collect_garbage(&operation, error);
}

/* What the next ADD may need of the registry: its turn to write, and a /48 for an environment that
 * is not there yet. The one made here, under a name for the message, is given up again. */
static int try_registry(struct rail_operation *operation, struct rail_error *error)
{
	RAIL_CLEANUP(rail_transaction_abort) struct rail_transaction *registry = NULL;
	const char *configured = operation->settings.environment;
	struct rail_environment environment;

	int result = rail_transaction_begin(operation->store, RAIL_REGISTRY, RAIL_WRITE, &registry,
					    error);
	if (result < 0)
		return result;
	return rail_environment_ensure(registry, configured != NULL ? configured : "a new one",
				       &operation->settings.pool, &environment, error);
}

int ipam_status(const struct rail_cni_call *call, struct rail_error *error)
{
	RAIL_CLEANUP(rail_operation_end) struct rail_operation operation = {0};
	RAIL_CLEANUP(rail_transaction_abort) struct rail_transaction *live = NULL;

	int result = rail_operation_begin(call, RAIL_PLUGIN_IPAM, &operation, error);
	if (result == 0 && operation.settings.enabled) {
		result = try_registry(&operation, error);
		/* A store without room holds up pods of new services alone. A tenant may have
		 * filled it: the node is not to be taken from the others for that. */
		if (result == -ENOSPC && error->code == RAIL_CODE_IO)
			result = 0;
	}
	if (result == 0)
		result = rail_transaction_begin(operation.store, RAIL_LIVE, RAIL_WRITE, &live,
						error);
	return result < 0 ? rail_error_as_status(error, result, RAIL_CODE_NOT_AVAILABLE) : 0;
}
