#include "pkg/dns/answer.h"

#include <string.h>

#include "pkg/dns/message.h"
#include "pkg/dns/name.h"
#include "pkg/dns/reverse.h"

/* Names in wire form; the string's own NUL is the root. */
#define ZONE "\7railway\10internal"
#define ZONE_LABELS 2
#define NAMESERVER "\2ns" ZONE
#define HOSTMASTER "\12hostmaster" ZONE
#define SERVICES_LABEL "\11_services"
#define REPLICAS_LABEL "\11_replicas"

#define ADDRESS_NIBBLES RAIL_REVERSE_NIBBLE_COUNT
#define PREFIX_NIBBLES 12

#define STRING_MAXIMUM 255 /* RFC 1035 3.3 */

/* What there is under a name that is ours. */
struct finding {
	bool exists;
	bool is_apex;
	const uint8_t *apex; /* of the zone it is in */
	size_t apex_size;
	struct rail_zone_entry *addresses;     /* for AAAA; else NULL */
	const struct rail_zone_entry *pointer; /* for PTR; else NULL */
	const struct rail_zone_entry *listing; /* for TXT; else NULL */
	bool is_nameserver;		       /* the name is ns.railway.internal, */
	bool points_to_nameserver;	       /* or the PTR of its address */
};

/* ---- finding --------------------------------------------------------------------------------- */

static bool is_label(const uint8_t *label, const char *expected, size_t size)
{
	return label[0] + 1U == size && memcmp(label, expected, size) == 0;
}

static void find_name(struct rail_zone *zone, const struct rail_name *name, struct finding *finding)
{
	size_t depth = name->label_count - (size_t)ZONE_LABELS;
	size_t size;

	finding->apex = rail_name_suffix(name, ZONE_LABELS, &finding->apex_size);
	finding->is_apex = depth == 0;
	if (depth == 0) {
		finding->exists = true;
		return;
	}
	if (depth > 2)
		return;

	size = name->size - finding->apex_size;
	finding->addresses = rail_zone_find(zone, name->wire, size);
	if (finding->addresses != NULL) {
		finding->exists = true;
		return;
	}
	/* A service may be called "ns": its own addresses then are what its users mean. */
	if (depth == 1 && is_label(name->wire, NAMESERVER, 3)) {
		finding->is_nameserver = true;
	} else if (depth == 1 && is_label(name->wire, SERVICES_LABEL, sizeof(SERVICES_LABEL) - 1)) {
		finding->listing = rail_zone_find(zone, NULL, 0);
	} else if (depth == 2 && is_label(name->wire, REPLICAS_LABEL, sizeof(REPLICAS_LABEL) - 1)) {
		finding->listing =
			rail_zone_find(zone, name->wire + name->labels[1], size - name->labels[1]);
	}
	finding->exists = finding->is_nameserver || finding->listing != NULL;
}

static struct in6_addr address_of(const struct rail_reverse *reverse)
{
	struct in6_addr address = IN6ADDR_ANY_INIT;

	for (size_t i = 0; i < sizeof(address.s6_addr); i++)
		address.s6_addr[i] =
			(uint8_t)(reverse->digits[2 * i] << 4 | reverse->digits[2 * i + 1]);
	return address;
}

/* A name with fewer digits than an address has is on the way to one: it exists (RFC 8020). */
static void find_in_environment(struct rail_zone *zone, const struct rail_reverse *reverse,
				struct finding *finding)
{
	struct in6_addr address;

	if (!reverse->exact)
		return;
	if (reverse->count < ADDRESS_NIBBLES) {
		finding->exists = true;
		return;
	}
	address = address_of(reverse);
	finding->pointer = rail_zone_find_address(zone, &address);
	finding->exists = finding->pointer != NULL;
}

static void find_in_private_zone(struct rail_zone *zone, const struct rail_reverse *reverse,
				 struct finding *finding)
{
	const uint8_t *resolver = rail_resolver_address.s6_addr;
	const uint8_t *prefix = rail_zone_prefix(zone)->bytes;

