#include "pkg/store/live.h"

#include <arpa/inet.h>
#include <errno.h>

#include "pkg/store/records.h"
#include "test/unit/store/allocation.h"
#include "test/unit/store/stores.h"

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

TestSuite(store_live, .init = open_both, .fini = close_both);

static const struct rail_prefix other_prefix = {{0xfd, 0x11, 0x22, 0x33, 0x44, 0x56}};

static struct in6_addr address_of(const char *text)
{
	struct in6_addr address;

	cr_assert_eq(inet_pton(AF_INET6, text, &address), 1);
	return address;
}

static void put_attachment(struct rail_transaction *live, const char *network,
			   const char *container_id, const char *interface, uint32_t parts)
{
	struct rail_error error = RAIL_ERROR_NONE;
	struct rail_attachment attachment = {.key = key_of(network, container_id, interface),
					     .parts = parts};

	cr_assert_eq(rail_attachment_put(live, &attachment, &error), 0, "%s", error.message);
}

Test(store_live, an_attachment_is_found_under_exactly_its_key)
{
	RAIL_CLEANUP(rail_transaction_abort)
	struct rail_transaction *live = begin(store, RAIL_LIVE, RAIL_WRITE);
	struct rail_attachment_key key = key_of("net", "container", "eth0");
	struct rail_error error = RAIL_ERROR_NONE;
	struct rail_attachment attachment;

	put_attachment(live, "net", "container", "eth0", 1);
	put_attachment(live, "net", "container", "eth1", 2);
	put_attachment(live, "net2", "container", "eth0", 3);
	cr_assert_eq(rail_attachment_get(live, &key, &attachment, &error), 0, "%s", error.message);
	cr_assert_eq(attachment.parts, 1);
	cr_assert(rail_attachment_key_equal(&attachment.key, &key));

	put_attachment(live, "net", "container", "eth0", 7);
	cr_assert_eq(rail_attachment_get(live, &key, &attachment, NULL), 0);
	cr_assert_eq(attachment.parts, 7, "replaced");

	cr_assert_eq(rail_attachment_delete(live, &key, NULL), 0);
	cr_assert_eq(rail_attachment_delete(live, &key, NULL), 0, "a second time");
	cr_assert_eq(rail_attachment_get(live, &key, &attachment, &error), -ENOENT);
	cr_assert_neq(strstr(error.message, "container"), NULL);
	key = key_of("net", "container", "eth1");
	cr_assert_eq(rail_attachment_get(live, &key, &attachment, NULL), 0, "its neighbour");
}

Test(store_live, keys_whose_parts_join_to_the_same_text_are_different)
{
	RAIL_CLEANUP(rail_transaction_abort)
	struct rail_transaction *live = begin(store, RAIL_LIVE, RAIL_WRITE);
	struct rail_attachment_key key = key_of("a", "bc", "d");
	struct rail_attachment attachment;

	put_attachment(live, "ab", "c", "d", 1);
	put_attachment(live, "a", "b", "cd", 2);
	cr_assert_eq(rail_attachment_get(live, &key, &attachment, NULL), -ENOENT);
}

struct collection {
	int count;
	int stop_at;
	uint32_t parts;
};

static int collect(void *context, const struct rail_attachment *attachment)
{
	struct collection *collection = context;

	collection->parts |= attachment->parts;
	collection->count++;
	return collection->count == collection->stop_at ? 77 : 0;
}

