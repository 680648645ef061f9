#include <linux/genetlink.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "pkg/net/request.h"
#include "pkg/wg/kernel_message.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

enum { SIZE_MAXIMUM = 65536, FAMILY = 32, INDEX = 2 };

/* What a dump tells, message by message, can be written again and is then read the same. */
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	if (size > SIZE_MAXIMUM)
		return 0;

	struct rail_kernel_dump dump = {.head_only = size % 8 == 7};
	/* At its exact size, aligned as the kernel's are. */
	struct nlmsghdr *copy = malloc(size > 0 ? size : 1);
	int left = (int)size;
	int result = 0;

	if (copy == NULL)
		return 0;
	if (size > 0)
		memcpy(copy, data, size);
	/* The kernel's own lengths are true; libmnl takes one above INT_MAX for true as well. */
	for (const struct nlmsghdr *message = copy;
	     result == 0 && mnl_nlmsg_ok(message, left) && message->nlmsg_len <= (uint32_t)left;
	     message = mnl_nlmsg_next(message, &left)) {
		struct rail_error error = RAIL_ERROR_NONE;

		result = rail_kernel_decode(message, &dump, &error);
		if ((result < 0) != (error.errnum != 0))
			abort();
	}
	if (dump.head_only && dump.device.peer_count > 0)
		abort();

	struct rail_device none = {.peer_count = 0};
	struct rail_changes changes;
	struct rail_kernel_position position = {.change = 0};
	struct rail_kernel_dump again = {.has_head = true};
	struct rail_request request;

	/* Refused where a peer or an AllowedIP is there twice. */
	if (result == 0 && rail_device_difference(&none, &dump.device, 0, &changes, NULL) == 0) {
		while ((result = rail_kernel_encode_changes(FAMILY, INDEX, &changes, &position,
							    &request)) > 0)
			if (request.failed ||
			    rail_kernel_decode(&request.message.header, &again, NULL) < 0)
				abort();
		if (result < 0 || again.device.peer_count != dump.device.peer_count ||
		    again.allowed_ip_count != dump.allowed_ip_count)
			abort();
		rail_changes_done(&changes);
	}
	rail_device_done(&again.device);
	rail_device_done(&dump.device);
	free(copy);
	return 0;
}
