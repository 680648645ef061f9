#!/usr/bin/env bats
# railwayctl peers: a pod's WireGuard device, beside what it should be.
bats_require_minimum_version 1.5.0
load common
load serve
load ctl

@test "peers: as the device has them, beside the members" {
	two_environments
	in_netns one ping -6 -q -c 1 -W 5 "$(pod_address two)" >/dev/null
	ctl peers one
	[ "$status" = 0 ]
	grep -qE '^ok +web +two +.* [0-9]+ s +[0-9.]+ (Ki)?B ' <<<"$output"
	shows ".publicKey == \"$(pod_wg one show public-key)\" and .listenPort == $(pod_wg one show listen-port)
		and .environment == \"production\" and .replica == \"one\" and .transport == \"$TRANSPORT\"" peers one
	shows '(.peers | map(select(.replica == "two"))[0] | .peer == "ok" and .handshakeAgeSeconds < 60 and .receivedBytes > 0 and .sentBytes > 0)
		and (.peers | map(select(.replica == "three"))[0] | .handshakeAgeSeconds == null and .receivedBytes == 0)' peers one
	shows ".peers | map(.publicKey) | sort == $(pod_wg one show peers | sort | jq -Rs 'split("\n")[:-1]')" peers one
	refute grep -qF "$(pod_wg one show private-key)" "$NODE/shown"
}

@test "peers: one that was taken away is missing, a foreign one unknown, one with another address changed" {
	two_environments
	foreign=$(wg genkey | wg pubkey)
	pod_wg one set peer "$(pod_wg two show public-key)" remove
	pod_wg one set peer "$foreign" allowed-ips fd00::7/128
	pod_wg one set peer "$(pod_wg three show public-key)" allowed-ips fd00::8/128
	ctl peers one
	[ "$status" = 1 ]
	shows ".missing == 1 and .unknown == 1 and .changed == 1
		and (.peers | map([.peer, .replica]) | sort) == [[\"changed\", \"three\"], [\"missing\", \"two\"], [\"unknown\", null]]
		and (.peers | map(select(.peer == \"unknown\").publicKey)) == [\"$foreign\"]" peers one
	ctl peers two
	[ "$status" = 0 ]
}

@test "peers: a container by the beginning of its ID, where that is one pod's" {
	resolver_start
	for pod in abc abcd abe; do pod_add $pod production api; done
	shows '.containerId == "abe"' peers abe
	shows '.containerId == "abcd"' peers abcd eth0
	shows '.containerId == "abc"' peers abc
	fails "beginning of 3 pods' \(abc eth0, abe eth0, abcd eth0\)" peers ab
	fails "no container 'x'" peers x
	fails "no container 'abc' with interface eth1" peers abc eth1
}

@test "peers: a path that names another netns now is not believed, nor an interface with another key" {
	two_environments
	pod_wg one set private-key <(wg genkey)
	fails 'another key|is gone|not the one' peers one
	resolver_stop
	ip netns del two
	ip netns add two
	fails "'/run/netns/two' is not its netns any more" peers two
}
