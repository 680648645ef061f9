#pragma once

#include "pkg/base/json.h"

/* What etcd says against a call, in its gateway's terms and in ours. */

struct rail_etcd_refusal {
	int code;	     /* gRPC's status code; -1: none was told */
	const char *message; /* borrowed from the answer; NULL: none was told */
	long status;	     /* HTTP's */
};

/* answer: the body; NULL where it is no JSON. */
struct rail_etcd_refusal rail_etcd_refusal_of(const struct rail_json *answer, long status);
/* It is not what was asked, but how etcd is. */
bool rail_etcd_refusal_may_pass(const struct rail_etcd_refusal *refusal);
/* As rail_etcd_answered (etcd.h) tells of it. */
int rail_etcd_refusal_fail(const struct rail_etcd_refusal *refusal, struct rail_error *error);
