#pragma once

#include "pkg/base/json.h"
#include "pkg/identity/identity.h"
#include "pkg/ipam/address.h"
#include "pkg/wg/device.h"

/*
 * What the nodes of a cluster tell each other through etcd: keys, and values of JSON, without I/O.
 *
 *     railway/1/nodes/<number>                who has the number (stays)
 *     railway/1/alive/<number>                that it runs (under the node's lease)
 *     railway/1/environments/<name>           the /48
 *     railway/1/prefixes/<prefix>             the name that has the /48
 *     railway/1/in/<prefix>/services/<label>  the number and the name as it was given
 *     railway/1/in/<prefix>/numbers/<number>  the label that has the number
 *     railway/1/in/<prefix>/claims/<address>  the node that has a requested address (lease)
 *     railway/1/in/<prefix>/members/<address> a member (lease)
 *
 * Prefix, number and address in lower-case hexadecimal digits of their full length. An
 * environment's keys below "in" are what a node watches. Whatever stands in a record is another
 * node's word: reading checks everything that can be checked here, and unknown keys of a newer
 * release are passed over.
 */

enum {
	RAIL_CLUSTER_KEY_SIZE = 512,
	RAIL_PUBLISHED_ENDPOINTS_MAXIMUM = 2, /* one of a family */
	RAIL_NODE_ID_SIZE = 33,		      /* 16 bytes in hexadecimal digits, and NUL */
};

#define RAIL_CLUSTER_ROOT "railway/1/"

typedef char rail_cluster_key[RAIL_CLUSTER_KEY_SIZE];

void rail_key_of_node(uint32_t node, rail_cluster_key key);
void rail_key_of_alive(uint32_t node, rail_cluster_key key);
void rail_key_of_environment(const char *name, rail_cluster_key key);
void rail_key_of_prefix(const struct rail_prefix *prefix, rail_cluster_key key);
/* What all of an environment's keys begin with. */
void rail_key_of_inside(const struct rail_prefix *prefix, rail_cluster_key key);
void rail_key_of_service(const struct rail_prefix *prefix, const char *label, rail_cluster_key key);
void rail_key_of_number(const struct rail_prefix *prefix, uint16_t number, rail_cluster_key key);
void rail_key_of_claim(const struct in6_addr *address, rail_cluster_key key);
void rail_key_of_member(const struct in6_addr *address, rail_cluster_key key);

enum rail_inside_kind {
	RAIL_INSIDE_UNKNOWN, /* of a newer release, or nobody's */
	RAIL_INSIDE_SERVICE,
	RAIL_INSIDE_NUMBER,
	RAIL_INSIDE_CLAIM,
	RAIL_INSIDE_MEMBER,
};

/* What a key of an environment is of. ret_label is borrowed from the key. An address outside the
 * environment makes it unknown. */
enum rail_inside_kind rail_key_parse(const char *key, const struct rail_prefix *prefix,
				     const char **ret_label, uint16_t *ret_number,
				     struct in6_addr *ret_address);

/* A member as it is published. */
struct rail_published {
	uint32_t node;
	struct rail_key public_key;
	struct rail_endpoint endpoints[RAIL_PUBLISHED_ENDPOINTS_MAXIMUM];
	size_t endpoint_count;
	char replica[RAIL_LABEL_SIZE];
	bool named;
};

/* The value, for free(); NULL where memory ran out. */
char *rail_published_encode(const struct rail_published *published);
/*
 * Refused (-EBADMSG, naming what is wrong): no JSON object, a node number of nobody's, another
 * node's part in the address than the record's own (0, requested, and 1, from before the node
 * joined, are for the first who writes them), a key that is none, no endpoint, one that packets
 * cannot be sent to from another node (loopback, multicast, link-local, port 0), a replica's name
 * that is no label, an address in the suite's own subnet.
 */
int rail_published_parse(const char *text, const struct in6_addr *address,
			 struct rail_published *ret_published, struct rail_error *error);

char *rail_prefix_record_encode(const struct rail_prefix *prefix);
int rail_prefix_record_parse(const char *text, struct rail_prefix *ret_prefix,
			     struct rail_error *error);

char *rail_service_record_encode(uint16_t number, const char *original);
/* The original name must make the label. */
int rail_service_record_parse(const char *text, const char *label, uint16_t *ret_number,
			      char original[RAIL_ORIGINAL_NAME_SIZE], struct rail_error *error);

/* Of nodes/, alive/ and claims/: who. host is for people, "" where it is not said. */
struct rail_node_record {
	char id[RAIL_NODE_ID_SIZE];
	uint32_t node;
	char host[RAIL_LABEL_SIZE];
};

char *rail_node_record_encode(const struct rail_node_record *record);
int rail_node_record_parse(const char *text, struct rail_node_record *ret_record,
			   struct rail_error *error);
