#include <arpa/inet.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "pkg/base/grow.h"
#include "pkg/wg/key.h"
#include "pkg/wg/uapi.h"

enum {
	KEY_NAME_MAXIMUM = 64,
	/* "[" IPv6 "%" interface "]:" port */
	VALUE_MAXIMUM = 128,
};

/* One line of a reply, "name=value"; both point into the reply, value has no NUL. */
struct line {
	const char *name;
	size_t name_length;
	const char *value;
	size_t value_length;
};

/* Where a reply is read: lines from position on. */
struct text {
	const char *bytes;
	size_t size;
	size_t position;
};

static int malformed(struct rail_error *error, const char *what)
{
	return rail_fail(error, EPROTO, "reply of the userspace WireGuard process: %s", what);
}

/* 1 with a line, 0 at the empty line that ends a reply and must be the last. */
static int next_line(struct text *text, struct line *line, struct rail_error *error)
{
	const char *start = text->bytes + text->position;
	const char *end = memchr(start, '\n', text->size - text->position);

	if (end == NULL)
		return malformed(error, "it ends within a line");

	size_t length = (size_t)(end - start);
	text->position += length + 1;
	if (length == 0)
		return text->position == text->size ? 0 : malformed(error, "more follows its end");

	const char *equals = memchr(start, '=', length);
	if (equals == NULL || equals == start)
		return malformed(error, "a line is no key=value");
	*line = (struct line){.name = start,
			      .name_length = (size_t)(equals - start),
			      .value = equals + 1,
			      .value_length = (size_t)(end - equals) - 1};
	/* Values are never shown in an error: one of them is the private key. */
	if (line->name_length > KEY_NAME_MAXIMUM)
		return malformed(error, "a key is too long");
	for (size_t i = 0; i < length; i++)
		if (start[i] < ' ' || start[i] > '~')
			return malformed(error, "a line has a byte that is no printable ASCII");
	return 1;
}

static bool named(const struct line *line, const char *name)
{
	return strlen(name) == line->name_length &&
	       memcmp(name, line->name, line->name_length) == 0;
}

static bool parse_number(const char *digits, size_t length, uint64_t maximum, uint64_t *ret_number)
{
	uint64_t number = 0;

	if (length == 0 || length > 20)
		return false;
	for (size_t i = 0; i < length; i++) {
		if (digits[i] < '0' || digits[i] > '9')
			return false;

		uint64_t digit = (uint64_t)(digits[i] - '0');
		if (number > (maximum - digit) / 10)
			return false;
		number = number * 10 + digit;
	}
	*ret_number = number;
	return true;
}

/*
 * Lower-case hexadecimal digits, as implementations write them (upper case is taken too), without
 * look-up tables or branches on the digits, for they may be the private key's.
 */
static bool parse_key(const struct line *line, struct rail_key *ret_key)
{
	unsigned int invalid = 0;

	if (line->value_length != (size_t)2 * RAIL_KEY_SIZE)
		return false;
	for (size_t i = 0; i < line->value_length; i++) {
		unsigned int character = (unsigned char)line->value[i];
		unsigned int digit = character - '0';
		unsigned int letter = (character | 0x20U) - 'a';
		/* All ones where digit < 10 and letter < 6. */
		unsigned int is_digit = 0U - ((digit - 10U) >> 31 & ~digit >> 31);
		unsigned int is_letter = 0U - ((letter - 6U) >> 31 & ~letter >> 31);
		unsigned int value = (digit & is_digit) | ((letter + 10U) & is_letter);

		invalid |= ~(is_digit | is_letter);
		if (i % 2 == 0)
			ret_key->bytes[i / 2] = (uint8_t)(value << 4);
		else
			ret_key->bytes[i / 2] = (uint8_t)(ret_key->bytes[i / 2] | value);
	}
	return invalid == 0;
}

static bool copy_text(const char *bytes, size_t length, char *target, size_t target_size)
{
	if (length == 0 || length >= target_size)
		return false;
	memcpy(target, bytes, length);
	target[length] = '\0';
	return true;
}

