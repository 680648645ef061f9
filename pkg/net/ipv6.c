#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "pkg/base/cleanup.h"
#include "pkg/net/link.h"
#include "pkg/net/netns.h"

static int enable(void *context, struct rail_error *error)
{
	static const char directory[] = "/proc/sys/net/ipv6/conf";
	const char *link_name = context;
	char path[sizeof(directory) + IFNAMSIZ + sizeof("/disable_ipv6")];
	char value = '1';

	(void)snprintf(path, sizeof(path), "%s/%s/disable_ipv6", directory, link_name);

	RAIL_CLOSE int read_fd = open(path, O_RDONLY | O_CLOEXEC);
	if (read_fd < 0) {
		int errnum = errno;

		if (errnum == ENOENT && access(directory, F_OK) < 0)
			return rail_fail(error, ENOTSUP,
					 "the kernel has no IPv6 (ipv6.disable=1 on its command "
					 "line?), which private networks need");
		if (errnum == ENOENT)
			return rail_fail(error, ENODEV,
					 "interface %s is not there, or its MTU is below 1280 and "
					 "it can have no IPv6",
					 link_name);
		return rail_fail_errno(error, errnum, "open %s", path);
	}
	if (read(read_fd, &value, 1) != 1)
		return rail_fail_errno(error, errno, "read %s", path);
	/* /proc/sys may be read-only; nothing is to be written then in most pods. */
	if (value == '0')
		return 0;

	RAIL_CLOSE int write_fd = open(path, O_WRONLY | O_CLOEXEC);
	if (write_fd < 0 || write(write_fd, "0", 1) != 1)
		return rail_fail_errno(error, errno, "switch IPv6 on for interface %s: write %s",
				       link_name, path);
	return 0;
}

int rail_ipv6_enable(int netns_fd, const char *link_name, struct rail_error *error)
{
	/* "all" and "default" would be files of that directory as well; no link is called so. */
	if (link_name[0] == '\0' || link_name[0] == '.' || strlen(link_name) >= IFNAMSIZ ||
	    strchr(link_name, '/') != NULL)
		return rail_fail(error, EINVAL, "'%.32s' is no interface name", link_name);

	char name[IFNAMSIZ];
	(void)snprintf(name, sizeof(name), "%s", link_name);
	return rail_netns_run(netns_fd, enable, name, error);
}
