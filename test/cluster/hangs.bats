#!/usr/bin/env bats
# Pods whose WireGuard does not answer.
bats_require_minimum_version 1.5.0
load nodes

@test "pods whose WireGuard hangs: the lease, other environments and other pods do not wait for them" {
	two_nodes
	for i in 1 2; do add a "hangs$i" production api; done
	add a other staging db
	add b three staging db
	wait_until 10 agree
	lease=$(etcdctl_ get --prefix railway/1/alive -w json | jq -c '[.kvs[].create_revision]')
	hung=()
	for i in 1 2; do hung+=("$(carrier a "hangs$i")"); done
	kill -STOP "${hung[@]}"
	# Each member that comes has to be told to those that do not answer, for longer than the lease.
	add b four production web
	end=$(($(date +%s) + LEASE * 2))
	count=0
	while [ "$(date +%s)" -lt $end ]; do
		count=$((count + 1))
		node_joined a
		add b "more$count" staging cache
		wait_until 2 eval '[ "$(resolves a other cache)" = "$(expected staging cache)" ]'
		talks a other "$(address_of b "more$count")"
	done
	# The pod beside them in their environment was told.
	wait_until 2 eval 'resolves a one web | grep -qxF "$(address_of b four)"'
	talks a one "$(address_of b four)"
	add b five production web
	wait_until 4 eval 'resolves a one web | grep -qxF "$(address_of b five)"'
	talks a one "$(address_of b five)"
	grep -q "does not answer: it is asked again" "$WORK/a.meshd.log"
	refute grep -q "taken for dead" "$WORK/a.meshd.log"
	[ "$(etcdctl_ get --prefix railway/1/alive -w json | jq -c '[.kvs[].create_revision]')" = "$lease" ]
	kill -CONT "${hung[@]}"
	wait_until 40 agree
	all_talk production
	steady_stop
}

@test "meshd ends while a pod hangs, and the next one makes it good" {
	two_nodes
	add a hangs production api
	hung=$(carrier a hangs)
	kill -STOP "$hung"
	add b three production web
	meshd_kill a TERM
	kill -CONT "$hung"
	meshd_start a
	wait_until 20 agree
	all_talk production
	steady_stop
}
