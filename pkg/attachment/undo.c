#include "pkg/attachment/undo.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "pkg/attachment/attachment.h"
#include "pkg/attachment/cluster.h"
#include "pkg/base/cleanup.h"
#include "pkg/base/pause.h"
#include "pkg/dns/registration.h"
#include "pkg/mesh/lock.h"
#include "pkg/mesh/pod.h"
#include "pkg/mesh/wiring.h"
#include "pkg/net/intercept.h"
#include "pkg/net/link.h"
#include "pkg/wg/key.h"

bool rail_attachment_is_unchanged(const struct rail_attachment *stored,
				  const struct rail_attachment *seen)
{
	if (!rail_attachment_owner_equal(stored, seen))
		return false;
	/* While it is a process's, nobody else changes it; else DEL and ADD may have come. */
	return seen->owner.pid != 0 ||
	       (stored->state == seen->state && stored->parts == seen->parts &&
		rail_netns_id_equal(&stored->netns, &seen->netns) &&
		IN6_ARE_ADDR_EQUAL(&stored->address, &seen->address) &&
		rail_key_equal(&stored->interface.public_key, &seen->interface.public_key));
}

/* Marks the attachment as worked on by this process. seen: only where it is still so (else
 * ECANCELED); or NULL. -ENOENT where there is none. */
