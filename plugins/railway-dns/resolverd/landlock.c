#include <errno.h>
#include <linux/landlock.h>
#include <stdint.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "pkg/base/cleanup.h"
#include "plugins/railway-dns/resolverd/sandbox.h"

/*
 * The second wall behind the system-call filter. The numbers are the kernel's (linux/landlock.h and
 * Documentation/userspace-api/landlock.rst); Debian 12's header knows version 2 only.
 */

struct ruleset {
	uint64_t files;
	uint64_t network;
	uint64_t scopes;
};

#define FILES_1 0x1fffU /* execute, write, read, read a directory, remove, make */
#define FILES_2 0x2000U /* link and rename across directories */
#define FILES_3 0x4000U /* truncate */
#define FILES_5 0x8000U /* ioctl on devices */
#define BIND_TCP 0x1U	/* 4; connecting is how upstreams are reached over TCP */
#define SCOPES_6 0x3U	/* abstract Unix sockets of others, signals to others */

int rail_sandbox_landlock(int *ret_version, struct rail_error *error)
{
	struct ruleset ruleset = {.files = FILES_1};
	/* Fields that a kernel does not know are zero, which it takes. */
	int version =
		(int)syscall(SYS_landlock_create_ruleset, NULL, 0, LANDLOCK_CREATE_RULESET_VERSION);

	*ret_version = version < 0 ? 0 : version;
	/* A sanitizer writes reports and reads what is mapped. */
	if (version < 1 || RAIL_WITH_SANITIZER)
		return 0;
	ruleset.files |= version >= 2 ? FILES_2 : 0;
	ruleset.files |= version >= 3 ? FILES_3 : 0;
	ruleset.files |= version >= 5 ? FILES_5 : 0;
	ruleset.network = version >= 4 ? BIND_TCP : 0;
	ruleset.scopes = version >= 6 ? SCOPES_6 : 0;

	/* Without a rule nothing of what is handled is allowed. */
	RAIL_CLOSE int fd = (int)syscall(SYS_landlock_create_ruleset, &ruleset, sizeof(ruleset), 0);

	if (fd < 0)
		return rail_fail_errno(error, errno, "make the worker's Landlock ruleset");
	if (syscall(SYS_landlock_restrict_self, fd, 0) < 0)
		return rail_fail_errno(error, errno, "restrict the worker by Landlock");
	return 0;
}
