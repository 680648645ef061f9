#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "pkg/base/cleanup.h"
#include "pkg/wg/device.h"
#include "pkg/wg/key.h"

/* REJECT_AFTER_TIME of WireGuard: a session that is older carries nothing any more. */
enum { SESSION_LIFETIME_S = 180 };

void rail_changes_done(struct rail_changes *changes)
{
	free(changes->changes);
	*changes = (struct rail_changes){.changes = NULL};
}

/* ---- order of keys and allowed IPs; public data, so the comparison may take its time ---- */

static int compare_peers(const void *one, const void *other)
{
	const struct rail_peer *const *a = one;
	const struct rail_peer *const *b = other;

	return memcmp((*a)->public_key.bytes, (*b)->public_key.bytes, RAIL_KEY_SIZE);
}

static size_t address_size(const struct rail_allowed_ip *allowed_ip)
{
	return allowed_ip->family == AF_INET6 ? sizeof(struct in6_addr) : sizeof(struct in_addr);
}

static bool allowed_ip_valid(const struct rail_allowed_ip *allowed_ip)
{
	return (allowed_ip->family == AF_INET && allowed_ip->length <= 32) ||
	       (allowed_ip->family == AF_INET6 && allowed_ip->length <= 128);
}

/* The bits below the prefix do not count: a device drops them. */
static void mask(const struct rail_allowed_ip *allowed_ip, uint8_t bytes[static 16])
{
	size_t size = address_size(allowed_ip);
	size_t whole = allowed_ip->length / 8;
	unsigned int rest = allowed_ip->length % 8;

	memset(bytes, 0, 16);
	if (whole > size)
		whole = size;
	memcpy(bytes, &allowed_ip->address, whole);
	if (rest != 0 && whole < size)
		bytes[whole] = (uint8_t)(((const uint8_t *)&allowed_ip->address)[whole] &
					 (0xff00U >> rest));
}

static int compare_allowed_ips(const void *one, const void *other)
{
	const struct rail_allowed_ip *a = *(const struct rail_allowed_ip *const *)one;
	const struct rail_allowed_ip *b = *(const struct rail_allowed_ip *const *)other;
	uint8_t bytes_a[16];
	uint8_t bytes_b[16];

	if (a->family != b->family)
		return a->family < b->family ? -1 : 1;
	if (a->length != b->length)
		return a->length < b->length ? -1 : 1;
	mask(a, bytes_a);
	mask(b, bytes_b);
	return memcmp(bytes_a, bytes_b, sizeof(bytes_a));
}

/* ---- sorted views: arrays of pointers into a device ---- */

struct view {
	const void **items;
	size_t count;
};

static void view_done(struct view *view)
{
	free(view->items);
}

#define VIEW __attribute__((cleanup(view_done))) struct view

static int view_new(struct view *view, size_t capacity)
{
	*view = (struct view){.items = calloc(capacity + 1, sizeof(*view->items))};
	return view->items == NULL ? -ENOMEM : 0;
}

static void view_sort(struct view *view, int (*compare)(const void *, const void *))
{
	qsort(view->items, view->count, sizeof(*view->items), compare);
}

/* The first of two neighbours that are equal; NULL where all differ. */
static const void *view_twice(const struct view *view, int (*compare)(const void *, const void *))
{
	for (size_t i = 1; i < view->count; i++)
		if (compare(&view->items[i - 1], &view->items[i]) == 0)
			return view->items[i];
	return NULL;
}

static int peers_by_key(const struct rail_device *device, struct view *view)
{
	int result = view_new(view, device->peer_count);

	if (result < 0)
		return result;
	for (size_t i = 0; i < device->peer_count; i++)
		view->items[view->count++] = &device->peers[i];
	view_sort(view, compare_peers);
	return 0;
}

static const struct rail_peer *find_peer(const struct view *view, const struct rail_peer *peer)
{
	const void *key = peer;
	const void **found =
		bsearch(&key, view->items, view->count, sizeof(*view->items), compare_peers);

	return found == NULL ? NULL : *found;
}

/* ---- the difference ---- */

/* An AllowedIP belongs to one peer at most: a device would silently take it from the first. */
static int check_wanted(const struct rail_device *want, const struct view *want_by_key,
			struct rail_error *error)
{
	const struct rail_peer *twice = view_twice(want_by_key, compare_peers);
	char text[RAIL_KEY_TEXT_SIZE];
	size_t count = 0;

	if (twice != NULL) {
		rail_key_format(&twice->public_key, text);
		return rail_fail(error, EINVAL, "peer %s is wanted twice", text);
	}

	for (size_t i = 0; i < want->peer_count; i++)
		count += want->peers[i].allowed_ip_count;

	VIEW allowed_ips = {.items = NULL};
	if (view_new(&allowed_ips, count) < 0)
		return rail_fail_errno(error, ENOMEM, "compare peers");
	for (size_t i = 0; i < want->peer_count; i++) {
		for (size_t j = 0; j < want->peers[i].allowed_ip_count; j++) {
			const struct rail_allowed_ip *allowed_ip = &want->peers[i].allowed_ips[j];

			if (!allowed_ip_valid(allowed_ip)) {
				rail_key_format(&want->peers[i].public_key, text);
				return rail_fail(error, EINVAL,
						 "peer %s has an invalid AllowedIP: family %u, "
						 "length %u",
						 text, allowed_ip->family, allowed_ip->length);
			}
			allowed_ips.items[allowed_ips.count++] = allowed_ip;
		}
	}
	view_sort(&allowed_ips, compare_allowed_ips);
	if (view_twice(&allowed_ips, compare_allowed_ips) != NULL)
		return rail_fail(error, EINVAL, "an AllowedIP is wanted twice");
	return 0;
}

