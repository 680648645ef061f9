#include "pkg/mesh/wiring.h"

#include <arpa/inet.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "pkg/base/cleanup.h"
#include "pkg/base/pause.h"
#include "pkg/net/netns.h"
#include "pkg/wg/key.h"

void rail_gone_done(struct rail_gone *gone)
{
	free(gone->keys);
	*gone = (struct rail_gone){0};
}

int rail_gone_add(struct rail_gone *gone, const struct rail_attachment_key *key,
		  struct rail_error *error)
{
	struct rail_attachment_key *grown =
		reallocarray(gone->keys, gone->count + 1, sizeof(*gone->keys));

	if (grown == NULL)
		return rail_fail_errno(error, ENOMEM, "list the pods that are gone");
	gone->keys = grown;
	gone->keys[gone->count++] = *key;
	return 0;
}

/* Of two with one key the local one comes first. */
static int compare_keys(const void *one, const void *other)
{
	const struct rail_member *const *a = one;
	const struct rail_member *const *b = other;
	int order = memcmp((*a)->public_key.bytes, (*b)->public_key.bytes, RAIL_KEY_SIZE);

	if (order != 0)
		return order;
	if ((*a)->local != (*b)->local)
		return (*a)->local ? -1 : 1;
	return memcmp(&(*a)->address, &(*b)->address, sizeof((*a)->address));
}

/* A device knows each key once. Members of other nodes are their word: one that has another's key
 * is left out, so that it cannot fail every ADD and DEL of the environment. */
static int drop_twins(struct rail_member *members, size_t *count, struct rail_error *error)
{
	RAIL_FREE const struct rail_member **by_key = calloc(*count + 1, sizeof(*by_key));
	RAIL_FREE bool *is_twin = calloc(*count + 1, sizeof(*is_twin));
	size_t kept = 0;

	if (by_key == NULL || is_twin == NULL)
		return rail_fail_errno(error, ENOMEM, "list the members");
	for (size_t i = 0; i < *count; i++)
		by_key[i] = &members[i];
	qsort(by_key, *count, sizeof(*by_key), compare_keys);
	for (size_t i = 1; i < *count; i++)
		is_twin[by_key[i] - members] =
			!by_key[i]->local &&
			rail_key_equal(&by_key[i]->public_key, &by_key[i - 1]->public_key);
	for (size_t i = 0; i < *count; i++)
		if (!is_twin[i])
			members[kept++] = members[i];
	*count = kept;
	return 0;
}

static int list_members(struct rail_store *store, const struct rail_prefix *prefix,
			struct rail_member **ret_members, size_t *ret_count,
			struct rail_error *error)
{
	RAIL_CLEANUP(rail_transaction_abort) struct rail_transaction *live = NULL;

	int result = rail_transaction_begin(store, RAIL_LIVE, RAIL_READ, &live, error);
	if (result < 0)
		return result;
	result = rail_member_list(live, prefix, ret_members, ret_count, error);
	return result < 0 ? result : drop_twins(*ret_members, ret_count, error);
}

/* What a pod's device shall be: one peer for each member but itself. */
static int wanted_device(const struct rail_member *members, size_t count,
			 const struct in6_addr *self, struct rail_device *ret_device)
{
	for (size_t i = 0; i < count; i++) {
		if (memcmp(&members[i].address, self, sizeof(*self)) == 0)
			continue;
		int result = rail_device_add_peer(ret_device, &members[i].public_key,
						  &members[i].endpoint, &members[i].address);
		if (result < 0)
			return result;
	}
	return 0;
}

static int reconcile(const struct rail_attachment *pod, int netns_fd,
		     const struct rail_member *members, size_t count, struct rail_error *error)
{
	const struct rail_transport *transport = rail_transport_by_name(pod->interface.transport);
	RAIL_CLEANUP(rail_device_done) struct rail_device have = {0};
	RAIL_CLEANUP(rail_device_done) struct rail_device want = {0};
	RAIL_CLEANUP(rail_changes_done) struct rail_changes changes = {0};

	if (wanted_device(members, count, &pod->address, &want) < 0)
		return rail_fail_errno(error, ENOMEM, "list the peers");
	int result = transport->read(netns_fd, &pod->interface, &have, error);
	if (result < 0)
		return result;
	result = rail_device_difference(&have, &want, time(NULL), &changes, error);
	if (result < 0 || changes.count == 0)
		return result;
	return transport->apply(netns_fd, &pod->interface, &changes, error);
}

