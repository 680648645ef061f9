#!/usr/bin/env bats
# What a node runs out of: disk, descriptors, memory for netlink, ports; a clock that is set back; two releases side by side. ADD says what is
# missing and leaves nothing, DEL of what there was works, and all is well once there is room again.
bats_require_minimum_version 1.5.0
load common

setup() {
	NODE=/run/node
	rm -rf "$NODE" /run/railway /var/lib/railway
	mkdir -p "$NODE"
	CONFLIST=$NODE/railway.conflist
	node_conflist "$CONFLIST"
	RESOLVER=
	mkdir -m 0700 /var/lib/railway /run/railway
}

teardown() {
	load common
	for pod in $(ip netns list | awk '{print $1}'); do
		pod_del "$pod" >/dev/null 2>&1 || true
	done
	resolver_stop
	for pod in $(ip netns list | awk '{print $1}'); do ip netns del "$pod"; done
	for directory in /var/lib/railway /run/railway "$NODE/full"; do
		umount "$directory" 2>/dev/null || true
	done
	pkill -KILL -x wireguard-go || true
	if [ -n "${BATS_ERROR_STATUS:-}" ] && [ -s "$NODE/resolver.log" ]; then
		sed 's/^/# resolver: /' "$NODE/resolver.log" | tail -20
	fi
}

small() { # DIRECTORY SIZE: a file system of its own
	mount -t tmpfs -o "mode=0700,size=$2" tmpfs "$1"
}

fill() { # DIRECTORY: to its last page
	head -c 1G /dev/zero >"$1/ballast" 2>/dev/null || true
	[ "$(stat -f -c %a "$1")" = 0 ]
}

failed_add() { # POD SERVICE CODE PATTERN [ENVIRONMENT]: with one CNI error, and nothing left
	run pod_add "$1" "${5:-production}" "$2"
	[ "$status" -ne 0 ]
	output=$(tail -1 <<<"$output")
	expect_error "$3" "$4"
	[ "$(ip -n "$1" -o link | wc -l)" = 1 ]
	[ "$(devices)" = "$carriers" ]
	[ -z "$(ip -o link | grep rwg)" ]
}

names() { # what one sees of api, sorted
	ip netns exec one dig +time=5 +tries=1 +short @fd12::10 AAAA api.railway.internal | sort
}

@test "the state directory's disk is full: a known service's ADD succeeds, a new one's says so, DEL works" {
	small /var/lib/railway 1M
	resolver_start
	pod_add one production api >/dev/null
	carriers=1
	fill /var/lib/railway
	# Nothing of a known service is written there.
	pod_add two production api >/dev/null
	pod_check two
	pod_del two
	failed_add new fresh 5 "full.*make room|No space" elsewhere
	pod_del new
	pod_check one
	rm /var/lib/railway/ballast
	pod_add new elsewhere fresh >/dev/null
	pod_check new
	pod_del new
	pod_del one
	[ -z "$(leftovers)" ]
}

@test "/run is full: ADD says so and leaves nothing, DEL takes everything away or the next one does" {
	small /run/railway 2M
	resolver_start
	pod_add one production api >/dev/null
	pod_add gone production api >/dev/null
	before=$(names)
	carriers=2
	fill /run/railway
	made=0
	for n in 1 2 3; do
		ip netns add "pod-$n"
		if result=$(pod_add "pod-$n" production api 2>&1); then
			made=$((made + 1))
			pod_del "pod-$n" || true
		else
			grep -qE '"code":(5|11)' <<<"$result" || { echo "$result"; return 1; }
		fi
	done
	# LMDB writes into pages that it has: it may go on for long. What was asked for was done, or said not to be.
	result=$(pod_del gone 2>&1) || grep -qE 'full|No space' <<<"$result"
	[ "$(ip -n gone -o link | wc -l)" = 1 ]
	rm /run/railway/ballast
	pod_del gone
	for n in 1 2 3; do
		pod_del "pod-$n"
		[ "$(ip -n "pod-$n" -o link | wc -l)" = 1 ]
	done
	[ "$(devices)" = 1 ]
	[ "$(names)" = "$(pod_address one)" ]
	pod_check one
	pod_add gone production api >/dev/null
	[ "$(names | wc -l)" = "$(wc -l <<<"$before")" ]
}

@test "/run is full before anything was there: ADD says so, and succeeds as soon as there is room" {
	small /run/railway 64k
	fill /run/railway
	ip netns add pod
	carriers=0
	CNI_CONTAINERID=pod plugin railway-mesh ADD \
		"$(config railway-mesh '"ipam":{"type":"railway-ipam"},"service":"api","environment":"production"')"
	expect_error 5 'full|No space'
	[ "$(ip -n pod -o link | wc -l)" = 1 ]
	[ -z "$(leftovers)" ]
	plugin railway-ipam STATUS "$(CNI_VERSION=1.1.0 config railway-ipam)"
	expect_error 50 'full|No space'
	rm /run/railway/ballast
	mount -o remount,size=8M /run/railway
	resolver_start
	pod_add pod production api >/dev/null
	pod_check pod
}

@test "no descriptors, at any point of the whole list: the pod is made or nothing is, and DEL reports what it could not do" {
	resolver_start
	pod_add one production api >/dev/null
	ip netns add pod
	made=0 failed=0
	for limit in $(seq 4 2 34); do
		if (ulimit -n "$limit" && exec 3>&- && pod_add pod production api) >"$NODE/add" 2>&1; then
			made=$((made + 1))
		else
			failed=$((failed + 1))
		fi
		pod_args[pod]="IgnoreUnknown=1;RAILWAY_ENVIRONMENT=production;RAILWAY_SERVICE=api;K8S_POD_NAME=pod"
		(ulimit -n "$limit" && exec 3>&- && pod_del pod) >"$NODE/del" 2>&1 || pod_del pod
		[ "$(ip -n pod -o link | wc -l)" = 1 ]
		[ "$(devices)" = 1 ]
		[ "$(names)" = "$(pod_address one)" ]
	done
	[ "$made" -gt 0 ]
	[ "$failed" -gt 3 ]
	pod_check one
}

