/*
 * The input is what happens to an environment's zone: replicas and services come, move and go, and
 * are asked for in between. A plain table knows what each answer must be.
 */

#include <stdlib.h>
#include <string.h>

#include "pkg/dns/answer.h"
#include "test/unit/dns/wire.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* What happens at most: more takes time, and finds nothing that this does not. */
enum { ACTIONS_MAXIMUM = 256 };
enum { LABELS = 16, ADDRESSES = 64, TYPE_PTR = 12, TYPE_TXT = 16, TYPE_AAAA = 28 };
enum { RCODE_NOERROR = 0, RCODE_NXDOMAIN = 3, FLAG_TC = 0x0200 };

#define LONGEST "xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx"

/* Of two that differ in case alone the second stands for the first. */
static const char *const labels[LABELS] = {
	"api", "API",  "ns",	  "_services", "_replicas", LONGEST, "with.dot", " ",
	"a,b", "\x01", "railway", "internal",  "db",	    "DB",    "0",	 "\xff\xc0",
};

static size_t first_of(size_t label)
{
	return label == 1 ? 0 : label == 13 ? 12 : label;
}

/* What the zone must hold. */
static struct {
	bool services[LABELS];
	struct {
		bool there;
		size_t service;
		size_t label;
	} replicas[ADDRESSES];
} model;

static struct wire_message message;

static void require(bool truth)
{
	if (!truth)
		abort();
}

static struct in6_addr address_of(size_t number)
{
	struct in6_addr address = {{{0xfd, 0x34, 0x56, 0x78, 0x9a, 0xbc}}};

	address.s6_addr[15] = (uint8_t)number;
	return address;
}

/* ---- asking ---------------------------------------------------------------------------------- */

static void add_label(struct wire_query *query, const char *label)
{
	uint8_t length = (uint8_t)strlen(label);

	wire_add(query, &length, 1);
	wire_add(query, label, length);
}

/* Under railway.internal; NULL: no label. */
static struct wire_query ask_for(const char *first, const char *second, unsigned int type)
{
	struct wire_query query = {.size = 0};

	wire_add(&query, "\x12\x34\x01\x00\x00\x01\x00\x00\x00\x00\x00\x00", 12);
	if (first != NULL)
		add_label(&query, first);
	if (second != NULL)
		add_label(&query, second);
	wire_add_name(&query, "railway.internal");
	wire_add_u16(&query, type);
	wire_add_u16(&query, 1);
	return query;
}

static struct wire_query ask_for_pointer(const struct in6_addr *address)
{
	static const char digits[] = "0123456789abcdef";
	char text[80];
	size_t size = 0;

	for (size_t i = sizeof(address->s6_addr); i-- > 0;) {
		text[size++] = digits[address->s6_addr[i] & 0xf];
		text[size++] = '.';
		text[size++] = digits[address->s6_addr[i] >> 4];
		text[size++] = '.';
	}
	memcpy(text + size, "ip6.arpa", sizeof("ip6.arpa"));
	return wire_query_of(text, TYPE_PTR);
}

/* Leaves the answer in message; gives its response code. */
static unsigned int ask(struct rail_zone *zone, const struct wire_query *query, bool tcp)
{
	static uint8_t answer[65535];
	const struct rail_dns_options options = {.ttl_s = 5, .tcp = tcp};
	size_t size;

	require(rail_dns_answer(zone, &options, query->bytes, query->size, answer, sizeof(answer),
				&size) == RAIL_DNS_ANSWER);
	require(tcp || size <= 512);
	require(wire_parse(answer, size, &message) && wire_is_ours(&message));
	require(message.counts[0] == 1);
	return message.flags & 0xfU;
}

static bool is_cut(void)
{
	return (message.flags & FLAG_TC) != 0;
}

/* ---- what must come -------------------------------------------------------------------------- */

static bool is_wanted(size_t number, size_t label, size_t service)
{
	return model.replicas[number].there && model.replicas[number].service == service &&
	       (label == LABELS || model.replicas[number].label == label);
}

