#!/usr/bin/env bats
# The query log: what it says, and that nothing that happens to its file reaches anybody who asks.
bats_require_minimum_version 1.5.0
load common
load serve

LOG=$NODE/queries.log

eval "$(declare -f teardown | sed '1s/teardown/teardown_node/')"
teardown() {
	teardown_node
	umount "$NODE/full" 2>/dev/null || true
}

ask_dns() { # POD DIG-ARGUMENTS...
	nsenter --net="/run/netns/$1" dig +time=6 +tries=1 @fd12::10 +short "${@:2}"
}

# ask_many POD COUNT: so many queries, every one of which must be answered within a second; a fiftieth of a second between them.
ask_many() {
	nsenter --net="/run/netns/$1" python3 "$BATS_TEST_DIRNAME/../lib/hostile.py" measure web.railway.internal "$(awk -v n="$2" 'BEGIN {print n / 50}')"
}

writer() {
	pgrep -P "$RESOLVER" -f query-log-writer
}

# Whole lines, each of them one object.
is_whole() { # FILE
	[ "$(tail -c 1 "$1" | od -An -c | tr -d ' ')" = '\n' ]
	[ "$(jq -c . "$1" | wc -l)" = "$(wc -l <"$1")" ]
}

# How many answers a log accounts for: those that it shows, and those that it says are missing.
accounted() { # FILE...
	cat "$@" | jq -s 'map(.dropped // 1) | add // 0'
}

accounts_for() { # COUNT FILE...
	[ "$(accounted "${@:2}")" = "$1" ]
}

counted() { # METRIC: the sum of what its lines say
	curl -s --unix-socket "$NODE/metrics" http://resolver/metrics |
		awk -v name="^railway_resolver_$1[ {]" '$0 ~ name {sum += $NF} END {print sum + 0}'
}

@test "a line for each answer: who asked what, what came of it and how long it took" {
	upstream 127.0.0.2 5300 192.0.2.2
	resolver_start --query-log "$LOG"
	[ "$(stat -c %a "$LOG")" = 600 ]
	served web-1 'a "quoted\ name' web 127.0.0.2:5300
	served api-1 production api
	ask_dns web-1 AAAA WEB.railway.internal
	ask_dns web-1 +tcp A web.railway.internal
	ask_dns web-1 AAAA nosuch.railway.internal
	ask_dns web-1 A one.example.com
	ask_dns web-1 +tcp A one.example.com
	ask_dns web-1 A fail.example.com
	ask_dns web-1 A silent.example.com
	ask_dns web-1 -t TYPE65280 web.railway.internal
	ask_dns web-1 +edns=1 +noednsneg AAAA web.railway.internal
	ask_dns web-1 AAAA 'q\"u\\o\000t\010\255\.e.railway.internal'
	ask_dns api-1 SOA railway.internal
	eventually accounts_for 11 "$LOG"
	is_whole "$LOG"
	jq -r 'select(.container == "web-1") | [.name, .type, .answer, .records, .transport] | map(tostring) | join(" ")' "$LOG" >"$NODE/said"
	cat >"$NODE/expected" <<-'END'
		web.railway.internal. AAAA NOERROR 1 udp
		web.railway.internal. A NODATA 0 tcp
		nosuch.railway.internal. AAAA NXDOMAIN 0 udp
		one.example.com. A NOERROR 1 udp
		one.example.com. A NOERROR 1 tcp
		fail.example.com. A SERVFAIL 0 udp
		silent.example.com. A TIMEOUT 0 udp
		web.railway.internal. TYPE65280 NODATA 0 udp
		web.railway.internal. AAAA BADVERS 0 udp
		q\"u\\o\000t\010\255\.e.railway.internal. AAAA NXDOMAIN 0 udp
	END
	diff "$NODE/expected" "$NODE/said"
	[ "$(jq -r 'select(.container == "web-1") | .environment + " " + .service + " " + .replica' "$LOG" | sort -u)" = 'a "quoted\ name web web-1' ]
	[ "$(jq -c 'select(.container == "api-1") | [.environment, .service, .replica, .name, .type, .answer]' "$LOG")" = \
		'["production","api","api-1","railway.internal.","SOA","NOERROR"]' ]
	jq -es 'map(select(.answer == "TIMEOUT") | .duration_ms) | length == 1 and all(. > 3000 and . < 5000)' "$LOG"
	jq -es 'map(select(.answer != "TIMEOUT") | .duration_ms) | all(. >= 0 and . < 1000)' "$LOG"
	# Each has the time of its answer.
	jq -es 'map(.time[0:19] + "Z" | fromdate) | . == sort and now - max < 60 and now - min < 60' "$LOG"
}

