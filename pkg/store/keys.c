#include "pkg/store/keys.h"

#include <errno.h>
#include <string.h>

#include "pkg/base/bytes.h"
#include "pkg/store/live.h"

struct rail_span rail_span_of_writer(const struct rail_writer *writer)
{
	return (struct rail_span){writer->bytes, writer->position};
}

struct rail_span rail_span_of_text(const char *text)
{
	return (struct rail_span){text, strlen(text)};
}

struct rail_span rail_span_of_prefix(const struct rail_prefix *prefix)
{
	return (struct rail_span){prefix->bytes, sizeof(prefix->bytes)};
}

struct rail_span rail_span_of_address(const struct in6_addr *address)
{
	return (struct rail_span){address->s6_addr, sizeof(address->s6_addr)};
}

static struct rail_writer begin_key(const struct rail_prefix *prefix, struct rail_subnet_key *room)
{
	struct rail_writer writer = rail_writer_init(room->bytes, sizeof(room->bytes));

	rail_write_bytes(&writer, prefix->bytes, sizeof(prefix->bytes));
	return writer;
}

struct rail_span rail_service_key(const struct rail_prefix *prefix, const char *label,
				  struct rail_subnet_key *room)
{
	struct rail_writer writer = begin_key(prefix, room);

	rail_write_bytes(&writer, label, strnlen(label, RAIL_LABEL_SIZE));
	return rail_span_of_writer(&writer);
}

struct rail_span rail_number_key(const struct rail_prefix *prefix, uint16_t number,
				 struct rail_subnet_key *room)
{
	struct rail_writer writer = begin_key(prefix, room);

	rail_write_u16(&writer, number);
	return rail_span_of_writer(&writer);
}

struct rail_span rail_counter_key(const struct rail_prefix *prefix, uint16_t service, uint32_t node,
				  struct rail_subnet_key *room)
{
	struct rail_writer writer = begin_key(prefix, room);

	rail_write_u16(&writer, service);
	rail_write_u32(&writer, node);
	return rail_span_of_writer(&writer);
}

bool rail_text_of_span(struct rail_span span, char *target, size_t target_size)
{
	if (span.size >= target_size || memchr(span.bytes, '\0', span.size) != NULL)
		return false;
	memcpy(target, span.bytes, span.size);
	target[span.size] = '\0';
	return true;
}

int rail_record_damaged(const struct rail_transaction *transaction, const char *what,
			struct rail_error *error)
{
	return rail_fail_code(error, RAIL_CODE_IO, EUCLEAN,
			      "the record of %s in '%s' is damaged, or of a newer release", what,
			      rail_transaction_path(transaction));
}

int rail_record_unwritable(const char *what, struct rail_error *error)
{
	return rail_fail_code(error, RAIL_CODE_INTERNAL, EINVAL,
			      "%s holds a value that its record cannot", what);
}

struct inhabitant_search {
	const struct rail_prefix *prefix;
	const uint16_t *service; /* NULL: any */
};

static int is_inhabitant(void *context, const struct rail_attachment *attachment)
{
	const struct inhabitant_search *search = context;

	return rail_prefix_equal(&attachment->prefix, search->prefix) &&
	       (search->service == NULL || attachment->service == *search->service);
}

int rail_check_uninhabited(struct rail_transaction *live, const struct rail_prefix *prefix,
			   const uint16_t *service, const char *what, const char *name,
			   struct rail_error *error)
{
	struct inhabitant_search search = {prefix, service};
	struct rail_subnet_key key;
	struct rail_span span = service != NULL ? rail_number_key(prefix, *service, &key)
						: rail_span_of_prefix(prefix);

	if (live == NULL)
		return 0;
	/* Attachments are asked too: one that has just begun has no lease yet. */
	int result = rail_store_any(live, RAIL_TABLE_LEASES, span, error);

	if (result == 0)
		result = rail_store_any(live, RAIL_TABLE_MEMBERS, span, error);
	if (result == 0)
		result = rail_attachment_each(live, NULL, is_inhabitant, &search, error);
	if (result > 0)
		return rail_fail(error, EBUSY,
				 "%s '%s' still has replicas; end them first, then remove it", what,
				 name);
	return result;
}
