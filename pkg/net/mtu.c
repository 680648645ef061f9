#include <errno.h>
#include <libmnl/libmnl.h>
#include <linux/rtnetlink.h>

#include "pkg/net/link.h"
#include "pkg/net/request.h"

enum {
	/* IPv6's header 40, UDP's 8, WireGuard's 16 and its authentication tag 16. */
	TUNNEL_OVERHEAD = 80,
	TUNNEL_MTU_MINIMUM = 1280,
	TUNNEL_MTU_WITHOUT_ROUTE = 1420,
	NEXT_HOPS_MAXIMUM = 16,
};

/* The default route of one family: where several are there, the one with the lowest metric. */
struct default_route {
	bool found;
	uint32_t metric;
	int indices[NEXT_HOPS_MAXIMUM];
	size_t index_count;
};

static void restart_search(void *context)
{
	*(struct default_route *)context = (struct default_route){.found = false};
}

static void add_index(struct default_route *route, int index)
{
	if (index > 0 && route->index_count < NEXT_HOPS_MAXIMUM)
		route->indices[route->index_count++] = index;
}

static void add_next_hops(struct default_route *route, const struct nlattr *attribute)
{
	const char *position = mnl_attr_get_payload(attribute);
	size_t left = mnl_attr_get_payload_len(attribute);

	while (left >= sizeof(struct rtnexthop)) {
		const struct rtnexthop *hop = (const void *)position;
		size_t size = ((size_t)hop->rtnh_len + 3) & ~(size_t)3;

		if (hop->rtnh_len < sizeof(*hop) || hop->rtnh_len > left)
			return;
		add_index(route, hop->rtnh_ifindex);
		if (size >= left)
			return;
		position += size;
		left -= size;
	}
}

static int collect_route(void *context, const struct nlmsghdr *reply, struct rail_error *error)
{
	struct default_route *best = context;
	struct default_route route = {.found = true};
	const struct rtmsg *info = mnl_nlmsg_get_payload(reply);
	const struct nlattr *attribute;

	if (reply->nlmsg_type != RTM_NEWROUTE)
		return 0;
	if (mnl_nlmsg_get_payload_len(reply) < sizeof(*info))
		return rail_fail(error, EPROTO, "read a route: short message of the kernel");
	if (info->rtm_dst_len != 0 || info->rtm_type != RTN_UNICAST ||
	    info->rtm_table != RT_TABLE_MAIN || (info->rtm_flags & RTM_F_CLONED) != 0)
		return 0;

	RAIL_FOR_EACH_ATTRIBUTE(attribute, reply, sizeof(*info))
	{
		int index = 0;

		switch (mnl_attr_get_type(attribute)) {
		case RTA_PRIORITY:
			(void)rail_attribute_bytes(attribute, &route.metric, sizeof(route.metric));
			break;
		case RTA_OIF:
			if (rail_attribute_bytes(attribute, &index, sizeof(index)))
				add_index(&route, index);
			break;
		case RTA_MULTIPATH:
			add_next_hops(&route, attribute);
			break;
		default:
			break;
		}
	}
	if (route.index_count > 0 && (!best->found || route.metric < best->metric))
		*best = route;
	return 0;
}

/* Lowers *mtu to what the family's default route can carry. */
static int limit_by_family(struct rail_netlink *netlink, uint8_t family, unsigned int *mtu,
			   struct rail_error *error)
{
	const struct rtmsg info = {.rtm_family = family};
	struct default_route route = {.found = false};
	struct rail_error one = RAIL_ERROR_NONE;
	struct rail_request request;

	rail_request_init(&request, RTM_GETROUTE, NLM_F_DUMP, &info, sizeof(info));
	rail_request_put_u32(&request, RTA_TABLE, RT_TABLE_MAIN);

	int result = rail_request_query(netlink, &request, collect_route, restart_search, &route,
					"read the routes of the main table", &one);
	/* ENOENT: a table without routes; the others: a family that the kernel does not have. */
	if (result < 0 && result != -ENOENT && result != -EAFNOSUPPORT && result != -EOPNOTSUPP) {
		if (error != NULL)
			*error = one;
		return result;
	}

	for (size_t i = 0; i < route.index_count; i++) {
		struct rail_link link;

		result = rail_link_get_index(netlink, route.indices[i], &link, &one);
		if (result == -ENODEV)
			continue;
		if (result < 0) {
			if (error != NULL)
				*error = one;
			return result;
		}
		if (*mtu == 0 || link.mtu < *mtu)
			*mtu = link.mtu;
	}
	return 0;
}

int rail_tunnel_mtu(struct rail_netlink *netlink, unsigned int *ret_mtu, struct rail_error *error)
{
	unsigned int underlay = 0;
	int result = limit_by_family(netlink, AF_INET, &underlay, error);

	if (result == 0)
		result = limit_by_family(netlink, AF_INET6, &underlay, error);
	if (result < 0)
		return result;

	if (underlay == 0)
		*ret_mtu = TUNNEL_MTU_WITHOUT_ROUTE;
	else if (underlay < TUNNEL_MTU_MINIMUM + TUNNEL_OVERHEAD)
		*ret_mtu = TUNNEL_MTU_MINIMUM;
	else
		*ret_mtu = underlay - TUNNEL_OVERHEAD;
	return 0;
}
