#include "cmd/railwayctl/join.h"

#include <criterion/criterion.h>
#include <stdlib.h>

#include "pkg/base/cleanup.h"

static struct in6_addr address(uint8_t number)
{
	return (struct in6_addr){.s6_addr = {[0] = 0xfd, [15] = number}};
}

static struct rail_member member(uint8_t number)
{
	return (struct rail_member){.address = address(number),
				    .public_key = {.bytes = {[31] = number}}};
}

static void add_peer(struct rail_device *device, uint8_t key, uint8_t allowed)
{
	const struct rail_key public_key = {.bytes = {[31] = key}};
	const struct rail_endpoint endpoint = {.family = 0};
	const struct in6_addr allowed_ip = address(allowed);

	cr_assert_eq(rail_device_add_peer(device, &public_key, &endpoint, &allowed_ip), 0);
}

Test(cmd_join, members_and_peers_side_by_side)
{
	const struct rail_member members[] = {member(1), member(2), member(3), member(4),
					      member(5)};
	const struct in6_addr self = address(2);
	RAIL_CLEANUP(rail_device_done) struct rail_device device = {.peers = NULL};
	RAIL_FREE struct join_row *rows = NULL;
	size_t count = 0;

	/* In no order; 4 has another's address, 5 is missing, 9 and 8 are nobody. */
	add_peer(&device, 9, 9);
	add_peer(&device, 4, 7);
	add_peer(&device, 3, 3);
	add_peer(&device, 8, 8);
	add_peer(&device, 1, 1);
	cr_assert_eq(join_peers(&device, members, 5, &self, &rows, &count), 0);
	cr_assert_eq(count, 6);

	static const struct {
		enum join_state state;
		uint8_t member;
		uint8_t peer;
	} expected[] = {
		{JOIN_RIGHT, 1, 1},   {JOIN_RIGHT, 3, 3},   {JOIN_CHANGED, 4, 4},
		{JOIN_MISSING, 5, 0}, {JOIN_UNKNOWN, 0, 8}, {JOIN_UNKNOWN, 0, 9},
	};
	for (size_t i = 0; i < count; i++) {
		cr_assert_eq(rows[i].state, expected[i].state, "row %zu", i);
		cr_assert_eq(rows[i].member != NULL ? rows[i].member->address.s6_addr[15] : 0,
			     expected[i].member, "row %zu", i);
		cr_assert_eq(rows[i].peer != NULL ? rows[i].peer->public_key.bytes[31] : 0,
			     expected[i].peer, "row %zu", i);
	}
}

Test(cmd_join, more_or_other_allowed_ips_than_the_address_are_a_change)
{
	const struct rail_member one = member(1);
	const struct in6_addr self = address(2);
	struct rail_allowed_ip allowed_ips[2] = {
		{.family = AF_INET6, .length = 128, .address.v6 = address(1)},
		{.family = AF_INET6, .length = 128, .address.v6 = address(3)},
	};
	struct rail_peer peer = {.public_key = one.public_key, .allowed_ips = allowed_ips};
	const struct rail_device device = {.peers = &peer, .peer_count = 1};

	for (size_t i = 0; i < 4; i++) {
		RAIL_FREE struct join_row *rows = NULL;
		size_t count = 0;

		/* None, just the one, one more, and a wider one. */
		allowed_ips[0].length = i == 3 ? 64 : 128;
		peer.allowed_ip_count = i == 3 ? 1 : i;
		cr_assert_eq(join_peers(&device, &one, 1, &self, &rows, &count), 0);
		cr_assert_eq(count, 1);
		cr_assert_eq(rows[0].state, i == 1 ? JOIN_RIGHT : JOIN_CHANGED, "%zu", i);
	}
}

Test(cmd_join, a_pod_by_itself_has_no_rows)
{
	const struct rail_member one = member(1);
	const struct rail_device device = {.peers = NULL};
	RAIL_FREE struct join_row *rows = NULL;
	size_t count = 7;

	cr_assert_eq(join_peers(&device, &one, 1, &one.address, &rows, &count), 0);
	cr_assert_eq(count, 0);
	cr_assert_not_null(rows);
}
