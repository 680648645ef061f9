#include <arpa/inet.h>
#include <string.h>
#include <sys/socket.h>

#include "pkg/base/cleanup.h"
#include "plugins/railway-mesh/meshd/meshd.h"

/* Addresses of documentation (RFC 5737, RFC 3849): what the default route leads to. Nothing is sent
 * there. */
#define FAR_V4 "192.0.2.1"
#define FAR_V6 "2001:db8::1"
#define ANY_PORT 9

/* The address that packets to there would have as their source: the route's preference. */
static bool find_source(int family, struct rail_endpoint *ret_endpoint)
{
	struct sockaddr_in v4 = {.sin_family = AF_INET, .sin_port = htons(ANY_PORT)};
	struct sockaddr_in6 v6 = {.sin6_family = AF_INET6, .sin6_port = htons(ANY_PORT)};
	struct rail_endpoint endpoint = {.family = (uint16_t)family};
	RAIL_CLOSE int fd = socket(family, SOCK_DGRAM | SOCK_CLOEXEC, 0);
	socklen_t size = family == AF_INET ? sizeof(v4) : sizeof(v6);
	struct sockaddr *address =
		family == AF_INET ? (struct sockaddr *)&v4 : (struct sockaddr *)&v6;

	(void)inet_pton(AF_INET, FAR_V4, &v4.sin_addr);
	(void)inet_pton(AF_INET6, FAR_V6, &v6.sin6_addr);
	if (fd < 0 || connect(fd, address, size) < 0 || getsockname(fd, address, &size) < 0)
		return false;
	if (family == AF_INET) {
		endpoint.address.v4 = v4.sin_addr;
		if (ntohl(v4.sin_addr.s_addr) >> 24 == 127)
			return false;
	} else {
		endpoint.address.v6 = v6.sin6_addr;
		if (IN6_IS_ADDR_LOOPBACK(&v6.sin6_addr) || IN6_IS_ADDR_LINKLOCAL(&v6.sin6_addr))
			return false;
	}
	*ret_endpoint = endpoint;
	return true;
}

static bool is_same(const struct rail_endpoint *one, const struct rail_endpoint *other)
{
	if (one->family != other->family)
		return false;
	return one->family == AF_INET ? one->address.v4.s_addr == other->address.v4.s_addr
				      : IN6_ARE_ADDR_EQUAL(&one->address.v6, &other->address.v6);
}

bool meshd_find_underlay(struct meshd *meshd)
{
	struct rail_endpoint found[RAIL_PUBLISHED_ENDPOINTS_MAXIMUM];
	const struct in6_addr *configured = &meshd->settings.endpoint;
	size_t count = 0;

	if (IN6_IS_ADDR_V4MAPPED(configured)) {
		found[count] = (struct rail_endpoint){.family = AF_INET};
		memcpy(&found[count++].address.v4, &configured->s6_addr[12],
		       sizeof(struct in_addr));
	} else if (!IN6_IS_ADDR_UNSPECIFIED(configured)) {
		found[count] = (struct rail_endpoint){.family = AF_INET6};
		found[count++].address.v6 = *configured;
	} else {
		if (find_source(AF_INET, &found[count]))
			count++;
		if (find_source(AF_INET6, &found[count]))
			count++;
	}

	bool changed = count != meshd->underlay_count;

	for (size_t i = 0; !changed && i < count; i++)
		changed = !is_same(&found[i], &meshd->underlay[i]);
	/* One that is without a route for a moment keeps what it had. */
	if (!changed || count == 0)
		return false;
	memcpy(meshd->underlay, found, count * sizeof(found[0]));
	meshd->underlay_count = count;
	return true;
}
