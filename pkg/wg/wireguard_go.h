#pragma once

#include <limits.h>
#include <sys/types.h>

#include "pkg/base/error.h"

/* The program wireguard-go: where it is, what it understands, starting it. */

/* Looks on PATH, then where packages put it. ENOENT with a message that says what to install. */
int rail_wireguard_go_find(char ret_path[PATH_MAX], struct rail_error *error);

/*
 * The flags with which its TUN device must be made (TUNSETIFF), from what it prints for --version:
 * releases before 0.0.20230223 read a header of four bytes in front of every packet, later ones
 * none, but the virtio header. EINVAL for an unknown text, which the message names.
 */
int rail_wireguard_go_tun_flags(const char *version_text, short *ret_flags,
				struct rail_error *error);
/* Runs it with --version for that. */
int rail_wireguard_go_probe(const char *path, short *ret_flags, struct rail_error *error);

/*
 * A started process in two steps: first a child that only waits, so that its number can be stored;
 * it becomes wireguard-go when it is released, and ends by itself where its parent dies before
 * that. So there is never a wireguard-go that nobody knows of.
 */
struct rail_wireguard_go {
	pid_t pid;
	int control_fd;
};

/*
 * The child gets /dev/null as its standard files, the two descriptors, and nothing else of the
 * caller's: no descriptor, environment, working directory, session or signal mask.
 */
int rail_wireguard_go_fork(const char *path, const char *device_name, int tun_fd, int uapi_fd,
			   struct rail_wireguard_go *ret_child, struct rail_error *error);
/* Lets the child become wireguard-go. control_fd is closed in any case. */
int rail_wireguard_go_release(struct rail_wireguard_go *child, struct rail_error *error);
/* Kills and reaps a child, released or not; it is not needed any more. */
void rail_wireguard_go_kill(struct rail_wireguard_go *child);
