#!/usr/bin/env bats
# Bad input: one CNI error in JSON on standard output with the right code, a message that names the key or variable and its value, a
# non-zero exit status, and nothing left behind. All three plugins.
bats_require_minimum_version 1.5.0
load common

PLUGINS="railway-ipam railway-mesh railway-dns"
GOOD='"service":"api","environment":"production"'

keys() { # PLUGIN MORE
	case $1 in
	railway-mesh) echo "\"ipam\":{\"type\":\"railway-ipam\"},$2" ;;
	*) echo "$2" ;;
	esac
}

nothing_left() {
	[ -z "$(leftovers)" ]
	[ "$(ip -n pod -o link 2>/dev/null | wc -l)" -le 1 ]
	CNI_CONTAINERID=pod plugin railway-ipam CHECK "$(config railway-ipam)"
	expect_error 102 'no lease'
}

@test "variables missing or malformed" {
	ip netns add pod
	for plugin in $PLUGINS; do
		run --separate-stderr env -i CNI_COMMAND=ADD "$BIN/$plugin" <<<"$(config $plugin "$GOOD")"
		expect_error 4 'CNI_CONTAINERID.*CNI_NETNS.*CNI_IFNAME.*CNI_PATH'
		CNI_CONTAINERID='../x' plugin $plugin ADD "$(config $plugin "$GOOD")"
		expect_error 4 'CNI_CONTAINERID.*\.\./x'
		CNI_IFNAME=an-interface-name-too-long plugin $plugin ADD "$(config $plugin "$GOOD")"
		expect_error 4 'CNI_IFNAME.*an-interface-name-too-long'
		CNI_ARGS=nonsense plugin $plugin ADD "$(config $plugin "$GOOD")"
		expect_error 4 'CNI_ARGS.*nonsense'
		plugin $plugin FROB "$(config $plugin "$GOOD")"
		expect_error 4 'CNI_COMMAND.*FROB'
	done
	nothing_left
}

@test "a netns that is not there, is none, or is the host's" {
	ip netns add pod
	touch "$NODE/file"
	for plugin in $PLUGINS; do
		CNI_NETNS=/run/netns/gone plugin $plugin ADD "$(config $plugin "$(keys $plugin "$GOOD")")"
		expect_error 8 '/run/netns/gone'
		CNI_NETNS=$NODE/file plugin $plugin ADD "$(config $plugin "$(keys $plugin "$GOOD")")"
		expect_error 8 "$NODE/file"
		CNI_NETNS=/proc/self/ns/net plugin $plugin ADD "$(config $plugin "$(keys $plugin "$GOOD")")"
		expect_error 8 '/proc/self/ns/net'
		CNI_NETNS=/proc/self/ns/mnt plugin $plugin ADD "$(config $plugin "$(keys $plugin "$GOOD")")"
		expect_error 8 '/proc/self/ns/mnt'
	done
	nothing_left
}

@test "standard input that is no JSON, has wrong types, is deep or huge" {
	ip netns add pod
	for plugin in $PLUGINS; do
		plugin $plugin ADD '{ "cniVersion": '
		expect_error 6 '.'
		plugin $plugin ADD ''
		expect_error 6 '.'
		plugin $plugin ADD "$(printf '[%.0s' $(seq 1 5000))"
		expect_error 6 '.'
		head -c 3000000 /dev/zero | tr '\0' ' ' >"$NODE/huge"
		run --separate-stderr env CNI_COMMAND=ADD CNI_PATH="$CNI_PATH" CNI_CONTAINERID=pod \
			CNI_NETNS=/run/netns/pod CNI_IFNAME=eth0 bash -c '"$1" <"$2"' - "$BIN/$plugin" "$NODE/huge"
		expect_error 6 '.'
		plugin $plugin ADD "$(config $plugin '"service":7')"
		expect_error 7 'service.*7'
		plugin $plugin ADD "$(config $plugin '"enabled":"yes"')"
		expect_error 7 'enabled.*yes'
		plugin $plugin ADD "$(config $plugin '"args":[]')"
		expect_error 7 'args'
		plugin $plugin ADD "$(config $plugin '"service":"a","service":"b"')"
		expect_error 6 'service'
	done
	nothing_left
}

@test "an unknown version, an unknown key" {
	ip netns add pod
	for plugin in $PLUGINS; do
		CNI_VERSION=9.9.9 plugin $plugin ADD "$(CNI_VERSION=9.9.9 config $plugin "$GOOD")"
		expect_error 1 '9\.9\.9'
		plugin $plugin ADD "$(config $plugin '"enviroment":"production"')"
		expect_error 2 "enviroment.*environment"
	done
	plugin railway-mesh ADD "$(config railway-mesh "$(keys railway-mesh "$GOOD,\"mtu\":100")")"
	expect_error 7 'mtu.*100'
	plugin railway-dns ADD "$(config railway-dns "$GOOD,\"upstreams\":[\"nine\"]")"
	expect_error 7 'upstreams.*nine'
	plugin railway-ipam ADD "$(config railway-ipam "$GOOD,\"pool\":\"10.0.0.0/8\"")"
	expect_error 7 'pool.*10\.0\.0\.0/8'
	nothing_left
}

