#include "pkg/dns/zone.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "pkg/base/cleanup.h"
#include "pkg/dns/hash.h"
#include "pkg/dns/name.h"
#include "pkg/dns/table.h"

/* A replica's label and its service's, each with its length byte. */
#define RELATIVE_SIZE (2 * (RAIL_NAME_LABEL_SIZE + 1))

#define OWNER_OF(link_pointer, type, member)                                                       \
	((type *)(void *)((char *)(link_pointer)-offsetof(type, member)))

/* Every replica is a member of two entries: its service's, and its own label's. */
enum role {
	ROLE_SERVICE,
	ROLE_LABEL,
	ROLE_COUNT,
};

struct replica {
	struct rail_table_link link;
	struct in6_addr address;
	struct {
		struct rail_zone_entry *entry;
		size_t index; /* in the entry's members */
	} places[ROLE_COUNT];
};

/* The address stands here once more: an answer then reads one array and nothing else. */
struct member {
	struct in6_addr address;
	struct replica *replica;
};

struct rail_zone_entry {
	struct rail_table_link link;
	struct rail_zone_entry *parent; /* NULL: the root */
	size_t index;			/* in the parent's children */
	enum role role;			/* of the members' places */

	struct rail_zone_entry **children;
	size_t child_count;
	size_t child_capacity;

	struct member *members;
	size_t member_count;
	size_t member_capacity;
	size_t turn; /* the member that the next answer starts with */

	uint8_t size;
	uint8_t wire[RELATIVE_SIZE];
};

struct rail_zone {
	struct rail_prefix prefix;
	struct rail_hash_key key;
	struct rail_zone_entry root;
	struct rail_table entries;  /* without the root */
	struct rail_table replicas; /* by address */
};

/* Makes room for one more element in an array that grows by doubling. */
static int reserve(void **array, size_t count, size_t *capacity, size_t element_size)
{
	size_t wanted = *capacity == 0 ? 1 : *capacity * 2;
	void *grown;

	if (count < *capacity)
		return 0;
	grown = reallocarray(*array, wanted, element_size);
	if (grown == NULL)
		return -ENOMEM;
	*array = grown;
	*capacity = wanted;
	return 0;
}

static int reserve_member(struct rail_zone_entry *entry)
{
	void *members = entry->members;
	int result = reserve(&members, entry->member_count, &entry->member_capacity,
			     sizeof(entry->members[0]));

	entry->members = members;
	return result;
}

static int reserve_child(struct rail_zone_entry *entry)
{
	void *children = entry->children;
	int result = reserve(&children, entry->child_count, &entry->child_capacity,
			     sizeof(entry->children[0]));

	entry->children = children;
	return result;
}

/* ---- entries --------------------------------------------------------------------------------- */

static void entry_done(struct rail_zone_entry *entry)
{
	free(entry->children);
	free(entry->members);
}

static void entry_free(struct rail_zone_entry *entry)
{
	entry_done(entry);
	free(entry);
}

struct rail_zone_entry *rail_zone_find(struct rail_zone *zone, const uint8_t *wire, size_t size)
{
	if (size == 0)
		return &zone->root;
	if (size > RELATIVE_SIZE)
		return NULL;

	struct rail_table_link *link =
		rail_table_find(&zone->entries, rail_hash(&zone->key, wire, size));
	for (; link != NULL; link = rail_table_find_next(link)) {
		struct rail_zone_entry *entry = OWNER_OF(link, struct rail_zone_entry, link);

		if (entry->size == size && memcmp(entry->wire, wire, size) == 0)
			return entry;
	}
	return NULL;
}

/* The entry of <label>.<parent>, made where there is none. */
static int entry_obtain(struct rail_zone *zone, struct rail_zone_entry *parent,
			const struct rail_name *name, enum role role,
			struct rail_zone_entry **ret_entry)
{
	size_t size = name->size - 1U;
	struct rail_zone_entry *entry = rail_zone_find(zone, name->wire, size);

	if (entry == NULL) {
		if (rail_table_reserve(&zone->entries) < 0 || reserve_child(parent) < 0)
			return -ENOMEM;
		entry = calloc(1, sizeof(*entry));
		if (entry == NULL)
			return -ENOMEM;
		entry->parent = parent;
		entry->role = role;
		entry->size = (uint8_t)size;
		memcpy(entry->wire, name->wire, size);
		entry->index = parent->child_count;
		parent->children[parent->child_count++] = entry;
		rail_table_insert(&zone->entries, &entry->link,
				  rail_hash(&zone->key, entry->wire, entry->size));
	}
	*ret_entry = entry;
	return 0;
}

