#include <arpa/inet.h>
#include <criterion/criterion.h>
#include <errno.h>
#include <netinet/in.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "pkg/net/intercept.h"
#include "pkg/net/nftables.h"
#include "test/unit/net/namespaces.h"

static const struct rail_interception anywhere = {.port = RAIL_INTERCEPT_PORT,
						  .any_nameserver = true};
static const struct rail_interception resolver_only = {.port = 5300};

/* What of an interception can be in a netns, as text that is compared. */
#define SAVE_STATE                                                                                 \
	"{ nft list ruleset; ip -4 rule; ip -6 rule; "                                             \
	"ip -4 route show table all; ip -6 route show table all; } > /run/%s"

Test(net_intercept, remove_leaves_the_netns_as_it_was)
{
	become_host();
	int pod = make_netns();

	assert_command(pod, SAVE_STATE, "before");
	/* Nothing is there yet. */
	assert_ok(rail_interception_remove(pod, &failure));
	for (int times = 0; times < 2; times++) {
		assert_ok(rail_interception_apply(pod, &anywhere, &failure));
		assert_command(pod, SAVE_STATE, "made");
		assert_command_fails(pod, "cmp -s /run/before /run/made");
		assert_ok(rail_interception_check(pod, &anywhere, &failure));
		assert_ok(rail_interception_remove(pod, &failure));
		assert_command(pod, SAVE_STATE, "after");
		assert_command(pod, "diff /run/before /run/after");
	}
	close(pod);
}

Test(net_intercept, what_is_there_is_made_anew_and_other_tables_stay)
{
	become_host();
	int pod = make_netns();

	assert_command(pod, "nft add table inet other && nft add chain inet other c");
	assert_ok(rail_interception_apply(pod, &resolver_only, &failure));
	assert_command(pod, "nft add rule inet railway_dns questions drop");
	assert_ok(rail_interception_apply(pod, &anywhere, &failure));
	assert_ok(rail_interception_apply(pod, &anywhere, &failure));
	assert_ok(rail_interception_check(pod, &anywhere, &failure));
	assert_ok(rail_interception_remove(pod, &failure));
	assert_command(pod, "nft list chain inet other c");
	close(pod);
}

/* A half of it, as a process leaves it that is killed between two messages. */
Test(net_intercept, a_part_is_undone_and_made_whole)
{
	become_host();
	int pod = make_netns();

	assert_command(pod, SAVE_STATE, "before");
	assert_ok(rail_interception_apply(pod, &anywhere, &failure));
	assert_command(pod,
		       "nft delete table inet railway_dns && ip -6 rule del pref 9 && "
		       "ip -4 route flush table %d",
		       RAIL_INTERCEPT_TABLE);
	assert_ok(rail_interception_apply(pod, &anywhere, &failure));
	assert_ok(rail_interception_check(pod, &anywhere, &failure));
	assert_command(pod, "ip -6 rule del pref 9 && ip -4 route flush table %d",
		       RAIL_INTERCEPT_TABLE);
	assert_ok(rail_interception_remove(pod, &failure));
	assert_command(pod, SAVE_STATE, "after");
	assert_command(pod, "diff /run/before /run/after");
	close(pod);
}

static void assert_missing(int pod, const struct rail_interception *interception, const char *says)
{
	struct rail_error error = RAIL_ERROR_NONE;

	cr_assert_lt(rail_interception_check(pod, interception, &error), 0);
	cr_assert_eq(error.code, RAIL_CODE_CHECK_FAILED);
	cr_assert_not_null(strstr(error.message, says), "'%s' does not say '%s'", error.message,
			   says);
}

Test(net_intercept, check_tells_modes_and_ports_apart)
{
	become_host();
	int pod = make_netns();
	const struct rail_interception other_port = {.port = 5301};
	const struct rail_interception both = {.port = 5300, .any_nameserver = true};

	assert_missing(pod, &anywhere, "nf_tables rule");
	assert_ok(rail_interception_apply(pod, &resolver_only, &failure));
	assert_ok(rail_interception_check(pod, &resolver_only, &failure));
	assert_missing(pod, &other_port, "port 5301");
	assert_missing(pod, &both, "127.0.0.53");
	assert_ok(rail_interception_apply(pod, &anywhere, &failure));
	assert_missing(pod, &resolver_only, "port 5300");
	assert_command(pod,
		       "ip -4 rule add pref 9 iif lo ipproto 17 dport 54 lookup %d && "
		       "ip -4 rule del pref 9 ipproto 17 dport 53",
		       RAIL_INTERCEPT_TABLE);
	assert_missing(pod, &anywhere, "IPv4 routing rule '9: iif lo ipproto udp dport 53");
	close(pod);
}

/* Two rules, the second of which cannot be: neither is there afterwards. */
Test(net_intercept, a_batch_is_done_whole_or_not_at_all)
{
	become_host();
	int pod = make_netns();
	const struct rail_nft_chain chain = {"here", 0};
	const struct rail_nft_expression accept = {.kind = RAIL_NFT_VERDICT, .verdict = NF_ACCEPT};
	struct rail_netlink *netlink = NULL;
	struct rail_error error = RAIL_ERROR_NONE;
	struct rail_nft_batch batch;

	assert_ok(rail_nft_open(pod, &netlink, &failure));
	rail_nft_batch_init(&batch);
	rail_nft_put_table(&batch, "whole");
	rail_nft_put_chain(&batch, "whole", &chain);
	rail_nft_put_rule(&batch, "whole", "here", "good", &accept, 1);
	rail_nft_put_rule(&batch, "whole", "nowhere", "bad", &accept, 1);
	cr_assert_eq(rail_nft_commit(netlink, &batch, "make a table", &error), -ENOENT);
	cr_assert_not_null(strstr(error.message, "make a table"));
	assert_command_fails(pod, "nft list table inet whole 2>/dev/null");

	/* The socket is good for the next one; a batch that does not fit is sent not at all. */
	rail_nft_batch_init(&batch);
	rail_nft_put_table(&batch, "whole");
	rail_nft_put_chain(&batch, "whole", &chain);
	rail_nft_put_rule(&batch, "whole", "here", "good", &accept, 1);
	assert_ok(rail_nft_commit(netlink, &batch, "make a table", &failure));
	assert_command(pod, "nft list table inet whole | grep -q 'accept comment \"good\"'");
	assert_ok(rail_nft_delete_table(netlink, "whole", &failure));
	assert_ok(rail_nft_delete_table(netlink, "whole", &failure));

	rail_nft_batch_init(&batch);
	rail_nft_put_table(&batch, "whole");
	rail_nft_put_chain(&batch, "whole", &chain);
	for (int i = 0; i < 100; i++)
		rail_nft_put_rule(&batch, "whole", "here", "many", &accept, 1);
	cr_assert_eq(rail_nft_commit(netlink, &batch, "make a table", &error), -EMSGSIZE);
	assert_command_fails(pod, "nft list table inet whole 2>/dev/null");
	rail_netlink_close(netlink);
	close(pod);
}
