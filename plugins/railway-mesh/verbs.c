#include "plugins/railway-mesh/verbs.h"

#include <errno.h>
#include <string.h>

#include "pkg/attachment/attachment.h"
#include "pkg/attachment/cluster.h"
#include "pkg/attachment/undo.h"
#include "pkg/base/cleanup.h"
#include "pkg/mesh/lock.h"
#include "pkg/mesh/pod.h"
#include "pkg/mesh/wiring.h"
#include "plugins/railway-mesh/addresses.h"
#include "plugins/railway-mesh/join.h"

/* Whether another main plugin has made the pod's CNI_IFNAME. Plugins that only give addresses make
 * no interface. */
static bool is_behind_another(const struct rail_cni_call *call)
{
	return rail_result_has_interface(call->prev_result);
}

static const char *choose_interface_name(const struct rail_operation *operation)
{
	const struct rail_cni_call *call = operation->call;

	if (operation->settings.interface[0] != '\0')
		return operation->settings.interface;
	if (is_behind_another(call))
		return "railway0";
	return call->interface;
}

/*
 * In the plain chain railway-ipam's address and route stand in prevResult already; the address only
 * lacks its interface. Behind another main plugin only the interface is added: the reference
 * plugins' CHECK expects every address and route of the result on their own interface, and
 * Kubernetes would take the private address for one of the pod's own.
 */
static int make_result(const struct rail_cni_call *call, const struct rail_attachment *attachment,
		       unsigned int mtu, struct rail_json **ret_result, struct rail_error *error)
{
	RAIL_CLEANUP(rail_json_freep) struct rail_json *result = NULL;
	char environment[RAIL_PREFIX_TEXT_SIZE];
	int index = -1;

	int outcome = rail_result_begin(call, &result, error);
	if (outcome < 0)
		return outcome;
	outcome = rail_result_add_interface(result, call->version, attachment->interface.name, "",
					    mtu, call->netns, &index, error);
	if (outcome < 0)
		return outcome;
	if (is_behind_another(call)) {
		*ret_result = RAIL_TAKE_POINTER(result);
		return 0;
	}
	if (call->ipam != NULL) {
		rail_prefix_format(&attachment->prefix, environment);
		outcome = rail_result_add_address(result, call->version, &attachment->address,
						  RAIL_POD_ADDRESS_LENGTH, index, error);
		if (outcome == 0)
			outcome = rail_result_add_route(result, call->version, environment, error);
	} else {
		outcome = rail_result_assign_address(result, call->version, &attachment->address,
						     index, error);
	}
	if (outcome == 0)
		*ret_result = RAIL_TAKE_POINTER(result);
	return outcome;
}

int mesh_add(const struct rail_cni_call *call, struct rail_json **ret_result,
	     struct rail_error *error)
{
	RAIL_CLEANUP(rail_operation_end) struct rail_operation operation = {0};
	struct rail_attachment attachment = {0};
	RAIL_CLOSE int netns_fd = -1;
	unsigned int mtu = 0;

	int result = rail_operation_begin(call, RAIL_PLUGIN_MESH, &operation, error);
	if (result == 0)
		result = rail_attachment_begin(&operation, &attachment, &netns_fd, error);
	if (result < 0) {
		rail_operation_end(&operation);
		rail_attachment_withdraw(call, RAIL_PLUGIN_MESH, false);
		return result;
	}
	if (attachment.state == RAIL_DISABLED)
		return rail_result_begin(call, ret_result, error);

	result = mesh_get_address(&operation, &attachment, error);
	if (result == 0)
		result = mesh_join(&operation, &attachment, netns_fd,
				   choose_interface_name(&operation), &mtu, error);
	if (result == 0)
		result = make_result(call, &attachment, mtu, ret_result, error);
	if (result == 0)
		result = rail_attachment_finish(&operation, &attachment, error);
	if (result < 0) {
		/* Nomad tries again in the same netns, with the same ID, without a DEL between. */
		(void)rail_attachment_give_up(&operation, &attachment, RAIL_PARTS_ALL, NULL);
		(void)mesh_delegate(call, RAIL_CNI_DEL, NULL);
	}
	return result;
}

void mesh_undo_add(const struct rail_cni_call *call)
{
	rail_attachment_withdraw(call, RAIL_PLUGIN_MESH, true);
	(void)mesh_delegate(call, RAIL_CNI_DEL, NULL);
}

