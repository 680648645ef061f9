#include <criterion/criterion.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "pkg/base/cleanup.h"
#include "pkg/dns/zone.h"

#define ZONE RAIL_CLEANUP(rail_zone_freep) struct rail_zone *zone

static const struct rail_prefix prefix = {{0xfd, 0x34, 0x56, 0x78, 0x9a, 0xbc}};

static struct in6_addr address_of(uint32_t number)
{
	struct in6_addr address = {0};

	memcpy(address.s6_addr, prefix.bytes, sizeof(prefix.bytes));
	address.s6_addr[12] = (uint8_t)(number >> 24);
	address.s6_addr[13] = (uint8_t)(number >> 16);
	address.s6_addr[14] = (uint8_t)(number >> 8);
	address.s6_addr[15] = (uint8_t)number;
	return address;
}

static uint32_t number_of(const struct in6_addr *address)
{
	return (uint32_t)address->s6_addr[12] << 24 | (uint32_t)address->s6_addr[13] << 16 |
	       (uint32_t)address->s6_addr[14] << 8 | address->s6_addr[15];
}

static int add(struct rail_zone *zone, const char *service, const char *replica, uint32_t number)
{
	struct in6_addr address = address_of(number);

	return rail_zone_add_replica(zone, service, replica, &address);
}

static void drop(struct rail_zone *zone, uint32_t number)
{
	struct in6_addr address = address_of(number);

	rail_zone_remove_replica(zone, &address);
}

/* The entry of "service", or of "replica", "service". */
static struct rail_zone_entry *find(struct rail_zone *zone, const char *first, const char *second)
{
	uint8_t wire[160];
	size_t size = 0;
	const char *labels[] = {first, second};

	for (size_t i = 0; i < 2 && labels[i] != NULL; i++) {
		size_t length = strlen(labels[i]);

		wire[size++] = (uint8_t)length;
		memcpy(wire + size, labels[i], length);
		size += length;
	}
	return rail_zone_find(zone, wire, size);
}

static size_t addresses(struct rail_zone *zone, const char *first, const char *second)
{
	struct rail_zone_entry *entry = find(zone, first, second);

	return entry != NULL ? rail_zone_entry_address_count(entry) : 0;
}

Test(dns_zone, starts_empty)
{
	ZONE = rail_zone_new(&prefix);

	cr_assert_not_null(zone);
	cr_assert(rail_prefix_equal(rail_zone_prefix(zone), &prefix));
	cr_assert_eq(rail_zone_service_count(zone), 0);
	cr_assert_eq(rail_zone_replica_count(zone), 0);
	cr_assert_null(find(zone, "api", NULL));
	drop(zone, 1);
	rail_zone_remove_service(zone, "api");
	rail_zone_free(NULL);
}

Test(dns_zone, adds_and_removes)
{
	ZONE = rail_zone_new(&prefix);
	struct in6_addr address = address_of(1);

	cr_assert_eq(rail_zone_add_service(zone, "Api"), 0);
	cr_assert_eq(rail_zone_add_service(zone, "api"), 0);
	cr_assert_eq(rail_zone_service_count(zone), 1);
	cr_assert_not_null(find(zone, "api", NULL));
	cr_assert_eq(addresses(zone, "api", NULL), 0);

	cr_assert_eq(add(zone, "api", "api-1", 1), 0);
	cr_assert_eq(add(zone, "api", "API-1", 1), 0);
	cr_assert_eq(add(zone, "api", "api-2", 2), 0);
	cr_assert_eq(add(zone, "db", "db-1", 3), 0);
	cr_assert_eq(rail_zone_service_count(zone), 2);
	cr_assert_eq(rail_zone_replica_count(zone), 3);
	cr_assert_eq(addresses(zone, "api", NULL), 2);
	cr_assert_eq(addresses(zone, "api-1", "api"), 1);
	cr_assert_eq((const void *)rail_zone_find_address(zone, &address),
		     (const void *)find(zone, "api-1", "api"));

	drop(zone, 1);
	cr_assert_null(find(zone, "api-1", "api"));
	cr_assert_null(rail_zone_find_address(zone, &address));
	drop(zone, 2);
	cr_assert_not_null(find(zone, "api", NULL), "a service outlives its replicas");
	cr_assert_eq(addresses(zone, "api", NULL), 0);

	rail_zone_remove_service(zone, "DB");
	cr_assert_eq(rail_zone_service_count(zone), 1);
	cr_assert_eq(rail_zone_replica_count(zone), 0);
	cr_assert_null(find(zone, "db-1", "db"));
}

