#!/usr/bin/env bats
# A pod's flood beside a pod that asks a little: of the other's queries none is lost, none takes a second; what each takes is printed.
bats_require_minimum_version 1.5.0
load common
load serve

HOSTILE=(python3 "$BATS_TEST_DIRNAME/../lib/hostile.py")
SECONDS_EACH=3
LIMIT=1 # seconds for each answer

# An upstream that answers, one that does not, a victim, an idle hostile pod. Each pod has an upstream of its own: what the flood's cannot keep up with is
# no matter of the resolver's.
setup_pods() {
	upstream 127.0.0.2 5300 192.0.2.2
	socat -u UDP4-RECV:5300,bind=127.0.0.9 /dev/null 3>&- &
	HELPERS+=($!)
	resolver_start --metrics "$NODE/metrics"
	served victim good web 127.0.0.2:5300 >/dev/null
	served hostile evil web "${1:-127.0.0.9:5300}" >/dev/null
	WORKER=$(resolver_worker)
}

# steady FILE [SECONDS]: the victim's private names, and, at the same time, public ones that are asked for the first time; what came of them.
steady() {
	in_netns victim "${HOSTILE[@]}" steady web.railway.internal 28 "${2:-$SECONDS_EACH}" $LIMIT >"$1.private" 3>&- &
	local private=$!
	in_netns victim "${HOSTILE[@]}" steady "${1##*/}-%d.example.com" 1 "${2:-$SECONDS_EACH}" $LIMIT >"$1.public" 3>&- &
	local public=$!
	wait $private $public
}

# beside WHAT COMMAND...: the victim alone, and then while the command runs.
beside() {
	local what=$1 kind answered lost p50 p99 worst quiet
	shift
	steady "$NODE/quiet"
	"$@" >/dev/null 3>&- &
	local flood=$!
	steady "$NODE/flood" "${SECONDS_BESIDE:-}"
	kill -0 "$flood"
	wait "$flood"
	for kind in private public; do
		read -r _ _ _ quiet _ <"$NODE/quiet.$kind"
		read -r answered lost p50 p99 worst <"$NODE/flood.$kind"
		echo "# $what: a $kind name, $answered answered, $lost lost; p99 $p99 µs (alone $quiet), median $p50, longest $worst" >&3
		[ "$answered" -ge $((SECONDS_EACH * 40)) ]
		[ "$lost" = 0 ]
	done
	[ "$(resolver_worker)" = "$WORKER" ]
}

@test "open questions to a silent upstream" {
	setup_pods
	for n in $(seq 1 8); do
		served "evil-$n" evil web 127.0.0.9:5300 >/dev/null
	done
	served sibling evil web 127.0.0.2:5300 >/dev/null
	beside "open questions" "${HOSTILE[@]}" ask example.com $((SECONDS_EACH + 2)) $(seq -f 'evil-%g' 1 8)
	[ "$(metric forward_questions_total)" -gt 1000 ]
	# One more pod of the same environment has its share, too.
	"${HOSTILE[@]}" ask example.com 4 $(seq -f 'evil-%g' 1 8) >"$NODE/asked" 3>&- &
	HELPERS+=($!)
	eventually test -s "$NODE/asked"
	in_netns sibling "${HOSTILE[@]}" steady "sibling-%d.example.com" 1 1 4 >"$NODE/sibling"
	cat "$NODE/sibling"
	read -r answered lost _ <"$NODE/sibling"
	[ "$answered" -ge 20 ]
	[ "$lost" = 0 ]
}

@test "TCP connections: opened, reset, fed with noise, and held" {
	setup_pods
	for n in $(seq 1 32); do
		served "evil-$n" evil web >/dev/null
	done
	mkfifo "$NODE/in" "$NODE/out"
	"${HOSTILE[@]}" hold $(seq -f 'evil-%g' 1 32) <"$NODE/in" >"$NODE/out" 3>&- &
	HELPERS+=($!)
	exec {held}>"$NODE/in"
	read -r -t 20 word <"$NODE/out"
	[ "$word" = held ]
	[ "$(metric tcp_connections)" -ge 1000 ]
	beside "TCP connections" in_netns hostile "${HOSTILE[@]}" tcp_flood $((SECONDS_EACH + 2))
	exec {held}>&-
}

@test "other names all the time, public ones, which fill the cache, and private ones that are not there" {
	upstream 127.0.0.3 5300 192.0.2.2
	setup_pods 127.0.0.3:5300
	kept() { in_netns victim dig +time=1 +tries=1 @fd12::10 +short A kept.example.com | grep -q 192.0.2.2; }
	kept
	before=$(metric cache_entries)
	beside "public names" in_netns hostile "${HOSTILE[@]}" names example.com 1 $((SECONDS_EACH + 2))
	echo "# the cache: $before entries before, $(metric cache_entries) after, $(metric cache_bytes) bytes" >&3
	[ "$(metric cache_entries)" -gt $((before + 500)) ]
	beside "private names" in_netns hostile "${HOSTILE[@]}" names railway.internal 28 $((SECONDS_EACH + 2))
	# What the victim had there is there still.
	kept
	[ "$(grep -c ' kept.example.com$' "$NODE/asked.127.0.0.2")" = 1 ]
}

@test "an upstream of the flood's own that answers late, truncated, and not over TCP" {
	upstream 127.0.0.3 5300 192.0.2.2
	setup_pods
	for n in $(seq 1 9); do
		served "evil-$n" evil web 127.0.0.3:5300 >/dev/null
	done
	# What was given up is still on its way when as much again comes. What this is about is that none is refused: the upstream has two thousand threads
	# on the same processors.
	SECONDS_BESIDE=8 LIMIT=4
	beside "late answers" "${HOSTILE[@]}" ask late.tc.example.com 10 $(seq -f 'evil-%g' 1 9)
	[ "$(metric forward_questions_total)" -gt 2048 ]
}

@test "what one pod has at most of what all share" {
	setup_pods
	"${HOSTILE[@]}" ask example.com 4 hostile >"$NODE/asked" 3>&- &
	HELPERS+=($!)
	eventually test -s "$NODE/asked"
	# Its queries that wait, and those of them that it had before.
	[ "$(metric forward_waiting)" = 256 ]
	in_netns hostile python3 - 3>&- <<-'END' &
		import socket, sys, time
		held = [socket.create_connection(("fd12::10", 53), 5) for _ in range(64)]
		for each in held:
		    try:
		        each.sendall(b"\0")
		    except OSError:
		        pass
		time.sleep(20)
	END
	HELPERS+=($!)
	has_all() { [ "$(metric tcp_connections)" = 32 ]; }
	eventually has_all
	steady "$NODE/beside"
	[ "$(metric tcp_connections)" -le 32 ]
	cat "$NODE/beside.private"
	read -r _ lost _ <"$NODE/beside.private"
	[ "$lost" = 0 ]
}
