#include <arpa/inet.h>
#include <criterion/criterion.h>
#include <errno.h>
#include <linux/genetlink.h>
#include <linux/wireguard.h>
#include <stdlib.h>
#include <string.h>

#include "pkg/net/request.h"
#include "pkg/wg/kernel_message.h"
#include "pkg/wg/transport.h"

/* The kernel's WireGuard messages, without a kernel: written, and read as it would write them. */

enum { FAMILY = 35, INDEX = 7 };

static struct rail_key key_of(unsigned int number)
{
	struct rail_key key = {.bytes = {0xaa}};

	memcpy(key.bytes + 1, &number, sizeof(number));
	return key;
}

static struct rail_allowed_ip v6_of(unsigned int number)
{
	struct rail_allowed_ip allowed_ip = {.family = AF_INET6, .length = 128};

	allowed_ip.address.v6.s6_addr[0] = 0xfd;
	memcpy(&allowed_ip.address.v6.s6_addr[12], &number, sizeof(number));
	return allowed_ip;
}

/* The attribute of a type behind the message's headers, or inside a nest; it must be there. */
static const struct nlattr *attribute_of(const struct rail_request *request, uint16_t type)
{
	const struct nlattr *attribute;

	RAIL_FOR_EACH_ATTRIBUTE(attribute, &request->message.header, GENL_HDRLEN)
	{
		if (mnl_attr_get_type(attribute) == type)
			return attribute;
	}
	return NULL;
}

static const struct nlattr *inner_of(const struct nlattr *nest, uint16_t type)
{
	const struct nlattr *attribute;

	RAIL_FOR_EACH_NESTED(attribute, nest)
	{
		if (mnl_attr_get_type(attribute) == type)
			return attribute;
	}
	return NULL;
}

static size_t count_in(const struct nlattr *nest)
{
	const struct nlattr *attribute;
	size_t count = 0;

	RAIL_FOR_EACH_NESTED(attribute, nest)
	{
		count++;
	}
	return count;
}

static uint32_t flags_of(const struct nlattr *peer)
{
	const struct nlattr *flags = inner_of(peer, WGPEER_A_FLAGS);

	return flags == NULL ? 0 : mnl_attr_get_u32(flags);
}

static void assert_headers(const struct rail_request *request, uint8_t command)
{
	const struct genlmsghdr *header = mnl_nlmsg_get_payload(&request->message.header);

	cr_assert_not(request->failed);
	cr_assert_eq(request->message.header.nlmsg_type, FAMILY);
	cr_assert_eq(header->cmd, command);
	cr_assert_eq(header->version, 1);
	cr_assert_eq(mnl_attr_get_u32(attribute_of(request, WGDEVICE_A_IFINDEX)), INDEX);
}

Test(wg_kernel, get_is_a_dump_of_the_device_of_a_name)
{
	struct rail_request request;

	rail_kernel_encode_get(FAMILY, "eth0", &request);
	const struct genlmsghdr *header = mnl_nlmsg_get_payload(&request.message.header);
	cr_assert_not(request.failed);
	cr_assert_eq(request.message.header.nlmsg_type, FAMILY);
	cr_assert_eq(header->cmd, WG_CMD_GET_DEVICE);
	cr_assert_str_eq(mnl_attr_get_str(attribute_of(&request, WGDEVICE_A_IFNAME)), "eth0");
	cr_assert_null(attribute_of(&request, WGDEVICE_A_IFINDEX));
	cr_assert_eq(request.message.header.nlmsg_flags & NLM_F_DUMP, NLM_F_DUMP);
}

Test(wg_kernel, clear_replaces_the_peers_with_none)
{
	struct rail_request request;

	rail_kernel_encode_clear(FAMILY, INDEX, &request);
	assert_headers(&request, WG_CMD_SET_DEVICE);
	cr_assert_eq(mnl_attr_get_u32(attribute_of(&request, WGDEVICE_A_FLAGS)),
		     WGDEVICE_F_REPLACE_PEERS);
	cr_assert_null(attribute_of(&request, WGDEVICE_A_PEERS));
}

