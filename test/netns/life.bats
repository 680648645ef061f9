#!/usr/bin/env bats
# What an attachment may go through: processes that die or hang, descriptors that run out, operations that cross.
bats_require_minimum_version 1.5.0
load common

# Of descriptors, from one limit to the next.
STEP=1
[ "${EMULATED:-}" != 1 ] || STEP=4

mesh_keys() { # SERVICE [ENVIRONMENT]
	echo "\"ipam\":{\"type\":\"railway-ipam\"},\"service\":\"$1\",\"environment\":\"${2:-production}\""
}

mesh() { # COMMAND POD [KEYS]
	CNI_CONTAINERID=$2 CNI_NETNS=/run/netns/${NETNS:-$2} plugin railway-mesh "$1" "$(config railway-mesh "${3:-$(mesh_keys api)}")"
}

ipam() { # COMMAND POD [KEYS]
	CNI_CONTAINERID=$2 CNI_NETNS=/run/netns/${NETNS:-$2} plugin railway-ipam "$1" "$(config railway-ipam "${3:-\"service\":\"api\",\"environment\":\"production\"}")"
}

mesh_add() { # POD
	[ -e "/run/netns/$1" ] || ip netns add "$1"
	mesh ADD "$1"
	[ "$status" = 0 ] || { echo "$output $stderr"; return 1; }
}

limited() { # COMMAND POD LIMIT: mesh, with so many descriptors at most
	status=0
	(ulimit -n "$3" && CNI_COMMAND=$1 CNI_CONTAINERID=$2 CNI_NETNS=/run/netns/$2 CNI_IFNAME=eth0 exec "$CNI_PATH/railway-mesh") \
		<<<"$(config railway-mesh "$(mesh_keys api)")" >"$NODE/limited" 2>&1 3>&- || status=$?
}

no_lease() { # POD
	ipam CHECK "$1"
	expect_error 102 'no lease'
}

# A node with named pods, whose resolver is then stopped: an operation on their names hangs.
named() { # POD...
	local pod
	resolver_start
	for pod in "$@"; do
		pod_add "$pod" production api
	done
	kill -STOP "$RESOLVER"
}

dns_in_background() { # COMMAND POD: returns when it waits for the resolver; its number is in $DNS
	CNI_COMMAND=$1 CNI_CONTAINERID=$2 CNI_NETNS=/run/netns/$2 CNI_IFNAME=eth0 CNI_ARGS="${CNI_ARGS-}" \
		"$CNI_PATH/railway-dns" <<<"$(config railway-dns '"trustArgs":true')" >"$NODE/dns.output" 3>&- &
	DNS=$!
	until [ "$(awk '$1 == "SEQPACKET" || $5 == "0005" && $6 == "03"' /proc/net/unix | wc -l)" -gt 0 ] &&
		grep -q poll "/proc/$DNS/wchan" 2>/dev/null; do
		kill -0 $DNS
	done
}

@test "a second ADD of a live attachment, or in another netns, is an error and changes nothing" {
	mesh_add one
	mesh_add two
	before="$(peers one) $(peers two) $(carrier two) $(ip -n two -6 rule)"
	mesh ADD two
	expect_error 100 "container 'two' has a live attachment"
	ip netns add elsewhere
	NETNS=elsewhere mesh ADD two
	expect_error 100 "container 'two' has a live attachment"
	[ "$(peers one) $(peers two) $(carrier two) $(ip -n two -6 rule)" = "$before" ]
	[ "$(ip -n elsewhere -o link | wc -l)" = 1 ]
	mesh CHECK two
	[ "$status" = 0 ]
}

@test "what carried the packets died: ADD of the same container makes it anew, without a DEL between" {
	mesh_add one
	mesh_add two
	gone=$(pod_address two)
	kill_carrier two
	mesh_add two
	[ "$(pod_address two)" != "$gone" ]
	[ "$(peers one)" = "$(pod_address two)/128" ]
	[ "$(devices)" = 2 ]
}

