#include "pkg/dns/channel.h"

#include <errno.h>
#include <string.h>
#include <sys/socket.h>

#include "pkg/base/bytes.h"

/* The members of a message, in their order on the wire. */
enum {
	POD = 1 << 0,
	SEQUENCE = 1 << 1,
	PREFIX = 1 << 2,
	SERVICE = 1 << 3,
	REPLICA = 1 << 4,
	ADDRESS = 1 << 5,
	TTL = 1 << 6,
	UPSTREAMS = 1 << 7,
	ENVIRONMENT = 1 << 8,
	CONTAINER = 1 << 9,
};

static const unsigned int members_of[RAIL_CHANNEL_KIND_END] = {
	[RAIL_CHANNEL_POD_ADD] = POD | PREFIX | TTL | UPSTREAMS,
	[RAIL_CHANNEL_POD_REMOVE] = POD,
	[RAIL_CHANNEL_SERVICE_ADD] = PREFIX | SERVICE,
	[RAIL_CHANNEL_SERVICE_REMOVE] = PREFIX | SERVICE,
	[RAIL_CHANNEL_REPLICA_ADD] = PREFIX | SERVICE | REPLICA | ADDRESS,
	[RAIL_CHANNEL_REPLICA_REMOVE] = PREFIX | ADDRESS,
	[RAIL_CHANNEL_ENVIRONMENT_REMOVE] = PREFIX,
	[RAIL_CHANNEL_UPSTREAMS] = UPSTREAMS,
	[RAIL_CHANNEL_BARRIER] = SEQUENCE,
	[RAIL_CHANNEL_POD_CHECK] = POD | SEQUENCE,
	[RAIL_CHANNEL_DRAIN] = SEQUENCE,
	[RAIL_CHANNEL_ACK] = SEQUENCE,
	[RAIL_CHANNEL_NAK] = SEQUENCE,
	[RAIL_CHANNEL_POD_NAMES] = POD | ENVIRONMENT | CONTAINER | SERVICE | REPLICA,
};

int rail_channel_descriptors(enum rail_channel_kind kind)
{
	return kind == RAIL_CHANNEL_POD_ADD ? RAIL_CHANNEL_DESCRIPTORS_MAXIMUM : 0;
}

static bool is_name(const char *text, size_t size)
{
	return *text != '\0' && strnlen(text, size) < size;
}

static bool is_label(const char *text)
{
	return is_name(text, RAIL_LABEL_SIZE);
}

static bool is_endpoint(const struct rail_endpoint *endpoint)
{
	return (endpoint->family == AF_INET || endpoint->family == AF_INET6) && endpoint->port != 0;
}

static bool is_valid(const struct rail_channel_message *message, unsigned int members)
{
	if (((members & POD) != 0 && message->pod == 0) ||
	    ((members & SEQUENCE) != 0 && message->sequence == 0) ||
	    ((members & SERVICE) != 0 && !is_label(message->service)) ||
	    ((members & REPLICA) != 0 && !is_label(message->replica)) ||
	    ((members & ENVIRONMENT) != 0 &&
	     !is_name(message->environment, sizeof(message->environment))) ||
	    ((members & CONTAINER) != 0 &&
	     !is_name(message->container, sizeof(message->container))) ||
	    ((members & ADDRESS) != 0 &&
	     !rail_prefix_contains(&message->prefix, &message->address)))
		return false;
	if ((members & UPSTREAMS) != 0) {
		if (message->upstream_count > RAIL_UPSTREAMS_MAXIMUM)
			return false;
		for (int i = 0; i < message->upstream_count; i++)
			if (!is_endpoint(&message->upstreams[i]))
				return false;
	}
	return true;
}

static unsigned int known_members(unsigned int kind)
{
	return kind < RAIL_CHANNEL_KIND_END ? members_of[kind] : 0;
}

static void write_endpoint(struct rail_writer *writer, const struct rail_endpoint *endpoint)
{
	bool v4 = endpoint->family == AF_INET;

	rail_write_u8(writer, v4 ? 4 : 6);
	rail_write_u16(writer, endpoint->port);
	if (v4)
		rail_write_bytes(writer, &endpoint->address.v4, sizeof(endpoint->address.v4));
	else
		rail_write_bytes(writer, &endpoint->address.v6, sizeof(endpoint->address.v6));
}

