#pragma once

#include <stdbool.h>
#include <sys/types.h>

#include "pkg/base/error.h"

struct rail_supervisor_options {
	const char *config; /* the node's file; NULL: the default */
	int ready_fd;	    /* gets one newline when ready, and is closed; negative: none */
	uid_t worker_uid;
	const char *metrics;	/* where they are shown: a path or a port; NULL: nowhere */
	const char *query_log;	/* an absolute path; NULL: there is none */
	bool takes_over;	/* from the daemon that serves the socket, if there is one */
	const char *program;	/* this one's path, */
	char *const *arguments; /* and a successor's arguments, ended by NULL */
};

/* Runs the resolver until it is asked to end (SIGTERM, SIGINT). */
int rail_supervise(const struct rail_supervisor_options *options, struct rail_error *error);
