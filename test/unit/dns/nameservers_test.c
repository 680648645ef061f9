#include "pkg/dns/nameservers.h"

#include <arpa/inet.h>
#include <criterion/criterion.h>
#include <string.h>

static size_t parse(const char *text, struct rail_endpoint nameservers[RAIL_UPSTREAM_MAXIMUM])
{
	memset(nameservers, 0, RAIL_UPSTREAM_MAXIMUM * sizeof(nameservers[0]));
	return rail_nameservers_parse(text, nameservers);
}

Test(dns_nameservers, takes_both_families_in_order)
{
	struct rail_endpoint found[RAIL_UPSTREAM_MAXIMUM];

	cr_assert_eq(parse("# written by something\n"
			   "search example.com\n"
			   "nameserver 127.0.0.53\n"
			   "nameserver\t2001:db8::1  # second\r\n"
			   "options edns0",
			   found),
		     2);
	cr_assert_eq(found[0].family, AF_INET);
	cr_assert_eq(found[0].port, 53);
	cr_assert_eq(found[0].address.v4.s_addr, htonl(0x7f000035));
	cr_assert_eq(found[1].family, AF_INET6);
	cr_assert_eq(found[1].port, 53);
	cr_assert_eq(found[1].address.v6.s6_addr[15], 1);
}

Test(dns_nameservers, leaves_out_what_is_no_address)
{
	struct rail_endpoint found[RAIL_UPSTREAM_MAXIMUM];

	cr_assert_eq(parse("nameserver\n"
			   "nameserver  \n"
			   "nameserver10.0.0.1\n"
			   "nameservers 10.0.0.1\n"
			   " nameserver 10.0.0.1\n"
			   ";nameserver 10.0.0.1\n"
			   "nameserver fe80::1%eth0\n"
			   "nameserver 10.0.0.256\n"
			   "nameserver 1111:2222:3333:4444:5555:6666:7777:8888:9999:aaaa:bbbb\n"
			   "nameserver 10.0.0.2",
			   found),
		     1);
	cr_assert_eq(found[0].address.v4.s_addr, htonl(0x0a000002));
	cr_assert_eq(parse("", found), 0);
}

Test(dns_nameservers, takes_no_more_than_there_is_room_for)
{
	struct rail_endpoint found[RAIL_UPSTREAM_MAXIMUM];
	char text[1024] = "";

	for (int i = 0; i < RAIL_UPSTREAM_MAXIMUM + 3; i++)
		strcat(text, "nameserver 10.0.0.1\n");
	cr_assert_eq(parse(text, found), RAIL_UPSTREAM_MAXIMUM);
}
