#!/usr/bin/env bats
# The first packet between two pods on different nodes, sent at once after the second ADD returned, in either direction. WireGuard repeats a lost
# handshake after 5 s: what is answered within a second was not lost. On the kernel's WireGuard where it is there (HANDSHAKES=100 in the virtual
# machine), else on wireguard-go.
bats_require_minimum_version 1.5.0

setup() {
	. "$BATS_TEST_DIRNAME/nodes.bash"
	network_start
	etcd_start
	node_start a
	node_start b
}

teardown() {
	[ -z "${BATS_ERROR_STATUS:-}" ] || cluster_logs
	cluster_stop
}

@test "the newer pod's first packet reaches the older one: every time" {
	add a one production api
	one=$(address_of a one)
	for i in $(seq "${HANDSHAKES:-10}"); do
		on b pod_add two production web >/dev/null
		talks b two "$one" "${PATIENCE:-3}"
		on b pod_del two
	done
}
