#include "pkg/attachment/lease.h"

#include <errno.h>

#include "pkg/attachment/attachment.h"
#include "pkg/attachment/cluster.h"
#include "pkg/attachment/undo.h"
#include "pkg/base/cleanup.h"
#include "pkg/cni/result.h"

static int list_requested(const struct rail_cni_call *call, const struct rail_json **ret_list,
			  struct rail_error *error)
{
	const struct rail_json *ips = rail_cni_capability(call, "ips");

	if (ips != NULL && rail_json_type(ips) != RAIL_JSON_ARRAY)
		return rail_fail_code(error, RAIL_CODE_INVALID_CONFIG, EINVAL,
				      "runtimeConfig.ips is %s, not a list of addresses",
				      rail_json_type_name(rail_json_type(ips)));
	*ret_list = rail_json_first(ips);
	return 0;
}

/*
 * The one address that the runtime or the pod's author asks for; NULL where nobody does. Behind
 * another main plugin what is not of the environment is asked of that plugin.
 */
static int requested_address(const struct rail_cni_call *call, const struct rail_prefix *prefix,
			     const char **ret_text, struct rail_error *error)
{
	bool is_behind_another = rail_result_has_interface(call->prev_result);
	const char *argument = rail_cni_argument(call, "IP");
	const struct rail_json *entry = NULL;
	size_t count = 0;

	int result = list_requested(call, &entry, error);
	if (result < 0)
		return result;
	*ret_text = NULL;
	if (entry == NULL && argument != NULL &&
	    (!is_behind_another || rail_address_text_is_within(argument, prefix)))
		*ret_text = argument;
	for (; entry != NULL; entry = rail_json_next(entry)) {
		const char *text = rail_json_string(entry);

		if (is_behind_another && text != NULL && !rail_address_text_is_within(text, prefix))
			continue;
		if (text == NULL || count++ > 0)
			return rail_fail_code(error, RAIL_CODE_INVALID_CONFIG, EINVAL,
					      "runtimeConfig.ips: a replica has one private "
					      "address; several are asked for, or one that is no "
					      "string");
		*ret_text = text;
	}
	return 0;
}

/* ret_holder: who has it, where that is EADDRINUSE. */
static int claim_address(struct rail_operation *operation, struct rail_attachment *attachment,
			 struct rail_attachment_key *ret_holder, struct rail_error *error)
{
	RAIL_CLEANUP(rail_transaction_abort) struct rail_transaction *live = NULL;

	int result = rail_transaction_begin(operation->store, RAIL_LIVE, RAIL_WRITE, &live, error);
	if (result < 0)
		return result;
	result = rail_lease_claim(live, &attachment->address, &attachment->key, error);
	if (result == -EADDRINUSE &&
	    rail_lease_owner(live, &attachment->address, ret_holder, NULL) < 0)
		*ret_holder = attachment->key;
	if (result < 0)
		return result;
	attachment->parts |= RAIL_PART_LEASE;
	result = rail_operation_put_within(live, attachment, error);
	if (result < 0)
		return result;
	return rail_transaction_commit(&live, error);
}

static int claim_requested(struct rail_operation *operation, struct rail_attachment *attachment,
			   const char *text, struct rail_error *error)
{
	struct rail_attachment_key holder;

	int result = rail_requested_address_parse(text, &attachment->prefix, attachment->service,
						  &attachment->address, error);
	if (result < 0)
		return result;
	result = claim_address(operation, attachment, &holder, error);
	if (result == -EADDRINUSE) {
		/* A pod that comes again under another container ID finds its address with the one
		 * that went without DEL. */
		rail_attachment_bury_one(operation, &holder);
		result = claim_address(operation, attachment, &holder, error);
	}
	if (result < 0 || !rail_operation_is_clustered(operation))
		return result;
	/* It is leased here first, so that meshd does not take the claim for one that was left. */
	return rail_cluster_claim(operation, &attachment->address, error);
}

static int node_number(struct rail_operation *operation, uint32_t *ret_node,
		       struct rail_error *error)
{
	RAIL_CLEANUP(rail_transaction_abort) struct rail_transaction *registry = NULL;

