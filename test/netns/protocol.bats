#!/usr/bin/env bats
# The CNI protocol to the letter: all verbs, versions and variables of all three plugins; what GC, STATUS and CHECK find and do.
bats_require_minimum_version 1.5.0
load common

@test "the specification's rules, as tables: every verb, version and missing variable, of all three plugins" {
	resolver_start
	ip netns add table
	# With sanitizers a process takes ten times as long to start: every 23rd rule.
	run python3 "$BATS_TEST_DIRNAME/../lib/cni_table.py" "$([ "$VARIANT" = asan ] && echo 23 || echo 1)"
	echo "$output" | tail -40
	[ "$status" = 0 ]
	[ -z "$(leftovers)" ]
}

# ---- GC ----------------------------------------------------------------------------------------------

GC_LIST='[{"containerID":"stays","ifname":"eth0"}]'

gc() { # PLUGIN KEYS...: GC of a plugin, with these keys
	local plugin=$1 ipam=
	shift
	[ "$plugin" != railway-mesh ] || ipam='"ipam":{"type":"railway-ipam"}'
	local IFS=,
	local more="$*"
	CNI_VERSION=1.1.0 plugin "$plugin" GC "$(CNI_VERSION=1.1.0 config "$plugin" "${ipam}${ipam:+${more:+,}}$more")"
}

names() { # POD: what api resolves to in its environment
	in_pod "$1" getent ahostsv6 api.railway.internal | awk '$2 == "STREAM" {print $1}' | sort -u
}

@test "GC: a list under either key counts, one that is missing or null is not an empty one" {
	CNI_VERSION=1.1.0 node_conflist "$CONFLIST"
	resolver_start
	for pod in stays two; do
		pod_add $pod production api
	done
	for plugin in railway-ipam railway-mesh railway-dns; do
		for keys in '' '"cni.dev/valid-attachments":null' '"cni.dev/attachments":null' \
			'"cni.dev/valid-attachments":null,"cni.dev/attachments":null' \
			'"cni.dev/valid-attachments":[],"cni.dev/attachments":[{"containerID":"stays","ifname":"eth0"},{"containerID":"two","ifname":"eth0"}]' \
			'"cni.dev/valid-attachments":[{"containerID":"two","ifname":"eth0"}],"cni.dev/attachments":[{"containerID":"stays","ifname":"eth0"}]'; do
			gc $plugin "$keys"
			[ "$status" = 0 ]
			[ -z "$output" ]
			record stays
			record two
		done
		pod_check stays
		pod_check two
	done
	# The other interface of a container is another attachment.
	gc railway-mesh "\"cni.dev/attachments\":[{\"containerID\":\"stays\",\"ifname\":\"eth0\"},{\"containerID\":\"two\",\"ifname\":\"eth1\"}]"
	[ "$status" = 0 ]
	pod_check stays
	refute record two
	[ "$(names stays)" = "$(pod_address stays)" ]
}

@test "GC of each plugin removes all of what is stale, where no DEL ever came, and nothing else" {
	CNI_VERSION=1.1.0 node_conflist "$CONFLIST"
	resolver_start
	for plugin in railway-ipam railway-mesh railway-dns; do
		pod_add stays production api
		pod_add gone production api     # its netns goes without a DEL
		pod_add lives production api    # its netns and processes live on
		pod_add other staging api       # alone in its environment
		sed 's/"name": "railway"/"name": "second"/' "$CONFLIST" >"$NODE/second.conflist"
		CONFLIST=$NODE/second.conflist pod_add foreign production api
		ip netns del gone
		gc $plugin "\"cni.dev/valid-attachments\":$GC_LIST"
		[ "$status" = 0 ] || { echo "$output"; return 1; }
		for pod in gone lives other; do
			refute record $pod
		done
		# What stays has each other as its only peer, and the names are theirs.
		pod_check stays
		CONFLIST=$NODE/second.conflist pod_check foreign
		[ "$(names stays)" = "$({ pod_address stays; pod_address foreign; } | sort)" ]
		refute ip -n lives link show eth0
		refute grep -q 21057 <<<"$(ip -n lives -6 rule show)"
		[ -z "$(ip -n lives -6 addr show dev lo to fd12::10)" ]
		[ -z "$(ip netns exec lives ss -Hlntu)" ]
		# A second GC has nothing to do, and a DEL that comes late succeeds.
		gc $plugin "\"cni.dev/valid-attachments\":$GC_LIST"
		[ "$status" = 0 ]
		pod_del lives
		pod_del gone
		gc $plugin '"cni.dev/valid-attachments":[]'
		[ "$status" = 0 ]
		refute record stays
		CONFLIST=$NODE/second.conflist pod_check foreign
		CONFLIST=$NODE/second.conflist pod_del foreign
		[ -z "$(leftovers)" ]
		for pod in stays lives other foreign; do
			ip netns del $pod
		done
	done
}

