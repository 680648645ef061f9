#include "pkg/store/records.h"

#include <string.h>
#include <sys/socket.h>

/* Of each record on its own: one that changes its form gets the next number. */
enum { RECORD_FORMAT = 1 };

enum {
	MEMBER_LOCAL = 1 << 0,
	MEMBER_PUBLISHED = 1 << 1,
	MEMBER_NAMED = 1 << 2,
	MEMBER_FLAGS = MEMBER_LOCAL | MEMBER_PUBLISHED | MEMBER_NAMED,
};

/* Beside the number of upstreams, in one byte. */
enum { RESOLVER_ANY_NAMESERVER = 1 << 7 };

enum endpoint_kind { ENDPOINT_NONE, ENDPOINT_IPV4, ENDPOINT_IPV6 };

static void write_text(struct rail_writer *writer, const char *text, size_t size)
{
	if (memchr(text, '\0', size) == NULL)
		writer->failed = true;
	else
		rail_write_string(writer, text);
}

#define WRITE_TEXT(writer, array) write_text(writer, array, sizeof(array))
#define READ_TEXT(reader, array) rail_read_string(reader, array, sizeof(array))

static void read_format(struct rail_reader *reader)
{
	if (rail_read_u8(reader) != RECORD_FORMAT)
		reader->failed = true;
}

static bool read_whole(const struct rail_reader *reader)
{
	return !reader->failed && rail_reader_left(reader) == 0;
}

void rail_write_network_name(struct rail_writer *writer, const char *network)
{
	rail_write_string(writer, network);
}

void rail_write_attachment_key(struct rail_writer *writer, const struct rail_attachment_key *key)
{
	WRITE_TEXT(writer, key->network);
	WRITE_TEXT(writer, key->container_id);
	WRITE_TEXT(writer, key->interface);
}

static void read_key(struct rail_reader *reader, struct rail_attachment_key *key)
{
	READ_TEXT(reader, key->network);
	READ_TEXT(reader, key->container_id);
	READ_TEXT(reader, key->interface);
}

bool rail_read_attachment_key(struct rail_reader *reader, struct rail_attachment_key *key)
{
	read_key(reader, key);
	return read_whole(reader);
}

static void write_process(struct rail_writer *writer, const struct rail_process *process)
{
	rail_write_u32(writer, (uint32_t)process->pid);
	rail_write_u64(writer, process->start_time);
}

static void read_process(struct rail_reader *reader, struct rail_process *process)
{
	process->pid = (int32_t)rail_read_u32(reader);
	process->start_time = rail_read_u64(reader);
}

static void write_endpoint(struct rail_writer *writer, const struct rail_endpoint *endpoint)
{
	switch (endpoint->family) {
	case 0:
		rail_write_u8(writer, ENDPOINT_NONE);
		return;
	case AF_INET:
		rail_write_u8(writer, ENDPOINT_IPV4);
		rail_write_u16(writer, endpoint->port);
		rail_write_bytes(writer, &endpoint->address.v4, sizeof(endpoint->address.v4));
		return;
	case AF_INET6:
		rail_write_u8(writer, ENDPOINT_IPV6);
		rail_write_u16(writer, endpoint->port);
		rail_write_bytes(writer, &endpoint->address.v6, sizeof(endpoint->address.v6));
		return;
	default:
		writer->failed = true;
	}
}

static void read_endpoint(struct rail_reader *reader, struct rail_endpoint *endpoint)
{
	*endpoint = (struct rail_endpoint){.family = 0};
	switch (rail_read_u8(reader)) {
	case ENDPOINT_NONE:
		return;
	case ENDPOINT_IPV4:
		endpoint->family = AF_INET;
		endpoint->port = rail_read_u16(reader);
		rail_read_bytes(reader, &endpoint->address.v4, sizeof(endpoint->address.v4));
		return;
	case ENDPOINT_IPV6:
		endpoint->family = AF_INET6;
		endpoint->port = rail_read_u16(reader);
		rail_read_bytes(reader, &endpoint->address.v6, sizeof(endpoint->address.v6));
		return;
	default:
		reader->failed = true;
	}
}

static void write_identity(struct rail_writer *writer, const struct rail_identity *identity)
{
	WRITE_TEXT(writer, identity->environment);
	WRITE_TEXT(writer, identity->service);
	WRITE_TEXT(writer, identity->service_original);
	WRITE_TEXT(writer, identity->replica);
	WRITE_TEXT(writer, identity->replica_original);
}

