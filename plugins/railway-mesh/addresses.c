#include "plugins/railway-mesh/addresses.h"

#include <arpa/inet.h>
#include <errno.h>
#include <string.h>

#include "pkg/attachment/attachment.h"
#include "pkg/attachment/lease.h"
#include "pkg/base/cleanup.h"
#include "pkg/cni/delegate.h"
#include "pkg/cni/result.h"

static int execute(const struct rail_cni_call *call, enum rail_cni_command command,
		   struct rail_json **ret_output, struct rail_error *error)
{
	const char *type = rail_json_string(rail_json_get(call->ipam, "type"));
	RAIL_FREE char *configuration = rail_json_print(call->document);

	if (configuration == NULL)
		return rail_fail_errno(error, ENOMEM, "pass the configuration to %s", type);
	return rail_delegate(type, call->path, command, configuration, strlen(configuration),
			     ret_output, error);
}

bool mesh_is_ipam_too(const struct rail_cni_call *call)
{
	const char *type = rail_json_string(rail_json_get(call->ipam, "type"));

	return type != NULL && strcmp(type, "railway-ipam") == 0 &&
	       rail_delegate_is_beside(type, call->path);
}

int mesh_delegate(const struct rail_cni_call *call, enum rail_cni_command command,
		  struct rail_error *error)
{
	return call->ipam == NULL ? 0 : execute(call, command, NULL, error);
}

struct address_search {
	const struct in6_addr *wanted;
	bool found;
};

static int match_address(void *context, const struct rail_result_address *address)
{
	struct address_search *search = context;

	search->found = memcmp(&address->address, search->wanted, sizeof(*search->wanted)) == 0;
	return search->found ? 1 : 0;
}

int mesh_get_address(struct rail_operation *operation, struct rail_attachment *attachment,
		     struct rail_error *error)
{
	const struct rail_cni_call *call = operation->call;
	RAIL_CLEANUP(rail_json_freep) struct rail_json *output = NULL;
	const struct rail_json *result = call->prev_result;
	const char *source = "prevResult";

	if (mesh_is_ipam_too(call))
		return rail_attachment_lease_for_ipam(operation, attachment, error);
	if (call->ipam != NULL) {
		source = rail_json_string(rail_json_get(call->ipam, "type"));
		int outcome = execute(call, RAIL_CNI_ADD, &output, error);
		if (outcome < 0)
			return outcome;
		result = output;
		outcome = rail_operation_attachment(operation, attachment, error);
		if (outcome == -ENOENT)
			return rail_fail(error, ENOENT,
					 "the attachment was removed while %s worked on it",
					 source);
		if (outcome < 0)
			return outcome;
	}
	if ((attachment->parts & RAIL_PART_LEASE) == 0)
		return rail_fail_code(
			error, RAIL_CODE_INVALID_CONFIG, EINVAL,
			call->ipam != NULL
				? "ipam.type '%s': railway-mesh needs the addresses of "
				  "railway-ipam, "
				  "which alone knows the service's subnet"
				: "%s has no address of railway-ipam: put railway-ipam before "
				  "railway-mesh, or give railway-mesh \"ipam\": {\"type\": "
				  "\"railway-ipam\"}",
			source);

	struct address_search search = {.wanted = &attachment->address};
	char text[INET6_ADDRSTRLEN];
	int outcome = result == NULL ? 0
				     : rail_result_each_address(result, call->version,
								match_address, &search, error);
	if (outcome < 0)
		return rail_wrap(error, outcome, "%s", source);
	(void)inet_ntop(AF_INET6, &attachment->address, text, sizeof(text));
	if (!search.found)
		return rail_fail_code(error, RAIL_CODE_INVALID_CONFIG, EINVAL,
				      "%s does not have the address %s that is leased to this "
				      "attachment",
				      source, text);
	return 0;
}
