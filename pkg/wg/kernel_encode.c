#include <errno.h>
#include <linux/genetlink.h>
#include <linux/wireguard.h>

#include "pkg/net/request.h"
#include "pkg/wg/kernel_message.h"

void rail_kernel_encode_get(uint16_t family, const char *name, struct rail_request *ret_request)
{
	const struct genlmsghdr header = {.cmd = WG_CMD_GET_DEVICE, .version = WG_GENL_VERSION};

	rail_request_init(ret_request, family, NLM_F_DUMP, &header, sizeof(header));
	rail_request_put_string(ret_request, WGDEVICE_A_IFNAME, name);
}

static void begin_set(uint16_t family, int index, struct rail_request *request)
{
	const struct genlmsghdr header = {.cmd = WG_CMD_SET_DEVICE, .version = WG_GENL_VERSION};

	rail_request_init(request, family, 0, &header, sizeof(header));
	rail_request_put_u32(request, WGDEVICE_A_IFINDEX, (uint32_t)index);
}

void rail_kernel_encode_configure(uint16_t family, int index, const struct rail_key *private_key,
				  uint16_t listen_port, struct rail_request *ret_request)
{
	begin_set(family, index, ret_request);
	if (private_key != NULL)
		rail_request_put(ret_request, WGDEVICE_A_PRIVATE_KEY, private_key->bytes,
				 sizeof(private_key->bytes));
	if (listen_port != 0)
		rail_request_put_u16(ret_request, WGDEVICE_A_LISTEN_PORT, listen_port);
}

void rail_kernel_encode_clear(uint16_t family, int index, struct rail_request *ret_request)
{
	begin_set(family, index, ret_request);
	rail_request_put_u32(ret_request, WGDEVICE_A_FLAGS, WGDEVICE_F_REPLACE_PEERS);
}

static int put_endpoint(struct rail_request *request, const struct rail_endpoint *endpoint)
{
	if (endpoint->family == AF_INET) {
		const struct sockaddr_in address = {.sin_family = AF_INET,
						    .sin_port = htons(endpoint->port),
						    .sin_addr = endpoint->address.v4};

		rail_request_put(request, WGPEER_A_ENDPOINT, &address, sizeof(address));
		return 0;
	}
	if (endpoint->family == AF_INET6) {
		const struct sockaddr_in6 address = {.sin6_family = AF_INET6,
						     .sin6_port = htons(endpoint->port),
						     .sin6_addr = endpoint->address.v6};

		rail_request_put(request, WGPEER_A_ENDPOINT, &address, sizeof(address));
		return 0;
	}
	return -EINVAL;
}

static int put_allowed_ip(struct rail_request *request, const struct rail_allowed_ip *allowed_ip)
{
	if ((allowed_ip->family != AF_INET && allowed_ip->family != AF_INET6) ||
	    allowed_ip->length > (allowed_ip->family == AF_INET ? 32 : 128))
		return -EINVAL;

	struct nlattr *nest = rail_request_nest(request, 0);
	rail_request_put_u16(request, WGALLOWEDIP_A_FAMILY, allowed_ip->family);
	if (allowed_ip->family == AF_INET)
		rail_request_put(request, WGALLOWEDIP_A_IPADDR, &allowed_ip->address.v4,
				 sizeof(allowed_ip->address.v4));
	else
		rail_request_put(request, WGALLOWEDIP_A_IPADDR, &allowed_ip->address.v6,
				 sizeof(allowed_ip->address.v6));
	rail_request_put_u8(request, WGALLOWEDIP_A_CIDR_MASK, allowed_ip->length);
	rail_request_nest_end(request, nest);
	return 0;
}

/* All of a change but its AllowedIPs. fragment: what comes before went with an earlier request. */
static int put_change(struct rail_request *request, const struct rail_peer_change *change,
		      bool fragment)
{
	uint32_t flags = 0;

	if (change->kind == RAIL_PEER_REMOVE)
		flags = WGPEER_F_REMOVE_ME;
	else if (change->kind == RAIL_PEER_UPDATE || fragment)
		flags = WGPEER_F_UPDATE_ONLY;
	if (change->kind != RAIL_PEER_REMOVE && change->replace_allowed_ips && !fragment)
		flags |= WGPEER_F_REPLACE_ALLOWEDIPS;

	rail_request_put(request, WGPEER_A_PUBLIC_KEY, change->public_key.bytes,
			 sizeof(change->public_key.bytes));
	if (flags != 0)
		rail_request_put_u32(request, WGPEER_A_FLAGS, flags);
	if (change->kind == RAIL_PEER_REMOVE || fragment)
		return 0;
	if (change->set_keepalive)
		rail_request_put_u16(request, WGPEER_A_PERSISTENT_KEEPALIVE_INTERVAL,
				     change->keepalive_s);
	return change->set_endpoint ? put_endpoint(request, &change->endpoint) : 0;
}

/* Puts as many of the change's AllowedIPs as fit, from *position on. */
static int put_allowed_ips(struct rail_request *request, const struct rail_peer_change *change,
			   size_t *position)
{
	size_t mark = rail_request_mark(request);
	struct nlattr *nest = rail_request_nest(request, WGPEER_A_ALLOWEDIPS);

	if (!rail_request_keep(request, mark))
		return 0;
	while (*position < change->allowed_ip_count) {
		mark = rail_request_mark(request);

		int result = put_allowed_ip(request, &change->allowed_ips[*position]);
		if (result < 0)
			return result;
		if (!rail_request_keep(request, mark))
			break;
		(*position)++;
	}
	rail_request_nest_end(request, nest);
	return 0;
}

/* 1 where the change is whole with this, 0 where the request is full. */
static int put_peer(struct rail_request *request, const struct rail_peer_change *change,
		    struct rail_kernel_position *position)
{
	size_t count = change->kind == RAIL_PEER_REMOVE ? 0 : change->allowed_ip_count;
	size_t first = position->allowed_ip;
	size_t mark = rail_request_mark(request);
	struct nlattr *nest = rail_request_nest(request, 0);
	int result = put_change(request, change, first > 0);

	if (result < 0)
		return result;
	if (!rail_request_keep(request, mark))
		return 0;
	if (count > 0) {
		result = put_allowed_ips(request, change, &position->allowed_ip);
		if (result < 0)
			return result;
		/* A peer whose set is replaced must not be without any until the next request. */
		if (position->allowed_ip == first) {
			request->failed = true;
			(void)rail_request_keep(request, mark);
			return 0;
		}
	}
	rail_request_nest_end(request, nest);
	if (position->allowed_ip < count)
		return 0;
	position->change++;
	position->allowed_ip = 0;
	return 1;
}

int rail_kernel_encode_changes(uint16_t family, int index, const struct rail_changes *changes,
			       struct rail_kernel_position *position,
			       struct rail_request *ret_request)
{
	const struct rail_kernel_position start = *position;
	int result = 1;

	if (position->change >= changes->count)
		return 0;

	begin_set(family, index, ret_request);
	struct nlattr *peers = rail_request_nest(ret_request, WGDEVICE_A_PEERS);
	while (position->change < changes->count && result > 0)
		result = put_peer(ret_request, &changes->changes[position->change], position);
	if (result < 0)
		return result;
	rail_request_nest_end(ret_request, peers);
	if (position->change == start.change && position->allowed_ip == start.allowed_ip)
		return -EMSGSIZE;
	return 1;
}
