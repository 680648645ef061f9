#include "cmd/railwayctl/ctl.h"

#include <arpa/inet.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "cmd/railwayctl/join.h"
#include "pkg/base/cleanup.h"
#include "pkg/mesh/wiring.h"
#include "pkg/wg/key.h"

enum { LISTED_MAXIMUM = 8, CANDIDATE_SIZE = 96 };

/* ---- which pod ---- */

static bool is_meant(const struct rail_attachment *pod, const char *container,
		     const char *interface, bool whole)
{
	const char *id = pod->key.container_id;

	if (interface != NULL && strcmp(pod->key.interface, interface) != 0)
		return false;
	return whole ? strcmp(id, container) == 0 : strncmp(id, container, strlen(container)) == 0;
}

static size_t count_meant(const struct snapshot *snapshot, char **arguments, bool whole,
			  const struct rail_attachment **ret_first)
{
	size_t count = 0;

	for (size_t i = 0; i < snapshot->attachment_count; i++)
		if (is_meant(&snapshot->attachments[i], arguments[0], arguments[1], whole) &&
		    count++ == 0)
			*ret_first = &snapshot->attachments[i];
	return count;
}

static int fail_ambiguous(const struct snapshot *snapshot, char **arguments, bool whole,
			  size_t count, struct rail_error *error)
{
	char list[LISTED_MAXIMUM * CANDIDATE_SIZE] = "";
	size_t listed = 0;
	size_t size = 0;

	for (size_t i = 0; i < snapshot->attachment_count && listed < LISTED_MAXIMUM; i++) {
		const struct rail_attachment *pod = &snapshot->attachments[i];

		if (!is_meant(pod, arguments[0], arguments[1], whole))
			continue;
		size += (size_t)snprintf(list + size, sizeof(list) - size, "%s%.64s %s",
					 listed++ > 0 ? ", " : "", pod->key.container_id,
					 pod->key.interface);
	}
	return rail_fail(error, ENOTUNIQ,
			 "'%.64s' is the beginning of %zu pods' (%s%s); give more of the container "
			 "ID, or the interface behind it",
			 arguments[0], count, list, count > listed ? ", ..." : "");
}

/* The one that is called so; else the only one whose container ID begins so. */
static int find_pod(const struct snapshot *snapshot, char **arguments,
		    const struct rail_attachment **ret_pod, struct rail_error *error)
{
	bool whole = true;
	size_t count = count_meant(snapshot, arguments, whole, ret_pod);

	if (count == 0) {
		whole = false;
		count = count_meant(snapshot, arguments, whole, ret_pod);
	}
	if (count == 0)
		return rail_fail(error, ENOENT,
				 "this node knows no container '%.64s'%s%.16s; 'railwayctl pods' "
				 "lists them",
				 arguments[0], arguments[1] != NULL ? " with interface " : "",
				 arguments[1] != NULL ? arguments[1] : "");
	return count == 1 ? 0 : fail_ambiguous(snapshot, arguments, whole, count, error);
}

/* ---- its device ---- */

static int read_device(const struct rail_attachment *pod, struct rail_device *ret_device,
		       struct rail_error *error)
{
	const struct rail_transport *transport = rail_transport_by_name(pod->interface.transport);
	const char *id = pod->key.container_id;
	RAIL_CLOSE int netns_fd = -EBADF;

	if ((pod->parts & RAIL_PART_INTERFACE) == 0)
		return rail_fail(error, ENODEV, "container '%s' has no WireGuard device: it is %s",
				 id, ctl_state_name(pod->state));
	if (transport == NULL)
		return rail_fail(error, ENOTSUP,
				 "container '%s' has the transport '%s', which this release does "
				 "not know; use that of the release that made it",
				 id, pod->interface.transport);

	int result = rail_wiring_open_netns(pod, &netns_fd);
	if (result == -ENOENT || result == -ESTALE)
		return rail_fail(error, -result,
				 "container '%s' is gone: '%s' is not its netns any more. The next "
				 "pod of environment '%s' clears it away",
				 id, pod->netns_path, pod->identity.environment);
	if (result < 0)
		return rail_fail_errno(error, -result, "open the netns '%s' of container '%s'",
				       pod->netns_path, id);
	result = transport->read(netns_fd, &pod->interface, ret_device, error);
	if (result < 0)
		return result;
	if (rail_key_equal(&ret_device->public_key, &pod->interface.public_key))
		return 0;
	rail_device_done(ret_device);
	return rail_fail(error, ESTALE,
			 "interface %s of container '%s' has another key than ADD gave it",
			 pod->interface.name, id);
}

/* ---- what is shown ---- */

static const struct table_column record_columns[] = {
	{"containerId", "container ID", TABLE_TEXT},
	{"interface", "interface", TABLE_TEXT},
	{"environment", "environment", TABLE_TEXT},
	{"service", "service", TABLE_TEXT},
	{"replica", "replica", TABLE_TEXT},
	{"address", "address", TABLE_TEXT},
	{"state", "state", TABLE_TEXT},
	{"transport", "transport", TABLE_TEXT},
	{"device", "device", TABLE_TEXT},
	{"listenPort", "listen port", TABLE_NUMBER},
	{"publicKey", "public key", TABLE_TEXT},
	{"missing", "missing", TABLE_NUMBER},
	{"unknown", "unknown", TABLE_NUMBER},
	{"changed", "changed", TABLE_NUMBER},
};