/* Takes an entry without members and children away. */
static void entry_remove(struct rail_zone *zone, struct rail_zone_entry *entry)
{
	struct rail_zone_entry *parent = entry->parent;
	struct rail_zone_entry *last = parent->children[--parent->child_count];

	parent->children[entry->index] = last;
	last->index = entry->index;
	rail_table_remove(&zone->entries, &entry->link);
	entry_free(entry);
}

/* A replica's label goes with its last address; a service stays. */
static void entry_remove_unused_label(struct rail_zone *zone, struct rail_zone_entry *entry)
{
	if (entry->role == ROLE_LABEL && entry->member_count == 0)
		entry_remove(zone, entry);
}

/* ---- members --------------------------------------------------------------------------------- */

/* Room was reserved. */
static void attach(struct replica *replica, struct rail_zone_entry *entry)
{
	replica->places[entry->role].entry = entry;
	replica->places[entry->role].index = entry->member_count;
	entry->members[entry->member_count++] =
		(struct member){.address = replica->address, .replica = replica};
}

static void detach(struct replica *replica, enum role role)
{
	struct rail_zone_entry *entry = replica->places[role].entry;
	size_t index = replica->places[role].index;
	struct member last = entry->members[--entry->member_count];

	if (last.replica != replica) {
		entry->members[index] = last;
		last.replica->places[role].index = index;
	}
	if (entry->turn >= entry->member_count)
		entry->turn = 0;
}

static struct replica *find_replica(const struct rail_zone *zone, const struct in6_addr *address)
{
	struct rail_table_link *link = rail_table_find(
		&zone->replicas, rail_hash(&zone->key, address->s6_addr, sizeof(address->s6_addr)));

	for (; link != NULL; link = rail_table_find_next(link)) {
		struct replica *replica = OWNER_OF(link, struct replica, link);

		if (memcmp(&replica->address, address, sizeof(*address)) == 0)
			return replica;
	}
	return NULL;
}

static void replica_remove(struct rail_zone *zone, struct replica *replica)
{
	struct rail_zone_entry *label = replica->places[ROLE_LABEL].entry;

	detach(replica, ROLE_SERVICE);
	detach(replica, ROLE_LABEL);
	rail_table_remove(&zone->replicas, &replica->link);
	free(replica);
	entry_remove_unused_label(zone, label);
}

/* ---- the zone -------------------------------------------------------------------------------- */

struct rail_zone *rail_zone_new(const struct rail_prefix *prefix)
{
	RAIL_FREE struct rail_zone *zone = calloc(1, sizeof(*zone));

	if (zone == NULL || rail_hash_key_init(&zone->key) < 0)
		return NULL;
	zone->prefix = *prefix;
	return RAIL_TAKE_POINTER(zone);
}

void rail_zone_free(struct rail_zone *zone)
{
	if (zone == NULL)
		return;
	for (size_t i = 0; i < zone->root.child_count; i++) {
		struct rail_zone_entry *service = zone->root.children[i];

		for (size_t k = 0; k < service->member_count; k++)
			free(service->members[k].replica);
		for (size_t k = 0; k < service->child_count; k++)
			entry_free(service->children[k]);
		entry_free(service);
	}
	entry_done(&zone->root);
	rail_table_done(&zone->entries);
	rail_table_done(&zone->replicas);
	free(zone);
}

void rail_zone_freep(struct rail_zone **zone)
{
	rail_zone_free(*zone);
	*zone = NULL;
}

const struct rail_prefix *rail_zone_prefix(const struct rail_zone *zone)
{
	return &zone->prefix;
}

int rail_zone_add_service(struct rail_zone *zone, const char *label)
{
	struct rail_zone_entry *service;
	struct rail_name name;

	rail_name_init(&name);
	if (rail_name_append(&name, label, strlen(label)) < 0)
		return -EINVAL;
	return entry_obtain(zone, &zone->root, &name, ROLE_SERVICE, &service);
}

void rail_zone_remove_service(struct rail_zone *zone, const char *label)
{
	struct rail_zone_entry *service;
	struct rail_name name;

	rail_name_init(&name);
	if (rail_name_append(&name, label, strlen(label)) < 0)
		return;
	service = rail_zone_find(zone, name.wire, name.size - 1U);
	if (service == NULL)
		return;
	while (service->member_count > 0)
		replica_remove(zone, service->members[service->member_count - 1].replica);
	entry_remove(zone, service);
}

