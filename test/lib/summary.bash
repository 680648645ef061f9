#!/usr/bin/env bash
# run TARGET...: makes each target, goes on after failures, and says what each took and how many tests passed. Test runners append lines
# "passed failed skipped" to the file named in RAILWAY_COUNTS.
set -uo pipefail
shift
RAILWAY_COUNTS=$(mktemp)
# The virtual machine runs as the owner of the tree.
chmod 0666 "$RAILWAY_COUNTS"
export RAILWAY_COUNTS
trap 'rm -f "$RAILWAY_COUNTS"' EXIT
times=() failed_targets=0
for target in "$@"; do
	printf '\n== %s\n' "$target"
	start=$(date +%s%N)
	outcome=ok
	make --no-print-directory "$target" || { outcome=FAILED; failed_targets=$((failed_targets + 1)); }
	times+=("$(printf '%-14s %7.1f s  %s' "$target" \
		"$((($(date +%s%N) - start) / 100000000))e-1" "$outcome")")
done
printf '\n'
printf '%s\n' "${times[@]}"
read -r passed failed skipped < <(awk '{p += $1; f += $2; s += $3} END {print p + 0, f + 0, s + 0}' \
	"$RAILWAY_COUNTS")
if [ "$failed_targets" -gt 0 ] && [ "$failed" = 0 ]; then failed=$failed_targets; fi
printf '\n%d passed, %d failed, %d skipped\n' "$passed" "$failed" "$skipped"
[ "$failed_targets" = 0 ] && [ "$passed" -gt 0 ]
