#pragma once

#include "pkg/base/ask.h"
#include "pkg/store/live.h"

/*
 * What a plugin asks the resolver's supervisor (pkg/base/ask.h): a typed, length-checked request.
 * It names an attachment; what that is the supervisor reads in the live store itself, so nothing
 * here needs to be believed.
 */

enum rail_registration_kind {
	RAIL_REGISTRATION_ADD = 1, /* with the netns as a descriptor */
	RAIL_REGISTRATION_REMOVE,
	RAIL_REGISTRATION_CHECK,
	RAIL_REGISTRATION_STATUS,
	RAIL_REGISTRATION_HAND_OVER, /* of a daemon that takes over */
	RAIL_REGISTRATION_MEMBERS,   /* of other nodes, by railway-meshd */
};

enum {
	RAIL_REGISTRATION_VERSION = 1,
	RAIL_REGISTRATION_DEADLINE_MS = 10000,
	RAIL_REGISTRATION_MEMBERS_MAXIMUM = 100, /* of a request */
};

struct rail_registration_request {
	enum rail_registration_kind kind;
	struct rail_attachment_key key; /* empty for STATUS, HAND_OVER and MEMBERS */
	/* MEMBERS: addresses of one environment whose members have changed. */
	struct rail_prefix prefix;
	struct in6_addr addresses[RAIL_REGISTRATION_MEMBERS_MAXIMUM];
	size_t address_count;
};

/* The wire format, apart from the socket: tested and fuzzed. Return the size, or -EBADMSG /
 * -EMSGSIZE. */
int rail_registration_encode(const struct rail_registration_request *request, uint8_t *message,
			     size_t capacity);
int rail_registration_decode(const uint8_t *message, size_t size,
			     struct rail_registration_request *ret_request);

/*
 * Asks the supervisor and waits for its answer, at most RAIL_REGISTRATION_DEADLINE_MS. Where there
 * is no resolver, as rail_ask fails. netns_fd: only for ADD, else negative.
 *
 * ADD returns when the worker has confirmed that it serves the pod's sockets and answers the name.
 * REMOVE returns when name and sockets are gone in worker and supervisor; it succeeds where nothing
 * is registered. CHECK fails with code 102 where the worker does not serve it. MEMBERS returns when
 * the environment's services and these addresses are answered as the stores have them; it succeeds
 * where no pod of the environment is registered.
 */
int rail_registration_ask(const char *socket_path, const struct rail_registration_request *request,
			  int netns_fd, struct rail_error *error);
/* The same with another limit, for who only looks. */
int rail_registration_ask_within(const char *socket_path,
				 const struct rail_registration_request *request, int netns_fd,
				 int limit_ms, struct rail_error *error);

/* Sends a request without descriptors; what comes is read from *ret_fd. Fails as above. */
int rail_registration_begin(const char *socket_path,
			    const struct rail_registration_request *request, int *ret_fd,
			    struct rail_error *error);
