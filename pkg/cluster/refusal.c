#include "pkg/cluster/refusal.h"

#include <errno.h>

#include "pkg/cluster/gateway.h"

enum {
	/* Of gRPC (grpc/status codes). */
	GRPC_DEADLINE = 4,
	GRPC_NOT_FOUND = 5,
	GRPC_DENIED = 7,
	GRPC_UNAVAILABLE = 14,
};

struct rail_etcd_refusal rail_etcd_refusal_of(const struct rail_json *answer, long status)
{
	struct rail_etcd_refusal refusal = {.code = -1, .status = status};

	if (answer != NULL)
		refusal.code = rail_etcd_parse_error(answer, &refusal.message);
	return refusal;
}

bool rail_etcd_refusal_may_pass(const struct rail_etcd_refusal *refusal)
{
	return refusal->status >= 500 && (refusal->code == GRPC_UNAVAILABLE ||
					  refusal->code == GRPC_DEADLINE || refusal->code < 0);
}

int rail_etcd_refusal_fail(const struct rail_etcd_refusal *refusal, struct rail_error *error)
{
	int errnum = rail_etcd_refusal_may_pass(refusal) ? EAGAIN
		     : refusal->code == GRPC_NOT_FOUND	 ? ENOENT
		     : refusal->code == GRPC_DENIED	 ? EACCES
							 : EBADMSG;

	return rail_fail_code(error, RAIL_CODE_TRY_AGAIN, errnum, "etcd refuses: %.300s (HTTP %ld)",
			      refusal->message != NULL ? refusal->message : "no reason given",
			      refusal->status);
}