static void read_endpoint(struct rail_reader *reader, struct rail_endpoint *endpoint)
{
	uint8_t version = rail_read_u8(reader);

	endpoint->port = rail_read_u16(reader);
	if (version == 4) {
		endpoint->family = AF_INET;
		rail_read_bytes(reader, &endpoint->address.v4, sizeof(endpoint->address.v4));
	} else if (version == 6) {
		endpoint->family = AF_INET6;
		rail_read_bytes(reader, &endpoint->address.v6, sizeof(endpoint->address.v6));
	} else {
		reader->failed = true;
	}
}

int rail_channel_encode(const struct rail_channel_message *message, uint8_t *bytes, size_t capacity)
{
	unsigned int members = known_members(message->kind);
	struct rail_writer writer = rail_writer_init(bytes, capacity);

	if (members == 0 || !is_valid(message, members))
		return -EINVAL;
	rail_write_u8(&writer, RAIL_CHANNEL_VERSION);
	rail_write_u8(&writer, (uint8_t)message->kind);
	if ((members & POD) != 0)
		rail_write_u64(&writer, message->pod);
	if ((members & SEQUENCE) != 0)
		rail_write_u64(&writer, message->sequence);
	if ((members & PREFIX) != 0)
		rail_write_bytes(&writer, message->prefix.bytes, sizeof(message->prefix.bytes));
	if ((members & ENVIRONMENT) != 0)
		rail_write_string(&writer, message->environment);
	if ((members & CONTAINER) != 0)
		rail_write_string(&writer, message->container);
	if ((members & SERVICE) != 0)
		rail_write_string(&writer, message->service);
	if ((members & REPLICA) != 0)
		rail_write_string(&writer, message->replica);
	if ((members & ADDRESS) != 0)
		rail_write_bytes(&writer, &message->address, sizeof(message->address));
	if ((members & TTL) != 0)
		rail_write_u32(&writer, message->ttl_s);
	if ((members & UPSTREAMS) != 0) {
		rail_write_u8(&writer, message->upstream_count);
		for (int i = 0; i < message->upstream_count; i++)
			write_endpoint(&writer, &message->upstreams[i]);
	}
	return writer.failed ? -EMSGSIZE : (int)writer.position;
}

int rail_channel_decode(const uint8_t *bytes, size_t size, struct rail_channel_message *ret_message)
{
	struct rail_reader reader = rail_reader_init(bytes, size);
	uint8_t version = rail_read_u8(&reader);
	uint8_t kind = rail_read_u8(&reader);
	unsigned int members = known_members(kind);
	struct rail_channel_message message = {.kind = kind};

	if (!reader.failed && version != RAIL_CHANNEL_VERSION)
		return -EPROTO;
	if (members == 0)
		return -EBADMSG;
	if ((members & POD) != 0)
		message.pod = rail_read_u64(&reader);
	if ((members & SEQUENCE) != 0)
		message.sequence = rail_read_u64(&reader);
	if ((members & PREFIX) != 0)
		rail_read_bytes(&reader, message.prefix.bytes, sizeof(message.prefix.bytes));
	if ((members & ENVIRONMENT) != 0)
		rail_read_string(&reader, message.environment, sizeof(message.environment));
	if ((members & CONTAINER) != 0)
		rail_read_string(&reader, message.container, sizeof(message.container));
	if ((members & SERVICE) != 0)
		rail_read_string(&reader, message.service, sizeof(message.service));
	if ((members & REPLICA) != 0)
		rail_read_string(&reader, message.replica, sizeof(message.replica));
	if ((members & ADDRESS) != 0)
		rail_read_bytes(&reader, &message.address, sizeof(message.address));
	if ((members & TTL) != 0)
		message.ttl_s = rail_read_u32(&reader);
	if ((members & UPSTREAMS) != 0) {
		message.upstream_count = rail_read_u8(&reader);
		if (message.upstream_count > RAIL_UPSTREAMS_MAXIMUM)
			return -EBADMSG;
		for (int i = 0; i < message.upstream_count; i++)
			read_endpoint(&reader, &message.upstreams[i]);
	}
	if (reader.failed || rail_reader_left(&reader) != 0 || !is_valid(&message, members))
		return -EBADMSG;
	*ret_message = message;
	return 0;
}