static size_t count_wanted(size_t label, size_t service)
{
	size_t count = 0;

	for (size_t i = 0; i < ADDRESSES; i++)
		count += is_wanted(i, label, service);
	return count;
}

static size_t check_addresses(size_t label, size_t service)
{
	bool seen[ADDRESSES] = {0};

	for (size_t i = 0; i < message.counts[1]; i++) {
		const uint8_t *data = message.bytes + message.records[i].data;
		struct in6_addr wanted = address_of(data[15]);

		require(message.records[i].type == TYPE_AAAA && data[15] < ADDRESSES);
		require(memcmp(data, wanted.s6_addr, sizeof(wanted.s6_addr)) == 0);
		require(is_wanted(data[15], label, service) && !seen[data[15]]);
		seen[data[15]] = true;
	}
	return message.counts[1];
}

/* Asks as often as there are addresses: each is the first one once. label LABELS: of a service. */
static void check_turns(struct rail_zone *zone, const struct wire_query *query, size_t label,
			size_t service, bool tcp)
{
	bool was_first[ADDRESSES] = {0};
	size_t count = count_wanted(label, service);

	for (size_t i = 0; i < count; i++) {
		require(ask(zone, query, tcp) == RCODE_NOERROR);
		size_t given = check_addresses(label, service);
		require(is_cut() ? !tcp && given < count && given > 0 : given == count);
		uint8_t first = message.bytes[message.records[0].data + 15];
		require(!was_first[first]);
		was_first[first] = true;
	}
}

/* A name with nothing of the type is there, with a SOA that says so; an unknown one is not. */
static void check_nothing(struct rail_zone *zone, const struct wire_query *query, bool exists)
{
	require(ask(zone, query, false) == (exists ? RCODE_NOERROR : RCODE_NXDOMAIN));
	require(message.counts[1] == 0 && message.counts[2] == 1 && !is_cut());
}

static void check_service(struct rail_zone *zone, size_t asked, bool tcp)
{
	size_t service = first_of(asked);
	struct wire_query query = ask_for(labels[asked], NULL, TYPE_AAAA);

	if (!model.services[service] && strcmp(labels[service], "ns") == 0) {
		require(ask(zone, &query, tcp) == RCODE_NOERROR && message.counts[1] == 1);
		return;
	}
	if (count_wanted(LABELS, service) > 0)
		check_turns(zone, &query, LABELS, service, tcp);
	else
		check_nothing(zone, &query,
			      model.services[service] || strcmp(labels[service], "_services") == 0);
	/* It has no address of the other family, and that is no reason to deny its name. */
	struct wire_query other = ask_for(labels[asked], NULL, 1);
	check_nothing(zone, &other,
		      model.services[service] || strcmp(labels[service], "_services") == 0 ||
			      strcmp(labels[service], "ns") == 0);
}

static void check_replica(struct rail_zone *zone, size_t asked, size_t asked_service, bool tcp)
{
	size_t label = first_of(asked);
	size_t service = first_of(asked_service);
	struct wire_query query = ask_for(labels[asked], labels[asked_service], TYPE_AAAA);

	if (count_wanted(label, service) > 0)
		check_turns(zone, &query, label, service, tcp);
	else
		check_nothing(zone, &query,
			      model.services[service] && strcmp(labels[label], "_replicas") == 0);
}

static bool equal_without_case(const uint8_t *one, const char *other, size_t size)
{
	for (size_t i = 0; i < size; i++) {
		uint8_t byte = (uint8_t)other[i];

		if (one[i] != (byte >= 'A' && byte <= 'Z' ? byte | 0x20U : byte))
			return false;
	}
	return true;
}

