#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>

#include "pkg/wg/uapi.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* What is read can be written again, and every failure says why. */
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct rail_error error = RAIL_ERROR_NONE;
	struct rail_device none = {.peer_count = 0};
	struct rail_device device;
	struct rail_changes changes;
	struct rail_uapi_position position = {.change = 0};
	struct rail_key key;
	char request[RAIL_UAPI_REQUEST_MINIMUM];
	int result = rail_uapi_parse_set_reply((const char *)data, size, &error);

	if ((result < 0) != (error.errnum != 0))
		abort();
	error = RAIL_ERROR_NONE;
	result = rail_uapi_parse_get_reply((const char *)data, size, &device, &key, &error);
	if ((result < 0) != (error.errnum != 0))
		abort();
	if (result < 0)
		return 0;
	if (!rail_uapi_reply_complete((const char *)data, size))
		abort();

	/* Refused where a peer or an AllowedIP is there twice. */
	if (rail_device_difference(&none, &device, 0, &changes, NULL) == 0) {
		do {
			result = rail_uapi_encode_changes(&changes, &position, request,
							  sizeof(request));
			if (result < 0)
				abort();
		} while (result > 0);
		rail_changes_done(&changes);
	}
	rail_device_done(&device);
	return 0;
}