Test(dns_zone, refuses_what_is_no_label)
{
	ZONE = rail_zone_new(&prefix);
	char label[65];

	memset(label, 'x', sizeof(label));
	label[64] = '\0';
	cr_assert_eq(rail_zone_add_service(zone, ""), -EINVAL);
	cr_assert_eq(rail_zone_add_service(zone, label), -EINVAL);
	cr_assert_eq(add(zone, "api", label, 1), -EINVAL);
	cr_assert_eq(add(zone, label, "a", 1), -EINVAL);
	cr_assert_eq(add(zone, "api", "", 1), -EINVAL);
	cr_assert_eq(rail_zone_service_count(zone), 0);

	label[63] = '\0';
	cr_assert_eq(add(zone, label, label, 1), 0);
	cr_assert_eq(addresses(zone, label, label), 1);
	rail_zone_remove_service(zone, label);
	cr_assert_eq(rail_zone_service_count(zone), 0);
}

Test(dns_zone, keeps_a_label_that_holds_a_dot_apart)
{
	ZONE = rail_zone_new(&prefix);

	cr_assert_eq(add(zone, "b", "a", 1), 0);
	cr_assert_eq(rail_zone_add_service(zone, "a.b"), 0);
	cr_assert_neq(find(zone, "a", "b"), find(zone, "a.b", NULL));
	cr_assert_eq(addresses(zone, "a.b", NULL), 0);
}

Test(dns_zone, gives_a_known_address_its_new_names)
{
	ZONE = rail_zone_new(&prefix);
	struct rail_zone_entry *api;

	for (uint32_t i = 1; i <= 3; i++)
		cr_assert_eq(add(zone, "api", "old", i), 0);
	api = find(zone, "api", NULL);
	cr_assert_eq(addresses(zone, "old", "api"), 3);

	cr_assert_eq(add(zone, "api", "new", 2), 0);
	cr_assert_eq(rail_zone_replica_count(zone), 3);
	cr_assert_eq(addresses(zone, "old", "api"), 2);
	cr_assert_eq(addresses(zone, "new", "api"), 1);
	for (uint32_t i = 0; i < 3; i++)
		cr_assert_eq(number_of(rail_zone_entry_address(api, i)), i + 1,
			     "a new label leaves the order as it is");

	cr_assert_eq(add(zone, "web", "new", 2), 0);
	cr_assert_eq(rail_zone_replica_count(zone), 3);
	cr_assert_eq(rail_zone_service_count(zone), 2);
	cr_assert_null(find(zone, "new", "api"));
	cr_assert_eq(addresses(zone, "api", NULL), 2);
	cr_assert_eq(addresses(zone, "new", "web"), 1);
}

Test(dns_zone, answers_all_replicas_of_one_label)
{
	ZONE = rail_zone_new(&prefix);

	cr_assert_eq(add(zone, "api", "twin", 1), 0);
	cr_assert_eq(add(zone, "api", "twin", 2), 0);
	cr_assert_eq(addresses(zone, "twin", "api"), 2);
	cr_assert_eq(rail_zone_entry_child_count(find(zone, "api", NULL)), 1);
	drop(zone, 1);
	cr_assert_eq(addresses(zone, "twin", "api"), 1);
	cr_assert_eq(number_of(rail_zone_entry_address(find(zone, "twin", "api"), 0)), 2);
}

Test(dns_zone, turns_by_one_and_stays_within_what_is_left)
{
	ZONE = rail_zone_new(&prefix);
	struct rail_zone_entry *api;

	cr_assert_eq(rail_zone_add_service(zone, "api"), 0);
	api = find(zone, "api", NULL);
	cr_assert_eq(rail_zone_entry_rotate(api), 0);
	cr_assert_eq(rail_zone_entry_rotate(api), 0);
	for (uint32_t i = 0; i < 4; i++)
		cr_assert_eq(add(zone, "api", "r", i), 0);
	for (size_t i = 0; i < 11; i++)
		cr_assert_eq(rail_zone_entry_rotate(api), i % 4);
	/* The turn is at the last one, index 3. */
	drop(zone, 0);
	cr_assert_eq(rail_zone_entry_rotate(api), 0);
	cr_assert_eq(number_of(rail_zone_entry_address(api, 0)), 3, "the last one fills the gap");
}

/* A zone as simple as can be: what every address is called. */
struct model {
	int service; /* -1: no such replica */
	int label;
};

enum { MODEL_ADDRESSES = 40, MODEL_SERVICES = 5, MODEL_LABELS = 6 };

static uint32_t next_random(uint32_t *state)
{
	*state = *state * 1664525U + 1013904223U;
	return *state >> 16;
}

