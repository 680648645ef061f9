#!/usr/bin/env bash
# netns.bash VARIANT [PATTERN [FILE...]]: the network tests on the binaries of a variant, each file on a node of its own, with
# wireguard-go and, where this machine's kernel has it, with the kernel's WireGuard.
set -uo pipefail
variant=$1 pattern=${2:-}
files=("${@:3}")
[ ${#files[@]} -gt 0 ] || files=(test/netns/*.bats)
root=$PWD
export BIN=$root/build/$variant/bin TOOLS=$root/build/$variant/test VARIANT=$variant PAUSES=$root/build/pauses/bin
passed=0 failed=0 skipped=0 status=0
output=$(mktemp)
reports=$(mktemp -d)
trap 'rm -rf "$output" "$reports"' EXIT
# A worker that has given up its privileges can neither write reports nor be traced for leaks.
chmod 0777 "$reports"
export ASAN_OPTIONS=log_path=$reports/report:detect_leaks=1
export UBSAN_OPTIONS=log_path=$reports/report:print_stacktrace=1
# TRANSPORTS: others than these, by their names.
read -ra transports <<<"${TRANSPORTS:-userspace}"
if [ -z "${TRANSPORTS:-}" ] && unshare --net ip link add type wireguard 2>/dev/null; then transports+=(kernel); fi
for file in "${files[@]}"; do for TRANSPORT in "${transports[@]}"; do
	export TRANSPORT
	printf '%s (%s, %s)\n' "$file" "$variant" "$TRANSPORT"
	start=$(date +%s)
	timeout --foreground 900 bash test/lib/isolate.bash bats --tap ${pattern:+--filter "$pattern"} \
		"$file" 2>&1 | tee "$output" | sed 's/^/    /'
	[ "${PIPESTATUS[0]}" = 0 ] || status=1
	skipped=$((skipped + $(grep -c '^ok .* # skip' "$output")))
	passed=$((passed + $(grep '^ok ' "$output" | grep -vc '# skip')))
	failed=$((failed + $(grep -c '^not ok ' "$output")))
	printf '    %d s\n' "$(($(date +%s) - start))"
done; done
# A thread that ended while LeakSanitizer looked is a remark of its own, and no finding.
for report in "$reports"/report*; do
	[ ! -e "$report" ] || grep -qv 'Unable to get registers from thread' "$report" || rm "$report"
done
if compgen -G "$reports/report*" >/dev/null; then
	echo "sanitizers reported:" >&2
	cat "$reports"/report* >&2
	status=1 failed=$((failed + 1))
fi
[ "$passed" -gt 0 ] || { echo "no network test was run" >&2; [ -n "$pattern" ] || status=1; }
[ -z "${RAILWAY_COUNTS:-}" ] || echo "$passed $failed $skipped" >>"$RAILWAY_COUNTS"
exit $status
