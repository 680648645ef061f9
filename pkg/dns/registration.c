#include "pkg/dns/registration.h"

#include <errno.h>

#include "pkg/base/bytes.h"

static bool is_kind(unsigned int kind)
{
	return kind >= RAIL_REGISTRATION_ADD && kind <= RAIL_REGISTRATION_MEMBERS;
}

/* Whether it is about an attachment. */
static bool has_key(enum rail_registration_kind kind)
{
	return kind >= RAIL_REGISTRATION_ADD && kind <= RAIL_REGISTRATION_CHECK;
}

int rail_registration_encode(const struct rail_registration_request *request, uint8_t *message,
			     size_t capacity)
{
	struct rail_writer writer = rail_writer_init(message, capacity);

	if (!is_kind(request->kind))
		return -EBADMSG;
	rail_write_u8(&writer, RAIL_REGISTRATION_VERSION);
	rail_write_u8(&writer, (uint8_t)request->kind);
	if (has_key(request->kind)) {
		const struct rail_attachment_key *key = &request->key;

		if (*key->network == '\0' || *key->container_id == '\0' || *key->interface == '\0')
			return -EBADMSG;
		rail_write_string(&writer, key->network);
		rail_write_string(&writer, key->container_id);
		rail_write_string(&writer, key->interface);
	}
	if (request->kind == RAIL_REGISTRATION_MEMBERS) {
		if (request->address_count > RAIL_REGISTRATION_MEMBERS_MAXIMUM)
			return -EMSGSIZE;
		rail_write_bytes(&writer, request->prefix.bytes, sizeof(request->prefix.bytes));
		rail_write_u8(&writer, (uint8_t)request->address_count);
		for (size_t i = 0; i < request->address_count; i++)
			rail_write_bytes(&writer, request->addresses[i].s6_addr,
					 sizeof(request->addresses[i].s6_addr));
	}
	return writer.failed ? -EMSGSIZE : (int)writer.position;
}

static bool read_members(struct rail_reader *reader, struct rail_registration_request *request)
{
	rail_read_bytes(reader, request->prefix.bytes, sizeof(request->prefix.bytes));
	request->address_count = rail_read_u8(reader);
	if (request->address_count > RAIL_REGISTRATION_MEMBERS_MAXIMUM)
		return false;
	for (size_t i = 0; i < request->address_count; i++) {
		rail_read_bytes(reader, request->addresses[i].s6_addr,
				sizeof(request->addresses[i].s6_addr));
		if (!rail_prefix_contains(&request->prefix, &request->addresses[i]))
			return false;
	}
	return true;
}

int rail_registration_decode(const uint8_t *message, size_t size,
			     struct rail_registration_request *ret_request)
{
	struct rail_reader reader = rail_reader_init(message, size);
	uint8_t version = rail_read_u8(&reader);
	uint8_t kind = rail_read_u8(&reader);
	struct rail_registration_request request = {.kind = kind};

	if (!reader.failed && version != RAIL_REGISTRATION_VERSION)
		return -EPROTO;
	if (reader.failed || !is_kind(kind))
		return -EBADMSG;
	if (has_key(request.kind)) {
		struct rail_attachment_key *key = &request.key;

		rail_read_string(&reader, key->network, sizeof(key->network));
		rail_read_string(&reader, key->container_id, sizeof(key->container_id));
		rail_read_string(&reader, key->interface, sizeof(key->interface));
		if (*key->network == '\0' || *key->container_id == '\0' || *key->interface == '\0')
			return -EBADMSG;
	}
	if (request.kind == RAIL_REGISTRATION_MEMBERS && !read_members(&reader, &request))
		return -EBADMSG;
	if (reader.failed || rail_reader_left(&reader) != 0)
		return -EBADMSG;
	*ret_request = request;
	return 0;
}

static struct rail_ask_target resolver_at(const char *socket_path, int limit_ms)
{
	return (struct rail_ask_target){
		.daemon = "railway-resolverd",
		.whose = "the resolver's",
		.key = "resolverSocket",
		.path = socket_path,
		.version = RAIL_REGISTRATION_VERSION,
		.limit_ms = limit_ms,
	};
}

static int encode(const struct rail_registration_request *request,
		  uint8_t bytes[RAIL_ASK_MESSAGE_SIZE], struct rail_error *error)
{
	int size = rail_registration_encode(request, bytes, RAIL_ASK_MESSAGE_SIZE);

	return size < 0 ? rail_fail(error, -size,
				    "the attachment's key cannot be sent to the resolver")
			: size;
}

int rail_registration_ask_within(const char *socket_path,
				 const struct rail_registration_request *request, int netns_fd,
				 int limit_ms, struct rail_error *error)
{
	const struct rail_ask_target resolver = resolver_at(socket_path, limit_ms);
	uint8_t bytes[RAIL_ASK_MESSAGE_SIZE];
	int size = encode(request, bytes, error);

	return size < 0 ? size : rail_ask(&resolver, bytes, (size_t)size, netns_fd, error);
}

int rail_registration_ask(const char *socket_path, const struct rail_registration_request *request,
			  int netns_fd, struct rail_error *error)
{
	return rail_registration_ask_within(socket_path, request, netns_fd,
					    RAIL_REGISTRATION_DEADLINE_MS, error);
}

int rail_registration_begin(const char *socket_path,
			    const struct rail_registration_request *request, int *ret_fd,
			    struct rail_error *error)
{
	const struct rail_ask_target resolver =
		resolver_at(socket_path, RAIL_REGISTRATION_DEADLINE_MS);
	uint8_t bytes[RAIL_ASK_MESSAGE_SIZE];
	int size = encode(request, bytes, error);

	return size < 0 ? size
			: rail_ask_begin(&resolver, bytes, (size_t)size, -EBADF, ret_fd, error);
}
