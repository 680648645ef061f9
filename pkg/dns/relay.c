#include <errno.h>
#include <string.h>

#include "pkg/dns/answer.h"
#include "pkg/dns/message.h"

int rail_dns_upstream_query(const uint8_t *query, size_t query_size, uint16_t id, uint8_t *out,
			    size_t capacity, size_t *ret_size)
{
	struct rail_writer writer = rail_writer_init(out, capacity);
	struct rail_dns_query parsed;

	if (rail_dns_query_parse(query, query_size, &parsed) != RAIL_DNS_NOERROR)
		return -EBADMSG;
	rail_write_u16(&writer, id);
	rail_write_u16(&writer, parsed.header.flags &
					(RAIL_DNS_FLAG_RD | RAIL_DNS_FLAG_AD | RAIL_DNS_FLAG_CD));
	rail_write_u16(&writer, 1);
	rail_write_u16(&writer, 0);
	rail_write_u16(&writer, 0);
	rail_write_u16(&writer, 1);
	rail_write_bytes(&writer, parsed.question, parsed.question_size);
	rail_dns_write_opt(&writer, 0, parsed.dnssec_ok);
	if (writer.failed)
		return -ENOBUFS;
	*ret_size = writer.position;
	return 0;
}

/* The records at the front of the upstream's message that the client gets. */
struct kept {
	size_t end; /* in the upstream's message and in ours: the questions are of one size */
	uint16_t counts[RAIL_DNS_SECTION_COUNT];
	bool truncated;
	uint8_t extended_rcode;
};

/* Whether an answer is less without this record (RFC 2181 9). */
static bool is_needed(const struct kept *kept, size_t section)
{
	return section == RAIL_DNS_ANSWER_SECTION || (section == RAIL_DNS_AUTHORITY_SECTION &&
						      kept->counts[RAIL_DNS_ANSWER_SECTION] == 0);
}

/*
 * Walks all records. Those from the first one on that does not fit are left out, and those from an
 * OPT on: pointers go backward only, so a front part stays right without the rest.
 */
static int keep_records(struct rail_reader *reader, const struct rail_dns_header *header,
			size_t limit, struct kept *ret_kept)
{
	const uint16_t counts[RAIL_DNS_SECTION_COUNT] = {
		header->answer_count, header->authority_count, header->additional_count};
	struct kept kept = {
		.end = reader->position,
		.truncated = (header->flags & RAIL_DNS_FLAG_TC) != 0,
	};
	bool opt_seen = false;

	for (size_t section = 0; section < RAIL_DNS_SECTION_COUNT; section++) {
		for (unsigned int i = 0; i < counts[section]; i++) {
			struct rail_dns_record_view record = rail_dns_record_read(reader);

			if (reader->failed) {
				/* Some servers cut in the middle of a record, and say so. */
				if ((header->flags & RAIL_DNS_FLAG_TC) == 0)
					return -EBADMSG;
				*ret_kept = kept;
				return 0;
			}
			if (record.type == RAIL_DNS_TYPE_OPT) {
				if (section != RAIL_DNS_ADDITIONAL_SECTION || opt_seen)
					return -EBADMSG;
				opt_seen = true;
				kept.extended_rcode = (uint8_t)(record.ttl_s >> 24);
			} else if (!opt_seen && reader->position <= limit) {
				kept.counts[section]++;
				kept.end = reader->position;
			} else if (is_needed(&kept, section)) {
				kept.truncated = true;
			}
		}
	}
	*ret_kept = kept;
	return 0;
}

/* Reads the upstream's header and question. -EBADMSG where they do not answer the query. */
static int read_upstream_question(struct rail_reader *reader, const struct rail_dns_query *query,
				  struct rail_dns_header *ret_header)
{
	struct rail_dns_header header = rail_dns_header_read(reader);
	struct rail_name name;

	if (reader->failed || (header.flags & RAIL_DNS_FLAG_QR) == 0 ||
	    (header.flags & RAIL_DNS_FLAG_OPCODE) != 0 || header.question_count != 1)
		return -EBADMSG;
	if (rail_name_read(reader, &name) < 0 || name.size != query->name.size ||
	    memcmp(name.wire, query->name.wire, name.size) != 0)
		return -EBADMSG;
	if (rail_read_u16(reader) != query->type || rail_read_u16(reader) != query->class ||
	    reader->failed)
		return -EBADMSG;
	*ret_header = header;
	return 0;
}

int rail_dns_relay(const uint8_t *query, size_t query_size, const uint8_t *upstream,
		   size_t upstream_size, bool tcp, uint8_t *out, size_t capacity, size_t *ret_size)
{
	struct rail_reader reader = rail_reader_init(upstream, upstream_size);
	struct rail_dns_query parsed;
	struct rail_dns_header header;
	struct rail_dns_builder builder;
	struct kept kept;

	if (rail_dns_query_parse(query, query_size, &parsed) != RAIL_DNS_NOERROR ||
	    read_upstream_question(&reader, &parsed, &header) < 0)
		return -EBADMSG;
	if (rail_dns_builder_init(&builder, &parsed, out,
				  rail_dns_answer_limit(&parsed, tcp, capacity)) < 0)
		return -ENOBUFS;

	size_t start = reader.position;
	if (keep_records(&reader, &header, builder.writer.capacity, &kept) < 0)
		return -EBADMSG;
	if (kept.extended_rcode != 0) {
		*ret_size = rail_dns_builder_finish(&builder, RAIL_DNS_SERVFAIL);
		return 0;
	}
	rail_write_bytes(&builder.writer, upstream + start, kept.end - start);
	memcpy(builder.counts, kept.counts, sizeof(builder.counts));
	builder.truncated = kept.truncated;
	builder.authentic = (header.flags & RAIL_DNS_FLAG_AD) != 0 &&
			    (parsed.dnssec_ok || (parsed.header.flags & RAIL_DNS_FLAG_AD) != 0);
	*ret_size = rail_dns_builder_finish(&builder, header.flags & RAIL_DNS_FLAG_RCODE);
	return 0;
}

size_t rail_dns_error(const uint8_t *query, size_t query_size, uint8_t rcode, uint8_t *out,
		      size_t capacity)
{
	struct rail_dns_query parsed;
	struct rail_dns_builder builder;

	if (rail_dns_query_parse(query, query_size, &parsed) < 0 ||
	    rail_dns_builder_init(&builder, &parsed, out, capacity) < 0)
		return 0;
	return rail_dns_builder_finish(&builder, rcode);
}
