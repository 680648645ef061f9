/* The input is a request to railway-meshd, and a reply. What is accepted has no other encoding. */

#include <stdlib.h>
#include <string.h>

#include "pkg/cluster/request.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void require_same(const uint8_t *data, size_t size, const uint8_t *again, int again_size)
{
	if (again_size < 0 || (size_t)again_size != size || memcmp(again, data, size) != 0)
		abort();
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct rail_mesh_request request;
	struct rail_error outcome;
	uint8_t again[RAIL_ASK_MESSAGE_SIZE];

	if (rail_mesh_decode(data, size, &request) == 0)
		require_same(data, size, again, rail_mesh_encode(&request, again, sizeof(again)));
	if (rail_reply_decode(RAIL_MESH_VERSION, data, size, &outcome) == 0)
		require_same(data, size, again,
			     rail_reply_encode(RAIL_MESH_VERSION, &outcome, again, sizeof(again)));
	return 0;
}
