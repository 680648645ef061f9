#include "pkg/store/live.h"

#include <arpa/inet.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "pkg/base/cleanup.h"
#include "pkg/store/keys.h"
#include "pkg/store/records.h"

enum { RANGE_RECORD_SIZE = 16 };

bool rail_attachment_key_equal(const struct rail_attachment_key *one,
			       const struct rail_attachment_key *other)
{
	return strcmp(one->network, other->network) == 0 &&
	       strcmp(one->container_id, other->container_id) == 0 &&
	       strcmp(one->interface, other->interface) == 0;
}

int rail_attachment_get(struct rail_transaction *transaction, const struct rail_attachment_key *key,
			struct rail_attachment *ret_attachment, struct rail_error *error)
{
	uint8_t key_bytes[RAIL_ATTACHMENT_KEY_MAXIMUM];
	struct rail_writer writer = rail_writer_init(key_bytes, sizeof(key_bytes));
	struct rail_attachment attachment = {.key = *key};
	struct rail_span value;

	rail_write_attachment_key(&writer, key);
	if (writer.failed)
		return rail_record_unwritable("an attachment's key", error);

	int result = rail_store_get(transaction, RAIL_TABLE_ATTACHMENTS,
				    rail_span_of_writer(&writer), &value, error);
	if (result < 0)
		return result;
	if (result == 0)
		return rail_fail(error, ENOENT,
				 "interface '%s' of container '%s' is not attached to network '%s'",
				 key->interface, key->container_id, key->network);

	struct rail_reader reader = rail_reader_init(value.bytes, value.size);
	if (!rail_read_attachment(&reader, &attachment))
		return rail_record_damaged(transaction, "an attachment", error);
	*ret_attachment = attachment;
	return 0;
}

int rail_attachment_put(struct rail_transaction *transaction,
			const struct rail_attachment *attachment, struct rail_error *error)
{
	uint8_t key_bytes[RAIL_ATTACHMENT_KEY_MAXIMUM];
	uint8_t record[RAIL_RECORD_MAXIMUM];
	struct rail_writer key = rail_writer_init(key_bytes, sizeof(key_bytes));
	struct rail_writer value = rail_writer_init(record, sizeof(record));

	rail_write_attachment_key(&key, &attachment->key);
	rail_write_attachment(&value, attachment);
	if (key.failed || value.failed)
		return rail_record_unwritable("an attachment", error);
	return rail_store_put(transaction, RAIL_TABLE_ATTACHMENTS, rail_span_of_writer(&key),
			      rail_span_of_writer(&value), error);
}

int rail_attachment_delete(struct rail_transaction *transaction,
			   const struct rail_attachment_key *key, struct rail_error *error)
{
	uint8_t key_bytes[RAIL_ATTACHMENT_KEY_MAXIMUM];
	struct rail_writer writer = rail_writer_init(key_bytes, sizeof(key_bytes));

	rail_write_attachment_key(&writer, key);
	if (writer.failed)
		return rail_record_unwritable("an attachment's key", error);
	return rail_store_delete(transaction, RAIL_TABLE_ATTACHMENTS, rail_span_of_writer(&writer),
				 error);
}

struct attachment_visit {
	const struct rail_transaction *transaction;
	int (*each)(void *context, const struct rail_attachment *attachment);
	void *context;
};

static int visit_attachment(void *context, struct rail_span key, struct rail_span value,
			    struct rail_error *error)
{
	const struct attachment_visit *visit = context;
	struct rail_attachment attachment = {.state = RAIL_PENDING};
	struct rail_reader key_reader = rail_reader_init(key.bytes, key.size);
	struct rail_reader reader = rail_reader_init(value.bytes, value.size);

	if (!rail_read_attachment_key(&key_reader, &attachment.key) ||
	    !rail_read_attachment(&reader, &attachment))
		return rail_record_damaged(visit->transaction, "an attachment", error);
	return visit->each(visit->context, &attachment);
}

int rail_attachment_each(struct rail_transaction *transaction, const char *network,
			 int (*each)(void *context, const struct rail_attachment *attachment),
			 void *context, struct rail_error *error)
{
	struct attachment_visit visit = {transaction, each, context};
	uint8_t prefix[RAIL_ATTACHMENT_KEY_MAXIMUM];
	struct rail_writer writer = rail_writer_init(prefix, sizeof(prefix));

	if (network != NULL)
		rail_write_network_name(&writer, network);
	/* No attachment has a network with so long a name. */
	if (writer.failed)
		return 0;
	return rail_store_each(transaction, RAIL_TABLE_ATTACHMENTS, rail_span_of_writer(&writer),
			       visit_attachment, &visit, error);
}

/* What is left of the range; nothing where there is none. */
static int get_range(struct rail_transaction *transaction, struct rail_span key,
		     struct rail_counter_range *ret_range, struct rail_error *error)
{
	struct rail_counter_range range = {.next = 0, .end = 0};
	struct rail_span value;
	int result = rail_store_get(transaction, RAIL_TABLE_RANGES, key, &value, error);

