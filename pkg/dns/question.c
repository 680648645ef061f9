#include "pkg/dns/question.h"

#include <errno.h>
#include <sys/socket.h>

#include "pkg/base/bytes.h"
#include "pkg/dns/forward.h"

enum { FLAG_DNSSEC_OK = 1, FLAG_RECURSION = 2 };

_Static_assert((int)RAIL_UPSTREAM_MAXIMUM == 8, "RAIL_QUESTION_SIZE has room for all upstreams");

static int write_endpoint(struct rail_writer *writer, const struct rail_endpoint *endpoint)
{
	rail_write_u16(writer, endpoint->port);
	if (endpoint->family == AF_INET) {
		rail_write_u8(writer, 4);
		rail_write_bytes(writer, &endpoint->address.v4, sizeof(endpoint->address.v4));
	} else if (endpoint->family == AF_INET6) {
		rail_write_u8(writer, 6);
		rail_write_bytes(writer, &endpoint->address.v6, sizeof(endpoint->address.v6));
	} else {
		return -EINVAL;
	}
	return 0;
}

int rail_question_init(struct rail_question *ret_question, const struct rail_endpoint *upstreams,
		       size_t upstream_count, const struct rail_dns_query *query)
{
	struct rail_writer writer =
		rail_writer_init(ret_question->bytes, sizeof(ret_question->bytes));
	unsigned int flags = query->header.flags & (RAIL_DNS_FLAG_AD | RAIL_DNS_FLAG_CD);

	if (upstream_count > RAIL_UPSTREAM_MAXIMUM)
		return -EINVAL;
	flags |= query->dnssec_ok ? FLAG_DNSSEC_OK : 0;
	flags |= (query->header.flags & RAIL_DNS_FLAG_RD) != 0 ? FLAG_RECURSION : 0;
	rail_write_u8(&writer, (uint8_t)upstream_count);
	for (size_t i = 0; i < upstream_count; i++)
		if (write_endpoint(&writer, &upstreams[i]) < 0)
			return -EINVAL;
	rail_write_u8(&writer, (uint8_t)flags);
	rail_write_u16(&writer, query->type);
	rail_write_u16(&writer, query->class);
	rail_write_bytes(&writer, query->name.wire, query->name.size);
	if (writer.failed)
		return -EINVAL;
	ret_question->size = writer.position;
	return 0;
}
