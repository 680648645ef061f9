#!/usr/bin/env bats
# railway-ipam by itself.
bats_require_minimum_version 1.5.0
load common

SERVICE='"service":"api","environment":"production"'

add() { plugin railway-ipam ADD "$(config railway-ipam "${1:-$SERVICE}")"; }
del() { plugin railway-ipam DEL "$(config railway-ipam "${1:-$SERVICE}")"; }
address() { jq -r '.ips[0].address' <<<"$output" | cut -d/ -f1; }

@test "ADD gives an address of the service's /64 and a route of the /48; CHECK finds it; DEL gives it back" {
	ip netns add pod
	add
	[ "$status" = 0 ]
	[ "$(jq -r 'has("interfaces")' <<<"$output")" = false ]
	[ "$(jq -r '.ips[0] | has("interface")' <<<"$output")" = false ]
	prefix=$(address | cut -d: -f1-3)
	[ "$(jq -r '.routes[0].dst' <<<"$output")" = "$prefix::/48" ]
	[[ "$(jq -r '.ips[0].address' <<<"$output")" == fd*/64 ]]
	plugin railway-ipam CHECK "$(config railway-ipam "$SERVICE,\"prevResult\":$output")"
	[ "$status" = 0 ]
	[ -z "$output" ]
	plugin railway-ipam CHECK "$(config railway-ipam "$SERVICE,\"prevResult\":{\"cniVersion\":\"1.0.0\",\"ips\":[{\"address\":\"$prefix::9/64\"}]}")"
	expect_error 102 'leased'
	del
	[ "$status" = 0 ]
	[ -z "$output" ]
	plugin railway-ipam CHECK "$(config railway-ipam "$SERVICE")"
	expect_error 102 'no lease'
	del
	[ "$status" = 0 ]
}

@test "environments have a /48 each, services of one environment a /64 each" {
	ip netns add pod
	declare -A seen
	for environment in one two; do
		for service in api web; do
			CNI_CONTAINERID=$environment-$service add "\"environment\":\"$environment\",\"service\":\"$service\""
			[ "$status" = 0 ]
			seen[$environment-$service]=$(address)
		done
	done
	net48() { cut -d: -f1-3 <<<"${seen[$1]}"; }
	net64() { cut -d: -f1-4 <<<"${seen[$1]}"; }
	[ "$(net48 one-api)" = "$(net48 one-web)" ]
	[ "$(net48 one-api)" != "$(net48 two-api)" ]
	[ "$(net64 one-api)" != "$(net64 one-web)" ]
}

@test "a second ADD of a live attachment is an error and leaves the first untouched" {
	ip netns add pod
	add
	first=$(address)
	add
	expect_error 100 "container 'pod' has a live attachment"
	plugin railway-ipam CHECK "$(config railway-ipam "$SERVICE,\"prevResult\":{\"cniVersion\":\"1.0.0\",\"ips\":[{\"address\":\"$first/64\"}]}")"
	[ "$status" = 0 ]
}

@test "a requested address is honoured inside the service's /64, refused outside, and given once" {
	ip netns add pod
	add
	subnet=$(address | cut -d: -f1-4)
	del
	CNI_ARGS="IP=$subnet::77" add
	[ "$status" = 0 ]
	[ "$(address)" = "$subnet::77" ]
	CNI_CONTAINERID=other add "$SERVICE,\"capabilities\":{\"ips\":true},\"runtimeConfig\":{\"ips\":[\"$subnet::77/64\"]}"
	expect_error 7 "$subnet::77"
	CNI_CONTAINERID=other CNI_ARGS="IP=fd00:dead::77" add
	expect_error 7 "$subnet::/64"
	CNI_CONTAINERID=other CNI_ARGS="IP=$subnet:0:1:0:5" add
	expect_error 7 "node"
	CNI_CONTAINERID=other CNI_ARGS="IP=10.0.0.1" add
	expect_error 7 '10\.0\.0\.1'
	CNI_CONTAINERID=other add
	[ "$status" = 0 ]
}

