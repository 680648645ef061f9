#include "pkg/store/records.h"

#include <arpa/inet.h>
#include <criterion/criterion.h>
#include <limits.h>
#include <string.h>

static void fill(char *text, size_t size, char character)
{
	memset(text, character, size - 1);
	text[size - 1] = '\0';
}

static struct rail_endpoint endpoint_v6(uint16_t port)
{
	struct rail_endpoint endpoint = {.family = AF_INET6, .port = port};

	cr_assert_eq(inet_pton(AF_INET6, "fd00:1:2:3:4:5:6:7", &endpoint.address.v6), 1);
	return endpoint;
}

static bool endpoint_equal(const struct rail_endpoint *one, const struct rail_endpoint *other)
{
	if (one->family != other->family || one->port != other->port)
		return false;
	if (one->family == AF_INET)
		return one->address.v4.s_addr == other->address.v4.s_addr;
	return one->family == 0 ||
	       memcmp(&one->address.v6, &other->address.v6, sizeof(one->address.v6)) == 0;
}

static struct rail_attachment_key largest_key(void)
{
	struct rail_attachment_key key;

	fill(key.network, sizeof(key.network), 'n');
	fill(key.container_id, sizeof(key.container_id), 'c');
	fill(key.interface, sizeof(key.interface), 'i');
	return key;
}

/* Every text at its longest, every number at a value that shows a cut or a swap. */
static struct rail_attachment largest_attachment(void)
{
	struct rail_attachment attachment = {
		.key = largest_key(),
		.state = RAIL_DISABLED,
		.parts = UINT32_MAX,
		.owner = {.pid = INT32_MAX, .start_time = UINT64_MAX - 1},
		.prefix = {{0xfd, 1, 2, 3, 4, 5}},
		.service = 0xfffe,
		.netns = {.device = UINT64_MAX - 2, .inode = UINT64_MAX - 3},
		.interface = {.listen_port = 0xfffd,
			      .nsid = -1,
			      .process = {.pid = 77, .start_time = UINT64_MAX - 4}},
		.resolver = {.any_nameserver = true,
			     .port = 0xfffc,
			     .ttl_s = UINT32_MAX - 1,
			     .upstream_count = RAIL_UPSTREAMS_MAXIMUM},
	};

	fill(attachment.identity.environment, sizeof(attachment.identity.environment), 'e');
	fill(attachment.identity.service, sizeof(attachment.identity.service), 's');
	fill(attachment.identity.service_original, sizeof(attachment.identity.service_original),
	     'S');
	fill(attachment.identity.replica, sizeof(attachment.identity.replica), 'r');
	fill(attachment.identity.replica_original, sizeof(attachment.identity.replica_original),
	     'R');
	fill(attachment.netns_path, sizeof(attachment.netns_path), '/');
	fill(attachment.interface.transport, sizeof(attachment.interface.transport), 't');
	fill(attachment.interface.name, sizeof(attachment.interface.name), 'm');
	fill(attachment.interface.alias, sizeof(attachment.interface.alias), 'a');
	fill(attachment.interface.device_name, sizeof(attachment.interface.device_name), 'd');
	memset(attachment.interface.public_key.bytes, 0xab, RAIL_KEY_SIZE);
	memset(attachment.address.s6_addr, 0xcd, sizeof(attachment.address.s6_addr));
	for (uint16_t i = 0; i < RAIL_UPSTREAMS_MAXIMUM; i++)
		attachment.resolver.upstreams[i] = endpoint_v6(i);
	return attachment;
}

