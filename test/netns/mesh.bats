#!/usr/bin/env bats
# railway-mesh by itself: wiring, isolation, and taking away.
bats_require_minimum_version 1.5.0
load common

keys() { # SERVICE [ENVIRONMENT]
	echo "\"ipam\":{\"type\":\"railway-ipam\"},\"service\":\"$1\",\"environment\":\"${2:-production}\""
}

mesh_add() { # POD SERVICE [ENVIRONMENT]
	[ -e "/run/netns/$1" ] || ip netns add "$1"
	CNI_CONTAINERID=$1 CNI_NETNS=/run/netns/$1 plugin railway-mesh ADD "$(config railway-mesh "$(keys "$2" "${3:-}")")"
	[ "$status" = 0 ] || { echo "$output $stderr"; return 1; }
}

mesh() { # COMMAND POD SERVICE
	CNI_CONTAINERID=$2 CNI_NETNS=${4-/run/netns/$2} plugin railway-mesh "$1" "$(config railway-mesh "$(keys "${3:-api}")")"
}

# receive POD ADDRESS PORT: a UDP socket that writes what it gets to $NODE/received.POD
receive() {
	ip netns exec "$1" socat -u "UDP6-RECV:$3,bind=[$2],ipv6only=1" "CREATE:$NODE/received.$1" 3>&- &
	until ip netns exec "$1" ss -Hlun "sport = :$3" | grep -q .; do :; done
}

@test "both sides are wired when ADD returns: every pod has exactly the other members as peers" {
	for pod in one two three; do
		mesh_add $pod api
	done
	mesh_add other api staging
	for pod in one two three; do
		[ "$(peers $pod)" = "$(members_but $pod one two three)" ]
	done
	mesh DEL two
	[ "$status" = 0 ]
	for pod in one three; do
		[ "$(peers $pod)" = "$(members_but $pod one three)" ]
	done
}

@test "the pod's interface: address to be bound at once, MTU, lo up, IPv6 on where the runtime switched it off" {
	ip netns add pod
	ip netns exec pod sysctl -qw net.ipv6.conf.all.disable_ipv6=1 net.ipv6.conf.default.disable_ipv6=1
	mesh_add pod api
	address=$(pod_address pod)
	ip netns exec pod timeout 1 socat -u "UDP6-RECV:9,bind=[$address]" STDOUT 3>&- &
	server=$!
	until ip netns exec pod ss -Hlun "sport = :9" | grep -q "$address"; do
		kill -0 $server
	done
	kill $server
	[ "$(ip -n pod -j link show eth0 | jq '.[0].mtu')" = 1420 ]
	ip -n pod link show lo | grep -q 'LOOPBACK,UP'
	refute grep -qE 'tentative|fe80' <(ip -n pod -6 addr show dev eth0)
}

@test "another interface of that name is refused and left alone, and nothing stays" {
	ip netns add pod
	ip -n pod link add eth0 type veth peer name other
	mesh ADD pod api
	expect_error 100 "interface 'eth0' is in the pod's netns already"
	ip -n pod -d link show eth0 | grep -q veth
	[ -z "$(leftovers)" ]
	ip -n pod link del eth0
	mesh ADD pod api
	[ "$status" = 0 ]
}

@test "a second private network in one netns is refused, of either environment, and the first stays as it is" {
	mesh_add one api
	ip -n one -6 rule >"$NODE/rules"
	ip -n one -6 route show table 21057 >"$NODE/routes"
	for environment in production staging; do
		CNI_CONTAINERID=second CNI_NETNS=/run/netns/one plugin railway-mesh ADD \
			"$(config railway-mesh "$(keys web $environment),\"interface\":\"railway1\"")"
		expect_error 7 'the rules of a private network already: one netns has one'
		CNI_CONTAINERID=second CNI_NETNS=/run/netns/one plugin railway-mesh DEL "$(config railway-mesh "$(keys web $environment)")"
		[ "$status" = 0 ]
	done
	ip -n one -6 rule | diff "$NODE/rules" -
	ip -n one -6 route show table 21057 | diff "$NODE/routes" -
	mesh CHECK one api
	[ "$status" = 0 ]
	mesh DEL one api
	[ "$status" = 0 ]
	CNI_CONTAINERID=second CNI_NETNS=/run/netns/one plugin railway-mesh ADD "$(config railway-mesh "$(keys web staging)")"
	[ "$status" = 0 ]
}

