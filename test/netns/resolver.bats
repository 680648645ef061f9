#!/usr/bin/env bats
# railway-dns and railway-resolverd: registration, answers in the pod, crashes, pods that are gone.
bats_require_minimum_version 1.5.0
load common

DIG="dig +time=2 +tries=1 @fd12::10"

query() { # POD ARGUMENTS...: short answers, in the order given
	local pod=$1
	shift
	ip netns exec "$pod" $DIG +short "$@"
}

rcode() { # POD ARGUMENTS...
	local pod=$1
	shift
	ip netns exec "$pod" $DIG "$@" | sed -n 's/.*status: \([A-Z]*\),.*/\1/p'
}

eventually() { # COMMAND...: until it holds, at most 20 s
	local end=$((SECONDS + 20))
	until "$@"; do
		[ $SECONDS -lt $end ] || { echo "never: $*"; return 1; }
		sleep 0.05
	done
}

@test "services in strict rotation, replicas, NODATA and NXDOMAIN told apart, over UDP and TCP" {
	resolver_start
	for pod in api-1 api-2 api-3; do
		pod_add $pod production api
	done
	pod_add web production web
	for transport in +notcp +tcp; do
		for _ in 1 2 3 4 5 6; do
			query web $transport AAAA api.railway.internal | head -1
		done >"$NODE/first"
		# Each of the three leads, in the same order, twice.
		[ "$(sort "$NODE/first" | uniq -c | awk '{print $1}' | sort -u)" = 2 ]
		[ "$(head -3 "$NODE/first")" = "$(tail -3 "$NODE/first")" ]
	done
	[ "$(query web AAAA api.railway.internal | sort)" = \
		"$(for pod in api-1 api-2 api-3; do pod_address $pod; done | sort)" ]
	[ "$(query web AAAA api-2.api.railway.internal)" = "$(pod_address api-2)" ]
	[ "$(rcode web A api.railway.internal)" = NOERROR ]
	[ -z "$(query web A api.railway.internal)" ]
	ip netns exec web $DIG A api.railway.internal | grep -qE 'railway.internal.*SOA'
	[ "$(rcode web AAAA nosuch.railway.internal)" = NXDOMAIN ]
	ip netns exec web $DIG AAAA nosuch.railway.internal | grep -qE 'railway.internal.*SOA'
	refute grep -q EDNS <(ip netns exec web $DIG +noedns AAAA api.railway.internal)
	ip netns exec web $DIG +edns AAAA api.railway.internal | grep -q 'EDNS: version: 0.*udp: 1232'
	[ "$(query web SOA railway.internal | wc -l)" = 1 ]
	# The last replica goes: the service is still known.
	for pod in api-1 api-2 api-3; do
		pod_del $pod
	done
	[ "$(rcode web AAAA api.railway.internal)" = NOERROR ]
	[ -z "$(query web AAAA api.railway.internal)" ]
	[ "$(rcode web AAAA api-1.api.railway.internal)" = NXDOMAIN ]
}

@test "more replicas than fit: whole records, TC, all of them over TCP" {
	resolver_start
	for n in $(seq 1 20); do
		pod_add api-$n production api >/dev/null
	done
	# 512 bytes hold 16 addresses.
	ip netns exec api-1 $DIG +noedns +ignore AAAA api.railway.internal >"$NODE/cut"
	grep -qE 'flags:.* tc' "$NODE/cut"
	grep -q 'ANSWER: 16' "$NODE/cut"
	[ "$(query api-1 +noedns AAAA api.railway.internal | grep -c '^fd')" = 20 ]
	[ "$(query api-1 +edns AAAA api.railway.internal | grep -c '^fd')" = 20 ]
}

@test "no resolver: ADD fails with code 11 and leaves nothing; DEL works" {
	ip netns add pod
	run pod_add pod production api
	[ "$status" -ne 0 ]
	[ "$(tail -1 <<<"$output" | jq -r .code)" = 11 ]
	tail -1 <<<"$output" | jq -r .msg | grep -q railway-resolverd
	[ "$(ip -n pod -o link | wc -l)" = 1 ]
	[ -z "$(leftovers)" ]
	resolver_start
	pod_add pod production api
	resolver_stop
	pod_del pod
	[ -z "$(leftovers)" ]
}

@test "DEL takes the name away before it returns" {
	resolver_start
	pod_add one production api
	pod_add two production api
	pod_add web production web
	[ "$(query web AAAA api.railway.internal | wc -l)" = 2 ]
	gone=$(pod_address one)
	pod_del one
	[ "$(query web AAAA api.railway.internal)" = "$(pod_address two)" ]
	[ -z "$(query web -x "$gone")" ]
}

