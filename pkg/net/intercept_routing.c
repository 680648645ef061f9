#include "pkg/net/intercept_routing.h"

#include <errno.h>
#include <linux/fib_rules.h>
#include <linux/rtnetlink.h>
#include <netinet/in.h>
#include <stdio.h>
#include <string.h>

#include "pkg/base/cleanup.h"
#include "pkg/net/intercept.h"
#include "pkg/net/isolation.h"
#include "pkg/net/link.h"
#include "pkg/net/request.h"

enum {
	/* Behind the isolation's: members are reached as ever, and so are the pod's own
	 * addresses. */
	RULE_PRIORITY = RAIL_ISOLATION_PRIORITY_LAST + 1,
	WHAT_SIZE = 128,
};

static const uint8_t families[] = {AF_INET, AF_INET6};

enum { FAMILY_COUNT = sizeof(families) / sizeof(families[0]) };

static const char *family_name(uint8_t family)
{
	return family == AF_INET ? "IPv4" : "IPv6";
}

/* What a process of the pod sends to port 53, and no route before has taken. */
static void put_routing_rule(struct rail_request *request, uint16_t type, uint8_t family,
			     uint8_t protocol, char what[static WHAT_SIZE])
{
	const struct fib_rule_hdr info = {.family = family, .action = FR_ACT_TO_TBL};
	const struct fib_rule_port_range port = {.start = RAIL_DNS_PORT, .end = RAIL_DNS_PORT};

	(void)snprintf(what, WHAT_SIZE,
		       "%s routing rule '%d: iif lo ipproto %s dport %d lookup %d'",
		       family_name(family), RULE_PRIORITY, protocol == IPPROTO_UDP ? "udp" : "tcp",
		       RAIL_DNS_PORT, RAIL_INTERCEPT_TABLE);
	rail_request_init(request, type, type == RTM_NEWRULE ? NLM_F_CREATE | NLM_F_EXCL : 0, &info,
			  sizeof(info));
	rail_request_put_u32(request, FRA_PRIORITY, RULE_PRIORITY);
	rail_request_put_u32(request, FRA_TABLE, RAIL_INTERCEPT_TABLE);
	rail_request_put_string(request, FRA_IIFNAME, "lo");
	rail_request_put_u8(request, FRA_PROTOCOL, RTPROT_STATIC);
	rail_request_put_u8(request, FRA_IP_PROTO, protocol);
	rail_request_put(request, FRA_DPORT_RANGE, &port, sizeof(port));
}

/*
 * Everything is local. The source is one that an answer finds its way back to by the rules before
 * this: IPv4 would take the nameserver's own address, IPv6 one of any interface.
 */
static void put_route(struct rail_request *request, uint16_t type, uint8_t family,
		      char what[static WHAT_SIZE])
{
	const struct rtmsg info = {.rtm_family = family,
				   .rtm_table = RT_TABLE_UNSPEC,
				   .rtm_protocol = type == RTM_NEWROUTE ? RTPROT_STATIC : 0,
				   .rtm_scope = type == RTM_NEWROUTE && family == AF_INET
							? RT_SCOPE_HOST
							: (type == RTM_NEWROUTE ? RT_SCOPE_UNIVERSE
										: RT_SCOPE_NOWHERE),
				   .rtm_type = RTN_LOCAL};
	const struct in_addr ipv4 = {.s_addr = htonl(INADDR_LOOPBACK)};

	(void)snprintf(what, WHAT_SIZE, "%s route 'local default dev lo table %d'",
		       family_name(family), RAIL_INTERCEPT_TABLE);
	rail_request_init(request, type, type == RTM_NEWROUTE ? NLM_F_CREATE | NLM_F_REPLACE : 0,
			  &info, sizeof(info));
	rail_request_put_u32(request, RTA_TABLE, RAIL_INTERCEPT_TABLE);
	rail_request_put_u32(request, RTA_OIF, RAIL_LOOPBACK_INDEX);
	if (family == AF_INET)
		rail_request_put(request, RTA_PREFSRC, &ipv4, sizeof(ipv4));
	else
		rail_request_put(request, RTA_PREFSRC, &in6addr_loopback, sizeof(in6addr_loopback));
}

/* The rules of one protocol of one family, or its route. */
static void put_routing(struct rail_request *request, bool add, uint8_t family, uint8_t protocol,
			char what[static WHAT_SIZE])
{
	if (protocol != 0)
		put_routing_rule(request, add ? RTM_NEWRULE : RTM_DELRULE, family, protocol, what);
	else
		put_route(request, add ? RTM_NEWROUTE : RTM_DELROUTE, family, what);
}

/* The route first: a rule that looks into an empty table does nothing. */
static const uint8_t routing[] = {0, IPPROTO_UDP, IPPROTO_TCP};

enum { ROUTING_COUNT = sizeof(routing) / sizeof(routing[0]) };

int rail_interception_route(int netns_fd, struct rail_error *error)
{
	RAIL_CLEANUP(rail_netlink_closep) struct rail_netlink *netlink = NULL;
	int result = rail_netlink_open(netns_fd, &netlink, error);

	for (size_t i = 0; result == 0 && i < (size_t)FAMILY_COUNT * ROUTING_COUNT; i++) {
		struct rail_request request;
		char what[WHAT_SIZE];

		put_routing(&request, true, families[i / ROUTING_COUNT], routing[i % ROUTING_COUNT],
			    what);
		result = rail_request_send_unless(netlink, &request, EEXIST, 0, what, error);
	}
	return result;
}

