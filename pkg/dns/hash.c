#include "pkg/dns/hash.h"

#include <assert.h>
#include <sodium/crypto_shorthash.h>
#include <string.h>

#include "pkg/base/file.h"

int rail_hash_key_init(struct rail_hash_key *ret_key)
{
	static_assert(sizeof(ret_key->bytes) == crypto_shorthash_KEYBYTES, "a key is a key");
	return rail_random(ret_key->bytes, sizeof(ret_key->bytes), NULL);
}

uint64_t rail_hash(const struct rail_hash_key *key, const void *bytes, size_t size)
{
	uint8_t hash[crypto_shorthash_BYTES];
	uint64_t value;

	static_assert(sizeof(hash) == sizeof(value), "the hash fills a word");
	(void)crypto_shorthash(hash, bytes, size, key->bytes);
	memcpy(&value, hash, sizeof(value));
	return value;
}
