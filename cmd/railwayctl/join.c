#include "cmd/railwayctl/join.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "pkg/base/cleanup.h"

enum { WHOLE_ADDRESS = 128 };

struct slot {
	const struct rail_peer *peer;
	bool is_a_members;
};

static int by_key(const void *one, const void *other)
{
	const struct slot *first = one;
	const struct slot *second = other;

	return memcmp(&first->peer->public_key, &second->peer->public_key,
		      sizeof(first->peer->public_key));
}

static bool has_just_the_address(const struct rail_peer *peer, const struct in6_addr *address)
{
	const struct rail_allowed_ip *one = peer->allowed_ips;

	return peer->allowed_ip_count == 1 && one->family == AF_INET6 &&
	       one->length == WHOLE_ADDRESS &&
	       memcmp(&one->address.v6, address, sizeof(*address)) == 0;
}

static struct join_row join_one(const struct rail_member *member, struct slot *slots, size_t count)
{
	const struct rail_peer wanted = {.public_key = member->public_key};
	const struct slot key = {.peer = &wanted};
	struct join_row row = {.state = JOIN_MISSING, .member = member};
	struct slot *slot = bsearch(&key, slots, count, sizeof(*slots), by_key);

	if (slot == NULL)
		return row;
	slot->is_a_members = true;
	row.peer = slot->peer;
	row.state = has_just_the_address(slot->peer, &member->address) ? JOIN_RIGHT : JOIN_CHANGED;
	return row;
}

int join_peers(const struct rail_device *device, const struct rail_member *members, size_t count,
	       const struct in6_addr *self, struct join_row **ret_rows, size_t *ret_count)
{
	/* One more of each: nothing is no lack of memory. */
	RAIL_FREE struct slot *slots = calloc(device->peer_count + 1, sizeof(*slots));
	RAIL_FREE struct join_row *rows = calloc(device->peer_count + count + 1, sizeof(*rows));
	size_t row_count = 0;

	if (slots == NULL || rows == NULL)
		return -ENOMEM;
	for (size_t i = 0; i < device->peer_count; i++)
		slots[i].peer = &device->peers[i];
	qsort(slots, device->peer_count, sizeof(*slots), by_key);
	for (size_t i = 0; i < count; i++)
		if (memcmp(&members[i].address, self, sizeof(*self)) != 0)
			rows[row_count++] = join_one(&members[i], slots, device->peer_count);
	for (size_t i = 0; i < device->peer_count; i++)
		if (!slots[i].is_a_members)
			rows[row_count++] =
				(struct join_row){.state = JOIN_UNKNOWN, .peer = slots[i].peer};
	*ret_rows = RAIL_TAKE_POINTER(rows);
	*ret_count = row_count;
	return 0;
}

const char *join_state_name(enum join_state state)
{
	switch (state) {
	case JOIN_MISSING:
		return "missing";
	case JOIN_UNKNOWN:
		return "unknown";
	case JOIN_CHANGED:
		return "changed";
	case JOIN_RIGHT:
	case JOIN_STATES:
		break;
	}
	return "ok";
}
