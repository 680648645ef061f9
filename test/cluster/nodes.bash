# Many nodes on one machine: loaded by tests, inside test/lib/isolate.bash. Each node has network and mount namespaces of its own, with its own
# /run and /var/lib, on one bridge; etcd is at an address beside it that a node can lose without losing the others.
#
#   etcd_start
#   for node in a b c; do node_start $node; done
#   on a pod_add one production api
#   on b pod_add two production web
#   on a in_pod one curl http://web.railway.internal
#
# shellcheck shell=bash

ROOT=$(cd "$(dirname "${BASH_SOURCE[0]}")/../.." && pwd)
WORK=${WORK:-/run/cluster}
ETCD_ADDRESS=10.9.1.1
ETCD_URL=http://$ETCD_ADDRESS:2379
LEASE=${LEASE:-6} # seconds; 30 is the default of the suite
declare -gA node_pid node_index

# wait_until SECONDS COMMAND...: until it succeeds.
wait_until() {
	local end=$(($(date +%s) + $1))
	shift
	until "$@"; do
		[ "$(date +%s)" -lt "$end" ] || { echo "did not come to be: $*"; return 1; }
		sleep 0.05
	done
}

refute() {
	if "$@"; then
		echo "should have failed: $*"
		return 1
	fi
}

network_start() {
	mkdir -p "$WORK"
	# An address of its own: else it takes that of a node that comes, and the others' neighbour entries lead nowhere for half a minute.
	ip link add br0 address 02:00:00:09:00:01 type bridge
	ip addr add 10.9.0.1/24 dev br0
	ip -6 addr add fd99:9::1/64 dev br0 nodad
	ip addr add $ETCD_ADDRESS/32 dev lo
	ip link set br0 up
	sysctl -qw net.ipv4.ip_forward=1
}

# etcd_start [OPTION...]: returns when it answers.
etcd_start() {
	etcd --data-dir "$WORK/etcd" --listen-client-urls "$ETCD_URL" --advertise-client-urls "$ETCD_URL" \
		--listen-peer-urls http://127.0.0.1:2380 --logger zap --log-level error "$@" \
		>>"$WORK/etcd.log" 2>&1 3>&- &
	ETCD=$!
	wait_until 30 etcdctl_ endpoint health >/dev/null 2>&1
}

etcd_kill() {
	kill -KILL "$ETCD"
	wait "$ETCD" 2>/dev/null || true
}

etcdctl_() { ETCDCTL_API=3 etcdctl --endpoints "$ETCD_URL" --command-timeout 5s "$@"; }

# What etcd has below a part of the tree: the keys.
keys_in() { etcdctl_ get --prefix "railway/1/$1" --keys-only | grep . || true; }

# node_start NODE [KEYS]: a node with resolver and meshd, joined. KEYS: more keys of its file.
node_start() {
	node_boot "$1"
	node_config "$1" "${2:-}"
	on "$1" resolver_start
	meshd_start "$1"
	wait_until 30 node_joined "$1"
}

