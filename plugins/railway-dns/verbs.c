#include "plugins/railway-dns/verbs.h"

#include <errno.h>
#include <time.h>

#include "pkg/attachment/attachment.h"
#include "pkg/attachment/cluster.h"
#include "pkg/attachment/undo.h"
#include "pkg/base/cleanup.h"
#include "pkg/base/file.h"
#include "pkg/cni/result.h"
#include "pkg/dns/registration.h"
#include "pkg/net/intercept.h"
#include "pkg/net/link.h"
#include "plugins/railway-dns/resolver.h"

enum { RESTART_MS = 3000 }; /* of a daemon; a unit starts it again after some 100 ms */

static int add_resolver_address(int netns_fd, struct rail_error *error)
{
	RAIL_CLEANUP(rail_netlink_closep) struct rail_netlink *netlink = NULL;

	int result = rail_netlink_open(netns_fd, &netlink, error);
	if (result < 0)
		return result;
	result = rail_address_add(netlink, RAIL_LOOPBACK_INDEX, &rail_resolver_address, 128, error);
	return result == -EEXIST ? 0 : result;
}

/* How the pod's queries get to sockets that are not on port 53. */
static struct rail_interception interception(const struct rail_attachment *attachment)
{
	return (struct rail_interception){.port = attachment->resolver.port,
					  .any_nameserver = attachment->resolver.any_nameserver};
}

static int intercept(const struct rail_attachment *attachment, int netns_fd,
		     struct rail_error *error)
{
	const struct rail_interception wanted = interception(attachment);

	if (wanted.port == RAIL_DNS_PORT)
		return 0;

	int result = rail_interception_apply(netns_fd, &wanted, error);
	if (result == -ENOTSUP)
		return rail_wrap(error, result,
				 "the pod's DNS queries cannot be brought to the resolver: load "
				 "the modules, or set intercept to false and dnsPort to 53");
	return rail_wrap(error, result, "bring the pod's DNS queries to the resolver");
}

/* Before anything is made. From here on a supervisor that starts anew serves the pod too. */
static int store_name(struct rail_operation *operation, struct rail_attachment *attachment,
		      struct rail_error *error)
{
	RAIL_CLEANUP(rail_transaction_abort) struct rail_transaction *live = NULL;
	struct rail_member member;

	int result = rail_transaction_begin(operation->store, RAIL_LIVE, RAIL_WRITE, &live, error);
	if (result < 0)
		return result;
	result = rail_member_get(live, &attachment->address, &member, error);
	if (result < 0)
		return result;
	member.named = true;
	attachment->parts |= RAIL_PART_NAME;
	result = rail_member_put(live, &member, error);
	if (result == 0)
		result = rail_operation_put_within(live, attachment, error);
	if (result < 0)
		return result;
	return rail_transaction_commit(&live, error);
}

static int ask(const struct rail_operation *operation, enum rail_registration_kind kind,
	       int netns_fd, struct rail_error *error)
{
	struct rail_registration_request request = {.kind = kind};

	if (kind != RAIL_REGISTRATION_STATUS)
		request.key = operation->key;
	return rail_registration_ask(operation->settings.resolver_socket, &request, netns_fd,
				     error);
}

/*
 * The same for questions of a runtime about a pod that runs, and about the node: they wait for a
 * daemon that is being restarted. A CHECK that failed at this moment would make Nomad throw the
 * pod's netns away, and a STATUS keep it from the DEL for which nobody comes back.
 */
static int ask_patiently(const struct rail_operation *operation, enum rail_registration_kind kind,
			 struct rail_error *error)
{
	const struct timespec pause = {.tv_nsec = 50 * 1000 * 1000};

	for (int64_t end = rail_monotonic_ms() + RESTART_MS;;) {
		int result = ask(operation, kind, -1, error);

		if ((result != -ECONNREFUSED && result != -ECONNRESET) ||
		    rail_monotonic_ms() >= end)
			return result;
		(void)nanosleep(&pause, NULL);
	}
}

int dns_add(const struct rail_cni_call *call, struct rail_json **ret_result,
	    struct rail_error *error)
{
	RAIL_CLEANUP(rail_operation_end) struct rail_operation operation = {0};
	RAIL_CLEANUP(rail_json_freep) struct rail_json *document = NULL;
	struct rail_attachment attachment = {0};
	RAIL_CLOSE int netns_fd = -1;

	int result = rail_operation_begin(call, RAIL_PLUGIN_DNS, &operation, error);
	if (result == 0 && operation.settings.enabled)
		result = rail_attachment_begin(&operation, &attachment, &netns_fd, error);
	if (result < 0) {
		rail_operation_end(&operation);
		rail_attachment_withdraw(call, RAIL_PLUGIN_DNS, false);
		return result;
	}
	if (!operation.settings.enabled || attachment.state == RAIL_DISABLED)
		return rail_result_begin(call, ret_result, error);

