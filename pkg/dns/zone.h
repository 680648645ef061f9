#pragma once

#include <netinet/in.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "pkg/ipam/address.h"

/*
 * The names of one environment: its services, their replicas, and the replicas' addresses. A zone
 * owns all its memory and shares nothing with another one; it is for one thread. Every look-up
 * takes the same time whatever tenants call their services and replicas (the hash is keyed with
 * random bytes of the zone's own), and so does adding or removing a replica, but for the growth of
 * the tables.
 */

struct rail_zone;

/* Takes 16 bytes from the kernel's random source. NULL: no memory. */
struct rail_zone *rail_zone_new(const struct rail_prefix *prefix);
void rail_zone_free(struct rail_zone *zone);   /* NULL-safe */
void rail_zone_freep(struct rail_zone **zone); /* for RAIL_CLEANUP */
const struct rail_prefix *rail_zone_prefix(const struct rail_zone *zone);

/*
 * Labels have 1 to 63 bytes, of any value; their case does not count. All that add fail with
 * -EINVAL for another label and with -ENOMEM, and leave the zone as it was then.
 */

/* A service, at first without replicas. Idempotent. */
int rail_zone_add_service(struct rail_zone *zone, const char *label);
/* A service with its replicas. Nothing happens where there is none of that name. */
void rail_zone_remove_service(struct rail_zone *zone, const char *label);
/*
 * A replica. Makes the service where it is unknown. An address belongs to one replica: where the
 * zone has it already, under whatever names, it changes to these. Several replicas may bear one
 * label. The address need not be within the zone's prefix, but its PTR is answered only there.
 */
int rail_zone_add_replica(struct rail_zone *zone, const char *service, const char *replica,
			  const struct in6_addr *address);
/* The replica at an address, if there is one. The service stays. */
void rail_zone_remove_replica(struct rail_zone *zone, const struct in6_addr *address);

size_t rail_zone_service_count(const struct rail_zone *zone);
size_t rail_zone_replica_count(const struct rail_zone *zone);

/*
 * Looking up, for answers. An entry is a name: the zone's root, a service below it, or a replica's
 * label below that. It is borrowed, and valid until the zone changes.
 */
struct rail_zone_entry;

/* The entry of a name relative to the zone: lower-case labels in wire form, without the root's
 * zero; size 0 gives the root. NULL: unknown. */
struct rail_zone_entry *rail_zone_find(struct rail_zone *zone, const uint8_t *wire, size_t size);
/* The entry of the replica's label at an address; NULL: unknown. */
struct rail_zone_entry *rail_zone_find_address(const struct rail_zone *zone,
					       const struct in6_addr *address);
/* The entry's name, in the form that rail_zone_find takes. */
const uint8_t *rail_zone_entry_wire(const struct rail_zone_entry *entry, size_t *ret_size);
/* The names right below: services below the root, replicas' labels below a service. */
size_t rail_zone_entry_child_count(const struct rail_zone_entry *entry);
const struct rail_zone_entry *rail_zone_entry_child(const struct rail_zone_entry *entry,
						    size_t index);
/* The addresses of a service or of a replica's label, in the order of their addition (a removal
 * moves the last one to the gap). */
size_t rail_zone_entry_address_count(const struct rail_zone_entry *entry);
const struct in6_addr *rail_zone_entry_address(const struct rail_zone_entry *entry, size_t index);
/* Where the next answer starts in the entry's addresses; one further at each call. */
size_t rail_zone_entry_rotate(struct rail_zone_entry *entry);