static bool endpoint_equal(const struct rail_endpoint *one, const struct rail_endpoint *other)
{
	if (one->family != other->family || one->port != other->port)
		return false;
	if (one->family == AF_INET6)
		return IN6_ARE_ADDR_EQUAL(&one->address.v6, &other->address.v6);
	return one->family != AF_INET || one->address.v4.s_addr == other->address.v4.s_addr;
}

/* Sets what the change must do to the AllowedIPs of a peer that exists. */
static int compare_peer_allowed_ips(const struct rail_peer *have, const struct rail_peer *want,
				    struct rail_peer_change *change)
{
	VIEW have_sorted = {.items = NULL};
	VIEW want_sorted = {.items = NULL};
	bool missing = false;
	bool surplus = false;

	if (view_new(&have_sorted, have->allowed_ip_count) < 0 ||
	    view_new(&want_sorted, want->allowed_ip_count) < 0)
		return -ENOMEM;
	for (size_t i = 0; i < have->allowed_ip_count; i++)
		have_sorted.items[have_sorted.count++] = &have->allowed_ips[i];
	for (size_t i = 0; i < want->allowed_ip_count; i++)
		want_sorted.items[want_sorted.count++] = &want->allowed_ips[i];
	view_sort(&have_sorted, compare_allowed_ips);
	view_sort(&want_sorted, compare_allowed_ips);

	size_t i = 0;
	size_t j = 0;
	while (i < have_sorted.count || j < want_sorted.count) {
		int order;

		if (i == have_sorted.count)
			order = 1;
		else if (j == want_sorted.count)
			order = -1;
		else
			order = compare_allowed_ips(&have_sorted.items[i], &want_sorted.items[j]);

		surplus = surplus || order < 0;
		missing = missing || order > 0;
		i += order <= 0;
		j += order >= 0;
	}

	if (missing || surplus) {
		change->replace_allowed_ips = surplus;
		change->allowed_ips = want->allowed_ips;
		change->allowed_ip_count = want->allowed_ip_count;
	}
	return 0;
}

/* 1 where the peer needs the change, 0 where it is as wanted. */
static int compare_peer(const struct rail_peer *have, const struct rail_peer *want, int64_t now_s,
			struct rail_peer_change *change)
{
	*change =
		(struct rail_peer_change){.kind = RAIL_PEER_UPDATE, .public_key = want->public_key};

	if (want->endpoint.family != 0 && !endpoint_equal(&have->endpoint, &want->endpoint) &&
	    (have->last_handshake_s == 0 || now_s - have->last_handshake_s > SESSION_LIFETIME_S)) {
		change->set_endpoint = true;
		change->endpoint = want->endpoint;
	}
	if (have->keepalive_s != want->keepalive_s) {
		change->set_keepalive = true;
		change->keepalive_s = want->keepalive_s;
	}

	int result = compare_peer_allowed_ips(have, want, change);
	if (result < 0)
		return result;
	return change->set_endpoint || change->set_keepalive || change->replace_allowed_ips ||
	       change->allowed_ip_count > 0;
}

static struct rail_peer_change addition(const struct rail_peer *want)
{
	return (struct rail_peer_change){.kind = RAIL_PEER_ADD,
					 .public_key = want->public_key,
					 .set_endpoint = want->endpoint.family != 0,
					 .endpoint = want->endpoint,
					 .set_keepalive = true,
					 .keepalive_s = want->keepalive_s,
					 .allowed_ips = want->allowed_ips,
					 .allowed_ip_count = want->allowed_ip_count};
}

int rail_device_difference(const struct rail_device *have, const struct rail_device *want,
			   int64_t now_s, struct rail_changes *ret_changes,
			   struct rail_error *error)
{
	VIEW have_by_key = {.items = NULL};
	VIEW want_by_key = {.items = NULL};

	if (peers_by_key(have, &have_by_key) < 0 || peers_by_key(want, &want_by_key) < 0)
		return rail_fail_errno(error, ENOMEM, "compare peers");

	int result = check_wanted(want, &want_by_key, error);
	if (result < 0)
		return result;

	/* No peer of either device makes more than one change. */
	RAIL_FREE struct rail_peer_change *changes =
		calloc(have->peer_count + want->peer_count + 1, sizeof(*changes));
	size_t count = 0;
	if (changes == NULL)
		return rail_fail_errno(error, ENOMEM, "compare peers");

	for (size_t i = 0; i < have->peer_count; i++)
		if (find_peer(&want_by_key, &have->peers[i]) == NULL)
			changes[count++] = (struct rail_peer_change){
				.kind = RAIL_PEER_REMOVE, .public_key = have->peers[i].public_key};

	for (size_t i = 0; i < want->peer_count; i++) {
		const struct rail_peer *found = find_peer(&have_by_key, &want->peers[i]);

		if (found == NULL) {
			changes[count++] = addition(&want->peers[i]);
			continue;
		}
		result = compare_peer(found, &want->peers[i], now_s, &changes[count]);
		if (result < 0)
			return rail_fail_errno(error, -result, "compare peers");
		count += (size_t)result;
	}

	ret_changes->changes = RAIL_TAKE_POINTER(changes);
	ret_changes->count = count;
	return 0;
}
