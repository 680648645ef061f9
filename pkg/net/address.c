#include <arpa/inet.h>
#include <errno.h>
#include <libmnl/libmnl.h>
#include <linux/if_addr.h>
#include <linux/rtnetlink.h>
#include <stdio.h>
#include <string.h>

#include "pkg/net/link.h"
#include "pkg/net/request.h"

/* The addresses of pkg/net/link.h. */

enum { WHAT_SIZE = 160 };

static void describe(char what[static WHAT_SIZE], const char *verb, int index,
		     const struct in6_addr *address, unsigned int length)
{
	char text[INET6_ADDRSTRLEN] = "";

	(void)inet_ntop(AF_INET6, address, text, sizeof(text));
	(void)snprintf(what, WHAT_SIZE, "%s address %s/%u of interface number %d", verb, text,
		       length, index);
}

static void build(struct rail_request *request, uint16_t type, uint16_t flags, int index,
		  const struct in6_addr *address, unsigned int length)
{
	const struct ifaddrmsg info = {.ifa_family = AF_INET6,
				       .ifa_prefixlen = (uint8_t)length,
				       .ifa_index = (uint32_t)index};

	rail_request_init(request, type, flags, &info, sizeof(info));
	rail_request_put(request, IFA_LOCAL, address, sizeof(*address));
	rail_request_put(request, IFA_ADDRESS, address, sizeof(*address));
}

int rail_address_add(struct rail_netlink *netlink, int index, const struct in6_addr *address,
		     unsigned int length, struct rail_error *error)
{
	struct rail_request request;
	char what[WHAT_SIZE];

	describe(what, "add", index, address, length);
	if (length > 128)
		return rail_fail_errno(error, EINVAL, "%s", what);
	build(&request, RTM_NEWADDR, NLM_F_CREATE | NLM_F_EXCL, index, address, length);
	rail_request_put_u32(&request, IFA_FLAGS, IFA_F_NODAD | IFA_F_NOPREFIXROUTE);
	return rail_request_send(netlink, &request, what, error);
}

int rail_address_delete(struct rail_netlink *netlink, int index, const struct in6_addr *address,
			unsigned int length, struct rail_error *error)
{
	struct rail_request request;
	char what[WHAT_SIZE];

	describe(what, "delete", index, address, length);
	if (length > 128)
		return rail_fail_errno(error, EINVAL, "%s", what);
	build(&request, RTM_DELADDR, 0, index, address, length);
	/* The address is gone, or the whole link. */
	return rail_request_send_unless(netlink, &request, EADDRNOTAVAIL, ENODEV, what, error);
}

struct address_search {
	int index;
	const struct in6_addr *address;
	bool usable;
};

static void restart_search(void *context)
{
	struct address_search *search = context;

	search->usable = false;
}

static int collect_address(void *context, const struct nlmsghdr *reply, struct rail_error *error)
{
	struct address_search *search = context;
	const struct ifaddrmsg *info = mnl_nlmsg_get_payload(reply);
	const struct nlattr *attribute;
	struct in6_addr address;
	bool local_seen = false;
	bool same = false;

	if (reply->nlmsg_type != RTM_NEWADDR)
		return 0;
	if (mnl_nlmsg_get_payload_len(reply) < sizeof(*info))
		return rail_fail(error, EPROTO, "read an address: short message of the kernel");
	if (info->ifa_family != AF_INET6 || info->ifa_index != (uint32_t)search->index)
		return 0;

	uint32_t flags = info->ifa_flags;
	RAIL_FOR_EACH_ATTRIBUTE(attribute, reply, sizeof(*info))
	{
		switch (mnl_attr_get_type(attribute)) {
		case IFA_ADDRESS: /* the other end's, where there is an IFA_LOCAL */
			if (!local_seen &&
			    rail_attribute_bytes(attribute, &address, sizeof(address)))
				same = IN6_ARE_ADDR_EQUAL(&address, search->address);
			break;
		case IFA_LOCAL:
			local_seen = true;
			same = rail_attribute_bytes(attribute, &address, sizeof(address)) &&
			       IN6_ARE_ADDR_EQUAL(&address, search->address);
			break;
		case IFA_FLAGS:
			(void)rail_attribute_bytes(attribute, &flags, sizeof(flags));
			break;
		default:
			break;
		}
	}
	if (same && (flags & (IFA_F_TENTATIVE | IFA_F_DADFAILED)) == 0)
		search->usable = true;
	return 0;
}

int rail_address_usable(struct rail_netlink *netlink, int index, const struct in6_addr *address,
			bool *ret_usable, struct rail_error *error)
{
	const struct ifaddrmsg info = {.ifa_family = AF_INET6, .ifa_index = (uint32_t)index};
	struct address_search search = {.index = index, .address = address};
	struct rail_error one = RAIL_ERROR_NONE;
	struct rail_request request;

	rail_request_init(&request, RTM_GETADDR, NLM_F_DUMP, &info, sizeof(info));

	int result = rail_request_query(netlink, &request, collect_address, restart_search, &search,
					"read the addresses of an interface", &one);
	/* The kernel filters by an index only where there is such a link. */
	if (result < 0 && result != -ENODEV) {
		if (error != NULL)
			*error = one;
		return result;
	}
	*ret_usable = search.usable;
	return 0;
}
