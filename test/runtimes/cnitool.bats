#!/usr/bin/env bats
# The CNI project's own library, as cnitool uses it, with the list of deploy/cnitool as it is shipped.
bats_require_minimum_version 1.5.0
load common

cnitool() { # ADD|CHECK|DEL POD [ENVIRONMENT SERVICE]
	NETCONFPATH=$DEPLOY/cnitool CNI_PATH=$BIN CNITOOL_CACHE=$NODE/cache \
		CNI_ARGS="${3:+RAILWAY_ENVIRONMENT=$3;RAILWAY_SERVICE=$4}" \
		"$RUNTIMES/cnitool" "$1" railway "/run/netns/$2"
}

@test "ADD, CHECK and DEL by the library of the CNI project: names, connections, and nothing left" {
	resolver_start
	for pod in web api other; do ip netns add $pod; done
	mkdir -p "$NODE/pods"
	for row in 'web production web' 'api production api' 'other staging web'; do
		read -r pod environment service <<<"$row"
		cnitool add "$pod" "$environment" "$service" >"$NODE/result"
		jq -r '.dns | (.nameservers[] | "nameserver " + .), "search " + (.search | join(" "))' <"$NODE/result" >"$NODE/pods/$pod.resolv.conf"
		[ "$(jq -r .cniVersion "$NODE/result")" = 1.0.0 ]
		cnitool check "$pod" "$environment" "$service"
	done
	in_pod api socat TCP6-LISTEN:80,fork SYSTEM:'echo api' 3>&- &
	until ip netns exec api ss -Hltn 'sport = :80' | grep -q .; do :; done
	[ "$(in_pod web socat -T5 - TCP6:api.railway.internal:80)" = api ]
	refute in_pod other getent ahostsv6 api.railway.internal
	# CHECK sees through the library what it sees alone.
	ip -n api addr del fd12::10/128 dev lo
	run cnitool check api production api
	[ "$status" = 1 ]
	[[ $output == *'fd12::10'* ]]
	ip netns pids api | xargs -r kill
	for pod in web api other; do
		cnitool del $pod
		cnitool del $pod
	done
	[ -z "$(leftovers)" ]
	[ -z "$(find "$NODE/cache" -type f)" ]
}