Test(wg_kernel, configure_sets_only_what_is_given)
{
	struct rail_key key = key_of(1);
	struct rail_request request;

	rail_kernel_encode_configure(FAMILY, INDEX, &key, 0, &request);
	assert_headers(&request, WG_CMD_SET_DEVICE);
	cr_assert_eq(memcmp(mnl_attr_get_payload(attribute_of(&request, WGDEVICE_A_PRIVATE_KEY)),
			    key.bytes, sizeof(key.bytes)),
		     0);
	cr_assert_null(attribute_of(&request, WGDEVICE_A_LISTEN_PORT));

	rail_kernel_encode_configure(FAMILY, INDEX, NULL, 51820, &request);
	assert_headers(&request, WG_CMD_SET_DEVICE);
	cr_assert_null(attribute_of(&request, WGDEVICE_A_PRIVATE_KEY));
	cr_assert_eq(mnl_attr_get_u16(attribute_of(&request, WGDEVICE_A_LISTEN_PORT)), 51820);
}

Test(wg_kernel, each_kind_of_change_has_its_flags)
{
	struct rail_allowed_ip allowed_ip = v6_of(1);
	struct rail_peer_change list[] = {
		{.kind = RAIL_PEER_REMOVE,
		 .public_key = key_of(1),
		 .allowed_ips = &allowed_ip,
		 .allowed_ip_count = 1},
		{.kind = RAIL_PEER_ADD,
		 .public_key = key_of(2),
		 .set_endpoint = true,
		 .endpoint = {.family = AF_INET,
			      .port = 4242,
			      .address.v4.s_addr = htonl(0x7f000001)},
		 .set_keepalive = true,
		 .keepalive_s = 25,
		 .replace_allowed_ips = true,
		 .allowed_ips = &allowed_ip,
		 .allowed_ip_count = 1},
		{.kind = RAIL_PEER_UPDATE,
		 .public_key = key_of(3),
		 .set_endpoint = true,
		 .endpoint = {.family = AF_INET6, .port = 1, .address.v6 = IN6ADDR_LOOPBACK_INIT}},
	};
	const struct rail_changes changes = {.changes = list, .count = 3};
	struct rail_kernel_position position = {.change = 0};
	struct rail_request request;
	const struct nlattr *peer;
	size_t i = 0;

	cr_assert_eq(rail_kernel_encode_changes(FAMILY, INDEX, &changes, &position, &request), 1);
	assert_headers(&request, WG_CMD_SET_DEVICE);
	cr_assert_null(attribute_of(&request, WGDEVICE_A_FLAGS), "all peers would be replaced");

	const struct nlattr *peers = attribute_of(&request, WGDEVICE_A_PEERS);
	cr_assert_neq(peers->nla_type & NLA_F_NESTED, 0);
	RAIL_FOR_EACH_NESTED(peer, peers)
	{
		static const uint32_t expected[] = {WGPEER_F_REMOVE_ME, WGPEER_F_REPLACE_ALLOWEDIPS,
						    WGPEER_F_UPDATE_ONLY};
		const struct nlattr *endpoint = inner_of(peer, WGPEER_A_ENDPOINT);
		const struct nlattr *allowed_ips = inner_of(peer, WGPEER_A_ALLOWEDIPS);

		cr_assert_eq(flags_of(peer), expected[i], "change %zu", i);
		cr_assert_eq(memcmp(mnl_attr_get_payload(inner_of(peer, WGPEER_A_PUBLIC_KEY)),
				    list[i].public_key.bytes, RAIL_KEY_SIZE),
			     0);
		cr_assert_eq(endpoint != NULL, list[i].set_endpoint);
		cr_assert_eq(inner_of(peer, WGPEER_A_PERSISTENT_KEEPALIVE_INTERVAL) != NULL,
			     i == 1);
		cr_assert_eq(allowed_ips != NULL, i == 1);
		if (i == 1) {
			const struct sockaddr_in *v4 = mnl_attr_get_payload(endpoint);

			cr_assert_eq(mnl_attr_get_payload_len(endpoint), sizeof(*v4));
			cr_assert_eq(v4->sin_port, htons(4242));
			cr_assert_eq(count_in(allowed_ips), 1);
		} else if (i == 2) {
			cr_assert_eq(mnl_attr_get_payload_len(endpoint),
				     sizeof(struct sockaddr_in6));
		}
		i++;
	}
	cr_assert_eq(i, 3);
	cr_assert_eq(rail_kernel_encode_changes(FAMILY, INDEX, &changes, &position, &request), 0);
}

