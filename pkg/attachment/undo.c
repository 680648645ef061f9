#include "pkg/attachment/undo.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "pkg/attachment/attachment.h"
#include "pkg/base/cleanup.h"
#include "pkg/dns/registration.h"
#include "pkg/mesh/lock.h"
#include "pkg/mesh/pod.h"
#include "pkg/mesh/wiring.h"
#include "pkg/net/link.h"

/* Marks the attachment as worked on by this process. -ENOENT, without an error set, where there is
 * none. */
static int claim(struct rail_operation *operation, const struct rail_attachment_key *key,
		 struct rail_attachment *ret_attachment, bool *ret_delegated,
		 struct rail_error *error)
{
	RAIL_CLEANUP(rail_transaction_abort) struct rail_transaction *live = NULL;

	int result = rail_transaction_begin(operation->store, RAIL_LIVE, RAIL_WRITE, &live, error);
	if (result < 0)
		return result;
	result = rail_attachment_get(live, key, ret_attachment, error);
	if (result < 0)
		return result;

	*ret_delegated = rail_attachment_is_delegated(operation, ret_attachment);
	if (*ret_delegated)
		return 0;
	if (ret_attachment->state == RAIL_PENDING &&
	    ret_attachment->owner.pid != operation->self.pid &&
	    rail_process_alive(&ret_attachment->owner))
		return rail_fail_code(error, RAIL_CODE_TRY_AGAIN, EAGAIN,
				      "process %d is at work on attachment %s of container '%s'",
				      ret_attachment->owner.pid, key->interface, key->container_id);
	ret_attachment->state = RAIL_PENDING;
	ret_attachment->owner = operation->self;
	result = rail_attachment_put(live, ret_attachment, error);
	if (result < 0)
		return result;
	return rail_transaction_commit(&live, error);
}

static int set_named(struct rail_operation *operation, const struct in6_addr *address, bool named,
		     struct rail_error *error)
{
	RAIL_CLEANUP(rail_transaction_abort) struct rail_transaction *live = NULL;
	struct rail_member member;

	int result = rail_transaction_begin(operation->store, RAIL_LIVE, RAIL_WRITE, &live, error);
	if (result < 0)
		return result;
	result = rail_member_get(live, address, &member, error);
	if (result == -ENOENT)
		return 0;
	if (result < 0)
		return result;
	member.named = named;
	result = rail_member_put(live, &member, error);
	if (result < 0)
		return result;
	return rail_transaction_commit(&live, error);
}

static int remove_resolver_address(const struct rail_attachment *attachment,
				   struct rail_error *error)
{
	RAIL_CLEANUP(rail_netlink_closep) struct rail_netlink *netlink = NULL;
	RAIL_CLOSE int fd = -1;

	if (rail_netns_reopen(attachment->netns_path, &attachment->netns, &fd) < 0)
		return 0; /* it went with the netns */
	int result = rail_netlink_open(fd, &netlink, error);
	if (result < 0)
		return result;
	result = rail_address_delete(netlink, RAIL_LOOPBACK_INDEX, &rail_resolver_address, 128,
				     error);
	return result == -EADDRNOTAVAIL || result == -ENOENT ? 0 : result;
}

static int undo_name(struct rail_operation *operation, const struct rail_attachment *attachment,
		     struct rail_error *error)
{
	struct rail_registration_request request = {
		.kind = RAIL_REGISTRATION_REMOVE,
		.key = attachment->key,
	};
	struct rail_error all = RAIL_ERROR_NONE;
	struct rail_error one = RAIL_ERROR_NONE;

	if (set_named(operation, &attachment->address, false, &one) < 0)
		rail_error_collect(&all, &one);

	/* No resolver holds nothing: neither a name nor a socket in the pod's netns. */
	int result = rail_registration_ask(operation->settings.resolver_socket, &request, -1, &one);
	if (result < 0 && result != -ECONNREFUSED && result != -ENOENT)
		rail_error_collect(&all, &one);
	if (remove_resolver_address(attachment, &one) < 0)
		rail_error_collect(&all, &one);

	if (all.errnum != 0)
		*error = all;
	return -all.errnum;
}

static int remove_member(struct rail_operation *operation, const struct in6_addr *address,
			 struct rail_member *ret_member, bool *ret_was_there,
			 struct rail_error *error)
{
	RAIL_CLEANUP(rail_transaction_abort) struct rail_transaction *live = NULL;

	*ret_was_there = false;
	int result = rail_transaction_begin(operation->store, RAIL_LIVE, RAIL_WRITE, &live, error);
	if (result < 0)
		return result;
	result = rail_member_get(live, address, ret_member, error);
	if (result == -ENOENT)
		return 0;
	if (result == 0)
		result = rail_member_delete(live, address, error);
	if (result == 0)
		result = rail_transaction_commit(&live, error);
	*ret_was_there = result == 0;
	return result;
}