	if (finding->is_apex) {
		finding->exists = true;
		return;
	}
	if (!reverse->exact || reverse->family != RAIL_REVERSE_IPV6)
		return;
	/* The zone holds two things: the resolver, and the environment's zone, which is cut out. */
	if (rail_reverse_matches(reverse, resolver, reverse->count)) {
		finding->exists = true;
		finding->points_to_nameserver = reverse->count == ADDRESS_NIBBLES;
	} else if (reverse->count < PREFIX_NIBBLES) {
		finding->exists = rail_reverse_matches(reverse, prefix, reverse->count);
	}
}

/* false: the name is not ours. */
static bool find(struct rail_zone *zone, const struct rail_name *name, struct finding *finding)
{
	struct rail_reverse reverse;
	size_t digits;

	if (rail_name_ends_with(name, ZONE, sizeof(ZONE), ZONE_LABELS)) {
		find_name(zone, name, finding);
		return true;
	}

	rail_reverse_parse(name, &reverse);
	if (reverse.family == RAIL_REVERSE_NONE)
		return false;
	bool in_environment =
		reverse.family == RAIL_REVERSE_IPV6 && reverse.count >= PREFIX_NIBBLES &&
		rail_reverse_matches(&reverse, rail_zone_prefix(zone)->bytes, PREFIX_NIBBLES);
	digits = in_environment ? PREFIX_NIBBLES : rail_reverse_private_zone(&reverse);
	if (digits == 0)
		return false;

	size_t apex_labels = digits + RAIL_REVERSE_SUFFIX_LABELS;
	finding->apex = rail_name_suffix(name, apex_labels, &finding->apex_size);
	finding->is_apex = name->label_count == apex_labels;
	if (in_environment)
		find_in_environment(zone, &reverse, finding);
	else
		find_in_private_zone(zone, &reverse, finding);
	return true;
}

/* ---- writing --------------------------------------------------------------------------------- */

/* A record of the question's name in the answer section; sets TC where it does not fit. */
static void put_answer(struct rail_dns_builder *builder, uint16_t type, uint32_t ttl_s,
		       const void *data, size_t size)
{
	struct rail_dns_record record = {
		.type = type, .ttl_s = ttl_s, .data = data, .data_size = size};

	if (!rail_dns_builder_put(builder, RAIL_DNS_ANSWER_SECTION, &record))
		builder->truncated = true;
}

static void put_soa(struct rail_dns_builder *builder, enum rail_dns_section section,
		    const struct finding *finding, uint32_t ttl_s)
{
	uint8_t data[sizeof(NAMESERVER) + sizeof(HOSTMASTER) + 5 * sizeof(uint32_t)];
	struct rail_writer writer = rail_writer_init(data, sizeof(data));
	struct rail_dns_record record = {
		.owner = finding->is_apex ? NULL : finding->apex,
		.owner_size = finding->apex_size,
		.type = RAIL_DNS_TYPE_SOA,
		.ttl_s = ttl_s,
		.data = data,
	};

	rail_write_bytes(&writer, NAMESERVER, sizeof(NAMESERVER));
	rail_write_bytes(&writer, HOSTMASTER, sizeof(HOSTMASTER));
	/* Nobody transfers the zone, so only the minimum, which RFC 2308 makes the TTL of negative
	 * answers, has an effect. */
	rail_write_u32(&writer, 1);
	rail_write_u32(&writer, 3600);
	rail_write_u32(&writer, 600);
	rail_write_u32(&writer, 86400);
	rail_write_u32(&writer, ttl_s);
	record.data_size = writer.position;
	if (!rail_dns_builder_put(builder, section, &record))
		builder->truncated = true;
}

/*
 * The addresses from the entry's turn on, as many as fit. All of these records have the same size,
 * and there may be thousands: room for all is taken at once.
 */
