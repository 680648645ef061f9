#pragma once

#include <stdint.h>

#include "pkg/base/error.h"

/* A pod's two sockets. They keep the netns that they were made in, and so keep it alive. */
struct rail_pod_sockets {
	int udp; /* negative: closed */
	int tcp;
};

#define RAIL_POD_SOCKETS_CLOSED                                                                    \
	(struct rail_pod_sockets)                                                                  \
	{                                                                                          \
		.udp = -1, .tcp = -1                                                               \
	}

/*
 * Enters the netns, opens UDP and TCP there, and comes back: on fd12::10 where the port is 53; on
 * every address, IPv4's too, where queries are brought to another one (pkg/net/intercept.h), and
 * then datagrams come with the address that they were sent to (IPV6_PKTINFO). The sockets take what
 * the pod itself sends (received on its loopback) and nothing else; that can not be undone.
 * EMFILE: what the limit of open files leaves is for other things. EADDRINUSE: the port is taken in
 * the pod; EADDRNOTAVAIL: its loopback does not have fd12::10.
 */
int rail_pod_sockets_open(int netns_fd, uint16_t port, struct rail_pod_sockets *ret_sockets,
			  struct rail_error *error);
void rail_pod_sockets_close(struct rail_pod_sockets *sockets);
