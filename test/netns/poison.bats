#!/usr/bin/env bats
# Packets that end the worker, in place of a fault that nobody knows yet (pkg/base/pause.h): whose they are, and what others notice.
bats_require_minimum_version 1.5.0
load common
load serve

BIN=$PAUSES
HOSTILE=(python3 "$BATS_TEST_DIRNAME/../lib/hostile.py")

answered() { # POD SECONDS DIG-ARGUMENTS...
	in_netns "$1" dig +time="$2" +tries=1 @fd12::10 +short "${@:3}" | grep -q '^fd'
}

poison() { # POD NAME
	in_netns "$1" "${HOSTILE[@]}" send "$2.railway.internal"
}

sockets() { # of the supervisor, whose copies outlive a worker
	find "/proc/$RESOLVER/fd" -lname 'socket:*' -printf '%l\n' | sort
}

@test "a query that ends the worker, over UDP and TCP, under load: no socket and no query of another is lost, the next starts at once" {
	resolver_start --metrics "$NODE/metrics"
	served one production svc0
	served two staging web
	supervisor=$RESOLVER
	before=$(sockets)
	load_begin 4
	worker=$(resolver_worker)
	poison two rail-crash-abort
	eventually log_says 'the worker died.*signal 6' 1
	# What comes meanwhile is answered when the next one is there.
	answered two 5 AAAA web.railway.internal
	in_netns two dig +tcp +time=5 +tries=1 @fd12::10 AAAA rail-crash-segv.railway.internal || true
	eventually log_says 'the worker died.*signal 11' 1
	answered two 5 +tcp AAAA web.railway.internal
	load_end
	[ "$RESOLVER" = "$supervisor" ]
	[ "$(resolver_worker)" != "$worker" ]
	[ "$(metric worker_starts_total)" = 3 ]
	# Its own channel to the worker is another one each time.
	[ "$(comm -12 <(echo "$before") <(sockets) | wc -l)" = $(($(wc -l <<<"$before") - 1)) ]
	log_says 'at the packets of a pod.*environment=staging.*container=two' 2
	refute log_says 'packets of a pod.*container=one' 1
	[ "$(metric pods_set_aside)" = 0 ]
}

@test "a pod whose queries end every worker is set aside and the others are served; later it is served again" {
	resolver_start --metrics "$NODE/metrics"
	served one production svc0
	served two staging web
	load_begin 4
	for n in 1 2 3; do
		poison two rail-crash-abort
		eventually log_says 'the worker died' $n
	done
	eventually log_says 'level=error.*not served for a while.*environment=staging.*container=two' 1
	[ "$(metric pods_set_aside)" = 1 ]
	worker=$(resolver_worker)
	# What it asks now waits in its own socket, and CHECK says that it is not served.
	refute answered two 1 AAAA web.railway.internal
	run "$TOOLS/resolver_tool" ask /run/railway/resolver.sock check two
	[ "$status" -ne 0 ]
	[[ $output == *"does not serve the attachment for a while: its packets end the worker"* ]]
	"$TOOLS/resolver_tool" ask /run/railway/resolver.sock check one
	load_end
	[ "$(metric worker_starts_total)" = 4 ]
	eventually log_says 'served again' 1
	answered two 5 AAAA web.railway.internal
	[ "$(metric pods_set_aside)" = 0 ]
	[ "$(resolver_worker)" = "$worker" ]
	"$TOOLS/resolver_tool" ask /run/railway/resolver.sock check two
	# The next time at once, and for longer.
	poison two rail-crash-segv
	eventually log_says 'not served for a while.*seconds=16' 1
	eventually answered one 1 AAAA svc0.railway.internal
	# DEL finds nothing in its way.
	ip link add outside type veth peer name inside netns two
	"$TOOLS/resolver_tool" ask /run/railway/resolver.sock remove two
	ip netns del two
	is_freed() { ! ip link show outside 2>/dev/null; }
	eventually is_freed
	[ "$(metric pods_set_aside)" = 0 ]
}

@test "a pod full of such queries: three workers die of it, and no query of another is lost" {
	resolver_start --metrics "$NODE/metrics"
	served one production svc0
	served two staging web
	load_begin 4
	# Many times what its queue holds.
	in_netns two "${HOSTILE[@]}" names rail-crash-abort.railway.internal 28 0.2
	eventually log_says 'not served for a while' 1
	load_end
	# One more each time that it has been given another chance.
	[ "$(metric worker_starts_total)" -le 6 ]
}

@test "an upstream's answer that ends the worker: the pod that waits for it is blamed, not one that waits for another" {
	upstream 127.0.0.2 5300 192.0.2.2
	resolver_start --metrics "$NODE/metrics"
	served one production svc0 127.0.0.2:5300
	served two staging web 127.0.0.2:5300
	ask_public() { # POD NAME
		in_netns "$1" dig +time=5 +tries=1 @fd12::10 +short A "$2.example.com" >"$NODE/$1.public" 3>&- &
		HELPERS+=($!)
	}
	for n in 1 2 3; do
		ask_public one "slow.n$n"
		is_asked() { [ "$(grep -c "slow.n$n" "$NODE/asked.127.0.0.2")" = 1 ]; }
		eventually is_asked
		ask_public two "poison.n$n"
		eventually log_says 'the worker died.*signal 6' $n
		eventually answered one 1 AAAA svc0.railway.internal
	done
	log_says 'not served for a while.*container=two'
	log_says 'packets of a pod.*container=two' 2
	refute log_says 'packets.*container=one'
	[ "$(metric pods_set_aside)" = 1 ]
}

@test "a query that the worker does not come back from: it is replaced, and the next one answers" {
	resolver_start
	served one production svc0
	served two staging web
	poison two rail-crash-hang
	eventually log_says 'the worker is replaced.*does not answer' 1
	answered one 5 AAAA svc0.railway.internal
	eventually log_says 'at the packets of a pod.*container=two' 1
}
