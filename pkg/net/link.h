#pragma once

#include <net/if.h>
#include <netinet/in.h>
#include <stdbool.h>
#include <stdint.h>

#include "pkg/net/netlink.h"

/* Links and addresses of the netns that the netlink socket is in. */

struct rail_link {
	int index;
	char name[IFNAMSIZ];
	char kind[16];	/* IFLA_INFO_KIND: "wireguard", "tun", ...; "" for none */
	char alias[64]; /* "" where there is none, or one that does not fit */
	unsigned int mtu;
	bool up; /* IFF_UP */
};

enum { RAIL_LOOPBACK_INDEX = 1 }; /* of lo, in every netns */

/* -ENODEV where there is no such link. */
int rail_link_get(struct rail_netlink *netlink, const char *name, struct rail_link *ret_link,
		  struct rail_error *error);
int rail_link_get_index(struct rail_netlink *netlink, int index, struct rail_link *ret_link,
			struct rail_error *error);
/*
 * Makes a link of the kind in the netns netns_fd by one message; it is down. EEXIST where the name
 * is taken there, or in the socket's own netns (rtnl_newlink looks there, too: a pod's eth0 cannot
 * be made under that name from a node that has one). What the kind remembers of the netns that it
 * was made from (WireGuard: where its UDP socket is) is the socket's. An alias cannot be given yet:
 * the kernel ignores it here.
 */
int rail_link_create(struct rail_netlink *netlink, const char *name, const char *kind,
		     unsigned int mtu, int netns_fd, struct rail_error *error);
int rail_link_set_up(struct rail_netlink *netlink, int index, bool up, struct rail_error *error);
/* Each is left as it is where NULL or 0. */
int rail_link_change(struct rail_netlink *netlink, int index, const char *name, const char *alias,
		     unsigned int mtu, struct rail_error *error);
/* The link gets no link-local address when it comes up, as a kernel's WireGuard link gets none.
 * Succeeds only where IPv6 is known to the link. */
int rail_link_no_link_local(struct rail_netlink *netlink, int index, struct rail_error *error);
/* Moves a link into another netns; it is down there. */
int rail_link_move(struct rail_netlink *netlink, int index, int netns_fd, struct rail_error *error);
/* Succeeds where it is gone. */
int rail_link_delete(struct rail_netlink *netlink, int index, struct rail_error *error);

/*
 * A netns that has no path any more is still reached by the number under which the socket's netns
 * knows it (IFLA_TARGET_NETNSID). RAIL_NSID_NONE: the socket's own netns. Numbers are reused when
 * their netns is gone: look at what is there before changing it.
 */
enum { RAIL_NSID_NONE = -1 };

/* Gives the netns its number where it has none yet. It has it until it is gone. */
int rail_nsid_of(struct rail_netlink *netlink, int netns_fd, int32_t *ret_nsid,
		 struct rail_error *error);
/* All links, for free(). Nothing where no netns has the number. */
int rail_link_list(struct rail_netlink *netlink, int32_t nsid, struct rail_link **ret_links,
		   size_t *ret_count, struct rail_error *error);
/* Succeeds where it is gone. */
int rail_link_delete_within(struct rail_netlink *netlink, int32_t nsid, int index,
			    struct rail_error *error);

/* Adds an IPv6 address without duplicate address detection and without the prefix's route. EEXIST
 * where it is there. */
int rail_address_add(struct rail_netlink *netlink, int index, const struct in6_addr *address,
		     unsigned int length, struct rail_error *error);
/* Succeeds where the address, or the link, is gone. */
int rail_address_delete(struct rail_netlink *netlink, int index, const struct in6_addr *address,
			unsigned int length, struct rail_error *error);
/* Whether the link has the address, and it can be bound (not tentative, no failed detection). */
int rail_address_usable(struct rail_netlink *netlink, int index, const struct in6_addr *address,
			bool *ret_usable, struct rail_error *error);

/* Switches IPv6 on for a link of a netns (net.ipv6.conf.<name>.disable_ipv6), also where the
 * runtime switched it off. Enters the netns. ENOTSUP where the kernel has no IPv6 at all. */
int rail_ipv6_enable(int netns_fd, const char *link_name, struct rail_error *error);

/*
 * The MTU for tunnels of this host: the MTU of the link that the default route leaves by (the
 * socket's netns), less 80 (IPv6 and WireGuard's headers); where there is no default route 1420.
 * Never below 1280 (RFC 8200, 5).
 */
int rail_tunnel_mtu(struct rail_netlink *netlink, unsigned int *ret_mtu, struct rail_error *error);
