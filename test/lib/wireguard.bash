# A pod's WireGuard device, whatever carries its packets: sourced by the network tests. TRANSPORT: kernel or userspace.
# shellcheck shell=bash

# What is stored of a pod's interface: "<transport> <name in the pod> <device of the UAPI, or -> <process, or 0>".
stored_interface() { # POD
	"$TOOLS/mesh_tool" interface /var/lib/railway /run/railway railway "$1" eth0
}

# pod_wg POD SUBCOMMAND ARGUMENT...: wg on the pod's device: pod_wg one show peers, pod_wg one set peer KEY remove.
pod_wg() {
	local pod=$1 subcommand=$2 transport name device _
	shift 2
	read -r transport name device _ < <(stored_interface "$pod")
	case $transport in
	kernel) ip netns exec "$pod" wg "$subcommand" "$name" "$@" ;;
	userspace) wg "$subcommand" "$device" "$@" ;;
	*) echo "no device of $pod" >&2 && return 1 ;;
	esac
}

# The AllowedIPs of a pod's peers, sorted.
peers() { # POD
	pod_wg "$1" show allowed-ips | awk '{print $2}' | sort
}

# The addresses of all pods but the first, as AllowedIPs.
members_but() { # POD...
	local self=$1 pod
	shift
	for pod in "$@"; do
		[ "$pod" = "$self" ] || echo "$(pod_address "$pod")/128"
	done | sort
}

# What carries the packets, to be compared: the process, or the link's number.
carrier() { # POD
	local transport name process _
	read -r transport name _ process < <(stored_interface "$1")
	case $transport in
	kernel) ip -n "$1" -o link show dev "$name" | grep -o '^[0-9]*' ;;
	userspace) [ "$process" != 0 ] && kill -0 "$process" 2>/dev/null && echo "$process" ;;
	*) return 1 ;;
	esac
}

# It dies: wireguard-go is killed, a link of the kernel's is deleted.
kill_carrier() { # POD
	local transport name process _
	read -r transport name _ process < <(stored_interface "$1")
	if [ "$transport" = kernel ]; then
		ip -n "$1" link del "$name"
	else
		kill -KILL "$process"
		while kill -0 "$process" 2>/dev/null; do :; done
	fi
}

# How many devices there are on this node.
devices() {
	local pod
	{
		pgrep -x wireguard-go || true
		for pod in $(ip netns list | awk '{print $1}'); do
			ip -n "$pod" -o link show type wireguard
		done
	} | wc -l
}

# Every line of `wg show all dump`, of every pod's device, with the pod for its device.
dump_devices() { # POD...
	local pod
	for pod in "$@"; do
		pod_wg "$pod" show dump | sed "s/^/$pod\t/"
	done
}

# Everything that an attachment could have left on this node.
leftovers() {
	local pod
	wg show interfaces
	pgrep -x wireguard-go || true
	ls /var/run/wireguard 2>/dev/null || true
	ip -o link | grep -E 'rwg|railway' || true
	for pod in $(ip netns list | awk '{print $1}'); do
		ip -n "$pod" -o link show type wireguard
	done
}
