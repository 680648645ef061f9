#pragma once

#include "pkg/base/ask.h"
#include "pkg/identity/identity.h"
#include "pkg/ipam/address.h"

/*
 * What a plugin asks railway-meshd (pkg/base/ask.h): a typed, length-checked request.
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

enum { RAIL_MESH_VERSION = 1 };

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

/* How long meshd tries before it says that it could not, and a plugin waits: a little longer. */
int rail_mesh_patience_ms(enum rail_mesh_request_kind kind);

/*
 * Asks meshd and waits for its answer. Where there is no meshd, as rail_ask fails.
 */
int rail_mesh_ask(const char *socket_path, const struct rail_mesh_request *request,
		  struct rail_error *error);
