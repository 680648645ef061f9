#!/usr/bin/env bash
# unit.bash PROGRAM [PATTERN]: runs the unit tests. Criterion counts a test that leaks as passed; here any report of a sanitizer fails the run.
set -uo pipefail
program=$1 pattern=${2:-}
reports=$(mktemp -d)
chmod 0777 "$reports"
trap 'rm -rf "$reports"' EXIT
export ASAN_OPTIONS=log_path=$reports/report:detect_leaks=1:abort_on_error=0
export UBSAN_OPTIONS=log_path=$reports/report:print_stacktrace=1
status=0
xml=$reports/results.xml
"$program" --jobs 2 --timeout 120 --xml="$xml" ${pattern:+--filter "*$pattern*"} || status=1
read -r tests failures errors skipped < <(
	sed -n 's/.*<testsuites [^>]*tests="\([0-9]*\)"[^>]*failures="\([0-9]*\)"[^>]*errors="\([0-9]*\)"[^>]*disabled="\([0-9]*\)".*/\1 \2 \3 \4/p' \
		"$xml" 2>/dev/null)
failed=$((${failures:-0} + ${errors:-0}))
if compgen -G "$reports/report*" >/dev/null; then
	echo "sanitizers reported:" >&2
	cat "$reports"/report* >&2
	status=1 failed=$((failed + 1))
fi
[ "${tests:-0}" -gt 0 ] || [ -n "$pattern" ] || { echo "no unit test was run" >&2; status=1; }
[ -z "${RAILWAY_COUNTS:-}" ] ||
	echo "$((${tests:-0} - failed - ${skipped:-0})) $failed ${skipped:-0}" >>"$RAILWAY_COUNTS"
exit $status
