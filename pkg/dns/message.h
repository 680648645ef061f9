#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "pkg/base/bytes.h"
#include "pkg/dns/name.h"

/*
 * DNS messages (RFC 1035 4, RFC 6891): reading a client's query and building the answer to it,
 * without I/O and without allocation. Nothing is ever compressed but a record's owner that is the
 * question's name (0xC00C).
 */

enum {
	RAIL_DNS_HEADER_SIZE = 12,
	RAIL_DNS_QUESTION_MAXIMUM = RAIL_NAME_SIZE + 4,
	RAIL_DNS_OPT_SIZE = 11,		  /* without options; we never send one */
	RAIL_DNS_RECORD_FIXED_SIZE = 10,  /* type, class, TTL, RDLENGTH */
	RAIL_DNS_UDP_MINIMUM = 512,	  /* RFC 1035 4.2.1; what a client without EDNS takes */
	RAIL_DNS_UDP_MAXIMUM = 1232,	  /* fits the smallest IPv6 MTU, never fragmented */
	RAIL_DNS_MESSAGE_MAXIMUM = 65535, /* over TCP */
};

/* The header's second word. */
enum {
	RAIL_DNS_FLAG_QR = 0x8000,
	RAIL_DNS_FLAG_OPCODE = 0x7800,
	RAIL_DNS_FLAG_AA = 0x0400,
	RAIL_DNS_FLAG_TC = 0x0200,
	RAIL_DNS_FLAG_RD = 0x0100,
	RAIL_DNS_FLAG_RA = 0x0080,
	RAIL_DNS_FLAG_AD = 0x0020,
	RAIL_DNS_FLAG_CD = 0x0010,
	RAIL_DNS_FLAG_RCODE = 0x000f,
};

enum {
	RAIL_DNS_NOERROR = 0,
	RAIL_DNS_FORMERR = 1,
	RAIL_DNS_SERVFAIL = 2,
	RAIL_DNS_NXDOMAIN = 3,
	RAIL_DNS_NOTIMP = 4,
	RAIL_DNS_REFUSED = 5,
	RAIL_DNS_BADVERS = 16,
};

enum {
	RAIL_DNS_TYPE_A = 1,
	RAIL_DNS_TYPE_NS = 2,
	RAIL_DNS_TYPE_SOA = 6,
	RAIL_DNS_TYPE_PTR = 12,
	RAIL_DNS_TYPE_HINFO = 13,
	RAIL_DNS_TYPE_TXT = 16,
	RAIL_DNS_TYPE_AAAA = 28,
	RAIL_DNS_TYPE_OPT = 41,
	RAIL_DNS_TYPE_IXFR = 251,
	RAIL_DNS_TYPE_AXFR = 252,
	RAIL_DNS_TYPE_ANY = 255,
	RAIL_DNS_CLASS_IN = 1,
};

struct rail_dns_header {
	uint16_t id;
	uint16_t flags;
	uint16_t question_count;
	uint16_t answer_count;
	uint16_t authority_count;
	uint16_t additional_count;
};

/* A record of somebody's message, whose owner was passed over. */
struct rail_dns_record_view {
	uint16_t type;
	uint32_t ttl_s;
	size_t ttl_position; /* where in the message the TTL's four bytes are */
	const uint8_t *data; /* borrowed from the reader; NULL where it has failed */
	size_t data_size;
};

struct rail_dns_query {
	struct rail_dns_header header;
	const uint8_t *question; /* name, type and class as they came, borrowed; NULL: none read */
	size_t question_size;
	struct rail_name name;
	uint16_t type;
	uint16_t class;
	bool edns; /* exactly one well-formed OPT; the two below are 0 without it */
	bool dnssec_ok;
	uint16_t edns_size;
};

/* Six words, without judging them; the reader is marked as failed where they are not there. */
struct rail_dns_header rail_dns_header_read(struct rail_reader *reader);
/* The record that begins where the reader is, which is marked as failed where there is none. A
 * compressed owner must point backward, and is not followed. */
struct rail_dns_record_view rail_dns_record_read(struct rail_reader *reader);

/*
 * Reads a query whole. -EBADMSG: nothing must be answered (shorter than a header, or itself an
 * answer, which would start a ping-pong). Else the response code: RAIL_DNS_NOERROR, or the error to
 * answer with: NOTIMP for another opcode; FORMERR where the counts are not those of a query (one
 * question, nothing else but one OPT), for a malformed question or OPT, and for bytes behind the
 * message; BADVERS for an EDNS version above 0. After an error the header is valid, and the
 * question where it is not NULL. The options of an OPT are checked for their length, and ignored.
 */
int rail_dns_query_parse(const uint8_t *bytes, size_t size, struct rail_dns_query *ret_query);

/* The size that an answer may have: what the client takes over UDP (512, or what its EDNS says
 * within 512..1232), or 65,535 over TCP; never above capacity. */
size_t rail_dns_answer_limit(const struct rail_dns_query *query, bool tcp, size_t capacity);

enum rail_dns_section {
	RAIL_DNS_ANSWER_SECTION,
	RAIL_DNS_AUTHORITY_SECTION,
	RAIL_DNS_ADDITIONAL_SECTION,
	RAIL_DNS_SECTION_COUNT,
};

/* An answer that is being written. Records go in in the order of their sections. */
struct rail_dns_builder {
	const struct rail_dns_query *query; /* borrowed */
	struct rail_writer writer; /* its capacity is the limit without what the OPT needs */
	uint16_t counts[RAIL_DNS_SECTION_COUNT];
	/* For the header, the caller's to set. */
	bool authoritative;
	bool truncated;
	bool authentic;
};

/*
 * Begins the answer to a query in limit bytes: header, the question as it came, and room kept for
 * an OPT where the client sent one. -ENOBUFS where these do not fit.
 */
int rail_dns_builder_init(struct rail_dns_builder *ret_builder, const struct rail_dns_query *query,
			  uint8_t *bytes, size_t limit);

struct rail_dns_record {
	const uint8_t *owner; /* wire form; NULL: the question's name */
	size_t owner_size;
	uint16_t type;
	uint32_t ttl_s;
	const void *data;
	size_t data_size; /* 65,535 at most */
};

/* Writes a record of class IN whole, or nothing: false where it does not fit. */
bool rail_dns_builder_put(struct rail_dns_builder *builder, enum rail_dns_section section,
			  const struct rail_dns_record *record);
/* The part of a record in front of its data: owner, type, class, TTL, RDLENGTH. */
void rail_dns_write_record_head(struct rail_writer *writer, const struct rail_dns_record *record);

/* Writes OPT and header, and returns the answer's size. An extended rcode (above 15) becomes
 * SERVFAIL where the client sent no OPT. */
size_t rail_dns_builder_finish(struct rail_dns_builder *builder, uint16_t rcode);

/* An OPT record without options (RFC 6891 6.1.2). */
void rail_dns_write_opt(struct rail_writer *writer, uint16_t rcode, bool dnssec_ok);