Test(store_live, attachments_are_visited_by_network)
{
	RAIL_CLEANUP(rail_transaction_abort)
	struct rail_transaction *live = begin(store, RAIL_LIVE, RAIL_WRITE);
	struct collection collection = {.count = 0};
	char too_long[RAIL_NETWORK_NAME_SIZE + 400];

	put_attachment(live, "net", "one", "eth0", 1);
	put_attachment(live, "net", "two", "eth0", 2);
	put_attachment(live, "network", "three", "eth0", 4);
	put_attachment(live, "ne", "four", "eth0", 8);

	cr_assert_eq(rail_attachment_each(live, "net", collect, &collection, NULL), 0);
	cr_assert_eq(collection.count, 2);
	cr_assert_eq(collection.parts, 3);

	collection = (struct collection){.count = 0};
	cr_assert_eq(rail_attachment_each(live, NULL, collect, &collection, NULL), 0);
	cr_assert_eq(collection.count, 4);

	collection = (struct collection){.stop_at = 1};
	cr_assert_eq(rail_attachment_each(live, NULL, collect, &collection, NULL), 77);
	cr_assert_eq(collection.count, 1);

	collection = (struct collection){.count = 0};
	cr_assert_eq(rail_attachment_each(live, "", collect, &collection, NULL), 0);
	cr_assert_eq(rail_attachment_each(live, "none", collect, &collection, NULL), 0);
	memset(too_long, 'n', sizeof(too_long) - 1);
	too_long[sizeof(too_long) - 1] = '\0';
	cr_assert_eq(rail_attachment_each(live, too_long, collect, &collection, NULL), 0);
	cr_assert_eq(collection.count, 0);
}

Test(store_live, a_damaged_record_is_an_error_and_no_attachment)
{
	RAIL_CLEANUP(rail_transaction_abort)
	struct rail_transaction *live = begin(store, RAIL_LIVE, RAIL_WRITE);
	struct rail_attachment_key key = key_of("net", "container", "eth0");
	struct rail_error error = RAIL_ERROR_NONE;
	struct collection collection = {.count = 0};
	struct rail_attachment attachment;
	uint8_t bytes[64];
	struct rail_writer writer = rail_writer_init(bytes, sizeof(bytes));

	rail_write_attachment_key(&writer, &key);
	cr_assert_eq(rail_store_put(live, RAIL_TABLE_ATTACHMENTS,
				    (struct rail_span){bytes, writer.position}, span("\x01garbage"),
				    NULL),
		     0);
	cr_assert_eq(rail_attachment_get(live, &key, &attachment, &error), -EUCLEAN);
	cr_assert_eq(error.code, RAIL_CODE_IO);
	cr_assert_eq(rail_attachment_each(live, NULL, collect, &collection, &error), -EUCLEAN);
	cr_assert_eq(collection.count, 0);
}

static int take(struct rail_transaction *live, const struct rail_attachment_key *key,
		struct in6_addr *ret_address)
{
	return rail_lease_take(live, &prefix, SERVICE, NODE, key, ret_address, NULL);
}

static void note_range(struct rail_transaction *live, uint32_t next, uint32_t end)
{
	struct rail_counter_range range = {next, end};
	struct rail_error error = RAIL_ERROR_NONE;

	cr_assert_eq(rail_lease_range(live, &prefix, SERVICE, NODE, &range, &error), 0, "%s",
		     error.message);
}

Test(store_live, leases_go_up_through_their_range_and_no_further)
{
	RAIL_CLEANUP(rail_transaction_abort)
	struct rail_transaction *live = begin(store, RAIL_LIVE, RAIL_WRITE);
	struct rail_attachment_key key = key_of("net", "container", "eth0");
	struct rail_attachment_key owner;
	struct rail_error error = RAIL_ERROR_NONE;
	struct in6_addr address;

	cr_assert_eq(rail_lease_take(live, &prefix, SERVICE, NODE, &key, &address, &error),
		     -ERANGE);
	cr_assert_eq(error.errnum, 0, "no error is set");
	note_range(live, 10, 13);
	for (uint32_t counter = 10; counter < 13; counter++) {
		cr_assert_eq(take(live, &key, &address), 0);
		struct rail_address_parts parts = rail_address_split(&address);
		cr_assert(rail_prefix_equal(&parts.prefix, &prefix));
		cr_assert_eq(parts.service, SERVICE);
		cr_assert_eq(parts.node, NODE);
		cr_assert_eq(parts.counter, counter);
		cr_assert_eq(rail_lease_owner(live, &address, &owner, NULL), 0);
		cr_assert(rail_attachment_key_equal(&owner, &key));
	}
	cr_assert_eq(take(live, &key, &address), -ERANGE);

	/* Ranges are of one service of one environment on one node. */
	note_range(live, 20, 30);
	cr_assert_eq(rail_lease_take(live, &prefix, SERVICE + 1, NODE, &key, &address, NULL),
		     -ERANGE);
	cr_assert_eq(rail_lease_take(live, &prefix, SERVICE, NODE + 1, &key, &address, NULL),
		     -ERANGE);
	cr_assert_eq(rail_lease_take(live, &other_prefix, SERVICE, NODE, &key, &address, NULL),
		     -ERANGE);
}

