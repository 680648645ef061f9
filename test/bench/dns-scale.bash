#!/usr/bin/env bash
# What many registered pods cost the resolver: start, hand-over, memory, descriptors, processor time while nobody asks. Run by
# `sudo make bench-dns-scale` (PODS=4000). Where root may not raise its limit of open files, PODS=10000 needs the virtual machine
# (bench-vm).
set -euo pipefail
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
# shellcheck source=test/lib/node.bash
. "$here/../lib/node.bash"
PODS=${PODS:-4000} IDLE=${IDLE:-20} PATIENCE=600
mkdir -p "$NODE"
# Two sockets a pod, in two processes.
ulimit -Hn 1048576 2>/dev/null || true
ulimit -n "$(ulimit -Hn)"

mkdir -p /run/netns
"$TOOLS/resolver_tool" pods /var/lib/railway /run/railway "$PODS" >/dev/null

milliseconds() { # COMMAND...
	local start
	start=$(date +%s%N)
	"$@"
	echo $((($(date +%s%N) - start) / 1000000))
}
show() { # NAME PROCESS
	printf '  %-11s %5d descriptors, %6d KB in memory, %6d KB of it its own\n' "$1" "$(find "/proc/$2/fd" -mindepth 1 | wc -l)" \
		"$(awk '$1 == "VmRSS:" {print $2}' "/proc/$2/status")" \
		"$(awk '$1 ~ /^Private/ {sum += $2} END {print sum}' "/proc/$2/smaps_rollup")"
}
used() { awk '{print $1}' "/proc/$1/schedstat"; }

echo "$PODS pods registered, $((PODS / 50 + 1)) environments"
started=$(date +%s%N)
resolver_start
echo "  start, until all are served: $((($(date +%s%N) - started) / 1000000)) ms"
show supervisor "$RESOLVER"
worker=$(resolver_worker)
show worker "$worker"
supervisor_before=$(used "$RESOLVER") worker_before=$(used "$worker")
sleep "$IDLE"
printf '  idle for %d s: supervisor %.2f ms, worker %.2f ms of processor time a second\n' "$IDLE" \
	"$(awk -v a="$supervisor_before" -v b="$(used "$RESOLVER")" -v s="$IDLE" 'BEGIN {print (b - a) / 1e6 / s}')" \
	"$(awk -v a="$worker_before" -v b="$(used "$worker")" -v s="$IDLE" 'BEGIN {print (b - a) / 1e6 / s}')"
old=$RESOLVER
started=$(date +%s%N)
resolver_start --take-over
echo "  another daemon takes over, until it serves all: $((($(date +%s%N) - started) / 1000000)) ms"
while kill -0 "$old" 2>/dev/null; do sleep 0.05; done
worker=$(resolver_worker)
kill -KILL "$worker"
echo "  kill -9 of the worker, until the last pod is answered: $(milliseconds nsenter --net="/run/netns/pod-1" \
	dig +time=60 +tries=1 @fd12::10 +short AAAA "pod-1.service-1.railway.internal" | tail -1) ms"
resolver_stop
