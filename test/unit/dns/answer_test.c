#include <arpa/inet.h>
#include <criterion/criterion.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "pkg/base/cleanup.h"
#include "pkg/dns/answer.h"
#include "pkg/dns/message.h"
#include "test/unit/dns/wire.h"

#define ZONE RAIL_CLEANUP(rail_zone_freep) struct rail_zone *zone

#define OUR_REVERSE "c.b.a.9.8.7.6.5.4.3.d.f.ip6.arpa"
/* fd34:5678:9abc:7:0:1:0:<last nibble> */
#define HOST_REVERSE "0.0.0.0.0.0.0.1.0.0.0.0.0.0.0.7.0.0.0." OUR_REVERSE
#define RESOLVER_REVERSE "0.1.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.2.1.d.f.ip6.arpa"

enum { TTL_S = 5 };

static const struct rail_prefix prefix = {{0xfd, 0x34, 0x56, 0x78, 0x9a, 0xbc}};

static struct in6_addr address_of(unsigned int number)
{
	struct in6_addr address;

	cr_assert_eq(inet_pton(AF_INET6, "fd34:5678:9abc:7:0:1::", &address), 1);
	address.s6_addr[14] = (uint8_t)(number >> 8);
	address.s6_addr[15] = (uint8_t)number;
	return address;
}

static void add(struct rail_zone *zone, const char *service, const char *replica,
		unsigned int number)
{
	struct in6_addr address = address_of(number);

	cr_assert_eq(rail_zone_add_replica(zone, service, replica, &address), 0);
}

static struct rail_zone *make_zone(void)
{
	struct rail_zone *zone = rail_zone_new(&prefix);

	add(zone, "api", "api-1", 1);
	add(zone, "api", "api-2", 2);
	add(zone, "api", "api-3", 3);
	add(zone, "db", "db-1", 4);
	cr_assert_eq(rail_zone_add_service(zone, "idle"), 0);
	return zone;
}

/*
 * Asks, with query and answer on the heap at their exact sizes so that a sanitizer sees every step
 * beyond, and checks what holds of every answer.
 */
static enum rail_dns_verdict ask_with(struct rail_zone *zone, const struct wire_query *query,
				      bool tcp, size_t capacity, struct wire_message *answer)
{
	static uint8_t kept[RAIL_DNS_MESSAGE_MAXIMUM];
	struct rail_dns_options options = {.ttl_s = TTL_S, .tcp = tcp};
	RAIL_FREE uint8_t *question = malloc(query->size > 0 ? query->size : 1);
	RAIL_FREE uint8_t *bytes = malloc(capacity > 0 ? capacity : 1);
	size_t size = SIZE_MAX;

	memcpy(question, query->bytes, query->size);
	enum rail_dns_verdict verdict =
		rail_dns_answer(zone, &options, question, query->size, bytes, capacity, &size);
	if (verdict != RAIL_DNS_ANSWER) {
		cr_assert_eq(size, 0);
		return verdict;
	}

	cr_assert_leq(size, capacity);
	cr_assert_leq(size, tcp ? 65535 : 1232);
	memcpy(kept, bytes, size);
	cr_assert(wire_parse(kept, size, answer));
	cr_assert(wire_is_ours(answer));
	cr_assert_eq(answer->id, wire_u16(query->bytes));
	cr_assert_eq(answer->flags & 0x8040U, 0x8000, "QR set, Z clear");
	cr_assert((answer->flags & RAIL_DNS_FLAG_RA) != 0);
	cr_assert_eq(answer->flags & RAIL_DNS_FLAG_AD, 0);
	cr_assert_eq(answer->flags & 0x7900U, wire_u16(query->bytes + 2) & 0x7900U);
	if (answer->counts[0] == 1)
		cr_assert_arr_eq(kept + 12, query->bytes + 12, answer->question_size);
	for (size_t i = 0; i < answer->record_count; i++) {
		if (answer->records[i].type != RAIL_DNS_TYPE_OPT)
			cr_assert_eq(answer->records[i].ttl, TTL_S);
	}
	return verdict;
}

static enum rail_dns_verdict ask(struct rail_zone *zone, const char *name, unsigned int type,
				 struct wire_message *answer)
{
	struct wire_query query = wire_query_of(name, type);

	return ask_with(zone, &query, false, 4096, answer);
}

static bool data_is(const struct wire_message *answer, size_t index, const void *data, size_t size)
{
	const struct wire_record *record = &answer->records[index];

	return record->data_size == size && memcmp(answer->bytes + record->data, data, size) == 0;
}

static unsigned int number_in(const struct wire_message *answer, size_t index)
{
	return wire_u16(answer->bytes + answer->records[index].data + 14);
}

/* AddressSanitizer's (sanitizer/allocator_interface.h). */
typedef void malloc_hook(const volatile void *, size_t);
typedef void free_hook(const volatile void *);
__attribute__((weak)) int __sanitizer_install_malloc_and_free_hooks(malloc_hook *, free_hook *);

static size_t allocations;

static void count_malloc(const volatile void *pointer, size_t size)
{
	(void)pointer;
	(void)size;
	allocations++;
}

static void count_free(const volatile void *pointer)
{
	(void)pointer;
}

