#pragma once

#include "pkg/ipam/address.h"
#include "pkg/wg/transport.h"

/*
 * A pod's end of the mesh: the WireGuard interface in its netns with address, route and the rules
 * that make it fail closed. Peers are pkg/mesh/wiring.h.
 */

enum { RAIL_POD_ADDRESS_LENGTH = 64 }; /* shows the service's subnet; no route comes with it */

struct rail_pod {
	const struct rail_transport *transport;
	struct rail_prefix prefix; /* of the environment */
	struct in6_addr address;
	const char *interface_name;
	const char *alias;
	unsigned int mtu; /* 0: the underlay's less 80 */
	const uint16_t *listen_ports;
	size_t listen_port_count;
};

/*
 * Makes it: lo up, IPv6 on, the interface up, its address ready to be bound. An interface of that
 * name that is there already is refused (EEXIST, code 100) and left alone. On failure nothing of it
 * is left. announce: see struct rail_transport, create.
 */
int rail_pod_create(int netns_fd, const struct rail_pod *pod,
		    int (*announce)(void *context, const struct rail_interface *interface,
				    struct rail_error *error),
		    void *context, struct rail_interface *ret_interface, unsigned int *ret_mtu,
		    struct rail_error *error);

/* Takes it away; attempts everything; succeeds where nothing is there. netns_fd < 0: the netns has
 * no path any more. */
int rail_pod_destroy(int netns_fd, const struct rail_prefix *prefix, const struct in6_addr *address,
		     const struct rail_interface *interface, struct rail_error *error);

/* Whether everything that create made is still as it was; else code 102 and what is missing. */
int rail_pod_check(int netns_fd, const struct rail_prefix *prefix, const struct in6_addr *address,
		   const struct rail_interface *interface, struct rail_error *error);
