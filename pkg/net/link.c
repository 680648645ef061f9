#include "pkg/net/link.h"

#include <errno.h>
#include <libmnl/libmnl.h>
#include <linux/if_link.h>
#include <linux/net_namespace.h>
#include <linux/rtnetlink.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "pkg/net/request.h"

enum {
	WHAT_SIZE = 160,
	NO_SUCH_NETNS = EINVAL, /* rtnl_get_net_ns_capable of the kernel */
};

static void put_target(struct rail_request *request, int32_t nsid)
{
	if (nsid != RAIL_NSID_NONE)
		rail_request_put_u32(request, IFLA_TARGET_NETNSID, (uint32_t)nsid);
}

/* ---- links ---- */

/* 1 with a link, 0 for another kind of message. */
static int decode_link(const struct nlmsghdr *reply, struct rail_link *ret_link,
		       struct rail_error *error)
{
	const struct ifinfomsg *info = mnl_nlmsg_get_payload(reply);
	const struct nlattr *attribute;
	struct rail_link link;

	if (reply->nlmsg_type != RTM_NEWLINK)
		return 0;
	if (mnl_nlmsg_get_payload_len(reply) < sizeof(*info))
		return rail_fail(error, EPROTO, "read a link: short message of the kernel");

	link = (struct rail_link){.index = info->ifi_index, .up = (info->ifi_flags & IFF_UP) != 0};
	RAIL_FOR_EACH_ATTRIBUTE(attribute, reply, sizeof(*info))
	{
		const struct nlattr *inner;

		switch (mnl_attr_get_type(attribute)) {
		case IFLA_IFNAME:
			rail_attribute_string(attribute, link.name, sizeof(link.name));
			break;
		case IFLA_IFALIAS:
			rail_attribute_string(attribute, link.alias, sizeof(link.alias));
			break;
		case IFLA_MTU:
			(void)rail_attribute_bytes(attribute, &link.mtu, sizeof(link.mtu));
			break;
		case IFLA_LINKINFO:
			RAIL_FOR_EACH_NESTED(inner, attribute)
			{
				if (mnl_attr_get_type(inner) == IFLA_INFO_KIND)
					rail_attribute_string(inner, link.kind, sizeof(link.kind));
			}
			break;
		default:
			break;
		}
	}
	*ret_link = link;
	return 1;
}

struct link_search {
	struct rail_link link;
	bool found;
};

static int collect_link(void *context, const struct nlmsghdr *reply, struct rail_error *error)
{
	struct link_search *search = context;
	int result = decode_link(reply, &search->link, error);

	if (result > 0)
		search->found = true;
	return result < 0 ? result : 0;
}

static int get_link(struct rail_netlink *netlink, const char *name, int index,
		    struct rail_link *ret_link, struct rail_error *error)
{
	const struct ifinfomsg info = {.ifi_index = index};
	struct link_search search = {.found = false};
	struct rail_request request;
	char what[WHAT_SIZE];

	if (name != NULL)
		(void)snprintf(what, sizeof(what), "look for interface %s", name);
	else
		(void)snprintf(what, sizeof(what), "look for interface number %d", index);

	rail_request_init(&request, RTM_GETLINK, 0, &info, sizeof(info));
	if (name != NULL)
		rail_request_put_string(&request, IFLA_IFNAME, name);
	rail_request_put_u32(&request, IFLA_EXT_MASK, RTEXT_FILTER_SKIP_STATS);

	int result =
		rail_request_query(netlink, &request, collect_link, NULL, &search, what, error);
	if (result < 0)
		return result;
	if (!search.found)
		return rail_fail_errno(error, ENODEV, "%s", what);
	*ret_link = search.link;
	return 0;
}

int rail_link_get(struct rail_netlink *netlink, const char *name, struct rail_link *ret_link,
		  struct rail_error *error)
{
	if (name[0] == '\0' || strlen(name) >= IFNAMSIZ)
		return rail_fail(error, ENODEV, "'%.32s' is no interface name: 1 to %d characters",
				 name, IFNAMSIZ - 1);
	return get_link(netlink, name, 0, ret_link, error);
}

int rail_link_get_index(struct rail_netlink *netlink, int index, struct rail_link *ret_link,
			struct rail_error *error)
{
	/* The kernel would take 0 for "all". */
	if (index <= 0)
		return rail_fail_errno(error, ENODEV, "look for interface number %d", index);
	return get_link(netlink, NULL, index, ret_link, error);
}

