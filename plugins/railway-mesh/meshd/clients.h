#pragma once

#include "plugins/railway-mesh/meshd/meshd.h"

/* The plugins of this node, and what they ask (pkg/cluster/request.h). */

/* Before anything else is touched: a second daemon must not come further. */
int meshd_clients_listen(struct meshd *meshd, struct meshd_clients **ret_clients,
			 struct rail_error *error);
int meshd_clients_serve(struct meshd_clients *clients, struct rail_error *error);
void meshd_clients_free(struct meshd_clients *clients);
/* Something came to its end: whoever waits for it is answered. */
void meshd_clients_check(struct meshd_clients *clients);
