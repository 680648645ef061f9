#pragma once

/* Before the kernel's, which then leaves out what both have. */
#include <netinet/in.h>

#include <linux/netfilter.h>
#include <linux/netfilter/nf_tables.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "pkg/net/netlink.h"

/*
 * nf_tables (linux/netfilter/nf_tables.h) as far as this directory's own rules go: one table of the
 * family inet, its base chains, and rules made of expressions, sent as one batch that the kernel
 * takes whole or not at all. The text of every rule stands beside it as its comment, which
 * nft(8) shows and by which it is found again.
 *
 * Errors are sticky: what does not fit makes the commit fail with EMSGSIZE.
 */

enum {
	RAIL_NFT_BATCH_SIZE = 8192,
	RAIL_NFT_COMMENT_SIZE = 128, /* libnftnl's own limit */
};

struct rail_nft_batch {
	bool failed;
	size_t size;
	_Alignas(uint32_t) char bytes[RAIL_NFT_BATCH_SIZE];
};

/* A base chain: type filter, hook output, policy accept. */
struct rail_nft_chain {
	const char *name;
	int32_t priority;
};

/* One expression of a rule: what it is, and what it needs. */
struct rail_nft_expression {
	enum rail_nft_kind {
		RAIL_NFT_META_IS, /* meta key (enum nft_meta_keys) ==, or != where inverted, value
				   */
		RAIL_NFT_PAYLOAD_IS,  /* the bytes at base and offset are value */
		RAIL_NFT_PAYLOAD_SET, /* they become value; the Internet checksum follows */
		RAIL_NFT_DESTINATION_IS_LOCAL, /* an address of this netns */
		RAIL_NFT_VERDICT,	       /* NF_ACCEPT, NF_DROP */
	} kind;
	uint32_t key;
	bool inverted;
	uint32_t base;		  /* enum nft_payload_bases */
	uint32_t offset;	  /* from the base, in bytes */
	uint32_t checksum_offset; /* of a PAYLOAD_SET; from the base */
	uint32_t verdict;
	uint8_t value[16];
	size_t value_size;
};

/* In the netns; ENOTSUP with a message that says what to do where the kernel has no nf_tables. */
int rail_nft_open(int netns_fd, struct rail_netlink **ret_netlink, struct rail_error *error);

void rail_nft_batch_init(struct rail_nft_batch *batch);
/* EEXIST where there is one. (Taking one away and making it in the same batch costs a grace period
 * when the socket is closed, also where there was none.) */
void rail_nft_put_table(struct rail_nft_batch *batch, const char *table);
void rail_nft_put_chain(struct rail_nft_batch *batch, const char *table,
			const struct rail_nft_chain *chain);
/* Behind the chain's last rule. */
void rail_nft_put_rule(struct rail_nft_batch *batch, const char *table, const char *chain,
		       const char *comment, const struct rail_nft_expression *expressions,
		       size_t count);
int rail_nft_commit(struct rail_netlink *netlink, struct rail_nft_batch *batch, const char *what,
		    struct rail_error *error);

/* Takes a table away, with all that is in it; succeeds where it is not there. */
int rail_nft_delete_table(struct rail_netlink *netlink, const char *table,
			  struct rail_error *error);

/* Calls each for every rule of a table, chain by chain, in their order; comment is "" where a rule
 * has none. Not for a table that is not there. */
int rail_nft_each_rule(struct rail_netlink *netlink, const char *table,
		       void (*each)(void *context, const char *chain, const char *comment),
		       void (*restart)(void *context), void *context, struct rail_error *error);
