#pragma once

#include "pkg/wg/device.h"

/* A new private key (RFC 7748, clamped as WireGuard does). Wipe it with rail_key_wipe when done. */
int rail_key_generate(struct rail_key *ret_private_key, struct rail_error *error);
/* X25519 of the base point; the only place that includes libsodium. */
void rail_key_public(const struct rail_key *private_key, struct rail_key *ret_public_key);
void rail_key_wipe(struct rail_key *key);
bool rail_key_equal(const struct rail_key *one, const struct rail_key *other); /* constant time */
void rail_key_format(const struct rail_key *key,
		     char text[RAIL_KEY_TEXT_SIZE]); /* base64, for showing public keys */