static int claim(struct rail_operation *operation, const struct rail_attachment_key *key,
		 const struct rail_attachment *seen, struct rail_attachment *ret_attachment,
		 bool *ret_delegated, bool *ret_was_dead, struct rail_error *error)
{
	RAIL_CLEANUP(rail_transaction_abort) struct rail_transaction *live = NULL;

	int result = rail_transaction_begin(operation->store, RAIL_LIVE, RAIL_WRITE, &live, error);
	if (result < 0)
		return result;
	result = rail_attachment_get(live, key, ret_attachment, error);
	if (result < 0)
		return result;
	if (seen != NULL && !rail_attachment_is_unchanged(ret_attachment, seen))
		return rail_fail_code(error, RAIL_CODE_TRY_AGAIN, ECANCELED,
				      "attachment %s of container '%s' has changed meanwhile",
				      key->interface, key->container_id);

	*ret_was_dead = ret_attachment->state == RAIL_DEAD;
	*ret_delegated = rail_attachment_is_delegated(operation, ret_attachment);
	if (*ret_delegated)
		return 0;
	/* The resolver may have called it dead while its owner is at work on it. */
	if (ret_attachment->owner.pid != operation->self.pid &&
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

/* The member of exactly this attachment: a requested address can be another's by now. */
static int get_member(struct rail_transaction *live, const struct rail_attachment *attachment,
		      struct rail_member *ret_member, struct rail_error *error)
{
	struct rail_member member;

	int result = rail_member_get(live, &attachment->address, &member, error);
	if (result < 0)
		return result;
	if (!member.local || !rail_attachment_key_equal(&member.key, &attachment->key))
		return -ENOENT;
	*ret_member = member;
	return 0;
}

static int unname(struct rail_operation *operation, const struct rail_attachment *attachment,
		  struct rail_error *error)
{
	RAIL_CLEANUP(rail_transaction_abort) struct rail_transaction *live = NULL;
	struct rail_member member;

	int result = rail_transaction_begin(operation->store, RAIL_LIVE, RAIL_WRITE, &live, error);
	if (result < 0)
		return result;
	result = get_member(live, attachment, &member, error);
	if (result == -ENOENT)
		return 0;
	if (result < 0)
		return result;
	member.named = false;
	result = rail_member_put(live, &member, error);
	if (result < 0)
		return result;
	return rail_transaction_commit(&live, error);
}

/* The attachment's netns: 1, or 0 where it is gone. The path that ADD was given may be gone while
 * the runtime knows another one. */
static int reopen_netns(const struct rail_operation *operation,
			const struct rail_attachment *attachment, int *ret_fd,
			struct rail_error *error)
{
	int result = rail_netns_reopen(attachment->netns_path, &attachment->netns, ret_fd);

	if ((result == -ENOENT || result == -ESTALE) && operation->call->netns != NULL &&
	    rail_attachment_key_equal(&attachment->key, &operation->key))
		result = rail_netns_reopen(operation->call->netns, &attachment->netns, ret_fd);
	if (result == -ENOENT || result == -ESTALE)
		return 0;
	if (result < 0)
		return rail_fail_errno(error, -result, "open netns '%s'", attachment->netns_path);
	return 1;
}

static int remove_resolver_address(const struct rail_operation *operation,
				   const struct rail_attachment *attachment,
				   struct rail_error *error)
{
	RAIL_CLEANUP(rail_netlink_closep) struct rail_netlink *netlink = NULL;
	RAIL_CLOSE int fd = -1;

	int result = reopen_netns(operation, attachment, &fd, error);
	if (result <= 0)
		return result; /* it went with the netns */
	result = rail_netlink_open(fd, &netlink, error);
	if (result < 0)
		return result;
	return rail_address_delete(netlink, RAIL_LOOPBACK_INDEX, &rail_resolver_address, 128,
				   error);
}

static int remove_interception(const struct rail_operation *operation,
			       const struct rail_attachment *attachment, struct rail_error *error)
{
	RAIL_CLOSE int fd = -1;

	if (attachment->resolver.port == RAIL_DNS_PORT)
		return 0;
	int result = reopen_netns(operation, attachment, &fd, error);
	return result <= 0 ? result : rail_interception_remove(fd, error);
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

	if (unname(operation, attachment, &one) < 0)
		rail_error_collect(&all, &one);

	/* No resolver holds nothing: neither a name nor a socket in the pod's netns. */
	int result = rail_registration_ask(operation->settings.resolver_socket, &request, -1, &one);
	if (result < 0 && result != -ECONNREFUSED && result != -ENOENT)
		rail_error_collect(&all, &one);
	if (remove_interception(operation, attachment, &one) < 0)
		rail_error_collect(&all, &one);
	if (remove_resolver_address(operation, attachment, &one) < 0)
		rail_error_collect(&all, &one);

	return rail_error_outcome(&all, error);
}

static int remove_member(struct rail_operation *operation, const struct rail_attachment *attachment,
			 struct rail_member *ret_member, bool *ret_was_there,
			 struct rail_error *error)
{
	RAIL_CLEANUP(rail_transaction_abort) struct rail_transaction *live = NULL;

	*ret_was_there = false;
	int result = rail_transaction_begin(operation->store, RAIL_LIVE, RAIL_WRITE, &live, error);
	if (result < 0)
		return result;
	result = get_member(live, attachment, ret_member, error);
	if (result == -ENOENT)
		return 0;
	if (result == 0)
		result = rail_member_delete(live, &attachment->address, error);
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

static int remove_interface(const struct rail_operation *operation,
			    const struct rail_attachment *attachment, struct rail_error *error)
{
	RAIL_CLOSE int fd = -1;

	if ((attachment->parts & RAIL_PART_INTERFACE) == 0)
		return 0;
	int result = reopen_netns(operation, attachment, &fd, error);
	if (result < 0)
		return result;
	return rail_pod_destroy(fd, &attachment->prefix, &attachment->address,
				&attachment->interface, error);
}

/* The siblings' peers. Where the member is gone but its peers may not be, an earlier attempt died
 * in between: its mark is in the lock. */
static int unwire(struct rail_operation *operation, const struct rail_attachment *attachment,
		  const struct rail_environment_lock *lock, const struct rail_member *member,
		  struct rail_gone *gone, struct rail_error *error)
{
	if (lock->needs_repair)
		return rail_wiring_repair(operation->store, &attachment->prefix, gone, error);
	if (member == NULL)
		return 0;
	return rail_wiring_remove_member(operation->store, &attachment->prefix, member, gone,
					 error);
}

/*
 * Interface, member and peers, under the environment's lock; takes what is gone off the parts. The
 * interface goes even where the rest must wait: a lock that cannot be had, or a store that cannot
 * be written, keeps no pod in its environment.
 */
static int undo_mesh(struct rail_operation *operation, struct rail_attachment *attachment,
		     struct rail_gone *gone, struct rail_error *error)
{
	RAIL_CLEANUP(rail_environment_lock_abandon)
	struct rail_environment_lock lock = RAIL_ENVIRONMENT_LOCK_NONE;
	struct rail_error all = RAIL_ERROR_NONE;
	struct rail_error one = RAIL_ERROR_NONE;
	struct rail_member member;
	bool was_there = false;

	int locked = rail_environment_lock_take(operation->settings.run_directory,
						&attachment->prefix, &lock, &one);
	if (locked == 0)
		locked = remove_member(operation, attachment, &member, &was_there, &one);
	if (locked < 0)
		rail_error_collect(&all, &one);
	rail_pause("member-removed");

	if (remove_interface(operation, attachment, &one) < 0)
		rail_error_collect(&all, &one);
	else
		attachment->parts &= ~(uint32_t)RAIL_PART_INTERFACE;

	if (locked == 0) {
		if (unwire(operation, attachment, &lock, was_there ? &member : NULL, gone, &one) <
		    0) {
			rail_error_collect(&all, &one);
		} else {
			attachment->parts &= ~(uint32_t)RAIL_PART_MEMBER;
			rail_environment_lock_finish(
				&lock, environment_is_empty(operation, &attachment->prefix));
		}
	}

	return rail_error_outcome(&all, error);
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
		const struct rail_attachment *seen, uint32_t parts, struct rail_gone *gone,
		struct rail_error *error)
{
	struct rail_attachment attachment;
	struct rail_error all = RAIL_ERROR_NONE;
	struct rail_error one = RAIL_ERROR_NONE;
	bool delegated = false;
	bool was_dead = false;

	int result = claim(operation, key, seen, &attachment, &delegated, &was_dead, &one);
	if (result == -ENOENT)
		return 0;
	if (result < 0) {
		*error = one;
		return result;
	}
	if ((parts & (RAIL_PART_INTERFACE | RAIL_PART_MEMBER)) != 0)
		parts |= RAIL_PART_INTERFACE | RAIL_PART_MEMBER | RAIL_PART_NAME;
	parts &= attachment.parts;
	bool unmade = (parts & (RAIL_PART_INTERFACE | RAIL_PART_MEMBER)) != 0;

	if ((parts & RAIL_PART_NAME) != 0) {
		if (undo_name(operation, &attachment, &one) < 0)
			rail_error_collect(&all, &one);
		else
			attachment.parts &= ~(uint32_t)RAIL_PART_NAME;
	}
	if (unmade) {
		if (undo_mesh(operation, &attachment, gone, &one) < 0)
			rail_error_collect(&all, &one);
		rail_cluster_withdraw(operation, &attachment.address);
	}

	/* A lease is the last to go: while anything is noted under its address nobody else may get
	 * it. */
	bool release =
		(parts & RAIL_PART_LEASE) != 0 && attachment.parts == (uint32_t)RAIL_PART_LEASE;
	if (!delegated) {
		attachment.state = was_dead || unmade || all.errnum != 0 ? RAIL_DEAD : RAIL_READY;
		attachment.owner = (struct rail_process){0};
	}
	if (store_outcome(operation, &attachment, release, &one) < 0)
		rail_error_collect(&all, &one);

	return rail_error_outcome(&all, error);
}

static int undo_and_bury(struct rail_operation *operation, const struct rail_attachment_key *key,
			 const struct rail_attachment *seen, uint32_t parts,
			 struct rail_error *error)
{
	RAIL_CLEANUP(rail_gone_done) struct rail_gone gone = {0};
	struct rail_error local = RAIL_ERROR_NONE;

	int result = undo(operation, key, seen, parts, &gone, error != NULL ? error : &local);
	rail_attachment_bury(operation, &gone);
	return result;
}

int rail_attachment_undo(struct rail_operation *operation, const struct rail_attachment_key *key,
			 uint32_t parts, struct rail_error *error)
{
	return undo_and_bury(operation, key, NULL, parts, error);
}

int rail_attachment_give_up(struct rail_operation *operation,
			    const struct rail_attachment *attachment, uint32_t parts,
			    struct rail_error *error)
{
	struct rail_error first = RAIL_ERROR_NONE;

	int result = undo_and_bury(operation, &operation->key, attachment, parts, &first);
	/* Nomad tries again without a DEL between, and a disk that refused once need not again. */
	if (result < 0 && first.code == RAIL_CODE_IO) {
		result = rail_operation_reopen(operation, error);
		return result < 0 ? result
				  : undo_and_bury(operation, &operation->key, attachment, parts,
						  error);
	}
	if (result < 0 && error != NULL)
		*error = first;
	return result;
}

/* What of an attachment goes though nobody asked for it; nothing where it is at work, or works, or
 * that cannot be told. */
static uint32_t doomed_parts(const struct rail_attachment *attachment)
{
	RAIL_CLOSE int fd = -1;

	if (attachment->owner.pid != 0)
		return rail_process_alive(&attachment->owner) ? 0 : RAIL_PARTS_ALL;

	int result = rail_netns_reopen(attachment->netns_path, &attachment->netns, &fd);
	if (result == -ENOENT || result == -ESTALE)
		return RAIL_PARTS_ALL;
	if (result < 0)
		return 0;
	result = rail_wiring_verify_pod(attachment);
	/* Its pod is alive and may be asked about (CHECK) and will be DELeted: the record stays. */
	return result == -ENOENT || result == -ESTALE ? RAIL_PARTS_ALL & ~(uint32_t)RAIL_PART_LEASE
						      : 0;
}

/* Judged anew, because since it was met without the lock DEL and ADD may have come. */
void rail_attachment_bury_one(struct rail_operation *operation,
			      const struct rail_attachment_key *key)
{
	RAIL_CLEANUP(rail_transaction_abort) struct rail_transaction *live = NULL;
	RAIL_CLEANUP(rail_gone_done) struct rail_gone more = {0};
	struct rail_error ignored = RAIL_ERROR_NONE;
	struct rail_attachment attachment;

	/* Its own attachment an operation finishes itself. */
	if (rail_attachment_key_equal(key, &operation->key) ||
	    rail_transaction_begin(operation->store, RAIL_LIVE, RAIL_READ, &live, NULL) < 0)
		return;
	int result = rail_attachment_get(live, key, &attachment, NULL);
	rail_transaction_abort(&live);
	if (result < 0)
		return;

	uint32_t parts = doomed_parts(&attachment);
	/* Of a record without parts only the whole can go. */
	if (parts == RAIL_PARTS_ALL || (parts & attachment.parts) != 0)
		(void)undo(operation, key, &attachment, parts, &more, &ignored);
}

void rail_attachment_bury(struct rail_operation *operation, const struct rail_gone *gone)
{
	for (size_t i = 0; i < gone->count; i++)
		rail_attachment_bury_one(operation, &gone->keys[i]);
}