@test "GC goes on after a failure, and names what failed" {
	CNI_VERSION=1.1.0 node_conflist "$CONFLIST"
	resolver_start
	pod_add a-one production api
	lock=$(ls -d /run/railway/locks/*)
	pod_add b-one staging api
	pod_add c-one preview api
	rm "$lock"
	mkdir "$lock"
	gc railway-mesh '"cni.dev/valid-attachments":[]'
	expect_error 5 "eth0 of container 'a-one'.*$lock"
	refute grep -q 'b-one\|c-one' <<<"$output"
	refute record b-one
	refute record c-one
	rmdir "$lock"
	gc railway-mesh '"cni.dev/valid-attachments":[]'
	[ "$status" = 0 ]
	refute record a-one
	[ -z "$(leftovers)" ]
}

# ---- STATUS ------------------------------------------------------------------------------------------

status_of() { # PLUGIN [KEYS]
	local ipam=
	[ "$1" != railway-mesh ] || ipam='"ipam":{"type":"railway-ipam"}'
	CNI_VERSION=1.1.0 plugin "$1" STATUS "$(CNI_VERSION=1.1.0 config "$1" "${ipam}${ipam:+${2:+,}}${2:-}")"
}

@test "STATUS: 50 where no ADD can be served, by each plugin that would serve it, and delegated" {
	resolver_start
	for plugin in railway-ipam railway-mesh railway-dns; do
		status_of $plugin
		[ "$status" = 0 ]
		[ -z "$output" ]
		status_of $plugin '"runDirectory":"/proc/railway"'
		expect_error 50 '/proc/railway'
		status_of $plugin '"stateDirectory":"/proc/railway"'
		expect_error 50 '/proc/railway'
	done
	# What is wrong with the configuration is said as such: it does not pass.
	TRANSPORT=pigeon status_of railway-mesh
	expect_error 7 pigeon
	# Nothing that could carry packets.
	run --separate-stderr unshare --mount --propagation private sh -c '
		mount -t tmpfs tmpfs /dev/net
		CNI_COMMAND=STATUS CNI_PATH='"$CNI_PATH"' exec '"$BIN"'/railway-mesh' <<-EOF
		$(CNI_VERSION=1.1.0 TRANSPORT=userspace config railway-mesh)
	EOF
	expect_error 50 'tun|wireguard-go'
}

@test "STATUS: 50 where the pool has no /48 for a new environment, and good where the network's own is there" {
	ip netns add pod
	resolver_start
	pool='"ipam":{"type":"railway-ipam"},"pool":"fd12:3456:7890::/48"'
	for plugin in railway-ipam railway-mesh; do
		status_of $plugin '"pool":"fd12:3456:7890::/48"'
		[ "$status" = 0 ]
	done
	# Looking makes nothing.
	plugin railway-mesh ADD "$(config railway-mesh "$pool,\"environment\":\"production\",\"service\":\"api\"")"
	[ "$status" = 0 ]
	for plugin in railway-ipam railway-mesh; do
		status_of $plugin '"pool":"fd12:3456:7890::/48"'
		expect_error 50 'fd12:3456:7890::/48.*larger pool'
		status_of $plugin '"pool":"fd12:3456:7890::/48","environment":"production"'
		[ "$status" = 0 ]
		status_of $plugin '"pool":"fd12:3456:7890::/48","environment":"staging"'
		expect_error 50 staging
		status_of $plugin '"pool":"fd12:3456:7890::/48","enabled":false'
		[ "$status" = 0 ]
	done
}

@test "STATUS: 51 where the resolver is gone or hangs; a network that is switched off needs none" {
	status_of railway-dns
	expect_error 51 railway-resolverd
	status_of railway-dns '"enabled":false'
	[ "$status" = 0 ]
	resolver_start
	status_of railway-dns
	[ "$status" = 0 ]
	kill -STOP "$RESOLVER"
	status_of railway-dns
	expect_error 51 'railway-resolverd did not answer'
	kill -CONT "$RESOLVER"
}

@test "STATUS and CHECK wait for a resolver that is being restarted" {
	resolver_start
	pod_add one production api
	for command in status check; do
		resolver_stop
		case $command in
		status) CNI_VERSION=1.1.0 node_conflist "$CONFLIST"; "$CHAIN" status "$CONFLIST" >"$NODE/answer" 2>&1 3>&- & ;;
		check) CNI_VERSION=1.0.0 node_conflist "$CONFLIST"; "$CHAIN" check "$CONFLIST" one /run/netns/one >"$NODE/answer" 2>&1 3>&- & ;;
		esac
		asking=$!
		until grep -qs nanosleep "/proc/$(pgrep -P $asking -x railway-dns || echo none)/wchan"; do
			kill -0 $asking
		done
		resolver_start
		wait $asking || { cat "$NODE/answer"; return 1; }
	done
}

# ---- CHECK -------------------------------------------------------------------------------------------

@test "CHECK right after ADD and much later, and what each plugin of the chain names as missing" {
	sed -i 's/"name": "railway"/"name": "test"/' "$CONFLIST" # resolver_tool's network
	resolver_start
	pod_add one production api
	pod_check one
	pod_add two production web
	address=$(pod_address one)
	broken() { # PATTERN: CHECK of the chain fails with it
		run --separate-stderr pod_check one
		expect_error 102 "$1"
	}
	tool() { "$TOOLS/resolver_tool" "$@"; }

	# The name, in the store that the resolver answers from; and the resolver's sockets in the pod.
	tool named /var/lib/railway /run/railway one 0
	broken 'one\.api\.railway\.internal is gone'
	tool named /var/lib/railway /run/railway one 1
	pod_check one
	tool ask /run/railway/resolver.sock remove one
	[ -z "$(ip netns exec one ss -Hlun 'sport = :53')" ]
	broken 'not registered with railway-resolverd'
	tool ask /run/railway/resolver.sock add one /run/netns/one
	pod_check one

	ip -n one addr del fd12::10/128 dev lo
	broken 'fd12::10'
	ip -n one addr add fd12::10/128 dev lo
	pod_check one
	# A rule, and the route: what keeps the pod's traffic inside.
	rule=$(ip -n one -6 rule show | sed -n 's/^\([0-9]*\):.*to fd12::10 prohibit.*/\1/p')
	ip -n one -6 rule del pref "$rule" to fd12::10 prohibit
	broken 'rule'
	ip -n one -6 rule add pref "$rule" to fd12::10 prohibit protocol static
	pod_check one
	ip -n one -6 route flush table 21057
	broken 'route'
	ip -n one addr del "$address/64" dev eth0
	broken "$address"

	# Another interface under the name; none; and no attachment at all.
	ip -n one link set eth0 down
	ip -n one link set eth0 name taken
	broken "interface 'eth0' is gone"
	ip -n one link add eth0 type veth peer name other
	broken "interface 'eth0' is not the one"
	ip -n one link del eth0
	pod_del one
	broken "container 'one'"
}

@test "CHECK in another netns than the attachment's, and with a prevResult of somebody else" {
	resolver_start
	pod_add one production api
	pod_add two production api
	CNI_CONTAINERID=one CNI_NETNS=/run/netns/two plugin railway-mesh CHECK "$(config railway-mesh '"ipam":{"type":"railway-ipam"}')"
	expect_error 102 '/run/netns/two'
	CNI_CONTAINERID=one CNI_NETNS=/run/netns/one plugin railway-ipam CHECK "$(config railway-ipam \
		"\"prevResult\":{\"cniVersion\":\"1.0.0\",\"ips\":[{\"address\":\"$(pod_address two)/64\"}]}")"
	expect_error 102 "$(pod_address one)"
}