static void read_identity(struct rail_reader *reader, struct rail_identity *identity)
{
	READ_TEXT(reader, identity->environment);
	READ_TEXT(reader, identity->service);
	READ_TEXT(reader, identity->service_original);
	READ_TEXT(reader, identity->replica);
	READ_TEXT(reader, identity->replica_original);
}

static void write_interface(struct rail_writer *writer, const struct rail_interface *interface)
{
	WRITE_TEXT(writer, interface->transport);
	WRITE_TEXT(writer, interface->name);
	rail_write_bytes(writer, interface->public_key.bytes, sizeof(interface->public_key.bytes));
	rail_write_u16(writer, interface->listen_port);
	WRITE_TEXT(writer, interface->alias);
	WRITE_TEXT(writer, interface->device_name);
	write_process(writer, &interface->process);
}

static void read_interface(struct rail_reader *reader, struct rail_interface *interface)
{
	READ_TEXT(reader, interface->transport);
	READ_TEXT(reader, interface->name);
	rail_read_bytes(reader, interface->public_key.bytes, sizeof(interface->public_key.bytes));
	interface->listen_port = rail_read_u16(reader);
	READ_TEXT(reader, interface->alias);
	READ_TEXT(reader, interface->device_name);
	read_process(reader, &interface->process);
}

static void write_resolver(struct rail_writer *writer,
			   const struct rail_resolver_settings *resolver)
{
	if (resolver->upstream_count > RAIL_UPSTREAMS_MAXIMUM) {
		writer->failed = true;
		return;
	}
	rail_write_u16(writer, resolver->port);
	rail_write_u32(writer, resolver->ttl_s);
	rail_write_u8(writer, (uint8_t)(resolver->upstream_count |
					(resolver->any_nameserver ? RESOLVER_ANY_NAMESERVER : 0)));
	for (size_t i = 0; i < resolver->upstream_count; i++)
		write_endpoint(writer, &resolver->upstreams[i]);
}

static void read_resolver(struct rail_reader *reader, struct rail_resolver_settings *resolver)
{
	resolver->port = rail_read_u16(reader);
	resolver->ttl_s = rail_read_u32(reader);

	uint8_t count = rail_read_u8(reader);
	resolver->any_nameserver = (count & RESOLVER_ANY_NAMESERVER) != 0;
	resolver->upstream_count = (uint8_t)(count & ~(unsigned int)RESOLVER_ANY_NAMESERVER);
	if (resolver->upstream_count > RAIL_UPSTREAMS_MAXIMUM) {
		resolver->upstream_count = 0;
		reader->failed = true;
	}
	for (size_t i = 0; i < resolver->upstream_count; i++)
		read_endpoint(reader, &resolver->upstreams[i]);
}

void rail_write_attachment(struct rail_writer *writer, const struct rail_attachment *attachment)
{
	rail_write_u8(writer, RECORD_FORMAT);
	rail_write_u8(writer, (uint8_t)attachment->state);
	rail_write_u32(writer, attachment->parts);
	write_process(writer, &attachment->owner);
	write_identity(writer, &attachment->identity);
	rail_write_bytes(writer, attachment->prefix.bytes, sizeof(attachment->prefix.bytes));
	rail_write_u16(writer, attachment->service);
	rail_write_bytes(writer, attachment->address.s6_addr, sizeof(attachment->address.s6_addr));
	WRITE_TEXT(writer, attachment->netns_path);
	rail_write_u64(writer, attachment->netns.device);
	rail_write_u64(writer, attachment->netns.inode);
	rail_write_u32(writer, (uint32_t)attachment->interface.nsid);
	write_interface(writer, &attachment->interface);
	write_resolver(writer, &attachment->resolver);
}