# The machine alone; its underlay is of IPv4, or of FAMILIES: 4, 6 or 46.
node_boot() {
	local node=$1 index=$((${#node_pid[@]} + 11)) ready=$WORK/$1.ready
	rm -f "$ready"
	unshare --net --mount --propagation private sh -c '
		resolv=$(readlink -m /etc/resolv.conf)
		mount -t tmpfs -o mode=0755 tmpfs /run && mount -t tmpfs -o mode=0755 tmpfs /var/lib &&
		mkdir -p "$(dirname "$resolv")" /run/node /run/netns "$(dirname "$1")" && touch "$resolv" &&
		ip link set lo up && mount -t tmpfs tmpfs /sys/fs/cgroup 2>/dev/null; exec sleep infinity' \
		sh "$ready" 3>&- &
	node_pid[$node]=$!
	node_index[$node]=$index
	wait_until 10 test -d "/proc/$!/root/run/netns"
	ip link add "v$node" type veth peer name eth0 netns "$!"
	ip link set "v$node" master br0 up
	on "$node" ip link set eth0 up
	if [[ ${FAMILIES:-4} = *4* ]]; then
		on "$node" ip addr add "10.9.0.$index/24" dev eth0
		on "$node" ip route add default via 10.9.0.1
	fi
	if [[ ${FAMILIES:-4} = *6* ]]; then
		on "$node" ip -6 addr add "fd99:9::$index/64" dev eth0 nodad
		on "$node" ip -6 route add default via fd99:9::1
	fi
}

node_config() { # NODE [KEYS]
	on "$1" tee /run/node/railway.json >/dev/null <<-EOF2
		{ "cluster": { "endpoints": ["${ETCD_URLS:-$ETCD_URL}"], "lease": $LEASE }${2:+, $2} }
	EOF2
	on "$1" node_conflist /run/node/railway.conflist '"config": "/run/node/railway.json"' \
		'"config": "/run/node/railway.json"'
}

# on NODE COMMAND...: a command, or a function of test/lib/node.bash, on a node.
on() {
	local node=$1
	shift
	nsenter --target "${node_pid[$node]}" --net --mount -- env NODE=/run/node bash -c '
		. "$0/test/lib/node.bash"; "$@"' "$ROOT" "$@"
}

# Plugins and daemons of a node have its file in the usual place as well.
meshd_start() {
	local node=$1
	nsenter --target "${node_pid[$node]}" --net --mount -- "$BIN/railway-meshd" --config /run/node/railway.json \
		>>"$WORK/$node.meshd.log" 2>&1 3>&- &
	echo $! >"$WORK/$node.meshd.pid"
}

meshd_kill() { # NODE [SIGNAL]
	kill "-${2:-KILL}" "$(cat "$WORK/$1.meshd.pid")"
	wait "$(cat "$WORK/$1.meshd.pid")" 2>/dev/null || true
}

node_joined() { on "$1" bash -c 'CNI_COMMAND=STATUS CNI_PATH="$0" "$0/railway-mesh"' "$BIN" <<-'EOF2' >/dev/null
		{ "cniVersion": "1.1.0", "name": "railway", "type": "railway-mesh", "config": "/run/node/railway.json" }
	EOF2
}

# The whole machine dies at once.
node_kill() {
	local node=$1 netns pid
	ip link del "v$node" 2>/dev/null || true
	netns=$(readlink "/proc/${node_pid[$node]}/ns/mnt")
	for pid in /proc/[0-9]*; do
		if [ "$(readlink "$pid/ns/mnt" 2>/dev/null)" = "$netns" ]; then kill -KILL "${pid#/proc/}" 2>/dev/null || true; fi
	done
	wait "${node_pid[$node]}" 2>/dev/null || true
}

# cut NODE, mend NODE: from etcd, not from the other nodes.
cut() { on "$1" ip route add blackhole $ETCD_ADDRESS; }
mend() { on "$1" ip route del blackhole $ETCD_ADDRESS; }

cluster_stop() {
	local node
	[ -z "${STEADY:-}" ] || kill -KILL "$STEADY" 2>/dev/null || true
	for node in "${!node_pid[@]}"; do node_kill "$node"; done
	node_pid=() node_index=()
	[ -z "${ETCD:-}" ] || etcd_kill
	[ -z "${ETCDS:-}" ] || kill -KILL $ETCDS 2>/dev/null || true
	ETCD=
	ip link del br0 2>/dev/null || true
	ip addr del $ETCD_ADDRESS/32 dev lo 2>/dev/null || true
	rm -rf "$WORK"
}

# After a test, however it went.
cluster_end() {
	[ -z "${BATS_ERROR_STATUS:-}" ] || cluster_logs
	cluster_stop
}

# What a file that has no more to do need not say.
setup() { network_start; }
teardown() { cluster_end; }

cluster_logs() {
	local log
	for log in "$WORK"/*.meshd.log; do
		[ -e "$log" ] && tail -25 "$log" | sed "s/^/# ${log##*/}: /"
	done
}

# talks NODE POD ADDRESS: one datagram there and back at once, without a repetition.
talks() { on "$1" ip netns exec "$2" ping -6 -q -c 1 -W "${4:-2}" "$3" >/dev/null; }

# resolves NODE POD NAME: the addresses, sorted.
resolves() { on "$1" ip netns exec "$2" dig +short +time=2 +tries=1 AAAA "$3.railway.internal" @fd12::10 | sort; }

# ---- pods, and what must hold of them ----

declare -ga PODS=() # "NODE POD ENVIRONMENT SERVICE ADDRESS"

add() { # NODE POD ENVIRONMENT SERVICE [CNI_ARGS]
	local result
	result=$(on "$1" pod_add "$2" "$3" "$4" "${5:-}") || { echo "$result"; return 1; }
	PODS+=("$1 $2 $3 $4 $(on "$1" pod_address "$2")")
}

del() { # NODE POD
	on "$1" pod_del "$2" || return 1
	forget "$1" "$2"
}

forget() { # NODE [POD]: they are gone without a word
	local pod kept=()
	for pod in "${PODS[@]}"; do
		[[ $pod == "$1 ${2:-}"* ]] || kept+=("$pod")
	done
	PODS=("${kept[@]}")
}

address_of() { # NODE POD
	local pod
	for pod in "${PODS[@]}"; do
		[[ $pod != "$1 $2 "* ]] || echo "${pod##* }"
	done
}

# The addresses that the pods of an environment, or of one of its services, should have.
expected() { # ENVIRONMENT [SERVICE]
	local node pod environment service address
	for pod in "${PODS[@]}"; do
		read -r node pod environment service address <<<"$pod"
		if [ "$environment" = "$1" ] && [ "${2:-$service}" = "$service" ]; then echo "$address"; fi
	done | sort
}

# What etcd has of an environment: addresses, sorted.
published() { # AN-ADDRESS-OF-IT
	local digits
	digits=$(python3 -c 'import ipaddress, sys; print(ipaddress.ip_address(sys.argv[1]).packed.hex()[:12])' "$1")
	keys_in "in/$digits/members/" | python3 -c '
import ipaddress, sys
for line in sys.stdin: print(ipaddress.ip_address(bytes.fromhex(line.strip().rsplit("/", 1)[1])))' | sort
}

# Everything agrees: no address twice; etcd has exactly the members; each pod has exactly these as peers (CHECK) and as names.
agree() {
	local line node pod environment service address one
	[ -z "$(printf '%s\n' "${PODS[@]##* }" | sort | uniq -d)" ] || { echo "an address twice"; return 1; }
	for line in "${PODS[@]}"; do
		read -r node pod environment service address <<<"$line"
		[ "$(published "$address")" = "$(expected "$environment")" ] ||
			{ echo "etcd: $(published "$address"), not $(expected "$environment")"; return 1; }
		on "$node" pod_check "$pod" || return 1
		for one in $(printf '%s\n' "${PODS[@]}" | awk -v e="$environment" '$3 == e {print $4}' | sort -u); do
			[ "$(resolves "$node" "$pod" "$one")" = "$(expected "$environment" "$one")" ] ||
				{ echo "$pod: $one is $(resolves "$node" "$pod" "$one")"; return 1; }
		done
	done
}

# All pairs of an environment talk, each at the first attempt.
all_talk() { # ENVIRONMENT
	local one other from to
	for one in "${PODS[@]}"; do
		for other in "${PODS[@]}"; do
			read -ra from <<<"$one"
			read -ra to <<<"$other"
			if [ "$one" = "$other" ] || [ "${from[2]}" != "$1" ] || [ "${to[2]}" != "$1" ]; then continue; fi
			talks "${from[0]}" "${from[1]}" "${to[4]}" || { echo "$one does not reach $other"; return 1; }
		done
	done
}

# etcd, and two nodes with a pod each, which talk until steady_stop.
two_nodes() {
	etcd_start
	node_start a
	node_start b
	add a one production api
	add b two production web
	wait_until 10 agree
	talks a one "$(address_of b two)"
	steady_start a one "$(address_of b two)"
}

# steady_start NODE POD ADDRESS ... steady_stop: what could talk before never stops. Of five packets a second none is lost.
steady_start() {
	on "$1" ip netns exec "$2" ping -6 -n -i 0.2 "$3" >"$WORK/steady" 2>&1 3>&- &
	STEADY=$(until pgrep -nx ping; do sleep 0.05; done)
}

# The numbers of those that were answered.
steady_answers() { sed -nE 's/.*bytes from.* icmp_seq=([0-9]+) .*/\1/p' "$WORK/steady" | sort -nu; }
steady_last() { steady_answers | tail -1; }

steady_stop() {
	local last
	last=$(steady_last)
	# It goes on at this moment, too.
	wait_until 5 eval "[ \"\$(steady_last)\" -gt ${last:-0} ]"
	kill -INT "$STEADY"
	last=$(steady_last)
	echo "steady: $last sent, lost: $(comm -23 <(seq "$last" | sort) <(steady_answers | sort) | tr '\n' ' ')"
	[ "$(steady_answers | wc -l)" = "$last" ]
}

# pod_wg NODE POD SUBCOMMAND ARGUMENT...: wg on the device of a pod (test/lib/wireguard.bash).
pod_wg() {
	# shellcheck disable=SC2016
	on "$1" bash -c '. "$0/test/lib/wireguard.bash"; pod_wg "$@"' "$ROOT" "${@:2}"
}

# The process that carries a pod's packets, of wireguard-go.
carrier() { # NODE POD
	# shellcheck disable=SC2016
	on "$1" bash -c '. "$0/test/lib/wireguard.bash"; carrier "$1"' "$ROOT" "$2"
}