static void assert_attachments_equal(const struct rail_attachment *one,
				     const struct rail_attachment *other)
{
	cr_assert_eq(one->state, other->state);
	cr_assert_eq(one->parts, other->parts);
	cr_assert_eq(one->owner.pid, other->owner.pid);
	cr_assert_eq(one->owner.start_time, other->owner.start_time);
	cr_assert_str_eq(one->identity.environment, other->identity.environment);
	cr_assert_str_eq(one->identity.service, other->identity.service);
	cr_assert_str_eq(one->identity.service_original, other->identity.service_original);
	cr_assert_str_eq(one->identity.replica, other->identity.replica);
	cr_assert_str_eq(one->identity.replica_original, other->identity.replica_original);
	cr_assert(rail_prefix_equal(&one->prefix, &other->prefix));
	cr_assert_eq(one->service, other->service);
	cr_assert_arr_eq(one->address.s6_addr, other->address.s6_addr, 16);
	cr_assert_str_eq(one->netns_path, other->netns_path);
	cr_assert_eq(one->netns.device, other->netns.device);
	cr_assert_eq(one->netns.inode, other->netns.inode);
	cr_assert_eq(one->interface.nsid, other->interface.nsid);
	cr_assert_str_eq(one->interface.transport, other->interface.transport);
	cr_assert_str_eq(one->interface.name, other->interface.name);
	cr_assert_arr_eq(one->interface.public_key.bytes, other->interface.public_key.bytes,
			 RAIL_KEY_SIZE);
	cr_assert_eq(one->interface.listen_port, other->interface.listen_port);
	cr_assert_str_eq(one->interface.alias, other->interface.alias);
	cr_assert_str_eq(one->interface.device_name, other->interface.device_name);
	cr_assert_eq(one->interface.process.pid, other->interface.process.pid);
	cr_assert_eq(one->interface.process.start_time, other->interface.process.start_time);
	cr_assert_eq(one->resolver.port, other->resolver.port);
	cr_assert_eq(one->resolver.any_nameserver, other->resolver.any_nameserver);
	cr_assert_eq(one->resolver.ttl_s, other->resolver.ttl_s);
	cr_assert_eq(one->resolver.upstream_count, other->resolver.upstream_count);
	for (size_t i = 0; i < one->resolver.upstream_count; i++)
		cr_assert(
			endpoint_equal(&one->resolver.upstreams[i], &other->resolver.upstreams[i]));
}

Test(store_records, the_largest_attachment_comes_back_and_fits_a_page)
{
	struct rail_attachment attachment = largest_attachment();
	struct rail_attachment back = {.state = RAIL_PENDING};
	uint8_t bytes[2 * RAIL_RECORD_MAXIMUM];
	struct rail_writer writer = rail_writer_init(bytes, sizeof(bytes));

	rail_write_attachment(&writer, &attachment);
	cr_assert_not(writer.failed);
	cr_assert_leq(writer.position, RAIL_RECORD_MAXIMUM);

	struct rail_reader reader = rail_reader_init(bytes, writer.position);
	cr_assert(rail_read_attachment(&reader, &back));
	assert_attachments_equal(&back, &attachment);
}

Test(store_records, an_empty_attachment_comes_back_and_is_small)
{
	struct rail_attachment attachment = {.state = RAIL_PENDING};
	struct rail_attachment back = largest_attachment();
	uint8_t bytes[RAIL_RECORD_MAXIMUM];
	struct rail_writer writer = rail_writer_init(bytes, sizeof(bytes));

	rail_write_attachment(&writer, &attachment);
	cr_assert_not(writer.failed);
	cr_assert_lt(writer.position, 200);

	struct rail_reader reader = rail_reader_init(bytes, writer.position);
	cr_assert(rail_read_attachment(&reader, &back));
	assert_attachments_equal(&back, &attachment);
}

Test(store_records, a_record_cut_anywhere_or_with_more_behind_it_is_refused)
{
	struct rail_attachment attachment = largest_attachment();
	struct rail_attachment back = {.state = RAIL_PENDING};
	uint8_t bytes[RAIL_RECORD_MAXIMUM + 1] = {0};
	struct rail_writer writer = rail_writer_init(bytes, sizeof(bytes));

	rail_write_attachment(&writer, &attachment);
	for (size_t size = 0; size < writer.position; size++) {
		struct rail_reader reader = rail_reader_init(bytes, size);

		cr_assert_not(rail_read_attachment(&reader, &back), "%zu bytes", size);
	}
	struct rail_reader reader = rail_reader_init(bytes, writer.position + 1);
	cr_assert_not(rail_read_attachment(&reader, &back));
}

