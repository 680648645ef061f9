# A node and its pods, for tests and the demo: sourced, inside test/lib/isolate.bash.
#
#   BIN    the directory of the built binaries        TOOLS  of the test tools
#   TRANSPORT  what carries packets: kernel, userspace; auto
#   NODE   where this node's own files are; conflists name it in their N-keys
#
# shellcheck shell=bash

NODE=${NODE:-/run/node}
TRANSPORT=${TRANSPORT:-auto}
CHAIN=$TOOLS/chain
export CNI_PATH=$BIN CHAIN_CACHE=$NODE/cache

# node_conflist FILE MESH-KEYS DNS-KEYS: a list as DESIGN shows it, for cnitool-like callers.
node_conflist() {
	local mesh=${2:-} dns=${3:-}
	cat >"$1" <<EOF
{ "cniVersion": "${CNI_VERSION:-1.0.0}", "name": "railway", "plugins": [
  { "type": "railway-mesh", "ipam": { "type": "railway-ipam" }, "trustArgs": true, "transport": "$TRANSPORT"${mesh:+, $mesh},
    "capabilities": { "io.kubernetes.cri.pod-annotations": true, "ips": true } },
  { "type": "railway-dns"${dns:+, $dns},
    "capabilities": { "io.kubernetes.cri.pod-annotations": true, "dns": true } } ] }
EOF
}

# resolver_start [OPTION...]: returns when it is ready; its number is in $RESOLVER.
resolver_start() {
	local ready=$NODE/ready.$$
	rm -f "$ready"
	mkfifo "$ready"
	"$BIN/railway-resolverd" --ready-fd 9 "$@" 9>"$ready" 2>>"$NODE/resolver.log" 3>&- 4>&- &
	RESOLVER=$!
	if ! read -r -t "${PATIENCE:-15}" _ <"$ready"; then
		# An empty line says ready; the end of the file says that it has ended.
		if ! kill -0 "$RESOLVER" 2>/dev/null; then
			echo "railway-resolverd did not start:" >&2
			cat "$NODE/resolver.log" >&2
			return 1
		fi
	fi
	rm -f "$ready"
}

resolver_stop() {
	[ -n "${RESOLVER:-}" ] || return 0
	kill "$RESOLVER" 2>/dev/null || true
	wait "$RESOLVER" 2>/dev/null || true
	RESOLVER=
}

# The process that faces the packets: the child of the supervisor.
resolver_worker() {
	pgrep -P "$RESOLVER" -f 'railway-resolverd --worker'
}

# pod_add POD ENVIRONMENT SERVICE [CNI_ARGS]: a netns and ADD of the whole chain; prints the result.
pod_add() {
	local pod=$1 environment=$2 service=$3 more=${4:-} result
	[ -e "/run/netns/$pod" ] || ip netns add "$pod"
	pod_args[$pod]="IgnoreUnknown=1;RAILWAY_ENVIRONMENT=$environment;RAILWAY_SERVICE=$service;K8S_POD_NAME=$pod${more:+;$more}"
	result=$(CNI_ARGS=${pod_args[$pod]} "$CHAIN" add "${CONFLIST:-$NODE/railway.conflist}" \
		"$pod" "/run/netns/$pod") || { echo "$result"; return 1; }
	mkdir -p "$NODE/pods"
	jq -r '.dns // {} | (.nameservers // [] | map("nameserver " + .)[]),
		((.search // []) | if length > 0 then "search " + join(" ") else empty end)' \
		<<<"$result" >"$NODE/pods/$pod.resolv.conf"
	echo "$result"
}
declare -gA pod_args

pod_del() {
	CNI_ARGS=${pod_args[$1]:-} "$CHAIN" del "${CONFLIST:-$NODE/railway.conflist}" "$1" \
		"${2-/run/netns/$1}"
}

pod_check() {
	CNI_ARGS=${pod_args[$1]:-} "$CHAIN" check "${CONFLIST:-$NODE/railway.conflist}" "$1" \
		"/run/netns/$1"
}

# in_pod POD COMMAND...: what a program in the pod sees: its netns and its resolv.conf.
in_pod() {
	local pod=$1
	shift
	nsenter --net="/run/netns/$pod" unshare --mount --propagation private sh -c '
		mount --bind "$1" "$(readlink -f /etc/resolv.conf)" && shift && exec "$@"' \
		sh "$NODE/pods/$pod.resolv.conf" "$@"
}

# The pod's private address.
pod_address() {
	ip -n "$1" -6 -j addr show dev "${2:-eth0}" scope global |
		jq -r '.[].addr_info[] | select(.local) | .local'
}
