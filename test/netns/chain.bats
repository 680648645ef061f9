#!/usr/bin/env bats
# The whole chain through the shapes of its configuration, on real pods.
bats_require_minimum_version 1.5.0
load common

serve() { # POD PORT: a TCP server that says the pod's name to whoever connects
	in_pod "$1" socat "TCP6-LISTEN:$2,fork,reuseaddr" "SYSTEM:echo $1" 3>&- &
	until in_pod "$1" ss -Hltn "sport = :$2" | grep -q .; do :; done
}

ask() { # POD NAME PORT
	in_pod "$1" socat -t20 -T20 - "TCP6:$2:$3,connect-timeout=5" </dev/null
}

@test "ipam inside mesh, then dns: pods talk by name from the first packet, and not across environments" {
	resolver_start
	pod_add a-web production web
	pod_add a-api production api
	pod_add b-api staging api
	serve a-api 80
	serve b-api 80
	[ "$(ask a-web api.railway.internal 80)" = a-api ]
	run ask a-web "$(pod_address b-api)" 80
	[ "$status" -ne 0 ]
	run in_pod b-api getent ahostsv6 web.railway.internal
	[ "$status" -ne 0 ]
	pod_check a-web
	for pod in a-web a-api b-api; do
		pod_del "$pod"
	done
	[ -z "$(leftovers)" ]
}

@test "the plain chain of three: mesh takes the address from prevResult" {
	cat >"$CONFLIST" <<-EOF
		{ "cniVersion": "1.0.0", "name": "railway", "plugins": [
		  { "type": "railway-ipam", "trustArgs": true },
		  { "type": "railway-mesh", "transport": "$TRANSPORT" }, { "type": "railway-dns" } ] }
	EOF
	resolver_start
	pod_add web production web
	result=$(pod_add api production api)
	[ "$(jq -r '.interfaces | length' <<<"$result")" = 1 ]
	[ "$(jq -r '.ips[0].interface' <<<"$result")" = 0 ]
	[ "$(jq -r '.ips[0].address' <<<"$result")" = "$(pod_address api)/64" ]
	[ "$(jq -r '.dns.nameservers[]' <<<"$result")" = fd12::10 ]
	serve api 80
	[ "$(ask web api.railway.internal 80)" = api ]
	pod_check api
	pod_del api
	pod_del web
	[ -z "$(leftovers)" ]
}

@test "behind another main plugin: eth0 stays as it was and railway0 comes beside it" {
	bridge=/usr/lib/cni
	CNI_PATH=$BIN:$bridge
	cat >"$CONFLIST" <<-EOF
		{ "cniVersion": "1.0.0", "name": "railway", "plugins": [
		  { "type": "bridge", "bridge": "br-public", "isGateway": true,
		    "ipam": { "type": "host-local", "dataDir": "$NODE/host-local",
		              "ranges": [[{ "subnet": "10.88.0.0/24" }]], "routes": [{ "dst": "0.0.0.0/0" }] } },
		  { "type": "railway-mesh", "ipam": { "type": "railway-ipam" }, "trustArgs": true, "transport": "$TRANSPORT" },
		  { "type": "railway-dns" } ] }
	EOF
	resolver_start
	before=$(pod_add web production web)
	result=$(pod_add api production api)
	ip -n api -4 -o addr show dev eth0 | grep -q 10.88.0
	[ "$(jq -r '.ips[0].address' <<<"$result")" = 10.88.0.3/24 ]
	[ "$(jq -r '[.interfaces[].name] | index("railway0")' <<<"$result")" = 3 ]
	# bridge's CHECK wants every address and route of the result on its own interface: only the interface is added.
	[ "$(jq -c '[.ips[].interface, .routes[].dst]' <<<"$result")" = '[2,"0.0.0.0/0"]' ]
	serve api 80
	[ "$(ask web api.railway.internal 80)" = api ]
	pod_check api
	# What is asked of the other plugin is none of ours; what is of the environment is.
	result=$(pod_add fixed production api IP=10.88.0.77)
	[ "$(jq -r '.ips[0].address' <<<"$result")" = 10.88.0.77/24 ]
	requested=$(pod_address api railway0 | cut -d: -f1-4)::77
	mesh_only='"ipam":{"type":"railway-ipam"},"environment":"production","service":"api"'
	other='"prevResult":{"cniVersion":"1.0.0","interfaces":[{"name":"eth0"}],"ips":[{"address":"10.88.0.9/24"}]}'
	ip netns add own
	CNI_PATH=$BIN CNI_CONTAINERID=own CNI_NETNS=/run/netns/own plugin railway-mesh ADD "$(config railway-mesh \
		"$mesh_only,$other,\"runtimeConfig\":{\"ips\":[\"10.88.0.9/24\",\"$requested\",\"2001:db8::1\"]}")"
	[ "$status" = 0 ]
	[ "$(pod_address own railway0)" = "$requested" ]
	CNI_PATH=$BIN CNI_CONTAINERID=own CNI_NETNS=/run/netns/own plugin railway-mesh DEL "$(config railway-mesh "$mesh_only")"
	[ "$status" = 0 ]
	for pod in fixed api web; do pod_del $pod; done
	[ -z "$(leftovers)" ]
}