int rail_interception_unroute(int netns_fd, struct rail_error *error)
{
	RAIL_CLEANUP(rail_netlink_closep) struct rail_netlink *netlink = NULL;
	struct rail_error all = RAIL_ERROR_NONE;
	int result = rail_netlink_open(netns_fd, &netlink, error);

	if (result < 0)
		return result;
	for (size_t i = (size_t)FAMILY_COUNT * ROUTING_COUNT; i-- > 0;) {
		struct rail_error one = RAIL_ERROR_NONE;
		struct rail_request request;
		char what[WHAT_SIZE];

		put_routing(&request, false, families[i / ROUTING_COUNT],
			    routing[i % ROUTING_COUNT], what);
		/* No such rule; no such route. */
		if (rail_request_send_unless(netlink, &request, ENOENT, ESRCH, what, &one) < 0)
			rail_error_collect(&all, &one);
	}
	return rail_error_outcome(&all, error);
}

struct search {
	const struct rail_request *wanted;
	bool found;
};

static void restart_search(void *context)
{
	struct search *search = context;

	search->found = false;
}

static const struct nlattr *find_attribute(const struct nlmsghdr *message, size_t header_size,
					   uint16_t type)
{
	const struct nlattr *attribute;

	RAIL_FOR_EACH_ATTRIBUTE(attribute, message, (unsigned int)header_size)
	{
		if (mnl_attr_get_type(attribute) == type)
			return attribute;
	}
	return NULL;
}

/* Whether a rule or route of the kernel's says all that a request for one says. */
static bool is_wanted(const struct nlmsghdr *reply, const struct nlmsghdr *wanted)
{
	bool route = wanted->nlmsg_type == RTM_NEWROUTE;
	size_t header_size = route ? sizeof(struct rtmsg) : sizeof(struct fib_rule_hdr);
	const struct nlattr *attribute;

	RAIL_FOR_EACH_ATTRIBUTE(attribute, wanted, (unsigned int)header_size)
	{
		const struct nlattr *other =
			find_attribute(reply, header_size, mnl_attr_get_type(attribute));

		if (other == NULL || other->nla_len != attribute->nla_len ||
		    memcmp(mnl_attr_get_payload(other), mnl_attr_get_payload(attribute),
			   mnl_attr_get_payload_len(attribute)) != 0)
			return false;
	}
	if (route) {
		const struct rtmsg *one = mnl_nlmsg_get_payload(reply);

		return one->rtm_type == RTN_LOCAL && one->rtm_dst_len == 0;
	}

	const struct fib_rule_hdr *one = mnl_nlmsg_get_payload(reply);

	return one->action == FR_ACT_TO_TBL && (one->flags & FIB_RULE_INVERT) == 0;
}

static int search_reply(void *context, const struct nlmsghdr *reply, struct rail_error *error)
{
	struct search *search = context;
	const struct nlmsghdr *wanted = &search->wanted->message.header;

	(void)error;
	/* A rule's header has the size of a route's. */
	if (reply->nlmsg_type == wanted->nlmsg_type &&
	    mnl_nlmsg_get_payload_len(reply) >= sizeof(struct rtmsg) && is_wanted(reply, wanted))
		search->found = true;
	return 0;
}

_Static_assert(sizeof(struct rtmsg) == sizeof(struct fib_rule_hdr), "one check does for both");

static int check_one(struct rail_netlink *netlink, uint8_t family, uint8_t protocol,
		     struct rail_error *error)
{
	const struct rtmsg route = {.rtm_family = family};
	const struct fib_rule_hdr rule = {.family = family};
	struct rail_request wanted;
	struct rail_request dump;
	struct search search = {.wanted = &wanted};
	struct rail_error one = RAIL_ERROR_NONE;
	char what[WHAT_SIZE];

	put_routing(&wanted, true, family, protocol, what);
	if (protocol != 0) {
		rail_request_init(&dump, RTM_GETRULE, NLM_F_DUMP, &rule, sizeof(rule));
	} else {
		rail_request_init(&dump, RTM_GETROUTE, NLM_F_DUMP, &route, sizeof(route));
		rail_request_put_u32(&dump, RTA_TABLE, RAIL_INTERCEPT_TABLE);
	}

	int result = rail_request_query(netlink, &dump, search_reply, restart_search, &search, what,
					&one);
	/* No such table. */
	if (result < 0 && result != -ENOENT) {
		if (error != NULL)
			*error = one;
		return result;
	}
	if (!search.found)
		return rail_fail_code(error, RAIL_CODE_CHECK_FAILED, ENOENT, "%s is missing", what);
	return 0;
}

int rail_interception_check_routes(int netns_fd, struct rail_error *error)
{
	RAIL_CLEANUP(rail_netlink_closep) struct rail_netlink *netlink = NULL;
	int result = rail_netlink_open(netns_fd, &netlink, error);

	for (size_t i = 0; result == 0 && i < (size_t)FAMILY_COUNT * ROUTING_COUNT; i++)
		result = check_one(netlink, families[i / ROUTING_COUNT], routing[i % ROUTING_COUNT],
				   error);
	return result;
}
