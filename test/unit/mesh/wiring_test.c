#include "pkg/mesh/wiring.h"

#include <arpa/inet.h>

#include "test/unit/store/stores.h"

static const struct rail_prefix prefix = {{0xfd, 1, 2, 3, 4, 5}};

static struct rail_store *store;

static void open_both(void)
{
	make_directories();
	store = open_stores();
}

static void close_both(void)
{
	rail_store_close(store);
	remove_directories();
}

TestSuite(mesh_wiring, .init = open_both, .fini = close_both);

static void put_member(struct rail_transaction *live, uint8_t last, uint8_t key, bool local)
{
	struct rail_error error = RAIL_ERROR_NONE;
	struct rail_member member = {
		.address = {.s6_addr = {0xfd, 1, 2, 3, 4, 5, 0, 1, [15] = last}},
		.local = local,
		.node = local ? 1 : 7,
		.replica = "r",
		.endpoint = {.family = AF_INET, .port = 1},
	};

	member.endpoint.address.v4.s_addr = htonl(0x0a000001);
	member.public_key.bytes[0] = key;
	if (local)
		member.key = (struct rail_attachment_key){
			.network = "n", .container_id = "c", .interface = "eth0"};
	cr_assert_eq(rail_member_put(live, &member, &error), 0, "%s", error.message);
}

Test(mesh_wiring, of_members_with_one_key_the_local_one_counts_else_the_first)
{
	struct rail_transaction *live = begin(store, RAIL_LIVE, RAIL_WRITE);
	RAIL_CLEANUP(rail_membership_done) struct rail_membership membership = {0};
	RAIL_CLEANUP(rail_gone_done) struct rail_gone gone = {0};
	struct rail_error error = RAIL_ERROR_NONE;

	put_member(live, 1, 10, false); /* has the key of 2 */
	put_member(live, 2, 10, true);
	put_member(live, 3, 30, false);
	put_member(live, 4, 30, false); /* has the key of 3 */
	put_member(live, 5, 50, false);
	commit(&live);
	cr_assert_eq(rail_membership_read(store, &prefix, &membership, &gone, &error), 0, "%s",
		     error.message);
	cr_assert_eq(membership.count, 3);
	cr_assert_eq(membership.members[0].address.s6_addr[15], 2);
	cr_assert_eq(membership.members[1].address.s6_addr[15], 3);
	cr_assert_eq(membership.members[2].address.s6_addr[15], 5);
}