static void compare(struct rail_zone *zone, const struct model *model, const bool *services)
{
	size_t replicas = 0;
	size_t service_count = 0;

	for (int s = 0; s < MODEL_SERVICES; s++) {
		char service[24];
		size_t members = 0;
		size_t label_count = 0;

		(void)snprintf(service, sizeof(service), "s%d", s);
		service_count += services[s];
		cr_assert_eq(find(zone, service, NULL) != NULL, services[s]);
		for (int l = 0; l < MODEL_LABELS; l++) {
			char label[24];
			size_t of_label = 0;

			(void)snprintf(label, sizeof(label), "l%d", l);
			for (uint32_t a = 0; a < MODEL_ADDRESSES; a++) {
				struct in6_addr address = address_of(a);

				if (model[a].service != s || model[a].label != l)
					continue;
				of_label++;
				cr_assert_eq(rail_zone_find_address(zone, &address),
					     find(zone, label, service));
			}
			cr_assert_eq(find(zone, label, service) != NULL, of_label > 0);
			cr_assert_eq(addresses(zone, label, service), of_label);
			members += of_label;
			label_count += of_label > 0;
		}
		cr_assert_eq(addresses(zone, service, NULL), members);
		replicas += members;
		if (!services[s])
			continue;

		struct rail_zone_entry *entry = find(zone, service, NULL);
		cr_assert_eq(rail_zone_entry_child_count(entry), label_count);
		bool seen[MODEL_ADDRESSES] = {false};
		for (size_t i = 0; i < members; i++) {
			uint32_t number = number_of(rail_zone_entry_address(entry, i));

			cr_assert(!seen[number] && model[number].service == s);
			seen[number] = true;
		}
		cr_assert_lt(rail_zone_entry_rotate(entry), members > 0 ? members : 1);
	}
	cr_assert_eq(rail_zone_replica_count(zone), replicas);
	cr_assert_eq(rail_zone_service_count(zone), service_count);
	cr_assert_eq(rail_zone_entry_child_count(rail_zone_find(zone, NULL, 0)), service_count);
}

Test(dns_zone, agrees_with_a_model_after_any_change)
{
	ZONE = rail_zone_new(&prefix);
	struct model model[MODEL_ADDRESSES];
	bool services[MODEL_SERVICES] = {false};
	uint32_t random = 1;

	for (size_t a = 0; a < MODEL_ADDRESSES; a++)
		model[a] = (struct model){-1, -1};
	for (int step = 0; step < 5000; step++) {
		uint32_t a = next_random(&random) % MODEL_ADDRESSES;
		int s = (int)(next_random(&random) % MODEL_SERVICES);
		int l = (int)(next_random(&random) % MODEL_LABELS);
		char service[24];
		char label[24];

		(void)snprintf(service, sizeof(service), "s%d", s);
		(void)snprintf(label, sizeof(label), "l%d", l);
		switch (next_random(&random) % 16) {
		case 0:
			rail_zone_remove_service(zone, service);
			services[s] = false;
			for (size_t i = 0; i < MODEL_ADDRESSES; i++) {
				if (model[i].service == s)
					model[i].service = -1;
			}
			break;
		case 1:
			cr_assert_eq(rail_zone_add_service(zone, service), 0);
			services[s] = true;
			break;
		case 2:
		case 3:
		case 4:
		case 5:
			drop(zone, a);
			model[a].service = -1;
			break;
		default:
			cr_assert_eq(add(zone, service, label, a), 0);
			model[a] = (struct model){s, l};
			services[s] = true;
			break;
		}
		compare(zone, model, services);
	}
}

Test(dns_zone, holds_a_thousand_services)
{
	ZONE = rail_zone_new(&prefix);

	for (uint32_t i = 0; i < 3000; i++) {
		char service[24];
		char label[24];

		(void)snprintf(service, sizeof(service), "service-%u", i / 3);
		(void)snprintf(label, sizeof(label), "replica-%u", i);
		cr_assert_eq(add(zone, service, label, i), 0);
	}
	cr_assert_eq(rail_zone_service_count(zone), 1000);
	cr_assert_eq(rail_zone_replica_count(zone), 3000);
	for (uint32_t i = 0; i < 3000; i++) {
		char service[24];
		char label[24];

		(void)snprintf(service, sizeof(service), "service-%u", i / 3);
		(void)snprintf(label, sizeof(label), "replica-%u", i);
		cr_assert_eq(addresses(zone, service, NULL), 3);
		cr_assert_eq(addresses(zone, label, service), 1);
	}
}

/* What would be quadratic takes minutes, and fails by its time. */
Test(dns_zone, adds_and_removes_many_replicas_of_one_label, .timeout = 20)
{
	enum { COUNT = 200000 };
	ZONE = rail_zone_new(&prefix);

	for (uint32_t i = 0; i < COUNT; i++)
		cr_assert_eq(add(zone, "api", i % 2 == 0 ? "same" : "other", i), 0);
	cr_assert_eq(addresses(zone, "api", NULL), COUNT);
	for (uint32_t i = 0; i < COUNT; i++)
		drop(zone, i);
	cr_assert_eq(rail_zone_replica_count(zone), 0);
	cr_assert_eq(rail_zone_service_count(zone), 1);
}