Test(dns_answer, allocates_nothing)
{
	static const struct {
		const char *name;
		unsigned int type;
	} rows[] = {
		{"api.railway.internal", RAIL_DNS_TYPE_AAAA},
		{"API-1.api.railway.internal", RAIL_DNS_TYPE_ANY},
		{"idle.railway.internal", RAIL_DNS_TYPE_A},
		{"nosuch.railway.internal", RAIL_DNS_TYPE_AAAA},
		{"_services.railway.internal", RAIL_DNS_TYPE_TXT},
		{"1." HOST_REVERSE, RAIL_DNS_TYPE_PTR},
		{"www.example.com", RAIL_DNS_TYPE_A},
	};
	const struct rail_dns_options options = {.ttl_s = TTL_S};
	ZONE = make_zone();
	static uint8_t answer[RAIL_DNS_MESSAGE_MAXIMUM];
	void *volatile seen;

	if (__sanitizer_install_malloc_and_free_hooks == NULL)
		cr_skip_test("built without a sanitizer: allocations cannot be counted");
	cr_assert_gt(__sanitizer_install_malloc_and_free_hooks(count_malloc, count_free), 0);
	seen = malloc(1);
	free(seen);
	cr_assert_eq(allocations, 1);
	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		struct wire_query query = wire_query_of(rows[i].name, rows[i].type);
		size_t before = allocations;
		size_t size;

		(void)rail_dns_answer(zone, &options, query.bytes, query.size, answer,
				      sizeof(answer), &size);
		cr_assert_eq(allocations, before, "%s", rows[i].name);
	}
}

enum outcome { DATA, NODATA, NXDOMAIN, REFUSED, FORWARD };