static const struct table_column peer_columns[] = {
	{"peer", "PEER", TABLE_TEXT},
	{"service", "SERVICE", TABLE_TEXT},
	{"replica", "REPLICA", TABLE_TEXT},
	{"address", "ADDRESS", TABLE_TEXT},
	{"endpoint", "ENDPOINT", TABLE_TEXT},
	{"handshakeAgeSeconds", "LATEST HANDSHAKE", TABLE_SECONDS},
	{"receivedBytes", "RECEIVED", TABLE_BYTES},
	{"sentBytes", "SENT", TABLE_BYTES},
	{"publicKey", "PUBLIC KEY", TABLE_TEXT},
};

static void put_pod(struct table *table, const struct rail_attachment *pod,
		    const struct rail_device *device, const int64_t counts[JOIN_STATES])
{
	char key[RAIL_KEY_TEXT_SIZE];

	rail_key_format(&device->public_key, key);
	table_put_text(table, pod->key.container_id);
	table_put_text(table, pod->key.interface);
	table_put_text(table, pod->identity.environment);
	table_put_text(table, pod->identity.service);
	table_put_text(table, pod->identity.replica);
	ctl_put_address(table, &pod->address);
	table_put_text(table, ctl_state_name(pod->state));
	table_put_text(table, pod->interface.transport);
	table_put_text(table, pod->interface.name);
	table_put_number(table, device->listen_port);
	table_put_text(table, key);
	table_put_number(table, counts[JOIN_MISSING]);
	table_put_number(table, counts[JOIN_UNKNOWN]);
	table_put_number(table, counts[JOIN_CHANGED]);
}

static int64_t clamped(uint64_t bytes)
{
	return bytes > INT64_MAX ? INT64_MAX : (int64_t)bytes;
}

static void put_member(struct table *table, const struct snapshot *snapshot,
		       const struct rail_member *member)
{
	if (member == NULL) {
		for (int i = 0; i < 3; i++)
			table_put_nothing(table);
		return;
	}

	const struct rail_address_parts parts = rail_address_split(&member->address);
	const struct rail_service *service =
		snapshot_service(snapshot, &parts.prefix, parts.service);

	table_put_text(table, service != NULL ? service->label : NULL);
	table_put_text(table, member->replica);
	ctl_put_address(table, &member->address);
}

static void put_row(struct table *table, const struct snapshot *snapshot,
		    const struct join_row *row, int64_t now_s)
{
	const struct rail_peer *peer = row->peer;
	char endpoint[RAIL_ENDPOINT_TEXT_SIZE];
	char key[RAIL_KEY_TEXT_SIZE];

	table_put_text(table, join_state_name(row->state));
	put_member(table, snapshot, row->member);
	if (peer == NULL) {
		for (int i = 0; i < 4; i++)
			table_put_nothing(table);
	} else {
		int64_t age_s = now_s - peer->last_handshake_s;

		rail_endpoint_format(&peer->endpoint, endpoint);
		table_put_text(table, endpoint);
		if (peer->last_handshake_s == 0)
			table_put_nothing(table);
		else
			table_put_number(table, age_s > 0 ? age_s : 0);
		table_put_number(table, clamped(peer->received_bytes));
		table_put_number(table, clamped(peer->sent_bytes));
	}
	rail_key_format(peer != NULL ? &peer->public_key : &row->member->public_key, key);
	table_put_text(table, key);
}

int ctl_peers(struct ctl *ctl, char **arguments, struct rail_error *error)
{
	RAIL_CLEANUP(table_done) struct table record = TABLE_OF(record_columns);
	RAIL_CLEANUP(table_done) struct table peers = TABLE_OF(peer_columns);
	RAIL_CLEANUP(snapshot_done) struct snapshot snapshot = {.node = 0};
	RAIL_CLEANUP(rail_device_done) struct rail_device device = {.peers = NULL};
	RAIL_FREE struct join_row *rows = NULL;
	const struct rail_attachment *pod = NULL;
	int64_t counts[JOIN_STATES] = {0};
	size_t row_count = 0;
	size_t member_count;

	int result = ctl_read(ctl, &snapshot, error);
	if (result == 0)
		result = find_pod(&snapshot, arguments, &pod, error);
	if (result == 0)
		result = read_device(pod, &device, error);
	if (result < 0)
		return result;

	const struct rail_member *members =
		snapshot_members(&snapshot, &pod->prefix, &member_count);

	if (join_peers(&device, members, member_count, &pod->address, &rows, &row_count) < 0)
		return rail_fail_errno(error, ENOMEM, "compare the peers");
	for (size_t i = 0; i < row_count; i++) {
		counts[rows[i].state]++;
		put_row(&peers, &snapshot, &rows[i], time(NULL));
	}
	put_pod(&record, pod, &device, counts);

	const struct ctl_report report = {
		.record = &record,
		.list = &peers,
		.list_name = "peers",
		.none = "no peers, and no other member in its environment",
	};

	result = ctl_print(ctl, &report, error);
	if (result < 0)
		return result;
	return (int64_t)row_count == counts[JOIN_RIGHT] ? CTL_DONE : CTL_ATTENTION;
}
