#pragma once

#include "pkg/wg/transport.h"

/*
 * WireGuard by a process of wireguard-go, one an interface. Its TUN device lives in the pod's
 * netns; its UDP and UAPI sockets in the host's, as does the process. The device's descriptor was
 * opened in the host's netns and so does not keep the pod's alive.
 */

#define RAIL_TUN_PATH "/dev/net/tun"

/* See struct rail_transport. */
int rail_userspace_create(const struct rail_interface_request *request,
			  int (*announce)(void *context, const struct rail_interface *interface,
					  struct rail_error *error),
			  void *context, struct rail_interface *ret_interface,
			  struct rail_error *error);
