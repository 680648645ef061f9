#!/usr/bin/env bats
# Nodes come and go: names and packets across nodes, from the moment ADD returns.
bats_require_minimum_version 1.5.0
load nodes

setup() {
	network_start
	etcd_start
}

@test "three nodes with pods: each reaches the others by name, at the first packet" {
	for node in a b c; do node_start $node; done
	add a one production api
	add b two production api
	talks b two "$(address_of a one)"
	add c three production web
	talks c three "$(address_of a one)"
	add a other staging api
	all_talk production
	wait_until 10 agree
	refute talks a other "$(address_of b two)" 1
	del b two
	wait_until 10 agree
}

@test "both sides of a pair that has just been made talk at once" {
	node_start a
	node_start b
	add a one production api
	for i in 1 2 3 4 5; do
		add b "two$i" production web
		# The older side asks first: it has learnt of the newer one by etcd alone.
		wait_until 2 eval 'resolves a one web | grep -q "$(address_of b two$i)"'
		talks a one "$(address_of b "two$i")" 1
	done
}

@test "a lone node with environments of its own joins, and its pods with it" {
	node_boot a
	node_config a
	on a resolver_start
	# Without the key cluster it is by itself.
	on a bash -c 'echo {} >/run/node/railway.json'
	add a one production api
	[[ $(address_of a one) == *:0:1:0:1 ]]
	node_config a
	meshd_start a
	node_start b
	wait_until 10 eval 'keys_in environments | grep -q production'
	wait_until 10 eval '[ -n "$(keys_in in | grep members/)" ]'
	add b two production api
	wait_until 10 agree
	all_talk production
	add a three production api
	wait_until 10 agree
}

@test "an environment that the cluster knows under another /48 is refused by name, until no pod uses it" {
	node_start b
	add b two production api
	node_boot a
	node_config a
	on a resolver_start
	on a bash -c 'echo {} >/run/node/railway.json'
	on a pod_add lone production api >/dev/null
	node_config a
	meshd_start a
	wait_until 10 eval 'grep -q "an environment is refused" "$WORK/a.meshd.log"'
	run on a pod_add one production api
	[ "$status" != 0 ]
	[[ $output == *"environment 'production' has fd"*"end its pods on this node"* ]]
	on a pod_del lone
	wait_until 10 eval 'grep -q "no pods here any more" "$WORK/a.meshd.log"'
	add a one production api
	wait_until 10 agree
	all_talk production
}

@test "environments from before a node joined, without pods: the cluster's /48 is taken, and one that it lacks is told" {
	node_start b
	add b two production api
	node_boot a
	node_config a
	on a resolver_start
	on a bash -c 'echo {} >/run/node/railway.json'
	for environment in production staging; do
		on a pod_add lone $environment api >/dev/null
		own=$(on a pod_address lone)
		on a pod_del lone
	done
	on a "$BIN/railwayctl" --config /run/node/railway.json disable production
	node_config a
	meshd_start a
	prefix_of() { on "$1" "$BIN/railwayctl" --json environments | jq -e '.environments[] | select(.environment == "production") | .prefix'; }
	wait_until 10 eval '[ "$(prefix_of a)" = "$(prefix_of b)" ]'
	wait_until 10 eval "keys_in environments | grep -qx railway/1/environments/staging"
	# What an operator has said of it stays.
	run on a pod_add none production api
	[ "$(on a "$BIN/railwayctl" --config /run/node/railway.json --json members production | jq '[.members[] | select(.local)] | length')" = 0 ]
	on a "$BIN/railwayctl" --config /run/node/railway.json enable production
	add a one production api
	wait_until 10 agree
	all_talk production
	add b three staging db
	[ "${own%:*:*:*:*:*}" = "$(address_of b three | sed 's/\(:[^:]*\)\{5\}$//')" ]
}

@test "two nodes that make one environment and service at once get one /48 and one /64" {
	node_start a
	node_start b
	for i in 1 2 3; do
		on a pod_add "one$i" "env$i" "api$i" >/dev/null 3>&- &
		first=$!
		on b pod_add "two$i" "env$i" "api$i" >/dev/null
		wait $first
		one=$(on a pod_address "one$i") two=$(on b pod_address "two$i")
		[ "${one%:*:*:*:*}" = "${two%:*:*:*:*}" ]
		PODS+=("a one$i env$i api$i $one" "b two$i env$i api$i $two")
	done
	wait_until 10 agree
	for i in 1 2 3; do all_talk "env$i"; done
}

@test "a node that is killed: its members go with its lease, its number is not given to the one in its place" {
	node_start a
	own=$(keys_in alive)
	node_start b
	add a one production api
	add b two production api
	add a three production api
	number=$(keys_in alive | grep -vxF "$own")
	steady_start a one "$(address_of a three)"
	node_kill b
	forget b
	wait_until $((LEASE * 3)) agree
	unset 'node_pid[b]'
	node_start c
	add c four production api
	wait_until 10 agree
	all_talk production
	steady_stop
	[ "$(keys_in nodes | wc -l)" = 3 ]
	refute grep -qxF "$number" <(keys_in alive)
}

@test "a requested address is one pod's, on whichever node" {
	node_start a
	node_start b
	add a one production api
	prefix=$(address_of a one)
	wanted=${prefix%:*:*:*:*}::7
	CAP_ARGS="{\"ips\":[\"$wanted\"]}" add a two production api
	[ "$(address_of a two)" = "$wanted" ]
	export CAP_ARGS="{\"ips\":[\"$wanted\"]}"
	run on b pod_add three production api
	[ "$status" != 0 ]
	[[ $output == *"is in use on node"* ]]
	del a two
	wait_until 20 eval 'on b pod_add three production api >/dev/null'
}

@test "a node leaves: first its pods, then meshd and the key cluster; it goes on by itself" {
	node_start a
	node_start b
	add a one production api
	add b two production api
	add b three production web
	wait_until 10 agree
	numbers=$(keys_in nodes)
	steady_start a one "$(address_of b three)"
	del b two
	kill -INT "$STEADY"
	del b three
	wait_until 10 agree
	meshd_kill b TERM
	on b bash -c 'echo {} >/run/node/railway.json'
	wait_until $((LEASE * 3)) eval '[ "$(keys_in alive | wc -l)" = 1 ]'
	# Its number is kept for it.
	[ "$(keys_in nodes)" = "$numbers" ]
	# It is by itself: no peers and no names of the others, and none of its in etcd.
	on b pod_add four production api >/dev/null
	[ -z "$(pod_wg b four show peers)" ]
	[ "$(resolves b four api)" = "$(on b pod_address four)" ]
	wait_until 10 agree
	# And comes back.
	node_config b
	meshd_start b
	PODS+=("b four production api $(on b pod_address four)")
	wait_until 30 agree
	all_talk production
}