/* "192.0.2.1:51820" or "[fe80::1%eth0]:51820"; the zone has no place in the model. */
static bool parse_endpoint(const struct line *line, struct rail_endpoint *ret_endpoint)
{
	const char *value = line->value;
	size_t length = line->value_length;
	struct rail_endpoint endpoint = {.family = AF_INET};
	char address[INET6_ADDRSTRLEN];
	const char *colon = memrchr(value, ':', length);
	uint64_t port;

	if (length > VALUE_MAXIMUM || colon == NULL)
		return false;

	size_t host_length = (size_t)(colon - value);
	if (!parse_number(colon + 1, length - host_length - 1, UINT16_MAX, &port))
		return false;
	endpoint.port = (uint16_t)port;

	const char *host = value;
	if (host_length >= 2 && value[0] == '[' && value[host_length - 1] == ']') {
		endpoint.family = AF_INET6;
		host++;
		host_length -= 2;

		const char *zone = memchr(host, '%', host_length);
		if (zone != NULL)
			host_length = (size_t)(zone - host);
	}
	if (!copy_text(host, host_length, address, sizeof(address)) ||
	    inet_pton(endpoint.family, address, &endpoint.address) != 1)
		return false;
	*ret_endpoint = endpoint;
	return true;
}

static bool parse_allowed_ip(const struct line *line, struct rail_allowed_ip *ret_allowed_ip)
{
	const char *slash = memchr(line->value, '/', line->value_length);
	struct rail_allowed_ip allowed_ip = {.family = AF_INET};
	char address[INET6_ADDRSTRLEN];
	uint64_t length;

	if (slash == NULL)
		return false;

	size_t host_length = (size_t)(slash - line->value);
	if (!copy_text(line->value, host_length, address, sizeof(address)))
		return false;
	if (strchr(address, ':') != NULL)
		allowed_ip.family = AF_INET6;
	if (inet_pton(allowed_ip.family, address, &allowed_ip.address) != 1 ||
	    !parse_number(slash + 1, line->value_length - host_length - 1,
			  allowed_ip.family == AF_INET6 ? 128 : 32, &length))
		return false;
	allowed_ip.length = (uint8_t)length;
	*ret_allowed_ip = allowed_ip;
	return true;
}

static int bad_value(const struct line *line, struct rail_error *error)
{
	return rail_fail(error, EPROTO,
			 "reply of the userspace WireGuard process: invalid value of '%.*s'",
			 (int)line->name_length, line->name);
}

static int add_peer(struct rail_device *device, const struct line *line, struct rail_error *error)
{
	struct rail_peer peer = {.allowed_ip_count = 0};

	if (!parse_key(line, &peer.public_key))
		return bad_value(line, error);

	struct rail_peer *peers = rail_grow(device->peers, device->peer_count, sizeof(*peers));
	if (peers == NULL)
		return rail_fail_errno(error, ENOMEM, "read the peers");
	device->peers = peers;
	peers[device->peer_count++] = peer;
	return 0;
}

static int add_allowed_ip(struct rail_peer *peer, const struct line *line, struct rail_error *error)
{
	struct rail_allowed_ip allowed_ip;

	if (!parse_allowed_ip(line, &allowed_ip))
		return bad_value(line, error);

	struct rail_allowed_ip *grown =
		rail_grow(peer->allowed_ips, peer->allowed_ip_count, sizeof(*grown));
	if (grown == NULL)
		return rail_fail_errno(error, ENOMEM, "read the peers' AllowedIPs");
	peer->allowed_ips = grown;
	grown[peer->allowed_ip_count++] = allowed_ip;
	return 0;
}

/* A line that stands before the first peer. */
static int device_line(struct rail_device *device, struct rail_key *private_key,
		       const struct line *line, struct rail_error *error)
{
	uint64_t number;

	if (named(line, "private_key")) {
		if (!parse_key(line, private_key))
			return bad_value(line, error);
	} else if (named(line, "listen_port")) {
		if (!parse_number(line->value, line->value_length, UINT16_MAX, &number))
			return bad_value(line, error);
		device->listen_port = (uint16_t)number;
	} else if (named(line, "endpoint") || named(line, "allowed_ip") ||
		   named(line, "persistent_keepalive_interval")) {
		return malformed(error, "a value of a peer stands before any peer");
	}
	return 0;
}