Test(wg_kernel, a_peer_of_many_allowed_ips_goes_on_without_replacing)
{
	enum { COUNT = 1000 };
	struct rail_allowed_ip *allowed_ips = calloc(COUNT, sizeof(*allowed_ips));
	struct rail_peer_change list[] = {
		{.kind = RAIL_PEER_ADD, .public_key = key_of(1)},
		{.kind = RAIL_PEER_UPDATE,
		 .public_key = key_of(2),
		 .replace_allowed_ips = true,
		 .allowed_ips = allowed_ips,
		 .allowed_ip_count = COUNT},
		{.kind = RAIL_PEER_REMOVE, .public_key = key_of(3)},
	};
	const struct rail_changes changes = {.changes = list, .count = 3};
	struct rail_kernel_position position = {.change = 0};
	struct rail_kernel_dump dump = {.has_head = true};
	struct rail_request request;
	size_t replaced = 0;
	size_t requests = 0;

	cr_assert_not_null(allowed_ips);
	for (unsigned int i = 0; i < COUNT; i++)
		allowed_ips[i] = v6_of(i);
	while (rail_kernel_encode_changes(FAMILY, INDEX, &changes, &position, &request) == 1) {
		const struct nlattr *peer;

		requests++;
		assert_headers(&request, WG_CMD_SET_DEVICE);
		RAIL_FOR_EACH_NESTED(peer, attribute_of(&request, WGDEVICE_A_PEERS))
		{
			replaced += (flags_of(peer) & WGPEER_F_REPLACE_ALLOWEDIPS) != 0;
		}
		cr_assert_eq(rail_kernel_decode(&request.message.header, &dump, NULL), 0);
	}
	cr_assert_gt(requests, 2);
	cr_assert_eq(replaced, 1);
	cr_assert_eq(position.change, 3);
	cr_assert_eq(dump.device.peer_count, 3, "%zu peers", dump.device.peer_count);
	cr_assert_eq(dump.device.peers[1].allowed_ip_count, COUNT);
	for (unsigned int i = 0; i < COUNT; i++)
		cr_assert_eq(memcmp(&dump.device.peers[1].allowed_ips[i].address,
				    &allowed_ips[i].address, sizeof(struct in6_addr)),
			     0);
	rail_device_done(&dump.device);
	free(allowed_ips);
}

/* Whatever fills a request before it, a peer's replaced set never begins empty. */
Test(wg_kernel, a_replaced_set_is_never_empty_for_a_moment)
{
	for (size_t before = 60; before < 120; before++) {
		struct rail_peer_change *list = calloc(before + 1, sizeof(*list));
		struct rail_allowed_ip allowed_ip = v6_of(9);
		const struct rail_changes changes = {.changes = list, .count = before + 1};
		struct rail_kernel_position position = {.change = 0};
		struct rail_request request;

		cr_assert_not_null(list);
		for (unsigned int i = 0; i < before; i++)
			list[i] = (struct rail_peer_change){.kind = RAIL_PEER_REMOVE,
							    .public_key = key_of(i)};
		list[before] = (struct rail_peer_change){.kind = RAIL_PEER_UPDATE,
							 .public_key = key_of(1000),
							 .replace_allowed_ips = true,
							 .allowed_ips = &allowed_ip,
							 .allowed_ip_count = 1};
		while (rail_kernel_encode_changes(FAMILY, INDEX, &changes, &position, &request) ==
		       1) {
			const struct nlattr *peer;

			RAIL_FOR_EACH_NESTED(peer, attribute_of(&request, WGDEVICE_A_PEERS))
			{
				if ((flags_of(peer) & WGPEER_F_REPLACE_ALLOWEDIPS) != 0)
					cr_assert_eq(count_in(inner_of(peer, WGPEER_A_ALLOWEDIPS)),
						     1, "behind %zu removals", before);
			}
		}
		cr_assert_eq(position.change, before + 1);
		free(list);
	}
}