static bool environment_is_empty(struct rail_operation *operation, const struct rail_prefix *prefix)
{
	RAIL_CLEANUP(rail_transaction_abort) struct rail_transaction *live = NULL;
	RAIL_FREE struct rail_member *members = NULL;
	size_t count = 0;

	return rail_transaction_begin(operation->store, RAIL_LIVE, RAIL_READ, &live, NULL) == 0 &&
	       rail_member_list(live, prefix, &members, &count, NULL) == 0 && count == 0;
}

/* Interface, member and peers, under the environment's lock. */
static int undo_mesh(struct rail_operation *operation, const struct rail_attachment *attachment,
		     struct rail_gone *gone, struct rail_error *error)
{
	RAIL_CLEANUP(rail_environment_lock_abandon)
	struct rail_environment_lock lock = RAIL_ENVIRONMENT_LOCK_NONE;
	struct rail_error all = RAIL_ERROR_NONE;
	struct rail_error one = RAIL_ERROR_NONE;
	struct rail_member member;
	bool was_there = false;
	RAIL_CLOSE int fd = -1;

	int result = rail_environment_lock_take(operation->settings.run_directory,
						&attachment->prefix, &lock, error);
	if (result < 0)
		return result;

	result = remove_member(operation, &attachment->address, &member, &was_there, error);
	if (result < 0)
		return result;

	if ((attachment->parts & RAIL_PART_INTERFACE) != 0) {
		(void)rail_netns_reopen(attachment->netns_path, &attachment->netns, &fd);
		if (rail_pod_destroy(fd, &attachment->prefix, &attachment->address,
				     &attachment->interface, &one) < 0)
			rail_error_collect(&all, &one);
	}

	/* Where the member is gone but its peers may not be, an earlier attempt died in between:
	 * its mark is in the lock. */
	result = 0;
	if (lock.needs_repair)
		result = rail_wiring_repair(operation->store, &attachment->prefix, gone, &one);
	else if (was_there)
		result = rail_wiring_remove_member(operation->store, &attachment->prefix, &member,
						   gone, &one);
	if (result < 0)
		rail_error_collect(&all, &one);
	else
		rail_environment_lock_finish(&lock,
					     environment_is_empty(operation, &attachment->prefix));

	if (all.errnum != 0)
		*error = all;
	return -all.errnum;
}

static int store_outcome(struct rail_operation *operation, struct rail_attachment *attachment,
			 bool release_lease, struct rail_error *error)
{
	RAIL_CLEANUP(rail_transaction_abort) struct rail_transaction *live = NULL;

	int result = rail_transaction_begin(operation->store, RAIL_LIVE, RAIL_WRITE, &live, error);
	if (result < 0)
		return result;
	if (release_lease) {
		result = rail_lease_release(live, &attachment->address, &attachment->key, error);
		if (result < 0)
			return result;
		attachment->parts &= ~(uint32_t)RAIL_PART_LEASE;
	}
	if (attachment->parts == 0)
		result = rail_attachment_delete(live, &attachment->key, error);
	else
		result = rail_attachment_put(live, attachment, error);
	if (result < 0)
		return result;
	return rail_transaction_commit(&live, error);
}

static int undo(struct rail_operation *operation, const struct rail_attachment_key *key,
		uint32_t parts, struct rail_gone *gone, struct rail_error *error)
{
	struct rail_attachment attachment;
	struct rail_error all = RAIL_ERROR_NONE;
	struct rail_error one = RAIL_ERROR_NONE;
	bool delegated = false;

	int result = claim(operation, key, &attachment, &delegated, &one);
	if (result == -ENOENT)
		return 0;
	if (result < 0) {
		*error = one;
		return result;
	}
	if ((parts & (RAIL_PART_INTERFACE | RAIL_PART_MEMBER)) != 0)
		parts |= RAIL_PART_INTERFACE | RAIL_PART_MEMBER | RAIL_PART_NAME;
	parts &= attachment.parts;

	if ((parts & RAIL_PART_NAME) != 0) {
		if (undo_name(operation, &attachment, &one) < 0)
			rail_error_collect(&all, &one);
		else
			attachment.parts &= ~(uint32_t)RAIL_PART_NAME;
	}
	if ((parts & (RAIL_PART_INTERFACE | RAIL_PART_MEMBER)) != 0) {
		if (undo_mesh(operation, &attachment, gone, &one) < 0)
			rail_error_collect(&all, &one);
		else
			attachment.parts &= ~(uint32_t)(RAIL_PART_INTERFACE | RAIL_PART_MEMBER);
	}

	if (!delegated) {
		attachment.state = all.errnum == 0 ? RAIL_READY : RAIL_DEAD;
		attachment.owner = (struct rail_process){0};
	}
	/* A lease is not given up while an interface may still use its address. */
	bool release = (parts & RAIL_PART_LEASE) != 0 &&
		       (attachment.parts & (RAIL_PART_INTERFACE | RAIL_PART_MEMBER)) == 0;
	if (store_outcome(operation, &attachment, release, &one) < 0)
		rail_error_collect(&all, &one);

	if (all.errnum != 0)
		*error = all;
	return -all.errnum;
}

