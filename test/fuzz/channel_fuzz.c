/* The input is a message of the channel. What is accepted is valid, and has no other encoding. */

#include <stdlib.h>
#include <string.h>

#include "pkg/dns/channel.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct rail_channel_message message;
	uint8_t again[RAIL_CHANNEL_MESSAGE_SIZE];

	if (rail_channel_decode(data, size, &message) < 0)
		return 0;
	if (rail_channel_encode(&message, again, sizeof(again)) != (int)size ||
	    memcmp(again, data, size) != 0)
		abort();
	return 0;
}