@test "behind a plugin whose result names the host's end alone, as Calico's: railway0 comes beside eth0" {
	mkdir "$NODE/cni"
	cat >"$NODE/cni/like-calico" <<-'EOF'
		#!/bin/sh
		export PATH=/usr/sbin:/usr/bin:/sbin:/bin
		cat >/dev/null
		case $CNI_COMMAND in
		ADD)
			ip link add "cali-$CNI_CONTAINERID" type veth peer name "$CNI_IFNAME" netns "$CNI_NETNS" || exit 1
			ip -n "${CNI_NETNS##*/}" addr add 10.99.0.7/32 dev "$CNI_IFNAME"
			echo "{\"cniVersion\":\"1.0.0\",\"interfaces\":[{\"name\":\"cali-$CNI_CONTAINERID\",\"sandbox\":\"$CNI_NETNS\"}],\"ips\":[{\"address\":\"10.99.0.7/32\"}]}"
			;;
		DEL) ip link del "cali-$CNI_CONTAINERID" || true ;;
		esac
	EOF
	chmod 0755 "$NODE/cni/like-calico"
	CNI_PATH=$BIN:$NODE/cni
	cat >"$CONFLIST" <<-EOF
		{ "cniVersion": "1.0.0", "name": "railway", "plugins": [
		  { "type": "like-calico" },
		  { "type": "railway-mesh", "ipam": { "type": "railway-ipam" }, "trustArgs": true, "transport": "$TRANSPORT" },
		  { "type": "railway-dns" } ] }
	EOF
	resolver_start
	pod_add web production web
	result=$(pod_add api production api)
	[ "$(jq -c '[.interfaces[].name, .ips[].address, (.routes | length)]' <<<"$result")" = '["cali-api","railway0","10.99.0.7/32",0]' ]
	ip -n api -4 -o addr show dev eth0 | grep -q 10.99.0.7
	serve api 80
	[ "$(ask web api.railway.internal 80)" = api ]
	pod_check api
	pod_del api
	pod_del web
	[ -z "$(leftovers)" ]
}

