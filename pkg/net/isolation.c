#include "pkg/net/isolation.h"

#include <arpa/inet.h>
#include <errno.h>
#include <libmnl/libmnl.h>
#include <linux/fib_rules.h>
#include <linux/rtnetlink.h>
#include <net/if.h>
#include <stdio.h>
#include <string.h>

#include "pkg/net/request.h"

enum {
	WHAT_SIZE = 200,
	RULE_COUNT = RAIL_ISOLATION_PRIORITY_LAST - RAIL_ISOLATION_PRIORITY_FIRST + 1,
	PREFIX_LENGTH = 48,
};

/* What a routing rule says, as far as this module's own rules go. */
struct rule {
	uint32_t priority;
	uint8_t action;
	uint32_t table;
	char interface[IFNAMSIZ]; /* iif; "" for any */
	struct in6_addr to;
	struct in6_addr from;
	uint8_t to_length;   /* in bits; 0 for any destination */
	uint8_t from_length; /* 0 for any source */
	bool other;	     /* selects or does something else besides */
};

static const struct rule default_rule = {.action = FR_ACT_TO_TBL, .table = RT_TABLE_LOCAL};

static struct in6_addr prefix_address(const struct rail_prefix *prefix)
{
	struct in6_addr address = IN6ADDR_ANY_INIT;

	memcpy(address.s6_addr, prefix->bytes, sizeof(prefix->bytes));
	return address;
}

static void make_rules(const struct rail_isolation *isolation, struct rule rules[static RULE_COUNT])
{
	struct in6_addr prefix = prefix_address(&isolation->prefix);
	struct rule in_order[RULE_COUNT] = {
		{.action = FR_ACT_TO_TBL, .table = RT_TABLE_LOCAL, .interface = "lo"},
		{.action = FR_ACT_TO_TBL, .table = RT_TABLE_LOCAL},
		{.action = FR_ACT_TO_TBL,
		 .table = RAIL_MESH_TABLE,
		 .interface = "lo",
		 .to_length = PREFIX_LENGTH,
		 .to = prefix},
		{.action = FR_ACT_PROHIBIT, .to_length = PREFIX_LENGTH, .to = prefix},
		{.action = FR_ACT_PROHIBIT, .to_length = 128, .to = rail_resolver_address},
		{.action = FR_ACT_PROHIBIT, .from_length = PREFIX_LENGTH, .from = prefix},
		{.action = FR_ACT_PROHIBIT, .from_length = 128, .from = rail_resolver_address},
		{.action = FR_ACT_TO_TBL, .table = RT_TABLE_LOCAL},
	};

	(void)snprintf(in_order[1].interface, sizeof(in_order[1].interface), "%s",
		       isolation->interface);
	for (uint32_t i = 0; i < RULE_COUNT; i++)
		in_order[i].priority = RAIL_ISOLATION_PRIORITY_FIRST + i;
	memcpy(rules, in_order, sizeof(in_order));
}

static bool rule_equal(const struct rule *one, const struct rule *other)
{
	return !one->other && !other->other && one->priority == other->priority &&
	       one->action == other->action && one->table == other->table &&
	       strcmp(one->interface, other->interface) == 0 &&
	       one->to_length == other->to_length && IN6_ARE_ADDR_EQUAL(&one->to, &other->to) &&
	       one->from_length == other->from_length &&
	       IN6_ARE_ADDR_EQUAL(&one->from, &other->from);
}

static void selector_format(const char *word, const struct in6_addr *address, uint8_t length,
			    char *text, size_t size)
{
	char digits[INET6_ADDRSTRLEN] = "";

	text[0] = '\0';
	if (length == 0)
		return;
	(void)inet_ntop(AF_INET6, address, digits, sizeof(digits));
	(void)snprintf(text, size, " %s %s/%u", word, digits, length);
}

/* As ip-rule(8) would show it: "3: iif lo to fd00::/48 lookup 21057". */
static void rule_format(const struct rule *rule, char text[static WHAT_SIZE])
{
	char to[INET6_ADDRSTRLEN + 16];
	char from[INET6_ADDRSTRLEN + 16];
	char action[32];

	selector_format("to", &rule->to, rule->to_length, to, sizeof(to));
	selector_format("from", &rule->from, rule->from_length, from, sizeof(from));
	if (rule->action == FR_ACT_PROHIBIT)
		(void)snprintf(action, sizeof(action), "prohibit");
	else if (rule->action == FR_ACT_TO_TBL && rule->table == RT_TABLE_LOCAL)
		(void)snprintf(action, sizeof(action), "lookup local");
	else if (rule->action == FR_ACT_TO_TBL)
		(void)snprintf(action, sizeof(action), "lookup %u", rule->table);
	else
		(void)snprintf(action, sizeof(action), "action %u", rule->action);
	(void)snprintf(text, WHAT_SIZE, "%u:%s%s%s%s %s%s", rule->priority, from,
		       rule->interface[0] != '\0' ? " iif " : "", rule->interface, to, action,
		       rule->other ? " (and more)" : "");
}

