#!/usr/bin/env bats
# The resolver's life: crashes under load, a new release that takes over, what the service manager is told.
bats_require_minimum_version 1.5.0
load common
load serve

ask_dns() { # POD DIG-ARGUMENTS...
	nsenter --net="/run/netns/$1" dig +time=5 +tries=1 @fd12::10 +short "${@:2}"
}

# With an address: dig writes complaints to the same place.
is_answered() { # POD NAME
	ask_dns "$1" AAAA "$2" | grep -qE '^[0-9a-f:]+$'
}

@test "the worker crashes under load, three times and in three ways: what was queued is answered" {
	resolver_start
	served one production svc0
	supervisor=$RESOLVER
	load_begin 4
	n=0
	# A sanitizer would report what it takes for a fault of its own.
	for signal in KILL "$([ "$VARIANT" = asan ] && echo ILL || echo SEGV)" ABRT; do
		n=$((n + 1))
		worker=$(resolver_worker)
		kill -$signal "$worker"
		eventually is_gone "$worker"
		eventually log_says 'the worker runs' $((n + 1))
		eventually is_answered one svc0.railway.internal
	done
	# A worker takes at most 32 out of the queue at a time: those it takes with it.
	load_end 96
	kill -0 "$supervisor"
	is_answered one svc0.railway.internal
}

@test "workers that die one after the other: the pause grows, and never beyond what a client waits" {
	resolver_start
	served one production svc0
	longest=0
	for n in $(seq 1 9); do
		kill -KILL "$(resolver_worker)"
		start=$(date +%s%N)
		is_answered one svc0.railway.internal
		took=$((($(date +%s%N) - start) / 1000000))
		[ "$took" -le "$longest" ] || longest=$took
		eventually log_says 'the worker runs' $((n + 1))
	done
	# The first of them waits for nothing, the last for 2 s.
	echo "# the longest that a query waited: $longest ms" >&3
	[ "$longest" -ge 1500 ]
	[ "$longest" -lt 4000 ]
}

@test "a worker that hangs while nothing is asked of it is replaced" {
	resolver_start
	served one production svc0
	worker=$(resolver_worker)
	kill -STOP "$worker"
	eventually is_gone "$worker"
	is_answered one svc0.railway.internal
}

@test "another daemon takes over under load: no query is lost, not one that waits for an upstream, not one over TCP" {
	upstream 127.0.0.2 5300 192.0.2.2
	resolver_start
	served one production svc0 127.0.0.2:5300
	served two production svc0
	old=$RESOLVER old_worker=$(resolver_worker)
	inode=$(stat -c %i /run/railway/resolver.sock)
	load_begin 5
	ask_dns one A slow.example.com >"$NODE/slow" 3>&- &
	slow=$!
	ask_dns one +tcp A slow.tcp.example.com >"$NODE/slow.tcp" 3>&- &
	slow_tcp=$!
	is_asked() { [ "$(grep -c slow "$NODE/asked.127.0.0.2")" = 2 ]; }
	eventually is_asked
	resolver_start --take-over
	[ "$RESOLVER" != "$old" ]
	wait "$slow" "$slow_tcp"
	grep -qx 192.0.2.2 "$NODE/slow"
	grep -qx 192.0.2.2 "$NODE/slow.tcp"
	eventually is_gone "$old"
	eventually is_gone "$old_worker"
	# The same socket, and the new one behind it: ADD, CHECK, DEL, and what the netns needs to go.
	[ "$(stat -c %i /run/railway/resolver.sock)" = "$inode" ]
	[ -S /run/railway/resolver.sock ]
	served three staging web
	is_answered three web.railway.internal
	[ "$(ask_dns two AAAA svc0.railway.internal | grep -c '^fd')" = 2 ]
	"$TOOLS/resolver_tool" ask /run/railway/resolver.sock check one
	ip link add outside type veth peer name inside netns two
	"$TOOLS/resolver_tool" ask /run/railway/resolver.sock remove two
	ip netns del two
	is_freed() { ! ip link show outside 2>/dev/null; }
	eventually is_freed
	load_end 0
	refute grep -E 'level=(error|warn)' "$NODE/resolver.log"
	# A third one, which refuses to be the second of two.
	run timeout 5 "$BIN/railway-resolverd"
	[ "$status" -ne 0 ]
}