neighbours() { # pod with eth0 (10.1.0.1, fd99::1) and neighbour beside it on one wire
	ip netns add pod
	ip netns add neighbour
	ip -n pod link add eth0 type veth peer name eth0 netns neighbour
	for ns in pod neighbour; do
		ip -n $ns link set lo up
		ip netns exec $ns sysctl -qw net.ipv6.conf.eth0.accept_dad=0
		ip -n $ns link set eth0 up
	done
	ip -n pod addr add fd99::1/64 dev eth0 nodad
	ip -n neighbour addr add fd99::2/64 dev eth0 nodad
	ip -n pod route add default via fd99::2
	CNI_CONTAINERID=pod CNI_NETNS=/run/netns/pod plugin railway-mesh ADD \
		"$(config railway-mesh "$(keys api),\"interface\":\"railway0\"")"
	[ "$status" = 0 ]
	private=$(pod_address pod railway0)
	ip -n neighbour route add "$private/128" via fd99::1
	ip -n neighbour route add fd12::10/128 via fd99::1
}

@test "a neighbour on eth0's wire reaches the pod's eth0 address, and neither its private one nor fd12::10" {
	neighbours
	ip -n pod addr add fd12::10/128 dev lo
	ip netns exec pod socat -u UDP6-RECV:9 "CREATE:$NODE/received" 3>&- &
	until ip netns exec pod ss -Hlun "sport = :9" | grep -q .; do :; done
	for address in "$private" fd12::10 fd99::1; do
		echo "to $address" | ip netns exec neighbour socat -u - "UDP6-SENDTO:[$address]:9"
	done
	until grep -q 'to fd99::1' "$NODE/received"; do :; done
	[ "$(cat "$NODE/received")" = "to fd99::1" ]
	run ip netns exec neighbour timeout 1 socat - "TCP6:[$private]:9"
	[ "$status" -ne 0 ]
}

@test "a neighbour on eth0's wire cannot pass itself off as a member, or as the resolver" {
	neighbours
	mesh_add other api
	member=$(pod_address other)
	for address in "$member" fd12::10; do
		ip -n neighbour addr add "$address/128" dev lo nodad
	done
	ip netns exec pod socat -u UDP6-RECV:9 "CREATE:$NODE/received" 3>&- &
	until ip netns exec pod ss -Hlun "sport = :9" | grep -q .; do :; done
	for source in "$member" fd12::10 fd99::2; do
		echo "from $source" | ip netns exec neighbour socat -u - "UDP6-SENDTO:[fd99::1]:9,bind=[$source]"
	done
	until grep -q 'from fd99::2' "$NODE/received"; do :; done
	[ "$(cat "$NODE/received")" = "from fd99::2" ]
}

@test "with the mesh interface down or gone, or lo down, nothing for the /48 leaves by eth0" {
	neighbours
	mesh_add other api
	peer=$(pod_address other)
	# The neighbour, the pod's default router, counts what comes for the /48.
	ip netns exec neighbour nft -f - <<-EOF
		table ip6 count {
			counter leaked {}
			counter seen {}
			chain leaks {
				type filter hook prerouting priority 0
				ip6 daddr fd00::/8 ip6 daddr != fd99::/64 counter name leaked
			}
			chain datagrams {
				type filter hook prerouting priority 1
				udp dport 9 counter name seen
			}
		}
	EOF
	attempt() {
		run bash -c "echo x | ip netns exec pod timeout 2 socat -u - 'UDP6-SENDTO:[$peer]:9' 2>&1"
	}
	ip -n pod link set railway0 down
	attempt
	[[ $output == *"ermission denied"* || $output == *"unreachable"* ]]
	ip -n pod link set lo down
	attempt
	ip -n pod link set lo up
	ip -n pod link del railway0
	attempt
	[[ $output == *"ermission denied"* || $output == *"unreachable"* ]]
	# What may leave does leave: the counter counts.
	echo x | ip netns exec pod socat -u - 'UDP6-SENDTO:[fd99::2]:9'
	until ip netns exec neighbour nft -j list counter ip6 count seen | jq -e '.nftables[] | select(.counter) | .counter.packets == 1'; do :; done
	[ "$(ip netns exec neighbour nft -j list counter ip6 count leaked | jq '.nftables[] | select(.counter) | .counter.packets')" = 0 ]
}

