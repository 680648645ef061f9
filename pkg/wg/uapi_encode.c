#include <arpa/inet.h>
#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "pkg/base/bytes.h"
#include "pkg/wg/uapi.h"

const char rail_uapi_get_request[] = "get=1\n\n";

enum { LINE_SIZE = 128 };

static void put_text(struct rail_writer *writer, const char *text)
{
	rail_write_bytes(writer, text, strlen(text));
}

__attribute__((format(printf, 2, 3))) static void put_line(struct rail_writer *writer,
							   const char *format, ...)
{
	char line[LINE_SIZE];
	va_list arguments;

	va_start(arguments, format);
	int length = vsnprintf(line, sizeof(line), format, arguments);
	va_end(arguments);
	if (length < 0 || (size_t)length >= sizeof(line)) {
		writer->failed = true;
		return;
	}
	rail_write_bytes(writer, line, (size_t)length);
}

/* Without look-up tables or branches on the key's bits, for it may be the private one. */
static uint8_t hex_digit(unsigned int value)
{
	/* 'a' - '0' - 10 is added where value - 10 does not wrap. */
	return (uint8_t)('0' + value + ((((value - 10U) >> 8) & 1U) ^ 1U) * ('a' - '0' - 10));
}

static void put_key(struct rail_writer *writer, const char *name, const struct rail_key *key)
{
	put_text(writer, name);
	for (size_t i = 0; i < RAIL_KEY_SIZE; i++) {
		rail_write_u8(writer, hex_digit(key->bytes[i] >> 4));
		rail_write_u8(writer, hex_digit(key->bytes[i] & 15));
	}
	put_text(writer, "\n");
}

int rail_uapi_encode_configure(const struct rail_key *private_key, uint16_t listen_port,
			       char *buffer, size_t capacity)
{
	struct rail_writer writer = rail_writer_init(buffer, capacity);

	put_text(&writer, "set=1\n");
	if (private_key != NULL)
		put_key(&writer, "private_key=", private_key);
	if (listen_port != 0)
		put_line(&writer, "listen_port=%u\n", listen_port);
	put_text(&writer, "\n");
	return writer.failed || writer.position > INT32_MAX ? -EMSGSIZE : (int)writer.position;
}

static int put_endpoint(struct rail_writer *writer, const struct rail_endpoint *endpoint)
{
	char address[INET6_ADDRSTRLEN];

	if ((endpoint->family != AF_INET && endpoint->family != AF_INET6) ||
	    inet_ntop(endpoint->family, &endpoint->address, address, sizeof(address)) == NULL)
		return -EINVAL;
	put_line(writer, endpoint->family == AF_INET6 ? "endpoint=[%s]:%u\n" : "endpoint=%s:%u\n",
		 address, endpoint->port);
	return 0;
}

static int put_allowed_ip(struct rail_writer *writer, const struct rail_allowed_ip *allowed_ip)
{
	char address[INET6_ADDRSTRLEN];

	if ((allowed_ip->family != AF_INET && allowed_ip->family != AF_INET6) ||
	    allowed_ip->length > (allowed_ip->family == AF_INET ? 32 : 128) ||
	    inet_ntop(allowed_ip->family, &allowed_ip->address, address, sizeof(address)) == NULL)
		return -EINVAL;
	put_line(writer, "allowed_ip=%s/%u\n", address, allowed_ip->length);
	return 0;
}

/* All of a change but its AllowedIPs. fragment: what comes before went with an earlier request. */
static int put_change(struct rail_writer *writer, const struct rail_peer_change *change,
		      bool fragment)
{
	put_key(writer, "public_key=", &change->public_key);
	if (change->kind == RAIL_PEER_REMOVE) {
		put_text(writer, "remove=true\n");
		return 0;
	}
	if (change->kind == RAIL_PEER_UPDATE || fragment)
		put_text(writer, "update_only=true\n");
	if (fragment)
		return 0;
	if (change->replace_allowed_ips)
		put_text(writer, "replace_allowed_ips=true\n");
	if (change->set_endpoint) {
		int result = put_endpoint(writer, &change->endpoint);

		if (result < 0)
			return result;
	}
	if (change->set_keepalive)
		put_line(writer, "persistent_keepalive_interval=%u\n", change->keepalive_s);
	return 0;
}

/* What comes to the writer's end is taken back. true where it had fitted. */
static bool keep_or_undo(struct rail_writer *writer, size_t mark)
{
	if (!writer->failed)
		return true;
	writer->failed = false;
	writer->position = mark;
	return false;
}

int rail_uapi_encode_changes(const struct rail_changes *changes,
			     struct rail_uapi_position *position, char *buffer, size_t capacity)
{
	if (position->change >= changes->count)
		return 0;
	if (capacity < RAIL_UAPI_REQUEST_MINIMUM || capacity > INT32_MAX)
		return -EMSGSIZE;

	/* The empty line at the end keeps its place. */
	struct rail_writer writer = rail_writer_init(buffer, capacity - 1);
	bool full = false;

	put_text(&writer, "set=1\n");
	while (position->change < changes->count && !full) {
		const struct rail_peer_change *change = &changes->changes[position->change];
		size_t mark = writer.position;
		size_t allowed_ip_count =
			change->kind == RAIL_PEER_REMOVE ? 0 : change->allowed_ip_count;
		int result = put_change(&writer, change, position->allowed_ip > 0);

		if (result < 0)
			return result;
		if (!keep_or_undo(&writer, mark))
			break;

		while (position->allowed_ip < allowed_ip_count) {
			mark = writer.position;
			result =
				put_allowed_ip(&writer, &change->allowed_ips[position->allowed_ip]);
			if (result < 0)
				return result;
			full = !keep_or_undo(&writer, mark);
			if (full)
				break;
			position->allowed_ip++;
		}
		if (!full) {
			position->change++;
			position->allowed_ip = 0;
		}
	}
	buffer[writer.position] = '\n';
	return (int)writer.position + 1;
}
