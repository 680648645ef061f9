#include <errno.h>
#include <linux/genetlink.h>
#include <linux/wireguard.h>
#include <string.h>

#include "pkg/base/grow.h"
#include "pkg/net/request.h"
#include "pkg/wg/kernel_message.h"
#include "pkg/wg/key.h"

/* WGPEER_A_LAST_HANDSHAKE_TIME: struct __kernel_timespec. */
struct handshake_time {
	int64_t seconds;
	int64_t nanoseconds;
};

static int malformed(struct rail_error *error, const char *what)
{
	return rail_fail(error, EPROTO, "WireGuard device, as the kernel tells it: %s", what);
}

/* Whether a walk over a nest ended at its end, not at an attribute that does not fit it. */
static bool walked(const struct nlattr *attribute, const struct nlattr *nest)
{
	return (const char *)attribute >=
	       (const char *)mnl_attr_get_payload(nest) + mnl_attr_get_payload_len(nest);
}

static int decode_endpoint(const struct nlattr *attribute, struct rail_endpoint *endpoint,
			   struct rail_error *error)
{
	struct sockaddr_in v4;
	struct sockaddr_in6 v6;

	if (rail_attribute_bytes(attribute, &v4, sizeof(v4)) && v4.sin_family == AF_INET)
		*endpoint = (struct rail_endpoint){
			.family = AF_INET, .port = ntohs(v4.sin_port), .address.v4 = v4.sin_addr};
	else if (rail_attribute_bytes(attribute, &v6, sizeof(v6)) && v6.sin6_family == AF_INET6)
		*endpoint = (struct rail_endpoint){.family = AF_INET6,
						   .port = ntohs(v6.sin6_port),
						   .address.v6 = v6.sin6_addr};
	else
		return malformed(error, "a peer's endpoint is no address of IPv4 or IPv6");
	return 0;
}

static int decode_allowed_ip(const struct nlattr *nest, struct rail_allowed_ip *ret_allowed_ip,
			     struct rail_error *error)
{
	struct rail_allowed_ip allowed_ip = {.family = AF_UNSPEC};
	const struct nlattr *attribute;
	const struct nlattr *address = NULL;
	bool has_length = false;
	bool is_valid = true;

	RAIL_FOR_EACH_NESTED(attribute, nest)
	{
		switch (mnl_attr_get_type(attribute)) {
		case WGALLOWEDIP_A_FAMILY:
			is_valid &= rail_attribute_bytes(attribute, &allowed_ip.family,
							 sizeof(allowed_ip.family));
			break;
		case WGALLOWEDIP_A_IPADDR:
			address = attribute;
			break;
		case WGALLOWEDIP_A_CIDR_MASK:
			has_length = rail_attribute_bytes(attribute, &allowed_ip.length,
							  sizeof(allowed_ip.length));
			break;
		default:
			break;
		}
	}
	if (!is_valid || !has_length || address == NULL || !walked(attribute, nest))
		return malformed(error, "an AllowedIP is not whole");
	if (allowed_ip.family == AF_INET)
		is_valid = allowed_ip.length <= 32 &&
			   rail_attribute_bytes(address, &allowed_ip.address.v4,
						sizeof(allowed_ip.address.v4));
	else
		is_valid = allowed_ip.family == AF_INET6 && allowed_ip.length <= 128 &&
			   rail_attribute_bytes(address, &allowed_ip.address.v6,
						sizeof(allowed_ip.address.v6));
	if (!is_valid)
		return malformed(error, "an AllowedIP is no prefix of IPv4 or IPv6");
	*ret_allowed_ip = allowed_ip;
	return 0;
}

static int decode_allowed_ips(const struct nlattr *list, struct rail_kernel_dump *dump,
			      struct rail_peer *peer, struct rail_error *error)
{
	const struct nlattr *nest;

	RAIL_FOR_EACH_NESTED(nest, list)
	{
		struct rail_allowed_ip allowed_ip;
		int result = decode_allowed_ip(nest, &allowed_ip, error);

		if (result < 0)
			return result;
		if (dump->allowed_ip_count >= RAIL_KERNEL_ALLOWED_IPS_MAXIMUM)
			return rail_fail(error, EMSGSIZE,
					 "WireGuard device: more than %d AllowedIPs",
					 RAIL_KERNEL_ALLOWED_IPS_MAXIMUM);

		struct rail_allowed_ip *grown =
			rail_grow(peer->allowed_ips, peer->allowed_ip_count, sizeof(*grown));
		if (grown == NULL)
			return rail_fail_errno(error, ENOMEM, "read the peers' AllowedIPs");
		peer->allowed_ips = grown;
		grown[peer->allowed_ip_count++] = allowed_ip;
		dump->allowed_ip_count++;
	}
	return walked(nest, list) ? 0 : malformed(error, "a list of AllowedIPs is cut off");
}

/* The peer of a key: the last one where it goes on, else a new one. */
static int place_peer(struct rail_device *device, const struct rail_key *public_key,
		      struct rail_peer **ret_peer, struct rail_error *error)
{
	if (device->peer_count > 0 &&
	    rail_key_equal(&device->peers[device->peer_count - 1].public_key, public_key)) {
		*ret_peer = &device->peers[device->peer_count - 1];
		return 0;
	}
	if (device->peer_count >= RAIL_KERNEL_PEERS_MAXIMUM)
		return rail_fail(error, EMSGSIZE, "WireGuard device: more than %d peers",
				 RAIL_KERNEL_PEERS_MAXIMUM);

