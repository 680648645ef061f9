#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "pkg/dns/zone.h"

/*
 * What a client's query is answered with: a pure function of the query and the zone, without I/O,
 * clock and allocation. Every byte of a query and of an upstream's message may be hostile.
 *
 * Answered here, and never forwarded, whatever the class: railway.internal and the reverse zones of
 * private addresses (those of pkg/dns/reverse.h). Everything else goes to an upstream.
 */

enum rail_dns_verdict {
	RAIL_DNS_DROP,	  /* say nothing */
	RAIL_DNS_ANSWER,  /* send what was written */
	RAIL_DNS_FORWARD, /* ask an upstream */
};

struct rail_dns_options {
	uint32_t ttl_s; /* of every record, and of negative answers */
	bool tcp;	/* how the query came, which limits the answer's size */
};

/*
 * Decides about one query, and answers it if it can. The answer is written from answer[0] on and
 * has *ret_answer_size bytes (0 unless the verdict is RAIL_DNS_ANSWER): 512 at most over UDP
 * without EDNS, 1232 with it, 65,535 over TCP, and never above answer_capacity. Records are whole;
 * where some did not fit, TC is set. A query whose mere question does not fit into answer_capacity
 * is dropped. An AAAA query of a service or a replica turns its addresses by one.
 */
enum rail_dns_verdict rail_dns_answer(struct rail_zone *zone,
				      const struct rail_dns_options *options, const uint8_t *query,
				      size_t query_size, uint8_t *answer, size_t answer_capacity,
				      size_t *ret_answer_size);

/* The forwarding path: what an upstream is asked, and what of its answer reaches the client. */

/*
 * The client's question written anew for an upstream: with this ID, RD set, AD and CD as the
 * client's, and exactly one OPT (size 1232, DO as the client's, no options) as its last 11 bytes.
 * -EBADMSG: no query that may be forwarded; -ENOBUFS: does not fit.
 */
int rail_dns_upstream_query(const uint8_t *query, size_t query_size, uint16_t id, uint8_t *out,
			    size_t capacity, size_t *ret_size);

/*
 * The upstream's message as an answer to the client's query: the client's ID and question bytes, RD
 * and CD as the client's, RA set, AA clear, AD as the upstream's where the client asked for it (AD
 * or DO, RFC 6840 5.8), an OPT of ours where the client sent one and never the upstream's. It is
 * limited like every answer: whole records from the front, TC where one was left out that counts.
 * The upstream's extended response codes are between it and us: the client gets SERVFAIL.
 * -EBADMSG: the upstream's message is malformed, or no answer to this question; -ENOBUFS: not even
 * the question fits. (The ID of the upstream's message is the sender's to check.)
 */
int rail_dns_relay(const uint8_t *query, size_t query_size, const uint8_t *upstream,
		   size_t upstream_size, bool tcp, uint8_t *out, size_t capacity, size_t *ret_size);

/*
 * An answer that says only rcode (RAIL_DNS_SERVFAIL, ...): header, the question where it can be
 * read, OPT where the client sent one. Returns its size; 0 where nothing must or can be answered.
 */
size_t rail_dns_error(const uint8_t *query, size_t query_size, uint8_t rcode, uint8_t *out,
		      size_t capacity);
