#include "pkg/net/intercept.h"

#include <arpa/inet.h>
#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "pkg/base/cleanup.h"
#include "pkg/ipam/address.h"
#include "pkg/net/intercept_routing.h"
#include "pkg/net/link.h"
#include "pkg/net/nftables.h"

#define TABLE "railway_dns"
#define STUB_ADDRESS "127.0.0.53"

enum {
	/* linux/netfilter_ipv4.h, enum nf_ip_hook_priorities; IPv6 has the same. */
	PRIORITY_RAW = -300,
	PRIORITY_MANGLE = -150,
	RULES_MAXIMUM = 12,
	EXPRESSIONS_MAXIMUM = 8,
	SOURCE_PORT_OFFSET = 0, /* in UDP's and TCP's header alike */
	DESTINATION_PORT_OFFSET = 2,
};

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

static int make_table(struct rail_netlink *netlink, const struct nft_rules *rules,
		      struct rail_error *error)
{
	struct rail_nft_batch batch;

	rail_nft_batch_init(&batch);
	rail_nft_put_table(&batch, TABLE);
	rail_nft_put_chain(&batch, TABLE, &questions);
	rail_nft_put_chain(&batch, TABLE, &answers);
	for (size_t i = 0; i < rules->count; i++)
		rail_nft_put_rule(&batch, TABLE, rules->rules[i].chain->name,
				  rules->rules[i].comment, rules->rules[i].expressions,
				  rules->rules[i].count);
	return rail_nft_commit(netlink, &batch, "make the nf_tables table '" TABLE "'", error);
}

static int apply_nft(int netns_fd, const struct rail_interception *interception,
		     struct rail_error *error)
{
	RAIL_CLEANUP(rail_netlink_closep) struct rail_netlink *netlink = NULL;
	struct nft_rules rules;

	int result = rail_nft_open(netns_fd, &netlink, error);
	if (result < 0)
		return result;
	make_nft_rules(interception, &rules);
	result = make_table(netlink, &rules, error);
	if (result == -EEXIST) {
		result = rail_nft_delete_table(netlink, TABLE, error);
		if (result == 0)
			result = make_table(netlink, &rules, error);
	}

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

int rail_interception_apply(int netns_fd, const struct rail_interception *interception,
			    struct rail_error *error)
{
	/* The other way about, queries would for a moment be led to a port where nobody is. */
	int result = apply_nft(netns_fd, interception, error);

	if (result == 0 && interception->any_nameserver)
		result = rail_interception_route(netns_fd, error);
	return result;
}

int rail_interception_remove(int netns_fd, struct rail_error *error)
{
	struct rail_error all = RAIL_ERROR_NONE;
	struct rail_error one = RAIL_ERROR_NONE;

	if (rail_interception_unroute(netns_fd, &one) < 0)
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
		result = rail_interception_check_routes(netns_fd, error);
	return result;
}