@test "neither supervisor nor worker has the file; its writer has nothing else" {
	resolver_start --query-log "$LOG"
	served web-1 production web
	ask_dns web-1 AAAA web.railway.internal
	eventually accounts_for 1 "$LOG"
	refute grep -q queries.log <(ls -l "/proc/$(resolver_worker)/fd" "/proc/$RESOLVER/fd")
	pid=$(writer)
	status() { awk -v key="$1:" '$1 == key {print $2}' "/proc/$pid/status"; }
	[ "$(status Uid)" = 61053 ]
	[ "$(status Gid)" = 61053 ]
	for set in CapInh CapPrm CapEff CapBnd CapAmb; do
		[ "$(status $set)" = 0000000000000000 ]
	done
	[ "$(status NoNewPrivs)" = 1 ]
	[ "$(status Seccomp)" = 2 ]
	[ "$(readlink "/proc/$pid/fd/5")" = "$LOG" ]
	# Standard files, its channel, the log; a sanitizer may have one more.
	[ "$VARIANT" = asan ] || [ "$(ls "/proc/$pid/fd" | sort -n | xargs)" = "0 1 2 3 5" ]
	refute grep -q 'data.mdb\|lock.mdb' "/proc/$pid/maps"
	resolver_stop
	# Its filter is the worker's, without sockets.
	"$TOOLS/filter_probe" writer >"$NODE/calls"
	for call in udp_socket tcp_socket unix_stream netlink bind linger memory_file signal_other map_code; do
		grep -qx "$call EPERM" "$NODE/calls"
	done
	for call in execve setns unshare io_uring bpf; do
		grep -qx "$call killed" "$NODE/calls"
	done
	grep -qx 'map_data allowed' "$NODE/calls"
	# Without one there is neither a ring nor a writer.
	resolver_start
	refute writer
	refute grep -q railway-queries "/proc/$(resolver_worker)/maps"
	grep -q railway-metrics "/proc/$(resolver_worker)/maps"
}

@test "a pod's flood: the others' lines are all there, every line is whole, and what is missing is counted" {
	resolver_start --query-log "$LOG" --metrics "$NODE/metrics"
	served flood evil svc0
	served web-1 good web
	"$TOOLS/dns_bench" load 53 1 64 3 3000 flood >"$NODE/load" 3>&- &
	load=$!
	ask_many web-1 100
	wait "$load"
	read -r answered lost rest <"$NODE/load"
	echo "answered $answered, lost $lost ($rest)"
	[ "$answered" -gt 1000 ]
	asked=$(counted queries_total)
	eventually accounts_for "$asked" "$LOG"
	is_whole "$LOG"
	of_flood=$(jq -s 'map(select(.container == "flood")) | length' "$LOG")
	of_web=$(jq -s 'map(select(.container == "web-1")) | length' "$LOG")
	echo "asked $asked, lines of the flood $of_flood, of the other $of_web"
	# A hundred a second, in each second that it touches.
	[ "$of_flood" -ge 100 ]
	[ "$of_flood" -le 600 ]
	# None of the other's is missing.
	of_good=$(curl -s --unix-socket "$NODE/metrics" http://resolver/metrics |
		awk '/queries_total\{environment="good"/ {sum += $NF} END {print sum + 0}')
	[ "$of_good" -ge 30 ]
	[ "$of_web" = "$of_good" ]
	[ "$(jq -s 'map(.dropped // 0) | add' "$LOG")" = "$(counted query_log_dropped_total)" ]
	refute jq -es 'any(.dropped and .container)' "$LOG"
}

@test "a full disk: all are answered, no line is there in part, and with room again nothing is missing" {
	mkdir "$NODE/full"
	mount -t tmpfs -o size=16k tmpfs "$NODE/full"
	log=$NODE/full/queries.log
	resolver_start --query-log "$log" --metrics "$NODE/metrics"
	served web-1 production web
	ask_many web-1 150
	eventually log_says 'takes no lines.*No space left'
	is_whole "$log"
	shown=$(accounted "$log")
	asked=$(counted queries_total)
	[ "$shown" -lt "$asked" ]
	[ "$(ask_dns web-1 AAAA web.railway.internal | grep -c '^fd')" = 1 ]
	mount -o remount,size=1m "$NODE/full"
	eventually accounts_for $((asked + 1)) "$log"
	is_whole "$log"
	refute grep -q dropped "$log"
	log_says 'takes lines again'
	resolver_stop
	umount "$NODE/full"
}

@test "a FIFO that nobody reads: all are answered, and who reads later gets whole lines" {
	mkfifo "$NODE/fifo"
	resolver_start --query-log "$NODE/fifo" --metrics "$NODE/metrics"
	served web-1 production web
	# F_SETPIPE_SZ; it stays while the resolver has it open.
	python3 -c 'import fcntl, os, sys; fcntl.fcntl(os.open(sys.argv[1], os.O_RDWR), 1031, 4096)' "$NODE/fifo"
	ask_many web-1 100
	eventually log_says 'takes no lines.*nobody reads'
	timeout 1 "$TOOLS/resolver_tool" ask /run/railway/resolver.sock status
	cat "$NODE/fifo" >"$LOG" 3>&- &
	HELPERS+=($!)
	eventually accounts_for "$(counted queries_total)" "$LOG"
	is_whole "$LOG"
	refute grep -q dropped "$LOG"
	# The reader goes, and another one comes.
	kill "${HELPERS[@]}"
	wait "${HELPERS[@]}" || true
	HELPERS=()
	ask_many web-1 20
	cat "$NODE/fifo" >"$NODE/second" 3>&- &
	HELPERS+=($!)
	eventually accounts_for "$(counted queries_total)" "$LOG" "$NODE/second"
	is_whole "$NODE/second"
}

