#include "pkg/cluster/request.h"

#include <criterion/criterion.h>
#include <errno.h>
#include <stdio.h>
#include <string.h>

static struct rail_mesh_request make_request(enum rail_mesh_request_kind kind)
{
	struct rail_mesh_request request = {.kind = kind};

	if (kind == RAIL_MESH_ENSURE) {
		request.pool = (struct rail_pool){.base = {.s6_addr = {0xfd}}, .length = 8};
		memset(request.environment, 'e', sizeof(request.environment) - 1);
		memset(request.service, 's', sizeof(request.service) - 1);
		memset(request.original, '!', sizeof(request.original) - 1);
		memset(request.original, 'S', sizeof(request.service) - 1);
	} else if (kind != RAIL_MESH_STATUS) {
		memset(&request.address, 0xfd, sizeof(request.address));
	}
	return request;
}

Test(cluster_request, requests_come_back_as_they_were_sent)
{
	for (unsigned int kind = RAIL_MESH_ENSURE; kind <= RAIL_MESH_STATUS; kind++) {
		const struct rail_mesh_request sent = make_request(kind);
		struct rail_mesh_request received;
		uint8_t bytes[RAIL_ASK_MESSAGE_SIZE];
		int size = rail_mesh_encode(&sent, bytes, sizeof(bytes));

		cr_assert_gt(size, 0);
		cr_assert_eq(rail_mesh_decode(bytes, (size_t)size, &received), 0, "kind %u", kind);
		cr_assert_eq(memcmp(&received, &sent, sizeof(sent)), 0);
		for (int cut = 0; cut < size; cut++)
			cr_assert_lt(rail_mesh_decode(bytes, (size_t)cut, &received), 0);
		bytes[0]++;
		cr_assert_eq(rail_mesh_decode(bytes, (size_t)size, &received), -EPROTO);
	}
}

Test(cluster_request, names_that_a_plugin_would_not_send_are_refused)
{
	struct rail_mesh_request request = make_request(RAIL_MESH_ENSURE);
	struct rail_mesh_request received;
	uint8_t bytes[RAIL_ASK_MESSAGE_SIZE];
	int size;

	request.service[0] = 'x';
	size = rail_mesh_encode(&request, bytes, sizeof(bytes));
	cr_assert_eq(rail_mesh_decode(bytes, (size_t)size, &received), -EBADMSG);
	request = make_request(RAIL_MESH_ENSURE);
	request.environment[3] = '\n';
	size = rail_mesh_encode(&request, bytes, sizeof(bytes));
	cr_assert_eq(rail_mesh_decode(bytes, (size_t)size, &received), -EBADMSG);
	request = make_request(RAIL_MESH_ENSURE);
	request.pool.length = 49;
	size = rail_mesh_encode(&request, bytes, sizeof(bytes));
	cr_assert_eq(rail_mesh_decode(bytes, (size_t)size, &received), -EBADMSG);
}

Test(cluster_request, nobody_there_says_what_to_start)
{
	const struct rail_mesh_request request = {.kind = RAIL_MESH_STATUS};
	struct rail_error error;

	cr_assert_eq(rail_mesh_ask("/nowhere/mesh.sock", &request, &error), -ECONNREFUSED);
	cr_assert_eq(error.code, RAIL_CODE_TRY_AGAIN);
	cr_assert(strstr(error.message, "start railway-meshd") != NULL);
}