static void put_addresses(struct rail_dns_builder *builder, struct rail_zone_entry *entry,
			  uint32_t ttl_s)
{
	const struct rail_dns_record record = {
		.type = RAIL_DNS_TYPE_AAAA, .ttl_s = ttl_s, .data_size = sizeof(struct in6_addr)};
	size_t count = rail_zone_entry_address_count(entry);
	size_t index = rail_zone_entry_rotate(entry);
	uint8_t bytes[2 + RAIL_DNS_RECORD_FIXED_SIZE + sizeof(struct in6_addr)];
	struct rail_writer head = rail_writer_init(bytes, sizeof(bytes));
	size_t fitting = rail_writer_left(&builder->writer) / sizeof(bytes);

	rail_dns_write_record_head(&head, &record);
	if (fitting < count)
		builder->truncated = true;
	else
		fitting = count;
	for (size_t i = 0; i < fitting; i++) {
		memcpy(bytes + head.position, rail_zone_entry_address(entry, index),
		       sizeof(struct in6_addr));
		rail_write_bytes(&builder->writer, bytes, sizeof(bytes));
		index = index + 1 < count ? index + 1 : 0;
	}
	builder->counts[RAIL_DNS_ANSWER_SECTION] = (uint16_t)fitting;
}

static void put_pointer(struct rail_dns_builder *builder, const struct rail_zone_entry *entry,
			uint32_t ttl_s)
{
	uint8_t target[RAIL_NAME_SIZE];
	struct rail_writer writer = rail_writer_init(target, sizeof(target));
	size_t size;
	const uint8_t *wire = rail_zone_entry_wire(entry, &size);

	rail_write_bytes(&writer, wire, size);
	rail_write_bytes(&writer, ZONE, sizeof(ZONE));
	put_answer(builder, RAIL_DNS_TYPE_PTR, ttl_s, target, writer.position);
}

/* The strings of a TXT record, which are filled one after the other. */
struct strings {
	struct rail_writer writer;
	size_t length_position; /* of the string that is being filled */
	uint8_t length;
};

static void strings_append(struct strings *strings, const void *source, size_t size)
{
	const uint8_t *bytes = source;

	while (size > 0 && !strings->writer.failed) {
		size_t room = (size_t)STRING_MAXIMUM - strings->length;
		size_t part = size < room ? size : room;

		if (part == 0) {
			strings->length_position = strings->writer.position;
			strings->length = 0;
			rail_write_u8(&strings->writer, 0);
			continue;
		}
		rail_write_bytes(&strings->writer, bytes, part);
		if (strings->writer.failed)
			return;
		strings->length = (uint8_t)(strings->length + part);
		strings->writer.bytes[strings->length_position] = strings->length;
		bytes += part;
		size -= part;
	}
}

/* One TXT record with the labels right below an entry, separated by commas: as many as fit. */
static void put_listing(struct rail_dns_builder *builder, const struct rail_zone_entry *entry,
			uint32_t ttl_s)
{
	const struct rail_dns_record record = {.type = RAIL_DNS_TYPE_TXT, .ttl_s = ttl_s};
	size_t count = rail_zone_entry_child_count(entry);
	struct strings strings = {.writer = builder->writer, .length = STRING_MAXIMUM};
	size_t data_position;
	size_t written = 0;

	if (count == 0)
		return;
	rail_dns_write_record_head(&strings.writer, &record);
	data_position = strings.writer.position;
	for (; written < count; written++) {
		struct strings before = strings;
		size_t size;
		const uint8_t *wire =
			rail_zone_entry_wire(rail_zone_entry_child(entry, written), &size);

		if (written > 0)
			strings_append(&strings, ",", 1);
		strings_append(&strings, wire + 1, wire[0]);
		if (strings.writer.failed) {
			strings = before;
			break;
		}
	}
	builder->truncated = written < count;
	if (written == 0)
		return;
	/* A roll-back may have left the open string's length as it was before it. */
	strings.writer.bytes[strings.length_position] = strings.length;
	rail_write_u16_at(&strings.writer, data_position - 2,
			  (uint16_t)(strings.writer.position - data_position));
	builder->writer = strings.writer;
	builder->counts[RAIL_DNS_ANSWER_SECTION]++;
}

