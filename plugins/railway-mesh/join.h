#pragma once

#include "pkg/attachment/operation.h"

/*
 * Makes the pod's interface and wires it, in both directions, with every other local pod of its
 * environment. The attachment is stored step by step, so that whoever finds it after a crash can
 * undo it. On failure the caller undoes.
 */
int mesh_join(struct rail_operation *operation, struct rail_attachment *attachment, int netns_fd,
	      const char *interface_name, unsigned int *ret_mtu, struct rail_error *error);