int rail_attachment_undo(struct rail_operation *operation, const struct rail_attachment_key *key,
			 uint32_t parts, struct rail_error *error)
{
	RAIL_CLEANUP(rail_gone_done) struct rail_gone gone = {0};
	struct rail_error local = RAIL_ERROR_NONE;

	int result = undo(operation, key, parts, &gone, error != NULL ? error : &local);
	rail_attachment_bury(operation, &gone);
	return result;
}

static bool netns_is_there(const struct rail_attachment *attachment)
{
	RAIL_CLOSE int fd = -1;

	return rail_netns_reopen(attachment->netns_path, &attachment->netns, &fd) == 0;
}

void rail_attachment_bury(struct rail_operation *operation, const struct rail_gone *gone)
{
	for (size_t i = 0; i < gone->count; i++) {
		RAIL_CLEANUP(rail_transaction_abort) struct rail_transaction *live = NULL;
		RAIL_CLEANUP(rail_gone_done) struct rail_gone more = {0};
		struct rail_error ignored = RAIL_ERROR_NONE;
		struct rail_attachment attachment;
		uint32_t parts = RAIL_PARTS_ALL;

		if (rail_transaction_begin(operation->store, RAIL_LIVE, RAIL_READ, &live, NULL) < 0)
			return;
		int result = rail_attachment_get(live, &gone->keys[i], &attachment, NULL);
		rail_transaction_abort(&live);
		if (result < 0)
			continue;
		/* Its pod is alive and may be asked about (CHECK) and will be DELeted: the record
		 * stays. */
		if (netns_is_there(&attachment))
			parts &= ~(uint32_t)RAIL_PART_LEASE;
		(void)undo(operation, &gone->keys[i], parts, &more, &ignored);
		if ((parts & RAIL_PART_LEASE) == 0 &&
		    rail_transaction_begin(operation->store, RAIL_LIVE, RAIL_WRITE, &live, NULL) ==
			    0 &&
		    rail_attachment_get(live, &gone->keys[i], &attachment, NULL) == 0) {
			attachment.state = RAIL_DEAD;
			if (rail_attachment_put(live, &attachment, NULL) == 0)
				(void)rail_transaction_commit(&live, NULL);
		}
	}
}

struct stale_list {
	const struct rail_cni_call *call;
	struct rail_gone keys;
	bool failed;
};

static bool is_valid(const struct rail_cni_call *call, const struct rail_attachment_key *key)
{
	for (size_t i = 0; i < call->valid_attachment_count; i++)
		if (strcmp(call->valid_attachments[i].container_id, key->container_id) == 0 &&
		    strcmp(call->valid_attachments[i].interface, key->interface) == 0)
			return true;
	return false;
}

static int list_stale(void *context, const struct rail_attachment *attachment)
{
	struct stale_list *list = context;

	if (is_valid(list->call, &attachment->key))
		return 0;
	struct rail_attachment_key *grown =
		reallocarray(list->keys.keys, list->keys.count + 1, sizeof(*grown));
	if (grown == NULL)
		return -ENOMEM;
	list->keys.keys = grown;
	grown[list->keys.count++] = attachment->key;
	return 0;
}

int rail_attachment_collect_garbage(struct rail_operation *operation, struct rail_error *error)
{
	RAIL_CLEANUP(rail_transaction_abort) struct rail_transaction *live = NULL;
	struct stale_list list = {.call = operation->call};
	struct rail_error all = RAIL_ERROR_NONE;

	/* No list is not an empty list: nothing is known to be stale. */
	if (!operation->call->has_valid_attachments)
		return 0;

	int result = rail_transaction_begin(operation->store, RAIL_LIVE, RAIL_READ, &live, error);
	if (result == 0)
		result = rail_attachment_each(live, operation->call->network, list_stale, &list,
					      error);
	rail_transaction_abort(&live);

	for (size_t i = 0; result == 0 && i < list.keys.count; i++) {
		struct rail_error one = RAIL_ERROR_NONE;

		if (rail_attachment_undo(operation, &list.keys.keys[i], RAIL_PARTS_ALL, &one) < 0)
			rail_error_collect(&all, &one);
	}
	rail_gone_done(&list.keys);
	if (result < 0)
		return result;
	if (all.errnum != 0)
		*error = all;
	return -all.errnum;
}
