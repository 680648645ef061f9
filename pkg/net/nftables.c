#include "pkg/net/nftables.h"

#include <arpa/inet.h>
#include <errno.h>
#include <linux/netfilter/nfnetlink.h>
#include <linux/netlink.h>
#include <linux/rtnetlink.h>
#include <stdio.h>
#include <string.h>

#include "pkg/net/request.h"

enum {
	REGISTER = NFT_REG_1, /* each expression that reads is followed by the one that uses it */
	USERDATA_COMMENT = 0, /* libnftnl, enum nftnl_udata_rule_types */
};

int rail_nft_open(int netns_fd, struct rail_netlink **ret_netlink, struct rail_error *error)
{
	int result = rail_netlink_open_protocol(netns_fd, NETLINK_NETFILTER, ret_netlink, error);

	if (result == -EPROTONOSUPPORT)
		return rail_fail(error, ENOTSUP, "this kernel has no nf_tables");
	return result;
}

static uint16_t message_type(uint16_t type)
{
	return (uint16_t)(NFNL_SUBSYS_NFTABLES << 8 | type);
}

static void begin(struct rail_request *request, uint16_t type, uint16_t flags)
{
	const struct nfgenmsg family = {.nfgen_family = NFPROTO_INET, .version = NFNETLINK_V0};

	rail_request_init(request, message_type(type), flags, &family, sizeof(family));
}

static void append(struct rail_nft_batch *batch, const struct rail_request *request)
{
	size_t size = NLMSG_ALIGN(request->message.header.nlmsg_len);

	if (request->failed || size > sizeof(batch->bytes) - batch->size) {
		batch->failed = true;
		return;
	}
	memset(batch->bytes + batch->size, 0, size);
	memcpy(batch->bytes + batch->size, &request->message, request->message.header.nlmsg_len);
	batch->size += size;
}

/* The messages around those of a batch. */
static void append_bound(struct rail_nft_batch *batch, uint16_t type)
{
	const struct nfgenmsg family = {.nfgen_family = AF_UNSPEC,
					.version = NFNETLINK_V0,
					.res_id = htons(NFNL_SUBSYS_NFTABLES)};
	struct rail_request request;

	rail_request_init(&request, type, 0, &family, sizeof(family));
	append(batch, &request);
}

void rail_nft_batch_init(struct rail_nft_batch *batch)
{
	batch->failed = false;
	batch->size = 0;
	append_bound(batch, NFNL_MSG_BATCH_BEGIN);
}

static void append_table(struct rail_nft_batch *batch, uint16_t type, uint16_t flags,
			 const char *table)
{
	struct rail_request request;

	begin(&request, type, flags);
	rail_request_put_string(&request, NFTA_TABLE_NAME, table);
	append(batch, &request);
}

void rail_nft_put_table(struct rail_nft_batch *batch, const char *table)
{
	append_table(batch, NFT_MSG_NEWTABLE, NLM_F_CREATE | NLM_F_EXCL, table);
}

static void put_number(struct rail_request *request, uint16_t type, uint32_t number)
{
	rail_request_put_u32(request, type, htonl(number));
}

void rail_nft_put_chain(struct rail_nft_batch *batch, const char *table,
			const struct rail_nft_chain *chain)
{
	struct rail_request request;

	begin(&request, NFT_MSG_NEWCHAIN, NLM_F_CREATE);
	rail_request_put_string(&request, NFTA_CHAIN_TABLE, table);
	rail_request_put_string(&request, NFTA_CHAIN_NAME, chain->name);

	struct nlattr *hook = rail_request_nest(&request, NFTA_CHAIN_HOOK);
	put_number(&request, NFTA_HOOK_HOOKNUM, NF_INET_LOCAL_OUT);
	put_number(&request, NFTA_HOOK_PRIORITY, (uint32_t)chain->priority);
	rail_request_nest_end(&request, hook);
	put_number(&request, NFTA_CHAIN_POLICY, NF_ACCEPT);
	rail_request_put_string(&request, NFTA_CHAIN_TYPE, "filter");
	append(batch, &request);
}

/* An expression is begun and ended around what it needs. */
struct expression {
	struct nlattr *element;
	struct nlattr *data;
};

static struct expression expression_begin(struct rail_request *request, const char *name)
{
	struct expression expression = {.element = rail_request_nest(request, NFTA_LIST_ELEM)};

	rail_request_put_string(request, NFTA_EXPR_NAME, name);
	expression.data = rail_request_nest(request, NFTA_EXPR_DATA);
	return expression;
}

static void expression_end(struct rail_request *request, struct expression expression)
{
	rail_request_nest_end(request, expression.data);
	rail_request_nest_end(request, expression.element);
}

static void put_value(struct rail_request *request, uint16_t type,
		      const struct rail_nft_expression *wanted)
{
	struct nlattr *data = rail_request_nest(request, type);

	rail_request_put(request, NFTA_DATA_VALUE, wanted->value, wanted->value_size);
	rail_request_nest_end(request, data);
}

