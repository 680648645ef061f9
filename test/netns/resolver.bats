#!/usr/bin/env bats
# railway-dns and railway-resolverd: registration, answers in the pod, crashes, pods that are gone.
bats_require_minimum_version 1.5.0
load common
load serve

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

asked() { # ADDRESS NAME: how often
	grep -ci " $2\$" "$NODE/asked.$1" || true
}

ttl() { # POD DIG-ARGUMENTS...: of the first record of answer or authority
	ip netns exec "$1" $DIG +noall +answer +authority "${@:2}" | awk 'NR == 1 {print $2}'
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
	[[ "$(query web SOA railway.internal)" == "ns.railway.internal. "* ]]
	# The last replica goes: the service is still known.
	for pod in api-1 api-2 api-3; do
		pod_del $pod
	done
	[ "$(rcode web AAAA api.railway.internal)" = NOERROR ]
	[ -z "$(query web AAAA api.railway.internal)" ]
	[ "$(rcode web AAAA api-1.api.railway.internal)" = NXDOMAIN ]
}

@test "to the letter: PTR, NS, TXT, ANY, the case of a name, any byte in it, EDNS, the root" {
	resolver_start
	for pod in api-1 api-2; do
		pod_add $pod production api >/dev/null
	done
	pod_add web production web >/dev/null
	[ "$(query web -x "$(pod_address api-2)")" = api-2.api.railway.internal. ]
	# On the way to an address there is nothing, and it exists; beside it there is nothing at all.
	reverse=$(ip netns exec web $DIG -x "$(pod_address api-2)" | sed -n 's/^;\([0-9a-f.]*ip6.arpa\)\..*/\1/p')
	[ "$(rcode web PTR "${reverse#*.}")" = NOERROR ]
	[ "$(rcode web PTR "${reverse#*.*.*.*.}")" = NOERROR ]
	[ "$(rcode web PTR "0.$reverse")" = NXDOMAIN ]
	[ "$(query web NS railway.internal)" = ns.railway.internal. ]
	[ "$(query web AAAA ns.railway.internal)" = fd12::10 ]
	[ "$(query web TXT _services.railway.internal | tr -d '"' | tr , '\n' | sort | xargs)" = "api web" ]
	[ "$(query web TXT _replicas.api.railway.internal | tr -d '"' | tr , '\n' | sort | xargs)" = "api-1 api-2" ]
	[ "$(query web ANY api.railway.internal)" = '"RFC8482" ""' ]
	ip netns exec web $DIG AAAA ApI.rAiLwAy.InTeRnAl | grep -q '^ApI.rAiLwAy.InTeRnAl.*AAAA'
	[ "$(rcode web AAAA 'a\000b\.c\255.railway.internal')" = NXDOMAIN ]
	[ "$(rcode web +edns=1 +noednsneg AAAA api.railway.internal)" = BADVERS ]
	ip netns exec web $DIG +ednsopt=65001:00112233 +nsid +cookie +dnssec AAAA api.railway.internal >"$NODE/edns"
	grep -q 'status: NOERROR' "$NODE/edns"
	grep -q 'EDNS: version: 0, flags: do; udp: 1232' "$NODE/edns"
	refute grep -qE '^; (COOKIE|NSID|OPT=)' "$NODE/edns"
	# Turned by AAAA queries, and by nothing else.
	first=$(query web AAAA api.railway.internal | head -1)
	for kind in A TXT ANY MX; do
		query web $kind api.railway.internal >/dev/null
	done
	[ "$(query web AAAA api.railway.internal | head -1)" != "$first" ]
	[ "$(query web AAAA api.railway.internal | head -1)" = "$first" ]
	# The root is somebody else's: nobody is asked here, so nobody can answer.
	node_conflist "$CONFLIST" '' '"upstreams": ["127.0.0.9:5300"]'
	pod_add root production web >/dev/null
	[ "$(ip netns exec root dig +time=5 +tries=1 @fd12::10 NS . | sed -n 's/.*status: \([A-Z]*\),.*/\1/p')" = SERVFAIL ]
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
	[ "$(query web AAAA api.railway.internal | grep -c '^fd')" = 2 ]
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

@test "the running worker: a uid of its own, no capabilities, a filter, no store, and no descriptor but its own" {
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
	# Standard files (the last of them the log), its channel and epoll, and sockets: of the pod, two.
	fds=/proc/$worker/fd
	for fd in "$fds"/*; do
		case "${fd##*/} $(readlink "$fd")" in
		"0 /dev/null" | "1 /dev/null" | "2 $NODE/resolver.log" | *" anon_inode:[eventpoll]" | *" socket:["*"]") ;;
		*) echo "descriptor $(ls -l "$fd")" && return 1 ;;
		esac
	done
	[ "$(find "$fds" -lname 'socket:*' | wc -l)" = 3 ]
	refute getent passwd "$(status Uid)"
	# The supervisor has only what entering a netns needs.
	supervisor=$(awk '$1 == "CapEff:" {print $2}' "/proc/$RESOLVER/status")
	[ "$supervisor" != "$(awk '$1 == "CapEff:" {print $2}' /proc/self/status)" ]
}

@test "what the running worker calls while it answers, forwards over UDP and TCP, and is flooded: no file is opened, no socket made but UDP's and TCP's" {
	[ "$VARIANT" != asan ] || skip "a sanitizer reads files and starts threads of its own"
	python3 "$BATS_TEST_DIRNAME/../lib/fake_dns.py" 127.0.0.2 5300 192.0.2.2 3>&- &
	HELPERS+=($!)
	eventually upstream_up 127.0.0.2 5300 192.0.2.2
	node_conflist "$CONFLIST" '' '"upstreams": ["127.0.0.2:5300"]'
	resolver_start
	pod_add one production api >/dev/null
	worker=$(resolver_worker)
	# More than a batch of queries is there when it goes on.
	kill -STOP "$worker"
	ip netns exec one python3 "$BATS_TEST_DIRNAME/../lib/hostile.py" names railway.internal 28 0.1
	strace -f -q -o "$NODE/calls" -p "$worker" 2>"$NODE/strace" 3>&- &
	tracer=$!
	has_tracer() { grep -q "^TracerPid:.*[1-9]" "/proc/$worker/status"; }
	eventually has_tracer
	kill -CONT "$worker"
	# It waits in the kernel, and is seen to come out of there.
	is_traced() { query one AAAA api.railway.internal >/dev/null && grep -q recvmmsg "$NODE/calls"; }
	eventually is_traced
	[ "$(query one A one.example.com)" = 192.0.2.2 ]
	[ "$(query one +tcp A two.example.com)" = 192.0.2.2 ]
	ip netns exec one python3 "$BATS_TEST_DIRNAME/../lib/hostile.py" udp_flood 1
	ip netns exec one python3 "$BATS_TEST_DIRNAME/../lib/hostile.py" tcp_flood 1
	pod_add two production api >/dev/null
	[ "$(query two A three.example.com)" = 192.0.2.2 ]
	kill -INT "$tracer"
	wait "$tracer" || true
	[ "$(resolver_worker)" = "$worker" ]
	grep -q 'recvmmsg(.*= 32$' "$NODE/calls"
	grep -q 'sendmmsg(.*= 32$' "$NODE/calls"
	grep -q 'socket(AF_INET, SOCK_DGRAM' "$NODE/calls"
	refute grep -vE 'socket\(AF_INET6?, SOCK_(DGRAM|STREAM)' <(grep 'socket(' "$NODE/calls")
	# c-ares looks for randomness that it does not need, and finds no file.
	refute grep -v 'ENOENT' <(grep -E '(open|openat|openat2|creat)\(' "$NODE/calls")
	refute grep -E '(execve|fork|clone3?|ptrace|mount|setns|unshare|bpf|memfd_create)\(' "$NODE/calls"
	refute grep -E '(bind|connect)\(.*AF_UNIX' "$NODE/calls"
}

@test "however many queries of a pod wait, the next pod's are looked at after 128 of them" {
	resolver_start
	for pod in one two; do pod_add $pod production api >/dev/null; done
	worker=$(resolver_worker)
	kill -STOP "$worker"
	for pod in one two; do
		ip netns exec $pod python3 "$BATS_TEST_DIRNAME/../lib/hostile.py" queue 2000 none.railway.internal
	done
	strace -q -e trace=recvmmsg -o "$NODE/calls" -p "$worker" 2>"$NODE/strace" 3>&- &
	tracer=$!
	has_tracer() { grep -q "^TracerPid:.*[1-9]" "/proc/$worker/status"; }
	eventually has_tracer
	kill -CONT "$worker"
	has_answer() { query "$1" AAAA "$2" | grep -q ^fd; }
	# The last of both were read with these.
	eventually has_answer one api.railway.internal
	eventually has_answer two api.railway.internal
	kill -INT "$tracer"
	wait "$tracer" || true
	# Full batches: how many each socket had, and how many came one after the other from the same while the other had some.
	python3 - "$NODE/calls" <<-'END'
		import itertools, re, sys
		full = re.findall(r"recvmmsg\((\d+), .* = 32$", open(sys.argv[1]).read(), re.M)
		each = {socket: full.count(socket) for socket in set(full)}
		both = min(len(full) - full[::-1].index(socket) for socket in each)
		runs = [len(list(run)) for _, run in itertools.groupby(full[:both])]
		print(each, runs)
		assert len(each) == 2 and min(each.values()) > 4, "too few waited to show anything"
		assert max(runs) == 4
	END
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
	[ "$(query web AAAA web.railway.internal | grep -c '^fd')" = 2 ]
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
	[ "$(query web AAAA web.railway.internal)" = "$(pod_address web)" ]
}

@test "everything else is forwarded: to runtimeConfig.dns.servers, else to upstreams, else to the node's nameservers" {
	# Each upstream, in the node's netns, has an answer of its own.
	speaks_tcp() { # ADDRESS PORT ANSWER
		python3 "$BATS_TEST_DIRNAME/../lib/fake_dns.py" "$1" "$2" "$3" 3>&- &
		HELPERS+=($!)
		eventually upstream_up "$@"
	}
	speaks_tcp 127.0.0.1 53 192.0.2.1
	speaks_tcp 127.0.0.2 5300 192.0.2.2
	ip addr add 10.96.0.3/32 dev lo
	speaks_tcp 10.96.0.3 53 192.0.2.3
	echo nameserver 127.0.0.1 >"$NODE/resolv.conf"
	mount --bind "$NODE/resolv.conf" "$(readlink -f /etc/resolv.conf)"
	resolver_start
	pod_add node production api
	node_conflist "$CONFLIST" '' '"upstreams": ["127.0.0.2:5300"]'
	pod_add configured production api
	# As containerd writes it.
	CAP_ARGS='{"dns":{"Servers":["10.96.0.3"],"Searches":["shop.svc"]}}' pod_add runtime production api
	for transport in +notcp +tcp; do
		[ "$(query node $transport A example.com)" = 192.0.2.1 ]
		[ "$(query configured $transport A example.com)" = 192.0.2.2 ]
		[ "$(query runtime $transport A example.com)" = 192.0.2.3 ]
	done
	# An address that is of use on one link only is left out, and said.
	CAP_ARGS='{"dns":{"Servers":["fe80::1%eth0","10.96.0.3"]}}' pod_add scoped production api 2>"$NODE/stderr"
	[ "$(query scoped A example.com)" = 192.0.2.3 ]
	grep -q "runtimeConfig.dns.servers: 'fe80::1%...' is left out" "$NODE/stderr"
	CAP_ARGS='{"dns":{"Servers":["fe80::1%eth0"]}}' pod_add only-scoped production api
	[ "$(query only-scoped A example.com)" = 192.0.2.2 ]
	# A pod's author means the pod by these, and would reach the node: left out, and said.
	for server in 127.0.0.1 127.0.0.53 0.0.0.0 :: ::1 ::ffff:127.0.0.1 ::ffff:0.0.0.0 224.0.0.251 ff02::fb 255.255.255.255; do
		CAP_ARGS="{\"dns\":{\"Servers\":[\"$server\"]}}" pod_add author production api 2>"$NODE/stderr"
		grep -qF "runtimeConfig.dns.servers: '$server' is left out" "$NODE/stderr"
		[ "$(query author A example.com)" = 192.0.2.2 ]
		pod_del author
	done
	# What is private is not: the upstreams would answer anything.
	[ "$(rcode configured A nosuch.railway.internal)" = NXDOMAIN ]
	[ "$(rcode configured A RAILWAY.INTERNAL)" = NOERROR ]
	[ -z "$(query configured A RAILWAY.INTERNAL)" ]
	[ "$(rcode configured -x fd00::1)" = NXDOMAIN ]
	[ "$(rcode configured -x 10.0.0.1)" = NXDOMAIN ]
	# The node's nameservers change: the resolver is told, and asks the new one.
	speaks_tcp 127.0.0.4 53 192.0.2.4
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

@test "identical questions on their way are asked once, and everybody who asked is answered" {
	upstream 127.0.0.2 5300 192.0.2.2
	node_conflist "$CONFLIST" '' '"upstreams": ["127.0.0.2:5300"]'
	resolver_start
	for pod in one two; do
		pod_add $pod production api >/dev/null
	done
	pod_add other staging api >/dev/null
	local jobs=() n
	for n in $(seq 1 10); do
		for pod in one two other; do
			transport=$([ $((n % 2)) = 0 ] && echo +tcp || echo +notcp)
			query $pod $transport A "$([ $n -gt 5 ] && echo SLOW || echo slow).example.com" >"$NODE/answer.$pod.$n" 3>&- &
			jobs+=($!)
		done
	done
	wait "${jobs[@]}"
	[ "$(cat "$NODE"/answer.* | sort | uniq -c | awk '{print $1, $2}')" = "30 192.0.2.2" ]
	[ "$(asked 127.0.0.2 slow.example.com)" = 1 ]
	# Another type, and other flags, are other questions.
	query one TXT slow.example.com
	query one +cd A slow.example.com
	query one +dnssec A slow.example.com
	[ "$(asked 127.0.0.2 slow.example.com)" = 4 ]
}

@test "public answers are kept for as long as they hold, negative ones too, for each set of upstreams by itself" {
	upstream 127.0.0.2 5300 192.0.2.2
	upstream 127.0.0.3 5300 192.0.2.3
	node_conflist "$CONFLIST" '' '"upstreams": ["127.0.0.2:5300"]'
	resolver_start
	pod_add one production api >/dev/null
	pod_add two staging api >/dev/null
	node_conflist "$CONFLIST" '' '"upstreams": ["127.0.0.3:5300"]'
	pod_add other production api >/dev/null

	# Over both transports, and for every pod with these upstreams; with its own case and ID each time.
	[ "$(query one A kept.example.com)" = 192.0.2.2 ]
	[ "$(query two +tcp A KEPT.example.com)" = 192.0.2.2 ]
	ip netns exec two $DIG A KePt.example.com | grep -q '^KePt.example.com.*192.0.2.2'
	[ "$(asked 127.0.0.2 kept.example.com)" = 1 ]
	# A pod with others asks its own.
	[ "$(query other A kept.example.com)" = 192.0.2.3 ]
	[ "$(asked 127.0.0.3 kept.example.com)" = 1 ]
	[ "$(query one A kept.example.com)" = 192.0.2.2 ]

	# TTLs count down; what is over is asked again.
	[ "$(query one A ttl-2.example.com)" = 192.0.2.2 ]
	counts_down() { local t; t=$(ttl one A kept.example.com); [ "$t" -gt 0 ] && [ "$t" -lt 600 ]; }
	eventually counts_down
	asked_again() { query one A ttl-2.example.com >/dev/null; [ "$(asked 127.0.0.2 ttl-2.example.com)" = 2 ]; }
	eventually asked_again
	query one A ttl-0.example.com
	query one A ttl-0.example.com
	[ "$(asked 127.0.0.2 ttl-0.example.com)" = 2 ]

	for name in nx-300 none-300; do
		code=$([ $name = nx-300 ] && echo NXDOMAIN || echo NOERROR)
		for _ in 1 2 3; do
			[ "$(rcode one A $name.example.com)" = $code ]
		done
		[ "$(asked 127.0.0.2 $name.example.com)" = 1 ]
		[ "$(ttl two A $name.example.com)" -le 300 ]
	done
	# Without a SOA nobody says how long; a failure is not kept.
	for name in bare fail; do
		rcode one A $name.example.com
		rcode one A $name.example.com
		[ "$(asked 127.0.0.2 $name.example.com)" = 2 ]
	done
	# Nothing private has left the node.
	for question in "AAAA nosuch.railway.internal" "-x fd00::1" "-x 10.1.2.3" "-x 192.168.0.1"; do
		# shellcheck disable=SC2086
		[ "$(rcode one $question)" = NXDOMAIN ]
	done
	refute grep -iE 'railway|arpa' "$NODE/asked.127.0.0.2"
}

@test "answers that lie: other IDs, other names, other senders; the true one is given, and kept" {
	upstream 127.0.0.2 5300 192.0.2.2
	node_conflist "$CONFLIST" '' '"upstreams": ["127.0.0.2:5300"]'
	resolver_start
	pod_add one production api >/dev/null
	for n in 1 2 3; do
		[ "$(query one A lie.$n.example.com)" = 192.0.2.2 ]
		[ "$(query one A lie.$n.example.com)" = 192.0.2.2 ]
		[ "$(asked 127.0.0.2 lie.$n.example.com)" = 1 ]
	done
	[ "$(rcode one A fail.example.com)" = SERVFAIL ]
}

@test "the first upstream is dead: the second is asked" {
	upstream 127.0.0.2 5300 192.0.2.2
	# One that takes queries and does not answer.
	socat -u UDP4-RECV:5300,bind=127.0.0.9 /dev/null 3>&- &
	node_conflist "$CONFLIST" '' '"upstreams": ["127.0.0.9:5300", "127.0.0.2:5300"]'
	resolver_start
	pod_add one production api >/dev/null
	[ "$(ip netns exec one dig +time=5 +tries=1 @fd12::10 +short A example.com)" = 192.0.2.2 ]
	# From then on from the cache.
	[ "$(query one A example.com)" = 192.0.2.2 ]
	[ "$(asked 127.0.0.2 example.com)" = 1 ]
}

@test "the node's resolv.conf changes: it is read again by itself, and a new question goes to the new nameserver" {
	upstream 127.0.0.2 53 192.0.2.2
	upstream 127.0.0.3 53 192.0.2.3
	# As in a container: what is written to it happens in another directory.
	mkdir "$NODE/resolv"
	echo nameserver 127.0.0.2 >"$NODE/resolv/resolv.conf"
	mount --bind "$NODE/resolv/resolv.conf" "$(readlink -f /etc/resolv.conf)"
	resolver_start
	pod_add one production api >/dev/null
	[ "$(query one A one.example.com)" = 192.0.2.2 ]
	echo nameserver 127.0.0.3 >/etc/resolv.conf
	is_new() { [ "$(query one A "$RANDOM$RANDOM.example.com")" = 192.0.2.3 ]; }
	eventually is_new
	# What the old one said is not given to who asks the new one.
	[ "$(query one A one.example.com)" = 192.0.2.3 ]
	[ "$(asked 127.0.0.2 one.example.com)" = 1 ]
}

@test "the node's resolv.conf is replaced, as a file and as the file that it is a link to" {
	upstream 127.0.0.2 53 192.0.2.2
	upstream 127.0.0.3 53 192.0.2.3
	mkdir -p "$NODE/etc" "$NODE/elsewhere"
	for n in 2 3; do
		echo "nameserver 127.0.0.$n" >"$NODE/elsewhere/$n"
	done
	mount --bind "$NODE/etc" /etc
	cp "$NODE/elsewhere/2" /etc/resolv.conf
	resolver_start
	pod_add one production api >/dev/null
	answers() { [ "$(query one A "$RANDOM$RANDOM.example.com")" = "192.0.2.$1" ]; }
	answers 2
	cp "$NODE/elsewhere/3" /etc/resolv.conf.new
	mv /etc/resolv.conf.new /etc/resolv.conf
	eventually answers 3
	# As systemd-resolved has it: a link, and behind it a file that is put in another's place.
	cp "$NODE/elsewhere/2" "$NODE/elsewhere/stub"
	ln -s "$NODE/elsewhere/stub" /etc/resolv.conf.new
	mv -T /etc/resolv.conf.new /etc/resolv.conf
	eventually answers 2
	cp "$NODE/elsewhere/3" "$NODE/elsewhere/stub.new"
	mv "$NODE/elsewhere/stub.new" "$NODE/elsewhere/stub"
	eventually answers 3
	umount /etc
}

@test "ADD and DEL return when the worker has done it, not before" {
	resolver_start
	ask() { timeout "$1" "$TOOLS/resolver_tool" ask /run/railway/resolver.sock "${@:2}"; }
	ip netns add one
	ip -n one link set lo up
	ip -n one addr add fd12::10/128 dev lo nodad
	"$TOOLS/resolver_tool" put /var/lib/railway /run/railway production api one one /run/netns/one
	for request in "add one /run/netns/one" "check one" "remove one"; do
		kill -STOP "$(resolver_worker)"
		# shellcheck disable=SC2086 # words
		run ask 1 $request
		[ "$status" = 124 ]
		kill -CONT "$(resolver_worker)"
		# shellcheck disable=SC2086
		ask 10 $request
	done
	# Nor when there is none at the moment: the next one does it.
	kill -STOP "$(resolver_worker)"
	ask 10 add one /run/netns/one 3>&- &
	asked=$!
	kill -KILL "$(resolver_worker)"
	wait "$asked"
	[ "$(query one AAAA api.railway.internal | grep -c '^fd')" = 1 ]
}

@test "the worker that runs has restricted itself by Landlock, where the kernel has it" {
	[ "$VARIANT" != asan ] || skip "a sanitizer's worker is the same one, and traced slowly"
	grep -q landlock /sys/kernel/security/lsm || mount -t securityfs securityfs /sys/kernel/security
	grep -q landlock /sys/kernel/security/lsm || skip "this kernel has no Landlock"
	mkdir -p "$NODE/traced"
	printf '#!/bin/sh\nexec strace -D -f -q -o "%s" -e trace=landlock_restrict_self,seccomp "%s/railway-resolverd" "$@"\n' "$NODE/calls" "$BIN" \
		>"$NODE/traced/railway-resolverd"
	chmod +x "$NODE/traced/railway-resolverd"
	BIN=$NODE/traced resolver_start
	grep -E "^$(resolver_worker) +landlock_restrict_self\(.*= 0$" "$NODE/calls"
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
	[ "$(query one AAAA api.railway.internal)" = "$(pod_address one)" ]
}

@test "two daemons on one socket: the second is refused and the first goes on" {
	resolver_start
	pod_add one production api
	run timeout 5 "$BIN/railway-resolverd"
	[ "$status" -ne 0 ]
	[[ $output == *resolver.sock* ]]
	[ "$(query one AAAA api.railway.internal)" = "$(pod_address one)" ]
}

@test "more pods than the limit of open files has room for: those that are served stay so, the others are told what to do" {
	mkdir -p "$NODE/limited" /run/netns
	printf '#!/bin/sh\nulimit -n 160\nexec "%s/railway-resolverd" "$@"\n' "$BIN" >"$NODE/limited/railway-resolverd"
	chmod +x "$NODE/limited/railway-resolverd"
	"$TOOLS/resolver_tool" pods /var/lib/railway /run/railway 40 >/dev/null
	BIN=$NODE/limited resolver_start
	ask() { "$TOOLS/resolver_tool" ask /run/railway/resolver.sock "$@"; }
	in=() out=()
	for n in $(seq 40); do
		if ask check "pod-$n" 2>/dev/null; then in+=("pod-$n"); else out+=("pod-$n"); fi
	done
	echo "served: ${#in[@]}, not served: ${#out[@]}"
	[ ${#in[@]} -ge 20 ]
	[ ${#out[@]} -ge 5 ]
	[ "$(grep -c 'cannot be opened.*raise LimitNOFILE' "$NODE/resolver.log")" = ${#out[@]} ]
	run ask add "${out[0]}" "/run/netns/${out[0]}"
	[ "$status" -ne 0 ]
	[[ $output == *"raise LimitNOFILE"*"code 11"* ]]
	# There is always one for the next worker.
	kill -KILL "$(resolver_worker)"
	[ "$(query "${in[0]}" AAAA "${in[0]}.service-${in[0]: -1}.railway.internal" | grep -c '^fd')" = 1 ]
	# A request's own files need room, too.
	for pod in "${in[@]:0:4}"; do
		ask remove "$pod"
	done
	ask add "${out[0]}" "/run/netns/${out[0]}"
	ask check "${out[0]}"
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

@test "metrics: Prometheus' text format at a Unix socket or a loopback port; they outlive the worker" {
	upstream 127.0.0.2 5300 192.0.2.2
	node_conflist "$CONFLIST" '' '"upstreams": ["127.0.0.2:5300"]'
	resolver_start --metrics "$NODE/metrics"
	[ "$(stat -c %a "$NODE/metrics")" = 600 ]
	pod_add api production api >/dev/null
	pod_add other 'a "quoted\\ name' api >/dev/null
	for _ in 1 2 3; do
		query api AAAA api.railway.internal >/dev/null
	done
	query api +tcp AAAA api.railway.internal >/dev/null
	query api A api.railway.internal >/dev/null
	rcode api AAAA nosuch.railway.internal >/dev/null
	query other AAAA api.railway.internal >/dev/null
	query api A one.example.com >/dev/null
	query api A one.example.com >/dev/null
	rcode api A fail.example.com >/dev/null
	# Two who ask the same while it is on its way, in spellings of their own.
	for name in late.example.com LATE.example.com; do
		query api +time=6 A "$name" >"$NODE/$name" 3>&- &
		HELPERS+=($!)
	done
	is_waiting() { [ "$(metric forward_waiting)" = 2 ] && [ "$(metric forward_sockets)" = 1 ]; }
	eventually is_waiting
	is_answered() { [ "$(metric forward_waiting)" = 0 ]; }
	eventually is_answered
	rcode api +time=6 A silent.example.com >/dev/null
	rcode api +edns=1 +noednsneg AAAA api.railway.internal >/dev/null
	# Larger than any query may be.
	ip netns exec api python3 -c 'import socket; socket.socket(socket.AF_INET6, socket.SOCK_DGRAM).sendto(bytes(3000), ("fd12::10", 53))'
	is_dropped() { [ "$(metric queries_dropped_total)" = 1 ]; }
	eventually is_dropped

	curl -s -D "$NODE/head" --unix-socket "$NODE/metrics" http://resolver/metrics >"$NODE/text"
	grep -q '^HTTP/1.0 200' "$NODE/head"
	grep -qi '^content-type: text/plain; version=0.0.4' "$NODE/head"
	# Each line is a comment or a number; each family has its type.
	refute grep -vE '^(# (HELP|TYPE) railway_resolver_[a-z_]+ .+|railway_resolver_[a-z_]+(\{[^}]*\})? [0-9.e+-]+)$' "$NODE/text"
	[ "$(metric 'queries_total{environment="production",type="AAAA",answer="NOERROR"}')" = 4 ]
	[ "$(metric 'queries_total{environment="production",type="A",answer="NODATA"}')" = 1 ]
	[ "$(metric 'queries_total{environment="production",type="AAAA",answer="NXDOMAIN"}')" = 1 ]
	[ "$(metric 'queries_total{environment="production",type="A",answer="NOERROR"}')" = 4 ]
	[ "$(metric 'queries_total{environment="production",type="A",answer="SERVFAIL"}')" = 2 ]
	# BADVERS
	[ "$(metric 'queries_total{environment="production",type="AAAA",answer="other"}')" = 1 ]
	[ "$(metric 'queries_total{environment="a \"quoted\\\\ name",type="AAAA",answer="NOERROR"}')" = 1 ]
	[ "$(metric cache_hits_total)" = 1 ]
	[ "$(metric cache_misses_total)" = 5 ]
	[ "$(metric cache_entries)" = 2 ]
	[ "$(metric forward_questions_total)" = 4 ]
	[ "$(metric forward_joined_total)" = 1 ]
	[ "$(metric forward_failures_total)" = 1 ]
	[ "$(metric pods_registered)" = 2 ]
	[ "$(metric pods_served)" = 2 ]
	[ "$(metric worker_starts_total)" = 1 ]
	[ "$(metric 'answer_duration_seconds_count{source="local"}')" = 9 ]
	[ "$(metric 'answer_duration_seconds_count{source="forwarded"}')" = 5 ]
	[ "$(metric 'answer_duration_seconds_bucket{source="local",le="+Inf"}')" = 9 ]
	# Each bucket has what is in those below it: two at once; two that took two and a half seconds, and the silent one.
	[ "$(metric 'answer_duration_seconds_bucket{source="forwarded",le="2"}')" = 2 ]
	[ "$(metric 'answer_duration_seconds_bucket{source="forwarded",le="+Inf"}')" = 5 ]

	kill -KILL "$(resolver_worker)"
	query api +time=5 AAAA api.railway.internal >/dev/null
	[ "$(metric 'queries_total{environment="production",type="AAAA",answer="NOERROR"}')" = 5 ]
	[ "$(metric worker_starts_total)" = 2 ]
	# An environment whose last pod is gone is not shown.
	pod_del other
	[ -z "$(metric 'queries_total{environment="a \"quoted\\\\ name",type="AAAA",answer="NOERROR"}')" ]

	[ "$(curl -s -o /dev/null -w '%{http_code}' --unix-socket "$NODE/metrics" http://resolver/nosuch)" = 404 ]
	# Who says nothing, or too much, holds nobody up.
	python3 - "$NODE/metrics" <<-'END'
		import socket, sys
		idle = [socket.socket(socket.AF_UNIX) for _ in range(20)]
		for s in idle:
		    s.connect(sys.argv[1])
		idle[0].sendall(b"x" * 3000)
		try:
		    idle[0].sendall(b"x" * 3000)
		    idle[0].settimeout(10)
		    assert idle[0].recv(1) == b""
		except ConnectionError:
		    pass
	END
	shows() { [ "$(metric pods_registered)" = 1 ]; }
	eventually shows
	resolver_stop
	resolver_start --metrics 9153
	curl -s http://127.0.0.1:9153/metrics | grep -q '^railway_resolver_pods_registered 1$'
}
