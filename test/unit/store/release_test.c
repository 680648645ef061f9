#include <arpa/inet.h>
#include <criterion/criterion.h>
#include <stdio.h>
#include <string.h>

#include "pkg/store/records.h"

/*
 * Records as release 0.1.0 wrote them. A node is upgraded while its pods run: what the older
 * release's plugins stored is what the newer one's DEL has to find. A record that changes its form
 * gets another number, and keeps being read in this one.
 */

static const struct rail_attachment_key key = {
	.network = "railway", .container_id = "6fb0c1", .interface = "eth0"};

static struct in6_addr address_of(const char *text)
{
	struct in6_addr address;

	cr_assert_eq(inet_pton(AF_INET6, text, &address), 1);
	return address;
}

static struct rail_attachment attachment(void)
{
	struct rail_attachment attachment = {
		.state = RAIL_READY,
		.parts = 0x1f,
		.owner = {.pid = 4242, .start_time = 123456789},
		.identity = {.environment = "acme/production",
			     .service = "api",
			     .service_original = "API",
			     .replica = "api-1",
			     .replica_original = "api_1"},
		.prefix = {{0xfd, 0x26, 0xab, 0xb0, 0xb8, 0xc9}},
		.service = 37613,
		.address = address_of("fd26:abb0:b8c9:92ed:0:1:0:2"),
		.netns_path = "/run/netns/one",
		.netns = {.device = 4, .inode = 4026532288},
		.interface = {.transport = "userspace",
			      .name = "rail0",
			      .alias = "railway:6fb0c1",
			      .device_name = "rwg0011223344",
			      .listen_port = 51820,
			      .nsid = 7,
			      .process = {.pid = 4300, .start_time = 123456799}},
		.resolver = {.any_nameserver = true,
			     .port = 53,
			     .ttl_s = 5,
			     .upstream_count = 2,
			     .upstreams = {{.family = AF_INET6, .port = 53},
					   {.family = AF_INET, .port = 5353}}},
	};

	for (uint8_t i = 0; i < RAIL_KEY_SIZE; i++)
		attachment.interface.public_key.bytes[i] = i;
	attachment.resolver.upstreams[0].address.v6 = address_of("2001:db8::53");
	attachment.resolver.upstreams[1].address.v4.s_addr = htonl(0xc0000235);
	return attachment;
}

static struct rail_member member(void)
{
	struct rail_member member = {
		.local = true,
		.published = true,
		.named = true,
		.node = 1,
		.endpoint = {.family = AF_INET, .port = 51820},
		.replica = "api-1",
		.key = key,
	};

	for (uint8_t i = 0; i < RAIL_KEY_SIZE; i++)
		member.public_key.bytes[i] = (uint8_t)(0xff - i);
	member.endpoint.address.v4.s_addr = htonl(INADDR_LOOPBACK);
	return member;
}

/* What a writer wrote is what stands there in hexadecimal digits. */
static void assert_written(const struct rail_writer *writer, const char *expected)
{
	char text[2 * RAIL_RECORD_MAXIMUM + 1] = "";

	cr_assert_not(writer->failed);
	for (size_t i = 0; i < writer->position; i++)
		(void)snprintf(text + 2 * i, 3, "%02x", writer->bytes[i]);
	cr_assert_str_eq(text, expected);
}

static struct rail_reader reader_of(const char *digits, uint8_t bytes[static RAIL_RECORD_MAXIMUM])
{
	size_t size = strlen(digits) / 2;

	for (size_t i = 0; i < size; i++) {
		unsigned int byte;

		cr_assert_eq(sscanf(digits + 2 * i, "%2x", &byte), 1);
		bytes[i] = (uint8_t)byte;
	}
	return rail_reader_init(bytes, size);
}

#define ATTACHMENT                                                                                 \
	"01010000001f0000109200000000075bcd15000f61636d652f70726f64756374696f6e00"                 \
	"03617069000341504900056170692d3100056170695f31fd26abb0b8c992edfd26abb0b8"                 \
	"c992ed0000000100000002000e2f72756e2f6e65746e732f6f6e65000000000000000400"                 \
	"000000f00001c000000007000975736572737061636500057261696c3000010203040506"                 \
	"0708090a0b0c0d0e0f101112131415161718191a1b1c1d1e1fca6c000e7261696c776179"                 \
	"3a366662306331000d72776730303131323233333434000010cc00000000075bcd1f0035"                 \
	"000000058202003520010db80000000000000000000000530114e9c0000235"