int mesh_del(const struct rail_cni_call *call, struct rail_error *error)
{
	RAIL_CLEANUP(rail_operation_end) struct rail_operation operation = {0};
	struct rail_error all = RAIL_ERROR_NONE;
	struct rail_error one = RAIL_ERROR_NONE;
	/* Asked once: an answer that fails the first time must not leave the lease to nobody. */
	bool is_ipam_too = mesh_is_ipam_too(call);
	uint32_t parts = is_ipam_too ? RAIL_PARTS_ALL : RAIL_PART_INTERFACE | RAIL_PART_MEMBER;

	/* A store that cannot be opened must not keep the delegated plugin from its part. */
	if (rail_operation_begin(call, RAIL_PLUGIN_MESH, &operation, &one) < 0 ||
	    rail_attachment_undo(&operation, &operation.key, parts, &one) < 0)
		rail_error_collect(&all, &one);
	if (!is_ipam_too && mesh_delegate(call, RAIL_CNI_DEL, &one) < 0)
		rail_error_collect(&all, &one);

	return rail_error_outcome(&all, error);
}

/* Under the environment's lock: between a member's record and its peers CHECK would find what is
 * none of this pod's faults. */
static int check_peers(const struct rail_operation *operation,
		       const struct rail_attachment *attachment, int netns_fd,
		       struct rail_error *error)
{
	RAIL_CLEANUP(rail_environment_lock_abandon)
	struct rail_environment_lock lock = RAIL_ENVIRONMENT_LOCK_NONE;

	int result = rail_environment_lock_take(operation->settings.run_directory,
						&attachment->prefix, &lock, error);
	if (result < 0)
		return result;
	result = rail_wiring_check(operation->store, attachment, netns_fd, error);
	/* What the holder before left undone is not done by looking. */
	if (!lock.needs_repair)
		rail_environment_lock_finish(&lock, false);
	return result;
}

int mesh_check(const struct rail_cni_call *call, struct rail_error *error)
{
	RAIL_CLEANUP(rail_operation_end) struct rail_operation operation = {0};
	struct rail_attachment attachment = {0};
	struct rail_netns_id netns;
	RAIL_CLOSE int netns_fd = -1;

	int result = rail_operation_begin(call, RAIL_PLUGIN_MESH, &operation, error);
	if (result == 0)
		result = rail_netns_open(call->netns, &netns_fd, &netns, error);
	if (result < 0)
		return result;
	result = rail_operation_attachment(&operation, &attachment, error);
	if (result == 0 && attachment.state == RAIL_DISABLED)
		return 0;
	if (result == -ENOENT)
		return rail_fail_code(error, RAIL_CODE_CHECK_FAILED, ENOENT,
				      "container '%s' has no attachment '%s' in network '%s'",
				      call->container_id, call->interface, call->network);
	if (result < 0)
		return result;
	if ((attachment.parts & RAIL_PART_MEMBER) == 0 || attachment.state != RAIL_READY)
		return rail_fail_code(error, RAIL_CODE_CHECK_FAILED, ESTALE,
				      "container '%s': its interface is gone, or what carried its "
				      "packets, and it is no member of its environment any more",
				      call->container_id);
	if (!rail_netns_id_equal(&attachment.netns, &netns))
		return rail_fail_code(
			error, RAIL_CODE_CHECK_FAILED, ESTALE,
			"CNI_NETNS '%s' is not the netns that the attachment was made in",
			call->netns);

	result = rail_pod_check(netns_fd, &attachment.prefix, &attachment.address,
				&attachment.interface, error);
	if (result == 0)
		result = check_peers(&operation, &attachment, netns_fd, error);
	if (result == 0)
		result = mesh_delegate(call, RAIL_CNI_CHECK, error);
	return result;
}

int mesh_gc(const struct rail_cni_call *call, struct rail_error *error)
{
	RAIL_CLEANUP(rail_operation_end) struct rail_operation operation = {0};
	struct rail_error all = RAIL_ERROR_NONE;
	struct rail_error one = RAIL_ERROR_NONE;

	if (rail_operation_begin(call, RAIL_PLUGIN_MESH, &operation, &one) < 0 ||
	    rail_attachment_collect_garbage(&operation, &one) < 0)
		rail_error_collect(&all, &one);
	if (mesh_delegate(call, RAIL_CNI_GC, &one) < 0)
		rail_error_collect(&all, &one);

	return rail_error_outcome(&all, error);
}

int mesh_status(const struct rail_cni_call *call, struct rail_error *error)
{
	RAIL_CLEANUP(rail_operation_end) struct rail_operation operation = {0};
	const struct rail_transport *transport = NULL;

	int result = rail_operation_begin(call, RAIL_PLUGIN_MESH, &operation, error);
	if (result == 0 && operation.settings.enabled)
		result = rail_transport_choose(operation.settings.transport, &transport, error);
	if (result == 0)
		result = mesh_delegate(call, RAIL_CNI_STATUS, error);
	if (result == 0)
		result = rail_cluster_status(&operation, error);
	return result < 0 ? rail_error_as_status(error, result, RAIL_CODE_NOT_AVAILABLE) : 0;
}
