#!/usr/bin/env bats
# Behind a public network: bridge, host-local and portmap give a pod its public address and its published port, and the suite's
# plugins come after them.
bats_require_minimum_version 1.5.0
load common

# public_conflist FILE RANGES ROUTES [PLUGINS]: a public network as operators have it, and what comes behind it.
public_conflist() {
	cat >"$1" <<-EOF
		{ "cniVersion": "1.0.0", "name": "railway", "plugins": [
		  { "type": "bridge", "bridge": "br-public", "isGateway": true, "ipMasq": true, "hairpinMode": true,
		    "ipam": { "type": "host-local", "dataDir": "$NODE/host-local", "ranges": [$2], "routes": [$3] } },
		  { "type": "portmap", "snat": true, "capabilities": { "portMappings": true } }${4:+, $4} ] }
	EOF
}

SUITE='{ "type": "railway-mesh", "ipam": { "type": "railway-ipam" }, "trustArgs": true }, { "type": "railway-dns" }'
RANGE4='[{ "subnet": "10.88.0.0/24" }]' ROUTE4='{ "dst": "0.0.0.0/0" }'
RANGE6='[{ "subnet": "fd88::/64" }]' ROUTE6='{ "dst": "::/0" }'

# Somebody outside: a netns of its own on a wire to the node's public addresses.
outside() {
	ip netns add outside
	ip link add uplink type veth peer name uplink netns outside
	ip link set uplink up
	ip -n outside link set lo up
	ip -n outside link set uplink up
	ip addr add 203.0.113.1/24 dev uplink
	ip addr add 2001:db8:113::1/64 dev uplink nodad
	ip -n outside addr add 203.0.113.2/24 dev uplink
	ip -n outside addr add 2001:db8:113::2/64 dev uplink nodad
	# Whatever it would like to reach it sends to the node.
	ip -n outside route add default via 203.0.113.1
	ip -n outside -6 route add default via 2001:db8:113::1
}

# serve POD PORT: says over HTTP who it is.
serve() {
	in_pod "$1" python3 "$BATS_TEST_DIRNAME/../demo/replica.py" "$1" "$2" >/dev/null 3>&- 4>&- &
	until in_pod "$1" ss -Hltn "sport = :$2" | grep -q .; do :; done
}

# The program that a gateway runs: what comes to its port goes to api by name.
proxy() { # POD PORT
	in_pod "$1" socat "TCP6-LISTEN:$2,fork,reuseaddr,ipv6only=0" TCP6:api.railway.internal:80 3>&- 4>&- &
	until in_pod "$1" ss -Hltn "sport = :$2" | grep -q .; do :; done
}

from_outside() { # CURL-ARGUMENTS...
	ip netns exec outside curl -sS --max-time 5 --connect-timeout 2 --globoff "$@"
}

gateway() { # RANGES ROUTES URL...: the published port is reached at each URL
	CNI_PATH=$BIN:/usr/lib/cni
	outside
	resolver_start
	# api has no public network.
	pod_add api production api
	serve api 80
	public_conflist "$CONFLIST" "$1" "$2" "$SUITE"
	CAP_ARGS='{"portMappings":[{"hostPort":8080,"containerPort":3000,"protocol":"tcp"}]}' pod_add gateway production gateway
	proxy gateway 3000
	# The public network's own addresses, which nothing is sent from while they are tentative.
	until [ -z "$(ip -6 addr show tentative; ip -n outside -6 addr show tentative; ip -n gateway -6 addr show tentative)" ]; do :; done
	# What the container sees of the platform: a port of its own, and a name.
	[ "$(in_pod gateway curl -sS --max-time 5 http://api.railway.internal/)" = api ]
	local url
	for url in "${@:3}"; do
		[ "$(from_outside "$url")" = api ]
	done
	pod_check gateway
	# No other way in, by the gateway's wire or by any: neither to its private address nor to api's.
	local private own wire
	private=$(pod_address api)
	own=$(pod_address gateway railway0)
	wire=$(pod_address gateway eth0)
	if [ -n "$wire" ]; then
		ip -6 route add "$private" via "$wire"
		ip -6 route add "$own" via "$wire"
	fi
	for url in "http://[$private]/" "http://[$own]:3000/"; do
		run from_outside "$url"
		[ "$status" -ne 0 ]
		# The node itself, the bridge's other end, is no member either.
		run curl -sS --max-time 5 --connect-timeout 1 --globoff "$url"
		[ "$status" -ne 0 ]
	done
	CAP_ARGS='{"portMappings":[{"hostPort":8080,"containerPort":3000,"protocol":"tcp"}]}' pod_del gateway
	run from_outside "$3"
	[ "$status" -ne 0 ]
	node_conflist "$CONFLIST"
	pod_del api
	[ -z "$(leftovers)" ]
}