@test "no service to be found, a reserved, an empty and a too long name" {
	ip netns add pod
	for plugin in railway-ipam railway-mesh; do
		plugin $plugin ADD "$(config $plugin "$(keys $plugin '"environment":"production"')")"
		expect_error 7 'service'
		for name in health internal internal-health railway up; do
			plugin $plugin ADD "$(config $plugin "$(keys $plugin "\"service\":\"$name\"")")"
			expect_error 7 "$name.*reserved|reserved.*$name"
		done
		plugin $plugin ADD "$(config $plugin "$(keys $plugin '"service":"!!"')")"
		expect_error 7 '!!'
		plugin $plugin ADD "$(config $plugin "$(keys $plugin "\"service\":\"$(printf 'a%.0s' $(seq 1 64))\"")")"
		expect_error 7 'aaaa'
	done
	nothing_left
}

@test "an author cannot reach another tenant's environment" {
	ip netns add pod
	# Without trust the author's word does not count, with a namespace it is only a part of the name.
	CNI_ARGS='IgnoreUnknown=1;K8S_POD_NAMESPACE=tenant-a;K8S_POD_NAME=api-0;RAILWAY_ENVIRONMENT=../tenant-b' \
		plugin railway-ipam ADD "$(config railway-ipam)"
	expect_error 7 'tenant-b'
	CNI_ARGS='IgnoreUnknown=1;NOMAD_NAMESPACE=tenant-a;NOMAD_JOB_ID=api;NOMAD_GROUP_NAME=api;K8S_POD_NAMESPACE=tenant-b' \
		CNI_CONTAINERID=a plugin railway-ipam ADD "$(config railway-ipam)"
	[ "$status" = 0 ]
	a=$(jq -r '.routes[0].dst' <<<"$output")
	CNI_ARGS='IgnoreUnknown=1;K8S_POD_NAMESPACE=tenant-b;K8S_POD_NAME=api-0' \
		CNI_CONTAINERID=b plugin railway-ipam ADD "$(config railway-ipam)"
	[ "$status" = 0 ]
	[ "$(jq -r '.routes[0].dst' <<<"$output")" != "$a" ]
}

@test "a plugin whose own keys disagree with what was stored" {
	ip netns add pod
	plugin railway-ipam ADD "$(config railway-ipam "$GOOD")"
	[ "$status" = 0 ]
	plugin railway-mesh ADD "$(config railway-mesh "\"environment\":\"staging\",\"prevResult\":$output")"
	expect_error 7 "environment.*staging.*production"
}

@test "chains in the wrong order" {
	ip netns add pod
	plugin railway-dns ADD "$(config railway-dns "$GOOD")"
	expect_error 7 'railway-mesh'
	plugin railway-mesh ADD "$(config railway-mesh "$GOOD")"
	expect_error 7 'railway-ipam'
	nothing_left
}

@test "a store that cannot be written" {
	ip netns add pod
	for plugin in $PLUGINS; do
		plugin $plugin ADD "$(config $plugin "$(keys $plugin "$GOOD,\"runDirectory\":\"/proc/railway\"")")"
		expect_error 5 '/proc/railway'
	done
	mkdir -p "$NODE/read-only"
	mount -t tmpfs -o ro tmpfs "$NODE/read-only"
	plugin railway-ipam ADD "$(config railway-ipam "$GOOD,\"stateDirectory\":\"$NODE/read-only\"")"
	expect_error 5 'read-only'
	umount "$NODE/read-only"
	mkdir -m 0777 "$NODE/open"
	plugin railway-ipam ADD "$(config railway-ipam "$GOOD,\"stateDirectory\":\"$NODE/open\"")"
	expect_error 5 'open'
	nothing_left
}

@test "with no CNI_COMMAND a plugin says what it is and does not wait for standard input" {
	for plugin in $PLUGINS; do
		mkfifo "$NODE/never-$plugin"
		exec 8<>"$NODE/never-$plugin"
		run timeout 5 env -i "$BIN/$plugin" <&8
		[ "$status" = 0 ]
		[[ $output =~ v[0-9]+\.[0-9]+\.[0-9]+ ]]
		exec 8>&-
	done
}

@test "the daemon: a wrong configuration, an unknown option" {
	echo '{"stateDirectory": 7}' >"$NODE/bad.json"
	run timeout 5 "$BIN/railway-resolverd" --config "$NODE/bad.json"
	[ "$status" -ne 0 ]
	[[ $output == *stateDirectory* ]]
	run timeout 5 "$BIN/railway-resolverd" --config "$NODE/absent.json"
	[ "$status" -ne 0 ]
	[[ $output == *absent.json* ]]
	run timeout 5 "$BIN/railway-resolverd" --frob
	[ "$status" -ne 0 ]
	[[ $output == *frob* ]]
}
