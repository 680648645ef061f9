#!/usr/bin/env bash
# fuzz.bash DIRECTORY TARGET...: every target runs its corpus.
set -uo pipefail
directory=$1
shift
passed=0 failed=0
for target in "$@"; do
	if ASAN_OPTIONS=detect_leaks=1 "$directory/fuzz-$target" "test/fuzz/corpus/$target"; then
		passed=$((passed + 1))
	else
		failed=$((failed + 1))
		echo "fuzz target $target failed on its corpus" >&2
	fi
done
[ -z "${RAILWAY_COUNTS:-}" ] || echo "$passed $failed 0" >>"$RAILWAY_COUNTS"
[ "$failed" = 0 ] && [ "$passed" -gt 0 ]