Test(wg_kernel, unknown_families_are_refused)
{
	struct rail_allowed_ip wrong[] = {{.family = AF_UNSPEC, .length = 1},
					  {.family = AF_INET, .length = 33},
					  {.family = AF_INET6, .length = 129}};
	struct rail_peer_change change = {.kind = RAIL_PEER_ADD, .allowed_ip_count = 1};
	const struct rail_changes changes = {.changes = &change, .count = 1};
	struct rail_request request;

	for (size_t i = 0; i < sizeof(wrong) / sizeof(wrong[0]); i++) {
		struct rail_kernel_position position = {.change = 0};

		change.allowed_ips = &wrong[i];
		cr_assert_eq(
			rail_kernel_encode_changes(FAMILY, INDEX, &changes, &position, &request),
			-EINVAL);
	}

	struct rail_kernel_position position = {.change = 0};
	change = (struct rail_peer_change){.kind = RAIL_PEER_ADD, .set_endpoint = true};
	cr_assert_eq(rail_kernel_encode_changes(FAMILY, INDEX, &changes, &position, &request),
		     -EINVAL);
}

/* ---- messages as the kernel writes them ---- */

static void begin_message(struct rail_request *message)
{
	const struct genlmsghdr header = {.cmd = WG_CMD_GET_DEVICE, .version = 1};

	rail_request_init(message, FAMILY, NLM_F_MULTI, &header, sizeof(header));
}

static void put_head(struct rail_request *message, const struct rail_key *public_key)
{
	if (public_key != NULL) {
		rail_request_put(message, WGDEVICE_A_PRIVATE_KEY, key_of(99).bytes, RAIL_KEY_SIZE);
		rail_request_put(message, WGDEVICE_A_PUBLIC_KEY, public_key->bytes, RAIL_KEY_SIZE);
	}
	rail_request_put_u16(message, WGDEVICE_A_LISTEN_PORT, 4711);
	rail_request_put_u32(message, WGDEVICE_A_FWMARK, 0);
	rail_request_put_u32(message, WGDEVICE_A_IFINDEX, INDEX);
	rail_request_put_string(message, WGDEVICE_A_IFNAME, "eth0");
}

static void put_allowed_ip(struct rail_request *message, const struct rail_allowed_ip *allowed_ip)
{
	struct nlattr *nest = rail_request_nest(message, 0);

	rail_request_put_u8(message, WGALLOWEDIP_A_CIDR_MASK, allowed_ip->length);
	rail_request_put_u16(message, WGALLOWEDIP_A_FAMILY, allowed_ip->family);
	rail_request_put(message, WGALLOWEDIP_A_IPADDR, &allowed_ip->address,
			 allowed_ip->family == AF_INET ? 4 : 16);
	rail_request_nest_end(message, nest);
}

static void put_peer(struct rail_request *message, unsigned int number, bool first)
{
	struct nlattr *peer = rail_request_nest(message, 0);
	const struct rail_key key = key_of(number);

	rail_request_put(message, WGPEER_A_PUBLIC_KEY, key.bytes, sizeof(key.bytes));
	if (first) {
		const struct sockaddr_in6 endpoint = {.sin6_family = AF_INET6,
						      .sin6_port = htons(51820),
						      .sin6_addr = IN6ADDR_LOOPBACK_INIT};
		const int64_t handshake[2] = {1700000000, 5};
		const uint64_t received = 1ULL << 40;

		rail_request_put(message, WGPEER_A_PRESHARED_KEY, key_of(0).bytes, RAIL_KEY_SIZE);
		rail_request_put(message, WGPEER_A_LAST_HANDSHAKE_TIME, handshake,
				 sizeof(handshake));
		rail_request_put_u16(message, WGPEER_A_PERSISTENT_KEEPALIVE_INTERVAL, 7);
		rail_request_put(message, WGPEER_A_RX_BYTES, &received, sizeof(received));
		rail_request_put_u32(message, WGPEER_A_PROTOCOL_VERSION, 1);
		rail_request_put(message, WGPEER_A_ENDPOINT, &endpoint, sizeof(endpoint));
	}

	struct nlattr *list = rail_request_nest(message, WGPEER_A_ALLOWEDIPS);
	for (unsigned int i = 0; i < 3; i++) {
		struct rail_allowed_ip allowed_ip = v6_of(number * 100 + i + (first ? 0 : 50));

		put_allowed_ip(message, &allowed_ip);
	}
	rail_request_nest_end(message, list);
	rail_request_nest_end(message, peer);
}

