#pragma once

#include "pkg/base/listener.h"
#include "pkg/base/loop.h"
#include "pkg/dns/registration.h"
#include "plugins/railway-dns/resolverd/pods.h"
#include "plugins/railway-dns/resolverd/process.h"

/*
 * The registration socket: plugins' requests (pkg/dns/registration.h), each answered when the
 * worker has confirmed what was asked for.
 */

struct rail_clients;

/* Listens at the path (rail_listener_open); nothing is accepted yet. */
int rail_clients_listen(struct rail_loop *loop, const char *path, struct rail_clients **ret_clients,
			struct rail_error *error);
/* Serves a socket that another daemon listened at, and takes it over (rail_handover_take). */
int rail_clients_adopt(struct rail_loop *loop, struct rail_listener *listener,
		       struct rail_clients **ret_clients, struct rail_error *error);
/*
 * Another daemon wants to take over, and no request is under way: whether it did. Nothing is
 * answered by these clients any more then. connection and listener are borrowed.
 */
typedef bool (*rail_clients_hand_over)(void *context, int connection,
				       const struct rail_listener *listener);
void rail_clients_on_hand_over(struct rail_clients *clients, rail_clients_hand_over hand_over,
			       void *context);
/* Leaves the socket to the daemon that it was adopted from. */
void rail_clients_hand_back(struct rail_clients *clients);
/* Takes the socket away, unless another daemon has it now. */
void rail_clients_free(struct rail_clients *clients);
/* Begins to serve. */
int rail_clients_serve(struct rail_clients *clients, struct rail_pods *pods,
		       struct rail_worker_process *worker, struct rail_error *error);

/* What the worker's supervision has to say (struct rail_worker_hooks). */
void rail_clients_worker_up(struct rail_clients *clients);
void rail_clients_worker_down(struct rail_clients *clients);
void rail_clients_worker_answered(struct rail_clients *clients, uint64_t sequence, bool positive);