bool rail_read_attachment(struct rail_reader *reader, struct rail_attachment *attachment)
{
	read_format(reader);

	uint8_t state = rail_read_u8(reader);
	if (state > RAIL_DISABLED)
		reader->failed = true;
	attachment->state = (enum rail_attachment_state)state;
	attachment->parts = rail_read_u32(reader);
	read_process(reader, &attachment->owner);
	read_identity(reader, &attachment->identity);
	rail_read_bytes(reader, attachment->prefix.bytes, sizeof(attachment->prefix.bytes));
	attachment->service = rail_read_u16(reader);
	rail_read_bytes(reader, attachment->address.s6_addr, sizeof(attachment->address.s6_addr));
	READ_TEXT(reader, attachment->netns_path);
	attachment->netns.device = rail_read_u64(reader);
	attachment->netns.inode = rail_read_u64(reader);
	attachment->interface.nsid = (int32_t)rail_read_u32(reader);
	read_interface(reader, &attachment->interface);
	read_resolver(reader, &attachment->resolver);
	return read_whole(reader);
}

void rail_write_member(struct rail_writer *writer, const struct rail_member *member)
{
	unsigned int flags = (member->local ? MEMBER_LOCAL : 0U) |
			     (member->published ? MEMBER_PUBLISHED : 0U) |
			     (member->named ? MEMBER_NAMED : 0U);

	rail_write_u8(writer, RECORD_FORMAT);
	rail_write_u8(writer, (uint8_t)flags);
	rail_write_u32(writer, member->node);
	rail_write_bytes(writer, member->public_key.bytes, sizeof(member->public_key.bytes));
	write_endpoint(writer, &member->endpoint);
	WRITE_TEXT(writer, member->replica);
	rail_write_attachment_key(writer, &member->key);
}

bool rail_read_member(struct rail_reader *reader, struct rail_member *member)
{
	read_format(reader);

	unsigned int flags = rail_read_u8(reader);
	if (flags & ~(unsigned int)MEMBER_FLAGS)
		reader->failed = true;
	member->local = flags & MEMBER_LOCAL;
	member->published = flags & MEMBER_PUBLISHED;
	member->named = flags & MEMBER_NAMED;
	member->node = rail_read_u32(reader);
	rail_read_bytes(reader, member->public_key.bytes, sizeof(member->public_key.bytes));
	read_endpoint(reader, &member->endpoint);
	READ_TEXT(reader, member->replica);
	read_key(reader, &member->key);
	return read_whole(reader);
}

void rail_write_lease(struct rail_writer *writer, const struct rail_attachment_key *key)
{
	rail_write_u8(writer, RECORD_FORMAT);
	rail_write_attachment_key(writer, key);
}

bool rail_read_lease(struct rail_reader *reader, struct rail_attachment_key *key)
{
	read_format(reader);
	return rail_read_attachment_key(reader, key);
}

void rail_write_range(struct rail_writer *writer, const struct rail_counter_range *range)
{
	rail_write_u8(writer, RECORD_FORMAT);
	rail_write_u32(writer, range->next);
	rail_write_u32(writer, range->end);
}

bool rail_read_range(struct rail_reader *reader, struct rail_counter_range *range)
{
	read_format(reader);
	range->next = rail_read_u32(reader);
	range->end = rail_read_u32(reader);
	return read_whole(reader);
}

void rail_write_environment(struct rail_writer *writer, const struct rail_environment *environment)
{
	rail_write_u8(writer, RECORD_FORMAT);
	rail_write_bytes(writer, environment->prefix.bytes, sizeof(environment->prefix.bytes));
	rail_write_u8(writer, environment->enabled);
}

bool rail_read_environment(struct rail_reader *reader, struct rail_environment *environment)
{
	read_format(reader);
	rail_read_bytes(reader, environment->prefix.bytes, sizeof(environment->prefix.bytes));

	uint8_t enabled = rail_read_u8(reader);
	if (enabled > 1)
		reader->failed = true;
	environment->enabled = enabled == 1;
	return read_whole(reader);
}

void rail_write_service(struct rail_writer *writer, const struct rail_service *service)
{
	rail_write_u8(writer, RECORD_FORMAT);
	rail_write_u16(writer, service->number);
	WRITE_TEXT(writer, service->original);
}

bool rail_read_service(struct rail_reader *reader, struct rail_service *service)
{
	read_format(reader);
	service->number = rail_read_u16(reader);
	READ_TEXT(reader, service->original);
	return read_whole(reader);
}

void rail_write_number(struct rail_writer *writer, uint32_t number)
{
	rail_write_u8(writer, RECORD_FORMAT);
	rail_write_u32(writer, number);
}

bool rail_read_number(struct rail_reader *reader, uint32_t *number)
{
	read_format(reader);
	*number = rail_read_u32(reader);
	return read_whole(reader);
}