Test(dns_answer, decides_by_name_and_type)
{
	static const struct {
		const char *name;
		unsigned int type;
		enum outcome outcome;
		const char *apex; /* of the SOA in a negative answer */
	} rows[] = {
		{"api.railway.internal", RAIL_DNS_TYPE_AAAA, DATA, NULL},
		{"aPI.RAILway.internaL", RAIL_DNS_TYPE_AAAA, DATA, NULL},
		{"api-1.api.railway.internal", RAIL_DNS_TYPE_AAAA, DATA, NULL},
		{"api.railway.internal", RAIL_DNS_TYPE_A, NODATA, "railway.internal"},
		{"api-1.api.railway.internal", RAIL_DNS_TYPE_A, NODATA, "railway.internal"},
		{"api.railway.internal", 65, NODATA, "railway.internal"}, /* HTTPS */
		{"api.railway.internal", 65535, NODATA, "railway.internal"},
		{"api.railway.internal", 0, NODATA, "railway.internal"},
		{"api.railway.internal", RAIL_DNS_TYPE_TXT, NODATA, "railway.internal"},
		{"api.railway.internal", RAIL_DNS_TYPE_SOA, NODATA, "railway.internal"},
		{"idle.railway.internal", RAIL_DNS_TYPE_AAAA, NODATA, "railway.internal"},
		{"idle.railway.internal", RAIL_DNS_TYPE_A, NODATA, "railway.internal"},
		{"idle.railway.internal", RAIL_DNS_TYPE_ANY, DATA, NULL},
		{"api.railway.internal", RAIL_DNS_TYPE_ANY, DATA, NULL},
		{"none.railway.internal", RAIL_DNS_TYPE_AAAA, NXDOMAIN, "railway.internal"},
		{"none.railway.internal", RAIL_DNS_TYPE_A, NXDOMAIN, "railway.internal"},
		{"none.railway.internal", RAIL_DNS_TYPE_ANY, NXDOMAIN, "railway.internal"},
		{"none.api.railway.internal", RAIL_DNS_TYPE_AAAA, NXDOMAIN, "railway.internal"},
		{"api-1.db.railway.internal", RAIL_DNS_TYPE_AAAA, NXDOMAIN, "railway.internal"},
		{"a.api-1.api.railway.internal", RAIL_DNS_TYPE_AAAA, NXDOMAIN, "railway.internal"},
		{"api.api.railway.internal", RAIL_DNS_TYPE_AAAA, NXDOMAIN, "railway.internal"},
		{"a.b.c.d.e.f.RaIlWaY.InTeRnAl", RAIL_DNS_TYPE_AAAA, NXDOMAIN, "railway.internal"},

		{"railway.internal", RAIL_DNS_TYPE_SOA, DATA, NULL},
		{"railway.internal", RAIL_DNS_TYPE_NS, DATA, NULL},
		{"railway.internal", RAIL_DNS_TYPE_ANY, DATA, NULL},
		{"railway.internal", RAIL_DNS_TYPE_AAAA, NODATA, "railway.internal"},
		{"railway.internal", RAIL_DNS_TYPE_A, NODATA, "railway.internal"},
		{"railway.internal", 43, NODATA, "railway.internal"}, /* DS */
		{"ns.railway.internal", RAIL_DNS_TYPE_AAAA, DATA, NULL},
		{"ns.railway.internal", RAIL_DNS_TYPE_A, NODATA, "railway.internal"},
		{"a.ns.railway.internal", RAIL_DNS_TYPE_AAAA, NXDOMAIN, "railway.internal"},

		{"_services.railway.internal", RAIL_DNS_TYPE_TXT, DATA, NULL},
		{"_services.railway.internal", RAIL_DNS_TYPE_A, NODATA, "railway.internal"},
		{"_replicas.api.railway.internal", RAIL_DNS_TYPE_TXT, DATA, NULL},
		{"_replicas.api.railway.internal", RAIL_DNS_TYPE_AAAA, NODATA, "railway.internal"},
		{"_replicas.idle.railway.internal", RAIL_DNS_TYPE_TXT, NODATA, "railway.internal"},
		{"_replicas.none.railway.internal", RAIL_DNS_TYPE_TXT, NXDOMAIN,
		 "railway.internal"},
		{"_replicas.railway.internal", RAIL_DNS_TYPE_TXT, NXDOMAIN, "railway.internal"},
		{"_services.api.railway.internal", RAIL_DNS_TYPE_TXT, NXDOMAIN, "railway.internal"},
		{"_replicas._services.railway.internal", RAIL_DNS_TYPE_TXT, NXDOMAIN,
		 "railway.internal"},

		{"1." HOST_REVERSE, RAIL_DNS_TYPE_PTR, DATA, NULL},
		{"1." HOST_REVERSE, RAIL_DNS_TYPE_AAAA, NODATA, OUR_REVERSE},
		{"1." HOST_REVERSE, RAIL_DNS_TYPE_ANY, DATA, NULL},
		{"9." HOST_REVERSE, RAIL_DNS_TYPE_PTR, NXDOMAIN, OUR_REVERSE},
		{"9.1." HOST_REVERSE, RAIL_DNS_TYPE_PTR, NXDOMAIN, OUR_REVERSE},
		{"x.1." HOST_REVERSE, RAIL_DNS_TYPE_PTR, NXDOMAIN, OUR_REVERSE},
		{"x." OUR_REVERSE, RAIL_DNS_TYPE_PTR, NXDOMAIN, OUR_REVERSE},
		{"10." OUR_REVERSE, RAIL_DNS_TYPE_PTR, NXDOMAIN, OUR_REVERSE},
		{"g." HOST_REVERSE, RAIL_DNS_TYPE_PTR, NXDOMAIN, OUR_REVERSE},
		{HOST_REVERSE, RAIL_DNS_TYPE_PTR, NODATA, OUR_REVERSE},
		{"7.0.0.0." OUR_REVERSE, RAIL_DNS_TYPE_PTR, NODATA, OUR_REVERSE},
		{OUR_REVERSE, RAIL_DNS_TYPE_SOA, DATA, NULL},
		{OUR_REVERSE, RAIL_DNS_TYPE_NS, DATA, NULL},
		{OUR_REVERSE, RAIL_DNS_TYPE_PTR, NODATA, OUR_REVERSE},

		{RESOLVER_REVERSE, RAIL_DNS_TYPE_PTR, DATA, NULL},
		{RESOLVER_REVERSE, RAIL_DNS_TYPE_TXT, NODATA, "d.f.ip6.arpa"},
		{"0.0.0.0.2.1.d.f.ip6.arpa", RAIL_DNS_TYPE_PTR, NODATA, "d.f.ip6.arpa"},
		{"b.a.9.8.7.6.5.4.3.d.f.ip6.arpa", RAIL_DNS_TYPE_PTR, NODATA, "d.f.ip6.arpa"},
		{"3.d.f.ip6.arpa", RAIL_DNS_TYPE_PTR, NODATA, "d.f.ip6.arpa"},
		{"5.d.f.ip6.arpa", RAIL_DNS_TYPE_PTR, NXDOMAIN, "d.f.ip6.arpa"},
		{"x.3.d.f.ip6.arpa", RAIL_DNS_TYPE_PTR, NXDOMAIN, "d.f.ip6.arpa"},
		{"D.F.IP6.ARPA", RAIL_DNS_TYPE_SOA, DATA, NULL},
		{"d.f.ip6.arpa", RAIL_DNS_TYPE_PTR, NODATA, "d.f.ip6.arpa"},
		{"0.c.f.ip6.arpa", RAIL_DNS_TYPE_PTR, NXDOMAIN, "c.f.ip6.arpa"},
		{"0.8.e.f.ip6.arpa", RAIL_DNS_TYPE_PTR, NXDOMAIN, "8.e.f.ip6.arpa"},
		{"0.b.e.f.ip6.arpa", RAIL_DNS_TYPE_PTR, NXDOMAIN, "b.e.f.ip6.arpa"},
		{"0.8.b.d.0.1.0.0.2.ip6.arpa", RAIL_DNS_TYPE_PTR, NXDOMAIN,
		 "8.b.d.0.1.0.0.2.ip6.arpa"},
		{"0.c.e.f.ip6.arpa", RAIL_DNS_TYPE_PTR, FORWARD, NULL},
		{"0.7.e.f.ip6.arpa", RAIL_DNS_TYPE_PTR, FORWARD, NULL},
		{"0.e.f.ip6.arpa", RAIL_DNS_TYPE_PTR, FORWARD, NULL},
		{"0.b.f.ip6.arpa", RAIL_DNS_TYPE_PTR, FORWARD, NULL},
		{"0.7.b.d.0.1.0.0.2.ip6.arpa", RAIL_DNS_TYPE_PTR, FORWARD, NULL},
		{"f.ip6.arpa", RAIL_DNS_TYPE_PTR, FORWARD, NULL},
		{"ip6.arpa", RAIL_DNS_TYPE_SOA, FORWARD, NULL},

		{"1.0.0.10.in-addr.arpa", RAIL_DNS_TYPE_PTR, NXDOMAIN, "10.in-addr.arpa"},
		{"x.10.in-addr.arpa", RAIL_DNS_TYPE_PTR, NXDOMAIN, "10.in-addr.arpa"},
		{"10.IN-ADDR.arpa", RAIL_DNS_TYPE_SOA, DATA, NULL},
		{"1.0.0.127.in-addr.arpa", RAIL_DNS_TYPE_PTR, NXDOMAIN, "127.in-addr.arpa"},
		{"1.0.0.0.in-addr.arpa", RAIL_DNS_TYPE_PTR, NXDOMAIN, "0.in-addr.arpa"},
		{"1.1.254.169.in-addr.arpa", RAIL_DNS_TYPE_PTR, NXDOMAIN, "254.169.in-addr.arpa"},
		{"1.1.168.192.in-addr.arpa", RAIL_DNS_TYPE_PTR, NXDOMAIN, "168.192.in-addr.arpa"},
		{"1.1.16.172.in-addr.arpa", RAIL_DNS_TYPE_PTR, NXDOMAIN, "16.172.in-addr.arpa"},
		{"1.1.31.172.in-addr.arpa", RAIL_DNS_TYPE_PTR, NXDOMAIN, "31.172.in-addr.arpa"},
		{"1.1.64.100.in-addr.arpa", RAIL_DNS_TYPE_PTR, NXDOMAIN, "64.100.in-addr.arpa"},
		{"1.1.127.100.in-addr.arpa", RAIL_DNS_TYPE_PTR, NXDOMAIN, "127.100.in-addr.arpa"},
		{"1.2.0.192.in-addr.arpa", RAIL_DNS_TYPE_PTR, NXDOMAIN, "2.0.192.in-addr.arpa"},
		{"255.255.255.255.in-addr.arpa", RAIL_DNS_TYPE_SOA, DATA, NULL},
		{"1.1.15.172.in-addr.arpa", RAIL_DNS_TYPE_PTR, FORWARD, NULL},
		{"1.1.32.172.in-addr.arpa", RAIL_DNS_TYPE_PTR, FORWARD, NULL},
		{"1.1.63.100.in-addr.arpa", RAIL_DNS_TYPE_PTR, FORWARD, NULL},
		{"1.1.128.100.in-addr.arpa", RAIL_DNS_TYPE_PTR, FORWARD, NULL},
		{"254.255.255.255.in-addr.arpa", RAIL_DNS_TYPE_PTR, FORWARD, NULL},
		{"1.1.1.1.in-addr.arpa", RAIL_DNS_TYPE_PTR, FORWARD, NULL},
		{"266.in-addr.arpa", RAIL_DNS_TYPE_PTR, FORWARD, NULL}, /* 10 modulo 256 */
		{"010.in-addr.arpa", RAIL_DNS_TYPE_PTR, FORWARD, NULL},
		{"192.in-addr.arpa", RAIL_DNS_TYPE_PTR, FORWARD, NULL},
		{"in-addr.arpa", RAIL_DNS_TYPE_PTR, FORWARD, NULL},
		{"10.in-addr.arpa.example", RAIL_DNS_TYPE_PTR, FORWARD, NULL},

		{"", RAIL_DNS_TYPE_NS, FORWARD, NULL},
		{"", RAIL_DNS_TYPE_ANY, FORWARD, NULL},
		{"internal", RAIL_DNS_TYPE_AAAA, FORWARD, NULL},
		{"arpa", RAIL_DNS_TYPE_AAAA, FORWARD, NULL},
		{"xrailway.internal", RAIL_DNS_TYPE_AAAA, FORWARD, NULL},
		{"api", RAIL_DNS_TYPE_AAAA, FORWARD, NULL},
		{"railway.internal.example.com", RAIL_DNS_TYPE_AAAA, FORWARD, NULL},
		{"api.railway.internal", RAIL_DNS_TYPE_AXFR, REFUSED, NULL},
		{"railway.internal", RAIL_DNS_TYPE_IXFR, REFUSED, NULL},
		{"example.com", RAIL_DNS_TYPE_AXFR, REFUSED, NULL},
	};
	static struct wire_message answer;
	ZONE = make_zone();

	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		enum rail_dns_verdict verdict = ask(zone, rows[i].name, rows[i].type, &answer);
		enum outcome outcome = rows[i].outcome;

		cr_assert_eq(verdict, outcome == FORWARD ? RAIL_DNS_FORWARD : RAIL_DNS_ANSWER,
			     "%s %u", rows[i].name, rows[i].type);
		if (outcome == FORWARD)
			continue;
		unsigned int rcode = outcome == NXDOMAIN  ? RAIL_DNS_NXDOMAIN
				     : outcome == REFUSED ? RAIL_DNS_REFUSED
							  : RAIL_DNS_NOERROR;
		cr_assert_eq(answer.flags & 0xf, rcode, "%s %u: rcode %u", rows[i].name,
			     rows[i].type, answer.flags & 0xfU);
		cr_assert_eq((answer.flags & RAIL_DNS_FLAG_AA) != 0, outcome != REFUSED);
		cr_assert_eq(answer.flags & RAIL_DNS_FLAG_TC, 0);
		cr_assert_eq(answer.counts[1] > 0, outcome == DATA, "%s %u", rows[i].name,
			     rows[i].type);
		cr_assert_eq(answer.counts[2], outcome == NODATA || outcome == NXDOMAIN);
		cr_assert_eq(answer.counts[3], 0);
		if (answer.counts[2] == 0)
			continue;

		const struct wire_record *soa = &answer.records[0];
		struct wire_query apex = {.size = 0};
		uint8_t name[256];
		size_t name_size;
		wire_add_name(&apex, rows[i].apex);
		cr_assert_eq(soa->type, RAIL_DNS_TYPE_SOA);
		cr_assert_neq(wire_expand(answer.bytes, answer.size, soa->owner, name, &name_size),
			      0);
		cr_assert_eq(name_size, apex.size, "%s: SOA", rows[i].name);
		for (size_t k = 0; k < name_size; k++)
			cr_assert_eq(name[k] | 0x20, apex.bytes[k] | 0x20);
		const uint8_t *minimum = answer.bytes + soa->data + soa->data_size - 4;
		cr_assert_eq(wire_u16(minimum) << 16 | wire_u16(minimum + 2), TTL_S);
	}
}