Test(store_live, a_released_address_does_not_come_again)
{
	RAIL_CLEANUP(rail_transaction_abort)
	struct rail_transaction *live = begin(store, RAIL_LIVE, RAIL_WRITE);
	struct rail_attachment_key key = key_of("net", "container", "eth0");
	struct in6_addr first;
	struct in6_addr second;

	note_range(live, 1, 100);
	cr_assert_eq(take(live, &key, &first), 0);
	cr_assert_eq(rail_lease_release(live, &first, &key, NULL), 0);
	cr_assert_eq(take(live, &key, &second), 0);
	cr_assert_arr_neq(first.s6_addr, second.s6_addr, 16);
}

Test(store_live, a_range_is_kept_until_it_is_used_up)
{
	RAIL_CLEANUP(rail_transaction_abort)
	struct rail_transaction *live = begin(store, RAIL_LIVE, RAIL_WRITE);
	struct rail_attachment_key key = key_of("net", "container", "eth0");
	struct in6_addr address;

	note_range(live, 1, 3);
	note_range(live, 100, 200); /* another process was as late as this one */
	cr_assert_eq(take(live, &key, &address), 0);
	cr_assert_eq(rail_address_split(&address).counter, 1);
	note_range(live, 100, 200);
	cr_assert_eq(take(live, &key, &address), 0);
	cr_assert_eq(rail_address_split(&address).counter, 2);
	note_range(live, 100, 200);
	cr_assert_eq(take(live, &key, &address), 0);
	cr_assert_eq(rail_address_split(&address).counter, 100);
}

Test(store_live, ranges_that_cannot_be_are_refused)
{
	RAIL_CLEANUP(rail_transaction_abort)
	struct rail_transaction *live = begin(store, RAIL_LIVE, RAIL_WRITE);
	static const struct rail_counter_range ranges[] = {{0, 5}, {5, 4}};
	static const struct rail_counter_range good = {1, 5};

	for (size_t i = 0; i < sizeof(ranges) / sizeof(ranges[0]); i++)
		cr_assert_lt(rail_lease_range(live, &prefix, SERVICE, NODE, &ranges[i], NULL), 0);
	cr_assert_lt(rail_lease_range(live, &prefix, SERVICE, RAIL_NODE_REQUESTED, &good, NULL), 0);
}

Test(store_live, a_live_lease_is_stepped_over)
{
	RAIL_CLEANUP(rail_transaction_abort)
	struct rail_transaction *live = begin(store, RAIL_LIVE, RAIL_WRITE);
	struct rail_attachment_key key = key_of("net", "container", "eth0");
	struct rail_attachment_key holder = key_of("net", "holder", "eth0");
	struct rail_address_parts parts = {prefix, SERVICE, NODE, 1};
	struct in6_addr address = rail_address_compose(&parts);

	cr_assert_eq(rail_lease_claim(live, &address, &holder, NULL), 0);
	note_range(live, 1, 3);
	cr_assert_eq(take(live, &key, &address), 0);
	cr_assert_eq(rail_address_split(&address).counter, 2);
}

