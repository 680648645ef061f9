#include "pkg/cluster/request.h"

#include <errno.h>
#include <string.h>

#include "pkg/base/bytes.h"

enum { GRACE_MS = 1000 }; /* for meshd's answer behind its patience */

static bool is_kind(unsigned int kind)
{
	return kind >= RAIL_MESH_ENSURE && kind <= RAIL_MESH_STATUS;
}

static bool has_address(enum rail_mesh_request_kind kind)
{
	return kind == RAIL_MESH_CLAIM || kind == RAIL_MESH_PUBLISH || kind == RAIL_MESH_WITHDRAW;
}

int rail_mesh_patience_ms(enum rail_mesh_request_kind kind)
{
	switch (kind) {
	case RAIL_MESH_ENSURE:
	case RAIL_MESH_CLAIM:
		return 12000; /* nothing can go on without it */
	case RAIL_MESH_PUBLISH:
		return 5000;
	case RAIL_MESH_WITHDRAW:
		return 3000;
	case RAIL_MESH_STATUS:
		break;
	}
	return 2000;
}

int rail_mesh_encode(const struct rail_mesh_request *request, uint8_t *message, size_t capacity)
{
	struct rail_writer writer = rail_writer_init(message, capacity);

	if (!is_kind(request->kind))
		return -EBADMSG;
	rail_write_u8(&writer, RAIL_MESH_VERSION);
	rail_write_u8(&writer, (uint8_t)request->kind);
	if (has_address(request->kind))
		rail_write_bytes(&writer, request->address.s6_addr,
				 sizeof(request->address.s6_addr));
	if (request->kind == RAIL_MESH_ENSURE) {
		rail_write_bytes(&writer, request->pool.base.s6_addr,
				 sizeof(request->pool.base.s6_addr));
		rail_write_u8(&writer, (uint8_t)request->pool.length);
		rail_write_string(&writer, request->environment);
		rail_write_string(&writer, request->service);
		rail_write_string(&writer, request->original);
	}
	return writer.failed ? -EMSGSIZE : (int)writer.position;
}

/* What meshd would write into a registry is what a plugin could have written. */
static bool read_ensure(struct rail_reader *reader, struct rail_mesh_request *request)
{
	char label[RAIL_LABEL_SIZE];

	rail_read_bytes(reader, request->pool.base.s6_addr, sizeof(request->pool.base.s6_addr));
	request->pool.length = rail_read_u8(reader);
	rail_read_string(reader, request->environment, sizeof(request->environment));
	rail_read_string(reader, request->service, sizeof(request->service));
	rail_read_string(reader, request->original, sizeof(request->original));
	return !reader->failed && request->pool.length >= 8 && request->pool.length <= 48 &&
	       request->pool.base.s6_addr[0] == 0xfd &&
	       rail_environment_name_check("a request", request->environment, NULL) == 0 &&
	       rail_label_make("a request", request->original, false, label, NULL) == 0 &&
	       strcmp(label, request->service) == 0;
}

int rail_mesh_decode(const uint8_t *message, size_t size, struct rail_mesh_request *ret_request)
{
	struct rail_reader reader = rail_reader_init(message, size);
	uint8_t version = rail_read_u8(&reader);
	uint8_t kind = rail_read_u8(&reader);
	struct rail_mesh_request request = {.kind = kind};

	if (!reader.failed && version != RAIL_MESH_VERSION)
		return -EPROTO;
	if (reader.failed || !is_kind(kind))
		return -EBADMSG;
	if (has_address(request.kind))
		rail_read_bytes(&reader, request.address.s6_addr, sizeof(request.address.s6_addr));
	if (request.kind == RAIL_MESH_ENSURE && !read_ensure(&reader, &request))
		return -EBADMSG;
	if (reader.failed || rail_reader_left(&reader) != 0)
		return -EBADMSG;
	*ret_request = request;
	return 0;
}

int rail_mesh_ask(const char *socket_path, const struct rail_mesh_request *request,
		  struct rail_error *error)
{
	const struct rail_ask_target meshd = {
		.daemon = "railway-meshd",
		.whose = "the mesh's",
		.key = "meshSocket",
		.path = socket_path,
		.version = RAIL_MESH_VERSION,
		.limit_ms = rail_mesh_patience_ms(request->kind) + GRACE_MS,
	};
	uint8_t bytes[RAIL_ASK_MESSAGE_SIZE];
	int size = rail_mesh_encode(request, bytes, sizeof(bytes));

	if (size < 0)
		return rail_fail(error, -size, "the request cannot be sent to railway-meshd");
	return rail_ask(&meshd, bytes, (size_t)size, -EBADF, error);
}