static void put_compare(struct rail_request *request, const struct rail_nft_expression *wanted)
{
	struct expression compare = expression_begin(request, "cmp");

	put_number(request, NFTA_CMP_SREG, REGISTER);
	put_number(request, NFTA_CMP_OP, wanted->inverted ? NFT_CMP_NEQ : NFT_CMP_EQ);
	put_value(request, NFTA_CMP_DATA, wanted);
	expression_end(request, compare);
}

static void put_meta_is(struct rail_request *request, const struct rail_nft_expression *wanted)
{
	struct expression load = expression_begin(request, "meta");

	put_number(request, NFTA_META_DREG, REGISTER);
	put_number(request, NFTA_META_KEY, wanted->key);
	expression_end(request, load);
	put_compare(request, wanted);
}

static void put_place(struct rail_request *request, const struct rail_nft_expression *wanted)
{
	put_number(request, NFTA_PAYLOAD_BASE, wanted->base);
	put_number(request, NFTA_PAYLOAD_OFFSET, wanted->offset);
	put_number(request, NFTA_PAYLOAD_LEN, (uint32_t)wanted->value_size);
}

static void put_payload_is(struct rail_request *request, const struct rail_nft_expression *wanted)
{
	struct expression load = expression_begin(request, "payload");

	put_number(request, NFTA_PAYLOAD_DREG, REGISTER);
	put_place(request, wanted);
	expression_end(request, load);
	put_compare(request, wanted);
}

static void put_payload_set(struct rail_request *request, const struct rail_nft_expression *wanted)
{
	struct expression value = expression_begin(request, "immediate");

	put_number(request, NFTA_IMMEDIATE_DREG, REGISTER);
	put_value(request, NFTA_IMMEDIATE_DATA, wanted);
	expression_end(request, value);

	struct expression store = expression_begin(request, "payload");

	put_number(request, NFTA_PAYLOAD_SREG, REGISTER);
	put_place(request, wanted);
	put_number(request, NFTA_PAYLOAD_CSUM_TYPE, NFT_PAYLOAD_CSUM_INET);
	put_number(request, NFTA_PAYLOAD_CSUM_OFFSET, wanted->checksum_offset);
	expression_end(request, store);
}

static void put_destination_is_local(struct rail_request *request)
{
	const uint32_t local = RTN_LOCAL; /* of the machine's own byte order */
	struct rail_nft_expression wanted = {.value_size = sizeof(local)};
	struct expression look_up = expression_begin(request, "fib");

	put_number(request, NFTA_FIB_DREG, REGISTER);
	put_number(request, NFTA_FIB_RESULT, NFT_FIB_RESULT_ADDRTYPE);
	put_number(request, NFTA_FIB_FLAGS, NFTA_FIB_F_DADDR);
	expression_end(request, look_up);
	memcpy(wanted.value, &local, sizeof(local));
	put_compare(request, &wanted);
}

static void put_verdict(struct rail_request *request, uint32_t verdict)
{
	struct expression immediate = expression_begin(request, "immediate");

	put_number(request, NFTA_IMMEDIATE_DREG, NFT_REG_VERDICT);

	struct nlattr *data = rail_request_nest(request, NFTA_IMMEDIATE_DATA);
	struct nlattr *code = rail_request_nest(request, NFTA_DATA_VERDICT);
	put_number(request, NFTA_VERDICT_CODE, verdict);
	rail_request_nest_end(request, code);
	rail_request_nest_end(request, data);
	expression_end(request, immediate);
}

static void put_expression(struct rail_request *request, const struct rail_nft_expression *wanted)
{
	switch (wanted->kind) {
	case RAIL_NFT_META_IS:
		put_meta_is(request, wanted);
		return;
	case RAIL_NFT_PAYLOAD_IS:
		put_payload_is(request, wanted);
		return;
	case RAIL_NFT_PAYLOAD_SET:
		put_payload_set(request, wanted);
		return;
	case RAIL_NFT_DESTINATION_IS_LOCAL:
		put_destination_is_local(request);
		return;
	case RAIL_NFT_VERDICT:
		put_verdict(request, wanted->verdict);
		return;
	}
	request->failed = true;
}

/* As libnftnl writes a comment: type, length, text with its NUL. */
static void put_comment(struct rail_request *request, const char *comment)
{
	uint8_t userdata[2 + RAIL_NFT_COMMENT_SIZE] = {USERDATA_COMMENT};
	size_t size = strlen(comment) + 1;

	if (size > RAIL_NFT_COMMENT_SIZE) {
		request->failed = true;
		return;
	}
	userdata[1] = (uint8_t)size;
	memcpy(userdata + 2, comment, size);
	rail_request_put(request, NFTA_RULE_USERDATA, userdata, 2 + size);
}