int rail_link_create(struct rail_netlink *netlink, const char *name, const char *kind,
		     unsigned int mtu, int netns_fd, struct rail_error *error)
{
	const struct ifinfomsg info = {.ifi_index = 0};
	struct rail_request request;
	char what[WHAT_SIZE];

	(void)snprintf(what, sizeof(what), "make %.15s interface %.32s in the pod's netns", kind,
		       name);
	rail_request_init(&request, RTM_NEWLINK, NLM_F_CREATE | NLM_F_EXCL, &info, sizeof(info));
	rail_request_put_string(&request, IFLA_IFNAME, name);
	rail_request_put_u32(&request, IFLA_MTU, mtu);
	rail_request_put_u32(&request, IFLA_NET_NS_FD, (uint32_t)netns_fd);

	struct nlattr *link_info = rail_request_nest(&request, IFLA_LINKINFO);
	rail_request_put_string(&request, IFLA_INFO_KIND, kind);
	rail_request_nest_end(&request, link_info);
	return rail_request_send(netlink, &request, what, error);
}

int rail_link_set_up(struct rail_netlink *netlink, int index, bool up, struct rail_error *error)
{
	const struct ifinfomsg info = {
		.ifi_index = index, .ifi_flags = up ? IFF_UP : 0, .ifi_change = IFF_UP};
	struct rail_request request;
	char what[WHAT_SIZE];

	(void)snprintf(what, sizeof(what), "set interface number %d %s", index, up ? "up" : "down");
	rail_request_init(&request, RTM_SETLINK, 0, &info, sizeof(info));
	return rail_request_send(netlink, &request, what, error);
}

int rail_link_change(struct rail_netlink *netlink, int index, const char *name, const char *alias,
		     unsigned int mtu, struct rail_error *error)
{
	const struct ifinfomsg info = {.ifi_index = index};
	struct rail_request request;
	char what[WHAT_SIZE];
	size_t length;

	(void)snprintf(what, sizeof(what), "change interface number %d", index);
	length = strlen(what);
	rail_request_init(&request, RTM_SETLINK, 0, &info, sizeof(info));
	if (name != NULL) {
		rail_request_put_string(&request, IFLA_IFNAME, name);
		(void)snprintf(what + length, sizeof(what) - length, ", name %.32s", name);
		length = strlen(what);
	}
	/* The kernel takes an alias without its NUL. */
	if (alias != NULL)
		rail_request_put(&request, IFLA_IFALIAS, alias, strlen(alias));
	if (mtu != 0) {
		rail_request_put_u32(&request, IFLA_MTU, mtu);
		(void)snprintf(what + length, sizeof(what) - length, ", MTU %u", mtu);
	}
	return rail_request_send(netlink, &request, what, error);
}

int rail_link_no_link_local(struct rail_netlink *netlink, int index, struct rail_error *error)
{
	const struct ifinfomsg info = {.ifi_index = index};
	struct rail_request request;
	char what[WHAT_SIZE];

	(void)snprintf(what, sizeof(what), "switch off address generation of interface number %d",
		       index);
	rail_request_init(&request, RTM_SETLINK, 0, &info, sizeof(info));

	struct nlattr *families = rail_request_nest(&request, IFLA_AF_SPEC);
	struct nlattr *inet6 = rail_request_nest(&request, AF_INET6);
	rail_request_put_u8(&request, IFLA_INET6_ADDR_GEN_MODE, IN6_ADDR_GEN_MODE_NONE);
	rail_request_nest_end(&request, inet6);
	rail_request_nest_end(&request, families);
	return rail_request_send(netlink, &request, what, error);
}

int rail_link_move(struct rail_netlink *netlink, int index, int netns_fd, struct rail_error *error)
{
	const struct ifinfomsg info = {.ifi_index = index};
	struct rail_request request;
	char what[WHAT_SIZE];

	(void)snprintf(what, sizeof(what), "move interface number %d into the pod's netns", index);
	rail_request_init(&request, RTM_SETLINK, 0, &info, sizeof(info));
	rail_request_put_u32(&request, IFLA_NET_NS_FD, (uint32_t)netns_fd);
	return rail_request_send(netlink, &request, what, error);
}

int rail_link_delete_within(struct rail_netlink *netlink, int32_t nsid, int index,
			    struct rail_error *error)
{
	const struct ifinfomsg info = {.ifi_index = index};
	struct rail_request request;
	char what[WHAT_SIZE];