Test(dns_answer, refuses_other_classes_and_forwards_none)
{
	static const unsigned int classes[] = {0, 3, 4, 254, 255, 65535};
	static const char *const names[] = {"RaIlWaY.InTeRnAl", "api.railway.internal",
					    "version.bind", "example.com", "1.10.in-addr.arpa"};
	static struct wire_message answer;
	ZONE = make_zone();

	for (size_t c = 0; c < sizeof(classes) / sizeof(classes[0]); c++) {
		for (size_t n = 0; n < sizeof(names) / sizeof(names[0]); n++) {
			struct wire_query query =
				wire_query_of_class(names[n], RAIL_DNS_TYPE_TXT, classes[c]);

			cr_assert_eq(ask_with(zone, &query, false, 512, &answer), RAIL_DNS_ANSWER);
			cr_assert_eq(answer.flags & 0xf, RAIL_DNS_REFUSED);
			cr_assert_eq(answer.record_count, 0);
			cr_assert_eq(answer.counts[0], 1);
		}
	}
}

Test(dns_answer, answers_what_is_malformed_with_an_error)
{
	static struct wire_message answer;
	struct wire_query query = wire_query_of("api.railway.internal", RAIL_DNS_TYPE_AAAA);
	ZONE = make_zone();

	for (size_t size = 0; size < query.size; size++) {
		struct wire_query cut = query;

		cut.size = size;
		cr_assert_eq(ask_with(zone, &cut, false, 512, &answer),
			     size < 12 ? RAIL_DNS_DROP : RAIL_DNS_ANSWER);
		if (size < 12)
			continue;
		cr_assert_eq(answer.flags & 0xf, RAIL_DNS_FORMERR);
		cr_assert_eq(answer.size, 12);
	}
	query.size++;
	cr_assert_eq(ask_with(zone, &query, false, 512, &answer), RAIL_DNS_ANSWER);
	cr_assert_eq(answer.flags & 0xf, RAIL_DNS_FORMERR);

	query = wire_query_of("api.railway.internal", RAIL_DNS_TYPE_AAAA);
	query.bytes[2] |= 0x80;
	cr_assert_eq(ask_with(zone, &query, false, 512, &answer), RAIL_DNS_DROP);
	query.bytes[2] = 0x29;
	cr_assert_eq(ask_with(zone, &query, false, 512, &answer), RAIL_DNS_ANSWER);
	cr_assert_eq(answer.flags, 0xa984);

	query = wire_query_of("api.railway.internal", RAIL_DNS_TYPE_AAAA);
	wire_add_opt(&query, 1232, 0x00018000, "", 0);
	cr_assert_eq(ask_with(zone, &query, false, 512, &answer), RAIL_DNS_ANSWER);
	cr_assert_eq(answer.record_count, 1);
	cr_assert_eq(answer.records[0].ttl, 0x01008000, "BADVERS, our version 0, DO");
	cr_assert_eq(answer.flags & 0xf, 0);
}

