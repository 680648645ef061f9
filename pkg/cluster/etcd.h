#pragma once

#include "pkg/base/loop.h"
#include "pkg/cluster/gateway.h"
#include "pkg/config/settings.h"

/*
 * etcd over its JSON gateway: calls and watches on the daemon's loop. One endpoint at a time; where
 * it does not answer, all that follows goes to the next. Name and password are exchanged for a
 * token, which is renewed when etcd no longer takes it.
 */

struct rail_etcd;
struct rail_etcd_call;
struct rail_etcd_watch;

/*
 * moved: told when another endpoint is used from now on, so that watches on the old one may be
 * begun anew. The settings are borrowed for as long as the client lives.
 */
int rail_etcd_new(struct rail_loop *loop, const struct rail_cluster_settings *settings,
		  void (*moved)(void *context), void *context, struct rail_etcd **ret_etcd,
		  struct rail_error *error);
/* Calls and watches that are left are cancelled: nobody is called back. */
void rail_etcd_free(struct rail_etcd *etcd);

/* The endpoint in use, for messages. */
const char *rail_etcd_endpoint(const struct rail_etcd *etcd);

/*
 * Called once with the answer, or with NULL and an error: code 11 where etcd cannot be reached or
 * has no leader (rail_etcd_may_pass); -EMSGSIZE for an answer that is too large; else what etcd
 * said against it (-EBADMSG; -ENOENT for its "not found" and nothing else, -EACCES for what the
 * user may not do, or where the password cannot be read). The call is over.
 */
typedef void rail_etcd_answered(void *context, const struct rail_json *answer,
				const struct rail_error *error);

/*
 * Whether a call that failed so may go well a little later: etcd did not answer in time or could
 * not be reached, had no leader, or the lease that was named has just ended.
 */
bool rail_etcd_may_pass(const struct rail_error *error);

enum { RAIL_ETCD_ATTEMPT_MS = 3000 };

/*
 * Calls, for example, "/v3/kv/range". body is consumed (NULL: memory ran out: an error). Tries
 * every endpoint once more than there are, so what is called must bear to be done twice.
 */
int rail_etcd_begin(struct rail_etcd *etcd, const char *path, char *body,
		    rail_etcd_answered *answered, void *context, struct rail_etcd_call **ret_call,
		    struct rail_error *error);
/* Nobody is called back; etcd may still do it. Sets the pointer to NULL. */
void rail_etcd_cancel(struct rail_etcd_call **call);

struct rail_etcd_watch_callbacks {
	void (*answer)(void *context, const struct rail_etcd_watch_answer *answer);
	/* Called once, last: it must be begun anew from a later revision, or after a range. */
	void (*ended)(void *context, const struct rail_error *error);
	void *context;
};

/* Watches all keys that begin so, from a revision on. */
int rail_etcd_watch(struct rail_etcd *etcd, const char *prefix, int64_t revision,
		    const struct rail_etcd_watch_callbacks *callbacks,
		    struct rail_etcd_watch **ret_watch, struct rail_error *error);
void rail_etcd_unwatch(struct rail_etcd_watch **watch);
