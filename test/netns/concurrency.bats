#!/usr/bin/env bats
# Many operations at once, and operations that are killed in the middle.
bats_require_minimum_version 1.5.0
load common

# Sanitized binaries, and an emulated machine, take many times as long.
if [ -z "${ROUNDS:-}" ]; then
	ROUNDS=20
	[ "$VARIANT" != asan ] || ROUNDS=4
	[ "${EMULATED:-}" != 1 ] || ROUNDS=2
fi
MOMENTS=30
[ "${EMULATED:-}" != 1 ] || MOMENTS=9

KEYS='"ipam":{"type":"railway-ipam"},"service":"api","environment":"production"'

mesh() { # COMMAND POD
	CNI_COMMAND=$1 CNI_CONTAINERID=$2 CNI_NETNS=/run/netns/$2 CNI_IFNAME=eth0 CNI_ARGS= \
		"$CNI_PATH/railway-mesh" <<<"$(config railway-mesh "$KEYS")" 3>&-
}

start() { # COMMAND POD...: one process each, in $jobs
	local command=$1 pod
	shift
	for pod in "$@"; do
		mesh "$command" "$pod" >"$NODE/$command.$pod" 2>&1 &
		jobs+=($!)
	done
}

finish() { # waits for $jobs, which must all succeed
	local job failed=0
	for job in "${jobs[@]}"; do
		wait "$job" || failed=1
	done
	jobs=()
	[ $failed = 0 ] || { grep -h '"code"' "$NODE"/ADD.* "$NODE"/DEL.*; return 1; }
}

# wired POD...: there are exactly these pods' devices; each has exactly the other ones as peers, each peer's key with its own address.
wired() {
	local pod
	for pod in "$@"; do
		echo "$(pod_address "$pod")/128"
	done >"$NODE/wanted"
	dump_devices "$@" | awk -v count=$# '
		FILENAME != "-" { wanted[$1]; next }
		NF == 5 { key[$1] = $3; next }
		{ peers[$1]++; address[$1, $2] = $5; has[$1, $5] }
		END {
			for (device in key) {
				devices++
				for (a in wanted)
					if (!((device, a) in has)) { own[device] = a; missing[device]++ }
				if (missing[device] != 1 || peers[device] != count - 1 || used[own[device]]++) {
					print device " has " peers[device] " peers, and " missing[device] " are missing"; bad = 1
				}
			}
			for (device in key)
				for (other in key)
					if (device != other && address[device, key[other]] != own[other]) {
						print device " has another address for the key of " other; bad = 1
					}
			if (devices != count) { print devices " devices, not " count; bad = 1 }
			exit bad
		}' "$NODE/wanted" -
}

gone() { # POD...: nothing is left of these
	local pod
	for pod in "$@"; do
		[ "$(ip -n "$pod" -o link | wc -l)" = 1 ] || { echo "$pod still has an interface"; return 1; }
		[ "$(ip -n "$pod" -6 rule | grep -c 21057)" = 0 ]
		CNI_CONTAINERID=$pod CNI_NETNS=/run/netns/$pod plugin railway-ipam CHECK \
			"$(config railway-ipam '"service":"api","environment":"production"')"
		expect_error 102 'no lease'
	done
}

# What killed processes started ends by itself, but not at once.
eventually() { # COMMAND...
	local end=$((SECONDS + 5))
	until "$@"; do
		[ $SECONDS -lt $end ] || return 1
	done
}

left() { # PROCESSES INTERFACES: as many as there shall be
	[ "$(devices)" = "$1" ] && [ "$(pgrep -cx wireguard-go)" = "$(ls /var/run/wireguard 2>/dev/null | wc -l)" ] &&
		[ -z "$(ip -o link | grep rwg)" ]
}

pause() { # SECONDS: without a process
	read -r -t "$1" <>"$NODE/never" || true
}

milliseconds() { # COMMAND...: how long it takes
	local start=${EPOCHREALTIME/./}
	"$@" >/dev/null
	echo $(((${EPOCHREALTIME/./} - start) / 1000 + 1))
}

@test "twenty pods of one environment are added at once, and deleted at once" {
	jobs=() pods=()
	for n in $(seq 20); do
		pods+=("pod-$n")
		ip netns add "pod-$n"
	done
	for round in $(seq $ROUNDS); do
		start ADD "${pods[@]}"
		finish
		wired "${pods[@]}"
		[ "$(devices)" = 20 ]
		start DEL "${pods[@]}"
		finish
		[ -z "$(leftovers)" ]
		[ -z "$(ls /run/railway/locks)" ]
	done
	gone "${pods[@]}"
}

@test "ten pods are added while ten are deleted, and CHECK of one that stays finds no fault meanwhile" {
	jobs=() even=() odd=()
	for n in $(seq 10); do
		even+=("even-$n") odd+=("odd-$n")
		ip netns add "even-$n"
		ip netns add "odd-$n"
	done
	ip netns add steady
	start ADD steady "${even[@]}"
	finish
	(while [ ! -e "$NODE/enough" ]; do
		mesh CHECK steady || break
	done >"$NODE/checked" 2>&1) 3>&- &
	checker=$!
	for round in $(seq $((ROUNDS / 2))); do
		start DEL "${even[@]}"
		start ADD "${odd[@]}"
		finish
		wired steady "${odd[@]}"
		[ "$(devices)" = 11 ]
		start ADD "${even[@]}"
		start DEL "${odd[@]}"
		finish
		wired steady "${even[@]}"
		[ "$(devices)" = 11 ]
	done
	gone "${odd[@]}"
	touch "$NODE/enough"
	wait $checker
	[ -z "$(cat "$NODE/checked")" ] || { cat "$NODE/checked"; return 1; }
}

