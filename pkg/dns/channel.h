#pragma once

#include "pkg/store/live.h"

/*
 * What the resolver's supervisor and its worker say to each other, over a Unix socket of their own
 * (SOCK_SEQPACKET, one message a datagram). The supervisor tells, the worker confirms; messages
 * take effect in the order they are sent in. Only the wire format is here: tested and fuzzed.
 */

enum rail_channel_kind {
	/* supervisor to worker */
	RAIL_CHANNEL_POD_ADD = 1,	 /* pod, prefix, ttl_s, upstreams; UDP and TCP socket */
	RAIL_CHANNEL_POD_REMOVE,	 /* pod: its sockets and connections are closed */
	RAIL_CHANNEL_SERVICE_ADD,	 /* prefix, service */
	RAIL_CHANNEL_SERVICE_REMOVE,	 /* prefix, service */
	RAIL_CHANNEL_REPLICA_ADD,	 /* prefix, service, replica, address */
	RAIL_CHANNEL_REPLICA_REMOVE,	 /* prefix, address */
	RAIL_CHANNEL_ENVIRONMENT_REMOVE, /* prefix; after the last of its pods */
	RAIL_CHANNEL_UPSTREAMS,		 /* upstreams: the node's, for pods without their own */
	RAIL_CHANNEL_BARRIER,		 /* sequence: confirm what came before */
	RAIL_CHANNEL_POD_CHECK,		 /* sequence, pod: the same, and that it is served */
	RAIL_CHANNEL_DRAIN,		 /* sequence: take nothing new, finish, end */
	/* worker to supervisor */
	RAIL_CHANNEL_ACK, /* sequence */
	RAIL_CHANNEL_NAK, /* sequence: the pod is not served */
	/* supervisor to worker */
	RAIL_CHANNEL_POD_NAMES, /* pod, environment, container, service, replica: for the query log
				 */
	RAIL_CHANNEL_KIND_END,
};

enum {
	RAIL_CHANNEL_VERSION = 1,
	RAIL_CHANNEL_MESSAGE_SIZE = 1024,
	RAIL_CHANNEL_DESCRIPTORS_MAXIMUM = 2,
};

/* Which members a kind has says the list above; the others are zero. */
struct rail_channel_message {
	enum rail_channel_kind kind;
	uint64_t pod;	   /* a number that the supervisor gives once; never 0 */
	uint64_t sequence; /* never 0 */
	struct rail_prefix prefix;
	char environment[RAIL_ENVIRONMENT_NAME_SIZE];
	char container[RAIL_CONTAINER_ID_SIZE];
	char service[RAIL_LABEL_SIZE];
	char replica[RAIL_LABEL_SIZE];
	struct in6_addr address; /* within prefix */
	uint32_t ttl_s;
	struct rail_endpoint upstreams[RAIL_UPSTREAMS_MAXIMUM];
	uint8_t upstream_count;
};

/* How many descriptors stand beside a message of that kind. */
int rail_channel_descriptors(enum rail_channel_kind kind);

/* Returns the size; -EINVAL for a message that the decoder would refuse, -EMSGSIZE where it does
 * not fit. */
int rail_channel_encode(const struct rail_channel_message *message, uint8_t *bytes,
			size_t capacity);
/* -EPROTO for another version; -EBADMSG for anything that is not exactly one message whose members
 * are all valid. */
int rail_channel_decode(const uint8_t *bytes, size_t size,
			struct rail_channel_message *ret_message);
