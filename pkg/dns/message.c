#include "pkg/dns/message.h"

#include <errno.h>

/* The top bit of the OPT's flags (RFC 6891 6.1.4). */
#define OPT_DNSSEC_OK 0x8000U
/* A pointer to the question's name, which is always right behind the header (RFC 1035 4.1.4). */
#define OWNER_IS_QUESTION (0xc000U | RAIL_DNS_HEADER_SIZE)
#define POINTER_MARK 0xc0U

struct rail_dns_header rail_dns_header_read(struct rail_reader *reader)
{
	struct rail_dns_header header;

	header.id = rail_read_u16(reader);
	header.flags = rail_read_u16(reader);
	header.question_count = rail_read_u16(reader);
	header.answer_count = rail_read_u16(reader);
	header.authority_count = rail_read_u16(reader);
	header.additional_count = rail_read_u16(reader);
	return header;
}

/* Passes over a name that may end in a pointer (RFC 1035 4.1.4); it is not followed. */
static void skip_name(struct rail_reader *reader)
{
	size_t start = reader->position;
	uint8_t length;

	while ((length = rail_read_u8(reader)) != 0) {
		if (length >= POINTER_MARK) {
			size_t target = (length & ~POINTER_MARK) << 8 | rail_read_u8(reader);

			if (target < RAIL_DNS_HEADER_SIZE || target >= start)
				reader->failed = true;
			return;
		}
		if (length > RAIL_NAME_LABEL_SIZE || reader->position - start > RAIL_NAME_SIZE)
			reader->failed = true;
		(void)rail_read_view(reader, length);
	}
}

struct rail_dns_record_view rail_dns_record_read(struct rail_reader *reader)
{
	struct rail_dns_record_view record;

	skip_name(reader);
	record.type = rail_read_u16(reader);
	(void)rail_read_u16(reader);
	record.ttl_position = reader->position;
	record.ttl_s = rail_read_u32(reader);
	record.data_size = rail_read_u16(reader);
	record.data = rail_read_view(reader, record.data_size);
	return record;
}

/* Reads the OPT into the query; gives the EDNS version. */
static uint8_t read_opt(struct rail_reader *reader, struct rail_dns_query *query)
{
	uint8_t owner = rail_read_u8(reader);
	uint16_t type = rail_read_u16(reader);
	uint16_t size = rail_read_u16(reader);
	uint32_t extended = rail_read_u32(reader);
	uint16_t options_size = rail_read_u16(reader);
	const uint8_t *options = rail_read_view(reader, options_size);

	if (options == NULL || owner != 0 || type != RAIL_DNS_TYPE_OPT) {
		reader->failed = true;
		return 0;
	}

	struct rail_reader option = rail_reader_init(options, options_size);
	while (rail_reader_left(&option) > 0) {
		(void)rail_read_u16(&option);
		(void)rail_read_view(&option, rail_read_u16(&option));
	}
	if (option.failed)
		reader->failed = true;

	query->edns_size = size;
	query->dnssec_ok = (extended & OPT_DNSSEC_OK) != 0;
	return (uint8_t)(extended >> 16);
}

int rail_dns_query_parse(const uint8_t *bytes, size_t size, struct rail_dns_query *ret_query)
{
	struct rail_reader reader = rail_reader_init(bytes, size);
	const struct rail_dns_header *header = &ret_query->header;
	uint8_t version = 0;

	ret_query->header = rail_dns_header_read(&reader);
	ret_query->question = NULL;
	ret_query->question_size = 0;
	ret_query->edns = false;
	ret_query->dnssec_ok = false;
	ret_query->edns_size = 0;
	if (reader.failed || (header->flags & RAIL_DNS_FLAG_QR) != 0)
		return -EBADMSG;
	if ((header->flags & RAIL_DNS_FLAG_OPCODE) != 0)
		return RAIL_DNS_NOTIMP;
	if (header->question_count != 1 || header->answer_count != 0 ||
	    header->authority_count != 0 || header->additional_count > 1)
		return RAIL_DNS_FORMERR;

	if (rail_name_read(&reader, &ret_query->name) < 0)
		return RAIL_DNS_FORMERR;
	ret_query->type = rail_read_u16(&reader);
	ret_query->class = rail_read_u16(&reader);
	if (reader.failed)
		return RAIL_DNS_FORMERR;
	ret_query->question = bytes + RAIL_DNS_HEADER_SIZE;
	ret_query->question_size = reader.position - RAIL_DNS_HEADER_SIZE;

	if (header->additional_count == 1)
		version = read_opt(&reader, ret_query);
	if (reader.failed || rail_reader_left(&reader) > 0) {
		ret_query->dnssec_ok = false;
		ret_query->edns_size = 0;
		return RAIL_DNS_FORMERR;
	}
	ret_query->edns = header->additional_count == 1;
	return version == 0 ? RAIL_DNS_NOERROR : RAIL_DNS_BADVERS;
}