static int send_rule(struct rail_netlink *netlink, uint16_t type, const struct rule *rule,
		     const char *verb, struct rail_error *error)
{
	/* The attribute FRA_TABLE has room for the whole number. */
	const struct fib_rule_hdr info = {.family = AF_INET6,
					  .dst_len = rule->to_length,
					  .src_len = rule->from_length,
					  .action = rule->action,
					  .table = RT_TABLE_UNSPEC};
	struct rail_request request;
	char text[WHAT_SIZE];
	char what[WHAT_SIZE + 32];

	rule_format(rule, text);
	(void)snprintf(what, sizeof(what), "%s routing rule '%s'", verb, text);

	rail_request_init(&request, type, type == RTM_NEWRULE ? NLM_F_CREATE | NLM_F_EXCL : 0,
			  &info, sizeof(info));
	rail_request_put_u32(&request, FRA_PRIORITY, rule->priority);
	if (rule->action == FR_ACT_TO_TBL)
		rail_request_put_u32(&request, FRA_TABLE, rule->table);
	if (rule->interface[0] != '\0')
		rail_request_put_string(&request, FRA_IIFNAME, rule->interface);
	if (rule->to_length > 0)
		rail_request_put(&request, FRA_DST, &rule->to, sizeof(rule->to));
	if (rule->from_length > 0)
		rail_request_put(&request, FRA_SRC, &rule->from, sizeof(rule->from));
	/* The kernel made its default rules itself; what gives one back makes the same. */
	if (type == RTM_NEWRULE)
		rail_request_put_u8(&request, FRA_PROTOCOL,
				    rule->priority == 0 ? RTPROT_KERNEL : RTPROT_STATIC);
	return rail_request_send_unless(netlink, &request, type == RTM_NEWRULE ? EEXIST : ENOENT, 0,
					what, error);
}

/*
 * The rules that the kernel tries first, in its order. One more than this module's own is kept:
 * the default's, while both are there.
 */
struct rule_list {
	struct rule rules[RULE_COUNT + 1];
	size_t count;
	bool default_seen; /* anywhere in the list */
	struct rule own[RULE_COUNT];
	bool own_seen[RULE_COUNT];
};

static void restart_rules(void *context)
{
	struct rule_list *list = context;

	list->count = 0;
	list->default_seen = false;
	memset(list->own_seen, 0, sizeof(list->own_seen));
}

static struct rule parse_rule(const struct nlmsghdr *reply)
{
	const struct fib_rule_hdr *info = mnl_nlmsg_get_payload(reply);
	const struct nlattr *attribute;
	struct rule rule = {.action = info->action,
			    .table = info->table,
			    .to_length = info->dst_len,
			    .from_length = info->src_len,
			    .other = info->tos != 0 || (info->flags & FIB_RULE_INVERT) != 0};
	uint32_t suppressed;

	RAIL_FOR_EACH_ATTRIBUTE(attribute, reply, sizeof(*info))
	{
		switch (mnl_attr_get_type(attribute)) {
		case FRA_PRIORITY:
			(void)rail_attribute_bytes(attribute, &rule.priority,
						   sizeof(rule.priority));
			break;
		case FRA_TABLE:
			(void)rail_attribute_bytes(attribute, &rule.table, sizeof(rule.table));
			break;
		case FRA_IIFNAME:
			rail_attribute_string(attribute, rule.interface, sizeof(rule.interface));
			break;
		case FRA_DST:
			if (!rail_attribute_bytes(attribute, &rule.to, sizeof(rule.to)))
				rule.other = true;
			break;
		case FRA_SRC:
			if (!rail_attribute_bytes(attribute, &rule.from, sizeof(rule.from)))
				rule.other = true;
			break;
		case FRA_SUPPRESS_PREFIXLEN: /* always there; all ones for none */
			if (!rail_attribute_bytes(attribute, &suppressed, sizeof(suppressed)) ||
			    suppressed != UINT32_MAX)
				rule.other = true;
			break;
		case FRA_PROTOCOL:
		case FRA_PAD:
			break;
		default:
			rule.other = true;
			break;
		}
	}
	/* Only a look-up has a table, whatever the header holds. */
	if (rule.action != FR_ACT_TO_TBL)
		rule.table = 0;
	return rule;
}

