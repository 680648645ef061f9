#pragma once

#include "plugins/railway-mesh/meshd/meshd.h"

/*
 * What etcd has under this node's lease, of environments that this daemon does not know: their last
 * pod went while it or etcd was away, or a claim's ADD came to nothing. They are taken up, so that
 * the records are withdrawn; else they would stay for as long as the lease is renewed.
 */

struct meshd_leftovers;

int meshd_leftovers_new(struct meshd *meshd, struct meshd_leftovers **ret_leftovers,
			struct rail_error *error);
void meshd_leftovers_free(struct meshd_leftovers *leftovers);
/* Besides now and then: a lease was taken up, or etcd is back. */
void meshd_leftovers_look_soon(struct meshd_leftovers *leftovers);