Test(dns_answer, holds_the_right_data)
{
	static struct wire_message answer;
	ZONE = make_zone();

	cr_assert_eq(ask(zone, "db.railway.internal", RAIL_DNS_TYPE_AAAA, &answer),
		     RAIL_DNS_ANSWER);
	struct in6_addr address = address_of(4);
	cr_assert_eq(answer.record_count, 1);
	cr_assert(data_is(&answer, 0, &address, 16));
	(void)ask(zone, "api-2.api.railway.internal", RAIL_DNS_TYPE_AAAA, &answer);
	cr_assert_eq(answer.record_count, 1);
	cr_assert_eq(number_in(&answer, 0), 2);

	(void)ask(zone, "ns.railway.internal", RAIL_DNS_TYPE_AAAA, &answer);
	cr_assert(data_is(&answer, 0, "\xfd\x12\0\0\0\0\0\0\0\0\0\0\0\0\0\x10", 16));
	(void)ask(zone, "railway.internal", RAIL_DNS_TYPE_NS, &answer);
	cr_assert(data_is(&answer, 0, "\2ns\7railway\10internal", 21));
	(void)ask(zone, OUR_REVERSE, RAIL_DNS_TYPE_NS, &answer);
	cr_assert(data_is(&answer, 0, "\2ns\7railway\10internal", 21));
	(void)ask(zone, RESOLVER_REVERSE, RAIL_DNS_TYPE_PTR, &answer);
	cr_assert(data_is(&answer, 0, "\2ns\7railway\10internal", 21));
	(void)ask(zone, "4." HOST_REVERSE, RAIL_DNS_TYPE_PTR, &answer);
	cr_assert_eq(answer.records[0].type, RAIL_DNS_TYPE_PTR);
	cr_assert(data_is(&answer, 0, "\4db-1\2db\7railway\10internal", 26));
	(void)ask(zone, "api.railway.internal", RAIL_DNS_TYPE_ANY, &answer);
	cr_assert_eq(answer.records[0].type, RAIL_DNS_TYPE_HINFO);
	cr_assert(data_is(&answer, 0, "\7RFC8482", 9));
	(void)ask(zone, "_services.railway.internal", RAIL_DNS_TYPE_TXT, &answer);
	cr_assert(data_is(&answer, 0, "\13api,db,idle", 12));
	(void)ask(zone, "_replicas.api.railway.internal", RAIL_DNS_TYPE_TXT, &answer);
	cr_assert(data_is(&answer, 0, "\21api-1,api-2,api-3", 18));
	(void)ask(zone, "railway.internal", RAIL_DNS_TYPE_SOA, &answer);
	cr_assert_eq(answer.counts[1], 1);
	cr_assert_eq(answer.counts[2], 0);
	cr_assert_eq(memcmp(answer.bytes + answer.records[0].data,
			    "\2ns\7railway\10internal\0\12hostmaster\7railway\10internal", 50),
		     0);
}

