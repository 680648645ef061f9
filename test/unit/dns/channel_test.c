#include "pkg/dns/channel.h"

#include <arpa/inet.h>
#include <criterion/criterion.h>
#include <errno.h>
#include <stdio.h>
#include <string.h>

static struct rail_channel_message make(enum rail_channel_kind kind)
{
	struct rail_channel_message message = {.kind = kind};

	switch (kind) {
	case RAIL_CHANNEL_POD_ADD:
		message.pod = UINT64_MAX;
		message.ttl_s = 86400;
		message.prefix = (struct rail_prefix){{0xfd, 1, 2, 3, 4, 5}};
		message.upstream_count = 2;
		message.upstreams[0] = (struct rail_endpoint){
			.family = AF_INET, .port = 53, .address.v4.s_addr = htonl(0x0a000001)};
		message.upstreams[1] = (struct rail_endpoint){
			.family = AF_INET6, .port = 5353, .address.v6 = IN6ADDR_LOOPBACK_INIT};
		break;
	case RAIL_CHANNEL_POD_REMOVE:
		message.pod = 7;
		break;
	case RAIL_CHANNEL_REPLICA_ADD:
	case RAIL_CHANNEL_REPLICA_REMOVE:
		message.address.s6_addr[0] = 0xfd;
		message.address.s6_addr[15] = 9;
		message.prefix = (struct rail_prefix){{0xfd}};
		if (kind == RAIL_CHANNEL_REPLICA_REMOVE)
			break;
		(void)snprintf(message.service, sizeof(message.service), "api");
		/* The longest label. */
		memset(message.replica, 'r', RAIL_LABEL_SIZE - 1);
		break;
	case RAIL_CHANNEL_POD_NAMES:
		message.pod = 5;
		/* The longest of all: it must fit. */
		memset(message.environment, 'e', RAIL_ENVIRONMENT_NAME_SIZE - 1);
		memset(message.container, 'c', RAIL_CONTAINER_ID_SIZE - 1);
		memset(message.service, 's', RAIL_LABEL_SIZE - 1);
		memset(message.replica, 'r', RAIL_LABEL_SIZE - 1);
		break;
	case RAIL_CHANNEL_SERVICE_ADD:
	case RAIL_CHANNEL_SERVICE_REMOVE:
		(void)snprintf(message.service, sizeof(message.service), "db");
		break;
	case RAIL_CHANNEL_ENVIRONMENT_REMOVE:
		message.prefix = (struct rail_prefix){{0xfd, 9}};
		break;
	case RAIL_CHANNEL_UPSTREAMS:
		message.upstream_count = RAIL_UPSTREAMS_MAXIMUM;
		for (int i = 0; i < RAIL_UPSTREAMS_MAXIMUM; i++)
			message.upstreams[i] =
				(struct rail_endpoint){.family = AF_INET6,
						       .port = (uint16_t)(i + 1),
						       .address.v6 = IN6ADDR_LOOPBACK_INIT};
		break;
	case RAIL_CHANNEL_POD_CHECK:
		message.pod = 3;
		message.sequence = 4;
		break;
	case RAIL_CHANNEL_BARRIER:
	case RAIL_CHANNEL_DRAIN:
	case RAIL_CHANNEL_ACK:
	case RAIL_CHANNEL_NAK:
		message.sequence = 1;
		break;
	case RAIL_CHANNEL_KIND_END:
		break;
	}
	return message;
}

static size_t encode(const struct rail_channel_message *message,
		     uint8_t bytes[static RAIL_CHANNEL_MESSAGE_SIZE])
{
	int size = rail_channel_encode(message, bytes, RAIL_CHANNEL_MESSAGE_SIZE);

	cr_assert_gt(size, 0, "kind %d", (int)message->kind);
	return (size_t)size;
}

static void assert_equal(const struct rail_channel_message *one,
			 const struct rail_channel_message *other)
{
	cr_assert_eq(one->kind, other->kind);
	cr_assert_eq(one->pod, other->pod);
	cr_assert_eq(one->sequence, other->sequence);
	cr_assert(rail_prefix_equal(&one->prefix, &other->prefix));
	cr_assert_str_eq(one->environment, other->environment);
	cr_assert_str_eq(one->container, other->container);
	cr_assert_str_eq(one->service, other->service);
	cr_assert_str_eq(one->replica, other->replica);
	cr_assert_arr_eq(&one->address, &other->address, sizeof(one->address));
	cr_assert_eq(one->ttl_s, other->ttl_s);
	cr_assert_eq(one->upstream_count, other->upstream_count);
	for (int i = 0; i < one->upstream_count; i++) {
		const struct rail_endpoint *left = &one->upstreams[i];
		const struct rail_endpoint *right = &other->upstreams[i];

		cr_assert_eq(left->family, right->family);
		cr_assert_eq(left->port, right->port);
		cr_assert_arr_eq(&left->address, &right->address,
				 left->family == AF_INET ? sizeof(left->address.v4)
							 : sizeof(left->address.v6));
	}
}

Test(dns_channel, every_kind_comes_back_as_it_was_sent)
{
	for (unsigned int kind = 1; kind < RAIL_CHANNEL_KIND_END; kind++) {
		const struct rail_channel_message sent = make(kind);
		struct rail_channel_message received;
		uint8_t bytes[RAIL_CHANNEL_MESSAGE_SIZE];
		size_t size = encode(&sent, bytes);

		cr_assert_eq(rail_channel_decode(bytes, size, &received), 0, "kind %u", kind);
		assert_equal(&sent, &received);
	}
}

