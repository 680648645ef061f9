#pragma once

#include "pkg/base/error.h"

/*
 * The worker: the process that reads what pods and nameservers send. It has no privileges, opens no
 * file, and knows what its supervisor tells it over the channel. Returns when the supervisor is
 * gone.
 */
int rail_worker_run(struct rail_error *error);
