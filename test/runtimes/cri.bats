#!/usr/bin/env bats
# containerd as the kubelet drives it: pods' sandboxes over its socket, with the list of deploy/containerd as it is shipped.
bats_require_minimum_version 1.5.0
load common

@test "a StatefulSet's and a ReplicaSet's pods talk by name, another namespace's does not, and nothing is left of them" {
	resolver_start
	containerd_start "$DEPLOY/containerd/10-railway.conflist"
	cri ready
	pod_run web-0 shop
	pod_run api-5d8f9c7b6d-x2x4z shop
	pod_run api-5d8f9c7b6d-b7k9m shop
	pod_run db-0 other
	# The pod's IP of the runtime is the private address; its services are its own namespace's.
	[[ "$(cri ip "${sandbox[web-0]}")" == fd* ]]
	answers=$(for _ in 1 2 3 4; do ask web-0 api.railway.internal; done | sort | uniq -c | awk '{print $1, $2}')
	[ "$answers" = $'2 shop/api-5d8f9c7b6d-b7k9m\n2 shop/api-5d8f9c7b6d-x2x4z' ]
	[ "$(ask api-5d8f9c7b6d-x2x4z web)" = shop/web-0 ]
	[ "$(ask api-5d8f9c7b6d-x2x4z web-0.web.railway.internal)" = shop/web-0 ]
	refute ask db-0 api.railway.internal
	refute ask db-0 "[$(cri ip "${sandbox[web-0]}")]"
	for name in web-0 api-5d8f9c7b6d-x2x4z api-5d8f9c7b6d-b7k9m db-0; do
		cri stop "${sandbox[$name]}"
		cri stop "${sandbox[$name]}"
		cri remove "${sandbox[$name]}"
	done
	[ -z "$(runtime_leftovers)" ]
}
