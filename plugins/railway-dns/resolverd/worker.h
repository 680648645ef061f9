#pragma once

#include "pkg/base/error.h"

/* How long a worker that takes nothing new has for what it has begun: longer than an upstream's
 * answer may take, and than an idle connection lives. */
enum { RAIL_WORKER_DRAIN_MS = 6000 };

/*
 * The worker: the process that reads what pods and nameservers send. It has no privileges, opens no
 * file, and knows what its supervisor tells it over the channel. Returns when the supervisor is
 * gone.
 */
int rail_worker_run(struct rail_error *error);
