#!/usr/bin/env bash
# One more ADD, and one DEL, in environments of 10, 100 and 200 pods, and with devices of 1,000 and 2,000 peers (members that are records).
# Run in the virtual machine by `make bench-vm`.
set -euo pipefail
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
# shellcheck source=test/lib/node.bash
. "$here/../lib/node.bash"
# shellcheck source=test/bench/statistics.bash
. "$here/statistics.bash"
ROUNDS=${ROUNDS:-5}
PODS=${PODS:-10 100 200}
PEERS=${PEERS:-1000 2000}
mkdir -p "$NODE"

mesh() { # COMMAND POD
	CNI_COMMAND=$1 CNI_CONTAINERID=$2 CNI_NETNS=/run/netns/$2 CNI_IFNAME=eth0 "$BIN/railway-mesh" >"$NODE/result" <<-EOF ||
		{ "cniVersion": "1.0.0", "name": "bench", "type": "railway-mesh", "transport": "$TRANSPORT", "environment": "bench",
		  "service": "api", "ipam": { "type": "railway-ipam" } }
	EOF
		{ cat "$NODE/result" >&2; return 1; }
}

timed() { # KEY COMMAND...
	local key=$1 start=${EPOCHREALTIME/./}
	shift
	"$@"
	echo "$key $((${EPOCHREALTIME/./} - start))" | awk '{$NF /= 1000} 1' >>"$NODE/samples"
}

measure() { # KEY
	local round
	for round in $(seq "$ROUNDS"); do
		timed "ADD $1" mesh ADD one
		timed "DEL $1" mesh DEL one
	done
	printf '  %-28s ADD %s\n  %-28s DEL %s\n' "$1" "$(samples "ADD $1" | statistics)" "" "$(samples "DEL $1" | statistics)"
}

echo "$ROUNDS rounds; milliseconds of railway-mesh with railway-ipam: median (minimum to maximum)"
ip netns add one
measure "alone"
pods=0
for count in $PODS; do
	while [ $pods -lt "$count" ]; do
		pods=$((pods + 1))
		ip netns add "pod-$pods"
		mesh ADD "pod-$pods"
	done
	measure "$count pods"
done
for n in $(seq 2 $pods); do
	mesh DEL "pod-$n"
done
# What a device with so many peers costs, and not so many devices with one more: one pod beside the new one.
peers=0
for count in $PEERS; do
	"$TOOLS/mesh_tool" members /var/lib/railway /run/railway bench $((peers + 1)) $((count - peers))
	peers=$count
	measure "$count peers on a device"
done