/* Every record of an unknown format is refused, whatever follows. */
Test(store_records, another_format_is_refused)
{
	static const uint8_t formats[] = {0, 2, 255};
	struct rail_attachment_key key = largest_key();
	struct rail_counter_range range;
	struct rail_environment environment;
	struct rail_service service;
	struct rail_member member = {.node = 1};
	uint32_t number;
	uint8_t bytes[RAIL_RECORD_MAXIMUM];

	for (size_t i = 0; i < sizeof(formats); i++) {
		struct rail_writer writer;
		struct rail_reader reader;

#define REFUSED(write, read)                                                                       \
	do {                                                                                       \
		writer = rail_writer_init(bytes, sizeof(bytes));                                   \
		write;                                                                             \
		cr_assert_not(writer.failed);                                                      \
		reader = rail_reader_init(bytes, writer.position);                                 \
		cr_assert(read);                                                                   \
		bytes[0] = formats[i];                                                             \
		reader = rail_reader_init(bytes, writer.position);                                 \
		cr_assert_not(read);                                                               \
	} while (0)

		struct rail_attachment attachment = largest_attachment();
		struct rail_attachment back;
		REFUSED(rail_write_attachment(&writer, &attachment),
			rail_read_attachment(&reader, &back));
		REFUSED(rail_write_lease(&writer, &key), rail_read_lease(&reader, &key));
		REFUSED(rail_write_member(&writer, &member), rail_read_member(&reader, &member));
		range = (struct rail_counter_range){1, 2};
		REFUSED(rail_write_range(&writer, &range), rail_read_range(&reader, &range));
		environment = (struct rail_environment){.enabled = true};
		REFUSED(rail_write_environment(&writer, &environment),
			rail_read_environment(&reader, &environment));
		service = (struct rail_service){.number = 1};
		REFUSED(rail_write_service(&writer, &service),
			rail_read_service(&reader, &service));
		REFUSED(rail_write_number(&writer, 7), rail_read_number(&reader, &number));
#undef REFUSED
	}
}

Test(store_records, a_text_without_an_end_is_not_written)
{
	struct rail_attachment attachment = largest_attachment();
	uint8_t bytes[2 * RAIL_RECORD_MAXIMUM];
	struct rail_writer writer = rail_writer_init(bytes, sizeof(bytes));

	memset(attachment.netns_path, '/', sizeof(attachment.netns_path));
	rail_write_attachment(&writer, &attachment);
	cr_assert(writer.failed);

	writer = rail_writer_init(bytes, sizeof(bytes));
	memset(attachment.key.interface, 'x', sizeof(attachment.key.interface));
	rail_write_attachment_key(&writer, &attachment.key);
	cr_assert(writer.failed);
}

Test(store_records, values_that_no_record_holds_are_not_written)
{
	struct rail_attachment attachment = {
		.resolver = {.upstream_count = RAIL_UPSTREAMS_MAXIMUM + 1}};
	struct rail_member member = {.endpoint = {.family = 77}};
	uint8_t bytes[RAIL_RECORD_MAXIMUM];
	struct rail_writer writer = rail_writer_init(bytes, sizeof(bytes));

	rail_write_attachment(&writer, &attachment);
	cr_assert(writer.failed);
	writer = rail_writer_init(bytes, sizeof(bytes));
	rail_write_member(&writer, &member);
	cr_assert(writer.failed);
}

