#include "pkg/wg/transport.h"

#include <errno.h>
#include <string.h>

static const struct rail_transport *const transports[] = {&rail_transport_userspace};

const struct rail_transport *rail_transport_by_name(const char *name)
{
	for (size_t i = 0; i < sizeof(transports) / sizeof(transports[0]); i++)
		if (strcmp(transports[i]->name, name) == 0)
			return transports[i];
	return NULL;
}

int rail_transport_choose(const char *name, const struct rail_transport **ret_transport,
			  struct rail_error *error)
{
	const struct rail_transport *transport = &rail_transport_userspace;

	if (strcmp(name, "auto") != 0)
		transport = rail_transport_by_name(name);
	if (transport == NULL && strcmp(name, "kernel") == 0)
		return rail_fail_code(error, RAIL_CODE_INVALID_CONFIG, ENOTSUP,
				      "transport 'kernel': this build has no kernel backend yet; "
				      "use 'userspace' or 'auto'");
	if (transport == NULL)
		return rail_fail_code(error, RAIL_CODE_INVALID_CONFIG, EINVAL,
				      "transport '%.64s' is unknown; known are 'auto', 'kernel' "
				      "and 'userspace'",
				      name);

	int result = transport->available(error);
	if (result < 0)
		return rail_wrap(error, result, "transport '%s'", transport->name);
	*ret_transport = transport;
	return 0;
}