Test(store_live, a_requested_address_that_is_taken_is_refused_by_its_holders_name)
{
	RAIL_CLEANUP(rail_transaction_abort)
	struct rail_transaction *live = begin(store, RAIL_LIVE, RAIL_WRITE);
	struct rail_attachment_key holder = key_of("net", "the-holder", "eth0");
	struct rail_attachment_key other = key_of("net", "another", "eth0");
	struct in6_addr address = address_of("fd11:2233:4455:5::10");
	struct rail_error error = RAIL_ERROR_NONE;
	struct rail_attachment_key owner;

	cr_assert_eq(rail_lease_claim(live, &address, &holder, NULL), 0);
	cr_assert_eq(rail_lease_claim(live, &address, &holder, NULL), 0, "by the same again");
	cr_assert_eq(rail_lease_claim(live, &address, &other, &error), -EADDRINUSE);
	cr_assert_eq(error.code, RAIL_CODE_INVALID_CONFIG);
	cr_assert_neq(strstr(error.message, "the-holder"), NULL, "%s", error.message);
	cr_assert_neq(strstr(error.message, "fd11:2233:4455:5::10"), NULL, "%s", error.message);

	/* Only its holder gives it back. */
	cr_assert_eq(rail_lease_release(live, &address, &other, NULL), 0);
	cr_assert_eq(rail_lease_owner(live, &address, &owner, NULL), 0);
	cr_assert(rail_attachment_key_equal(&owner, &holder));
	cr_assert_eq(rail_lease_release(live, &address, &holder, NULL), 0);
	cr_assert_eq(rail_lease_release(live, &address, &holder, NULL), 0, "a second time");
	cr_assert_eq(rail_lease_owner(live, &address, &owner, &error), -ENOENT);
	cr_assert_eq(rail_lease_claim(live, &address, &other, NULL), 0);
}

/* Starts children that all allocate once the writing end of start is closed, and reads what they
 * got. */
static void allocate_in_children(size_t children, size_t each, struct in6_addr *ret_addresses)
{
	int results[2];
	int start[2];

	cr_assert_eq(pipe(results), 0);
	cr_assert_eq(pipe(start), 0);
	for (size_t i = 0; i < children; i++) {
		if (fork_child() != 0)
			continue;

		struct rail_error error = RAIL_ERROR_NONE;
		struct rail_store *own;
		char byte;

		(void)close(start[1]);
		CHILD_MUST(read(start[0], &byte, 1) == 0);
		CHILD_MUST(rail_store_open_in_boot(state_directory, run_directory, BOOT, &own,
						   &error) == 0);
		for (size_t j = 0; j < each; j++) {
			struct rail_attachment_key key = key_of("net", "container", "eth0");
			struct in6_addr address;

			CHILD_MUST(allocate(own, &key, &address, &error) == 0);
			CHILD_MUST(write(results[1], &address, sizeof(address)) ==
				   (ssize_t)sizeof(address));
		}
		_exit(0);
	}
	(void)close(start[0]);
	(void)close(start[1]);
	(void)close(results[1]);
	for (size_t i = 0; i < children * each; i++)
		cr_assert_eq(read(results[0], &ret_addresses[i], sizeof(ret_addresses[i])),
			     (ssize_t)sizeof(ret_addresses[i]));
	(void)close(results[0]);
	for (size_t i = 0; i < children; i++) {
		int status;

		cr_assert_gt(wait(&status), 0);
		cr_assert_eq(status, 0);
	}
}

Test(store_live, eight_processes_at_once_never_get_one_address_twice)
{
	enum { CHILDREN = 8, EACH = 400 };
	static struct in6_addr addresses[CHILDREN * EACH];

	rail_store_close(RAIL_TAKE_POINTER(store));
	allocate_in_children(CHILDREN, EACH, addresses);
	assert_all_different(addresses, CHILDREN * EACH);
}

Test(store_live, processes_that_find_no_range_at_once_waste_one_but_no_address_comes_twice)
{
	enum { CHILDREN = 8, ROUNDS = 10 };
	static struct in6_addr addresses[CHILDREN * ROUNDS];

	rail_store_close(RAIL_TAKE_POINTER(store));
	for (size_t i = 0; i < ROUNDS; i++) {
		/* As after a reboot: nobody finds a range. */
		remove_tree(run_directory);
		allocate_in_children(CHILDREN, 1, &addresses[i * CHILDREN]);
	}
	assert_all_different(addresses, CHILDREN * ROUNDS);
}

