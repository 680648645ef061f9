#!/usr/bin/env bats
# What Nomad does to a network, in its order: its fingerprint, an ADD that is tried again in the same netns without a DEL, CHECK when
# its agent restarts, and a DEL without arguments, before which it may ask for STATUS and give up.
bats_require_minimum_version 1.5.0
load common

ALLOC=6b235529-5f3c-4f4a-9c3a-0a5f6f1c2d3e

# The list as it is shipped for Nomad; $CNI_VERSION is the version that its library would call with.
nomad_list() {
	jq --arg version "${1:-1.0.0}" 'del(.cniVersions) | .cniVersion = $version' \
		"$BATS_TEST_DIRNAME/../../deploy/nomad/railway.conflist" >"$CONFLIST"
}

# nomad COMMAND ALLOC JOB GROUP [NAMESPACE]: ADD and CHECK with its arguments and port mappings, DEL without arguments.
nomad() {
	local command=$1 alloc=$2 job=${3:-shop} group=${4:-web} namespace=${5:-production} args=
	[ "$command" = del ] || args="NOMAD_GROUP_NAME=$group;IgnoreUnknown=true;NOMAD_JOB_ID=$job;NOMAD_ALLOC_ID=$alloc;NOMAD_REGION=global${namespace:+;NOMAD_NAMESPACE=$namespace}"
	CNI_PATH=$BIN:/usr/lib/cni CNI_ARGS=$args \
		CAP_ARGS='{"portMappings":[{"HostPort":38101,"ContainerPort":8080,"Protocol":"tcp","HostIP":""}]}' \
		"$CHAIN" "$command" "$CONFLIST" "$alloc" "/run/netns/$alloc"
}

# What Nomad writes into the tasks' resolv.conf: the servers and searches of the result.
resolv_conf() { # POD RESULT
	mkdir -p "$NODE/pods"
	jq -r '(.dns.nameservers[] | "nameserver " + .), "search " + (.dns.search | join(" "))' <<<"$2" >"$NODE/pods/$1.resolv.conf"
}

@test "the fingerprint: each plugin is run without arguments and prints a version" {
	for plugin in railway-ipam railway-mesh railway-dns; do
		run timeout 3 env -i "$BIN/$plugin" </dev/null
		[ "$status" = 0 ]
		[[ "$output" =~ v[0-9]+\.[0-9]+\.[0-9]+ ]]
	done
}

@test "a job's two groups, a dispatched job and another namespace: services by name, in their own environment" {
	nomad_list
	resolver_start
	for alloc in a1 b1 c1 d1; do ip netns add $alloc; done
	resolv_conf a1 "$(nomad add a1 shop web)"
	nomad add b1 shop db
	resolv_conf d1 "$(nomad add d1 shop web staging)"
	nomad add c1 'report/dispatch-1700000000-ab12cd34' report
	[ "$(in_pod a1 getent ahostsv6 shop-db.railway.internal | awk 'NR == 1 {print $1}')" = "$(pod_address b1)" ]
	[ "$(in_pod a1 getent ahostsv6 report | awk 'NR == 1 {print $1}')" = "$(pod_address c1)" ]
	[ "$(in_pod d1 getent ahostsv6 shop-web | awk 'NR == 1 {print $1}')" = "$(pod_address d1)" ]
	refute in_pod d1 getent ahostsv6 shop-db.railway.internal
	# Nobody else switches lo on in Nomad's netns.
	ip -n a1 link show lo | grep -q ,UP
	for alloc in a1 b1 c1 d1; do nomad del $alloc; done
	[ -z "$(leftovers)" ]
}

