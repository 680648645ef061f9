#pragma once

#include "pkg/base/process.h"
#include "pkg/identity/identity.h"
#include "pkg/ipam/address.h"
#include "pkg/net/netns.h"
#include "pkg/store/registry.h"
#include "pkg/wg/transport.h"

/*
 * The live store's records: attachments, leases and members. All functions take a transaction of
 * the live store; those that change need a writing one. "Not there" is -ENOENT with an error set.
 */

enum {
	RAIL_NETWORK_NAME_SIZE = 129,
	RAIL_CONTAINER_ID_SIZE = 257,
	RAIL_NETNS_PATH_SIZE = 512,
	RAIL_UPSTREAMS_MAXIMUM = 8,
};

/* What a runtime calls an attachment by (CNI specification 1.1.0, "Attachment parameters"). */
struct rail_attachment_key {
	char network[RAIL_NETWORK_NAME_SIZE];
	char container_id[RAIL_CONTAINER_ID_SIZE];
	char interface[IFNAMSIZ]; /* CNI_IFNAME */
};

enum rail_attachment_state {
	RAIL_PENDING, /* owner is at work on it, or died at it */
	RAIL_READY,   /* every plugin so far did its part */
	RAIL_DEAD, /* its netns is gone; waits for DEL, GC or the next operation in its environment
		    */
	RAIL_DISABLED, /* of a network or environment that is switched off: known, and given nothing
			*/
};

/* What exists of an attachment. A bit is set before its thing is made and cleared after it is gone.
 */
enum rail_attachment_parts {
	RAIL_PART_LEASE = 1 << 0,
	RAIL_PART_INTERFACE = 1 << 1, /* the mesh interface, with rules and routes */
	RAIL_PART_MEMBER = 1 << 2,    /* the member's record and the siblings' peers */
	RAIL_PART_NAME = 1 << 3,      /* registered with the resolver */
};

/* What the resolver serves a pod with. */
struct rail_resolver_settings {
	uint16_t port;	     /* its sockets'; where it is not 53 the pod's queries are brought there
				(pkg/net/intercept.h) */
	bool any_nameserver; /* queries to any nameserver are */
	uint32_t ttl_s;
	struct rail_endpoint upstreams[RAIL_UPSTREAMS_MAXIMUM]; /* none: the node's nameservers */
	uint8_t upstream_count;
};

struct rail_attachment {
	struct rail_attachment_key key;
	enum rail_attachment_state state;
	uint32_t parts;
	struct rail_process owner; /* while pending */

	struct rail_identity identity;
	struct rail_prefix prefix; /* of the environment */
	uint16_t service;
	struct in6_addr address; /* with RAIL_PART_LEASE */

	char netns_path[RAIL_NETNS_PATH_SIZE];
	struct rail_netns_id netns;

	struct rail_interface interface;	/* with RAIL_PART_INTERFACE */
	struct rail_resolver_settings resolver; /* with RAIL_PART_NAME */
};

struct rail_member {
	struct in6_addr address;
	bool local;	/* a pod of this node: key is set */
	bool published; /* etcd has it (or there is no cluster to publish to) */
	bool named;	/* the resolver answers with it */
	uint32_t node;
	struct rail_key public_key;
	struct rail_endpoint endpoint;
	char replica[RAIL_LABEL_SIZE];
	struct rail_attachment_key key;
};

int rail_attachment_get(struct rail_transaction *transaction, const struct rail_attachment_key *key,
			struct rail_attachment *ret_attachment, struct rail_error *error);
/* Inserts or replaces. */
int rail_attachment_put(struct rail_transaction *transaction,
			const struct rail_attachment *attachment, struct rail_error *error);
/* Succeeds where it is not there. */
int rail_attachment_delete(struct rail_transaction *transaction,
			   const struct rail_attachment_key *key, struct rail_error *error);
/* Calls each for every attachment (network: of that network only; NULL: all) until it returns other
 * than 0, which is then returned. each must not change the store. */
int rail_attachment_each(struct rail_transaction *transaction, const char *network,
			 int (*each)(void *context, const struct rail_attachment *attachment),
			 void *context, struct rail_error *error);

/*
 * Leases. Taking one: the service's counter goes on by one within the range that the registry gave;
 * ERANGE (no error is set) where there is no range, or it is used up: then reserve one with
 * rail_counter_reserve, give it to rail_lease_range, and take again.
 */
int rail_lease_take(struct rail_transaction *transaction, const struct rail_prefix *prefix,
		    uint16_t service, uint32_t node, const struct rail_attachment_key *key,
		    struct in6_addr *ret_address, struct rail_error *error);
/* Notes a range; one that is there and not used up is kept, and the new one is lost, so that no
 * address comes twice. */
int rail_lease_range(struct rail_transaction *transaction, const struct rail_prefix *prefix,
		     uint16_t service, uint32_t node, const struct rail_counter_range *range,
		     struct rail_error *error);
/* A requested address. EADDRINUSE, code 7, where a live attachment has it (the message names its
 * container). */
int rail_lease_claim(struct rail_transaction *transaction, const struct in6_addr *address,
		     const struct rail_attachment_key *key, struct rail_error *error);
/* Succeeds where it is not there, or another attachment's: that one's is left. */
int rail_lease_release(struct rail_transaction *transaction, const struct in6_addr *address,
		       const struct rail_attachment_key *key, struct rail_error *error);
int rail_lease_owner(struct rail_transaction *transaction, const struct in6_addr *address,
		     struct rail_attachment_key *ret_key, struct rail_error *error);

/* Calls each for every lease of an environment, in the order of addresses, until it returns other
 * than 0, which is then returned. each sets the error where it fails, and must not change the
 * store. */
int rail_lease_each(struct rail_transaction *transaction, const struct rail_prefix *prefix,
		    int (*each)(void *context, const struct in6_addr *address,
				const struct rail_attachment_key *key, struct rail_error *error),
		    void *context, struct rail_error *error);

int rail_member_get(struct rail_transaction *transaction, const struct in6_addr *address,
		    struct rail_member *ret_member, struct rail_error *error);
int rail_member_put(struct rail_transaction *transaction, const struct rail_member *member,
		    struct rail_error *error);
int rail_member_delete(struct rail_transaction *transaction, const struct in6_addr *address,
		       struct rail_error *error);
/* An environment's members in the order of addresses (so service by service), for free(). prefix
 * NULL: all. */
int rail_member_list(struct rail_transaction *transaction, const struct rail_prefix *prefix,
		     struct rail_member **ret_members, size_t *ret_count, struct rail_error *error);

bool rail_attachment_key_equal(const struct rail_attachment_key *one,
			       const struct rail_attachment_key *other);
