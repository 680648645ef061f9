# Pods that the resolver serves, without the rest of the chain: for its own tests. shellcheck shell=bash

# served POD ENVIRONMENT SERVICE [UPSTREAM]
served() {
	ip netns add "$1"
	ip -n "$1" link set lo up
	ip -n "$1" addr add fd12::10/128 dev lo nodad
	"$TOOLS/resolver_tool" put /var/lib/railway /run/railway "$2" "$3" "$1" "$1" "/run/netns/$1" ${4:+"$4"}
	"$TOOLS/resolver_tool" ask /run/railway/resolver.sock add "$1" "/run/netns/$1"
}

eventually() { # COMMAND...: until it holds, at most 20 s
	local end=$((SECONDS + 20))
	until "$@"; do
		[ $SECONDS -lt $end ] || { echo "never: $*"; return 1; }
		sleep 0.05
	done
}

in_netns() { # POD COMMAND...
	nsenter --net="/run/netns/$1" "${@:2}"
}

is_gone() { # PROCESS
	! kill -0 "$1" 2>/dev/null
}

log_says() { # PATTERN [COUNT]: the resolver, so often at least
	[ "$(grep -c "$1" "$NODE/resolver.log")" -ge "${2:-1}" ]
}

# metric NAME-WITH-LABELS: its value at $NODE/metrics.
metric() {
	curl -s --unix-socket "$NODE/metrics" http://resolver/metrics |
		NAME="railway_resolver_$1 " awk 'index($0, ENVIRON["NAME"]) == 1 {print $NF}'
}

# load_begin SECONDS: 500 queries a second from pod one, in the background; what came of it is in $NODE/load.
load_begin() {
	"$TOOLS/dns_bench" load 53 1 64 "$1" 500 one >"$NODE/load" 3>&- &
	LOAD=$!
}

# load_end [MAXIMUM]: at most so many of them, else none, were not answered within a second.
load_end() {
	local answered lost rest
	wait "$LOAD"
	read -r answered lost rest <"$NODE/load"
	echo "answered $answered, lost $lost ($rest)"
	[ "$answered" -gt 500 ]
	[ "$lost" -le "${1:-0}" ]
}

upstream_up() { # ADDRESS PORT ANSWER
	dig +time=1 +tries=1 -p "$2" "@$1" +short A up.example.com | grep -q "$3"
}

# upstream ADDRESS PORT ANSWER: in the node's netns; what it was asked is in $NODE/asked.ADDRESS.
upstream() {
	: >"$NODE/asked.$1"
	python3 "$BATS_TEST_DIRNAME/../lib/upstream.py" "$1" "$2" "$3" "$NODE/asked.$1" 3>&- &
	HELPERS+=($!)
	eventually upstream_up "$@"
}