@test "arguments of a job's author: more of them, JSON in one, none of them another namespace" {
	nomad_list
	resolver_start
	ip netns add $ALLOC
	CNI_ARGS="IgnoreUnknown=true;CONSUL_IPTABLES_CONFIG={\"ProxyUserID\":\"101\",\"ExcludeUIDs\":[\"0\",\"1\"],\"x\":\"a=b\"};K8S_POD_NAMESPACE=victim;NOMAD_NAMESPACE=production;NOMAD_JOB_ID=shop;NOMAD_GROUP_NAME=web;NOMAD_REGION=global;NOMAD_ALLOC_ID=$ALLOC;team=a" \
		CNI_PATH=$BIN:/usr/lib/cni "$CHAIN" add "$CONFLIST" $ALLOC /run/netns/$ALLOC
	prefix=$(pod_address $ALLOC)
	ip netns add other
	nomad add other shop web production
	[ "${prefix%%:0:1:*}" = "$(pod_address other | sed 's/:0:1:.*//')" ]
	nomad del $ALLOC
	nomad del other
	[ -z "$(leftovers)" ]
}

@test "an ADD fails and is tried again, with the same ID in the same netns, and no DEL between" {
	nomad_list
	ip netns add $ALLOC
	for attempt in 1 2; do
		run nomad add $ALLOC
		[ "$status" = 1 ]
		[ "$(jq -r .code <<<"$output")" = 11 ]
		[ -z "$(leftovers)" ]
		[ "$(ip -n $ALLOC -o link | wc -l)" = 1 ]
	done
	resolver_start
	resolv_conf $ALLOC "$(nomad add $ALLOC)"
	[ "$(in_pod $ALLOC getent ahostsv6 shop-web | grep -c STREAM)" = 1 ]
	nomad del $ALLOC
	[ -z "$(leftovers)" ]
}

@test "DEL has no arguments, comes with netns and without, and again" {
	nomad_list
	resolver_start
	ip netns add $ALLOC
	ip netns add second
	nomad add $ALLOC
	nomad add second
	nomad del $ALLOC
	nomad del $ALLOC
	refute ip -n $ALLOC link show eth0
	ip netns del second
	nomad del second
	[ -z "$(leftovers)" ]
}

@test "the agent restarts: CHECK; where it fails the netns is thrown away and ADD comes in a new one" {
	nomad_list
	resolver_start
	ip netns add $ALLOC
	ip netns add sibling
	nomad add $ALLOC
	nomad add sibling
	nomad check $ALLOC
	gone=$(pod_address $ALLOC)
	ip -n $ALLOC link del eth0
	run nomad check $ALLOC
	[ "$status" = 1 ]
	[ "$(jq -r .code <<<"$output")" = 102 ]
	ip netns del $ALLOC
	ip netns add $ALLOC
	resolv_conf $ALLOC "$(nomad add $ALLOC)"
	[ "$(pod_address $ALLOC)" != "$gone" ]
	nomad check $ALLOC
	nomad check sibling
	[ "$(in_pod $ALLOC getent ahostsv6 shop-web | grep -c STREAM)" = 2 ]
	nomad del $ALLOC
	nomad del sibling
	[ -z "$(leftovers)" ]
}

@test "STATUS before DEL, in a list of 1.1.0: a resolver that is being restarted does not cost the DEL" {
	nomad_list 1.1.0
	resolver_start
	ip netns add $ALLOC
	nomad add $ALLOC
	resolver_stop
	# Nomad's Teardown: no DEL where STATUS fails, and nobody comes back.
	(CNI_PATH=$BIN:/usr/lib/cni "$CHAIN" status "$CONFLIST" && nomad del $ALLOC) >"$NODE/teardown" 2>&1 3>&- &
	teardown=$!
	asking() { pgrep -x railway-dns | while read -r pid; do grep -qs nanosleep "/proc/$pid/wchan" && echo waits; done; }
	until [ -n "$(asking)" ]; do
		kill -0 $teardown
	done
	resolver_start
	wait $teardown || { cat "$NODE/teardown"; return 1; }
	[ -z "$(leftovers)" ]
}

@test "the shipped list keeps Nomad from STATUS: it says 1.0.0 alone, and DEL comes whatever the node is like" {
	shipped=$BATS_TEST_DIRNAME/../../deploy/nomad/railway.conflist
	[ "$(jq -c '[.cniVersion, has("cniVersions")]' "$shipped")" = '["1.0.0",false]' ]
	nomad_list
	resolver_start
	ip netns add $ALLOC
	nomad add $ALLOC
	resolver_stop
	nomad del $ALLOC
	[ -z "$(leftovers)" ]
}
