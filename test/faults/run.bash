#!/usr/bin/env bash
# run.bash sample|all: the sweeps and the storm, each part on a node of its own, as many at once as there are processors. The sample takes some
# of each kind; what it takes is another part of the whole for each release of the code, as calls come and go.
set -uo pipefail
root=$PWD
parts=$(nproc)
counts=$(mktemp)
outputs=$(mktemp -d)
# Nodes have a /run and a /var/lib of their own; a sanitized worker writes its reports with no privileges.
reports=$(mktemp -d)
chmod 0777 "$reports"
trap 'rm -rf "$counts" "$outputs" "$reports"' EXIT
export FAULTS_COUNT=$counts
failed=0

sweep() { # VARIANT FAULTS EVERY
	local part jobs=() job
	export VARIANT=$1 BIN=$root/build/$1/bin TOOLS=$root/build/$1/test
	export ASAN_OPTIONS=log_path=$reports/report:detect_leaks=0 UBSAN_OPTIONS=log_path=$reports/report
	for part in $(seq 0 $((parts - 1))); do
		timeout --foreground 3600 bash test/lib/isolate.bash python3 test/faults/sweep.py "$2" \
			--every "$3" --part "$part/$parts" >"$outputs/$part" 2>&1 &
		jobs+=($!)
	done
	for part in $(seq 0 $((parts - 1))); do
		job=${jobs[$part]}
		wait "$job" || failed=1
		sed "s/^/$1: /" "$outputs/$part"
	done
}

storm() { # KILLS
	export VARIANT=release BIN=$root/build/release/bin TOOLS=$root/build/release/test
	if timeout --foreground 1800 bash test/lib/isolate.bash python3 test/faults/storm.py "$1"; then
		echo "1 0 0" >>"$counts"
	else
		echo "0 1 0" >>"$counts"
		failed=1
	fi
}

case $1 in
sample)
	sweep release calls 43
	sweep release allocations 47
	sweep release kills 101
	sweep asan calls 211
	storm 60
	;;
all)
	sweep release calls 1
	sweep release allocations 1
	sweep release kills 3
	sweep asan calls 7
	storm 1000
	;;
*)
	echo "usage: run.bash sample|all" >&2
	exit 2
	;;
esac
if compgen -G "$reports/report*" >/dev/null; then
	echo "sanitizers reported:" >&2
	cat "$reports"/report* >&2
	failed=1
fi
[ -z "${RAILWAY_COUNTS:-}" ] || cat "$counts" >>"$RAILWAY_COUNTS"
exit $failed