Test(dns_channel, only_a_new_pod_brings_descriptors)
{
	for (unsigned int kind = 1; kind < RAIL_CHANNEL_KIND_END; kind++)
		cr_assert_eq(rail_channel_descriptors(kind), kind == RAIL_CHANNEL_POD_ADD ? 2 : 0);
}

Test(dns_channel, a_message_that_is_cut_or_longer_is_refused)
{
	for (unsigned int kind = 1; kind < RAIL_CHANNEL_KIND_END; kind++) {
		const struct rail_channel_message sent = make(kind);
		struct rail_channel_message received = {.pod = 1234};
		uint8_t bytes[RAIL_CHANNEL_MESSAGE_SIZE + 1] = {0};
		size_t size = encode(&sent, bytes);

		for (size_t cut = 0; cut < size; cut++)
			cr_assert_eq(rail_channel_decode(bytes, cut, &received), -EBADMSG,
				     "kind %u, %zu of %zu bytes", kind, cut, size);
		cr_assert_eq(rail_channel_decode(bytes, size + 1, &received), -EBADMSG);
		cr_assert_eq(received.pod, 1234, "nothing is written on failure");
	}
}

Test(dns_channel, another_version_and_unknown_kinds_are_refused)
{
	const struct rail_channel_message sent = make(RAIL_CHANNEL_BARRIER);
	struct rail_channel_message received;
	uint8_t bytes[RAIL_CHANNEL_MESSAGE_SIZE];
	size_t size = encode(&sent, bytes);

	bytes[0]++;
	cr_assert_eq(rail_channel_decode(bytes, size, &received), -EPROTO);
	bytes[0]--;
	bytes[1] = 0;
	cr_assert_eq(rail_channel_decode(bytes, size, &received), -EBADMSG);
	bytes[1] = RAIL_CHANNEL_KIND_END;
	cr_assert_eq(rail_channel_decode(bytes, size, &received), -EBADMSG);
	bytes[1] = 0xff;
	cr_assert_eq(rail_channel_decode(bytes, size, &received), -EBADMSG);
}

static void assert_not_sent(const struct rail_channel_message *message)
{
	uint8_t bytes[RAIL_CHANNEL_MESSAGE_SIZE];

	cr_assert_eq(rail_channel_encode(message, bytes, sizeof(bytes)), -EINVAL);
}

Test(dns_channel, invalid_members_are_not_sent)
{
	struct rail_channel_message message = make(RAIL_CHANNEL_POD_ADD);

	message.pod = 0;
	assert_not_sent(&message);
	message = make(RAIL_CHANNEL_POD_ADD);
	message.upstream_count = RAIL_UPSTREAMS_MAXIMUM + 1;
	assert_not_sent(&message);
	message = make(RAIL_CHANNEL_POD_ADD);
	message.upstreams[1].port = 0;
	assert_not_sent(&message);
	message = make(RAIL_CHANNEL_POD_ADD);
	message.upstreams[0].family = AF_UNIX;
	assert_not_sent(&message);
	message = make(RAIL_CHANNEL_BARRIER);
	message.sequence = 0;
	assert_not_sent(&message);
	message = make(RAIL_CHANNEL_SERVICE_ADD);
	message.service[0] = '\0';
	assert_not_sent(&message);
	message = make(RAIL_CHANNEL_REPLICA_ADD);
	memset(message.replica, 'r', sizeof(message.replica));
	assert_not_sent(&message);
	message = make(RAIL_CHANNEL_REPLICA_ADD);
	message.address.s6_addr[1] = 1;
	assert_not_sent(&message);
	message = make(RAIL_CHANNEL_POD_NAMES);
	message.environment[0] = '\0';
	assert_not_sent(&message);
	message = make(RAIL_CHANNEL_POD_NAMES);
	memset(message.container, 'c', sizeof(message.container));
	assert_not_sent(&message);
	message = make(RAIL_CHANNEL_KIND_END);
	assert_not_sent(&message);
}

Test(dns_channel, invalid_members_are_not_taken)
{
	const struct rail_channel_message replica = make(RAIL_CHANNEL_REPLICA_REMOVE);
	const struct rail_channel_message upstreams = make(RAIL_CHANNEL_UPSTREAMS);
	struct rail_channel_message received;
	uint8_t bytes[RAIL_CHANNEL_MESSAGE_SIZE];
	size_t size = encode(&replica, bytes);

	/* Version, kind and prefix stand before the address, which leaves its environment here. */
	bytes[2 + 6]++;
	cr_assert_eq(rail_channel_decode(bytes, size, &received), -EBADMSG);

	size = encode(&upstreams, bytes);
	bytes[2] = RAIL_UPSTREAMS_MAXIMUM + 1;
	cr_assert_eq(rail_channel_decode(bytes, size, &received), -EBADMSG);
	size = encode(&upstreams, bytes);
	bytes[3] = 5; /* neither IPv4 nor IPv6 */
	cr_assert_eq(rail_channel_decode(bytes, size, &received), -EBADMSG);
}

Test(dns_channel, a_message_that_does_not_fit_is_an_error)
{
	const struct rail_channel_message message = make(RAIL_CHANNEL_REPLICA_ADD);
	uint8_t bytes[RAIL_CHANNEL_MESSAGE_SIZE];
	size_t size = encode(&message, bytes);

	for (size_t capacity = 0; capacity < size; capacity++)
		cr_assert_eq(rail_channel_encode(&message, bytes, capacity), -EMSGSIZE);
}