	if (result < 0)
		return result;
	if (result > 0) {
		struct rail_reader reader = rail_reader_init(value.bytes, value.size);

		if (!rail_read_range(&reader, &range))
			return rail_record_damaged(transaction, "a range of addresses", error);
	}
	*ret_range = range;
	return 0;
}

static int put_range(struct rail_transaction *transaction, struct rail_span key,
		     const struct rail_counter_range *range, struct rail_error *error)
{
	uint8_t record[RANGE_RECORD_SIZE];
	struct rail_writer writer = rail_writer_init(record, sizeof(record));

	rail_write_range(&writer, range);
	return rail_store_put(transaction, RAIL_TABLE_RANGES, key, rail_span_of_writer(&writer),
			      error);
}

int rail_lease_range(struct rail_transaction *transaction, const struct rail_prefix *prefix,
		     uint16_t service, uint32_t node, const struct rail_counter_range *range,
		     struct rail_error *error)
{
	struct rail_subnet_key room;
	struct rail_span key = rail_counter_key(prefix, service, node, &room);
	struct rail_counter_range present;

	if (node == RAIL_NODE_REQUESTED || range->next == 0 || range->next > range->end)
		return rail_record_unwritable("a range of addresses", error);

	int result = get_range(transaction, key, &present, error);
	if (result < 0 || present.next < present.end)
		return result;
	return put_range(transaction, key, range, error);
}

/* 1 and the key where the address is leased, 0 where not. */
static int get_lease(struct rail_transaction *transaction, const struct in6_addr *address,
		     struct rail_attachment_key *ret_key, struct rail_error *error)
{
	struct rail_attachment_key key;
	struct rail_span value;
	int result = rail_store_get(transaction, RAIL_TABLE_LEASES, rail_span_of_address(address),
				    &value, error);

	if (result <= 0)
		return result;

	struct rail_reader reader = rail_reader_init(value.bytes, value.size);
	if (!rail_read_lease(&reader, &key))
		return rail_record_damaged(transaction, "a lease", error);
	*ret_key = key;
	return 1;
}

static int put_lease(struct rail_transaction *transaction, const struct in6_addr *address,
		     const struct rail_attachment_key *key, struct rail_error *error)
{
	uint8_t record[RAIL_ATTACHMENT_KEY_MAXIMUM + 1];
	struct rail_writer writer = rail_writer_init(record, sizeof(record));

	rail_write_lease(&writer, key);
	if (writer.failed)
		return rail_record_unwritable("an attachment's key", error);
	return rail_store_put(transaction, RAIL_TABLE_LEASES, rail_span_of_address(address),
			      rail_span_of_writer(&writer), error);
}

int rail_lease_take(struct rail_transaction *transaction, const struct rail_prefix *prefix,
		    uint16_t service, uint32_t node, const struct rail_attachment_key *key,
		    struct in6_addr *ret_address, struct rail_error *error)
{
	struct rail_subnet_key room;
	struct rail_span span = rail_counter_key(prefix, service, node, &room);
	struct rail_address_parts parts = {.prefix = *prefix, .service = service, .node = node};
	struct rail_counter_range range;
	struct rail_attachment_key holder;
	struct in6_addr address;
	int taken = 1;

	int result = get_range(transaction, span, &range, error);
	if (result < 0)
		return result;

	/* Nothing is leased above a counter, but where a /48 was given up and drawn again out of a
	 * small pool, and its counters began anew. */
	while (taken > 0) {
		if (range.next >= range.end)
			return -ERANGE;
		parts.counter = range.next++;
		address = rail_address_compose(&parts);
		taken = get_lease(transaction, &address, &holder, error);
	}
	if (taken < 0)
		return taken;

	result = put_range(transaction, span, &range, error);
	if (result == 0)
		result = put_lease(transaction, &address, key, error);
	if (result < 0)
		return result;
	*ret_address = address;
	return 0;
}

int rail_lease_claim(struct rail_transaction *transaction, const struct in6_addr *address,
		     const struct rail_attachment_key *key, struct rail_error *error)
{
	struct rail_attachment_key holder;
	int result = get_lease(transaction, address, &holder, error);

	if (result < 0)
		return result;
	if (result == 0)
		return put_lease(transaction, address, key, error);
	if (!rail_attachment_key_equal(&holder, key)) {
		char text[INET6_ADDRSTRLEN];

		(void)inet_ntop(AF_INET6, address, text, sizeof(text));
		return rail_fail_code(error, RAIL_CODE_INVALID_CONFIG, EADDRINUSE,
				      "requested address %s is in use by container '%s' (interface "
				      "'%s' in network '%s'); request another",
				      text, holder.container_id, holder.interface, holder.network);
	}
	return 0;
}

int rail_lease_release(struct rail_transaction *transaction, const struct in6_addr *address,
		       const struct rail_attachment_key *key, struct rail_error *error)
{
	struct rail_attachment_key holder;
	int result = get_lease(transaction, address, &holder, error);

	if (result <= 0 || !rail_attachment_key_equal(&holder, key))
		return result < 0 ? result : 0;
	return rail_store_delete(transaction, RAIL_TABLE_LEASES, rail_span_of_address(address),
				 error);
}

