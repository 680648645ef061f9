#pragma once

#include <netinet/in.h>
#include <stdbool.h>
#include <stdint.h>

#include "pkg/base/error.h"

/*
 * The address plan, without I/O:
 *
 *     fdxx:xxxx:xxxx : ssss    : nnnn:nnnn : cccc:cccc
 *     environment /48  service   node        counter
 *
 * The service's bits stand before the node's so that all replicas of another service share equally
 * long prefixes with a client: glibc and musl sort answers by that (RFC 6724, rule 9) and would
 * otherwise undo the round robin.
 */

/* An environment's /48. */
struct rail_prefix {
	uint8_t bytes[6];
};

/* What an address is made of. Numbers are in host order. */
struct rail_address_parts {
	struct rail_prefix prefix;
	uint16_t service;
	uint32_t node;
	uint32_t counter;
};

enum {
	RAIL_SERVICE_OWN = 0,	    /* the suite's own /64 of an environment; no service gets it */
	RAIL_NODE_REQUESTED = 0,    /* the node part of addresses that a configuration asks for */
	RAIL_NODE_LONE = 1,	    /* every node that is in no cluster */
	RAIL_PREFIX_TEXT_SIZE = 64, /* for rail_prefix_format and rail_subnet_format */
};

/* A range that environments' /48s are made in. */
struct rail_pool {
	struct in6_addr base;
	unsigned int length; /* 8 to 48 bits */
};

struct in6_addr rail_address_compose(const struct rail_address_parts *parts);
struct rail_address_parts rail_address_split(const struct in6_addr *address);

/* Parses "fd00::/8". Refused with code 7: no CIDR, bits set beyond the length, a length
 * outside 8..48, a range outside fd00::/8. */
int rail_pool_parse(const char *text, struct rail_pool *ret_pool, struct rail_error *error);

/*
 * Makes a /48 in the pool from 6 random bytes: the pool's bits, then the random ones. true where
 * the outcome may be used: it is not fd12::/48 (the resolver's) and not all zero behind fd.
 */
bool rail_prefix_make(const struct rail_pool *pool, const uint8_t random[6],
		      struct rail_prefix *ret_prefix);

bool rail_prefix_equal(const struct rail_prefix *one, const struct rail_prefix *other);
bool rail_prefix_contains(const struct rail_prefix *prefix, const struct in6_addr *address);
/* "fd12:3456:789a::/48" and "fd12:3456:789a:5::/64" */
void rail_prefix_format(const struct rail_prefix *prefix, char text[RAIL_PREFIX_TEXT_SIZE]);
void rail_subnet_format(const struct rail_prefix *prefix, uint16_t service,
			char text[RAIL_PREFIX_TEXT_SIZE]);

/* Where the search for a free service number starts: a hash of the label, never RAIL_SERVICE_OWN.
 */
uint16_t rail_service_number_start(const char *label);
/* The number to try after this one; wraps around, never RAIL_SERVICE_OWN. */
uint16_t rail_service_number_next(uint16_t number);

/* Whether it is an address, with or without "/length", of the environment. */
bool rail_address_text_is_within(const char *text, const struct rail_prefix *prefix);
/*
 * A requested address, "fd..." or "fd.../64". Refused with code 7 and a message that names the
 * subnet: outside the service's /64, with a node part that is not RAIL_NODE_REQUESTED, all zero
 * behind the /64 (the subnet-router anycast address, RFC 4291 2.6.1), a prefix length that is not
 * 64 or 128.
 */
int rail_requested_address_parse(const char *text, const struct rail_prefix *prefix,
				 uint16_t service, struct in6_addr *ret_address,
				 struct rail_error *error);

/* fd12::10, the resolver's address in every pod. */
extern const struct in6_addr rail_resolver_address;