@test "kill -9 of the worker: every pod is served again, and the supervisor went on" {
	resolver_start
	pod_add api production api
	pod_add web production web
	worker=$(resolver_worker)
	kill -KILL "$worker"
	# What is asked meanwhile waits in the socket: no query is lost.
	[ "$(ip netns exec web dig +time=5 +tries=1 @fd12::10 +short AAAA api.railway.internal)" = "$(pod_address api)" ]
	[ "$(resolver_worker)" != "$worker" ]
	pod_check web
}

@test "kill -9 of both, and a new start: every pod is served again without anyone touching the pods" {
	resolver_start
	pod_add api production api
	pod_add web production web
	pod_add other staging api
	worker=$(resolver_worker)
	kill -KILL "$RESOLVER" "$worker"
	wait "$RESOLVER" || true
	eventually bash -c "! kill -0 $worker 2>/dev/null"
	run query web AAAA api.railway.internal
	[ "$status" -ne 0 ]
	resolver_start
	[ "$(query web AAAA api.railway.internal)" = "$(pod_address api)" ]
	[ "$(query other AAAA api.railway.internal)" = "$(pod_address other)" ]
	pod_check web
	# An orderly restart, too.
	resolver_stop
	resolver_start
	[ "$(query api AAAA web.railway.internal)" = "$(pod_address web)" ]
}

@test "the supervisor's death is its worker's" {
	resolver_start
	worker=$(resolver_worker)
	kill -KILL "$RESOLVER"
	eventually bash -c "! kill -0 $worker 2>/dev/null"
}

@test "the worker has a uid of its own, no capabilities, a filter, no store, and no descriptor but its own" {
	resolver_start
	pod_add api production api
	worker=$(resolver_worker)
	status() { awk -v key="$1:" '$1 == key {print $2}' "/proc/$worker/status"; }
	[ "$(status Uid)" != 0 ]
	for set in CapInh CapPrm CapEff CapBnd CapAmb; do
		[ "$(status $set)" = 0000000000000000 ]
	done
	[ "$(status NoNewPrivs)" = 1 ]
	[ "$(status Seccomp)" = 2 ]
	refute grep -q 'data.mdb\|lock.mdb' "/proc/$worker/maps"
	refute grep -E '\.mdb|railway/' <(ls -l "/proc/$worker/fd")
	refute getent passwd "$(status Uid)"
	# The supervisor has only what entering a netns needs.
	supervisor=$(awk '$1 == "CapEff:" {print $2}' "/proc/$RESOLVER/status")
	[ "$supervisor" != "$(awk '$1 == "CapEff:" {print $2}' /proc/self/status)" ]
}

@test "a netns that goes without DEL: sockets are closed, its interfaces freed, its name taken away" {
	resolver_start
	pod_add api production api
	pod_add web production web
	# The other end of a pair lives exactly as long as the netns does.
	ip link add outside type veth peer name inside netns api
	ip netns del api
	eventually bash -c "! ip link show outside 2>/dev/null"
	eventually bash -c "[ -z \"\$(ip netns exec web $DIG +short AAAA api.railway.internal)\" ]"
	# The next operation in the environment finishes it.
	pod_add web-2 production web
	[ "$(devices)" = 2 ]
	[ "$(query web AAAA web.railway.internal | wc -l)" = 2 ]
}

@test "a netns that goes after DEL is freed at once" {
	resolver_start
	pod_add api production api
	ip link add outside type veth peer name inside netns api
	pod_del api
	ip netns del api
	eventually bash -c "! ip link show outside 2>/dev/null"
}

@test "a neighbour on eth0's wire gets no answer" {
	resolver_start
	pod_add web production web
	ip netns add neighbour
	ip -n web link add wire type veth peer name wire netns neighbour
	for ns in web neighbour; do
		ip -n $ns link set wire up
	done
	ip -n web addr add fd99::1/64 dev wire nodad
	ip -n neighbour addr add fd99::2/64 dev wire nodad
	ip -n neighbour route add fd12::10/128 via fd99::1
	# Even without the routing rules: the socket itself takes what comes over lo only.
	for rules in with without; do
		[ $rules = with ] || ip -n web -6 rule add pref 0 lookup local
		run ip netns exec neighbour dig +time=1 +tries=1 @fd12::10 +short AAAA web.railway.internal
		[ "$status" -ne 0 ]
		run ip netns exec neighbour dig +time=1 +tries=1 +tcp @fd12::10 +short AAAA web.railway.internal
		[ "$status" -ne 0 ]
	done
	[ -n "$(query web AAAA web.railway.internal)" ]
}