static void put_records(struct rail_dns_builder *builder, const struct finding *finding,
			uint16_t type, uint32_t ttl_s)
{
	/* RFC 8482 4.2: a host's CPU "RFC8482" and an empty operating system. */
	static const char any_data[] = "\7RFC8482";

	switch (type) {
	case RAIL_DNS_TYPE_AAAA:
		if (finding->addresses != NULL)
			put_addresses(builder, finding->addresses, ttl_s);
		else if (finding->is_nameserver)
			put_answer(builder, type, ttl_s, &rail_resolver_address,
				   sizeof(rail_resolver_address));
		break;
	case RAIL_DNS_TYPE_PTR:
		if (finding->pointer != NULL)
			put_pointer(builder, finding->pointer, ttl_s);
		else if (finding->points_to_nameserver)
			put_answer(builder, type, ttl_s, NAMESERVER, sizeof(NAMESERVER));
		break;
	case RAIL_DNS_TYPE_TXT:
		if (finding->listing != NULL)
			put_listing(builder, finding->listing, ttl_s);
		break;
	case RAIL_DNS_TYPE_SOA:
		if (finding->is_apex)
			put_soa(builder, RAIL_DNS_ANSWER_SECTION, finding, ttl_s);
		break;
	case RAIL_DNS_TYPE_NS:
		if (finding->is_apex)
			put_answer(builder, type, ttl_s, NAMESERVER, sizeof(NAMESERVER));
		break;
	case RAIL_DNS_TYPE_ANY:
		put_answer(builder, RAIL_DNS_TYPE_HINFO, ttl_s, any_data, sizeof(any_data));
		break;
	default:
		break;
	}
}

/* ---- answering ------------------------------------------------------------------------------- */

static enum rail_dns_verdict answer_error(const struct rail_dns_query *query, uint16_t rcode,
					  uint8_t *answer, size_t limit, size_t *ret_size)
{
	struct rail_dns_builder builder;

	if (rail_dns_builder_init(&builder, query, answer, limit) < 0)
		return RAIL_DNS_DROP;
	*ret_size = rail_dns_builder_finish(&builder, rcode);
	return RAIL_DNS_ANSWER;
}

enum rail_dns_verdict rail_dns_answer(struct rail_zone *zone,
				      const struct rail_dns_options *options, const uint8_t *query,
				      size_t query_size, uint8_t *answer, size_t answer_capacity,
				      size_t *ret_answer_size)
{
	struct finding finding = {0};
	struct rail_dns_query parsed;
	struct rail_dns_builder builder;
	int rcode = rail_dns_query_parse(query, query_size, &parsed);

	*ret_answer_size = 0;
	if (rcode < 0)
		return RAIL_DNS_DROP;
	size_t limit = rail_dns_answer_limit(&parsed, options->tcp, answer_capacity);
	if (rcode == RAIL_DNS_NOERROR &&
	    (parsed.class != RAIL_DNS_CLASS_IN || parsed.type == RAIL_DNS_TYPE_AXFR ||
	     parsed.type == RAIL_DNS_TYPE_IXFR))
		rcode = RAIL_DNS_REFUSED;
	if (rcode != RAIL_DNS_NOERROR)
		return answer_error(&parsed, (uint16_t)rcode, answer, limit, ret_answer_size);

	if (!find(zone, &parsed.name, &finding))
		return RAIL_DNS_FORWARD;
	if (rail_dns_builder_init(&builder, &parsed, answer, limit) < 0)
		return RAIL_DNS_DROP;
	builder.authoritative = true;
	if (finding.exists)
		put_records(&builder, &finding, parsed.type, options->ttl_s);
	/* RFC 2308: without a SOA, a negative answer would not be cached, or for too long. */
	if (builder.counts[RAIL_DNS_ANSWER_SECTION] == 0 && !builder.truncated)
		put_soa(&builder, RAIL_DNS_AUTHORITY_SECTION, &finding, options->ttl_s);
	*ret_answer_size = rail_dns_builder_finish(&builder, finding.exists ? RAIL_DNS_NOERROR
									    : RAIL_DNS_NXDOMAIN);
	return RAIL_DNS_ANSWER;
}