Test(dns_answer, prefers_a_service_called_ns)
{
	static struct wire_message answer;
	ZONE = make_zone();

	add(zone, "ns", "a", 77);
	(void)ask(zone, "ns.railway.internal", RAIL_DNS_TYPE_AAAA, &answer);
	cr_assert_eq(answer.counts[1], 1);
	cr_assert_eq(number_in(&answer, 0), 77);
}

Test(dns_answer, knows_dots_and_nuls_within_labels)
{
	static struct wire_message answer;
	static const char *const names[] = {"\11api-1.api\7railway\10internal",
					    "\4api\0\7railway\10internal",
					    "\3a\0i\7railway\10internal"};
	static const size_t sizes[] = {28, 23, 22};
	ZONE = make_zone();

	for (size_t i = 0; i < 3; i++) {
		struct wire_query query = {.size = 0};

		wire_add(&query, "\0\0\1\0\0\1\0\0\0\0\0\0", 12);
		wire_add(&query, names[i], sizes[i]);
		wire_add_u16(&query, RAIL_DNS_TYPE_AAAA);
		wire_add_u16(&query, RAIL_DNS_CLASS_IN);
		cr_assert_eq(ask_with(zone, &query, false, 512, &answer), RAIL_DNS_ANSWER);
		cr_assert_eq(answer.flags & 0xf, RAIL_DNS_NXDOMAIN, "name %zu", i);
	}
}

/* The longest name below a suffix of size bytes: 255 in all. */
static struct wire_query longest_below(const void *suffix, size_t size, unsigned int type)
{
	struct wire_query query = {.size = 0};
	size_t left = 255 - size;
	uint8_t label[64];

	memset(label, 'x', sizeof(label));
	wire_add(&query, "\0\0\1\0\0\1\0\0\0\0\0\0", 12);
	while (left > 0) {
		size_t length = left >= 64 ? 63 : left - 1;

		/* One byte that is left over would have no label. */
		if (left - length - 1 == 1)
			length--;
		label[0] = (uint8_t)length;
		wire_add(&query, label, length + 1);
		left -= length + 1;
	}
	wire_add(&query, suffix, size);
	wire_add_u16(&query, type);
	wire_add_u16(&query, RAIL_DNS_CLASS_IN);
	return query;
}

Test(dns_answer, answers_the_longest_names_within_512_bytes)
{
	static struct wire_message answer;
	static const struct {
		const char *suffix;
		size_t size;
	} rows[] = {
		{"\7railway\10internal", 18},
		{"\3api\7railway\10internal", 22},
		{"\1c\1b\1a\0019\0018\0017\0016\0015\0014\0013\1d\1f\3ip6\4arpa", 34},
	};
	ZONE = make_zone();

	for (size_t i = 0; i < 3; i++) {
		struct wire_query query = longest_below(rows[i].suffix, rows[i].size, 12);

		cr_assert_eq(query.size, 12 + 255 + 4);
		wire_add_opt(&query, 512, 0, "", 0);
		cr_assert_eq(ask_with(zone, &query, false, 512, &answer), RAIL_DNS_ANSWER);
		cr_assert_eq(answer.flags & 0x20f, RAIL_DNS_NXDOMAIN, "row %zu", i);
		cr_assert_eq(answer.counts[2], 1);
	}
}

