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
