#include "pkg/wg/transport.h"

#include <errno.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include "pkg/base/file.h"

enum { MTU_MINIMUM = 1280 }; /* RFC 8200, 5 */

static const struct rail_transport *const transports[] = {&rail_transport_kernel,
							  &rail_transport_userspace};

int rail_transport_check_request(const struct rail_interface_request *request,
				 struct rail_error *error)
{
	const size_t alias_size = sizeof(((struct rail_interface *)NULL)->alias);
	size_t name_length = strlen(request->name);
	size_t alias_length = strlen(request->alias);

	if (request->netns_fd < 0)
		return rail_fail_errno(error, EBADF, "the pod's netns");
	if (name_length == 0 || name_length >= IFNAMSIZ)
		return rail_fail(error, EINVAL, "interface name '%.32s': 1 to %d characters",
				 request->name, IFNAMSIZ - 1);
	if (alias_length == 0 || alias_length >= alias_size)
		return rail_fail(error, EINVAL, "interface alias '%.100s': 1 to %zu characters",
				 request->alias, alias_size - 1);
	if (request->mtu < MTU_MINIMUM || request->mtu > UINT16_MAX)
		return rail_fail(error, EINVAL, "MTU %u of interface %s: %d to %d bytes",
				 request->mtu, request->name, MTU_MINIMUM, UINT16_MAX);
	return 0;
}

int rail_transport_make_device_name(char name[static IFNAMSIZ], struct rail_error *error)
{
	uint64_t number;
	int result = rail_random(&number, sizeof(number), error);

	if (result == 0)
		(void)snprintf(name, IFNAMSIZ, "rwg%011llx", (unsigned long long)(number >> 20));
	return result;
}

const struct rail_transport *rail_transport_by_name(const char *name)
{
	for (size_t i = 0; i < sizeof(transports) / sizeof(transports[0]); i++)
		if (strcmp(transports[i]->name, name) == 0)
			return transports[i];
	return NULL;
}

static int choose_any(const struct rail_transport **ret_transport, struct rail_error *error)
{
	struct rail_error kernel = RAIL_ERROR_NONE;
	struct rail_error userspace = RAIL_ERROR_NONE;

	if (rail_transport_kernel.available(&kernel) == 0) {
		*ret_transport = &rail_transport_kernel;
		return 0;
	}
	if (rail_transport_userspace.available(&userspace) == 0) {
		*ret_transport = &rail_transport_userspace;
		return 0;
	}
	return rail_fail_code(error, userspace.code, userspace.errnum,
			      "transport 'auto': %.300s; and without that: %.600s", kernel.message,
			      userspace.message);
}

int rail_transport_choose(const char *name, const struct rail_transport **ret_transport,
			  struct rail_error *error)
{
	if (strcmp(name, "auto") == 0)
		return choose_any(ret_transport, error);

	const struct rail_transport *transport = rail_transport_by_name(name);
	if (transport == NULL)
		return rail_fail_code(error, RAIL_CODE_INVALID_CONFIG, EINVAL,
				      "transport '%.64s' is unknown; known are 'auto', 'kernel' "
				      "and 'userspace'",
				      name);

	struct rail_error one = RAIL_ERROR_NONE;
	int result = transport->available(&one);
	if (result < 0)
		return rail_fail_code(error, one.code, one.errnum, "transport '%s': %.600s%s",
				      transport->name, one.message,
				      transport == &rail_transport_kernel
					      ? ": load it, or set the key transport to 'auto' or "
						"'userspace'"
					      : "");
	*ret_transport = transport;
	return 0;
}
