#!/usr/bin/env bats
# What carries packets between nodes: families of addresses, ports behind firewalls, endpoints.
bats_require_minimum_version 1.5.0
load nodes

setup() {
	network_start
	ETCD_ADDRESS_V6=fd99:9:1::1
	ip -6 addr add $ETCD_ADDRESS_V6/128 dev lo nodad
	ETCD_URL_V4=$ETCD_URL ETCD_URL_V6=http://[$ETCD_ADDRESS_V6]:2379
}

teardown() {
	cluster_end
	ip addr del $ETCD_ADDRESS_V6/128 dev lo 2>/dev/null || true
}

# The endpoints of a pod's peers that are on other nodes.
endpoints() { # NODE POD
	pod_wg "$1" "$2" show endpoints | awk '{print $2}' | grep -v '^127\.' | sort
}

@test "an underlay of IPv6 alone" {
	ETCD_URL=$ETCD_URL_V6
	etcd_start
	for node in a b; do FAMILIES=6 node_start $node; done
	add a one production api
	add b two production web
	talks b two "$(address_of a one)"
	all_talk production
	wait_until 10 agree
	[[ $(endpoints a one) == "[fd99:9::"*"]:"* ]]
	# No packet of theirs was of IPv4, which the nodes do not even have.
	[ -z "$(on a ip -4 addr show dev eth0)" ]
}

@test "a mixed underlay: each pair of nodes in a family that both have" {
	etcd_start --listen-client-urls "$ETCD_URL_V4,$ETCD_URL_V6"
	FAMILIES=46 node_start both
	FAMILIES=4 node_start four
	ETCD_URL=$ETCD_URL_V6 FAMILIES=6 node_start six
	ETCD_URL=$ETCD_URL_V4
	add both one production api
	add four two production web
	add six three production db
	wait_until 10 agree
	for pair in "four two" "six three"; do
		# shellcheck disable=SC2086
		talks $pair "$(address_of both one)"
		talks both one "$(address_of $pair)"
	done
	[[ $(endpoints four two) == *10.9.0.*:* ]]
	[[ $(endpoints six three) == *"[fd99:9::"*"]:"* ]]
}

@test "listenPorts: nodes behind firewalls that let nothing in but these" {
	etcd_start
	for node in a b; do
		node_start $node '"listenPorts": [51820, "51830-51833"]'
		on $node nft -f - <<-'EOF2'
			table inet firewall {
				chain input {
					type filter hook input priority 0; policy drop;
					iif "lo" accept
					tcp sport 2379 accept
					udp dport { 51820, 51830-51833 } accept
					icmpv6 type { nd-neighbor-solicit, nd-neighbor-advert } accept
					meta l4proto udp counter name refused
				}
				counter refused { }
			}
		EOF2
	done
	for i in 1 2 3; do
		add a "one$i" production api
		add b "two$i" production web
	done
	all_talk production
	wait_until 10 agree
	for node in a b; do
		[ "$(on $node nft -j list counters | jq '[.nftables[].counter | select(.) | .packets] | add')" = 0 ]
	done
	for line in "${PODS[@]}"; do
		read -r node pod _ <<<"$line"
		[[ $(pod_wg "$node" "$pod" show listen-port) =~ ^(51820|5183[0-3])$ ]]
	done
	# They are as many as there may be pods.
	add a one4 production api
	add a one5 production api
	run on a pod_add one6 production api
	[ "$status" != 0 ]
	[[ $output == *"all 5 ports of listenPorts are taken"* ]]
}

@test "an endpoint with a fresh handshake is not rewritten by what its node publishes" {
	etcd_start
	node_start a
	node_start b
	add a one production api
	add b two production web
	talks a one "$(address_of b two)"
	before=$(endpoints a one)
	meshd_kill b TERM
	node_config b '"endpoint": "10.9.0.250"'
	meshd_start b
	wait_until 20 eval 'etcdctl_ get --prefix railway/1/in | grep -q 10.9.0.250'
	# A pod that comes afterwards is given the new one (and learns no other, for the peer is silent): so it has come to this node.
	carrier=$(carrier b two)
	kill -STOP "$carrier"
	add a three production api
	wait_until 10 eval 'endpoints a three | grep -q 10.9.0.250'
	kill -CONT "$carrier"
	[ "$(endpoints a one)" = "$before" ]
	talks a one "$(address_of b two)"
}