static int collect_rule(void *context, const struct nlmsghdr *reply, struct rail_error *error)
{
	struct rule_list *list = context;

	if (reply->nlmsg_type != RTM_NEWRULE)
		return 0;
	if (mnl_nlmsg_get_payload_len(reply) < sizeof(struct fib_rule_hdr))
		return rail_fail(error, EPROTO, "read a routing rule: short message of the kernel");
	if (((const struct fib_rule_hdr *)mnl_nlmsg_get_payload(reply))->family != AF_INET6)
		return 0;

	struct rule rule = parse_rule(reply);
	if (list->count < RULE_COUNT + 1)
		list->rules[list->count++] = rule;
	if (rule_equal(&rule, &default_rule))
		list->default_seen = true;
	for (size_t i = 0; i < RULE_COUNT; i++)
		if (rule_equal(&rule, &list->own[i]))
			list->own_seen[i] = true;
	return 0;
}

static int read_rules(struct rail_netlink *netlink, const struct rail_isolation *isolation,
		      struct rule_list *list, struct rail_error *error)
{
	const struct fib_rule_hdr info = {.family = AF_INET6};
	struct rail_request request;

	*list = (struct rule_list){.count = 0};
	make_rules(isolation, list->own);
	rail_request_init(&request, RTM_GETRULE, NLM_F_DUMP, &info, sizeof(info));
	return rail_request_query(netlink, &request, collect_rule, restart_rules, list,
				  "read the routing rules", error);
}

int rail_isolation_is_there(struct rail_netlink *netlink, bool *ret_there, struct rail_error *error)
{
	const struct rail_isolation any = {.interface = ""};
	struct rule_list list;
	int result = read_rules(netlink, &any, &list, error);

	/* The first to come, and the last: they are the same for all. */
	*ret_there = result == 0 && (list.own_seen[0] || list.own_seen[RULE_COUNT - 1]);
	return result;
}

static int send_route(struct rail_netlink *netlink, uint16_t type, uint16_t flags,
		      const struct rail_isolation *isolation, struct rail_error *error)
{
	const struct rtmsg info = {.rtm_family = AF_INET6,
				   .rtm_dst_len = PREFIX_LENGTH,
				   .rtm_table = RT_TABLE_UNSPEC,
				   .rtm_protocol = type == RTM_NEWROUTE ? RTPROT_STATIC : 0,
				   .rtm_scope = type == RTM_NEWROUTE ? RT_SCOPE_UNIVERSE
								     : RT_SCOPE_NOWHERE,
				   .rtm_type = type == RTM_NEWROUTE ? RTN_UNICAST : 0};
	struct in6_addr prefix = prefix_address(&isolation->prefix);
	struct rail_request request;
	char text[RAIL_PREFIX_TEXT_SIZE];
	char what[WHAT_SIZE];

	rail_prefix_format(&isolation->prefix, text);
	(void)snprintf(what, sizeof(what), "%s the route to %s by %s",
		       type == RTM_NEWROUTE ? "add" : "delete", text, isolation->interface);

	rail_request_init(&request, type, flags, &info, sizeof(info));
	rail_request_put(&request, RTA_DST, &prefix, sizeof(prefix));
	rail_request_put_u32(&request, RTA_TABLE, RAIL_MESH_TABLE);
	if (type == RTM_NEWROUTE) {
		rail_request_put_u32(&request, RTA_OIF, (uint32_t)isolation->interface_index);
		rail_request_put(&request, RTA_PREFSRC, &isolation->address,
				 sizeof(isolation->address));
	}
	/* For what is to go: no such route, no such table. */
	return rail_request_send_unless(netlink, &request, type == RTM_DELROUTE ? ESRCH : 0,
					type == RTM_DELROUTE ? ENOENT : 0, what, error);
}

int rail_isolation_apply(struct rail_netlink *netlink, const struct rail_isolation *isolation,
			 struct rail_error *error)
{
	struct rule rules[RULE_COUNT];
	int result =
		send_route(netlink, RTM_NEWROUTE, NLM_F_CREATE | NLM_F_REPLACE, isolation, error);

	if (result < 0)
		return result;

	make_rules(isolation, rules);
	for (size_t i = 0; i < RULE_COUNT; i++) {
		result = send_rule(netlink, RTM_NEWRULE, &rules[i], "add", error);
		if (result < 0)
			return result;
	}

	return send_rule(netlink, RTM_DELRULE, &default_rule, "delete", error);
}

int rail_isolation_remove(struct rail_netlink *netlink, const struct rail_isolation *isolation,
			  struct rail_error *error)
{
	struct rail_error all = RAIL_ERROR_NONE;
	struct rail_error one = RAIL_ERROR_NONE;
	struct rule_list list;
	int result = read_rules(netlink, isolation, &list, error);

	if (result < 0)
		return result;