Test(wg_kernel, a_dump_is_put_together_from_its_messages)
{
	struct rail_kernel_dump dump = {.has_head = false};
	const struct rail_key own = key_of(77);
	struct rail_request message;

	begin_message(&message);
	put_head(&message, &own);
	struct nlattr *peers = rail_request_nest(&message, WGDEVICE_A_PEERS);
	put_peer(&message, 1, true);
	put_peer(&message, 2, true);
	rail_request_nest_end(&message, peers);
	cr_assert_eq(rail_kernel_decode(&message.message.header, &dump, NULL), 0);

	/* The second peer goes on. */
	begin_message(&message);
	rail_request_put_string(&message, WGDEVICE_A_IFNAME, "eth0");
	peers = rail_request_nest(&message, WGDEVICE_A_PEERS);
	put_peer(&message, 2, false);
	put_peer(&message, 3, true);
	rail_request_nest_end(&message, peers);
	cr_assert_eq(rail_kernel_decode(&message.message.header, &dump, NULL), 0);

	cr_assert_eq(memcmp(&dump.device.public_key, &own, sizeof(own)), 0);
	cr_assert_eq(dump.device.listen_port, 4711);
	cr_assert_eq(dump.index, INDEX);
	cr_assert(dump.has_peers);
	cr_assert_eq(dump.device.peer_count, 3);
	cr_assert_eq(dump.allowed_ip_count, 12);
	for (unsigned int i = 0; i < 3; i++) {
		const struct rail_peer *peer = &dump.device.peers[i];
		const struct rail_key key = key_of(i + 1);
		struct rail_allowed_ip last = v6_of((i + 1) * 100 + 2 + (i == 1 ? 50 : 0));

		cr_assert_eq(memcmp(&peer->public_key, &key, sizeof(key)), 0);
		cr_assert_eq(peer->endpoint.port, 51820);
		cr_assert_eq(peer->keepalive_s, 7);
		cr_assert_eq(peer->last_handshake_s, 1700000000);
		cr_assert_eq(peer->received_bytes, 1ULL << 40);
		cr_assert_eq(peer->allowed_ip_count, i == 1 ? 6 : 3);
		cr_assert_eq(memcmp(&peer->allowed_ips[peer->allowed_ip_count - 1].address,
				    &last.address, sizeof(struct in6_addr)),
			     0);
	}
	rail_device_done(&dump.device);
}

Test(wg_kernel, the_head_alone_skips_the_peers)
{
	struct rail_kernel_dump dump = {.head_only = true};
	struct rail_request message;

	begin_message(&message);
	put_head(&message, NULL);
	struct nlattr *peers = rail_request_nest(&message, WGDEVICE_A_PEERS);
	put_peer(&message, 1, true);
	rail_request_nest_end(&message, peers);
	cr_assert_eq(rail_kernel_decode(&message.message.header, &dump, NULL), 0);
	cr_assert(dump.has_head);
	cr_assert_eq(dump.device.peer_count, 0);
	cr_assert_null(dump.device.peers);
}

/* Cut anywhere, with the lengths around the cut adjusted or not: refused, never read beyond. */
Test(wg_kernel, a_message_that_is_cut_is_refused)
{
	struct rail_request message;
	const struct rail_key own = key_of(77);

	begin_message(&message);
	put_head(&message, &own);
	struct nlattr *peers = rail_request_nest(&message, WGDEVICE_A_PEERS);
	put_peer(&message, 1, true);
	put_peer(&message, 2, true);
	rail_request_nest_end(&message, peers);

	const size_t size = message.message.header.nlmsg_len;
	const size_t peers_at = (size_t)((const char *)peers - message.message.bytes);
	for (size_t cut = NLMSG_HDRLEN; cut < size; cut++) {
		for (int adjusted = 0; adjusted < 2; adjusted++) {
			struct rail_kernel_dump dump = {.has_head = false};
			struct rail_error error = RAIL_ERROR_NONE;
			struct nlmsghdr *copy = malloc(cut);

			cr_assert_not_null(copy);
			memcpy(copy, message.message.bytes, cut);
			copy->nlmsg_len = (uint32_t)cut;
			if (adjusted == 1 && cut >= peers_at + sizeof(*peers)) {
				struct nlattr *list = (void *)((char *)copy + peers_at);

				list->nla_len = (uint16_t)(cut - peers_at);
			}

			int result = rail_kernel_decode(copy, &dump, &error);
			cr_assert_eq(result < 0, error.errnum != 0);
			/* Whole attributes of the device make a whole message. */
			if (result == 0)
				cr_assert(dump.device.peer_count <= 1 && dump.has_head,
					  "cut at %zu", cut);
			rail_device_done(&dump.device);
			free(copy);
		}
	}
}

