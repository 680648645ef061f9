#pragma once

#include "pkg/base/listener.h"
#include "pkg/base/loop.h"
#include "pkg/store/live.h"
#include "plugins/railway-dns/resolverd/sockets.h"

/*
 * A daemon takes over from another one, of another release maybe: over the registration socket it
 * gets that socket, its lock, and every pod's sockets. Both workers serve these until the new one
 * has everything; the old one then finishes what it has begun and ends. So no query is lost, and no
 * moment passes without somebody who serves. If the new daemon fails on the way, the old one goes
 * on.
 */

enum {
	RAIL_HANDOVER_DEADLINE_MS = 20000, /* from the request until the new one is ready */
	RAIL_HANDOVER_PATIENCE_MS = 5000,  /* of the new one, while the old one is at work */
};

/* ---- the new daemon ---- */

struct rail_handed_pod {
	struct rail_attachment_key key;
	struct rail_pod_sockets sockets; /* closed: was taken */
};

struct rail_handed {
	int connection; /* to the old one; negative: there is none */
	struct rail_listener listener;
	struct rail_handed_pod *pods;
	size_t count;
	size_t capacity;
};

#define RAIL_HANDED_NONE                                                                           \
	(struct rail_handed)                                                                       \
	{                                                                                          \
		.connection = -1, .listener = RAIL_LISTENER_CLOSED                                 \
	}

/* Takes everything from the daemon at the path. -ECONNREFUSED: nobody serves it. */
int rail_handover_take(const char *path, struct rail_handed *ret_handed, struct rail_error *error);
/* The sockets of an attachment, which are the caller's then; closed where there are none. */
struct rail_pod_sockets rail_handed_sockets(struct rail_handed *handed,
					    const struct rail_attachment_key *key);
/* Tells the old daemon that it may end. */
void rail_handed_confirm(struct rail_handed *handed);
/* Closes what nobody took. Where it was not confirmed, the old one goes on. */
void rail_handed_done(struct rail_handed *handed);

/* ---- the old daemon ---- */

/*
 * Gives all of it away over a connection whose request was read, and waits for the confirmation;
 * nothing else is done meanwhile. pods: count of them. Returns 0 when the other has taken over;
 * else nothing has changed.
 */
int rail_handover_give(int connection, const struct rail_listener *listener,
		       const struct rail_handed_pod *pods, size_t count, struct rail_error *error);
