#pragma once

#include "pkg/base/loop.h"
#include "plugins/railway-dns/resolverd/process.h"

/* The node's nameservers for the worker: /etc/resolv.conf, read again when it changes. */

struct rail_node_nameservers;

int rail_node_nameservers_new(struct rail_loop *loop,
			      struct rail_node_nameservers **ret_nameservers,
			      struct rail_error *error);
void rail_node_nameservers_free(struct rail_node_nameservers *nameservers);
void rail_node_nameservers_set_worker(struct rail_node_nameservers *nameservers,
				      struct rail_worker_process *worker);
/* Tells a new worker. */
void rail_node_nameservers_send(struct rail_node_nameservers *nameservers);
/* Reads the file again, and tells the worker where it changed. */
void rail_node_nameservers_read(struct rail_node_nameservers *nameservers);
