# railwayctl, for its tests. shellcheck shell=bash

ctl() { # ARGUMENT...: $output, $stderr, $status
	run --separate-stderr "$BIN/railwayctl" "$@"
}

# shows FILTER ARGUMENT...: what it says in JSON satisfies the filter.
shows() {
	"$BIN/railwayctl" --json "${@:2}" >"$NODE/shown" || [ $? = 1 ]
	jq -e "$1" "$NODE/shown" >/dev/null || { echo "not $1: $(cat "$NODE/shown")"; return 1; }
}

# same_as_text NAME ARGUMENT...: the list of that name has as text the cells that it has in JSON; no cell has a unit.
same_as_text() {
	"$BIN/railwayctl" "${@:2}" | tail -n +2 | sed -E 's/ {2,}/\t/g' >"$NODE/text"
	"$BIN/railwayctl" --json "${@:2}" | jq -r ".$1[] | [.[] | if . == null then \"-\" elif . == true then \"yes\"
		elif . == false then \"no\" else tostring end] | join(\"\t\")" | diff - "$NODE/text"
}

# needs WHAT [PATTERN]: status says so, with what to do, and exits with 1.
needs() {
	ctl --json status
	[ "$status" = 1 ]
	jq -e --arg what "$1" --arg pattern "${2:-}" \
		'.attention[] | select(.what == $what and (.subject + " " + .problem | test($pattern))) | .remedy | length > 0' \
		<<<"$output" >/dev/null || { echo "not $*: $(jq -c .attention <<<"$output")"; return 1; }
}

fails() { # PATTERN ARGUMENT...: with 3, on standard error only
	ctl "${@:2}"
	[ "$status" = 3 ] || { echo "$status: $output $stderr"; return 1; }
	[ -z "$output" ]
	grep -qE -- "$1" <<<"$stderr" || { echo "does not say $1: $stderr"; return 1; }
}

# Whether the kernel has WireGuard, which new pods then get.
expected_transport() {
	if unshare --net ip link add type wireguard 2>/dev/null; then echo kernel; else echo userspace; fi
}

two_environments() {
	resolver_start
	pod_add one production api
	pod_add two production web
	pod_add three production 'My api'
	pod_add other staging api
}
