#pragma once

#include "pkg/base/error.h"

/*
 * The query log's writer: the process that makes lines of JSON of what the worker notes
 * (pkg/dns/query_record.h) and writes them to a file or pipe that its supervisor has opened. It has
 * no privileges, opens no file, and may wait for a disk as long as that takes. Returns when the
 * supervisor closes its channel: everything is written then that can be.
 */
int rail_query_writer_run(struct rail_error *error);
