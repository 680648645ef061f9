#include <arpa/inet.h>
#include <criterion/criterion.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "pkg/wg/key.h"
#include "pkg/wg/uapi.h"

#define KEY_ONE "0100000000000000000000000000000000000000000000000000000000000000"
#define KEY_LAST "fffefdfcfbfaf9f8f7f6f5f4f3f2f1f0efeeedecebeae9e8e7e6e5e4e3e2e1e0"

static int parse_text(const char *text, struct rail_device *device, struct rail_key *key)
{
	struct rail_error error = RAIL_ERROR_NONE;
	int result = rail_uapi_parse_get_reply(text, strlen(text), device, key, &error);

	cr_assert_eq(result < 0, error.errnum != 0);
	if (result < 0)
		cr_assert_eq(result, -error.errnum);
	return result;
}

Test(wg_uapi, reads_a_whole_device)
{
	struct rail_device device;
	struct rail_key key;
	char text[INET6_ADDRSTRLEN];

	cr_assert_eq(parse_text("private_key=" KEY_LAST "\nlisten_port=51820\nfwmark=7\n"
				"public_key=" KEY_ONE "\npreshared_key=" KEY_LAST
				"\nprotocol_version=1\nendpoint=[fe80::1%eth0]:65535\n"
				"last_handshake_time_sec=1700000000\nlast_handshake_time_nsec=5\n"
				"tx_bytes=18446744073709551615\nrx_bytes=12\n"
				"persistent_keepalive_interval=25\nallowed_ip=fd00::1/128\n"
				"allowed_ip=10.0.0.0/8\nsomething_new=a=b\n"
				"public_key=" KEY_LAST "\nendpoint=192.0.2.1:1\nerrno=0\n\n",
				&device, &key),
		     0);
	cr_assert_eq(key.bytes[0], 0xff);
	cr_assert_eq(key.bytes[31], 0xe0);
	cr_assert_eq(device.listen_port, 51820);
	cr_assert_eq(device.peer_count, 2);

	const struct rail_peer *peer = &device.peers[0];
	cr_assert_eq(peer->public_key.bytes[0], 1);
	cr_assert_eq(peer->endpoint.family, AF_INET6);
	cr_assert_eq(peer->endpoint.port, 65535);
	cr_assert_str_eq(inet_ntop(AF_INET6, &peer->endpoint.address, text, sizeof(text)),
			 "fe80::1");
	cr_assert_eq(peer->last_handshake_s, 1700000000);
	cr_assert_eq(peer->sent_bytes, UINT64_MAX);
	cr_assert_eq(peer->received_bytes, 12);
	cr_assert_eq(peer->keepalive_s, 25);
	cr_assert_eq(peer->allowed_ip_count, 2);
	cr_assert_eq(peer->allowed_ips[0].length, 128);
	cr_assert_eq(peer->allowed_ips[1].family, AF_INET);
	cr_assert_eq(peer->allowed_ips[1].length, 8);
	cr_assert_eq(device.peers[1].endpoint.family, AF_INET);
	cr_assert_eq(device.peers[1].allowed_ip_count, 0);
	rail_device_done(&device);
}

Test(wg_uapi, refuses_what_is_no_reply)
{
	static const char *const replies[] = {
		"",
		"\n",
		"errno=0",
		"errno=0\n",
		"errno=0\n\n\n",
		"errno=0\nlisten_port=1\n\n",
		"errno=\n\n",
		"errno=x\n\n",
		"errno=99999\n\n",
		"listen_port=1\n\n",
		"listen_port=65536\nerrno=0\n\n",
		"listen_port=\nerrno=0\n\n",
		"listen_port=-1\nerrno=0\n\n",
		"listen_port= 1\nerrno=0\n\n",
		"listen_port\nerrno=0\n\n",
		"=1\nerrno=0\n\n",
		"private_key=00\nerrno=0\n\n",
		"private_key=g" KEY_ONE "\nerrno=0\n\n",
		"endpoint=192.0.2.1:1\nerrno=0\n\n",
		"allowed_ip=10.0.0.0/8\nerrno=0\n\n",
		"public_key=" KEY_ONE "\nlisten_port=1\nerrno=0\n\n",
		"public_key=" KEY_ONE "\nendpoint=192.0.2.1\nerrno=0\n\n",
		"public_key=" KEY_ONE "\nendpoint=192.0.2.1:70000\nerrno=0\n\n",
		"public_key=" KEY_ONE "\nendpoint=fe80::1:1\nerrno=0\n\n",
		"public_key=" KEY_ONE "\nendpoint=[]:1\nerrno=0\n\n",
		"public_key=" KEY_ONE "\nendpoint=host:1\nerrno=0\n\n",
		"public_key=" KEY_ONE "\nallowed_ip=10.0.0.0/33\nerrno=0\n\n",
		"public_key=" KEY_ONE "\nallowed_ip=fd00::/129\nerrno=0\n\n",
		"public_key=" KEY_ONE "\nallowed_ip=fd00::\nerrno=0\n\n",
		"public_key=" KEY_ONE "\nrx_bytes=18446744073709551616\nerrno=0\n\n",
		"public_key=" KEY_ONE "\nlast_handshake_time_sec=9223372036854775808\nerrno=0\n\n",
		"listen_port=1\001\nerrno=0\n\n",
	};

	for (size_t i = 0; i < sizeof(replies) / sizeof(replies[0]); i++) {
		struct rail_device device;
		struct rail_key key;

		cr_assert_eq(parse_text(replies[i], &device, &key), -EPROTO, "reply %zu", i);
	}
}

