#include <arpa/inet.h>
#include <criterion/criterion.h>

#include "pkg/wg/device.h"

Test(wg_device, peers_keep_their_order)
{
	enum { PEERS = 100 };
	struct rail_device device = {.listen_port = 7};
	struct rail_endpoint endpoint = {.family = AF_INET, .port = 51820};
	struct in6_addr address = {.s6_addr = {0xfd}};

	for (uint8_t i = 0; i < PEERS; i++) {
		struct rail_key key = {.bytes = {i}};

		address.s6_addr[15] = i;
		cr_assert_eq(rail_device_add_peer(&device, &key, &endpoint, &address), 0);
	}
	cr_assert_eq(device.peer_count, PEERS);
	for (uint8_t i = 0; i < PEERS; i++) {
		const struct rail_peer *peer = &device.peers[i];

		cr_assert_eq(peer->public_key.bytes[0], i);
		cr_assert_eq(peer->endpoint.port, 51820);
		cr_assert_eq(peer->keepalive_s, 0);
		cr_assert_eq(peer->allowed_ip_count, 1);
		cr_assert_eq(peer->allowed_ips[0].family, AF_INET6);
		cr_assert_eq(peer->allowed_ips[0].length, 128);
		cr_assert_eq(peer->allowed_ips[0].address.v6.s6_addr[15], i);
	}

	rail_device_done(&device);
	cr_assert_null(device.peers);
	cr_assert_eq(device.peer_count, 0);
	cr_assert_eq(device.listen_port, 0);
	rail_device_done(&device);
}

Test(wg_device, endpoints_as_text)
{
	struct rail_endpoint endpoint = {.family = AF_INET, .port = 51820};
	char text[RAIL_ENDPOINT_TEXT_SIZE];

	endpoint.address.v4.s_addr = htonl(0xc0000201);
	rail_endpoint_format(&endpoint, text);
	cr_assert_str_eq(text, "192.0.2.1:51820");
	endpoint = (struct rail_endpoint){.family = AF_INET6, .port = 7};
	cr_assert_eq(inet_pton(AF_INET6, "2001:db8::1", &endpoint.address.v6), 1);
	rail_endpoint_format(&endpoint, text);
	cr_assert_str_eq(text, "[2001:db8::1]:7");
	endpoint.family = 0;
	rail_endpoint_format(&endpoint, text);
	cr_assert_str_eq(text, "");
}
