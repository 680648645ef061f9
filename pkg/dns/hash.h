#pragma once

#include <stddef.h>
#include <stdint.h>

/*
 * A keyed hash (SipHash-2-4) for tables whose keys somebody else chooses: who does not know the key
 * cannot make many of them fall into one bucket.
 */

struct rail_hash_key {
	uint8_t bytes[16];
};

/* From the kernel's random source. */
int rail_hash_key_init(struct rail_hash_key *ret_key);
uint64_t rail_hash(const struct rail_hash_key *key, const void *bytes, size_t size);
