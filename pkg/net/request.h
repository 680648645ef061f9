#pragma once

#include <libmnl/libmnl.h>
#include <linux/netlink.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "pkg/net/netlink.h"

/*
 * Building netlink requests, for the modules of this directory and the kernel's WireGuard. The
 * error is sticky: an attribute that does not fit is left out, and sending then fails with
 * EMSGSIZE.
 */
struct rail_request {
	bool failed;
	union {
		struct nlmsghdr header;
		char bytes[RAIL_NETLINK_MESSAGE_SIZE];
	} message;
};

/* flags: of the message, NLM_F_REQUEST is added. family_header: what follows the netlink header,
 * such as struct ifinfomsg. */
void rail_request_init(struct rail_request *request, uint16_t type, uint16_t flags,
		       const void *family_header, size_t family_header_size);
void rail_request_put(struct rail_request *request, uint16_t type, const void *value, size_t size);
void rail_request_put_u8(struct rail_request *request, uint16_t type, uint8_t value);
void rail_request_put_u16(struct rail_request *request, uint16_t type, uint16_t value);
void rail_request_put_u32(struct rail_request *request, uint16_t type, uint32_t value);
void rail_request_put_string(struct rail_request *request, uint16_t type, const char *text);
/* NULL where it does not fit; the matching end takes that. */
struct nlattr *rail_request_nest(struct rail_request *request, uint16_t type);
void rail_request_nest_end(struct rail_request *request, struct nlattr *nest);

/*
 * For lists that go on in another request: where something did not fit, takes back what was put
 * since the mark and clears the error. true where all had fitted. Nests begun before the mark stay
 * to be ended.
 */
size_t rail_request_mark(const struct rail_request *request);
bool rail_request_keep(struct rail_request *request, size_t mark);

/* rail_netlink_request and rail_netlink_query for what was built. */
int rail_request_send(struct rail_netlink *netlink, struct rail_request *request, const char *what,
		      struct rail_error *error);
/* The same, where two errno values (0 for none) mean that nothing is left to do: those give 0. */
int rail_request_send_unless(struct rail_netlink *netlink, struct rail_request *request,
			     int accepted, int accepted_too, const char *what,
			     struct rail_error *error);
int rail_request_query(struct rail_netlink *netlink, struct rail_request *request,
		       int (*each)(void *context, const struct nlmsghdr *reply,
				   struct rail_error *error),
		       void (*restart)(void *context), void *context, const char *what,
		       struct rail_error *error);

/* The attributes behind a message's family header, and those inside a nest, as libmnl's own macros
 * walk them (which do not pass -Wconversion, and reach up to three bytes beyond a message whose
 * length is no multiple of four). */
#define RAIL_MESSAGE_END(message) ((const char *)(message) + (message)->nlmsg_len)
#define RAIL_FOR_EACH_ATTRIBUTE(attribute, message, offset)                                        \
	for ((attribute) = mnl_nlmsg_get_payload_offset((message), (offset)); mnl_attr_ok(         \
		     (attribute), (int)(RAIL_MESSAGE_END(message) - (const char *)(attribute)));   \
	     (attribute) = mnl_attr_next(attribute))
#define RAIL_FOR_EACH_NESTED(attribute, nest)                                                      \
	for ((attribute) = mnl_attr_get_payload(nest);                                             \
	     mnl_attr_ok((attribute),                                                              \
			 (int)((const char *)mnl_attr_get_payload(nest) +                          \
			       mnl_attr_get_payload_len(nest) - (const char *)(attribute)));       \
	     (attribute) = mnl_attr_next(attribute))

/* Attributes of replies. false (and target untouched) where the payload has another size. */
bool rail_attribute_bytes(const struct nlattr *attribute, void *target, size_t size);
/* The text, or "" where it does not fit target with its NUL. */
void rail_attribute_string(const struct nlattr *attribute, char *target, size_t target_size);
