#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "pkg/base/error.h"

/*
 * What brings a pod's DNS queries to the resolver's sockets where these are not on port 53
 * (doc/intercept.md): in the pod's netns an nf_tables table that writes the resolver's port into
 * the pod's queries and 53 into the answers; and, so that a query to any nameserver ends there,
 * routing rules and a table of one route each for IPv4 and IPv6, by which a query stays on lo with
 * the nameserver's address in it. Nothing is remembered of a query on its way: the addresses are
 * not changed, and there is no connection tracking.
 */

enum {
	RAIL_DNS_PORT = 53,
	/* Where the sockets are when queries to any nameserver are taken: above the ports that the
	 * kernel gives out (ip-sysctl, ip_local_port_range). */
	RAIL_INTERCEPT_PORT = 61053,
	RAIL_INTERCEPT_TABLE = 21058, /* of routes */
};

struct rail_interception {
	uint16_t port; /* of the resolver's sockets; not 53 */
	/* Queries to any nameserver, but those to members of the environment and to the pod's own
	 * addresses other than 127.0.0.53 (systemd-resolved's, in a resolv.conf that was copied
	 * from the node). Else queries to fd12::10 alone. */
	bool any_nameserver;
};

/* What is there already is made anew. ENOTSUP where the kernel lacks what is needed. On failure the
 * caller undoes with rail_interception_remove. */
int rail_interception_apply(int netns_fd, const struct rail_interception *interception,
			    struct rail_error *error);
/* Attempts everything; succeeds where nothing is there. */
int rail_interception_remove(int netns_fd, struct rail_error *error);
/* Fails with code 102, naming the first routing rule, route or nf_tables rule that is missing. */
int rail_interception_check(int netns_fd, const struct rail_interception *interception,
			    struct rail_error *error);
