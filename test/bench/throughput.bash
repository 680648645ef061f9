#!/usr/bin/env bash
# Throughput and round trip between two pods beside bare WireGuard between two netns, set up with ip and wg, in turn in one run. Run in the
# virtual machine by `make bench-vm`.
set -euo pipefail
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
# shellcheck source=test/lib/node.bash
. "$here/../lib/node.bash"
# shellcheck source=test/bench/statistics.bash
. "$here/statistics.bash"
ROUNDS=${ROUNDS:-5}
SECONDS_EACH=${SECONDS_EACH:-3}
mkdir -p "$NODE"
node_conflist "$NODE/railway.conflist" "" ""
export CNI_PATH=$BIN
resolver_start
pod_add pod-a bench web >/dev/null
pod_add pod-b bench api >/dev/null

# The same by hand: links made from the host's netns, so that the UDP sockets are there, too.
for side in a b; do
	ip netns add bare-$side
	ip link add wg0 netns bare-$side type wireguard
	wg genkey >"$NODE/key.$side"
	ip netns exec bare-$side wg set wg0 private-key "$NODE/key.$side"
	ip -n bare-$side link set lo up
	ip -n bare-$side link set wg0 mtu 1420 up
done
ip -n bare-a addr add fd99::a/64 dev wg0 nodad
ip -n bare-b addr add fd99::b/64 dev wg0 nodad
port() { ip netns exec "bare-$1" wg show wg0 listen-port; }
ip netns exec bare-a wg set wg0 peer "$(wg pubkey <"$NODE/key.b")" allowed-ips fd99::b/128 endpoint "127.0.0.1:$(port b)"
ip netns exec bare-b wg set wg0 peer "$(wg pubkey <"$NODE/key.a")" allowed-ips fd99::a/128 endpoint "127.0.0.1:$(port a)"

declare -A target=([pod]=$(pod_address pod-b) [bare]=fd99::b)
for kind in pod bare; do
	ip netns exec $kind-b iperf3 -s -D --forceflush --logfile "$NODE/server.$kind" 3>&-
	until ip netns exec $kind-b ss -Hltn 'sport = :5201' | grep -q .; do :; done
	ip netns exec $kind-a ping -6 -n -q -c 1 -W 20 "${target[$kind]}" >/dev/null
done

client() { # KIND OPTION...: JSON
	ip netns exec "$1-a" iperf3 -6 -c "${target[$1]}" -t "$SECONDS_EACH" -J "${@:2}"
}

for _ in $(seq "$ROUNDS"); do
	for kind in pod bare; do
		echo "tcp $kind $(client $kind | jq '.end.sum_received.bits_per_second / 1e6')" >>"$NODE/samples"
		client $kind -u -b 0 -l 1300 >"$NODE/udp"
		echo "udp $kind $(jq '.end.sum | .bits_per_second * (100 - .lost_percent) / 100 / 1e6' "$NODE/udp")" >>"$NODE/samples"
		ip netns exec $kind-a ping -6 -n -q -c 200 -i 0.005 -W 20 "${target[$kind]}" |
			sed -n "s|^rtt [^=]*= [^/]*/\\([^/]*\\)/.*|rtt $kind \\1|p" >>"$NODE/samples"
	done
done
echo "$ROUNDS rounds of $SECONDS_EACH s in turn: median (minimum to maximum)"
for what in "tcp Mbit/s received" "udp Mbit/s received" "rtt ms"; do
	read -r key unit <<<"$what"
	for kind in pod bare; do
		printf '  %-4s %-5s %s %s\n' "$key" $kind "$(samples "$key $kind" | statistics)" "$unit"
	done
	echo "       pod : bare = $(ratio "$key pod" "$key bare")"
done
