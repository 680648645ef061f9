#!/usr/bin/env bats
# The first packet between two pods on different nodes: to the older pod at once after the newer one's ADD returned, and to the newer pod as soon as
# the older one can look it up. WireGuard repeats a lost handshake after 5 s: what is answered within 2 s was not lost.
bats_require_minimum_version 1.5.0
load nodes

setup() {
	network_start
	etcd_start
	node_start a
	node_start b
}

# With wireguard-go each pod costs a process that has to start and to end. `make test-long` takes a hundred.
if [ "$TRANSPORT" = kernel ]; then ROUNDS=${HANDSHAKES:-40}; else ROUNDS=10; fi

is_named() { resolves a one web | grep -qxF "$1"; }

@test "the first packet between two pods on different nodes is answered: every time, from either side" {
	add a one production api
	one=$(address_of a one)
	for i in $(seq $ROUNDS); do
		on b pod_add two production web >/dev/null
		if [ $((i % 2)) = 1 ]; then
			talks b two "$one" 2 || { echo "round $i: the newer pod's first packet got lost"; return 1; }
		else
			two=$(on b pod_address two)
			wait_until 30 is_named "$two"
			talks a one "$two" 2 || { echo "round $i: the older pod's first packet got lost"; return 1; }
		fi
		on b pod_del two
	done
}
