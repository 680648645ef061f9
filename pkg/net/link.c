#include "pkg/net/link.h"

#include <errno.h>
#include <libmnl/libmnl.h>
#include <linux/if_link.h>
#include <linux/rtnetlink.h>
#include <stdio.h>
#include <string.h>

#include "pkg/net/request.h"

enum { WHAT_SIZE = 160 };

/* ---- links ---- */

struct link_search {
	struct rail_link link;
	bool found;
};

static int collect_link(void *context, const struct nlmsghdr *reply, struct rail_error *error)
{
	struct link_search *search = context;
	const struct ifinfomsg *info = mnl_nlmsg_get_payload(reply);
	const struct nlattr *attribute;

	if (reply->nlmsg_type != RTM_NEWLINK)
		return 0;
	if (mnl_nlmsg_get_payload_len(reply) < sizeof(*info))
		return rail_fail(error, EPROTO, "read a link: short message of the kernel");

	search->link =
		(struct rail_link){.index = info->ifi_index, .up = (info->ifi_flags & IFF_UP) != 0};
	RAIL_FOR_EACH_ATTRIBUTE(attribute, reply, sizeof(*info))
	{
		const struct nlattr *inner;

		switch (mnl_attr_get_type(attribute)) {
		case IFLA_IFNAME:
			rail_attribute_string(attribute, search->link.name,
					      sizeof(search->link.name));
			break;
		case IFLA_IFALIAS:
			rail_attribute_string(attribute, search->link.alias,
					      sizeof(search->link.alias));
			break;
		case IFLA_MTU:
			(void)rail_attribute_bytes(attribute, &search->link.mtu,
						   sizeof(search->link.mtu));
			break;
		case IFLA_LINKINFO:
			RAIL_FOR_EACH_NESTED(inner, attribute)
			{
				if (mnl_attr_get_type(inner) == IFLA_INFO_KIND)
					rail_attribute_string(inner, search->link.kind,
							      sizeof(search->link.kind));
			}
			break;
		default:
			break;
		}
	}
	search->found = true;
	return 0;
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

int rail_link_delete(struct rail_netlink *netlink, int index, struct rail_error *error)
{
	const struct ifinfomsg info = {.ifi_index = index};
	struct rail_request request;
	char what[WHAT_SIZE];

	if (index <= 0)
		return rail_fail_errno(error, EINVAL, "delete interface number %d", index);

	(void)snprintf(what, sizeof(what), "delete interface number %d", index);
	rail_request_init(&request, RTM_DELLINK, 0, &info, sizeof(info));
	return rail_request_send_unless(netlink, &request, ENODEV, 0, what, error);
}