@test "everything else is forwarded: to runtimeConfig.dns.servers, else to upstreams, else to the node's nameservers" {
	# Each upstream, in the node's netns, has an answer of its own.
	upstream() { # ADDRESS PORT ANSWER
		python3 "$BATS_TEST_DIRNAME/../lib/fake_dns.py" "$1" "$2" "$3" 3>&- &
		until dig +time=1 +tries=1 -p "$2" "@$1" +short A example.com | grep -q "$3"; do :; done
	}
	upstream 127.0.0.1 53 192.0.2.1
	upstream 127.0.0.2 5300 192.0.2.2
	upstream 127.0.0.3 53 192.0.2.3
	echo nameserver 127.0.0.1 >"$NODE/resolv.conf"
	mount --bind "$NODE/resolv.conf" "$(readlink -f /etc/resolv.conf)"
	resolver_start
	pod_add node production api
	node_conflist "$CONFLIST" '' '"upstreams": ["127.0.0.2:5300"]'
	pod_add configured production api
	# As containerd writes it.
	CAP_ARGS='{"dns":{"Servers":["127.0.0.3"],"Searches":["shop.svc"]}}' pod_add runtime production api
	for transport in +notcp +tcp; do
		[ "$(query node $transport A example.com)" = 192.0.2.1 ]
		[ "$(query configured $transport A example.com)" = 192.0.2.2 ]
		[ "$(query runtime $transport A example.com)" = 192.0.2.3 ]
	done
	# What is private is not: the upstreams would answer anything.
	[ "$(rcode configured A nosuch.railway.internal)" = NXDOMAIN ]
	[ "$(rcode configured A RAILWAY.INTERNAL)" = NOERROR ]
	[ -z "$(query configured A RAILWAY.INTERNAL)" ]
	[ "$(rcode configured -x fd00::1)" = NXDOMAIN ]
	[ "$(rcode configured -x 10.0.0.1)" = NXDOMAIN ]
	# The node's nameservers change: the resolver is told, and asks the new one.
	upstream 127.0.0.4 53 192.0.2.4
	echo nameserver 127.0.0.4 >"$NODE/resolv.conf"
	kill -HUP "$RESOLVER"
	eventually bash -c "[ \"\$(ip netns exec node $DIG +short A example.com)\" = 192.0.2.4 ]"
}

@test "an upstream that is dead: SERVFAIL before the client gives up" {
	node_conflist "$CONFLIST" '' '"upstreams": ["127.0.0.9:5300"]'
	resolver_start
	pod_add one production api
	[ "$(ip netns exec one dig +time=5 +tries=1 @fd12::10 A example.com | sed -n 's/.*status: \([A-Z]*\),.*/\1/p')" = SERVFAIL ]
}

@test "registration is for root, and for messages that are what they say" {
	resolver_start
	socket=/run/railway/resolver.sock
	[ "$(stat -c %a $socket)" = 600 ]
	# A reader of another user's cannot even connect.
	run setpriv --reuid=65534 --clear-groups python3 -c "
import socket; s = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET); s.connect('$socket')"
	[ "$status" -ne 0 ]
	for bytes in '' 00 ffffffff "$(printf '41%.0s' $(seq 1 3000))"; do
		python3 - "$socket" "$bytes" <<-'EOF'
			import socket, sys
			s = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
			s.settimeout(5)
			s.connect(sys.argv[1])
			s.send(bytes.fromhex(sys.argv[2]) or b"\0")
			s.recv(4096)
		EOF
	done
	pod_add one production api
	[ -n "$(query one AAAA api.railway.internal)" ]
}

@test "two daemons on one socket: the second is refused and the first goes on" {
	resolver_start
	pod_add one production api
	run timeout 5 "$BIN/railway-resolverd"
	[ "$status" -ne 0 ]
	[[ $output == *resolver.sock* ]]
	[ -n "$(query one AAAA api.railway.internal)" ]
}

@test "CHECK of dns: the resolver gone, the address gone" {
	resolver_start
	pod_add one production api
	pod_check one
	ip -n one addr del fd12::10/128 dev lo
	run pod_check one
	[ "$status" -ne 0 ]
	[[ $output == *fd12::10* ]]
	ip -n one addr add fd12::10/128 dev lo
	pod_check one
	resolver_stop
	run pod_check one
	[ "$status" -ne 0 ]
	[[ $output == *railway-resolverd* ]]
}
