#include "pkg/net/request.h"

#include <errno.h>
#include <string.h>

void rail_request_init(struct rail_request *request, uint16_t type, uint16_t flags,
		       const void *family_header, size_t family_header_size)
{
	request->failed = family_header_size > 256;

	struct nlmsghdr *header = mnl_nlmsg_put_header(request->message.bytes);
	header->nlmsg_type = type;
	header->nlmsg_flags = (uint16_t)(NLM_F_REQUEST | flags);
	if (!request->failed)
		memcpy(mnl_nlmsg_put_extra_header(header, family_header_size), family_header,
		       family_header_size);
}

void rail_request_put(struct rail_request *request, uint16_t type, const void *value, size_t size)
{
	if (size > UINT16_MAX || !mnl_attr_put_check(&request->message.header,
						     sizeof(request->message), type, size, value))
		request->failed = true;
}

void rail_request_put_u8(struct rail_request *request, uint16_t type, uint8_t value)
{
	rail_request_put(request, type, &value, sizeof(value));
}

void rail_request_put_u16(struct rail_request *request, uint16_t type, uint16_t value)
{
	rail_request_put(request, type, &value, sizeof(value));
}

void rail_request_put_u32(struct rail_request *request, uint16_t type, uint32_t value)
{
	rail_request_put(request, type, &value, sizeof(value));
}

void rail_request_put_string(struct rail_request *request, uint16_t type, const char *text)
{
	rail_request_put(request, type, text, strlen(text) + 1);
}

struct nlattr *rail_request_nest(struct rail_request *request, uint16_t type)
{
	struct nlattr *nest =
		mnl_attr_nest_start_check(&request->message.header, sizeof(request->message), type);

	if (nest == NULL)
		request->failed = true;
	return nest;
}

void rail_request_nest_end(struct rail_request *request, struct nlattr *nest)
{
	if (nest != NULL)
		mnl_attr_nest_end(&request->message.header, nest);
}

size_t rail_request_mark(const struct rail_request *request)
{
	return request->message.header.nlmsg_len;
}

bool rail_request_keep(struct rail_request *request, size_t mark)
{
	if (!request->failed)
		return true;
	request->failed = false;
	request->message.header.nlmsg_len = (uint32_t)mark;
	return false;
}

int rail_request_send(struct rail_netlink *netlink, struct rail_request *request, const char *what,
		      struct rail_error *error)
{
	if (request->failed)
		return rail_fail_errno(error, EMSGSIZE, "%s", what);
	return rail_netlink_request(netlink, &request->message.header, what, error);
}

int rail_request_send_unless(struct rail_netlink *netlink, struct rail_request *request,
			     int accepted, int accepted_too, const char *what,
			     struct rail_error *error)
{
	struct rail_error one = RAIL_ERROR_NONE;
	int result = rail_request_send(netlink, request, what, &one);

	if (result >= 0 || result == -accepted || result == -accepted_too)
		return 0;
	if (error != NULL)
		*error = one;
	return result;
}

int rail_request_query(struct rail_netlink *netlink, struct rail_request *request,
		       int (*each)(void *context, const struct nlmsghdr *reply,
				   struct rail_error *error),
		       void (*restart)(void *context), void *context, const char *what,
		       struct rail_error *error)
{
	if (request->failed)
		return rail_fail_errno(error, EMSGSIZE, "%s", what);
	return rail_netlink_query(netlink, &request->message.header, each, restart, context, what,
				  error);
}

bool rail_attribute_bytes(const struct nlattr *attribute, void *target, size_t size)
{
	if (mnl_attr_get_payload_len(attribute) != size)
		return false;
	memcpy(target, mnl_attr_get_payload(attribute), size);
	return true;
}

void rail_attribute_string(const struct nlattr *attribute, char *target, size_t target_size)
{
	const char *text = mnl_attr_get_payload(attribute);
	size_t length = strnlen(text, mnl_attr_get_payload_len(attribute));

	if (length >= target_size)
		length = 0;
	memcpy(target, text, length);
	target[length] = '\0';
}