Test(store_live, no_address_comes_again_when_the_run_directory_is_wiped_or_the_boot_changes)
{
	enum { ROUNDS = 6, EACH = 5 };
	static struct in6_addr addresses[ROUNDS * EACH];
	struct rail_attachment_key key = key_of("net", "container", "eth0");
	struct rail_error error = RAIL_ERROR_NONE;

	for (size_t i = 0; i < ROUNDS; i++) {
		for (size_t j = 0; j < EACH; j++)
			cr_assert_eq(allocate(store, &key, &addresses[i * EACH + j], &error), 0,
				     "%s", error.message);
		rail_store_close(store);
		if (i % 2 == 0)
			remove_tree(run_directory);
		store = open_in_boot(i % 4 < 2 ? ANOTHER_BOOT : BOOT);
	}
	assert_all_different(addresses, ROUNDS * EACH);
}

static void put_member(struct rail_transaction *live, const struct rail_prefix *of,
		       uint16_t service, uint32_t counter)
{
	struct rail_error error = RAIL_ERROR_NONE;
	struct rail_address_parts parts = {*of, service, NODE, counter};
	struct rail_member member = {.address = rail_address_compose(&parts), .node = counter};

	cr_assert_eq(rail_member_put(live, &member, &error), 0, "%s", error.message);
}

Test(store_live, an_environments_members_are_listed_service_by_service)
{
	enum { MANY = 100 };
	RAIL_CLEANUP(rail_transaction_abort)
	struct rail_transaction *live = begin(store, RAIL_LIVE, RAIL_WRITE);
	RAIL_FREE struct rail_member *members = NULL;
	size_t count = 77;

	cr_assert_eq(rail_member_list(live, &prefix, &members, &count, NULL), 0);
	cr_assert_eq(count, 0);

	for (uint32_t i = MANY; i > 0; i--) {
		put_member(live, &prefix, 2, i);
		put_member(live, &prefix, 1, i);
		put_member(live, &other_prefix, 1, i);
	}
	free(RAIL_TAKE_POINTER(members));
	cr_assert_eq(rail_member_list(live, &prefix, &members, &count, NULL), 0);
	cr_assert_eq(count, 2 * MANY);
	for (uint32_t i = 0; i < 2 * MANY; i++) {
		struct rail_address_parts parts = rail_address_split(&members[i].address);

		cr_assert_eq(parts.service, 1 + i / MANY);
		cr_assert_eq(parts.counter, 1 + i % MANY);
		cr_assert_eq(members[i].node, parts.counter);
		cr_assert(rail_prefix_equal(&parts.prefix, &prefix));
	}
	free(RAIL_TAKE_POINTER(members));
	cr_assert_eq(rail_member_list(live, NULL, &members, &count, NULL), 0);
	cr_assert_eq(count, 3 * MANY);
}

Test(store_live, members_come_and_go)
{
	RAIL_CLEANUP(rail_transaction_abort)
	struct rail_transaction *live = begin(store, RAIL_LIVE, RAIL_WRITE);
	struct rail_address_parts parts = {prefix, 1, NODE, 9};
	struct in6_addr address = rail_address_compose(&parts);
	struct rail_error error = RAIL_ERROR_NONE;
	struct rail_member member;

	put_member(live, &prefix, 1, 9);
	cr_assert_eq(rail_member_get(live, &address, &member, NULL), 0);
	cr_assert_eq(member.node, 9);
	cr_assert_arr_eq(member.address.s6_addr, address.s6_addr, 16);
	member.named = true;
	cr_assert_eq(rail_member_put(live, &member, NULL), 0);
	cr_assert_eq(rail_member_get(live, &address, &member, NULL), 0);
	cr_assert(member.named);
	cr_assert_eq(rail_member_delete(live, &address, NULL), 0);
	cr_assert_eq(rail_member_delete(live, &address, NULL), 0, "a second time");
	cr_assert_eq(rail_member_get(live, &address, &member, &error), -ENOENT);
	cr_assert_neq(strstr(error.message, "fd11:2233:4455:1:0:1:0:9"), NULL, "%s", error.message);
}
