#pragma once

#include "plugins/railway-mesh/meshd/meshd.h"

/*
 * This node's place in the cluster: its number, its lease and the record that says that it lives.
 * Takes up the lease of the daemon before it, renews it, and gets another when it was lost.
 */

int meshd_session_new(struct meshd *meshd, struct meshd_session **ret_session,
		      struct rail_error *error);
void meshd_session_start(struct meshd_session *session);
void meshd_session_free(struct meshd_session *session);
/* The cluster is another, or an older one: the number must be claimed anew. */
void meshd_session_restart(struct meshd_session *session);
