#include <errno.h>

#include "pkg/store/keys.h"
#include "pkg/store/records.h"

enum { NUMBER_RECORD_SIZE = 8 };

/* A number of 32 bits; the given one where there is none. */
static int get_number(struct rail_transaction *transaction, enum rail_store_table table,
		      struct rail_span key, uint32_t otherwise, uint32_t *ret_number,
		      struct rail_error *error)
{
	struct rail_span value;
	uint32_t number = otherwise;
	int result = rail_store_get(transaction, table, key, &value, error);

	if (result < 0)
		return result;
	if (result > 0) {
		struct rail_reader reader = rail_reader_init(value.bytes, value.size);

		if (!rail_read_number(&reader, &number))
			return rail_record_damaged(transaction, "a number", error);
	}
	*ret_number = number;
	return 0;
}

static int put_number(struct rail_transaction *transaction, enum rail_store_table table,
		      struct rail_span key, uint32_t number, struct rail_error *error)
{
	uint8_t record[NUMBER_RECORD_SIZE];
	struct rail_writer writer = rail_writer_init(record, sizeof(record));

	rail_write_number(&writer, number);
	return rail_store_put(transaction, table, key, rail_span_of_writer(&writer), error);
}

int rail_node_number_get(struct rail_transaction *transaction, uint32_t *ret_node,
			 struct rail_error *error)
{
	return get_number(transaction, RAIL_TABLE_META, rail_span_of_text("node"), RAIL_NODE_LONE,
			  ret_node, error);
}

int rail_node_number_set(struct rail_transaction *transaction, uint32_t node,
			 struct rail_error *error)
{
	if (node == RAIL_NODE_REQUESTED)
		return rail_fail_code(error, RAIL_CODE_INTERNAL, EINVAL,
				      "%u is the number of no node", node);
	return put_number(transaction, RAIL_TABLE_META, rail_span_of_text("node"), node, error);
}

int rail_counter_reserve(struct rail_transaction *transaction, const struct rail_prefix *prefix,
			 uint16_t service, uint32_t node, struct rail_counter_range *ret_range,
			 struct rail_error *error)
{
	struct rail_subnet_key key;
	struct rail_span span = rail_counter_key(prefix, service, node, &key);
	uint32_t mark = 0;

	if (node == RAIL_NODE_REQUESTED)
		return rail_fail_code(error, RAIL_CODE_INTERNAL, EINVAL,
				      "%u is the number of no node", node);

	/* The mark is the first counter that was never reserved. */
	int result = get_number(transaction, RAIL_TABLE_COUNTERS, span, 1, &mark, error);
	if (result < 0)
		return result;
	if (mark > UINT32_MAX - RAIL_COUNTER_STEP) {
		char text[RAIL_PREFIX_TEXT_SIZE];

		rail_subnet_format(prefix, service, text);
		return rail_fail_code(error, RAIL_CODE_POOL_EXHAUSTED, ENOSPC,
				      "this node has given out every address that it has in %s; "
				      "use another service name",
				      text);
	}

	struct rail_counter_range range = {.next = mark, .end = mark + RAIL_COUNTER_STEP};
	result = put_number(transaction, RAIL_TABLE_COUNTERS, span, range.end, error);
	if (result < 0)
		return result;
	*ret_range = range;
	return 0;
}
