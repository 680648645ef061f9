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
