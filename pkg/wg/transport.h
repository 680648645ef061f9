#pragma once

#include <sys/types.h>

#include "pkg/base/process.h"
#include "pkg/wg/device.h"

/*
 * How a pod's WireGuard interface comes to be and is changed: one table of functions for each way
 * to carry the packets. Above it nobody knows which one is behind it.
 */

/* How an existing interface is reached again; part of the attachment's record. */
struct rail_interface {
	char transport[16];  /* the name of its transport: "kernel" or "userspace" */
	char name[IFNAMSIZ]; /* in the pod's netns */
	struct rail_key public_key;
	uint16_t listen_port; /* in the host's netns */
	char alias[64]; /* IFLA_IFALIAS: tells our interface from another under a reused number */

	/* Kernel only: of its netns, seen from the host's (pkg/net/link.h); else RAIL_NSID_NONE. */
	int32_t nsid;

	/* What the link is called until it gets its name; names the UAPI socket (userspace). */
	char device_name[IFNAMSIZ];

	/* Userspace only: */
	struct rail_process process; /* the process that carries the packets */
};

struct rail_interface_request {
	int netns_fd;	  /* the pod's; borrowed */
	const char *name; /* in the pod's netns */
	const char *alias;
	unsigned int mtu;	      /* bytes */
	const uint16_t *listen_ports; /* to choose from; none: any */
	size_t listen_port_count;
};

struct rail_transport {
	const char *name;

	/* Whether this machine can do it, and if not, why (error). */
	int (*available)(struct rail_error *error);

	/*
	 * Makes the interface in the pod's netns with a new key pair, its UDP socket in the
	 * caller's netns (the host's), link up, no peers. On failure nothing is left. ret_interface
	 * is filled as far as it got even on failure (the one exception of the suite). announce
	 * (where not NULL) is called so that the caller can store what a crash would leave behind:
	 * before anything is made, and again whenever there is more to store, before that exists
	 * (userspace: the process, which only waits until announce has returned). What was
	 * announced last is enough for destroy at any moment of a creation that was killed. If
	 * announce fails, everything is undone. alias must not be empty.
	 */
	int (*create)(const struct rail_interface_request *request,
		      int (*announce)(void *context, const struct rail_interface *interface,
				      struct rail_error *error),
		      void *context, struct rail_interface *ret_interface,
		      struct rail_error *error);

	/* Reads the device. netns_fd is the pod's. ENODEV where the interface is gone or has
	 * another key than it was given, or its process is gone. */
	int (*read)(int netns_fd, const struct rail_interface *interface,
		    struct rail_device *ret_device, struct rail_error *error);

	/*
	 * Whether the interface in the netns is the stored one, and works: ENODEV where it is gone
	 * or another, ESRCH where the process that carries its packets is gone.
	 */
	int (*verify)(int netns_fd, const struct rail_interface *interface,
		      struct rail_error *error);

	/* Applies changes in order. A device that was busy with the same change before is no error;
	 * ENODEV as for read. */
	int (*apply)(int netns_fd, const struct rail_interface *interface,
		     const struct rail_changes *changes, struct rail_error *error);

	/*
	 * Takes the interface away, with its process and its socket's file, also where the pod has
	 * given it another name. netns_fd may be negative (the netns has no path any more): what
	 * can be reached from the host is then still removed, the link by the netns's number.
	 * Succeeds where there is nothing. Never ends a process whose start time is not the stored
	 * one.
	 */
	int (*destroy)(int netns_fd, const struct rail_interface *interface,
		       struct rail_error *error);
};

extern const struct rail_transport rail_transport_kernel;
extern const struct rail_transport rail_transport_userspace;

/* Whether create can begin with it: a netns, lengths, an MTU that IPv6 allows. */
int rail_transport_check_request(const struct rail_interface_request *request,
				 struct rail_error *error);

/* "rwg" and 11 hexadecimal digits: never another's, and free in every netns. */
int rail_transport_make_device_name(char name[static IFNAMSIZ], struct rail_error *error);

/*
 * name: "auto", "kernel" or "userspace" (configuration key transport); auto takes the kernel's
 * where it is there. Fails with code 7 for an unknown name, and with what available() says.
 */
int rail_transport_choose(const char *name, const struct rail_transport **ret_transport,
			  struct rail_error *error);
/* By the name that a record holds; NULL for an unknown one. */
const struct rail_transport *rail_transport_by_name(const char *name);