int rail_lease_owner(struct rail_transaction *transaction, const struct in6_addr *address,
		     struct rail_attachment_key *ret_key, struct rail_error *error)
{
	int result = get_lease(transaction, address, ret_key, error);

	if (result == 0) {
		char text[INET6_ADDRSTRLEN];

		(void)inet_ntop(AF_INET6, address, text, sizeof(text));
		return rail_fail(error, ENOENT, "nobody has the address %s", text);
	}
	return result < 0 ? result : 0;
}

struct lease_walk {
	const struct rail_transaction *transaction;
	int (*each)(void *context, const struct in6_addr *address,
		    const struct rail_attachment_key *key, struct rail_error *error);
	void *context;
};

static int visit_lease(void *context, struct rail_span key, struct rail_span value,
		       struct rail_error *error)
{
	const struct lease_walk *walk = context;
	struct rail_reader reader = rail_reader_init(value.bytes, value.size);
	struct rail_attachment_key owner;
	struct in6_addr address;

	if (key.size != sizeof(address) || !rail_read_lease(&reader, &owner))
		return rail_record_damaged(walk->transaction, "a lease", error);
	memcpy(&address, key.bytes, sizeof(address));
	return walk->each(walk->context, &address, &owner, error);
}

int rail_lease_each(struct rail_transaction *transaction, const struct rail_prefix *prefix,
		    int (*each)(void *context, const struct in6_addr *address,
				const struct rail_attachment_key *key, struct rail_error *error),
		    void *context, struct rail_error *error)
{
	struct lease_walk walk = {transaction, each, context};

	return rail_store_each(transaction, RAIL_TABLE_LEASES,
			       (struct rail_span){prefix->bytes, sizeof(prefix->bytes)},
			       visit_lease, &walk, error);
}

int rail_member_get(struct rail_transaction *transaction, const struct in6_addr *address,
		    struct rail_member *ret_member, struct rail_error *error)
{
	struct rail_member member = {.address = *address};
	struct rail_span value;
	int result = rail_store_get(transaction, RAIL_TABLE_MEMBERS, rail_span_of_address(address),
				    &value, error);

	if (result < 0)
		return result;
	if (result == 0) {
		char text[INET6_ADDRSTRLEN];

		(void)inet_ntop(AF_INET6, address, text, sizeof(text));
		return rail_fail(error, ENOENT, "there is no member with the address %s", text);
	}

	struct rail_reader reader = rail_reader_init(value.bytes, value.size);
	if (!rail_read_member(&reader, &member))
		return rail_record_damaged(transaction, "a member", error);
	*ret_member = member;
	return 0;
}

int rail_member_put(struct rail_transaction *transaction, const struct rail_member *member,
		    struct rail_error *error)
{
	uint8_t record[RAIL_RECORD_MAXIMUM];
	struct rail_writer writer = rail_writer_init(record, sizeof(record));

	rail_write_member(&writer, member);
	if (writer.failed)
		return rail_record_unwritable("a member", error);
	return rail_store_put(transaction, RAIL_TABLE_MEMBERS,
			      rail_span_of_address(&member->address), rail_span_of_writer(&writer),
			      error);
}

int rail_member_delete(struct rail_transaction *transaction, const struct in6_addr *address,
		       struct rail_error *error)
{
	return rail_store_delete(transaction, RAIL_TABLE_MEMBERS, rail_span_of_address(address),
				 error);
}

struct member_list {
	const struct rail_transaction *transaction;
	struct rail_member *members;
	size_t count;
	size_t capacity;
};

static int list_member(void *context, struct rail_span key, struct rail_span value,
		       struct rail_error *error)
{
	struct member_list *list = context;
	struct rail_member member = {.local = false};
	struct rail_reader reader = rail_reader_init(value.bytes, value.size);

	if (key.size != sizeof(member.address) || !rail_read_member(&reader, &member))
		return rail_record_damaged(list->transaction, "a member", error);
	memcpy(&member.address, key.bytes, sizeof(member.address));

	if (list->count == list->capacity) {
		size_t capacity = list->capacity == 0 ? 16 : list->capacity * 2;
		struct rail_member *grown =
			reallocarray(list->members, capacity, sizeof(*list->members));

		if (grown == NULL)
			return rail_fail_errno(error, ENOMEM, "list an environment's members");
		list->members = grown;
		list->capacity = capacity;
	}
	list->members[list->count++] = member;
	return 0;
}

int rail_member_list(struct rail_transaction *transaction, const struct rail_prefix *prefix,
		     struct rail_member **ret_members, size_t *ret_count, struct rail_error *error)
{
	struct member_list list = {.transaction = transaction};
	struct rail_span span = {.bytes = NULL};

	if (prefix != NULL)
		span = (struct rail_span){prefix->bytes, sizeof(prefix->bytes)};

	int result =
		rail_store_each(transaction, RAIL_TABLE_MEMBERS, span, list_member, &list, error);
	RAIL_FREE struct rail_member *members = list.members;
	if (result < 0)
		return result;
	*ret_members = RAIL_TAKE_POINTER(members);
	*ret_count = list.count;
	return 0;
}