int rail_wiring_open_netns(const struct rail_attachment *pod, int *ret_netns_fd)
{
	if ((pod->parts & RAIL_PART_INTERFACE) == 0)
		return -ESTALE;
	if (rail_transport_by_name(pod->interface.transport) == NULL)
		return -ENOTSUP;
	return rail_netns_reopen(pod->netns_path, &pod->netns, ret_netns_fd);
}

int rail_wiring_verify_pod(const struct rail_attachment *pod)
{
	RAIL_CLOSE int fd = -1;
	int result = rail_wiring_open_netns(pod, &fd);

	if (result < 0)
		return result;
	result =
		rail_transport_by_name(pod->interface.transport)->verify(fd, &pod->interface, NULL);
	return result == -ENODEV || result == -ESRCH ? -ESTALE : result;
}

int rail_wiring_give_peers(struct rail_store *store, const struct rail_attachment *pod,
			   int netns_fd, struct rail_error *error)
{
	RAIL_FREE struct rail_member *members = NULL;
	size_t count = 0;

	int result = list_members(store, &pod->prefix, &members, &count, error);
	if (result < 0)
		return result;
	rail_pause("membership-read");
	return reconcile(pod, netns_fd, members, count, error);
}

void rail_membership_done(struct rail_membership *membership)
{
	free(membership->members);
	free(membership->pods);
	*membership = (struct rail_membership){0};
}

/* All local members' attachments, but for those that are gone already. */
static int read_pods(struct rail_transaction *live, struct rail_membership *membership,
		     struct rail_gone *gone, struct rail_error *error)
{
	size_t local = 0;

	for (size_t i = 0; i < membership->count; i++)
		local += membership->members[i].local;
	membership->pods = calloc(local + 1, sizeof(*membership->pods));
	if (membership->pods == NULL)
		return rail_fail_errno(error, ENOMEM, "list the pods");
	for (size_t i = 0; i < membership->count; i++) {
		int result;

		if (!membership->members[i].local)
			continue;
		result = rail_attachment_get(live, &membership->members[i].key,
					     &membership->pods[membership->pod_count], error);
		if (result == -ENOENT)
			result = rail_gone_add(gone, &membership->members[i].key, error);
		else if (result == 0)
			membership->pod_count++;
		if (result < 0)
			return result;
	}
	return 0;
}

static int read_membership(struct rail_store *store, const struct rail_prefix *prefix,
			   struct rail_membership *membership, struct rail_gone *gone,
			   struct rail_error *error)
{
	RAIL_CLEANUP(rail_transaction_abort) struct rail_transaction *live = NULL;

	int result = rail_transaction_begin(store, RAIL_LIVE, RAIL_READ, &live, error);
	if (result == 0)
		result = rail_member_list(live, prefix, &membership->members, &membership->count,
					  error);
	if (result == 0)
		result = drop_twins(membership->members, &membership->count, error);
	if (result == 0)
		result = read_pods(live, membership, gone, error);
	return result;
}

/*
 * Whether a plugin died at a pod, which is then half-made or half-undone: 1 or 0. One that is
 * through with it stores that and ends: whom the store still names when he is seen to be dead died.
 */
static int plugin_died(struct rail_store *store, const struct rail_attachment *pod,
		       struct rail_error *error)
{
	RAIL_CLEANUP(rail_transaction_abort) struct rail_transaction *live = NULL;
	struct rail_attachment now;

	if (pod->owner.pid == 0 || rail_process_alive(&pod->owner))
		return 0;

	int result = rail_transaction_begin(store, RAIL_LIVE, RAIL_READ, &live, error);
	if (result == 0)
		result = rail_attachment_get(live, &pod->key, &now, error);
	if (result == -ENOENT)
		return 1;
	if (result < 0)
		return result;
	return now.owner.pid == pod->owner.pid && now.owner.start_time == pod->owner.start_time;
}