size_t rail_dns_answer_limit(const struct rail_dns_query *query, bool tcp, size_t capacity)
{
	size_t limit = query->edns_size;

	if (limit < RAIL_DNS_UDP_MINIMUM)
		limit = RAIL_DNS_UDP_MINIMUM;
	if (limit > RAIL_DNS_UDP_MAXIMUM)
		limit = RAIL_DNS_UDP_MAXIMUM;
	if (tcp)
		limit = RAIL_DNS_MESSAGE_MAXIMUM;
	return limit < capacity ? limit : capacity;
}

int rail_dns_builder_init(struct rail_dns_builder *ret_builder, const struct rail_dns_query *query,
			  uint8_t *bytes, size_t limit)
{
	static const uint8_t header_to_come[RAIL_DNS_HEADER_SIZE];
	size_t reserved = query->edns ? RAIL_DNS_OPT_SIZE : 0;
	struct rail_dns_builder builder = {.query = query};

	if (limit < reserved)
		return -ENOBUFS;
	builder.writer = rail_writer_init(bytes, limit - reserved);
	rail_write_bytes(&builder.writer, header_to_come, sizeof(header_to_come));
	if (query->question != NULL)
		rail_write_bytes(&builder.writer, query->question, query->question_size);
	if (builder.writer.failed)
		return -ENOBUFS;
	*ret_builder = builder;
	return 0;
}

void rail_dns_write_record_head(struct rail_writer *writer, const struct rail_dns_record *record)
{
	if (record->owner != NULL)
		rail_write_bytes(writer, record->owner, record->owner_size);
	else
		rail_write_u16(writer, OWNER_IS_QUESTION);
	rail_write_u16(writer, record->type);
	rail_write_u16(writer, RAIL_DNS_CLASS_IN);
	rail_write_u32(writer, record->ttl_s);
	rail_write_u16(writer, (uint16_t)record->data_size);
}

bool rail_dns_builder_put(struct rail_dns_builder *builder, enum rail_dns_section section,
			  const struct rail_dns_record *record)
{
	struct rail_writer writer = builder->writer;

	if (record->data_size > UINT16_MAX)
		return false;
	rail_dns_write_record_head(&writer, record);
	rail_write_bytes(&writer, record->data, record->data_size);
	if (writer.failed)
		return false;
	builder->writer = writer;
	builder->counts[section]++;
	return true;
}

void rail_dns_write_opt(struct rail_writer *writer, uint16_t rcode, bool dnssec_ok)
{
	rail_write_u8(writer, 0);
	rail_write_u16(writer, RAIL_DNS_TYPE_OPT);
	rail_write_u16(writer, RAIL_DNS_UDP_MAXIMUM);
	rail_write_u8(writer, (uint8_t)(rcode >> 4));
	rail_write_u8(writer, 0);
	rail_write_u16(writer, dnssec_ok ? OPT_DNSSEC_OK : 0);
	rail_write_u16(writer, 0);
}

size_t rail_dns_builder_finish(struct rail_dns_builder *builder, uint16_t rcode)
{
	const struct rail_dns_query *query = builder->query;
	struct rail_writer *writer = &builder->writer;
	unsigned int flags = RAIL_DNS_FLAG_QR | RAIL_DNS_FLAG_RA;

	if (query->edns) {
		writer->capacity += RAIL_DNS_OPT_SIZE;
		rail_dns_write_opt(writer, rcode, query->dnssec_ok);
		builder->counts[RAIL_DNS_ADDITIONAL_SECTION]++;
	} else if (rcode > RAIL_DNS_FLAG_RCODE) {
		rcode = RAIL_DNS_SERVFAIL;
	}
	flags |= query->header.flags & (RAIL_DNS_FLAG_OPCODE | RAIL_DNS_FLAG_RD | RAIL_DNS_FLAG_CD);
	flags |= rcode & RAIL_DNS_FLAG_RCODE;
	if (builder->authoritative)
		flags |= RAIL_DNS_FLAG_AA;
	if (builder->truncated)
		flags |= RAIL_DNS_FLAG_TC;
	if (builder->authentic)
		flags |= RAIL_DNS_FLAG_AD;

	struct rail_writer header = rail_writer_init(writer->bytes, RAIL_DNS_HEADER_SIZE);
	rail_write_u16(&header, query->header.id);
	rail_write_u16(&header, (uint16_t)flags);
	rail_write_u16(&header, query->question != NULL ? 1 : 0);
	for (size_t i = 0; i < RAIL_DNS_SECTION_COUNT; i++)
		rail_write_u16(&header, builder->counts[i]);
	return writer->position;
}
