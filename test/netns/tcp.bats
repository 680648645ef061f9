#!/usr/bin/env bats
# DNS over TCP, on both sides of the resolver: how connections end, and answers that do not fit a datagram.
bats_require_minimum_version 1.5.0
load common
load serve

HOSTILE=(python3 "$BATS_TEST_DIRNAME/../lib/hostile.py")

ask_dns() { # POD DIG-ARGUMENTS...
	in_netns "$1" dig +time=6 +tries=1 @fd12::10 "${@:2}"
}

start() {
	upstream 127.0.0.2 5300 192.0.2.2
	resolver_start --metrics "$NODE/metrics"
	served one production web 127.0.0.2:5300 >/dev/null
}

@test "a client that has said all: everything is answered, also what an upstream is asked for, and then the connection ends" {
	start
	[ "$(in_netns one "${HOSTILE[@]}" half_close web.railway.internal)" = 1 ]
	[ "$(in_netns one "${HOSTILE[@]}" half_close slow.a.example.com web.railway.internal b.example.com)" = 3 ]
	is_empty() { [ "$(metric tcp_connections)" = 0 ]; }
	eventually is_empty
}

@test "a message that is too large: what was asked before it is answered" {
	start
	[ "$(in_netns one "${HOSTILE[@]}" oversize slow.example.com)" = "True True" ]
	[ "$(metric queries_dropped_total)" = 1 ]
}

@test "another daemon takes over: connections end, one that waits when it has its answer, and none tells what was true before" {
	start
	mkfifo "$NODE/out"
	in_netns one "${HOSTILE[@]}" keep_asking new.railway.internal slow.example.com "$NODE/marker" >"$NODE/out" 3>&- &
	HELPERS+=($!)
	exec {out}<"$NODE/out"
	read -r -t 10 -u "$out" word
	[ "$word" = held ]
	old=$RESOLVER
	resolver_start --take-over
	[ "$RESOLVER" != "$old" ]
	served two production new >/dev/null
	touch "$NODE/marker"
	read -r -t 20 -u "$out" first
	read -r -t 20 -u "$out" second
	echo "in use: $first, waiting: $second"
	[ "$first" = end ]
	[ "$second" = "answer end" ]
	eventually is_gone "$old"
}

@test "an idle connection ends, however often others connect" {
	start
	served two staging web >/dev/null
	mkfifo "$NODE/out"
	in_netns one "${HOSTILE[@]}" idle web.railway.internal >"$NODE/out" 3>&- &
	HELPERS+=($!)
	exec {out}<"$NODE/out"
	read -r -t 10 -u "$out" word
	[ "$word" = held ]
	in_netns two "${HOSTILE[@]}" tcp_flood 30 3>&- &
	HELPERS+=($!)
	read -r -t 20 -u "$out" word
	[ "$word" = end ]
}

@test "an upstream's answer that does not fit UDP: it is fetched over TCP; over TCP the pod gets all of it, over UDP what fits" {
	start
	for size in 900 3000 60000; do
		ask_dns one +tcp TXT "tc-$size.example.com" >"$NODE/tcp"
		grep -q 'status: NOERROR' "$NODE/tcp"
		[ "$(sed -n 's/.*MSG SIZE  rcvd: //p' "$NODE/tcp")" -gt "$size" ]
		refute grep -q 'flags:.* tc' "$NODE/tcp"
	done
	ask_dns one +notcp +ignore +bufsize=1232 TXT tc-900.example.com >"$NODE/udp"
	refute grep -q 'flags:.* tc' "$NODE/udp"
	ask_dns one +notcp +ignore +bufsize=1232 TXT tc-3000.example.com >"$NODE/udp"
	grep -q 'flags:.* tc' "$NODE/udp"
	[ "$(sed -n 's/.*MSG SIZE  rcvd: //p' "$NODE/udp")" -le 1232 ]
	# As clients do it: over UDP, and then over TCP.
	ask_dns one TXT tc-4000.example.com >"$NODE/both"
	[ "$(sed -n 's/.*MSG SIZE  rcvd: //p' "$NODE/both")" -gt 4000 ]
}

@test "an upstream whose TCP leads nowhere: the truncated answer comes, before what is silent is given up" {
	start
	nft add table inet nowhere
	nft add chain inet nowhere output '{ type filter hook output priority 0; }'
	nft add rule inet nowhere output ip daddr 127.0.0.2 tcp dport 5300 drop
	ask_dns one A silent.example.com >"$NODE/silent" 3>&- &
	silent=$!
	ask_dns one +notcp +ignore A tc.example.com >"$NODE/udp"
	grep -q 'flags:.* tc' "$NODE/udp"
	kill -0 "$silent"
	wait "$silent"
	grep -q 'status: SERVFAIL' "$NODE/silent"
	nft delete table inet nowhere
}
