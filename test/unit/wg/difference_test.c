#include <arpa/inet.h>
#include <criterion/criterion.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "pkg/wg/device.h"

/* ---- a device that changes are applied to, as WireGuard applies them ---- */

enum {
	PEERS_MAXIMUM = 24,
	ALLOWED_MAXIMUM = 64,
	NOW = 1000000,
	FRESH = NOW - 180,
	STALE = NOW - 181,
};

struct model_peer {
	struct rail_key key;
	struct rail_endpoint endpoint;
	uint16_t keepalive_s;
	int64_t last_handshake_s;
	struct rail_allowed_ip allowed[ALLOWED_MAXIMUM];
	size_t allowed_count;
};

struct model {
	struct model_peer peers[2 * PEERS_MAXIMUM];
	size_t count;
};

static bool same_allowed(const struct rail_allowed_ip *one, const struct rail_allowed_ip *other)
{
	return one->family == other->family && one->length == other->length &&
	       memcmp(&one->address, &other->address, one->family == AF_INET6 ? 16 : 4) == 0;
}

static struct model_peer *model_find(struct model *model, const struct rail_key *key)
{
	for (size_t i = 0; i < model->count; i++)
		if (memcmp(&model->peers[i].key, key, sizeof(*key)) == 0)
			return &model->peers[i];
	return NULL;
}

/* An AllowedIP has one owner: giving it to a peer takes it from any other. */
static void model_allow(struct model *model, struct model_peer *peer,
			const struct rail_allowed_ip *allowed_ip)
{
	for (size_t i = 0; i < model->count; i++) {
		struct model_peer *owner = &model->peers[i];

		for (size_t j = 0; j < owner->allowed_count; j++)
			if (same_allowed(&owner->allowed[j], allowed_ip))
				owner->allowed[j--] = owner->allowed[--owner->allowed_count];
	}
	cr_assert_lt(peer->allowed_count, (size_t)ALLOWED_MAXIMUM);
	peer->allowed[peer->allowed_count++] = *allowed_ip;
}

static struct model_peer *model_add(struct model *model, const struct rail_key *key)
{
	cr_assert_lt(model->count, (size_t)(2 * PEERS_MAXIMUM));
	model->peers[model->count] = (struct model_peer){.key = *key};
	return &model->peers[model->count++];
}

static void model_load(struct model *model, const struct rail_device *device)
{
	for (size_t i = 0; i < device->peer_count; i++) {
		const struct rail_peer *from = &device->peers[i];
		struct model_peer *peer = model_add(model, &from->public_key);

		peer->endpoint = from->endpoint;
		peer->keepalive_s = from->keepalive_s;
		peer->last_handshake_s = from->last_handshake_s;
		for (size_t j = 0; j < from->allowed_ip_count; j++)
			model_allow(model, peer, &from->allowed_ips[j]);
	}
}

static void model_apply(struct model *model, const struct rail_changes *changes)
{
	bool removals_over = false;

	for (size_t i = 0; i < changes->count; i++) {
		const struct rail_peer_change *change = &changes->changes[i];
		struct model_peer *peer = model_find(model, &change->public_key);

		if (change->kind == RAIL_PEER_REMOVE) {
			cr_assert_not(removals_over, "a removal comes late");
			cr_assert_not_null(peer);
			*peer = model->peers[--model->count];
			continue;
		}
		removals_over = true;
		if (change->kind == RAIL_PEER_ADD) {
			cr_assert_null(peer);
			peer = model_add(model, &change->public_key);
		}
		cr_assert_not_null(peer);
		if (change->set_endpoint)
			peer->endpoint = change->endpoint;
		if (change->set_keepalive)
			peer->keepalive_s = change->keepalive_s;
		if (change->replace_allowed_ips)
			peer->allowed_count = 0;
		for (size_t j = 0; j < change->allowed_ip_count; j++)
			model_allow(model, peer, &change->allowed_ips[j]);
	}
}

static bool same_endpoint(const struct rail_endpoint *one, const struct rail_endpoint *other)
{
	return one->family == other->family && one->port == other->port &&
	       memcmp(&one->address, &other->address, sizeof(one->address)) == 0;
}

static void assert_is(struct model *model, const struct rail_device *want,
		      const struct rail_device *before)
{
	cr_assert_eq(model->count, want->peer_count);
	for (size_t i = 0; i < want->peer_count; i++) {
		const struct rail_peer *wanted = &want->peers[i];
		struct model_peer *peer = model_find(model, &wanted->public_key);
		const struct rail_peer *old = NULL;

		for (size_t j = 0; j < before->peer_count; j++)
			if (memcmp(&before->peers[j].public_key, &wanted->public_key,
				   sizeof(wanted->public_key)) == 0)
				old = &before->peers[j];
		cr_assert_not_null(peer);
		cr_assert_eq(peer->keepalive_s, wanted->keepalive_s);
		cr_assert_eq(peer->allowed_count, wanted->allowed_ip_count);
		for (size_t j = 0; j < wanted->allowed_ip_count; j++) {
			bool found = false;

			for (size_t k = 0; k < peer->allowed_count; k++)
				found = found ||
					same_allowed(&peer->allowed[k], &wanted->allowed_ips[j]);
			cr_assert(found);
		}

		bool kept = old != NULL &&
			    (wanted->endpoint.family == 0 || old->last_handshake_s >= FRESH);
		cr_assert(
			same_endpoint(&peer->endpoint, kept ? &old->endpoint : &wanted->endpoint));
	}
}

