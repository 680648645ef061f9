#include "pkg/attachment/cluster.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "pkg/cluster/request.h"

bool rail_operation_is_clustered(const struct rail_operation *operation)
{
	return operation->settings.cluster.endpoint_count != 0;
}

static int ask(const struct rail_operation *operation, const struct rail_mesh_request *request,
	       struct rail_error *error)
{
	return rail_mesh_ask(operation->settings.mesh_socket, request, error);
}

int rail_cluster_ensure(const struct rail_operation *operation,
			const struct rail_identity *identity, struct rail_error *error)
{
	struct rail_mesh_request request = {.kind = RAIL_MESH_ENSURE,
					    .pool = operation->settings.pool};

	memcpy(request.environment, identity->environment, sizeof(request.environment));
	memcpy(request.service, identity->service, sizeof(request.service));
	memcpy(request.original, identity->service_original, sizeof(request.original));
	int result = ask(operation, &request, error);

	return rail_wrap(error, result,
			 "service '%s' of environment '%.64s' is new to this node, and the cluster "
			 "must agree",
			 identity->service, identity->environment);
}

int rail_cluster_claim(const struct rail_operation *operation, const struct in6_addr *address,
		       struct rail_error *error)
{
	struct rail_mesh_request request = {.kind = RAIL_MESH_CLAIM, .address = *address};

	return ask(operation, &request, error);
}

void rail_cluster_publish(const struct rail_operation *operation, const struct in6_addr *address)
{
	struct rail_mesh_request request = {.kind = RAIL_MESH_PUBLISH, .address = *address};
	struct rail_error error = RAIL_ERROR_NONE;

	if (rail_operation_is_clustered(operation) && ask(operation, &request, &error) < 0)
		(void)fprintf(stderr,
			      "warning: the pod is not known to other nodes yet: %s; railway-meshd "
			      "makes it known when it can\n",
			      error.message);
}

void rail_cluster_withdraw(const struct rail_operation *operation, const struct in6_addr *address)
{
	struct rail_mesh_request request = {.kind = RAIL_MESH_WITHDRAW, .address = *address};
	struct rail_error ignored = RAIL_ERROR_NONE;

	/* Where it fails meshd finds it when it looks, or its lease ends. A DEL does not read the
	 * key cluster: where there is no meshd there is nobody to ask. */
	if (rail_operation_is_clustered(operation) || operation->call->command == RAIL_CNI_DEL)
		(void)ask(operation, &request, &ignored);
}

int rail_cluster_status(const struct rail_operation *operation, struct rail_error *error)
{
	struct rail_mesh_request request = {.kind = RAIL_MESH_STATUS};
	int result = rail_operation_is_clustered(operation) ? ask(operation, &request, error) : 0;

	if (result < 0 && error != NULL)
		error->code = RAIL_CODE_LIMITED_CONNECTIVITY;
	return result;
}
