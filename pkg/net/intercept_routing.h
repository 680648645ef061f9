#pragma once

#include "pkg/base/error.h"

/*
 * For intercept.c only: routing rules (ip-rule(8)) that keep on lo what a process of the pod sends
 * to port 53 and that has no closer way, whether or not there is a route to the nameserver; a
 * look-up comes before every hook of nf_tables. Contracts as in intercept.h.
 */
int rail_interception_route(int netns_fd, struct rail_error *error);
int rail_interception_unroute(int netns_fd, struct rail_error *error);
int rail_interception_check_routes(int netns_fd, struct rail_error *error);