@test "eight processes at once never give out one address twice" {
	ip netns add pod
	for process in 1 2 3 4 5 6 7 8; do
		(for n in $(seq 1 25); do
			CNI_COMMAND=ADD CNI_CONTAINERID=c-$process-$n CNI_NETNS=/run/netns/pod CNI_IFNAME=eth0 \
				CNI_ARGS= "$BIN/railway-ipam" <<<"$(config railway-ipam "$SERVICE")" || echo failed
		done | jq -r '.ips[0].address' >"$NODE/addresses.$process") &
	done 3>&-
	wait $(jobs -p)
	[ "$(cat "$NODE"/addresses.* | wc -l)" = 200 ]
	[ "$(cat "$NODE"/addresses.* | sort -u | wc -l)" = 200 ]
}

@test "the run directory is wiped: no address comes twice" {
	ip netns add pod
	for n in 1 2 3; do
		CNI_CONTAINERID=before-$n add
		address >>"$NODE/addresses"
	done
	rm -rf /run/railway
	for n in 1 2 3; do
		CNI_CONTAINERID=after-$n add
		[ "$status" = 0 ]
		address >>"$NODE/addresses"
	done
	[ "$(sort -u "$NODE/addresses" | wc -l)" = 6 ]
}

@test "an attachment whose netns is gone makes room for a new one of the same name" {
	ip netns add pod
	add
	first=$(address)
	ip netns del pod
	ip netns add pod
	add
	[ "$status" = 0 ]
	[ "$(address)" != "$first" ]
}

@test "two services whose names become one label are refused" {
	ip netns add pod
	add '"service":"my api","environment":"production"'
	[ "$status" = 0 ]
	CNI_CONTAINERID=other add '"service":"my_api","environment":"production"'
	expect_error 7 'my_api'
	CNI_CONTAINERID=other add '"service":"my_api","environment":"staging"'
	[ "$status" = 0 ]
}

@test "a pool without a free prefix is an error that says so" {
	ip netns add pod
	add '"service":"api","environment":"one","pool":"fd42:1:2::/48"'
	[ "$status" = 0 ]
	CNI_CONTAINERID=other add '"service":"api","environment":"two","pool":"fd42:1:2::/48"'
	expect_error 101 'fd42:1:2::/48|pool'
}

# work COMMAND: "<system calls> <bytes written>" of one execution of railway-ipam.
work() {
	CNI_COMMAND=$1 CNI_CONTAINERID=counted CNI_NETNS=/run/netns/pod CNI_IFNAME=eth0 CNI_ARGS= \
		ASAN_OPTIONS=detect_leaks=0 strace -f -o "$NODE/calls" "$BIN/railway-ipam" <<<"$(config railway-ipam "$SERVICE")" >/dev/null
	awk '/^[0-9]+ +[a-z0-9_]+\(/ {calls++} /^[0-9]+ +p?writev?(64|2)?\(/ {bytes += $NF} END {print calls, bytes}' "$NODE/calls"
}

@test "ADD and DEL with 100,000 live leases in the service do no more work than with none" {
	ip netns add pod
	# The first ADD of a service reserves its range.
	add
	del
	read -r add_calls add_bytes < <(work ADD)
	read -r del_calls del_bytes < <(work DEL)
	[ "$add_calls" -gt 50 ] && [ "$add_bytes" -gt 4096 ]
	"$TOOLS/mesh_tool" leases /var/lib/railway /run/railway production api 100000
	# The first after a transaction of 100,000 records takes over what that one left of free pages.
	work ADD
	work DEL
	for round in 1 2 3; do
		read -r calls bytes < <(work ADD)
		echo "ADD: $add_calls calls, $add_bytes bytes; with 100,000 leases: $calls, $bytes"
		# The same calls. What is written are the pages from a tree's root to a leaf, in two transactions of three trees, which have up to
		# four levels now; host-local reads 100,000 files here.
		[ "$calls" -le $((add_calls + 8)) ]
		[ "$bytes" -le $((add_bytes + 12 * 4096)) ]
		read -r calls bytes < <(work DEL)
		echo "DEL: $del_calls calls, $del_bytes bytes; with 100,000 leases: $calls, $bytes"
		[ "$calls" -le $((del_calls + 8)) ]
		[ "$bytes" -le $((del_bytes + 12 * 4096)) ]
	done
}
