#include "pkg/net/intercept.h"

#include <arpa/inet.h>
#include <errno.h>
#include <linux/fib_rules.h>
#include <linux/rtnetlink.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "pkg/base/cleanup.h"
#include "pkg/ipam/address.h"
#include "pkg/net/isolation.h"
#include "pkg/net/link.h"
#include "pkg/net/nftables.h"
#include "pkg/net/request.h"

#define TABLE "railway_dns"
#define STUB_ADDRESS "127.0.0.53"

enum {
	/* Behind the isolation's: members are reached as ever, and so are the pod's own
	 * addresses. */
	RULE_PRIORITY = RAIL_ISOLATION_PRIORITY_LAST + 1,
	WHAT_SIZE = 128,
	/* linux/netfilter_ipv4.h, enum nf_ip_hook_priorities; IPv6 has the same. */
	PRIORITY_RAW = -300,
	PRIORITY_MANGLE = -150,
	RULES_MAXIMUM = 12,
	EXPRESSIONS_MAXIMUM = 8,
	SOURCE_PORT_OFFSET = 0, /* in UDP's and TCP's header alike */
	DESTINATION_PORT_OFFSET = 2,
};

/* ---- nf_tables ---- */

/* Before connection tracking (which some pods have, a service mesh's for one), that it may see both
 * directions of a query with the same port; and so after it. */
static const struct rail_nft_chain questions = {"questions", PRIORITY_RAW};
static const struct rail_nft_chain answers = {"answers", PRIORITY_MANGLE};

struct nft_rule {
	const struct rail_nft_chain *chain;
	char comment[RAIL_NFT_COMMENT_SIZE];
	struct rail_nft_expression expressions[EXPRESSIONS_MAXIMUM];
	size_t count;
};

struct nft_rules {
	struct nft_rule rules[RULES_MAXIMUM];
	size_t count;
};

static struct nft_rule *add_rule(struct nft_rules *rules, const struct rail_nft_chain *chain)
{
	struct nft_rule *rule = &rules->rules[rules->count++];

	*rule = (struct nft_rule){.chain = chain};
	return rule;
}

static struct rail_nft_expression *add_expression(struct nft_rule *rule, enum rail_nft_kind kind)
{
	struct rail_nft_expression *expression = &rule->expressions[rule->count++];

	*expression = (struct rail_nft_expression){.kind = kind};
	return expression;
}

static void set_value(struct rail_nft_expression *expression, const void *value, size_t size)
{
	memcpy(expression->value, value, size);
	expression->value_size = size;
}

/* A packet that stays in the pod: to one of its own addresses, or by the routes below. */
static void match_loopback(struct nft_rule *rule, bool inverted)
{
	struct rail_nft_expression *expression = add_expression(rule, RAIL_NFT_META_IS);
	const uint32_t index = RAIL_LOOPBACK_INDEX;

	expression->key = NFT_META_OIF;
	expression->inverted = inverted;
	set_value(expression, &index, sizeof(index));
}

static void match_byte(struct nft_rule *rule, uint32_t key, uint8_t value)
{
	struct rail_nft_expression *expression = add_expression(rule, RAIL_NFT_META_IS);

	expression->key = key;
	set_value(expression, &value, sizeof(value));
}

/* RFC 791, 3.1; RFC 8200, 3. */
static void match_destination(struct nft_rule *rule, int family)
{
	struct rail_nft_expression *expression;
	struct in_addr stub;

	match_byte(rule, NFT_META_NFPROTO, family == AF_INET ? NFPROTO_IPV4 : NFPROTO_IPV6);
	expression = add_expression(rule, RAIL_NFT_PAYLOAD_IS);
	expression->base = NFT_PAYLOAD_NETWORK_HEADER;
	if (family == AF_INET) {
		(void)inet_pton(AF_INET, STUB_ADDRESS, &stub);
		expression->offset = 16;
		set_value(expression, &stub, sizeof(stub));
	} else {
		expression->offset = 24;
		set_value(expression, &rail_resolver_address, sizeof(rail_resolver_address));
	}
}

static void match_port(struct nft_rule *rule, uint8_t protocol, uint32_t offset, uint16_t port)
{
	struct rail_nft_expression *expression;
	const uint16_t in_order = htons(port);

	match_byte(rule, NFT_META_L4PROTO, protocol);
	expression = add_expression(rule, RAIL_NFT_PAYLOAD_IS);
	expression->base = NFT_PAYLOAD_TRANSPORT_HEADER;
	expression->offset = offset;
	set_value(expression, &in_order, sizeof(in_order));
}

static void set_port(struct nft_rule *rule, uint8_t protocol, uint32_t offset, uint16_t port)
{
	struct rail_nft_expression *expression = add_expression(rule, RAIL_NFT_PAYLOAD_SET);
	const uint16_t in_order = htons(port);

	expression->base = NFT_PAYLOAD_TRANSPORT_HEADER;
	expression->offset = offset;
	/* RFC 768; RFC 9293, 3.1. */
	expression->checksum_offset = protocol == IPPROTO_UDP ? 6 : 16;
	set_value(expression, &in_order, sizeof(in_order));
}

