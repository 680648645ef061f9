#!/usr/bin/env bats
# containerd as the kubelet drives it: pods' sandboxes over its socket, with the list of deploy/containerd as it is shipped.
bats_require_minimum_version 1.5.0
load common

LIST=$DEPLOY/containerd/10-railway.conflist

ends() { # NAME...: as the kubelet ends pods: stopped, stopped again, removed
	local name ids=()
	for name in "$@"; do ids+=("${sandbox[$name]}"); done
	cri stop "${ids[@]}" "${ids[@]}"
	cri remove "${ids[@]}"
	for name in "$@"; do refute record "${sandbox[$name]}"; done
}

@test "a StatefulSet's and a ReplicaSet's pods talk by name, another namespace's does not, and nothing is left of them" {
	resolver_start
	containerd_start "$LIST"
	cri ready
	pod_run web-0 shop
	pod_run api-5d8f9c7b6d-x2x4z shop
	pod_run api-5d8f9c7b6d-b7k9m shop
	pod_run db-0 other
	# What the runtime calls the pod's IP is the private address.
	web=$(cri ip "${sandbox[web-0]}")
	[[ $web == fd* ]]
	answers=$(for _ in 1 2 3 4; do ask web-0 api.railway.internal; done | sort | uniq -c | awk '{print $1, $2}')
	[ "$answers" = $'2 shop/api-5d8f9c7b6d-b7k9m\n2 shop/api-5d8f9c7b6d-x2x4z' ]
	[ "$(ask api-5d8f9c7b6d-x2x4z web)" = shop/web-0 ]
	[ "$(ask api-5d8f9c7b6d-x2x4z web-0.web.railway.internal)" = shop/web-0 ]
	[ "$(ask api-5d8f9c7b6d-x2x4z "$web")" = shop/web-0 ]
	refute ask db-0 api.railway.internal
	refute ask db-0 "$web"
	ends web-0 api-5d8f9c7b6d-x2x4z api-5d8f9c7b6d-b7k9m db-0
	[ -z "$(runtime_leftovers)" ]
}

@test "annotations name the service and, within the namespace, the environment" {
	resolver_start
	containerd_start "$LIST"
	pod_run worker shop '{"railway.internal/service": "queue"}'
	pod_run preview shop '{"railway.internal/service": "queue", "railway.internal/environment": "pr-7"}'
	pod_run client-0 shop '{"railway.internal/environment": "pr-7"}'
	pod_run client-1 shop
	[ "$(ask client-1 queue.railway.internal)" = shop/worker ]
	[ "$(ask client-0 queue.railway.internal)" = shop/preview ]
	# Another tenant's author cannot name his way in: what he names is within his own namespace.
	pod_run thief other '{"railway.internal/environment": "shop"}'
	refute ask thief queue.railway.internal
	refute cri sandbox "$(pod thief-2 other '{"railway.internal/environment": "../shop"}')"
	ends worker preview client-0 client-1 thief
	[ -z "$(runtime_leftovers)" ]
}

@test "no resolver: a pod is refused and told why, nothing of it is left, and the same pod starts when there is one" {
	containerd_start "$LIST"
	run cri sandbox "$(pod web-0 shop)"
	[ "$status" = 1 ]
	[[ $output == *'start railway-resolverd on this node'* ]]
	[ -z "$(runtime_leftovers)" ]
	resolver_start
	pod_run web-0 shop
	[ "$(ask web-0 web.railway.internal)" = shop/web-0 ]
	ends web-0
	[ -z "$(runtime_leftovers)" ]
}

@test "a pod's processes die, and containerd does: what lives talks on, and stopping and removing leave nothing" {
	resolver_start
	containerd_start "$LIST"
	pod_run web-0 shop
	pod_run api-0 shop
	pod_run db-0 shop
	netns=$(cri netns "${sandbox[api-0]}")
	kill -KILL "$CONTAINERD"
	wait "$CONTAINERD" || true
	# All of api-0, its shim too, dies while containerd is away.
	pkill -KILL -f "containerd-shim.*${sandbox[api-0]}"
	ip netns pids "${netns##*/}" | xargs kill -KILL
	containerd_again
	[ "$(ask web-0 db.railway.internal)" = shop/db-0 ]
	ends api-0
	# Its name is gone with it, and db-0 has one peer less.
	run ask web-0 api.railway.internal
	[ "$status" = 1 ]
	ends web-0 db-0
	[ -z "$(runtime_leftovers)" ]
}