Test(wg_uapi, every_character_of_a_key_counts)
{
	for (int character = 1; character < 256; character++) {
		char text[] = "private_key=" KEY_ONE "\nerrno=0\n\n";
		bool digit = strchr("0123456789abcdefABCDEF", character) != NULL;
		struct rail_device device;
		struct rail_key key;

		text[strlen("private_key=") + 2] = (char)character;
		cr_assert_eq(parse_text(text, &device, &key), digit ? 0 : -EPROTO, "character %d",
			     character);
		if (digit)
			cr_assert_eq(key.bytes[1] >> 4,
				     strtol((char[]){(char)character, '\0'}, NULL, 16));
	}
}

Test(wg_uapi, never_shows_a_value)
{
	static const char reply[] = "private_key=secret\nerrno=0\n\n";
	struct rail_error error = RAIL_ERROR_NONE;
	struct rail_device device;
	struct rail_key key;

	cr_assert_lt(rail_uapi_parse_get_reply(reply, strlen(reply), &device, &key, &error), 0);
	cr_assert_null(strstr(error.message, "secret"));
	cr_assert_not_null(strstr(error.message, "private_key"));
}

/* Whole replies only, and no byte beyond them. */
Test(wg_uapi, refuses_every_cut)
{
	static const char reply[] = "private_key=" KEY_ONE "\nlisten_port=1\npublic_key=" KEY_LAST
				    "\nendpoint=[::1]:9\nallowed_ip=fd00::/8\nerrno=0\n\n";

	for (size_t size = 0; size <= strlen(reply); size++) {
		/* A buffer of its own for each, so that the sanitizer sees a read behind it. */
		char *cut = malloc(size + 1);
		struct rail_device device = {.peer_count = 0};
		struct rail_key key;

		cr_assert_not_null(cut);
		memcpy(cut + 1, reply, size);
		int result = rail_uapi_parse_get_reply(cut + 1, size, &device, &key, NULL);
		cr_assert_eq(result, size == strlen(reply) ? 0 : -EPROTO, "size %zu", size);
		cr_assert_eq(rail_uapi_reply_complete(cut + 1, size), size == strlen(reply));
		rail_device_done(&device);
		free(cut);
	}
}

Test(wg_uapi, outcome_of_a_set)
{
	struct rail_error error = RAIL_ERROR_NONE;

	cr_assert_eq(rail_uapi_parse_set_reply("errno=0\n\n", 9, NULL), 0);
	cr_assert_eq(rail_uapi_parse_set_reply("errno=98\n\n", 10, &error), -EADDRINUSE);
	cr_assert_eq(error.errnum, EADDRINUSE);
	/* Go's implementation writes the negative number. */
	cr_assert_eq(rail_uapi_parse_set_reply("errno=-98\n\n", 11, NULL), -EADDRINUSE);
	cr_assert_eq(rail_uapi_parse_set_reply("\n", 1, NULL), -EPROTO);
	cr_assert_eq(rail_uapi_parse_set_reply("other=0\n\n", 9, NULL), -EPROTO);
	cr_assert_eq(rail_uapi_parse_set_reply("errno=0\nerrno=0\n\n", 17, NULL), -EPROTO);
}

static void assert_text(const char *buffer, int size, const char *expected)
{
	cr_assert_eq(size, (int)strlen(expected), "%.*s", size > 0 ? size : 0, buffer);
	cr_assert_eq(memcmp(buffer, expected, strlen(expected)), 0, "%.*s", size, buffer);
}

Test(wg_uapi, encodes_key_and_port)
{
	struct rail_key key = {.bytes = {1}};
	char buffer[RAIL_UAPI_REQUEST_MINIMUM];

	assert_text(buffer, rail_uapi_encode_configure(&key, 0, buffer, sizeof(buffer)),
		    "set=1\nprivate_key=" KEY_ONE "\n\n");
	for (size_t i = 0; i < RAIL_KEY_SIZE; i++)
		key.bytes[i] = (uint8_t)(0xff - i);
	assert_text(buffer, rail_uapi_encode_configure(&key, 65535, buffer, sizeof(buffer)),
		    "set=1\nprivate_key=" KEY_LAST "\nlisten_port=65535\n\n");
	cr_assert_eq(rail_uapi_encode_configure(&key, 1, buffer, 60), -EMSGSIZE);
}