Test(wg_kernel, hostile_values_are_refused)
{
	enum {
		NO_KEY,
		SHORT_KEY,
		BAD_ENDPOINT,
		LONG_PREFIX,
		NO_PREFIX,
		BAD_FAMILY,
		SHORT_TIME,
		LAST
	};

	for (int what = 0; what < LAST; what++) {
		struct rail_kernel_dump dump = {.has_head = false};
		struct rail_error error = RAIL_ERROR_NONE;
		struct rail_request message;
		struct rail_allowed_ip allowed_ip = v6_of(1);
		const struct rail_key key = key_of(1);
		const uint16_t family = 4711;

		begin_message(&message);
		put_head(&message, &key);
		struct nlattr *peers = rail_request_nest(&message, WGDEVICE_A_PEERS);
		struct nlattr *peer = rail_request_nest(&message, 0);
		if (what != NO_KEY)
			rail_request_put(&message, WGPEER_A_PUBLIC_KEY, key.bytes,
					 what == SHORT_KEY ? 31 : 32);
		if (what == BAD_ENDPOINT)
			rail_request_put(&message, WGPEER_A_ENDPOINT, &family, sizeof(family));
		if (what == SHORT_TIME)
			rail_request_put_u32(&message, WGPEER_A_LAST_HANDSHAKE_TIME, 1);
		struct nlattr *list = rail_request_nest(&message, WGPEER_A_ALLOWEDIPS);
		if (what == LONG_PREFIX)
			allowed_ip.length = 129;
		if (what == BAD_FAMILY)
			allowed_ip.family = family;
		if (what == NO_PREFIX) {
			struct nlattr *nest = rail_request_nest(&message, 0);

			rail_request_put_u16(&message, WGALLOWEDIP_A_FAMILY, AF_INET6);
			rail_request_nest_end(&message, nest);
		} else {
			put_allowed_ip(&message, &allowed_ip);
		}
		rail_request_nest_end(&message, list);
		rail_request_nest_end(&message, peer);
		rail_request_nest_end(&message, peers);

		cr_assert_eq(rail_kernel_decode(&message.message.header, &dump, &error), -EPROTO,
			     "case %d", what);
		cr_assert_eq(error.errnum, EPROTO);
		rail_device_done(&dump.device);
	}
}

Test(wg_kernel, a_message_without_the_device_is_refused)
{
	struct rail_kernel_dump dump = {.has_head = false};
	struct rail_error error = RAIL_ERROR_NONE;
	struct rail_request message;

	begin_message(&message);
	rail_request_put_string(&message, WGDEVICE_A_IFNAME, "eth0");
	cr_assert_eq(rail_kernel_decode(&message.message.header, &dump, &error), -EPROTO);
	cr_assert_not_null(strstr(error.message, "listen port"));
}

Test(wg_kernel, requests_are_checked_before_anything_is_made)
{
	struct rail_interface_request request = {
		.netns_fd = -1, .name = "eth0", .alias = "railway:test", .mtu = 1420};
	struct rail_interface interface;
	struct rail_error error = RAIL_ERROR_NONE;

	cr_assert_eq(rail_transport_kernel.create(&request, NULL, NULL, &interface, &error),
		     -EBADF);
	cr_assert_str_eq(interface.transport, "kernel");
	request.netns_fd = 0;
	request.name = "a-name-that-is-too-long";
	cr_assert_eq(rail_transport_check_request(&request, &error), -EINVAL);
	request.name = "eth0";
	request.alias = "";
	cr_assert_eq(rail_transport_check_request(&request, &error), -EINVAL);
	request.alias = "railway:test";
	request.mtu = 1279;
	cr_assert_eq(rail_transport_check_request(&request, &error), -EINVAL);
	cr_assert_not_null(strstr(error.message, "1279"));
	request.mtu = 1280;
	cr_assert_eq(rail_transport_check_request(&request, &error), 0);
}

/* The netns has no path any more: nothing of it is in the host's. */
Test(wg_kernel, destroying_without_a_netns_succeeds)
{
	const struct rail_interface interface = {
		.transport = "kernel", .name = "eth0", .alias = "railway:test"};
	struct rail_error error = RAIL_ERROR_NONE;

	cr_assert_eq(rail_transport_kernel.destroy(-1, &interface, &error), 0);
	cr_assert_eq(error.errnum, 0);
}