@test "a daemon that fails while it takes over: the old one goes on" {
	resolver_start
	served one production svc0
	load_begin 3
	# It takes everything, and is killed before it confirms.
	python3 - <<-'END'
		import array, socket
		s = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
		s.connect("/run/railway/resolver.sock")
		s.send(bytes([1, 5]))
		kinds = []
		while kinds[-1:] != [3]:
		    data, control, flags, _ = s.recvmsg(4096, 64)
		    assert data, "it hung up"
		    kinds.append(data[0])
		    assert len(control) == (0 if data[0] == 3 else 1)
		assert kinds == [1, 2, 3], kinds
	END
	eventually log_says 'hand-over failed' 1
	served two production svc0
	[ "$(ask_dns two AAAA svc0.railway.internal | grep -c '^fd')" = 2 ]
	# One whose configuration is wrong does not even ask.
	echo '{"nosuchkey": 1}' >"$NODE/wrong.json"
	run timeout 5 "$BIN/railway-resolverd" --take-over --config "$NODE/wrong.json"
	[ "$status" -ne 0 ]
	kill -0 "$RESOLVER"
	load_end 0
}

@test "USR2: the program that is in place now takes over; without a daemon --take-over is a start" {
	mkdir "$NODE/bin"
	cp "$BIN/railway-resolverd" "$NODE/bin/"
	chmod 0755 "$NODE" "$NODE/bin"
	BIN=$NODE/bin resolver_start --take-over
	served one production svc0
	old=$RESOLVER
	# As packages are upgraded.
	cp "$BIN/railway-resolverd" "$NODE/bin/new"
	mv "$NODE/bin/new" "$NODE/bin/railway-resolverd"
	load_begin 4
	kill -USR2 "$old"
	eventually is_gone "$old"
	load_end 0
	RESOLVER=$(pgrep -f 'railway-resolverd --take-over')
	[ "$(readlink "/proc/$RESOLVER/exe")" = "$NODE/bin/railway-resolverd" ]
	is_answered one svc0.railway.internal
	kill "$RESOLVER"
	eventually is_gone "$RESOLVER"
	RESOLVER=
	[ ! -e /run/railway/resolver.sock ]
}

@test "the service manager hears: ready, reloading, the watchdog, the successor, the end" {
	python3 - "$NODE/notify" "$NODE/told" <<-'END' 3>&- &
		import os, socket, sys
		s = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
		s.bind(sys.argv[1])
		with open(sys.argv[2], "w", buffering=1) as told:
		    while True:
		        told.write(s.recv(4096).decode().replace("\n", " ") + "\n")
	END
	listener=$!
	eventually test -S "$NODE/notify"
	told() { grep -qE "$1" "$NODE/told"; }
	export NOTIFY_SOCKET=$NODE/notify WATCHDOG_USEC=400000
	resolver_start
	eventually told '^READY=1$'
	eventually told '^WATCHDOG=1$'
	kill -HUP "$RESOLVER"
	eventually told '^RELOADING=1 MONOTONIC_USEC=[0-9]+$'
	eventually bash -c "[ \$(grep -c '^READY=1' '$NODE/told') = 2 ]"
	old=$RESOLVER
	resolver_start --take-over
	eventually told "^MAINPID=$RESOLVER\$"
	eventually is_gone "$old"
	refute told STOPPING
	resolver_stop
	eventually told '^STOPPING=1$'
	unset NOTIFY_SOCKET WATCHDOG_USEC
	kill "$listener"
}