@test "a disk that hangs, as a writer that is stopped: the others go on, and so does the end" {
	resolver_start --query-log "$LOG"
	served web-1 production web
	kill -STOP "$(writer)"
	ask_many web-1 20
	timeout 1 "$TOOLS/resolver_tool" ask /run/railway/resolver.sock status
	resolver_stop
	refute pgrep -f query-log-writer
}

@test "a disk that hangs when the file is opened: pods come, are answered and go, and so does the daemon" {
	BIN=$PAUSES
	mkfifo "$NODE/reached" "$NODE/go"
	# What is read first may be the end of one that was killed.
	hangs() { timeout 20 bash -c "until read -r _ <'$NODE/reached'; do :; done"; }
	RAIL_PAUSE="log-opened $NODE" resolver_start --query-log "$LOG"
	hangs
	served web-1 production web
	ask_dns web-1 AAAA web.railway.internal | grep '^fd'
	kill -HUP "$RESOLVER"
	# The next one, after the first was given up.
	hangs
	timeout 1 "$TOOLS/resolver_tool" ask /run/railway/resolver.sock status
	ip link add outside type veth peer name inside netns web-1
	"$TOOLS/resolver_tool" ask /run/railway/resolver.sock remove web-1
	ip netns del web-1
	is_freed() { ! ip link show outside 2>/dev/null; }
	eventually is_freed
	resolver_stop
	refute pgrep -f 'railway-resolverd'
}

@test "rotation: HUP opens the path anew; no line is lost, none is there twice; a path that fails is tried again" {
	mkdir "$NODE/logs"
	log=$NODE/logs/queries.log
	resolver_start --query-log "$log" --metrics "$NODE/metrics"
	served web-1 production web
	"$TOOLS/dns_bench" load 53 1 1 4 60 web-1 >/dev/null 3>&- &
	load=$!
	eventually test -s "$log"
	for n in 1 2 3; do
		old=$(writer)
		mv "$log" "$log.$n"
		kill -HUP "$RESOLVER"
		eventually test -s "$log"
		[ "$(writer)" != "$old" ]
	done
	wait "$load"
	eventually accounts_for "$(counted queries_total)" "$log" "$log".[123]
	for file in "$log" "$log".[123]; do
		is_whole "$file"
	done
	# It ends meanwhile.
	kill -KILL "$(writer)"
	ask_dns web-1 AAAA web.railway.internal
	eventually accounts_for "$(counted queries_total)" "$log" "$log".[123]
	log_says "query log's writer died"
	# Not even the directory is there.
	mv "$NODE/logs" "$NODE/elsewhere"
	kill -HUP "$RESOLVER"
	eventually log_says 'query log stands still.*queries.log'
	ask_dns web-1 AAAA web.railway.internal
	mkdir "$NODE/logs"
	eventually test -s "$log"
	eventually accounts_for "$(counted queries_total)" "$log" "$NODE"/elsewhere/queries.log*
	# What a crash of the machine left is one bad line, and no more.
	resolver_stop
	printf '{"time":"2026-' >>"$log"
	resolver_start --query-log "$log"
	ask_dns web-1 AAAA web.railway.internal
	ends_well() { tail -n 1 "$log" | jq -e '.answer == "NOERROR"'; }
	eventually ends_well
}

@test "the worker dies, another daemon takes over, USR2: each answer has its line" {
	resolver_start --query-log "$LOG"
	served web-1 production svc0
	"$TOOLS/dns_bench" load 53 1 16 6 60 web-1 >"$NODE/load" 3>&- &
	load=$!
	old=$RESOLVER
	eventually test -s "$LOG"
	resolver_start --take-over --query-log "$LOG"
	eventually is_gone "$old"
	[ -n "$(writer)" ]
	old=$RESOLVER
	kill -USR2 "$old"
	eventually is_gone "$old"
	RESOLVER=$(pgrep -f 'railway-resolverd --take-over' | head -1)
	eventually writer
	wait "$load"
	read -r answered lost rest <"$NODE/load"
	echo "answered $answered, lost $lost ($rest)"
	[ "$lost" = 0 ]
	eventually accounts_for "$answered" "$LOG"
	is_whole "$LOG"
	kill -KILL "$(resolver_worker)"
	ask_dns web-1 AAAA svc0.railway.internal
	eventually accounts_for $((answered + 1)) "$LOG"
	kill "$RESOLVER"
	eventually is_gone "$RESOLVER"
	RESOLVER=
}

@test "paths that are none: the daemon says so and does not run" {
	for path in queries.log "$NODE/nosuch/queries.log" "$NODE"; do
		run timeout 5 "$BIN/railway-resolverd" --query-log "$path"
		[ "$status" -ne 0 ]
		[ "$status" -ne 124 ]
		[[ $output == *"$path"* ]]
	done
	[ ! -e /run/railway/resolver.sock ]
}