Test(dns_answer, turns_by_one_for_each_aaaa_query_and_for_no_other)
{
	static struct wire_message answer;
	ZONE = make_zone();

	for (unsigned int i = 0; i < 10; i++) {
		(void)ask(zone, "api.railway.internal", RAIL_DNS_TYPE_A, &answer);
		(void)ask(zone, "api.railway.internal", RAIL_DNS_TYPE_ANY, &answer);
		(void)ask(zone, "db.railway.internal", RAIL_DNS_TYPE_AAAA, &answer);
		(void)ask(zone, "api-2.api.railway.internal", RAIL_DNS_TYPE_AAAA, &answer);
		(void)ask(zone, "api.railway.internal", RAIL_DNS_TYPE_AAAA, &answer);
		cr_assert_eq(answer.record_count, 3);
		for (unsigned int k = 0; k < 3; k++)
			cr_assert_eq(number_in(&answer, k), (i + k) % 3 + 1);
	}
}

Test(dns_answer, gives_every_replica_its_turn_though_answers_are_cut)
{
	enum { COUNT = 100 };
	static struct wire_message answer;
	ZONE = make_zone();
	size_t expected = (512 - 12 - 27) / 28;
	unsigned int seen[COUNT] = {0};

	for (unsigned int i = 0; i < COUNT; i++)
		add(zone, "many", "m", 1000 + i);
	for (unsigned int i = 0; i < COUNT; i++) {
		(void)ask(zone, "many.railway.internal", RAIL_DNS_TYPE_AAAA, &answer);
		cr_assert((answer.flags & RAIL_DNS_FLAG_TC) != 0);
		cr_assert_eq(answer.counts[1], expected);
		cr_assert_eq(answer.counts[2], 0);
		for (unsigned int k = 0; k < expected; k++) {
			cr_assert_eq(number_in(&answer, k), 1000 + (i + k) % COUNT);
			seen[(i + k) % COUNT]++;
		}
	}
	for (unsigned int i = 0; i < COUNT; i++)
		cr_assert_eq(seen[i], expected);
}

Test(dns_answer, fits_whatever_size_the_client_takes)
{
	enum { COUNT = 50 };
	static struct wire_message answer;
	ZONE = make_zone();

	for (unsigned int i = 0; i < COUNT; i++)
		add(zone, "many", "m", 1000 + i);
	for (unsigned int size = 0; size < 1400; size++) {
		struct wire_query query =
			wire_query_of("many.railway.internal", RAIL_DNS_TYPE_AAAA);
		size_t limit = size < 512 ? 512 : size > 1232 ? 1232 : size;
		size_t expected = (limit - 12 - 27 - 11) / 28;

		wire_add_opt(&query, size, 0, "", 0);
		cr_assert_eq(ask_with(zone, &query, false, 4096, &answer), RAIL_DNS_ANSWER);
		cr_assert_leq(answer.size, limit);
		cr_assert_eq(answer.counts[1], expected, "%u bytes", size);
		cr_assert_eq(answer.counts[3], 1);
		cr_assert_eq((answer.flags & RAIL_DNS_FLAG_TC) != 0, expected < COUNT);
	}
}

Test(dns_answer, fits_whatever_room_there_is)
{
	static const struct {
		const char *name;
		unsigned int type;
	} rows[] = {
		{"many.railway.internal", RAIL_DNS_TYPE_AAAA},
		{"none.railway.internal", RAIL_DNS_TYPE_AAAA},
		{"_replicas.many.railway.internal", RAIL_DNS_TYPE_TXT},
		{"1." HOST_REVERSE, RAIL_DNS_TYPE_PTR},
		{"railway.internal", RAIL_DNS_TYPE_SOA},
		{"railway.internal", RAIL_DNS_TYPE_ANY},
		{"api.railway.internal", RAIL_DNS_TYPE_AXFR},
	};
	static struct wire_message answer;
	ZONE = make_zone();

	for (unsigned int i = 0; i < 60; i++) {
		char label[32];

		(void)snprintf(label, sizeof(label), "replica-number-%u", i);
		add(zone, "many", label, 1000 + i);
	}
	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		for (int edns = 0; edns <= 1; edns++) {
			struct wire_query query = wire_query_of(rows[i].name, rows[i].type);
			size_t least = query.size;
			size_t records = 0;

			if (edns) {
				wire_add_opt(&query, 1232, 0, "", 0);
				least += 11;
			}
			for (size_t capacity = 0; capacity <= 1233; capacity++) {
				enum rail_dns_verdict verdict =
					ask_with(zone, &query, false, capacity, &answer);

				cr_assert_eq(verdict,
					     capacity < least ? RAIL_DNS_DROP : RAIL_DNS_ANSWER,
					     "%s in %zu bytes", rows[i].name, capacity);
				if (verdict != RAIL_DNS_ANSWER)
					continue;
				if (answer.record_count == (size_t)edns &&
				    rows[i].type != RAIL_DNS_TYPE_AXFR)
					cr_assert((answer.flags & RAIL_DNS_FLAG_TC) != 0);
				cr_assert_geq(answer.record_count, records, "more room, no less");
				records = answer.record_count;
			}
		}
	}
}

/* The text of a TXT record: its strings put together. */
static size_t text_of(const struct wire_message *answer, char *text)
{
	const struct wire_record *record = &answer->records[0];
	size_t size = 0;

	cr_assert_eq(record->type, RAIL_DNS_TYPE_TXT);
	for (size_t position = 0; position < record->data_size;) {
		const uint8_t *string = answer->bytes + record->data + position;

		position += string[0] + 1U;
		cr_assert(string[0] == 255 || position == record->data_size,
			  "all strings but the last are full");
		memcpy(text + size, string + 1, string[0]);
		size += string[0];
	}
	text[size] = '\0';
	return size;
}