@test "no memory for netlink: ADD and DEL say so, and the next DEL leaves nothing" {
	resolver_start
	pod_add one production api >/dev/null
	ip netns add pod
	carriers=1
	config=$(config railway-mesh '"ipam":{"type":"railway-ipam"},"service":"api","environment":"production"')
	with_fault() { # COMMAND FAULT
		run --separate-stderr env CNI_COMMAND="$1" CNI_CONTAINERID=pod CNI_NETNS=/run/netns/pod CNI_IFNAME=eth0 \
			ASAN_OPTIONS="${ASAN_OPTIONS:-}:detect_leaks=0" \
			"$TOOLS/faults/inject" "$NODE/report" "railway-mesh:$2" "$BIN/railway-mesh" <<<"$config"
	}
	refused=0
	# 105: ENOBUFS, what sendto and recvmsg on a netlink socket give then; 12: ENOMEM.
	for fault in sendto:1:105 sendto:4:105 recvmsg:2:105 recvmsg:5:12; do
		with_fault ADD $fault
		grep -q injected "$NODE/report"
		# A question whose answer only serves a better message may fail.
		if [ "$status" != 0 ]; then
			refused=$((refused + 1))
			expect_error "$(jq .code <<<"$output")" 'No buffer space|Cannot allocate memory'
			[ "$(ip -n pod -o link | wc -l)" = 1 ]
			[ "$(devices)" = 1 ]
			CNI_CONTAINERID=pod plugin railway-mesh ADD "$config"
			[ "$status" = 0 ]
		fi
		with_fault DEL $fault
		grep -q injected "$NODE/report"
		[ "$status" = 0 ] || expect_error "$(jq .code <<<"$output")" 'No buffer space|Cannot allocate memory'
		CNI_CONTAINERID=pod plugin railway-mesh DEL "$config"
		[ "$status" = 0 ]
		[ "$(ip -n pod -o link | wc -l)" = 1 ]
		[ "$(devices)" = 1 ]
	done
	[ $refused -ge 2 ]
	pod_check one
}

@test "no free port of listenPorts: ADD says so with code 11 and leaves nothing; a port that comes free is taken" {
	node_conflist "$CONFLIST" '"listenPorts": ["52000-52001"]'
	resolver_start
	pod_add one production api >/dev/null
	pod_add two production api >/dev/null
	carriers=2
	ip netns add three
	failed_add three api 11 'all 2 ports of listenPorts are taken'
	pod_check one
	pod_check two
	pod_del two
	pod_add three production api >/dev/null
	pod_check three
	# Somebody else's socket counts, too.
	pod_del three
	carriers=1
	taken=$(ss -Hlun 'sport >= :52000 and sport <= :52001' | awk '{print $4}' | grep -o '5200[01]' | sort -u)
	[ "$(wc -l <<<"$taken")" = 1 ]
	socat -u "UDP4-RECV:$((104001 - taken))" /dev/null 3>&- &
	other=$!
	until ss -Hlun "sport = :$((104001 - taken))" | grep -q .; do :; done
	failed_add three api 11 'ports of listenPorts are taken'
	kill $other
}

@test "the clock is set back by a day and forward by a year: ADD, names, traffic and DEL go on" {
	resolver_start
	pod_add one production api >/dev/null
	# The plugins' clock, not the machine's: the library answers for the calls that ask what time it is.
	for offset in -86400 31536000 -1700000000; do
		export LD_PRELOAD=$TOOLS/faults/clock.so RAILWAY_CLOCK_OFFSET=$offset
		# A sanitizer's runtime must come first, and finds what other programs leave.
		[ "$VARIANT" != asan ] || export LD_PRELOAD="$(gcc -print-file-name=libasan.so):$LD_PRELOAD" \
			ASAN_OPTIONS="${ASAN_OPTIONS:-}:detect_leaks=0"
		pod_add two production api >/dev/null
		pod_check two
		pod_check one
		unset LD_PRELOAD
		[ "$(names | wc -l)" = 2 ]
		ip netns exec two dig +time=5 +tries=1 +short @fd12::10 AAAA api.railway.internal | grep -q "$(pod_address one)"
		pod_del two
		[ "$(names)" = "$(pod_address one)" ]
	done
}

@test "an older release's registry is read as it is: the same /48, the same subnet, no address twice" {
	cp -r "$BATS_TEST_DIRNAME/stores-0.1.0/registry" /var/lib/railway/
	chmod -R go-rwx /var/lib/railway/registry
	chown -R 0:0 /var/lib/railway/registry
	last=$(cat "$BATS_TEST_DIRNAME/stores-0.1.0/last-address")
	resolver_start
	pod_add one production api >/dev/null
	address=$(pod_address one)
	python3 - "$address" "$last" <<-'EOF'
		import ipaddress, sys
		now, before = (int(ipaddress.ip_address(text)) for text in sys.argv[1:])
		assert now >> 32 == before >> 32 and now > before
	EOF
	# What is new goes beside it, and another environment gets another /48.
	pod_add two production web >/dev/null
	pod_add other staging api >/dev/null
	[ "$(cut -d: -f1-3 <<<"$(pod_address two)")" = "$(cut -d: -f1-3 <<<"$last")" ]
	[ "$(cut -d: -f1-3 <<<"$(pod_address other)")" != "$(cut -d: -f1-3 <<<"$last")" ]
}