@test "every version is answered in its own format" {
	resolver_start
	for version in 0.3.0 0.3.1 0.4.0 1.0.0 1.1.0; do
		CNI_VERSION=$version node_conflist "$CONFLIST"
		result=$(pod_add pod production api)
		[ "$(jq -r .cniVersion <<<"$result")" = "$version" ]
		case $version in
		0.*) [ "$(jq -r '.ips[0].version' <<<"$result")" = 6 ] ;;
		*) [ "$(jq -r '.ips[0] | has("version")' <<<"$result")" = false ] ;;
		esac
		[ "$(jq -r '.interfaces[0] | has("mtu")' <<<"$result")" = "$([ $version = 1.1.0 ] && echo true || echo false)" ]
		case $version in
		0.3.*) ;;
		*) pod_check pod ;;
		esac
		pod_del pod
	done
	for version in 0.1.0 0.2.0; do
		ip netns list | grep -q '^pod' || ip netns add pod
		CNI_VERSION=$version plugin railway-mesh ADD \
			"$(CNI_VERSION=$version config railway-mesh '"ipam":{"type":"railway-ipam"},"service":"api"')"
		[ "$status" = 0 ]
		[ "$(jq -r .cniVersion <<<"$output")" = "$version" ]
		[ "$(jq -r .ip6.ip <<<"$output")" = "$(pod_address pod)/64" ]
		plugin railway-mesh DEL \
			"$(CNI_VERSION=$version config railway-mesh '"ipam":{"type":"railway-ipam"},"service":"api"')"
		[ "$status" = 0 ]
	done
}

@test "a network that is switched off passes prevResult on and gives nothing" {
	ip netns add pod
	plugin railway-mesh ADD "$(config railway-mesh '"enabled":false,"ipam":{"type":"railway-ipam"},
		"prevResult":{"cniVersion":"1.0.0","interfaces":[{"name":"eth0","sandbox":"/x"}],"ips":[{"address":"10.0.0.2/24","interface":0}]}')"
	[ "$status" = 0 ]
	[ "$(jq -c '[.interfaces,.ips]' <<<"$output")" = '[[{"name":"eth0","sandbox":"/x"}],[{"address":"10.0.0.2/24","interface":0}]]' ]
	plugin railway-dns ADD "$(config railway-dns '"enabled":false,
		"prevResult":{"cniVersion":"1.0.0","ips":[{"address":"10.0.0.2/24"}]}')"
	[ "$status" = 0 ]
	[ "$(jq -r 'has("dns")' <<<"$output")" = false ]
	[ -z "$(ip -n pod -o link | grep -v ' lo:' || true)" ]
	# Only the mesh: no name for what has no address. Only the name: a pod that is reached by its address alone.
	plugin railway-dns ADD "$(config railway-dns '"prevResult":{"cniVersion":"1.0.0","ips":[{"address":"10.0.0.2/24"}]}')"
	[ "$status" = 0 ]
	[ "$(jq -r 'has("dns")' <<<"$output")" = false ]
	plugin railway-mesh DEL "$(config railway-mesh '"enabled":false,"ipam":{"type":"railway-ipam"}')"
	[ "$status" = 0 ]
	plugin railway-mesh ADD "$(config railway-mesh '"service":"api","ipam":{"type":"railway-ipam"}')"
	[ "$status" = 0 ]
	plugin railway-dns ADD "$(config railway-dns "\"enabled\":false,\"prevResult\":$output")"
	[ "$status" = 0 ]
	[ "$(jq -r 'has("dns")' <<<"$output")" = false ]
	plugin railway-dns CHECK "$(config railway-dns '"enabled":false')"
	[ "$status" = 0 ]
}

@test "GC removes exactly what is not listed, and nothing where there is no list" {
	CNI_VERSION=1.1.0 node_conflist "$CONFLIST"
	resolver_start
	for pod in one two three; do
		pod_add $pod production api
	done
	plugin railway-mesh GC "$(CNI_VERSION=1.1.0 config railway-mesh '"ipam":{"type":"railway-ipam"}')"
	[ "$status" = 0 ]
	[ "$(devices)" = 3 ]
	"$CHAIN" gc "$CONFLIST" one/eth0 three/eth0
	[ "$(devices)" = 2 ]
	pod_check one
	pod_check three
	[ "$(in_pod one getent ahostsv6 api.railway.internal | grep -c STREAM)" = 2 ]
}

@test "STATUS: ready only with a resolver" {
	CNI_VERSION=1.1.0 node_conflist "$CONFLIST"
	run "$CHAIN" status "$CONFLIST"
	[ "$status" = 1 ]
	[ "$(jq -r .code <<<"$output")" = 51 ]
	resolver_start
	"$CHAIN" status "$CONFLIST"
}