int rail_membership_read(struct rail_store *store, const struct rail_prefix *prefix,
			 struct rail_membership *ret_membership, struct rail_gone *gone,
			 struct rail_error *error)
{
	RAIL_CLEANUP(rail_membership_done) struct rail_membership membership = {0};
	size_t count = 0;

	int result = read_membership(store, prefix, &membership, gone, error);
	if (result < 0)
		return result;
	rail_pause("siblings-read");
	for (size_t i = 0; i < membership.pod_count; i++) {
		result = plugin_died(store, &membership.pods[i], error);
		if (result > 0)
			result = rail_gone_add(gone, &membership.pods[i].key, error);
		else if (result == 0)
			membership.pods[count++] = membership.pods[i];
		if (result < 0)
			return result;
	}
	membership.pod_count = count;
	*ret_membership = membership;
	membership = (struct rail_membership){0};
	return 0;
}

/* -ENODEV where the pod is gone. */
static int open_pod(const struct rail_attachment *pod, int *ret_netns_fd, struct rail_error *error)
{
	int result = rail_wiring_open_netns(pod, ret_netns_fd);

	if (result == -ENOENT || result == -ESTALE)
		return rail_fail(error, ENODEV, "container '%s' is gone", pod->key.container_id);
	if (result < 0)
		return rail_fail_errno(error, -result, "open the netns of container '%s' ('%s')",
				       pod->key.container_id, pod->netns_path);
	return 0;
}

int rail_wiring_change_pod(const struct rail_attachment *pod, const struct rail_changes *changes,
			   struct rail_error *error)
{
	RAIL_CLOSE int netns_fd = -1;
	int result = open_pod(pod, &netns_fd, error);

	if (result < 0)
		return result;
	result = rail_transport_by_name(pod->interface.transport)
			 ->apply(netns_fd, &pod->interface, changes, error);
	return result == -ESRCH ? -ENODEV : result;
}

int rail_wiring_repair_pod(const struct rail_attachment *pod,
			   const struct rail_membership *membership, struct rail_error *error)
{
	RAIL_CLOSE int netns_fd = -1;
	int result = open_pod(pod, &netns_fd, error);

	if (result < 0)
		return result;
	result = reconcile(pod, netns_fd, membership->members, membership->count, error);
	return result == -ESRCH ? -ENODEV : result;
}

/* Every local pod of an environment but one: changes, or (NULL) a repair. Collects what fails. */
static int each_pod(struct rail_store *store, const struct rail_prefix *prefix,
		    const struct in6_addr *except, const struct rail_changes *changes,
		    struct rail_gone *gone, struct rail_error *error)
{
	RAIL_CLEANUP(rail_membership_done) struct rail_membership membership = {0};
	struct rail_error all = RAIL_ERROR_NONE;

	int result = rail_membership_read(store, prefix, &membership, gone, error);
	if (result < 0)
		return result;

	for (size_t i = 0; i < membership.pod_count; i++) {
		const struct rail_attachment *pod = &membership.pods[i];
		struct rail_error one = RAIL_ERROR_NONE;

		if (except != NULL && memcmp(&pod->address, except, sizeof(*except)) == 0)
			continue;
		result = changes != NULL ? rail_wiring_change_pod(pod, changes, &one)
					 : rail_wiring_repair_pod(pod, &membership, &one);
		/* A pod that went while we spoke to it must not fail the operation. */
		if (result == -ENODEV)
			result = rail_gone_add(gone, &pod->key, &one);
		if (result < 0)
			rail_error_collect(&all, &one);
	}

	return rail_error_outcome(&all, error);
}

int rail_wiring_add_member(struct rail_store *store, const struct rail_prefix *prefix,
			   const struct rail_member *member, struct rail_gone *gone,
			   struct rail_error *error)
{
	RAIL_CLEANUP(rail_device_done) struct rail_device nothing = {0};
	RAIL_CLEANUP(rail_device_done) struct rail_device one = {0};
	RAIL_CLEANUP(rail_changes_done) struct rail_changes changes = {0};