static void set_verdict(struct nft_rule *rule, uint32_t verdict)
{
	add_expression(rule, RAIL_NFT_VERDICT)->verdict = verdict;
}

static const uint8_t protocols[] = {IPPROTO_UDP, IPPROTO_TCP};

static const char *protocol_name(uint8_t protocol)
{
	return protocol == IPPROTO_UDP ? "UDP" : "TCP";
}

enum { PROTOCOL_COUNT = sizeof(protocols) / sizeof(protocols[0]) };

__attribute__((format(printf, 2, 3))) static void set_comment(struct nft_rule *rule,
							      const char *format, ...)
{
	va_list arguments;

	va_start(arguments, format);
	(void)vsnprintf(rule->comment, sizeof(rule->comment), format, arguments);
	va_end(arguments);
}

static void add_question(struct nft_rules *rules, int family, uint8_t protocol, uint16_t port)
{
	struct nft_rule *rule = add_rule(rules, &questions);

	if (family != AF_UNSPEC)
		match_destination(rule, family);
	match_port(rule, protocol, DESTINATION_PORT_OFFSET, RAIL_DNS_PORT);
	set_port(rule, protocol, DESTINATION_PORT_OFFSET, port);
	set_verdict(rule, NF_ACCEPT);
	set_comment(rule, "%s to %s: to the resolver at port %u", protocol_name(protocol),
		    family == AF_UNSPEC	 ? "any nameserver"
		    : family == AF_INET6 ? "fd12::10"
					 : STUB_ADDRESS,
		    port);
}

static void add_answer(struct nft_rules *rules, uint8_t protocol, uint16_t port)
{
	struct nft_rule *rule = add_rule(rules, &answers);

	match_port(rule, protocol, SOURCE_PORT_OFFSET, port);
	match_loopback(rule, false);
	set_port(rule, protocol, SOURCE_PORT_OFFSET, RAIL_DNS_PORT);
	set_comment(rule, "%s answers of the resolver", protocol_name(protocol));

	/* Its sockets may send from any address. */
	rule = add_rule(rules, &answers);
	match_port(rule, protocol, SOURCE_PORT_OFFSET, port);
	match_loopback(rule, true);
	set_verdict(rule, NF_DROP);
	set_comment(rule, "%s of the resolver leaves the pod by no other way",
		    protocol_name(protocol));
}

static void make_nft_rules(const struct rail_interception *interception, struct nft_rules *rules)
{
	uint16_t port = interception->port;
	struct nft_rule *rule;

	rules->count = 0;
	rule = add_rule(rules, &questions);
	match_loopback(rule, true);
	set_verdict(rule, NF_ACCEPT);
	set_comment(rule, "what leaves the pod is not for the resolver");

	for (size_t i = 0; i < PROTOCOL_COUNT; i++) {
		add_question(rules, AF_INET6, protocols[i], port);
		if (interception->any_nameserver)
			add_question(rules, AF_INET, protocols[i], port);
	}
	if (interception->any_nameserver) {
		rule = add_rule(rules, &questions);
		(void)add_expression(rule, RAIL_NFT_DESTINATION_IS_LOCAL);
		set_verdict(rule, NF_ACCEPT);
		set_comment(rule, "a nameserver of the pod's own is its own");
		for (size_t i = 0; i < PROTOCOL_COUNT; i++)
			add_question(rules, AF_UNSPEC, protocols[i], port);
	}
	for (size_t i = 0; i < PROTOCOL_COUNT; i++)
		add_answer(rules, protocols[i], port);
}

static int apply_nft(int netns_fd, const struct rail_interception *interception,
		     struct rail_error *error)
{
	RAIL_CLEANUP(rail_netlink_closep) struct rail_netlink *netlink = NULL;
	struct rail_nft_batch batch;
	struct nft_rules rules;

	int result = rail_nft_open(netns_fd, &netlink, error);
	if (result < 0)
		return result;
	make_nft_rules(interception, &rules);
	rail_nft_batch_init(&batch);
	rail_nft_put_table(&batch, TABLE);
	rail_nft_put_chain(&batch, TABLE, &questions);
	rail_nft_put_chain(&batch, TABLE, &answers);
	for (size_t i = 0; i < rules.count; i++)
		rail_nft_put_rule(&batch, TABLE, rules.rules[i].chain->name, rules.rules[i].comment,
				  rules.rules[i].expressions, rules.rules[i].count);
	result = rail_nft_commit(netlink, &batch, "make the nf_tables table '" TABLE "'", error);

	/* No such expression, no such type of chain, no such family. */
	if (result == -ENOENT || result == -EOPNOTSUPP || result == -EAFNOSUPPORT)
		return rail_wrap(error, -ENOTSUP, "this kernel lacks nf_tables, or nft_fib_inet");
	return result;
}