void rail_nft_put_rule(struct rail_nft_batch *batch, const char *table, const char *chain,
		       const char *comment, const struct rail_nft_expression *expressions,
		       size_t count)
{
	struct rail_request request;

	begin(&request, NFT_MSG_NEWRULE, NLM_F_CREATE | NLM_F_APPEND);
	rail_request_put_string(&request, NFTA_RULE_TABLE, table);
	rail_request_put_string(&request, NFTA_RULE_CHAIN, chain);

	struct nlattr *list = rail_request_nest(&request, NFTA_RULE_EXPRESSIONS);
	for (size_t i = 0; i < count; i++)
		put_expression(&request, &expressions[i]);
	rail_request_nest_end(&request, list);
	put_comment(&request, comment);
	append(batch, &request);
}

int rail_nft_commit(struct rail_netlink *netlink, struct rail_nft_batch *batch, const char *what,
		    struct rail_error *error)
{
	struct nlmsghdr *last = NULL;
	int left = (int)batch->size;

	for (struct nlmsghdr *message = (struct nlmsghdr *)(void *)batch->bytes;
	     mnl_nlmsg_ok(message, left); message = mnl_nlmsg_next(message, &left))
		last = message;
	if (last != NULL)
		last->nlmsg_flags |= NLM_F_ACK;
	append_bound(batch, NFNL_MSG_BATCH_END);
	if (batch->failed)
		return rail_fail_errno(error, EMSGSIZE, "%s", what);
	return rail_netlink_batch(netlink, batch->bytes, batch->size, what, error);
}

int rail_nft_delete_table(struct rail_netlink *netlink, const char *table, struct rail_error *error)
{
	struct rail_error one = RAIL_ERROR_NONE;
	struct rail_nft_batch batch;
	char what[64];

	(void)snprintf(what, sizeof(what), "delete the nf_tables table '%s'", table);
	rail_nft_batch_init(&batch);
	append_table(&batch, NFT_MSG_DELTABLE, 0, table);

	int result = rail_nft_commit(netlink, &batch, what, &one);
	/* No table; no nf_tables that one could be of. */
	if (result >= 0 || result == -ENOENT || result == -EOPNOTSUPP || result == -EAFNOSUPPORT)
		return 0;
	if (error != NULL)
		*error = one;
	return result;
}

struct rule_walk {
	void (*each)(void *context, const char *chain, const char *comment);
	void (*restart)(void *context);
	void *context;
};

static void restart_walk(void *context)
{
	const struct rule_walk *walk = context;

	walk->restart(walk->context);
}

static void read_comment(const struct nlattr *attribute, char comment[static RAIL_NFT_COMMENT_SIZE])
{
	const uint8_t *userdata = mnl_attr_get_payload(attribute);
	size_t size = mnl_attr_get_payload_len(attribute);

	if (size < 3 || userdata[0] != USERDATA_COMMENT || userdata[1] != size - 2 ||
	    size - 2 > RAIL_NFT_COMMENT_SIZE || userdata[size - 1] != '\0')
		return;
	memcpy(comment, userdata + 2, size - 2);
}

static int walk_rule(void *context, const struct nlmsghdr *reply, struct rail_error *error)
{
	const struct rule_walk *walk = context;
	const struct nlattr *attribute;
	char chain[NFT_NAME_MAXLEN] = "";
	char comment[RAIL_NFT_COMMENT_SIZE] = "";

	if (reply->nlmsg_type != message_type(NFT_MSG_NEWRULE))
		return 0;
	if (mnl_nlmsg_get_payload_len(reply) < sizeof(struct nfgenmsg))
		return rail_fail(error, EPROTO,
				 "read an nf_tables rule: short message of the "
				 "kernel");
	RAIL_FOR_EACH_ATTRIBUTE(attribute, reply, sizeof(struct nfgenmsg))
	{
		if (mnl_attr_get_type(attribute) == NFTA_RULE_CHAIN)
			rail_attribute_string(attribute, chain, sizeof(chain));
		else if (mnl_attr_get_type(attribute) == NFTA_RULE_USERDATA)
			read_comment(attribute, comment);
	}
	walk->each(walk->context, chain, comment);
	return 0;
}

int rail_nft_each_rule(struct rail_netlink *netlink, const char *table,
		       void (*each)(void *context, const char *chain, const char *comment),
		       void (*restart)(void *context), void *context, struct rail_error *error)
{
	struct rule_walk walk = {.each = each, .restart = restart, .context = context};
	struct rail_request request;
	char what[64];

	(void)snprintf(what, sizeof(what), "read the rules of the nf_tables table '%s'", table);
	begin(&request, NFT_MSG_GETRULE, NLM_F_DUMP);
	rail_request_put_string(&request, NFTA_RULE_TABLE, table);
	return rail_request_query(netlink, &request, walk_rule, restart_walk, &walk, what, error);
}
