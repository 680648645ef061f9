#!/usr/bin/env bash
# Runs a command as a node of its own: private network, mount and PID namespaces, with empty /run and /var/lib. Nothing that was
# there before is seen or touched, and when the command ends, or is interrupted, all that it started ends with it.
set -euo pipefail

if [ "${RAILWAY_ISOLATED:-}" != 1 ]; then
	[ "$(id -u)" = 0 ] || { echo "network namespaces need root: use sudo" >&2; exit 1; }
	export RAILWAY_ISOLATED=1
	exec unshare --mount --net --pid --fork --kill-child=KILL --mount-proc \
		--propagation private "$BASH" "$0" "$@"
fi

# What resolv.conf points to may lie in the /run that goes out of sight.
resolv_conf=$(readlink -m /etc/resolv.conf)
nameservers=$(cat "$resolv_conf" 2>/dev/null || true)
mount -t tmpfs -o mode=0755 tmpfs /run
mount -t tmpfs -o mode=0755 tmpfs /var/lib
mkdir -p "$(dirname "$resolv_conf")"
[ -e "$resolv_conf" ] || printf '%s\n' "$nameservers" >"$resolv_conf"
ip link set lo up
"$@"
