#include "plugins/railway-mesh/meshd/privileges.h"

#include <errno.h>
#include <linux/capability.h>
#include <stdint.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <unistd.h>

#define CAPABILITY(number) (UINT64_C(1) << (number))

/* setns(2) takes SYS_ADMIN, WireGuard's netlink NET_ADMIN, a netns below /proc/<pid> PTRACE. */
static const uint64_t needed =
	CAPABILITY(CAP_SYS_ADMIN) | CAPABILITY(CAP_NET_ADMIN) | CAPABILITY(CAP_SYS_PTRACE);

int meshd_give_up_privileges(struct rail_error *error)
{
	struct __user_cap_header_struct header = {.version = _LINUX_CAPABILITY_VERSION_3};
	struct __user_cap_data_struct data[2];

	if (syscall(SYS_capget, &header, data) < 0)
		return rail_fail_errno(error, errno, "read the own capabilities");

	uint64_t permitted = data[0].permitted | (uint64_t)data[1].permitted << 32;

	if ((needed & ~permitted) != 0)
		return rail_fail(
			error, EPERM,
			"railway-meshd needs root's capabilities: start it as root, and let "
			"its unit keep SYS_ADMIN, NET_ADMIN and SYS_PTRACE");
	for (int i = 0; i < 2; i++) {
		uint32_t part = (uint32_t)(needed >> (32 * i));

		data[i] = (struct __user_cap_data_struct){.effective = part, .permitted = part};
	}
	if (syscall(SYS_capset, &header, data) < 0)
		return rail_fail_errno(error, errno, "give capabilities up");
	if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) < 0)
		return rail_fail_errno(error, errno, "set no_new_privs");
	return 0;
}
