#include "plugins/railway-mesh/join.h"

#include <arpa/inet.h>
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "pkg/attachment/cluster.h"
#include "pkg/attachment/undo.h"
#include "pkg/base/cleanup.h"
#include "pkg/base/pause.h"
#include "pkg/mesh/lock.h"
#include "pkg/mesh/pod.h"
#include "pkg/mesh/wiring.h"

struct announcement {
	struct rail_operation *operation;
	struct rail_attachment *attachment;
};

/* Stores what the transport is about to make, before it makes it. */
static int announce(void *context, const struct rail_interface *interface, struct rail_error *error)
{
	struct announcement *announcement = context;

	announcement->attachment->interface = *interface;
	announcement->attachment->parts |= RAIL_PART_INTERFACE;
	return rail_operation_put(announcement->operation, announcement->attachment, error);
}

static int put_member(struct rail_operation *operation, struct rail_attachment *attachment,
		      const struct rail_member *member, struct rail_error *error)
{
	RAIL_CLEANUP(rail_transaction_abort) struct rail_transaction *live = NULL;

	int result = rail_transaction_begin(operation->store, RAIL_LIVE, RAIL_WRITE, &live, error);
	if (result < 0)
		return result;
	attachment->parts |= RAIL_PART_MEMBER;
	result = rail_operation_put_within(live, attachment, error);
	if (result == 0)
		result = rail_member_put(live, member, error);
	if (result < 0)
		return result;
	return rail_transaction_commit(&live, error);
}

static int wire(struct rail_operation *operation, struct rail_attachment *attachment, int netns_fd,
		const struct rail_member *member, struct rail_gone *gone, struct rail_error *error)
{
	RAIL_CLEANUP(rail_environment_lock_abandon)
	struct rail_environment_lock lock = RAIL_ENVIRONMENT_LOCK_NONE;

	int result = rail_environment_lock_take(operation->settings.run_directory,
						&attachment->prefix, &lock, error);
	if (result < 0)
		return result;
	result = put_member(operation, attachment, member, error);
	if (result < 0)
		return result;

	rail_pause("member-stored");
	result = rail_wiring_give_peers(operation->store, attachment, netns_fd, error);
	if (result == 0)
		result = lock.needs_repair
				 ? rail_wiring_repair(operation->store, &attachment->prefix, gone,
						      error)
				 : rail_wiring_add_member(operation->store, &attachment->prefix,
							  member, gone, error);
	if (result == 0)
		rail_environment_lock_finish(&lock, false);
	return result;
}

int mesh_join(struct rail_operation *operation, struct rail_attachment *attachment, int netns_fd,
	      const char *interface_name, unsigned int *ret_mtu, struct rail_error *error)
{
	const struct rail_settings *settings = &operation->settings;
	RAIL_CLEANUP(rail_gone_done) struct rail_gone gone = {0};
	struct announcement announcement = {operation, attachment};
	const struct rail_transport *transport = NULL;
	char alias[64];

	int result = rail_transport_choose(settings->transport, &transport, error);
	if (result < 0)
		return result;

	/* Tells our interface from any other under the same name or number. */
	const uint8_t *a = attachment->address.s6_addr;
	(void)snprintf(alias, sizeof(alias),
		       "railway %02x%02x%02x%02x%02x%02x%02x%02x%02x%02x%02x%02x"
		       "%02x%02x%02x%02x",
		       a[0], a[1], a[2], a[3], a[4], a[5], a[6], a[7], a[8], a[9], a[10], a[11],
		       a[12], a[13], a[14], a[15]);

	struct rail_pod pod = {
		.transport = transport,
		.prefix = attachment->prefix,
		.address = attachment->address,
		.interface_name = interface_name,
		.alias = alias,
		.mtu = settings->mtu,
		.listen_ports = settings->listen_ports,
		.listen_port_count = settings->listen_port_count,
	};
	result = rail_pod_create(netns_fd, &pod, announce, &announcement, &attachment->interface,
				 ret_mtu, error);
	if (result < 0)
		return result;

	rail_pause("interface-made");
	/* Local peers are reached over loopback: their packets never leave the node, and a lone
	 * node needs no address. */
	struct rail_member member = {
		.address = attachment->address,
		.local = true,
		.published = !rail_operation_is_clustered(operation),
		.node = rail_address_split(&attachment->address).node,
		.public_key = attachment->interface.public_key,
		.endpoint = {.family = AF_INET, .port = attachment->interface.listen_port},
		.key = attachment->key,
	};
	member.endpoint.address.v4.s_addr = htonl(INADDR_LOOPBACK);
	memcpy(member.replica, attachment->identity.replica, sizeof(member.replica));

	result = wire(operation, attachment, netns_fd, &member, &gone, error);
	rail_pause("wired");
	/* What cannot be listed now waits for the next one. */
	(void)rail_attachment_list_orphans(operation, &attachment->prefix, &gone, NULL);
	rail_attachment_bury(operation, &gone);
	/* Without the lock, which meshd takes to bring the members of other nodes. */
	if (result == 0)
		rail_cluster_publish(operation, &attachment->address);
	return result;
}
