#!/usr/bin/env bash
# run TARGET...: makes each target, goes on after failures, and says what each took and how many tests passed. One with an @ behind it runs beside those
# that follow, with what they leave of the processors, and is shown at the end. Test runners append lines "passed failed skipped" to the file
# named in RAILWAY_COUNTS. What failed is named once more at the end, where one looks.
set -uo pipefail
shift
RAILWAY_COUNTS=$(mktemp)
# The virtual machine runs as the owner of the tree.
chmod 0666 "$RAILWAY_COUNTS"
export RAILWAY_COUNTS
beside=() beside_output=$(mktemp -d)
groups=()
finish() {
	local group
	for group in "${groups[@]}"; do kill -- "-$group" 2>/dev/null || true; done
	rm -rf "$RAILWAY_COUNTS" "$beside_output"
}
trap finish EXIT
trap 'exit 130' INT TERM
times=() failures=() failed_targets=0

timed() { # TARGET PROGRAM...: leaves its output and a line in the table's form in $beside_output/TARGET.{output,time}
	local target=$1 outcome=ok start
	shift
	start=$(date +%s%N)
	"$@" --no-print-directory "$target" 2>&1 | tee "$beside_output/$target.output"
	[ "${PIPESTATUS[0]}" = 0 ] || outcome=FAILED
	printf '%-14s %7.1f s  %s\n' "$target" "$((($(date +%s%N) - start) / 100000000))e-1" "$outcome" \
		>"$beside_output/$target.time"
}

account() { # TARGET
	local line
	line=$(cat "$beside_output/$1.time" 2>/dev/null || printf '%-14s did not end  FAILED' "$1")
	times+=("$line")
	[[ $line != *ok ]] || return 0
	failed_targets=$((failed_targets + 1))
	failures+=("$1:" "$(grep -hE '^ *not ok |^\[FAIL\]|^(build|lint|demo|fuzz target|vm): |^make.*\*\*\*|sanitizers reported' \
		"$beside_output/$1.output" | head -n 20 | sed 's/^ */  /')")
}

for target in "$@"; do
	if [[ $target == *@ ]]; then
		target=${target%@}
		printf '\n== %s begins\n' "$target"
		# A process group of its own, which can be ended whole.
		set -m
		timed "$target" nice -n 5 make >/dev/null </dev/null &
		set +m
		groups+=($!)
		beside+=("$target")
		continue
	fi
	printf '\n== %s\n' "$target"
	timed "$target" make
	account "$target"
done
wait
groups=()
for target in "${beside[@]}"; do
	printf '\n== %s\n' "$target"
	cat "$beside_output/$target.output"
	account "$target"
done
printf '\n'
[ ${#failures[@]} = 0 ] || printf '%s\n' "${failures[@]}" ''
printf '%s\n' "${times[@]}"
read -r passed failed skipped < <(awk '{p += $1; f += $2; s += $3} END {print p + 0, f + 0, s + 0}' \
	"$RAILWAY_COUNTS")
if [ "$failed_targets" -gt 0 ] && [ "$failed" = 0 ]; then failed=$failed_targets; fi
printf '\n%d passed, %d failed, %d skipped\n' "$passed" "$failed" "$skipped"
[ "$failed_targets" = 0 ] && [ "$passed" -gt 0 ]
