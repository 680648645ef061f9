#include "pkg/wg/device.h"

#include <arpa/inet.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "pkg/base/grow.h"

void rail_endpoint_format(const struct rail_endpoint *endpoint, char text[RAIL_ENDPOINT_TEXT_SIZE])
{
	char address[INET6_ADDRSTRLEN];

	text[0] = '\0';
	if (inet_ntop(endpoint->family, &endpoint->address, address, sizeof(address)) != NULL)
		(void)snprintf(text, RAIL_ENDPOINT_TEXT_SIZE,
			       endpoint->family == AF_INET6 ? "[%s]:%u" : "%s:%u", address,
			       (unsigned int)endpoint->port);
}

void rail_device_done(struct rail_device *device)
{
	for (size_t i = 0; i < device->peer_count; i++)
		free(device->peers[i].allowed_ips);
	free(device->peers);
	*device = (struct rail_device){.peers = NULL};
}

int rail_device_add_peer(struct rail_device *device, const struct rail_key *public_key,
			 const struct rail_endpoint *endpoint, const struct in6_addr *address)
{
	struct rail_allowed_ip *allowed_ip = calloc(1, sizeof(*allowed_ip));

	if (allowed_ip == NULL)
		return -ENOMEM;

	struct rail_peer *peers = rail_grow(device->peers, device->peer_count, sizeof(*peers));
	if (peers == NULL) {
		free(allowed_ip);
		return -ENOMEM;
	}
	device->peers = peers;

	allowed_ip->family = AF_INET6;
	allowed_ip->length = 128;
	allowed_ip->address.v6 = *address;
	peers[device->peer_count++] = (struct rail_peer){.public_key = *public_key,
							 .endpoint = *endpoint,
							 .allowed_ips = allowed_ip,
							 .allowed_ip_count = 1};
	return 0;
}