# ---- CRI-O -------------------------------------------------------------------------------------------

@test "CRI-O's order: STATUS until it is good, GC, ADD and CHECK at once, and GC without pods" {
	# Its library takes 1.1.0 from cniVersions.
	jq 'del(.cniVersions) | .cniVersion = "1.1.0"' "$BATS_TEST_DIRNAME/../../deploy/crio/10-railway.conflist" >"$CONFLIST"
	crio() { # COMMAND POD
		CNI_ARGS="IgnoreUnknown=1;K8S_POD_NAMESPACE=demo;K8S_POD_NAME=$2;K8S_POD_INFRA_CONTAINER_ID=$2;K8S_POD_UID=uid-$2" \
			CAP_ARGS='{"cgroupPath":"/crio","io.kubernetes.cri.pod-annotations":{"example/a":"b"}}' \
			"$CHAIN" "$1" "$CONFLIST" "$2" "/run/netns/$2"
	}
	run "$CHAIN" status "$CONFLIST"
	[ "$(jq -r .code <<<"$output")" = 51 ]
	resolver_start
	"$CHAIN" status "$CONFLIST"
	"$CHAIN" gc "$CONFLIST"
	for pod in web-0 api-0; do
		ip netns add $pod
		[ "$(crio add $pod | jq -r .cniVersion)" = 1.1.0 ]
		crio check $pod
	done
	# It was restarted, and knows one of them.
	"$CHAIN" gc "$CONFLIST" web-0/eth0
	crio check web-0
	refute record api-0
	crio del web-0
	# No pods: the list is null.
	for plugin in railway-ipam railway-mesh railway-dns; do
		gc $plugin '"cni.dev/valid-attachments":null' '"cni.dev/attachments":null'
		[ "$status" = 0 ]
	done
	[ -z "$(leftovers)" ]
}