	int result = rail_transaction_begin(operation->store, RAIL_REGISTRY, RAIL_READ, &registry,
					    error);
	if (result < 0)
		return result;
	result = rail_node_number_get(registry, ret_node, error);
	if (result == 0 && *ret_node == RAIL_NODE_LONE && rail_operation_is_clustered(operation))
		return rail_fail_code(
			error, RAIL_CODE_TRY_AGAIN, EAGAIN,
			"this node has not joined its cluster yet, and has no number to "
			"give out addresses under: is railway-meshd running? See its "
			"log");
	return result;
}

/* Asks the registry for a range of counters, and notes it. Another process may have been quicker:
 * either range will do. */
static int reserve_range(struct rail_operation *operation, const struct rail_attachment *attachment,
			 uint32_t node, struct rail_error *error)
{
	RAIL_CLEANUP(rail_transaction_abort) struct rail_transaction *transaction = NULL;
	struct rail_counter_range range;

	int result = rail_transaction_begin(operation->store, RAIL_REGISTRY, RAIL_WRITE,
					    &transaction, error);
	if (result == 0)
		result = rail_counter_reserve(transaction, &attachment->prefix, attachment->service,
					      node, &range, error);
	if (result == 0)
		result = rail_transaction_commit(&transaction, error);
	if (result < 0)
		return result;

	result = rail_transaction_begin(operation->store, RAIL_LIVE, RAIL_WRITE, &transaction,
					error);
	if (result == 0)
		result = rail_lease_range(transaction, &attachment->prefix, attachment->service,
					  node, &range, error);
	if (result < 0)
		return result;
	return rail_transaction_commit(&transaction, error);
}

static int take_next(struct rail_operation *operation, struct rail_attachment *attachment,
		     uint32_t node, struct rail_error *error)
{
	RAIL_CLEANUP(rail_transaction_abort) struct rail_transaction *live = NULL;

	int result = rail_transaction_begin(operation->store, RAIL_LIVE, RAIL_WRITE, &live, error);
	if (result < 0)
		return result;
	result = rail_lease_take(live, &attachment->prefix, attachment->service, node,
				 &attachment->key, &attachment->address, error);
	if (result < 0)
		return result;
	attachment->parts |= RAIL_PART_LEASE;
	result = rail_operation_put_within(live, attachment, error);
	if (result < 0)
		return result;
	return rail_transaction_commit(&live, error);
}

int rail_attachment_take_lease(struct rail_operation *operation, struct rail_attachment *attachment,
			       struct rail_error *error)
{
	const char *requested = NULL;
	uint32_t node = 0;

	int result = requested_address(operation->call, &attachment->prefix, &requested, error);
	if (result < 0)
		return result;
	if (requested != NULL)
		return claim_requested(operation, attachment, requested, error);

	result = node_number(operation, &node, error);
	if (result < 0)
		return result;
	/* A range that was just noted can be used up by others before we are back: 65,536 addresses
	 * at a time. */
	for (int attempt = 0; attempt < 8; attempt++) {
		result = take_next(operation, attachment, node, error);
		if (result != -ERANGE)
			return result;
		result = reserve_range(operation, attachment, node, error);
		if (result < 0)
			return result;
	}
	return rail_fail_code(
		error, RAIL_CODE_TRY_AGAIN, EAGAIN,
		"the service's addresses are being taken faster than they can be reserved");
}

int rail_attachment_lease_for_ipam(struct rail_operation *operation,
				   struct rail_attachment *attachment, struct rail_error *error)
{
	struct rail_operation for_ipam = *operation;

	for_ipam.plugin = RAIL_PLUGIN_IPAM;
	int result =
		rail_settings_of_call(operation->call, RAIL_PLUGIN_IPAM, &for_ipam.settings, error);
	if (result == 0)
		result = rail_attachment_check_agreement(&for_ipam, attachment, error);
	return result < 0 ? result : rail_attachment_take_lease(operation, attachment, error);
}