static void check_pointer(struct rail_zone *zone, size_t number)
{
	struct in6_addr address = address_of(number);
	struct wire_query query = ask_for_pointer(&address);

	if (!model.replicas[number].there) {
		check_nothing(zone, &query, false);
		return;
	}
	require(ask(zone, &query, false) == RCODE_NOERROR && message.counts[1] == 1);
	const uint8_t *name = message.bytes + message.records[0].data;
	const char *parts[] = {labels[model.replicas[number].label],
			       labels[model.replicas[number].service], "railway", "internal"};
	for (size_t i = 0; i < 4; i++) {
		require(name[0] == strlen(parts[i]));
		require(equal_without_case(name + 1, parts[i], name[0]));
		name += name[0] + 1;
	}
	require(name[0] == 0);
}

/* The listing's bytes are the labels and the commas between them. */
static void check_listing(struct rail_zone *zone)
{
	struct wire_query query = ask_for("_services", NULL, TYPE_TXT);
	size_t wanted = 0;
	size_t given = 0;
	size_t count = 0;

	for (size_t i = 0; i < LABELS; i++) {
		wanted += model.services[i] ? strlen(labels[i]) + (count > 0) : 0;
		count += model.services[i];
	}
	require(rail_zone_service_count(zone) == count);
	if (model.services[3])
		return; /* a service of that name hides the listing */
	if (count == 0) {
		check_nothing(zone, &query, true);
		return;
	}
	require(ask(zone, &query, true) == RCODE_NOERROR && message.counts[1] == 1);
	const struct wire_record *record = &message.records[0];
	for (size_t i = 0; i < record->data_size; i += message.bytes[record->data + i] + 1U)
		given += message.bytes[record->data + i];
	require(given == wanted);
}

/* ---- what happens ---------------------------------------------------------------------------- */

static void add_replica(struct rail_zone *zone, size_t service, size_t label, size_t number)
{
	struct in6_addr address = address_of(number);

	require(rail_zone_add_replica(zone, labels[service], labels[label], &address) == 0);
	model.services[first_of(service)] = true;
	model.replicas[number].there = true;
	model.replicas[number].service = first_of(service);
	model.replicas[number].label = first_of(label);
}

static void remove_replica(struct rail_zone *zone, size_t number)
{
	struct in6_addr address = address_of(number);

	rail_zone_remove_replica(zone, &address);
	model.replicas[number].there = false;
}

static void remove_service(struct rail_zone *zone, size_t service)
{
	rail_zone_remove_service(zone, labels[service]);
	model.services[first_of(service)] = false;
	for (size_t i = 0; i < ADDRESSES; i++)
		if (model.replicas[i].service == first_of(service))
			model.replicas[i].there = false;
}

static void act(struct rail_zone *zone, uint8_t action, uint8_t first, uint8_t second)
{
	size_t service = first % LABELS;
	size_t label = first / LABELS;
	size_t number = second % ADDRESSES;
	bool tcp = (second & 0x80) != 0;

	switch (action % 8) {
	case 0:
		require(rail_zone_add_service(zone, labels[service]) == 0);
		model.services[first_of(service)] = true;
		break;
	case 1:
	case 2: /* twice as often: most of what happens */
		add_replica(zone, service, label, number);
		break;
	case 3:
		remove_replica(zone, number);
		break;
	case 4:
		remove_service(zone, service);
		break;
	case 5:
		check_service(zone, service, tcp);
		break;
	case 6:
		check_replica(zone, label, service, tcp);
		break;
	default:
		check_pointer(zone, number);
		check_listing(zone);
		break;
	}
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static const struct rail_prefix prefix = {{0xfd, 0x34, 0x56, 0x78, 0x9a, 0xbc}};
	struct rail_zone *zone = rail_zone_new(&prefix);
	size_t there = 0;

	require(zone != NULL);
	memset(&model, 0, sizeof(model));
	if (size > (size_t)3 * ACTIONS_MAXIMUM)
		size = (size_t)3 * ACTIONS_MAXIMUM;
	for (size_t i = 0; i + 3 <= size; i += 3)
		act(zone, data[i], data[i + 1], data[i + 2]);
	for (size_t i = 0; i < ADDRESSES; i++)
		there += model.replicas[i].there;
	require(rail_zone_replica_count(zone) == there);
	rail_zone_free(zone);
	return 0;
}