Test(wg_uapi, encodes_changes)
{
	struct rail_allowed_ip allowed[] = {
		{.family = AF_INET6, .length = 128, .address.v6.s6_addr = {0xfd, [15] = 1}},
		{.family = AF_INET, .length = 8, .address.v4.s_addr = htonl(0x0a000000)}};
	struct rail_peer_change list[] = {
		{.kind = RAIL_PEER_REMOVE, .public_key = {{1}}, .set_keepalive = true},
		{.kind = RAIL_PEER_UPDATE,
		 .public_key = {{1}},
		 .replace_allowed_ips = true,
		 .allowed_ips = allowed,
		 .allowed_ip_count = 1},
		{.kind = RAIL_PEER_UPDATE, .public_key = {{1}}, .set_keepalive = true},
		{.kind = RAIL_PEER_ADD,
		 .public_key = {{1}},
		 .set_endpoint = true,
		 .endpoint = {.family = AF_INET6, .port = 9, .address.v6.s6_addr = {[15] = 1}},
		 .set_keepalive = true,
		 .keepalive_s = 25,
		 .allowed_ips = allowed,
		 .allowed_ip_count = 2},
		{.kind = RAIL_PEER_ADD,
		 .public_key = {{1}},
		 .set_endpoint = true,
		 .endpoint = {.family = AF_INET,
			      .port = 65535,
			      .address.v4.s_addr = htonl(0x7f000001)}}};
	struct rail_changes changes = {.changes = list, .count = 5};
	struct rail_uapi_position position = {.change = 0};
	char buffer[4096];

	assert_text(buffer, rail_uapi_encode_changes(&changes, &position, buffer, sizeof(buffer)),
		    "set=1\n"
		    "public_key=" KEY_ONE "\nremove=true\n"
		    "public_key=" KEY_ONE "\nupdate_only=true\nreplace_allowed_ips=true\n"
		    "allowed_ip=fd00::1/128\n"
		    "public_key=" KEY_ONE "\nupdate_only=true\npersistent_keepalive_interval=0\n"
		    "public_key=" KEY_ONE "\nendpoint=[::1]:9\npersistent_keepalive_interval=25\n"
		    "allowed_ip=fd00::1/128\nallowed_ip=10.0.0.0/8\n"
		    "public_key=" KEY_ONE "\nendpoint=127.0.0.1:65535\n\n");
	cr_assert_eq(rail_uapi_encode_changes(&changes, &position, buffer, sizeof(buffer)), 0);

	position = (struct rail_uapi_position){.change = 0};
	cr_assert_eq(rail_uapi_encode_changes(&changes, &position, buffer, 511), -EMSGSIZE);
	list[0] = (struct rail_peer_change){.kind = RAIL_PEER_ADD, .set_endpoint = true};
	cr_assert_eq(rail_uapi_encode_changes(&changes, &position, buffer, sizeof(buffer)),
		     -EINVAL);
}

/* At every size of the requests, what is sent in all is the same, and a peer's set is replaced
 * before its first AllowedIP only. */
Test(wg_uapi, splits_changes_between_requests)
{
	enum { ALLOWED = 40 };
	struct rail_allowed_ip allowed[ALLOWED];
	struct rail_peer_change list[3];
	struct rail_changes changes = {.changes = list, .count = 3};

	for (uint8_t i = 0; i < ALLOWED; i++)
		allowed[i] = (struct rail_allowed_ip){
			.family = AF_INET6, .length = 128, .address.v6.s6_addr = {[15] = i}};
	for (size_t i = 0; i < 3; i++)
		list[i] = (struct rail_peer_change){.kind = RAIL_PEER_UPDATE,
						    .public_key = {{(uint8_t)(i + 1)}},
						    .replace_allowed_ips = true,
						    .allowed_ips = allowed,
						    .allowed_ip_count = ALLOWED};

	for (size_t capacity = RAIL_UAPI_REQUEST_MINIMUM; capacity < 1200; capacity++) {
		struct rail_uapi_position position = {.change = 0};
		char *buffer = malloc(capacity);
		unsigned int allowed_lines = 0;
		bool began[3] = {false};
		int size;

		cr_assert_not_null(buffer);
		while ((size = rail_uapi_encode_changes(&changes, &position, buffer, capacity)) >
		       0) {
			char *text = strndup(buffer, (size_t)size);
			char *rest = text;
			unsigned int peer = 0;

			cr_assert_leq((size_t)size, capacity);
			cr_assert(rail_uapi_reply_complete(buffer, (size_t)size));
			for (char *line; (line = strsep(&rest, "\n")) != NULL;) {
				if (strncmp(line, "public_key=0", 12) == 0)
					peer = (unsigned int)(line[12] - '1');
				else if (strcmp(line, "replace_allowed_ips=true") == 0)
					cr_assert_not(began[peer]);
				else if (strncmp(line, "allowed_ip=", 11) == 0) {
					allowed_lines++;
					began[peer] = true;
				}
			}
			free(text);
		}
		cr_assert_eq(size, 0);
		cr_assert_eq(allowed_lines, 3 * ALLOWED, "capacity %zu", capacity);
		free(buffer);
	}
}
