#!/usr/bin/env bats
# Nodes with pods: names and packets across nodes, from the moment ADD returns.
bats_require_minimum_version 1.5.0

setup() {
	. "$BATS_TEST_DIRNAME/nodes.bash"
	network_start
	etcd_start
}

teardown() {
	[ -z "${BATS_ERROR_STATUS:-}" ] || cluster_logs
	cluster_stop
}

@test "three nodes with pods: each reaches the others by name" {
	for node in a b c; do node_start $node; done
	on a pod_add one production api >/dev/null
	on b pod_add two production api >/dev/null
	on c pod_add three production web >/dev/null
	one=$(on a pod_address one) two=$(on b pod_address two) three=$(on c pod_address three)
	[ "$(resolves c three api)" = "$(printf '%s\n' "$one" "$two" | sort)" ]
	talks c three "$one"
	talks c three "$two"
	wait_until 5 test "$(resolves a one web)" = "$three"
	talks a one "$three"
	talks b two "$one"
	on b pod_del two
	wait_until 5 eval '[ "$(resolves c three api)" = "$one" ]'
	[ "$(keys_in in | grep -c members/)" = 2 ]
}