/* ---- random devices ---- */

static uint32_t below(uint64_t *state, uint32_t limit)
{
	*state = *state * 6364136223846793005U + 1442695040888963407U;
	return (uint32_t)(*state >> 33) % limit;
}

/* Few different keys, addresses and endpoints, so that two devices share many. */
static struct rail_device random_device(uint64_t *state)
{
	struct rail_device device = {.peer_count = 0};
	bool address_used[40] = {false};
	bool key_used[PEERS_MAXIMUM] = {false};
	uint32_t count = below(state, 9);

	device.peers = calloc(count + 1, sizeof(*device.peers));
	for (uint32_t i = 0; i < count; i++) {
		struct rail_peer *peer = &device.peers[device.peer_count];
		uint32_t key = below(state, PEERS_MAXIMUM / 2);

		if (key_used[key])
			continue;
		key_used[key] = true;
		device.peer_count++;
		peer->public_key.bytes[key % 3] = (uint8_t)(key + 1);
		if (below(state, 4) != 0) {
			peer->endpoint.family = below(state, 2) ? AF_INET : AF_INET6;
			peer->endpoint.port = (uint16_t)(1 + below(state, 2));
			peer->endpoint.address.v4.s_addr = below(state, 2);
		}
		peer->keepalive_s = (uint16_t)(below(state, 2) * 25);
		peer->last_handshake_s = (int64_t[]){0, STALE, FRESH, NOW + 5}[below(state, 4)];

		uint32_t allowed = below(state, 4);
		peer->allowed_ips = calloc(allowed + 1, sizeof(*peer->allowed_ips));
		for (uint32_t j = 0; j < allowed; j++) {
			struct rail_allowed_ip *target = &peer->allowed_ips[peer->allowed_ip_count];
			uint32_t address = below(state, 16);

			if (address_used[address])
				continue;
			address_used[address] = true;
			target->family = address % 5 == 0 ? AF_INET : AF_INET6;
			target->length = (uint8_t)(address % 3 == 0 ? 24 : 32);
			((uint8_t *)&target->address)[2] = (uint8_t)address;
			peer->allowed_ip_count++;
		}
	}
	return device;
}

Test(wg_difference, applied_gives_what_is_wanted)
{
	uint64_t seed = 20240607;
	uint64_t state = seed;

	for (int round = 0; round < 20000; round++) {
		uint64_t at = state;
		struct rail_device have = random_device(&state);
		struct rail_device want = random_device(&state);
		struct rail_changes changes = {.count = 0};
		struct rail_error error = RAIL_ERROR_NONE;
		struct model *model = calloc(1, sizeof(*model));

		int result = rail_device_difference(&have, &want, NOW, &changes, &error);
		cr_assert_eq(result, 0, "seed %lu, round %d (state %lu): %s", (unsigned long)seed,
			     round, (unsigned long)at, error.message);
		model_load(model, &have);
		model_apply(model, &changes);
		assert_is(model, &want, &have);

		free(model);
		rail_changes_done(&changes);
		rail_device_done(&have);
		rail_device_done(&want);
	}
}

Test(wg_difference, nothing_for_what_is_equal)
{
	uint64_t state = 7;

	for (int round = 0; round < 2000; round++) {
		uint64_t twin = state;
		struct rail_device have = random_device(&state);
		struct rail_device want = random_device(&twin);
		struct rail_changes changes = {.count = 99};

		cr_assert_eq(rail_device_difference(&have, &want, NOW, &changes, NULL), 0);
		cr_assert_eq(changes.count, 0);
		rail_changes_done(&changes);
		rail_device_done(&have);
		rail_device_done(&want);
	}
}

/* ---- single cases ---- */

static struct rail_device one_peer(struct rail_allowed_ip *allowed, size_t count,
				   struct rail_peer *peer)
{
	*peer = (struct rail_peer){
		.public_key = {{1}}, .allowed_ips = allowed, .allowed_ip_count = count};
	return (struct rail_device){.peers = peer, .peer_count = 1};
}

static struct rail_allowed_ip host_address(uint8_t last)
{
	return (struct rail_allowed_ip){
		.family = AF_INET6, .length = 128, .address.v6.s6_addr = {0xfd, [15] = last}};
}