	/* The default's first: without any look-up in the local table a pod reaches nothing. */
	if (!list.default_seen) {
		result = send_rule(netlink, RTM_NEWRULE, &default_rule, "add", &one);
		if (result < 0)
			rail_error_collect(&all, &one);
	}
	for (size_t i = 0; i < RULE_COUNT; i++) {
		if (!list.own_seen[i])
			continue;
		one = RAIL_ERROR_NONE;
		result = send_rule(netlink, RTM_DELRULE, &list.own[i], "delete", &one);
		if (result < 0)
			rail_error_collect(&all, &one);
	}

	one = RAIL_ERROR_NONE;
	result = send_route(netlink, RTM_DELROUTE, 0, isolation, &one);
	if (result < 0)
		rail_error_collect(&all, &one);

	return rail_error_outcome(&all, error);
}

struct route_search {
	const struct rail_isolation *isolation;
	bool found;
};

static void restart_route(void *context)
{
	struct route_search *search = context;

	search->found = false;
}

static int collect_route(void *context, const struct nlmsghdr *reply, struct rail_error *error)
{
	struct route_search *search = context;
	const struct rtmsg *info = mnl_nlmsg_get_payload(reply);
	const struct nlattr *attribute;
	struct in6_addr prefix = prefix_address(&search->isolation->prefix);
	struct in6_addr destination = IN6ADDR_ANY_INIT;
	struct in6_addr source = IN6ADDR_ANY_INIT;
	uint32_t table = 0;
	int index = 0;

	if (reply->nlmsg_type != RTM_NEWROUTE)
		return 0;
	if (mnl_nlmsg_get_payload_len(reply) < sizeof(*info))
		return rail_fail(error, EPROTO, "read a route: short message of the kernel");
	if (info->rtm_dst_len != PREFIX_LENGTH || info->rtm_src_len != 0 ||
	    info->rtm_type != RTN_UNICAST)
		return 0;

	RAIL_FOR_EACH_ATTRIBUTE(attribute, reply, sizeof(*info))
	{
		switch (mnl_attr_get_type(attribute)) {
		case RTA_DST:
			(void)rail_attribute_bytes(attribute, &destination, sizeof(destination));
			break;
		case RTA_PREFSRC:
			(void)rail_attribute_bytes(attribute, &source, sizeof(source));
			break;
		case RTA_TABLE:
			(void)rail_attribute_bytes(attribute, &table, sizeof(table));
			break;
		case RTA_OIF:
			(void)rail_attribute_bytes(attribute, &index, sizeof(index));
			break;
		default:
			break;
		}
	}
	if (table == RAIL_MESH_TABLE && index == search->isolation->interface_index &&
	    IN6_ARE_ADDR_EQUAL(&destination, &prefix) &&
	    IN6_ARE_ADDR_EQUAL(&source, &search->isolation->address))
		search->found = true;
	return 0;
}

static int check_route(struct rail_netlink *netlink, const struct rail_isolation *isolation,
		       struct rail_error *error)
{
	const struct rtmsg info = {.rtm_family = AF_INET6};
	struct route_search search = {.isolation = isolation};
	struct rail_error one = RAIL_ERROR_NONE;
	struct rail_request request;
	char text[RAIL_PREFIX_TEXT_SIZE];

	rail_request_init(&request, RTM_GETROUTE, NLM_F_DUMP, &info, sizeof(info));
	rail_request_put_u32(&request, RTA_TABLE, RAIL_MESH_TABLE);

	int result = rail_request_query(netlink, &request, collect_route, restart_route, &search,
					"read the routes of the mesh table", &one);
	if (result < 0 && result != -ENOENT) {
		if (error != NULL)
			*error = one;
		return result;
	}
	if (search.found)
		return 0;

	rail_prefix_format(&isolation->prefix, text);
	return rail_fail_code(error, RAIL_CODE_CHECK_FAILED, ENOENT,
			      "the route to %s by %s is missing from table %d", text,
			      isolation->interface, RAIL_MESH_TABLE);
}

int rail_isolation_check(struct rail_netlink *netlink, const struct rail_isolation *isolation,
			 struct rail_error *error)
{
	struct rule_list list;
	char wanted[WHAT_SIZE];
	char found[WHAT_SIZE];
	int result = read_rules(netlink, isolation, &list, error);

	if (result < 0)
		return result;

	/* Nothing may stand before or between: any look-up there can let a packet out or in. */
	for (size_t i = 0; i < RULE_COUNT; i++) {
		if (i < list.count && rule_equal(&list.rules[i], &list.own[i]))
			continue;
		rule_format(&list.own[i], wanted);
		if (i >= list.count || !list.own_seen[i])
			return rail_fail_code(error, RAIL_CODE_CHECK_FAILED, ENOENT,
					      "routing rule '%s' is missing", wanted);
		rule_format(&list.rules[i], found);
		return rail_fail_code(error, RAIL_CODE_CHECK_FAILED, EEXIST,
				      "routing rule '%s' stands before '%s'", found, wanted);
	}
	return check_route(netlink, isolation, error);
}
