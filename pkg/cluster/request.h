#pragma once

#include "pkg/base/error.h"
#include "pkg/identity/identity.h"
#include "pkg/ipam/address.h"

/*
 * How a plugin speaks with railway-meshd: a Unix socket (SOCK_SEQPACKET), one typed, length-checked
 * request and one reply a connection; only root may ask.
 */

enum rail_mesh_request_kind {
	/* Environment and service by consensus: when it succeeds the registry has both. */
	RAIL_MESH_ENSURE = 1,
	/* A requested address for this node. EADDRINUSE, code 7, where another node has it. */
	RAIL_MESH_CLAIM,
	/* A local member's record is new or has changed: when it succeeds etcd has it, and this
	 * node knows the environment's members. */
	RAIL_MESH_PUBLISH,
	/* A local member is gone: when it succeeds etcd does not have it any more. */
	RAIL_MESH_WITHDRAW,
	/* Whether etcd can be reached and this node has joined. */
	RAIL_MESH_STATUS,
};

enum {
	RAIL_MESH_VERSION = 1,
	RAIL_MESH_MESSAGE_SIZE = 2048, /* of a request and of a reply */
};

struct rail_mesh_request {
	enum rail_mesh_request_kind kind;
	struct in6_addr address; /* CLAIM, PUBLISH, WITHDRAW */
	/* ENSURE: */
	struct rail_pool pool;
	char environment[RAIL_ENVIRONMENT_NAME_SIZE];
	char service[RAIL_LABEL_SIZE];
	char original[RAIL_ORIGINAL_NAME_SIZE];
};

/* The wire format, apart from the socket: tested and fuzzed. Return the size, or -EBADMSG /
 * -EMSGSIZE; -EPROTO for another version. */
int rail_mesh_encode(const struct rail_mesh_request *request, uint8_t *message, size_t capacity);
int rail_mesh_decode(const uint8_t *message, size_t size, struct rail_mesh_request *ret_request);
/* A reply: an error with errnum 0 says that it is done. */
int rail_mesh_encode_reply(const struct rail_error *outcome, uint8_t *message, size_t capacity);
int rail_mesh_decode_reply(const uint8_t *message, size_t size, struct rail_error *ret_outcome);

/* How long meshd tries before it says that it could not, and a plugin waits: a little longer. */
int rail_mesh_patience_ms(enum rail_mesh_request_kind kind);

/*
 * Asks meshd and waits for its answer. Where there is no meshd: ECONNREFUSED, code 11, and a
 * message that names the socket and says to start railway-meshd. A socket whose owner is not root
 * (or the caller) is refused.
 */
int rail_mesh_ask(const char *socket_path, const struct rail_mesh_request *request,
		  struct rail_error *error);
