#include "pkg/wg/key.h"

#include <sodium.h>

#include "pkg/base/file.h"

_Static_assert(RAIL_KEY_SIZE == crypto_scalarmult_curve25519_BYTES &&
		       RAIL_KEY_SIZE == crypto_scalarmult_curve25519_SCALARBYTES,
	       "a WireGuard key is a Curve25519 point or scalar");
_Static_assert(RAIL_KEY_TEXT_SIZE ==
		       sodium_base64_ENCODED_LEN(RAIL_KEY_SIZE, sodium_base64_VARIANT_ORIGINAL),
	       "room for the base64 form");

int rail_key_generate(struct rail_key *ret_private_key, struct rail_error *error)
{
	struct rail_key key;
	int result = rail_random(key.bytes, sizeof(key.bytes), error);

	if (result < 0)
		return result;

	/* RFC 7748, 5: decodeScalar25519. */
	key.bytes[0] &= 248;
	key.bytes[31] = (uint8_t)((key.bytes[31] & 127) | 64);
	*ret_private_key = key;
	rail_key_wipe(&key);
	return 0;
}

void rail_key_public(const struct rail_key *private_key, struct rail_key *ret_public_key)
{
	/* Never fails for the base point. */
	(void)crypto_scalarmult_curve25519_base(ret_public_key->bytes, private_key->bytes);
}

void rail_key_wipe(struct rail_key *key)
{
	sodium_memzero(key, sizeof(*key));
}

bool rail_key_equal(const struct rail_key *one, const struct rail_key *other)
{
	return sodium_memcmp(one->bytes, other->bytes, sizeof(one->bytes)) == 0;
}

void rail_key_format(const struct rail_key *key, char text[RAIL_KEY_TEXT_SIZE])
{
	(void)sodium_bin2base64(text, RAIL_KEY_TEXT_SIZE, key->bytes, sizeof(key->bytes),
				sodium_base64_VARIANT_ORIGINAL);
}