@test "ADD, ADD and DEL of one attachment at once: one DEL afterwards, and nothing is left" {
	mkfifo "$NODE/never"
	ip netns add sibling
	ip netns add pod
	mesh ADD sibling
	for round in $(seq $((MOMENTS * 2 / 5))); do
		jobs=()
		start ADD pod
		pause "0.0$((round % 4 * 2))"
		mesh DEL pod >"$NODE/DEL.pod" 2>&1 &
		jobs+=($!)
		mesh ADD pod >"$NODE/second" 2>&1 &
		jobs+=($!)
		wait "${jobs[@]}" || true
		# Whatever was refused was refused for what it is.
		refute grep -hvE '"code":(11|100)' <(grep -h '"code"' "$NODE/ADD.pod" "$NODE/DEL.pod" "$NODE/second")
		[ "$(devices)" -le 2 ]
		mesh DEL pod
		gone pod
		wired sibling
		eventually left 1
	done
}

@test "two processes take up one attachment at once: one of them makes it, the other is refused" {
	ip netns add pod
	for round in $(seq $((MOMENTS / 2))); do
		CNI_CONTAINERID=pod plugin railway-ipam ADD "$(config railway-ipam '"service":"api","environment":"production"')"
		[ "$status" = 0 ]
		# Sanitized binaries, and an emulated machine, take many times as long.
if [ -z "${ROUNDS:-}" ]; then
	ROUNDS=20
	[ "$VARIANT" != asan ] || ROUNDS=4
	[ "${EMULATED:-}" != 1 ] || ROUNDS=2
fi
MOMENTS=30
[ "${EMULATED:-}" != 1 ] || MOMENTS=9

KEYS="\"prevResult\":$output"
		succeeded=0 jobs=()
		for n in 1 2 3; do
			mesh ADD pod >"$NODE/ADD.$n" 2>&1 &
			jobs+=($!)
		done
		for job in "${jobs[@]}"; do
			if wait "$job"; then
				succeeded=$((succeeded + 1))
			fi
		done
		[ $succeeded = 1 ] || { cat "$NODE"/ADD.*; return 1; }
		refute grep -hvE '"code":(11|100)' <(grep -h '"code"' "$NODE"/ADD.*)
		mesh CHECK pod
		mesh DEL pod
		CNI_CONTAINERID=pod plugin railway-ipam DEL "$(config railway-ipam)"
		gone pod
		[ -z "$(leftovers)" ]
	done
}

@test "railway-mesh is killed at many moments of an ADD: one DEL, and nothing is left" {
	mkfifo "$NODE/never"
	ip netns add sibling
	ip netns add pod
	mesh ADD sibling
	duration=$(milliseconds mesh ADD pod)
	mesh DEL pod
	killed=0
	for n in $(seq 0 $((MOMENTS - 1))); do
		CNI_COMMAND=ADD CNI_CONTAINERID=pod CNI_NETNS=/run/netns/pod CNI_IFNAME=eth0 \
			"$CNI_PATH/railway-mesh" <<<"$(config railway-mesh "$KEYS")" >"$NODE/ADD.pod" 2>&1 3>&- &
		pid=$!
		pause "$(printf '0.%04d' $((duration * 10 * n / MOMENTS)))"
		if kill -KILL $pid 2>/dev/null && [ ! -s "$NODE/ADD.pod" ]; then
			killed=$((killed + 1))
		else # it was quicker than the first one
			duration=$((duration * 2 / 3 + 1))
		fi
		wait $pid || true
		mesh DEL pod
		gone pod
		wired sibling
		eventually left 1
	done
	[ $killed -ge $((MOMENTS / 3)) ]
}

@test "railway-mesh is killed at many moments of a DEL: one DEL more, and nothing is left" {
	mkfifo "$NODE/never"
	ip netns add sibling
	ip netns add pod
	mesh ADD sibling
	mesh ADD pod
	duration=$(milliseconds mesh DEL pod)
	killed=0
	for n in $(seq 0 $((MOMENTS * 2 / 3 - 1))); do
		mesh ADD pod
		CNI_COMMAND=DEL CNI_CONTAINERID=pod CNI_NETNS=/run/netns/pod CNI_IFNAME=eth0 \
			"$CNI_PATH/railway-mesh" <<<"$(config railway-mesh "$KEYS")" >"$NODE/DEL.pod" 2>&1 3>&- &
		pid=$!
		pause "$(printf '0.%04d' $((duration * 10 * n * 3 / MOMENTS / 2)))"
		if kill -KILL $pid 2>/dev/null; then
			killed=$((killed + 1))
		else # it was quicker than the first one
			duration=$((duration * 2 / 3 + 1))
		fi
		wait $pid || true
		mesh DEL pod
		gone pod
		wired sibling
		eventually left 1
	done
	[ $killed -ge $((MOMENTS / 5)) ]
}
