#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "pkg/base/error.h"

struct nlmsghdr;

/*
 * Netlink requests over libmnl; the only directory that includes it. A socket stays in the netns it
 * was made in, so the host's side works in a pod's netns without entering it again. The kernel's
 * own text (NETLINK_EXT_ACK) is part of every error; sequence numbers, port and sender are checked;
 * a dump that was interrupted is drained and repeated, five times at most.
 */
struct rail_netlink;

/* A routing socket (NETLINK_ROUTE) in the netns; netns_fd < 0: the caller's own. */
int rail_netlink_open(int netns_fd, struct rail_netlink **ret_netlink, struct rail_error *error);
/* The same for another protocol (NETLINK_GENERIC). */
int rail_netlink_open_protocol(int netns_fd, int protocol, struct rail_netlink **ret_netlink,
			       struct rail_error *error);
void rail_netlink_close(struct rail_netlink *netlink);
void rail_netlink_closep(struct rail_netlink **netlink); /* for RAIL_CLEANUP */

enum { RAIL_NETLINK_MESSAGE_SIZE = 8192 };

/*
 * Sends one request (NLM_F_ACK is added) and waits for its acknowledgement. what says what was
 * tried, for the error
 * ("add address fd00::1 to railway0"). Returns -errno as the kernel gave it.
 */
int rail_netlink_request(struct rail_netlink *netlink, struct nlmsghdr *message, const char *what,
			 struct rail_error *error);

/*
 * Sends several requests that stand one behind the other, a batch of nf_tables, as one datagram.
 * The kernel does all of them or none. Exactly one of them, the last that does something, asks for
 * an acknowledgement (NLM_F_ACK).
 */
int rail_netlink_batch(struct rail_netlink *netlink, void *messages, size_t size, const char *what,
		       struct rail_error *error);

/*
 * Sends a request and hands every message of the reply to each(), for dumps (NLM_F_DUMP set by the
 * caller) as for single replies. Where a dump is repeated, restart() is called first so that the
 * collector can begin anew. each() may return 1 for "enough": the rest is not read, and the socket
 * is good for nothing more but being closed.
 */
int rail_netlink_query(struct rail_netlink *netlink, struct nlmsghdr *message,
		       int (*each)(void *context, const struct nlmsghdr *reply,
				   struct rail_error *error),
		       void (*restart)(void *context), void *context, const char *what,
		       struct rail_error *error);
