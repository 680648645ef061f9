#!/usr/bin/env bash
# The demo holds, and leaves nothing: neither when it ends nor when it is interrupted, nor when it is killed.
set -uo pipefail
root=$PWD
export BIN=$root/build/release/bin TOOLS=$root/build/release/test
passed=0 failed=0
output=$(mktemp)
trap 'rm -f "$output"' EXIT

state() {
	ip netns list
	ip -o link | cut -d: -f2
	pgrep -x wireguard-go
	pgrep -f railway-resolverd
	pgrep -f test/demo
	ls -d /run/railway /var/lib/railway /run/node /var/run/wireguard 2>/dev/null
}
before=$(state)

check() { # WHAT
	local end=$((SECONDS + 10))
	# What the kernel takes away after a process's end may take a moment.
	until [ "$(state)" = "$before" ]; do
		if [ $SECONDS -ge $end ]; then
			echo "demo: $1: left behind:" >&2
			diff <(echo "$before") <(state) >&2
			failed=$((failed + 1))
			return
		fi
		sleep 0.1
	done
	passed=$((passed + 1))
}

# A shell without job control starts what is in the background with INT ignored.
demo() { exec setsid env --default-signal=INT bash test/lib/isolate.bash bash test/demo/demo.bash; }

(demo) >"$output" 2>&1
if [ $? = 0 ] && grep -q 'everything holds' "$output"; then passed=$((passed + 1)); else
	failed=$((failed + 1))
	cat "$output" >&2
fi
check "after its end"

for signal in INT KILL; do
	(demo) >"$output" 2>&1 &
	demo=$!
	until grep -q 'six times' "$output"; do
		kill -0 $demo 2>/dev/null || break
		sleep 0.02
	done
	# INT as a terminal sends it, to all of its group; KILL to the first process alone.
	if [ $signal = INT ]; then kill -INT -- -$demo; else kill -KILL $demo; fi
	wait $demo 2>/dev/null
	check "after SIG$signal"
	if grep -q 'everything holds' "$output"; then
		echo "demo: SIG$signal came too late to show anything" >&2
		failed=$((failed + 1))
	fi
done
[ -z "${RAILWAY_COUNTS:-}" ] || echo "$passed $failed 0" >>"$RAILWAY_COUNTS"
[ "$failed" = 0 ]
