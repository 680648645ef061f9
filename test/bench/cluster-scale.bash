#!/usr/bin/env bash
# What many nodes ask of one etcd: records, leases and watches, without kernels (test/tools/cluster_scale.c). Prints etcd's memory, database and CPU
# after each phase, and how long a join takes until other nodes see it; fails where a join is missed, or the slowest in a hundred takes more than
# LIMIT_MS. Each line of SCENARIOS: nodes, environments, environments of a node, members of a node in each, joins a second, seconds.
set -euo pipefail
SCENARIOS=${SCENARIOS:-"100 50 4 2 20 20
500 250 4 2 20 20
500 250 4 2 100 20
100 1 1 10 5 20"}
LIMIT_MS=${LIMIT_MS:-2000}
WORK=/run/scale
URL=http://127.0.0.1:2379
export ETCDCTL_API=3
ulimit -n "$(ulimit -Hn)" # a descriptor a watch, here and in etcd
mkdir -p "$WORK"
status=0

# What etcd has come to: seconds of CPU, MiB of memory, keys and their bytes.
cpu() { awk -v hz="$(getconf CLK_TCK)" '{sub(/.*\) /, ""); print ($12 + $13) / hz}' "/proc/$ETCD/stat"; }
memory() { awk '/^VmRSS/ {printf "%.0f", $2 / 1024}' "/proc/$ETCD/status"; }
database() {
	etcdctl --endpoints $URL endpoint status -w json | jq -r '.[0].Status | "\(.dbSizeInUse) \(.header.revision)"'
}
keys() { etcdctl --endpoints $URL get --prefix railway/ --keys-only | grep -c . || true; }

look() { # PHASE
	local now seconds used revision
	now=$(cpu)
	read -r used revision < <(database)
	seconds=$(awk -v a="$EPOCHREALTIME" -v b="$phase_start" 'BEGIN {print a - b}')
	awk -v phase="$1" -v seconds="$seconds" -v cpu="$now" -v before="$cpu_before" -v memory="$(memory)" -v used="$used" -v writes="$((revision - revision_before))" -v keys="$(keys)" \
		'BEGIN {printf "  %-8s %6.1f s, etcd: %5.1f %% of a core, %5d MiB, %7d keys, %6.1f MiB in use, %6d revisions (%.1f/s)\n",
			phase, seconds, 100 * (cpu - before) / seconds, memory, keys, used / 1048576, writes, writes / seconds}'
	revision_before=$revision cpu_before=$(cpu) phase_start=$EPOCHREALTIME
}

run() { # NODES ENVIRONMENTS EACH MEMBERS RATE SECONDS
	local line p99='' scale
	echo "$1 nodes, $2 environments, $3 on a node, $4 members of a node in each; $5 joins a second for $6 s"
	rm -rf "$WORK/etcd"
	etcd --data-dir "$WORK/etcd" --listen-client-urls $URL --advertise-client-urls $URL --listen-peer-urls http://127.0.0.1:2380 \
		--logger zap --log-level error >"$WORK/etcd.log" 2>&1 &
	ETCD=$!
	until etcdctl --endpoints $URL endpoint health >/dev/null 2>&1; do kill -0 $ETCD; sleep 0.1; done
	phase_start=$EPOCHREALTIME cpu_before=$(cpu) revision_before=1
	coproc SCALE { exec "$TOOLS/cluster_scale" $URL "$@"; }
	scale=$SCALE_PID
	exec 7<&"${SCALE[0]}" 8>&"${SCALE[1]}" # bash closes its own when the process ends
	while read -r line <&7; do
		case $line in
		phase*)
			look "${line#phase }"
			echo >&8
			;;
		*)
			echo "  $line"
			if [[ $line = visible*p99* ]]; then p99=$(sed -E 's/.* p99 ([0-9]+).*/\1/' <<<"$line"); fi
			;;
		esac
	done
	exec 7<&- 8>&-
	wait "$scale" || { status=1; echo "  failed"; }
	[ "${p99:-$LIMIT_MS}" -lt "$LIMIT_MS" ] || { status=1; echo "  the slowest in a hundred took ${p99:-?} ms"; }
	kill -KILL $ETCD
	wait $ETCD 2>/dev/null || true
}

echo "milliseconds: from a node's request until etcd's answer (confirmed), and until each node of the environment has it (visible)"
while read -r scenario; do
	# shellcheck disable=SC2086
	run $scenario </dev/null
done <<<"$SCENARIOS"
exit $status
