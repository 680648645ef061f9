# What the network tests share. shellcheck shell=bash
. "$BATS_TEST_DIRNAME/../lib/node.bash"
. "$BATS_TEST_DIRNAME/../lib/wireguard.bash"

setup() {
	NODE=/run/node
	rm -rf "$NODE" /run/railway /var/lib/railway
	mkdir -p "$NODE"
	CONFLIST=$NODE/railway.conflist
	node_conflist "$CONFLIST"
	RESOLVER=
}

teardown() {
	local pod
	# What a test runs beside the pods, in the background: HELPERS+=($!)
	[ -z "${HELPERS:-}" ] || kill "${HELPERS[@]}" 2>/dev/null || true
	resolver_stop
	for pod in $(ip netns list | awk '{print $1}'); do
		ip netns pids "$pod" | xargs -r kill -KILL 2>/dev/null || true
		pod_del "$pod" >/dev/null 2>&1 || true
		ip netns del "$pod"
	done
	pkill -KILL -x wireguard-go || true
	umount "$(readlink -f /etc/resolv.conf)" 2>/dev/null || true
	if [ -n "${BATS_ERROR_STATUS:-}" ] && [ -s "$NODE/resolver.log" ]; then
		sed 's/^/# resolver: /' "$NODE/resolver.log" | tail -20
	fi
}

# plugin NAME COMMAND CONFIG: one execution of a plugin, with the CNI variables of the environment. Output: $output, status: $status.
plugin() {
	run --separate-stderr env CNI_COMMAND="$2" CNI_PATH="$CNI_PATH" \
		CNI_CONTAINERID="${CNI_CONTAINERID-pod}" CNI_NETNS="${CNI_NETNS-/run/netns/pod}" \
		CNI_IFNAME="${CNI_IFNAME-eth0}" CNI_ARGS="${CNI_ARGS-}" "$CNI_PATH/$1" <<<"$3"
}

# config TYPE [KEYS]: a plugin's configuration with more keys.
config() {
	local transport=
	[ "$1" != railway-mesh ] || transport=",\"transport\":\"$TRANSPORT\""
	echo "{\"cniVersion\":\"${CNI_VERSION:-1.0.0}\",\"name\":\"railway\",\"type\":\"$1\"$transport${2:+,$2}}"
}

# expect_error CODE PATTERN: exactly one CNI error on standard output, with this code and a message that matches.
expect_error() {
	[ "$status" -ne 0 ] || { echo "succeeded: $output"; return 1; }
	[ "$(jq -s length <<<"$output")" = 1 ] || { echo "not one object: $output"; return 1; }
	[ "$(jq -r .code <<<"$output")" = "$1" ] || { echo "not code $1: $output"; return 1; }
	jq -r .msg <<<"$output" | grep -qE -- "$2" || { echo "message does not say $2: $output"; return 1; }
	[ -n "$(jq -r '.cniVersion // empty' <<<"$output")" ] || { echo "no cniVersion: $output"; return 1; }
}

# refute COMMAND...: fails where the command succeeds (a bare ! fails no test).
refute() {
	if "$@"; then
		echo "should have failed: $*"
		return 1
	fi
}

# record CONTAINER [NETWORK]: whether the node knows an attachment of it.
record() {
	CNI_CONTAINERID=$1 CNI_NETNS=/run/netns/none plugin railway-ipam CHECK \
		"$(config railway-ipam | jq --arg name "${2:-railway}" '.cniVersion = "1.0.0" | .name = $name')"
	[ "$status" = 0 ]
}
