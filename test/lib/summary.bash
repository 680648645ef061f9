#!/usr/bin/env bash
# run TARGET... [beside TARGET]: makes each target, goes on after failures, and says what each took and how many tests passed. The target
# behind "beside" is made while the others are, which wait most of their time. Test runners append lines "passed failed skipped" to the file
# named in RAILWAY_COUNTS.
set -uo pipefail
shift
RAILWAY_COUNTS=$(mktemp)
# The virtual machine runs as the owner of the tree.
chmod 0666 "$RAILWAY_COUNTS"
export RAILWAY_COUNTS
beside_output=$(mktemp)
beside=
trap 'rm -f "$RAILWAY_COUNTS" "$beside_output"; [ -z "$beside" ] || kill -- "-$beside" 2>/dev/null' EXIT
times=() failed_targets=0

note() { # TARGET START STATUS
	local outcome=ok
	[ "$3" = 0 ] || { outcome=FAILED; failed_targets=$((failed_targets + 1)); }
	times+=("$(printf '%-14s %7.1f s  %s' "$1" "$((($(date +%s%N) - $2) / 100000000))e-1" "$outcome")")
}

targets=("$@")
if [ "${*: -2:1}" = beside ]; then
	targets=("${@:1:$#-2}")
	beside_target=${*: -1}
	beside_start=$(date +%s%N)
	setsid make --no-print-directory "$beside_target" >"$beside_output" 2>&1 </dev/null &
	beside=$!
fi
for target in "${targets[@]}"; do
	printf '\n== %s\n' "$target"
	start=$(date +%s%N)
	make --no-print-directory "$target"
	note "$target" "$start" $?
done
if [ -n "$beside" ]; then
	printf '\n== %s (begun with the first)\n' "$beside_target"
	wait "$beside"
	status=$?
	cat "$beside_output"
	note "$beside_target" "$beside_start" $status
	beside=
fi
printf '\n'
printf '%s\n' "${times[@]}"
read -r passed failed skipped < <(awk '{p += $1; f += $2; s += $3} END {print p + 0, f + 0, s + 0}' \
	"$RAILWAY_COUNTS")
if [ "$failed_targets" -gt 0 ] && [ "$failed" = 0 ]; then failed=$failed_targets; fi
printf '\n%d passed, %d failed, %d skipped\n' "$passed" "$failed" "$skipped"
[ "$failed_targets" = 0 ] && [ "$passed" -gt 0 ]