#define MEMBER                                                                                     \
	"010700000001fffefdfcfbfaf9f8f7f6f5f4f3f2f1f0efeeedecebeae9e8e7e6e5e4e3e2"                 \
	"e1e001ca6c7f00000100056170692d3100077261696c7761790006366662306331000465"                 \
	"746830"
#define LEASE "0100077261696c7761790006366662306331000465746830"
#define ENVIRONMENT "01fd26abb0b8c901"
#define SERVICE "0192ed0003415049"
#define RANGE "010001000400020000"
#define NUMBER "0100020000"

Test(store_release, attachments_of_release_0_1_0)
{
	uint8_t bytes[RAIL_RECORD_MAXIMUM];
	struct rail_writer writer = rail_writer_init(bytes, sizeof(bytes));
	struct rail_attachment expected = attachment();
	struct rail_attachment back = {.state = RAIL_PENDING};

	rail_write_attachment(&writer, &expected);
	assert_written(&writer, ATTACHMENT);
	struct rail_reader reader = reader_of(ATTACHMENT, bytes);
	cr_assert(rail_read_attachment(&reader, &back));
	cr_assert_eq(back.state, RAIL_READY);
	cr_assert_eq(back.parts, expected.parts);
	cr_assert_str_eq(back.identity.environment, "acme/production");
	cr_assert_str_eq(back.netns_path, "/run/netns/one");
	cr_assert_eq(back.interface.nsid, 7);
	cr_assert_eq(back.interface.process.pid, 4300);
	cr_assert_eq(back.resolver.upstreams[1].port, 5353);
}

Test(store_release, members_of_release_0_1_0)
{
	uint8_t bytes[RAIL_RECORD_MAXIMUM];
	struct rail_writer writer = rail_writer_init(bytes, sizeof(bytes));
	struct rail_member expected = member();
	struct rail_member back = {.node = 0};

	rail_write_member(&writer, &expected);
	assert_written(&writer, MEMBER);
	struct rail_reader reader = reader_of(MEMBER, bytes);
	cr_assert(rail_read_member(&reader, &back));
	cr_assert(back.local && back.published && back.named);
	cr_assert_str_eq(back.replica, "api-1");
	cr_assert(rail_attachment_key_equal(&back.key, &key));
}

Test(store_release, what_is_small_of_release_0_1_0)
{
	uint8_t bytes[RAIL_RECORD_MAXIMUM];
	struct rail_attachment_key lease;
	struct rail_environment environment = {.prefix = attachment().prefix, .enabled = true};
	struct rail_service service = {.number = 37613, .original = "API"};
	struct rail_counter_range range = {.next = 65540, .end = 131072};
	uint32_t number = 131072;

	struct rail_writer writer = rail_writer_init(bytes, sizeof(bytes));
	rail_write_lease(&writer, &key);
	assert_written(&writer, LEASE);
	writer = rail_writer_init(bytes, sizeof(bytes));
	rail_write_environment(&writer, &environment);
	assert_written(&writer, ENVIRONMENT);
	writer = rail_writer_init(bytes, sizeof(bytes));
	rail_write_service(&writer, &service);
	assert_written(&writer, SERVICE);
	writer = rail_writer_init(bytes, sizeof(bytes));
	rail_write_range(&writer, &range);
	assert_written(&writer, RANGE);
	writer = rail_writer_init(bytes, sizeof(bytes));
	rail_write_number(&writer, number);
	assert_written(&writer, NUMBER);

	struct rail_reader reader = reader_of(LEASE, bytes);
	cr_assert(rail_read_lease(&reader, &lease) && rail_attachment_key_equal(&lease, &key));
	reader = reader_of(ENVIRONMENT, bytes);
	cr_assert(rail_read_environment(&reader, &environment) && environment.enabled);
	reader = reader_of(SERVICE, bytes);
	cr_assert(rail_read_service(&reader, &service) && service.number == 37613);
	reader = reader_of(RANGE, bytes);
	cr_assert(rail_read_range(&reader, &range) && range.next == 65540);
	reader = reader_of(NUMBER, bytes);
	cr_assert(rail_read_number(&reader, &number) && number == 131072);
}