static int peer_line(struct rail_peer *peer, const struct line *line, struct rail_error *error)
{
	uint64_t number;

	if (named(line, "allowed_ip"))
		return add_allowed_ip(peer, line, error);
	if (named(line, "endpoint"))
		return parse_endpoint(line, &peer->endpoint) ? 0 : bad_value(line, error);
	if (named(line, "private_key") || named(line, "listen_port"))
		return malformed(error, "a value of the device stands behind a peer");

	if (named(line, "persistent_keepalive_interval")) {
		if (!parse_number(line->value, line->value_length, UINT16_MAX, &number))
			return bad_value(line, error);
		peer->keepalive_s = (uint16_t)number;
	} else if (named(line, "last_handshake_time_sec")) {
		if (!parse_number(line->value, line->value_length, INT64_MAX, &number))
			return bad_value(line, error);
		peer->last_handshake_s = (int64_t)number;
	} else if (named(line, "rx_bytes")) {
		if (!parse_number(line->value, line->value_length, UINT64_MAX,
				  &peer->received_bytes))
			return bad_value(line, error);
	} else if (named(line, "tx_bytes")) {
		if (!parse_number(line->value, line->value_length, UINT64_MAX, &peer->sent_bytes))
			return bad_value(line, error);
	}
	return 0;
}

/* "errno=0", or the negative errno value that Go's implementation writes, or a positive one. */
static int errno_line(const struct line *line, struct text *text, struct rail_error *error)
{
	const char *digits = line->value;
	size_t length = line->value_length;
	struct line more;
	uint64_t number;

	if (length > 0 && digits[0] == '-') {
		digits++;
		length--;
	}
	if (!parse_number(digits, length, 4095, &number))
		return bad_value(line, error);

	int result = next_line(text, &more, error);
	if (result < 0)
		return result;
	if (result > 0)
		return malformed(error, "more follows its errno");
	if (number != 0)
		return rail_fail_errno(error, (int)number,
				       "the userspace WireGuard process refuses the request");
	return 0;
}

bool rail_uapi_reply_complete(const char *reply, size_t size)
{
	return size >= 2 && reply[size - 1] == '\n' && reply[size - 2] == '\n';
}

int rail_uapi_parse_set_reply(const char *reply, size_t size, struct rail_error *error)
{
	struct text text = {.bytes = reply, .size = size};
	struct line line;
	int result = next_line(&text, &line, error);

	if (result < 0)
		return result;
	if (result == 0 || !named(&line, "errno"))
		return malformed(error, "it has no errno");
	return errno_line(&line, &text, error);
}

static int parse_get_reply(struct text *text, struct rail_device *device,
			   struct rail_key *private_key, struct rail_error *error)
{
	for (;;) {
		struct line line;
		int result = next_line(text, &line, error);

		if (result < 0)
			return result;
		if (result == 0)
			return malformed(error, "it has no errno");
		if (named(&line, "errno"))
			return errno_line(&line, text, error);

		if (named(&line, "public_key"))
			result = add_peer(device, &line, error);
		else if (device->peer_count == 0)
			result = device_line(device, private_key, &line, error);
		else
			result = peer_line(&device->peers[device->peer_count - 1], &line, error);
		if (result < 0)
			return result;
	}
}

int rail_uapi_parse_get_reply(const char *reply, size_t size, struct rail_device *ret_device,
			      struct rail_key *ret_private_key, struct rail_error *error)
{
	struct text text = {.bytes = reply, .size = size};
	struct rail_device device = {.peer_count = 0};
	struct rail_key private_key = {.bytes = {0}};
	int result = parse_get_reply(&text, &device, &private_key, error);

	if (result < 0) {
		rail_device_done(&device);
	} else {
		*ret_device = device;
		*ret_private_key = private_key;
	}
	rail_key_wipe(&private_key);
	return result;
}