Test(dns_answer, lists_as_many_names_as_fit)
{
	static struct wire_message answer;
	static char whole[65536];
	static char text[65536];
	ZONE = make_zone();
	struct wire_query query = wire_query_of("_replicas.many.railway.internal", 16);
	size_t names = 0;

	for (unsigned int i = 0; i < 300; i++) {
		char label[64];

		/* Of all lengths, so that names end at every place of a string. */
		(void)snprintf(label, sizeof(label), "%0*u", (int)(4 + i % 59), i);
		add(zone, "many", label, 1000 + i);
	}
	(void)ask_with(zone, &query, true, 65535, &answer);
	cr_assert_eq(answer.flags & RAIL_DNS_FLAG_TC, 0);
	size_t whole_size = text_of(&answer, whole);
	for (size_t i = 0; i <= whole_size; i++)
		names += whole[i] == ',' || whole[i] == '\0';
	cr_assert_eq(names, 300);

	size_t last = 0;
	for (size_t capacity = query.size; capacity < answer.size + 2 && capacity < 12000;
	     capacity++) {
		static struct wire_message cut;

		(void)ask_with(zone, &query, true, capacity, &cut);
		if (cut.record_count == 0)
			continue;
		size_t size = text_of(&cut, text);
		cr_assert_geq(size, last);
		last = size;
		cr_assert_eq(memcmp(text, whole, size), 0);
		cr_assert(whole[size] == ',' || whole[size] == '\0', "whole names only");
		cr_assert_eq((cut.flags & RAIL_DNS_FLAG_TC) != 0, size < whole_size);
	}
	cr_assert_eq(last, whole_size);
}

Test(dns_answer, fills_a_tcp_message_and_no_more)
{
	enum { COUNT = 10000 };
	static struct wire_message answer;
	ZONE = make_zone();
	struct wire_query query = wire_query_of("many.railway.internal", RAIL_DNS_TYPE_AAAA);
	struct wire_query listing = wire_query_of("_replicas.many.railway.internal", 16);

	for (unsigned int i = 0; i < 2000; i++) {
		char label[32];

		(void)snprintf(label, sizeof(label), "replica-number-%u", i);
		add(zone, "many", label, 1000 + i);
	}
	cr_assert_eq(ask_with(zone, &query, true, 65535, &answer), RAIL_DNS_ANSWER);
	cr_assert_eq(answer.counts[1], 2000);
	cr_assert_eq(answer.flags & RAIL_DNS_FLAG_TC, 0);

	for (unsigned int i = 2000; i < COUNT; i++) {
		char label[32];

		(void)snprintf(label, sizeof(label), "replica-number-%u", i);
		add(zone, "many", label, 1000 + i);
	}
	cr_assert_eq(ask_with(zone, &query, true, 100000, &answer), RAIL_DNS_ANSWER);
	cr_assert_eq(answer.counts[1], (65535 - 39) / 28);
	cr_assert((answer.flags & RAIL_DNS_FLAG_TC) != 0);
	cr_assert_eq(ask_with(zone, &listing, true, 100000, &answer), RAIL_DNS_ANSWER);
	cr_assert((answer.flags & RAIL_DNS_FLAG_TC) != 0);
	cr_assert_gt(answer.size, 65500);
}

Test(dns_answer, knows_only_its_own_zone)
{
	static const struct rail_prefix other_prefix = {{0xfd, 1, 2, 3, 4, 5}};
	static struct wire_message answer;
	ZONE = make_zone();
	RAIL_CLEANUP(rail_zone_freep) struct rail_zone *other = rail_zone_new(&other_prefix);

	cr_assert_not_null(zone);
	(void)ask(other, "api.railway.internal", RAIL_DNS_TYPE_AAAA, &answer);
	cr_assert_eq(answer.flags & 0xf, RAIL_DNS_NXDOMAIN);
	(void)ask(other, "1." HOST_REVERSE, RAIL_DNS_TYPE_PTR, &answer);
	cr_assert_eq(answer.flags & 0xf, RAIL_DNS_NXDOMAIN);
	(void)ask(other, OUR_REVERSE, RAIL_DNS_TYPE_SOA, &answer);
	cr_assert_eq(answer.flags & 0xf, RAIL_DNS_NXDOMAIN, "no trace of another environment");
}

/* Whatever is done to a query: what comes back is whole, and checked in ask_with. */
Test(dns_answer, survives_any_change_of_a_query)
{
	static struct wire_message answer;
	ZONE = make_zone();
	struct wire_query queries[] = {
		wire_query_of("api-1.api.railway.internal", RAIL_DNS_TYPE_AAAA),
		wire_query_of("1." HOST_REVERSE, RAIL_DNS_TYPE_PTR),
		wire_query_of("_services.railway.internal", RAIL_DNS_TYPE_TXT),
	};

	for (size_t i = 0; i < sizeof(queries) / sizeof(queries[0]); i++) {
		wire_add_opt(&queries[i], 1232, 0x8000, "\0\x0a\0\2ab", 6);
		for (size_t position = 0; position < queries[i].size; position++) {
			for (unsigned int value = 0; value < 256; value++) {
				struct wire_query changed = queries[i];

				changed.bytes[position] = (uint8_t)value;
				(void)ask_with(zone, &changed, false, 4096, &answer);
			}
		}
	}
}
