#include <criterion/criterion.h>
#include <errno.h>
#include <string.h>

#include "pkg/mesh/pod.h"
#include "pkg/mesh/wiring.h"

static const struct rail_prefix prefix = {{0xfd, 1, 2, 3, 4, 5}};

/* What another release made cannot be taken away by this one, and is not forgotten for that. */
Test(mesh_pod, interface_of_an_unknown_transport_is_not_called_destroyed)
{
	const struct rail_interface interface = {.transport = "carrier", .name = "eth0"};
	const struct in6_addr address = {.s6_addr = {0xfd, 1, 2, 3, 4, 5}};
	struct rail_error error = RAIL_ERROR_NONE;

	cr_assert_eq(rail_pod_destroy(-1, &prefix, &address, &interface, &error), -ENOTSUP);
	cr_assert_not_null(strstr(error.message, "'carrier'"), "%s", error.message);
}

Test(mesh_pod, pod_of_an_unknown_transport_does_not_count_as_gone)
{
	struct rail_attachment pod = {.parts = RAIL_PART_INTERFACE,
				      .interface = {.transport = "carrier", .name = "eth0"}};

	cr_assert_eq(rail_wiring_verify_pod(&pod), -ENOTSUP);
	pod.parts = RAIL_PART_LEASE;
	cr_assert_eq(rail_wiring_verify_pod(&pod), -ESTALE);
}