	result = dns_resolver_settings(&operation, &attachment.resolver, error);
	if (result == 0)
		result = rail_result_begin(call, &document, error);
	if (result == 0)
		result = dns_put_result(&operation, document, error);
	if (result == 0)
		result = store_name(&operation, &attachment, error);
	if (result == 0)
		result = add_resolver_address(netns_fd, error);
	if (result == 0)
		result = intercept(&attachment, netns_fd, error);
	if (result == 0)
		result = ask(&operation, RAIL_REGISTRATION_ADD, netns_fd, error);
	if (result == 0)
		result = rail_attachment_finish(&operation, &attachment, error);
	if (result < 0) {
		/* Nomad tries again in the same netns, with the same ID, without a DEL between:
		 * nothing of what the earlier plugins made may stay either. */
		(void)rail_attachment_give_up(&operation, &attachment, RAIL_PARTS_ALL, NULL);
		return result;
	}
	rail_cluster_publish(&operation, &attachment.address);
	*ret_result = RAIL_TAKE_POINTER(document);
	return 0;
}

void dns_undo_add(const struct rail_cni_call *call)
{
	rail_attachment_withdraw(call, RAIL_PLUGIN_DNS, true);
}

int dns_del(const struct rail_cni_call *call, struct rail_error *error)
{
	RAIL_CLEANUP(rail_operation_end) struct rail_operation operation = {0};

	int result = rail_operation_begin(call, RAIL_PLUGIN_DNS, &operation, error);
	if (result < 0)
		return result;
	return rail_attachment_undo(&operation, &operation.key, RAIL_PART_NAME, error);
}

static int check_name(const struct rail_operation *operation,
		      const struct rail_attachment *attachment, struct rail_error *error)
{
	RAIL_CLEANUP(rail_transaction_abort) struct rail_transaction *live = NULL;
	const struct rail_identity *identity = &attachment->identity;
	struct rail_member member = {.named = false};

	int result = rail_transaction_begin(operation->store, RAIL_LIVE, RAIL_READ, &live, error);
	if (result == 0)
		result = rail_member_get(live, &attachment->address, &member, error);
	if (result < 0 && result != -ENOENT)
		return result;
	if (result == 0 && member.named && rail_attachment_key_equal(&member.key, &operation->key))
		return 0;
	return rail_fail_code(error, RAIL_CODE_CHECK_FAILED, ENOENT,
			      "the name %s.%s.railway.internal is gone: the resolver does not "
			      "answer with this pod",
			      identity->replica, identity->service);
}

int dns_check(const struct rail_cni_call *call, struct rail_error *error)
{
	RAIL_CLEANUP(rail_operation_end) struct rail_operation operation = {0};
	RAIL_CLEANUP(rail_netlink_closep) struct rail_netlink *netlink = NULL;
	struct rail_attachment attachment = {0};
	struct rail_netns_id netns;
	RAIL_CLOSE int netns_fd = -1;
	bool usable = false;

	int result = rail_operation_begin(call, RAIL_PLUGIN_DNS, &operation, error);
	if (result == 0)
		result = rail_netns_open(call->netns, &netns_fd, &netns, error);
	if (result < 0)
		return result;
	result = rail_operation_attachment(&operation, &attachment, error);
	if (!operation.settings.enabled || (result == 0 && attachment.state == RAIL_DISABLED))
		return 0;
	if (result == -ENOENT || (result == 0 && (attachment.parts & RAIL_PART_NAME) == 0))
		return rail_fail_code(error, RAIL_CODE_CHECK_FAILED, ENOENT,
				      "container '%s' has no name in its environment",
				      call->container_id);
	if (result < 0)
		return result;

	result = rail_netlink_open(netns_fd, &netlink, error);
	if (result == 0)
		result = rail_address_usable(netlink, RAIL_LOOPBACK_INDEX, &rail_resolver_address,
					     &usable, error);
	if (result < 0)
		return result;
	if (!usable)
		return rail_fail_code(error, RAIL_CODE_CHECK_FAILED, EADDRNOTAVAIL,
				      "the resolver's address fd12::10 is not on the pod's lo");

	const struct rail_interception wanted = interception(&attachment);
	if (wanted.port != RAIL_DNS_PORT)
		result = rail_interception_check(netns_fd, &wanted, error);
	if (result == 0)
		result = check_name(&operation, &attachment, error);
	if (result == 0)
		result = ask_patiently(&operation, RAIL_REGISTRATION_CHECK, error);
	return result;
}

int dns_gc(const struct rail_cni_call *call, struct rail_error *error)
{
	RAIL_CLEANUP(rail_operation_end) struct rail_operation operation = {0};

	int result = rail_operation_begin(call, RAIL_PLUGIN_DNS, &operation, error);
	if (result < 0)
		return result;
	return rail_attachment_collect_garbage(&operation, error);
}

int dns_status(const struct rail_cni_call *call, struct rail_error *error)
{
	RAIL_CLEANUP(rail_operation_end) struct rail_operation operation = {0};

	int result = rail_operation_begin(call, RAIL_PLUGIN_DNS, &operation, error);
	if (result < 0)
		return rail_error_as_status(error, result, RAIL_CODE_NOT_AVAILABLE);
	if (!operation.settings.enabled)
		return 0;
	/* Pods that run have their connections, but neither they nor new ones get names. */
	result = ask_patiently(&operation, RAIL_REGISTRATION_STATUS, error);
	return result < 0 ? rail_error_as_status(error, result, RAIL_CODE_LIMITED_CONNECTIVITY) : 0;
}