@test "DEL: twice, without args and prevResult, without a netns, in a netns that is gone, of what never was" {
	mesh_add one api
	mesh DEL one
	[ "$status" = 0 ]
	mesh DEL one
	[ "$status" = 0 ]
	mesh DEL never
	[ "$status" = 0 ]
	mesh_add two api
	CNI_CONTAINERID=two CNI_NETNS= plugin railway-mesh DEL "$(config railway-mesh '"ipam":{"type":"railway-ipam"}')"
	[ "$status" = 0 ]
	refute ip -n two link show eth0
	mesh_add three api
	ip netns del three
	mesh DEL three
	[ "$status" = 0 ]
	mesh_add four api
	ip -n four link del eth0
	mesh DEL four
	[ "$status" = 0 ]
	[ -z "$(leftovers)" ]
}

@test "DEL gives the netns its rules back: the same container can be added there again" {
	ip netns add pod
	before=$(ip -n pod -6 rule)
	mesh_add pod api
	[ "$(ip -n pod -6 rule)" != "$before" ]
	mesh DEL pod
	[ "$(ip -n pod -6 rule)" = "$before" ]
	mesh_add pod api
}

@test "a failed ADD is undone whole: no interface, no peer, no lease, and the next ADD succeeds" {
	mesh_add one api
	ip netns add pod
	# Every port of the list is taken.
	socat -u UDP-RECV:40001 /dev/null 3>&- &
	until ss -Hlun 'sport = :40001' | grep -q .; do :; done
	CNI_CONTAINERID=pod CNI_NETNS=/run/netns/pod plugin railway-mesh ADD \
		"$(config railway-mesh "$(keys api),\"listenPorts\":[40001]")"
	[ "$status" -ne 0 ]
	[ "$(ip -n pod -o link | wc -l)" = 1 ]
	[ -z "$(peers one)" ]
	plugin railway-ipam CHECK "$(config railway-ipam '"service":"api"')"
	expect_error 102 'no lease'
	mesh_add pod api
	[ "$(peers one)" = "$(pod_address pod)/128" ]
}

@test "a sibling whose netns went without DEL is buried by the next ADD, its address given to nobody" {
	mesh_add one api
	mesh_add two api
	gone=$(pod_address two)
	ip netns del two
	mesh_add three api
	[ "$(peers one)" = "$(pod_address three)/128" ]
	[ "$(pod_address three)" != "$gone" ]
}

@test "what carries the packets dies: CHECK fails and the next operation takes it out of its siblings" {
	mesh_add one api
	mesh_add two api
	kill_carrier two
	mesh CHECK two
	expect_error 102 'interface|process|packets'
	mesh_add three api
	[ "$(peers one)" = "$(pod_address three)/128" ]
	mesh CHECK two
	expect_error 102 'member'
	mesh DEL two
	[ "$status" = 0 ]
}

@test "CHECK finds what is missing and says which" {
	mesh_add one api
	mesh_add two api
	mesh CHECK one
	[ "$status" = 0 ]
	address=$(pod_address one)
	key=$(pod_wg one show peers)
	pod_wg one set peer "$key" remove
	mesh CHECK one
	expect_error 102 "peer .* is missing"
	# The next change of the environment's peers does not mend a live device that lost one; a repair does.
	ip -n one -6 route flush table 21057
	mesh CHECK one
	expect_error 102 'route'
	ip -n one addr del "$address/64" dev eth0
	mesh CHECK one
	expect_error 102 "$address"
	ip -n one link set eth0 down
	mesh CHECK one
	expect_error 102 'down'
	ip -n one link del eth0
	mesh CHECK one
	expect_error 102 "'eth0' is gone"
}

