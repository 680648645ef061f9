#include <criterion/criterion.h>
#include <errno.h>
#include <string.h>
#include <unistd.h>

#include "pkg/wg/transport.h"
#include "pkg/wg/wireguard_go.h"
#include "test/unit/net/namespaces.h"

Test(wg_transport, wireguard_go_flags_follow_the_version)
{
	struct rail_error error = RAIL_ERROR_NONE;
	short flags = 0;

	assert_ok(rail_wireguard_go_tun_flags("wireguard-go v0.0.20220316\n\nUserspace", &flags,
					      &failure));
	cr_assert_eq(flags, 0x0001);
	assert_ok(rail_wireguard_go_tun_flags("wireguard-go v0.0.20230223\n", &flags, &failure));
	cr_assert_eq(flags, 0x5001);
	assert_ok(rail_wireguard_go_tun_flags("wireguard-go v0.0.20250522", &flags, &failure));
	cr_assert_eq(flags, 0x5001);

	static const char *const unknown[] = {"", "wireguard-go v1.0\n", "wireguard-go v0.0.2022",
					      "wireguard-go v0.0.202203161", "boringtun 0.6.0"};
	for (size_t i = 0; i < sizeof(unknown) / sizeof(unknown[0]); i++)
		cr_assert_eq(rail_wireguard_go_tun_flags(unknown[i], &flags, &error), -EINVAL);
	cr_assert_not_null(strstr(error.message, "'boringtun 0.6.0'"));
}

Test(wg_transport, names)
{
	struct rail_error error = RAIL_ERROR_NONE;
	const struct rail_transport *transport = NULL;

	cr_assert_eq(rail_transport_by_name("userspace"), &rail_transport_userspace);
	cr_assert_null(rail_transport_by_name("auto"));
	cr_assert_null(rail_transport_by_name(""));
	cr_assert_eq(rail_transport_choose("tcp", &transport, &error), -EINVAL);
	cr_assert_eq(error.code, RAIL_CODE_INVALID_CONFIG);
	cr_assert_not_null(strstr(error.message, "'tcp'"));
	cr_assert_eq(rail_transport_by_name("kernel"), &rail_transport_kernel);
	if (geteuid() != 0)
		cr_skip_test("needs root: it opens /dev/net/tun");

	/* Which one auto takes depends on the kernel that the tests run on. */
	assert_ok(rail_transport_choose("auto", &transport, &failure));
	error = RAIL_ERROR_NONE;
	if (rail_transport_kernel.available(&error) == 0) {
		cr_assert_eq(transport, &rail_transport_kernel);
		return;
	}
	cr_assert_eq(transport, &rail_transport_userspace);
	cr_assert_eq(error.code, RAIL_CODE_NOT_AVAILABLE);
	cr_assert_eq(rail_transport_choose("kernel", &transport, &error), -ENOTSUP);
	cr_assert_not_null(strstr(error.message, "no WireGuard (module 'wireguard'): load it"));
	cr_assert_eq(transport, &rail_transport_userspace);
}