static int remove_nft(int netns_fd, struct rail_error *error)
{
	RAIL_CLEANUP(rail_netlink_closep) struct rail_netlink *netlink = NULL;
	struct rail_error one = RAIL_ERROR_NONE;

	int result = rail_nft_open(netns_fd, &netlink, &one);
	if (result == -ENOTSUP)
		return 0; /* and so there is no table */
	if (result == 0)
		result = rail_nft_delete_table(netlink, TABLE, &one);
	if (result < 0 && error != NULL)
		*error = one;
	return result;
}

/* The table's own rules come in the order of each chain; seen counts how far each has come. */
struct nft_check {
	struct nft_rules wanted;
	bool seen[RULES_MAXIMUM];
	char foreign[RAIL_NFT_COMMENT_SIZE]; /* the first rule that is not there by order */
	bool has_foreign;
};

static void restart_check(void *context)
{
	struct nft_check *check = context;

	memset(check->seen, 0, sizeof(check->seen));
	check->has_foreign = false;
}

static void check_rule(void *context, const char *chain, const char *comment)
{
	struct nft_check *check = context;
	size_t i = 0;

	while (i < check->wanted.count &&
	       (check->seen[i] || strcmp(check->wanted.rules[i].chain->name, chain) != 0))
		i++;
	if (i < check->wanted.count && strcmp(check->wanted.rules[i].comment, comment) == 0) {
		check->seen[i] = true;
	} else if (!check->has_foreign) {
		check->has_foreign = true;
		(void)snprintf(check->foreign, sizeof(check->foreign), "%s", comment);
	}
}

static int check_nft(int netns_fd, const struct rail_interception *interception,
		     struct rail_error *error)
{
	RAIL_CLEANUP(rail_netlink_closep) struct rail_netlink *netlink = NULL;
	struct nft_check check = {.has_foreign = false};

	make_nft_rules(interception, &check.wanted);
	int result = rail_nft_open(netns_fd, &netlink, error);
	if (result == 0)
		result = rail_nft_each_rule(netlink, TABLE, check_rule, restart_check, &check,
					    error);
	if (result < 0 && result != -ENOENT)
		return result;
	for (size_t i = 0; i < check.wanted.count; i++)
		if (!check.seen[i])
			return rail_fail_code(error, RAIL_CODE_CHECK_FAILED, ENOENT,
					      "the nf_tables rule '%s' of table " TABLE
					      " is missing or out of its place",
					      check.wanted.rules[i].comment);
	if (check.has_foreign)
		return rail_fail_code(
			error, RAIL_CODE_CHECK_FAILED, EEXIST,
			"a rule that is not the suite's is in the nf_tables table " TABLE " ('%s')",
			check.foreign);
	return 0;
}

/* ---- routing ---- */

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
		       "%s routing rule '%u: iif lo ipproto %s dport %u lookup %u'",
		       family_name(family), RULE_PRIORITY, protocol_name(protocol), RAIL_DNS_PORT,
		       RAIL_INTERCEPT_TABLE);
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

	(void)snprintf(what, WHAT_SIZE, "%s route 'local default dev lo table %u'",
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

static int apply_routing(int netns_fd, struct rail_error *error)
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

static int remove_routing(int netns_fd, struct rail_error *error)
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

static int check_routing(int netns_fd, struct rail_error *error)
{
	RAIL_CLEANUP(rail_netlink_closep) struct rail_netlink *netlink = NULL;
	int result = rail_netlink_open(netns_fd, &netlink, error);

	for (size_t i = 0; result == 0 && i < (size_t)FAMILY_COUNT * ROUTING_COUNT; i++)
		result = check_one(netlink, families[i / ROUTING_COUNT], routing[i % ROUTING_COUNT],
				   error);
	return result;
}

/* ---- both ---- */

int rail_interception_apply(int netns_fd, const struct rail_interception *interception,
			    struct rail_error *error)
{
	/* The other way about, queries would for a moment be led to a port where nobody is. */
	int result = apply_nft(netns_fd, interception, error);

	if (result == 0 && interception->any_nameserver)
		result = apply_routing(netns_fd, error);
	return result;
}

int rail_interception_remove(int netns_fd, struct rail_error *error)
{
	struct rail_error all = RAIL_ERROR_NONE;
	struct rail_error one = RAIL_ERROR_NONE;

	if (remove_routing(netns_fd, &one) < 0)
		rail_error_collect(&all, &one);
	if (remove_nft(netns_fd, &one) < 0)
		rail_error_collect(&all, &one);
	return rail_error_outcome(&all, error);
}

int rail_interception_check(int netns_fd, const struct rail_interception *interception,
			    struct rail_error *error)
{
	int result = check_nft(netns_fd, interception, error);

	if (result == 0 && interception->any_nameserver)
		result = check_routing(netns_fd, error);
	return result;
}