@test "a holder of the environment's lock that died leaves a mark, and the next one repairs" {
	mesh_add one api
	mesh_add two api
	key=$(pod_wg one show peers)
	pod_wg one set peer "$key" remove
	printf w >"$(ls /run/railway/locks/*)"
	mesh_add three api
	[ "$(peers one)" = "$(members_but one one two three)" ]
}

@test "keys are never written: not in the stores, not in an argument, not in a variable" {
	mesh_add one api
	private=$(pod_wg one show private-key)
	hex=$(base64 -d <<<"$private" | od -An -tx1 | tr -d ' \n')
	holds() { # KEY FILE: its 32 bytes as they are
		python3 -c 'import base64, sys; sys.exit(base64.b64decode(sys.argv[1]) not in open(sys.argv[2], "rb").read())' "$@"
	}
	# The search finds what is there: the public key.
	holds "$(pod_wg one show public-key)" /run/railway/live/data.mdb
	while read -r file; do
		refute grep -qaF -e "$private" -e "$hex" "$file"
		refute holds "$private" "$file"
	done < <(find /run/railway /var/lib/railway -type f
		pgrep -x wireguard-go | xargs -rI% printf '%s\n' /proc/%/cmdline /proc/%/environ)
}

@test "forty pods of one environment: all are wired, one's death is noticed by the next operation and mended by its ADD" {
	count=40
	# Emulated, starting forty times forty processes takes minutes.
	[ "${EMULATED:-}" != 1 ] || count=10
	for n in $(seq "$count"); do
		mesh_add "pod-$n" api
		addresses[n]=$(pod_address "pod-$n")
	done
	[ "$(devices)" = "$count" ]
	all() { printf '%s/128\n' "${addresses[@]}" | sort; }
	for n in $(seq "$count"); do
		[ "$(peers "pod-$n")" = "$(all | grep -vxF "${addresses[n]}/128")" ]
	done
	kill_carrier pod-7
	mesh CHECK pod-7
	expect_error 102 'interface|process|packets'
	mesh_add late web
	gone=${addresses[7]}
	unset 'addresses[7]'
	addresses[0]=$(pod_address late)
	for n in 1 $((count / 2)) "$count"; do
		[ "$(peers "pod-$n")" = "$(all | grep -vxF "${addresses[n]}/128")" ]
		refute grep -qF "$gone/" <(peers "pod-$n")
	done
	# The same container comes again, without a DEL between.
	mesh_add pod-7 api
	addresses[7]=$(pod_address pod-7)
	for n in 1 7 "$count"; do
		[ "$(peers "pod-$n")" = "$(all | grep -vxF "${addresses[n]}/128")" ]
	done
	[ "$(devices)" = $((count + 1)) ]
}

@test "a node that has an interface of the pod's name itself: both stay what they are" {
	ip link add eth0 type veth peer name pair
	mesh_add one api
	mesh_add two api
	ip -n one -o link show eth0 | grep -q POINTOPOINT
	ip netns exec one ping -6 -q -c 1 -W 5 "$(pod_address two)" >/dev/null
	ip -d link show eth0 | grep -q veth
	# What has the name in the pod's netns is another's, and stays.
	ip -n one link add railway0 type veth peer name pair
	CNI_COMMAND=ADD CNI_CONTAINERID=second CNI_NETNS=/run/netns/one CNI_IFNAME=railway0 plugin railway-mesh ADD \
		"$(config railway-mesh '"ipam":{"type":"railway-ipam"},"service":"api","environment":"production"')"
	[ "$status" -ne 0 ]
	ip -n one -d link show railway0 | grep -q veth
	mesh DEL one
	mesh DEL two
	ip -d link show eth0 | grep -q veth
	[ -z "$(leftovers)" ]
}