Test(store_records, values_that_nobody_wrote_are_not_read)
{
	struct rail_attachment attachment = {.state = RAIL_DISABLED};
	struct rail_member member = {.local = true, .published = true, .named = true};
	struct rail_environment environment = {.enabled = true};
	uint8_t bytes[RAIL_RECORD_MAXIMUM];
	struct rail_writer writer = rail_writer_init(bytes, sizeof(bytes));
	struct rail_reader reader;

	rail_write_attachment(&writer, &attachment);
	bytes[1] = RAIL_DISABLED + 1;
	reader = rail_reader_init(bytes, writer.position);
	cr_assert_not(rail_read_attachment(&reader, &attachment), "state");
	bytes[1] = RAIL_READY;
	/* No upstreams follow the last byte, which is their count. */
	bytes[writer.position - 1] = RAIL_UPSTREAMS_MAXIMUM + 1;
	reader = rail_reader_init(bytes, sizeof(bytes));
	cr_assert_not(rail_read_attachment(&reader, &attachment), "upstreams");
	cr_assert_leq(attachment.resolver.upstream_count, RAIL_UPSTREAMS_MAXIMUM);

	writer = rail_writer_init(bytes, sizeof(bytes));
	rail_write_member(&writer, &member);
	bytes[1] = 8;
	reader = rail_reader_init(bytes, writer.position);
	cr_assert_not(rail_read_member(&reader, &member), "flags");

	writer = rail_writer_init(bytes, sizeof(bytes));
	rail_write_environment(&writer, &environment);
	bytes[writer.position - 1] = 2;
	reader = rail_reader_init(bytes, writer.position);
	cr_assert_not(rail_read_environment(&reader, &environment), "enabled");
}

Test(store_records, members_come_back_with_every_flag_and_endpoint)
{
	for (unsigned int flags = 0; flags < 8; flags++) {
		struct rail_member member = {
			.local = flags & 1,
			.published = flags & 2,
			.named = flags & 4,
			.node = UINT32_MAX - flags,
			.endpoint = {.family = AF_INET, .port = 0xfffe},
			.key = largest_key(),
		};
		struct rail_member back = {.node = 0};
		uint8_t bytes[RAIL_RECORD_MAXIMUM];
		struct rail_writer writer = rail_writer_init(bytes, sizeof(bytes));

		member.endpoint.address.v4.s_addr = 0x01020304;
		if (flags == 0)
			member.endpoint = (struct rail_endpoint){.family = 0};
		if (flags == 7)
			member.endpoint = endpoint_v6(51820);
		memset(member.public_key.bytes, 0x42, RAIL_KEY_SIZE);
		fill(member.replica, sizeof(member.replica), 'r');

		rail_write_member(&writer, &member);
		cr_assert_not(writer.failed);
		struct rail_reader reader = rail_reader_init(bytes, writer.position);
		cr_assert(rail_read_member(&reader, &back));
		cr_assert_eq(back.local, member.local);
		cr_assert_eq(back.published, member.published);
		cr_assert_eq(back.named, member.named);
		cr_assert_eq(back.node, member.node);
		cr_assert_arr_eq(back.public_key.bytes, member.public_key.bytes, RAIL_KEY_SIZE);
		cr_assert(endpoint_equal(&back.endpoint, &member.endpoint));
		cr_assert_str_eq(back.replica, member.replica);
		cr_assert(rail_attachment_key_equal(&back.key, &member.key));
	}
}

Test(store_records, the_largest_key_is_one_that_a_table_takes)
{
	struct rail_attachment_key key = largest_key();
	struct rail_attachment_key back;
	uint8_t bytes[1024];
	struct rail_writer writer = rail_writer_init(bytes, sizeof(bytes));

	rail_write_attachment_key(&writer, &key);
	cr_assert_not(writer.failed);
	cr_assert_eq(writer.position, RAIL_ATTACHMENT_KEY_MAXIMUM);
	cr_assert_leq(writer.position, 511);

	struct rail_reader reader = rail_reader_init(bytes, writer.position);
	cr_assert(rail_read_attachment_key(&reader, &back));
	cr_assert(rail_attachment_key_equal(&back, &key));
}

Test(store_records, the_largest_service_comes_back)
{
	struct rail_service service = {.number = UINT16_MAX};
	struct rail_service back = {.number = 0};
	uint8_t bytes[RAIL_RECORD_MAXIMUM];
	struct rail_writer writer = rail_writer_init(bytes, sizeof(bytes));

	fill(service.original, sizeof(service.original), 'o');
	rail_write_service(&writer, &service);
	cr_assert_not(writer.failed);
	struct rail_reader reader = rail_reader_init(bytes, writer.position);
	cr_assert(rail_read_service(&reader, &back));
	cr_assert_eq(back.number, service.number);
	cr_assert_str_eq(back.original, service.original);
}