Test(wg_difference, live_peer_is_not_replaced_for_an_addition)
{
	struct rail_allowed_ip few[] = {host_address(1)};
	struct rail_allowed_ip more[] = {host_address(2), host_address(1)};
	struct rail_peer have_peer;
	struct rail_peer want_peer;
	struct rail_device have = one_peer(few, 1, &have_peer);
	struct rail_device want = one_peer(more, 2, &want_peer);
	struct rail_changes changes;

	cr_assert_eq(rail_device_difference(&have, &want, NOW, &changes, NULL), 0);
	cr_assert_eq(changes.count, 1);
	cr_assert_eq(changes.changes[0].kind, RAIL_PEER_UPDATE);
	cr_assert_not(changes.changes[0].replace_allowed_ips);
	cr_assert_not(changes.changes[0].set_endpoint);
	cr_assert_not(changes.changes[0].set_keepalive);
	rail_changes_done(&changes);

	cr_assert_eq(rail_device_difference(&want, &have, NOW, &changes, NULL), 0);
	cr_assert_eq(changes.count, 1);
	cr_assert(changes.changes[0].replace_allowed_ips);
	cr_assert_eq(changes.changes[0].allowed_ip_count, 1);
	rail_changes_done(&changes);
}

Test(wg_difference, fresh_endpoint_is_left)
{
	static const struct {
		int64_t last_handshake_s;
		bool changed;
	} cases[] = {{0, true}, {STALE, true}, {FRESH, false}, {NOW, false}, {NOW + 9, false}};

	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		struct rail_peer have_peer;
		struct rail_peer want_peer;
		struct rail_device have = one_peer(NULL, 0, &have_peer);
		struct rail_device want = one_peer(NULL, 0, &want_peer);
		struct rail_changes changes;

		have_peer.endpoint = (struct rail_endpoint){.family = AF_INET, .port = 1};
		have_peer.last_handshake_s = cases[i].last_handshake_s;
		want_peer.endpoint = (struct rail_endpoint){.family = AF_INET, .port = 2};
		cr_assert_eq(rail_device_difference(&have, &want, NOW, &changes, NULL), 0);
		cr_assert_eq(changes.count, cases[i].changed ? 1 : 0);
		if (cases[i].changed)
			cr_assert_eq(changes.changes[0].endpoint.port, 2);
		rail_changes_done(&changes);
	}
}

Test(wg_difference, bits_below_the_prefix_do_not_count)
{
	struct rail_allowed_ip masked[] = {
		{.family = AF_INET6, .length = 12, .address.v6.s6_addr = {0xfd, 0x10}}};
	struct rail_allowed_ip loose[] = {
		{.family = AF_INET6, .length = 12, .address.v6.s6_addr = {0xfd, 0x1f, 0xff}}};
	struct rail_peer have_peer;
	struct rail_peer want_peer;
	struct rail_device have = one_peer(masked, 1, &have_peer);
	struct rail_device want = one_peer(loose, 1, &want_peer);
	struct rail_changes changes;

	cr_assert_eq(rail_device_difference(&have, &want, NOW, &changes, NULL), 0);
	cr_assert_eq(changes.count, 0);
	rail_changes_done(&changes);
}

Test(wg_difference, contradictions_are_refused)
{
	struct rail_allowed_ip twice[] = {host_address(1), host_address(1)};
	struct rail_allowed_ip too_long[] = {{.family = AF_INET, .length = 33}};
	struct rail_allowed_ip unknown[] = {{.family = 99, .length = 1}};
	struct rail_device nothing = {.peer_count = 0};
	struct rail_error error = RAIL_ERROR_NONE;
	struct rail_peer peers[2];
	struct rail_changes changes;
	struct rail_device want = one_peer(twice, 2, &peers[0]);

	cr_assert_eq(rail_device_difference(&nothing, &want, NOW, &changes, &error), -EINVAL);
	cr_assert_eq(error.errnum, EINVAL);

	want = one_peer(too_long, 1, &peers[0]);
	cr_assert_eq(rail_device_difference(&nothing, &want, NOW, &changes, NULL), -EINVAL);
	want = one_peer(unknown, 1, &peers[0]);
	cr_assert_eq(rail_device_difference(&nothing, &want, NOW, &changes, NULL), -EINVAL);

	/* An AllowedIP of two peers, then a key of two peers. */
	want = one_peer(twice, 1, &peers[0]);
	(void)one_peer(twice, 1, &peers[1]);
	peers[1].public_key.bytes[0] = 2;
	want.peer_count = 2;
	cr_assert_eq(rail_device_difference(&nothing, &want, NOW, &changes, NULL), -EINVAL);
	peers[1].allowed_ip_count = 0;
	cr_assert_eq(rail_device_difference(&nothing, &want, NOW, &changes, NULL), 0);
	rail_changes_done(&changes);
	peers[1].public_key = peers[0].public_key;
	cr_assert_eq(rail_device_difference(&nothing, &want, NOW, &changes, &error), -EINVAL);
	cr_assert_not_null(strstr(error.message, "AQAAAA"));
}