	if (index <= 0)
		return rail_fail_errno(error, EINVAL, "delete interface number %d", index);

	(void)snprintf(what, sizeof(what), "delete interface number %d", index);
	rail_request_init(&request, RTM_DELLINK, 0, &info, sizeof(info));
	put_target(&request, nsid);
	return rail_request_send_unless(netlink, &request, ENODEV, NO_SUCH_NETNS, what, error);
}

int rail_link_delete(struct rail_netlink *netlink, int index, struct rail_error *error)
{
	return rail_link_delete_within(netlink, RAIL_NSID_NONE, index, error);
}

/* ---- links of a netns that has a number only ---- */

struct link_list {
	struct rail_link *links;
	size_t count;
};

static int add_link(void *context, const struct nlmsghdr *reply, struct rail_error *error)
{
	struct link_list *list = context;
	struct rail_link link;
	int result = decode_link(reply, &link, error);

	if (result <= 0)
		return result;

	struct rail_link *grown = reallocarray(list->links, list->count + 1, sizeof(link));
	if (grown == NULL)
		return rail_fail_errno(error, ENOMEM, "list links");
	list->links = grown;
	grown[list->count++] = link;
	return 0;
}

static void restart_list(void *context)
{
	struct link_list *list = context;

	list->count = 0;
}

int rail_link_list(struct rail_netlink *netlink, int32_t nsid, struct rail_link **ret_links,
		   size_t *ret_count, struct rail_error *error)
{
	const struct ifinfomsg info = {.ifi_family = AF_UNSPEC};
	struct rail_error one = RAIL_ERROR_NONE;
	struct link_list list = {.links = NULL};
	struct rail_request request;

	rail_request_init(&request, RTM_GETLINK, NLM_F_DUMP, &info, sizeof(info));
	rail_request_put_u32(&request, IFLA_EXT_MASK, RTEXT_FILTER_SKIP_STATS);
	put_target(&request, nsid);

	int result = rail_request_query(netlink, &request, add_link, restart_list, &list,
					"list links", &one);
	if (result == -NO_SUCH_NETNS && nsid != RAIL_NSID_NONE) {
		list.count = 0;
		result = 0;
	}
	if (result < 0) {
		free(list.links);
		if (error != NULL)
			*error = one;
		return result;
	}
	*ret_links = list.links;
	*ret_count = list.count;
	return 0;
}

static int collect_nsid(void *context, const struct nlmsghdr *reply, struct rail_error *error)
{
	int32_t *nsid = context;
	const struct nlattr *attribute;

	(void)error;
	if (reply->nlmsg_type != RTM_NEWNSID)
		return 0;
	RAIL_FOR_EACH_ATTRIBUTE(attribute, reply, sizeof(struct rtgenmsg))
	{
		if (mnl_attr_get_type(attribute) == NETNSA_NSID)
			(void)rail_attribute_bytes(attribute, nsid, sizeof(*nsid));
	}
	return 0;
}

int rail_nsid_of(struct rail_netlink *netlink, int netns_fd, int32_t *ret_nsid,
		 struct rail_error *error)
{
	const struct rtgenmsg family = {.rtgen_family = AF_UNSPEC};
	int32_t nsid = NETNSA_NSID_NOT_ASSIGNED;
	struct rail_request request;

	rail_request_init(&request, RTM_NEWNSID, 0, &family, sizeof(family));
	rail_request_put_u32(&request, NETNSA_FD, (uint32_t)netns_fd);
	rail_request_put_u32(&request, NETNSA_NSID, (uint32_t)NETNSA_NSID_NOT_ASSIGNED);

	int result = rail_request_send_unless(netlink, &request, EEXIST, 0,
					      "give the pod's netns a number", error);
	if (result < 0)
		return result;

	rail_request_init(&request, RTM_GETNSID, 0, &family, sizeof(family));
	rail_request_put_u32(&request, NETNSA_FD, (uint32_t)netns_fd);
	result = rail_request_query(netlink, &request, collect_nsid, NULL, &nsid,
				    "ask for the number of the pod's netns", error);
	if (result == 0 && nsid < 0)
		result = rail_fail(error, EPROTO,
				   "ask for the number of the pod's netns: no answer");
	if (result == 0)
		*ret_nsid = nsid;
	return result;
}
