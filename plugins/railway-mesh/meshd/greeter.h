#pragma once

#include "pkg/store/live.h"
#include "plugins/railway-mesh/meshd/meshd.h"

/*
 * Who learns of the other later speaks first: a member's own first packet comes too early where the
 * other side does not know its key yet, and WireGuard repeats it only after 5 s. So each local pod
 * that was there before a member greets it: a persistent keepalive, set for a moment, sends one
 * packet at once, and with it the handshake. Paced: the newest pods first, so that one that joins
 * a thousand is not met by a thousand handshakes at once. What a greeting changes passes, and adds
 * no peer: it takes no environment's lock.
 */

struct environment;

int meshd_greeter_new(struct meshd *meshd, struct meshd_greeter **ret_greeter,
		      struct rail_error *error);
void meshd_greeter_free(struct meshd_greeter *greeter);

/* The local pods of the environment that are published greet this member. */
void meshd_greet(struct meshd_greeter *greeter, const struct environment *environment,
		 const struct rail_member *member);