@test "IPv4: the published port of a gateway is reached from outside, and it proxies to what has no public way in" {
	gateway "$RANGE4" "$ROUTE4" http://203.0.113.1:8080/
}

@test "IPv6: the same" {
	gateway "$RANGE6" "$ROUTE6" 'http://[2001:db8:113::1]:8080/'
}

@test "both: the same, by either" {
	gateway "$RANGE4, $RANGE6" "$ROUTE4, $ROUTE6" http://203.0.113.1:8080/ 'http://[2001:db8:113::1]:8080/'
}

@test "what the plugins before said passes through untouched, but for the interface, nameserver and search domain that were added" {
	resolver_start
	public_conflist "$CONFLIST" "$RANGE4, $RANGE6" "$ROUTE4, $ROUTE6"
	export CAP_ARGS='{"portMappings":[{"hostPort":8080,"containerPort":3000,"protocol":"tcp"}]}'
	ip netns add pod
	public=$(CNI_PATH=$BIN:/usr/lib/cni "$CHAIN" add "$CONFLIST" pod /run/netns/pod)
	# As a bandwidth or tuning plugin might leave it: members that the suite does not know, and a nameserver.
	before=$(jq -c '.dns = {nameservers: ["10.88.0.1"], domain: "example", search: ["a.example"], options: ["ndots:2"]}
		| .interfaces[1].socketPath = "/x" | .routes[0].priority = 7 | .unknown = {a: [1, null]}' <<<"$public")
	plugin railway-mesh ADD "$(config railway-mesh "\"ipam\":{\"type\":\"railway-ipam\"},\"service\":\"api\",\"prevResult\":$before")"
	[ "$status" = 0 ]
	plugin railway-dns ADD "$(config railway-dns "\"prevResult\":$output")"
	[ "$status" = 0 ]
	after=$output
	echo "$before"; echo "$after"
	# The interface comes last, so every index of those before it stays what it was.
	count=$(jq '.interfaces | length' <<<"$before")
	[ "$(jq -r ".interfaces[$count] | [.name, .sandbox] | join(\" \")" <<<"$after")" = "railway0 /run/netns/pod" ]
	[ "$(jq '.interfaces | length' <<<"$after")" = $((count + 1)) ]
	[ "$(jq -c .dns <<<"$after")" = '{"nameservers":["fd12::10"],"domain":"example","search":["railway.internal","a.example"],"options":["ndots:2"]}' ]
	# The nameserver that it had is asked all the same.
	python3 "$BATS_TEST_DIRNAME/../lib/fake_dns.py" 10.88.0.1 53 192.0.2.7 3>&- 4>&- &
	until ss -Hlun 'sport = :53' | grep -q 10.88.0.1; do :; done
	[ "$(ip netns exec pod dig +time=5 +tries=1 @fd12::10 +short A www.example)" = 192.0.2.7 ]
	diff <(jq -S 'del(.dns)' <<<"$before") <(jq -S "del(.dns) | del(.interfaces[$count])" <<<"$after")
	# What is in the pod is what is said: the public interface has what the bridge gave it.
	[ "$(ip -n pod -j addr show dev eth0 scope global | jq -c '[.[].addr_info[] | select(.local) | "\(.local)/\(.prefixlen)"] | sort')" = \
		"$(jq -c '[.ips[].address] | sort' <<<"$public")" ]
	plugin railway-dns DEL "$(config railway-dns)"
	plugin railway-mesh DEL "$(config railway-mesh '"ipam":{"type":"railway-ipam"}')"
	# (Of portmap 1.1.1 with both families CHECK looks for the one's rules in the other.)
	CAP_ARGS={} CNI_PATH=$BIN:/usr/lib/cni "$CHAIN" check "$CONFLIST" pod /run/netns/pod
	CNI_PATH=$BIN:/usr/lib/cni "$CHAIN" del "$CONFLIST" pod /run/netns/pod
}
