#!/usr/bin/env bats
# What two nodes, or a node and a restored cluster, hold for theirs.
bats_require_minimum_version 1.5.0
load nodes

@test "a requested address is claimed again when the lease was lost" {
	two_nodes
	prefix=$(address_of a one)
	wanted=${prefix%:*:*:*:*}::7
	export CAP_ARGS="{\"ips\":[\"$wanted\"]}"
	add a three production api
	[ "$(keys_in in | grep -c claims/)" = 1 ]
	cut a
	wait_until $((LEASE * 4)) eval '[ -z "$(keys_in in | grep claims/)" ]'
	mend a
	wait_until 30 agree
	[ "$(keys_in in | grep -c claims/)" = 1 ]
	run on b pod_add four production api
	[ "$status" != 0 ]
	[[ $output == *"is in use on node"* ]]
	kill -INT "$STEADY"
}

@test "a requested address that another node claimed meanwhile: the pod there keeps it, and the log says so" {
	two_nodes
	prefix=$(address_of a one)
	wanted=${prefix%:*:*:*:*}::7
	export CAP_ARGS="{\"ips\":[\"$wanted\"]}"
	on a pod_add three production api >/dev/null
	cut a
	wait_until $((LEASE * 4)) eval '[ -z "$(keys_in in | grep claims/)" ]'
	add b four production api
	mend a
	wait_until 30 grep -q "another node has the address that a local pod requested" "$WORK/a.meshd.log"
	[ "$(keys_in in | grep -c claims/)" = 1 ]
	# Which was published once, and is not now.
	wait_until 10 eval '[ "$(on a "$BIN/railwayctl" --config /run/node/railway.json --json status | jq .membersUnpublished)" = 1 ]'
	# The first one ends: nothing is in the other's way.
	on a pod_del three
	wait_until 30 agree
	all_talk production
	kill -INT "$STEADY"
}

@test "a service whose number is another's in a restored cluster: its pods are not taken for the other's, and give way in the end" {
	two_nodes
	one=$(address_of a one)
	digits=$(python3 -c 'import ipaddress, sys; print(ipaddress.ip_address(sys.argv[1]).packed.hex()[:16])' "$one")
	tree=railway/1/in/${digits:0:12}
	# What b would have made after the restoration, before a told of its service.
	etcdctl_ txn <<-EOF2 >/dev/null

		del $tree/services/api
		put $tree/services/other {"number":$((16#${digits:12})),"original":"other"}
		put $tree/numbers/${digits:12} "other"


	EOF2
	wait_until 20 eval '[ "$(published "$one")" = "$(address_of b two)" ]'
	wait_until 20 grep -q "has another number here than in the cluster" "$WORK/a.meshd.log"
	add b three production other
	# Neither is taken for the other, on either node.
	wait_until 10 eval '[ "$(resolves b two other)" = "$(address_of b three)" ]'
	[ "$(resolves a one api)" = "$one" ]
	[ -z "$(resolves b two api)" ]
	[ "$(published "$one")" = "$(printf "%s\n" "$(address_of b two)" "$(address_of b three)" | sort)" ]
	# The last pod of it goes, and the next is of the cluster's mind.
	del a one
	add a four production web
	wait_until 20 eval 'resolves a four other | grep -qxF "$(address_of b three)"'
	add a five production api
	wait_until 20 agree
	all_talk production
	kill -INT "$STEADY" || true
}