	if (rail_device_add_peer(&one, &member->public_key, &member->endpoint, &member->address) <
	    0)
		return rail_fail_errno(error, ENOMEM, "list the peers");
	int result = rail_device_difference(&nothing, &one, 0, &changes, error);
	if (result < 0)
		return result;
	return each_pod(store, prefix, &member->address, &changes, gone, error);
}

int rail_wiring_remove_member(struct rail_store *store, const struct rail_prefix *prefix,
			      const struct rail_member *member, struct rail_gone *gone,
			      struct rail_error *error)
{
	struct rail_peer_change removal = {
		.kind = RAIL_PEER_REMOVE,
		.public_key = member->public_key,
	};
	struct rail_changes changes = {.changes = &removal, .count = 1};

	return each_pod(store, prefix, &member->address, &changes, gone, error);
}

int rail_wiring_repair(struct rail_store *store, const struct rail_prefix *prefix,
		       struct rail_gone *gone, struct rail_error *error)
{
	return each_pod(store, prefix, NULL, NULL, gone, error);
}

/* What may differ for a while and is no fault: a keepalive that railway-meshd sets for a moment,
 * and where a member of another node was last heard from. */
static void ignore_passing(struct rail_device *have, struct rail_device *want,
			   const struct rail_member *members, size_t count,
			   const struct in6_addr *self)
{
	size_t peer = 0;

	for (size_t i = 0; i < have->peer_count; i++)
		have->peers[i].keepalive_s = 0;
	/* In wanted_device's order. */
	for (size_t i = 0; i < count; i++) {
		if (memcmp(&members[i].address, self, sizeof(*self)) == 0)
			continue;
		if (!members[i].local)
			want->peers[peer].endpoint.family = 0;
		peer++;
	}
}

int rail_wiring_check(struct rail_store *store, const struct rail_attachment *pod, int netns_fd,
		      struct rail_error *error)
{
	const struct rail_transport *transport = rail_transport_by_name(pod->interface.transport);
	RAIL_CLEANUP(rail_device_done) struct rail_device have = {0};
	RAIL_CLEANUP(rail_device_done) struct rail_device want = {0};
	RAIL_CLEANUP(rail_changes_done) struct rail_changes changes = {0};
	RAIL_FREE struct rail_member *members = NULL;
	char key[RAIL_KEY_TEXT_SIZE];
	size_t count = 0;

	if (transport == NULL)
		return rail_fail(error, EINVAL, "unknown transport '%s'", pod->interface.transport);
	int result = list_members(store, &pod->prefix, &members, &count, error);
	if (result < 0)
		return result;
	if (wanted_device(members, count, &pod->address, &want) < 0)
		return rail_fail_errno(error, ENOMEM, "list the peers");
	result = transport->read(netns_fd, &pod->interface, &have, error);
	if (result < 0) {
		if (error != NULL)
			error->code = RAIL_CODE_CHECK_FAILED;
		return result;
	}
	if (!rail_key_equal(&have.public_key, &pod->interface.public_key))
		return rail_fail_code(error, RAIL_CODE_CHECK_FAILED, ESTALE,
				      "interface '%s' has another key than ADD gave it",
				      pod->interface.name);
	ignore_passing(&have, &want, members, count, &pod->address);
	result = rail_device_difference(&have, &want, time(NULL), &changes, error);
	if (result < 0)
		return result;
	if (changes.count == 0)
		return 0;

	static const char *const what[] = {
		[RAIL_PEER_REMOVE] = "is no member of the environment",
		[RAIL_PEER_ADD] = "is missing",
		[RAIL_PEER_UPDATE] = "is not as it shall be",
	};
	rail_key_format(&changes.changes[0].public_key, key);
	return rail_fail_code(error, RAIL_CODE_CHECK_FAILED, ENOENT,
			      "interface '%s': peer %s %s (%zu differences in all)",
			      pod->interface.name, key, what[changes.changes[0].kind],
			      changes.count);
}