	struct rail_peer *peers = rail_grow(device->peers, device->peer_count, sizeof(*peers));
	if (peers == NULL)
		return rail_fail_errno(error, ENOMEM, "read the peers");
	device->peers = peers;
	*ret_peer = &peers[device->peer_count++];
	**ret_peer = (struct rail_peer){.public_key = *public_key};
	return 0;
}

/* One value of a peer. */
static int decode_peer_value(const struct nlattr *attribute, struct rail_peer *peer,
			     struct rail_error *error)
{
	struct handshake_time handshake;
	bool is_valid = true;

	switch (mnl_attr_get_type(attribute)) {
	case WGPEER_A_ENDPOINT:
		return decode_endpoint(attribute, &peer->endpoint, error);
	case WGPEER_A_PERSISTENT_KEEPALIVE_INTERVAL:
		is_valid = rail_attribute_bytes(attribute, &peer->keepalive_s,
						sizeof(peer->keepalive_s));
		break;
	case WGPEER_A_LAST_HANDSHAKE_TIME:
		is_valid = rail_attribute_bytes(attribute, &handshake, sizeof(handshake)) &&
			   handshake.seconds >= 0;
		if (is_valid)
			peer->last_handshake_s = handshake.seconds;
		break;
	case WGPEER_A_RX_BYTES:
		is_valid = rail_attribute_bytes(attribute, &peer->received_bytes,
						sizeof(peer->received_bytes));
		break;
	case WGPEER_A_TX_BYTES:
		is_valid = rail_attribute_bytes(attribute, &peer->sent_bytes,
						sizeof(peer->sent_bytes));
		break;
	default:
		break;
	}
	return is_valid ? 0 : malformed(error, "a value of a peer is malformed");
}

static int decode_peer(const struct nlattr *nest, struct rail_kernel_dump *dump,
		       struct rail_error *error)
{
	const struct nlattr *attribute;
	struct rail_key public_key;
	bool has_key = false;
	struct rail_peer *peer;

	RAIL_FOR_EACH_NESTED(attribute, nest)
	{
		if (mnl_attr_get_type(attribute) == WGPEER_A_PUBLIC_KEY)
			has_key = rail_attribute_bytes(attribute, public_key.bytes,
						       sizeof(public_key.bytes));
	}
	if (!has_key || !walked(attribute, nest))
		return malformed(error, "a peer has no public key or is cut off");

	int result = place_peer(&dump->device, &public_key, &peer, error);
	if (result < 0)
		return result;
	RAIL_FOR_EACH_NESTED(attribute, nest)
	{
		result = mnl_attr_get_type(attribute) == WGPEER_A_ALLOWEDIPS
				 ? decode_allowed_ips(attribute, dump, peer, error)
				 : decode_peer_value(attribute, peer, error);
		if (result < 0)
			return result;
	}
	return 0;
}

static int decode_peers(const struct nlattr *list, struct rail_kernel_dump *dump,
			struct rail_error *error)
{
	const struct nlattr *nest;

	RAIL_FOR_EACH_NESTED(nest, list)
	{
		dump->has_peers = true;
		if (dump->head_only)
			return 0;

		int result = decode_peer(nest, dump, error);

		if (result < 0)
			return result;
	}
	return walked(nest, list) ? 0 : malformed(error, "the list of peers is cut off");
}

int rail_kernel_decode(const struct nlmsghdr *message, struct rail_kernel_dump *dump,
		       struct rail_error *error)
{
	const struct nlattr *attribute;
	bool is_valid = true;

	if (mnl_nlmsg_get_payload_len(message) < GENL_HDRLEN)
		return malformed(error, "a message is cut off");
	RAIL_FOR_EACH_ATTRIBUTE(attribute, message, GENL_HDRLEN)
	{
		int result = 0;

		switch (mnl_attr_get_type(attribute)) {
		case WGDEVICE_A_IFINDEX:
			is_valid &=
				rail_attribute_bytes(attribute, &dump->index, sizeof(dump->index));
			break;
		case WGDEVICE_A_PUBLIC_KEY:
			is_valid &= rail_attribute_bytes(attribute, dump->device.public_key.bytes,
							 sizeof(dump->device.public_key.bytes));
			break;
		case WGDEVICE_A_LISTEN_PORT:
			dump->has_head = rail_attribute_bytes(attribute, &dump->device.listen_port,
							      sizeof(dump->device.listen_port));
			is_valid &= dump->has_head;
			break;
		case WGDEVICE_A_PEERS:
			result = decode_peers(attribute, dump, error);
			break;
		default:
			break;
		}
		if (result < 0)
			return result;
	}
	if (!is_valid)
		return malformed(error, "a value of the device is malformed");
	if ((const char *)attribute < RAIL_MESSAGE_END(message))
		return malformed(error, "a message is cut off");
	if (!dump->has_head)
		return malformed(error, "it has no listen port");
	return 0;
}