@test "a later plugin of the chain refuses its configuration: the earlier one's lease goes, too" {
	ip netns add pod
	for fault in '"environment":"staging"' '"enabled":false'; do
		ipam ADD pod
		[ "$status" = 0 ]
		mesh ADD pod "$fault,\"prevResult\":$output"
		expect_error 7 "${fault:1:7}"
		no_lease pod
		[ "$(ip -n pod -o link | wc -l)" = 1 ]
	done
}

@test "enabled false for the network: ADD, CHECK and DEL succeed, and nothing is made" {
	ip netns add pod
	mesh ADD pod "$(mesh_keys api),\"enabled\":false"
	[ "$status" = 0 ]
	[ "$(ip -n pod -o link | wc -l)" = 1 ]
	mesh CHECK pod "$(mesh_keys api),\"enabled\":false"
	[ "$status" = 0 ]
	mesh DEL pod "$(mesh_keys api),\"enabled\":false"
	[ "$status" = 0 ]
	mesh_add pod
}

@test "a DEL that cannot have the environment's lock takes the interface away, reports, and the next DEL does the rest" {
	mesh_add one
	mesh_add two
	lock=$(ls -d /run/railway/locks/*)
	rm "$lock"
	mkdir "$lock"
	mesh DEL two
	expect_error 5 "$lock|directory"
	refute ip -n two link show eth0
	refute carrier two
	rmdir "$lock"
	mesh DEL two
	[ "$status" = 0 ]
	[ -z "$(peers one)" ]
	no_lease two
}

@test "no descriptor is left at any point of ADD: the pod is made or nothing is, and no sibling is touched" {
	mesh_add one
	mesh_add two
	ip netns add pod
	made=0 failed=0
	for limit in $(seq 6 $STEP 30); do
		before="$(peers one) $(peers two)"
		limited ADD pod "$limit"
		if [ "$status" = 0 ]; then
			made=$((made + 1))
		else
			failed=$((failed + 1))
		fi
		mesh DEL pod
		[ "$status" = 0 ]
		for sibling in one two; do
			mesh CHECK $sibling
			[ "$status" = 0 ] || { echo "limit $limit: $output"; return 1; }
		done
		[ "$(peers one) $(peers two)" = "$before" ]
		[ "$(ip -n pod -o link | wc -l)" = 1 ]
		no_lease pod
	done
	[ "$made" -gt 0 ]
	[ "$failed" -gt $((5 / STEP)) ]
}

@test "no descriptor is left at any point of DEL: it reports, and the next DEL finishes" {
	mesh_add one
	failed=0
	for limit in $(seq 6 $STEP 20); do
		mesh_add pod
		limited DEL pod "$limit"
		[ "$status" = 0 ] || failed=$((failed + 1))
		[ "$status" = 0 ] || mesh DEL pod
		[ "$status" = 0 ]
		[ -z "$(peers one)" ]
		[ "$(ip -n pod -o link | wc -l)" = 1 ]
		[ "$(ip -n pod -6 rule | grep -c 21057)" = 0 ]
		[ "$(devices)" = 1 ]
		no_lease pod
	done
	[ "$failed" -gt $((3 / STEP)) ]
}

@test "railway-mesh dies while railway-ipam works for it: after DEL the late lease is refused" {
	mkdir "$NODE/bin"
	ln -s "$BIN/railway-mesh" "$NODE/bin/railway-mesh"
	mkfifo "$NODE/gate"
	cat >"$NODE/bin/railway-ipam" <<-EOF
		#!/bin/sh
		echo \$\$ >$NODE/ipam.pid
		read -r go <$NODE/gate
		exec $BIN/railway-ipam
	EOF
	chmod +x "$NODE/bin/railway-ipam"
	ip netns add pod
	CNI_PATH=$NODE/bin CNI_COMMAND=ADD CNI_CONTAINERID=pod CNI_NETNS=/run/netns/pod CNI_IFNAME=eth0 \
		"$NODE/bin/railway-mesh" <<<"$(config railway-mesh "$(mesh_keys api)")" >/dev/null 3>&- &
	mesh_pid=$!
	until [ -s "$NODE/ipam.pid" ]; do :; done
	kill -KILL $mesh_pid
	mesh DEL pod
	[ "$status" = 0 ]
	echo >"$NODE/gate"
	while kill -0 "$(cat "$NODE/ipam.pid")" 2>/dev/null; do :; done
	no_lease pod
	mesh_add pod
}

@test "a plugin died at work on a sibling: the next ADD in the environment undoes that one whole" {
	named one
	mesh_add two
	dns_in_background ADD two
	kill -KILL "$DNS"
	wait "$DNS" || true
	kill -CONT "$RESOLVER"
	mesh_add three
	[ "$(peers one)" = "$(pod_address three)/128" ]
	refute ip -n two link show eth0
	no_lease two
}

@test "what is gone but at work in another process is left to that process" {
	named one two
	kill_carrier two
	dns_in_background DEL two
	mesh_add three
	CNI_CONTAINERID=two CNI_NETNS=/run/netns/two plugin railway-dns DEL "$(config railway-dns)"
	expect_error 11 "process $DNS is at work"
	kill -CONT "$RESOLVER"
	wait "$DNS"
	pod_del two
	[ "$(peers one)" = "$(pod_address three)/128" ]
	no_lease two
}

@test "the resolver hangs: DEL takes the rest away and reports; nobody else gets the address before the next DEL" {
	resolver_start
	subnet=$(pod_add first production api | jq -r '.ips[0].address' | cut -d: -f1-4)
	pod_del first
	pod_add two production api "IP=$subnet::77" >/dev/null
	kill -STOP "$RESOLVER"
	mesh DEL two
	expect_error 11 'railway-resolverd did not answer'
	refute ip -n two link show eth0
	ip netns add three
	CNI_ARGS="IP=$subnet::77" mesh ADD three
	expect_error 7 "in use by container 'two'"
	kill -CONT "$RESOLVER"
	mesh DEL two
	[ "$status" = 0 ]
	CNI_ARGS="IP=$subnet::77" mesh ADD three
	[ "$status" = 0 ]
	[ "$(pod_address three)" = "$subnet::77" ]
}

@test "a DEL that could not take all away, and no other: the next ADD of the environment does, as far as the netns is gone" {
	resolver_start
	pod_add two production api >/dev/null
	kill -STOP "$RESOLVER"
	mesh DEL two
	expect_error 11 'railway-resolverd did not answer'
	kill -CONT "$RESOLVER"
	leases() { "$TOOLS/resolver_tool" leases /var/lib/railway /run/railway production | sort | tr '\n' ' '; }
	# Its DEL may still come, and finds the address its own.
	pod_add three production api >/dev/null
	[ "$(leases)" = "three two " ]
	[ "$("$BIN/railwayctl" --json pods | jq -c '.pods | map(select(.containerId == "two").state)')" = '["dead"]' ]
	ip netns del two
	pod_add four production api >/dev/null
	[ "$(leases)" = "four three " ]
	[ "$("$BIN/railwayctl" --json pods | jq -c '.pods | map(.containerId) | sort')" = '["four","three"]' ]
}

@test "a requested address of a container that went without DEL is given to the one that comes" {
	ip netns add old
	ipam ADD old
	subnet=$(jq -r '.ips[0].address' <<<"$output" | cut -d: -f1-4)
	ipam DEL old
	CNI_ARGS="IP=$subnet::77" mesh ADD old
	[ "$status" = 0 ]
	ip netns add new
	CNI_ARGS="IP=$subnet::77" mesh ADD new
	expect_error 7 "in use by container 'old'"
	ip netns del old
	CNI_ARGS="IP=$subnet::77" mesh ADD new
	[ "$status" = 0 ]
	[ "$(devices)" = 1 ]
}

@test "DEL, then ADD of the same container in a new netns" {
	mesh_add one
	for round in 1 2 3; do
		mesh_add two
		[ "$(peers one)" = "$(pod_address two)/128" ]
		[ "$round" != 2 ] || ip netns del two
		mesh DEL two
		[ "$status" = 0 ]
		[ "$round" = 2 ] || ip netns del two
		[ -z "$(peers one)" ]
	done
}