/* Gives a replica its names; all that can fail comes before the first change to it. */
static int place(struct replica *replica, struct rail_zone_entry *service,
		 struct rail_zone_entry *label)
{
	struct rail_zone_entry *targets[ROLE_COUNT] = {service, label};

	for (size_t role = 0; role < ROLE_COUNT; role++) {
		if (replica->places[role].entry != targets[role] &&
		    reserve_member(targets[role]) < 0)
			return -ENOMEM;
	}
	for (size_t role = 0; role < ROLE_COUNT; role++) {
		/* What stays keeps its place in the order. */
		if (replica->places[role].entry == targets[role])
			continue;
		if (replica->places[role].entry != NULL)
			detach(replica, (enum role)role);
		attach(replica, targets[role]);
	}
	return 0;
}

static int place_new(struct rail_zone *zone, const struct in6_addr *address,
		     struct rail_zone_entry *service, struct rail_zone_entry *label)
{
	RAIL_FREE struct replica *replica = calloc(1, sizeof(*replica));

	if (replica == NULL || rail_table_reserve(&zone->replicas) < 0)
		return -ENOMEM;
	replica->address = *address;
	if (place(replica, service, label) < 0)
		return -ENOMEM;
	rail_table_insert(&zone->replicas, &replica->link,
			  rail_hash(&zone->key, address->s6_addr, sizeof(address->s6_addr)));
	(void)RAIL_TAKE_POINTER(replica);
	return 0;
}

int rail_zone_add_replica(struct rail_zone *zone, const char *service, const char *replica,
			  const struct in6_addr *address)
{
	struct replica *known = find_replica(zone, address);
	struct rail_zone_entry *old_label = known != NULL ? known->places[ROLE_LABEL].entry : NULL;
	struct rail_zone_entry *service_entry;
	struct rail_zone_entry *label_entry;
	struct rail_name service_name;
	struct rail_name label_name;
	bool service_is_new;
	int result;

	rail_name_init(&service_name);
	rail_name_init(&label_name);
	if (rail_name_append(&service_name, service, strlen(service)) < 0 ||
	    rail_name_append(&label_name, replica, strlen(replica)) < 0 ||
	    rail_name_append(&label_name, service, strlen(service)) < 0)
		return -EINVAL;

	service_is_new = rail_zone_find(zone, service_name.wire, service_name.size - 1U) == NULL;
	result = entry_obtain(zone, &zone->root, &service_name, ROLE_SERVICE, &service_entry);
	if (result < 0)
		return result;
	result = entry_obtain(zone, service_entry, &label_name, ROLE_LABEL, &label_entry);
	if (result == 0) {
		result = known != NULL ? place(known, service_entry, label_entry)
				       : place_new(zone, address, service_entry, label_entry);
		entry_remove_unused_label(zone, result < 0 || old_label == NULL ? label_entry
										: old_label);
	}
	if (result < 0 && service_is_new)
		entry_remove(zone, service_entry);
	return result;
}

void rail_zone_remove_replica(struct rail_zone *zone, const struct in6_addr *address)
{
	struct replica *replica = find_replica(zone, address);

	if (replica != NULL)
		replica_remove(zone, replica);
}

size_t rail_zone_service_count(const struct rail_zone *zone)
{
	return zone->root.child_count;
}

size_t rail_zone_replica_count(const struct rail_zone *zone)
{
	return zone->replicas.count;
}

/* ---- looking up ------------------------------------------------------------------------------ */

struct rail_zone_entry *rail_zone_find_address(const struct rail_zone *zone,
					       const struct in6_addr *address)
{
	struct replica *replica = find_replica(zone, address);

	return replica != NULL ? replica->places[ROLE_LABEL].entry : NULL;
}

const uint8_t *rail_zone_entry_wire(const struct rail_zone_entry *entry, size_t *ret_size)
{
	*ret_size = entry->size;
	return entry->wire;
}

size_t rail_zone_entry_child_count(const struct rail_zone_entry *entry)
{
	return entry->child_count;
}

const struct rail_zone_entry *rail_zone_entry_child(const struct rail_zone_entry *entry,
						    size_t index)
{
	return entry->children[index];
}

size_t rail_zone_entry_address_count(const struct rail_zone_entry *entry)
{
	return entry->member_count;
}

const struct in6_addr *rail_zone_entry_address(const struct rail_zone_entry *entry, size_t index)
{
	return &entry->members[index].address;
}

size_t rail_zone_entry_rotate(struct rail_zone_entry *entry)
{
	size_t start = entry->turn;

	entry->turn = start + 1 < entry->member_count ? start + 1 : 0;
	return start;
}
