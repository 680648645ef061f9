#!/usr/bin/env bats
# A pod that turns against its network, with all that CAP_NET_ADMIN in its netns allows. It harms itself alone: DEL works and leaves nothing,
# and the other pods' peers and names are right.
bats_require_minimum_version 1.5.0
load common

setup() {
	NODE=/run/node
	rm -rf "$NODE" /run/railway /var/lib/railway
	mkdir -p "$NODE"
	CONFLIST=$NODE/railway.conflist
	node_conflist "$CONFLIST"
	RESOLVER=
	resolver_start
	pod_add api production api >/dev/null
	pod_add web production web >/dev/null
	pod_add other staging api >/dev/null
	before=$(others)
	processes=$(carriers)
	pod_add evil production api >/dev/null
	evil=$(pod_address evil)
}

in_evil() { # COMMAND...
	ip netns exec evil "$@"
}

reaches() { # POD ADDRESS: packets go there and back: a port that nobody listens on refuses
	ip netns exec "$1" python3 -c '
import socket, sys
try:
    socket.create_connection((sys.argv[1], 9), 5)
except ConnectionRefusedError:
    sys.exit(0)
sys.exit(1)' "$2" 2>/dev/null
}

carriers() { # what carries the others' packets
	pgrep -x wireguard-go | sort
}

# What the others have: whom they reach and which names they see. The device's peers are as CHECK wants them.
others() {
	local pod
	for pod in api web other; do
		echo "$pod: $(ip netns exec "$pod" dig +time=5 +tries=1 +short @fd12::10 AAAA api.railway.internal | sort | xargs)"
		echo "$pod: $(ip netns exec "$pod" dig +time=5 +tries=1 +short @fd12::10 TXT _services.railway.internal | sort | xargs)"
		ip -n "$pod" -6 rule
		ip -n "$pod" -6 addr show scope global
	done
}

unharmed() { # the other pods, while the hostile one is still there
	local pod
	for pod in api web other; do
		ip netns exec "$pod" dig +time=5 +tries=1 +short @fd12::10 AAAA api.railway.internal | grep -q '^fd'
	done
	reaches web "$(pod_address api)"
	# A new pod of the environment is wired as any.
	pod_add late production api >/dev/null
	reaches late "$(pod_address api)"
	pod_del late
}

# gone: after DEL of the hostile pod the node is as it was before it came.
gone() {
	local end=$((SECONDS + 10))
	pod_del evil
	until [ "$(carriers)" = "$processes" ]; do
		[ $SECONDS -lt $end ] || { echo "a process stays"; return 1; }
	done
	diff <(echo "$before") <(others)
	for pod in api web other; do
		pod_check "$pod"
	done
	CNI_CONTAINERID=evil CNI_NETNS=/run/netns/evil plugin railway-ipam CHECK "$(config railway-ipam)"
	expect_error 102 'no lease'
	refute ls -d /var/run/wireguard/*"${1:-nothing}"*
	[ -z "$(ip -o link | grep rwg)" ]
}

# nothing_of_ours [NAME]: neither interface, nor rules, nor the resolver's address in the hostile pod's netns.
nothing_of_ours() {
	refute ip -n evil link show "${1:-eth0}"
	[ "$(ip -n evil -6 rule | grep -c 21057)" = 0 ]
	[ -z "$(ip -n evil -6 addr show to fd12::10)" ]
}

@test "it deletes its own interface" {
	in_evil ip link del eth0
	refute reaches evil "$(pod_address api)"
	unharmed
	gone
	nothing_of_ours
}

@test "it takes its interface down, its address off, its routes away" {
	in_evil ip link set eth0 down
	in_evil ip -6 addr flush dev eth0
	in_evil ip -6 route flush table 21057
	in_evil ip -6 route flush table main
	unharmed
	gone
	nothing_of_ours
}

@test "it deletes fd12::10, and puts it back" {
	in_evil ip addr del fd12::10/128 dev lo
	run in_evil dig +time=1 +tries=1 @fd12::10 AAAA api.railway.internal
	[ "$status" -ne 0 ]
	unharmed
	in_evil ip addr add fd12::10/128 dev lo nodad
	in_evil dig +time=5 +tries=1 +short @fd12::10 AAAA api.railway.internal | grep -q '^fd'
	in_evil ip addr del fd12::10/128 dev lo
	gone
	nothing_of_ours
}

@test "it deletes its rules, lo's too, and adds its own" {
	in_evil ip -6 rule flush
	in_evil ip -6 rule add pref 0 lookup local
	in_evil ip -6 rule add pref 7 prohibit
	in_evil ip link set lo down
	unharmed
	gone
	nothing_of_ours
	# What is not ours is not ours to take.
	in_evil ip -6 rule | grep -q '^7:.*prohibit'
}

@test "it claims another's address: it is not believed, neither in its environment nor in another" {
	for victim in web other; do
		in_evil ip addr add "$(pod_address $victim)/128" dev eth0 nodad
	done
	address=$(pod_address api)
	ip netns exec api socat -u "UDP6-RECV:9,bind=[$address]" "CREATE:$NODE/received" 3>&- &
	until ip netns exec api ss -Hlun "sport = :9" | grep -q .; do :; done
	for source in "$(pod_address web)" "$(pod_address other)" "$evil"; do
		echo "from $source" | in_evil socat -u - "UDP6-SENDTO:[$address]:9,bind=[$source]"
	done
	until grep -q "from $evil" "$NODE/received"; do :; done
	[ "$(cat "$NODE/received")" = "from $evil" ]
	for victim in web other; do
		in_evil ip addr del "$(pod_address $victim)/128" dev eth0
	done
	unharmed
	gone
	nothing_of_ours
}

@test "it moves its interface into a netns that the node does not know, and where it stays" {
	in_evil unshare --net sh -c 'echo $$ >"$1"; exec sleep 1000' sh "$NODE/hidden" >/dev/null 2>&1 3>&- &
	until [ -s "$NODE/hidden" ]; do :; done
	hidden=$(cat "$NODE/hidden")
	port=$(pod_wg evil show listen-port)
	in_evil ip link set eth0 netns "$hidden"
	nsenter --net="/proc/$hidden/ns/net" ip link set eth0 up
	unharmed
	gone
	nothing_of_ours
	# The kernel's interface cannot be found where nobody knows of it. Nobody has it as a peer; it ends with the netns it is in.
	[ "$TRANSPORT" = kernel ] || [ "$(nsenter --net="/proc/$hidden/ns/net" ip -o link | grep -vc ' lo:')" = 0 ]
	ss -Haun "sport = :$port" >"$NODE/port"
	[ "$TRANSPORT" != kernel ] || [ -s "$NODE/port" ]
	kill "$hidden"
	is_closed() { ! ss -Haun "sport = :$port" | grep -q .; }
	until is_closed; do :; done
}

@test "it moves its interface into another pod's place: that pod's own interface and peers stay" {
	ip netns add bystander
	ip -n bystander link set lo up
	# The way there is one that only the node has; a pod that had it would be root on the node.
	ip -n evil link set eth0 netns bystander
	unharmed
	gone
	[ "$TRANSPORT" = kernel ] || refute ip -n bystander link show eth0
	nothing_of_ours
}

@test "it renames its interface" {
	in_evil ip link set eth0 down
	in_evil ip link set eth0 name mine
	in_evil ip link set mine up
	unharmed
	gone
	nothing_of_ours mine
}

@test "it renames its interface and puts another in its place" {
	in_evil ip link set eth0 down
	in_evil ip link set eth0 name mine
	in_evil ip link add eth0 type veth peer name pair
	in_evil ip link set eth0 alias "$(in_evil cat /sys/class/net/mine/ifalias 2>/dev/null || echo railway)"
	unharmed
	gone
	nothing_of_ours mine 2>/dev/null || refute in_evil ip link show mine
	in_evil ip -d link show eth0 | grep -q veth
}

@test "its netns is entered under another path: DEL with that, and with none" {
	ip netns exec evil sleep 1000 3>&- &
	sleeper=$!
	until [ "$(readlink "/proc/$sleeper/ns/net")" = "net:[$(stat -Lc %i /run/netns/evil)]" ]; do :; done
	CNI_ARGS=${pod_args[evil]} "$CHAIN" check "$CONFLIST" evil "/proc/$sleeper/ns/net"
	unharmed
	pod_del evil "/proc/$sleeper/ns/net"
	nothing_of_ours
	pod_add evil production api >/dev/null
	pod_del evil ''
	nothing_of_ours
	kill $sleeper
	gone
}

@test "its netns is given to another container: the second is refused, and nothing of the first changes" {
	pod_args[thief]="IgnoreUnknown=1;RAILWAY_ENVIRONMENT=staging;RAILWAY_SERVICE=thief;K8S_POD_NAME=thief"
	run env CNI_ARGS="${pod_args[thief]}" "$CHAIN" add "$CONFLIST" thief /run/netns/evil
	[ "$status" -ne 0 ]
	pod_check evil
	CNI_ARGS="${pod_args[thief]}" "$CHAIN" del "$CONFLIST" thief /run/netns/evil
	pod_check evil
	[ "$(pod_address evil)" = "$evil" ]
	unharmed
	gone
	nothing_of_ours
}

@test "it takes all ports of its netns: its own resolver's are taken already, the others' are not its own" {
	cat >"$NODE/ports.py" <<-'EOF'
		import os, resource, socket, sys
		limit = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
		resource.setrlimit(resource.RLIMIT_NOFILE, (limit, limit))
		each = min(limit - 100, 16000)
		children = []
		for kind in (socket.SOCK_DGRAM, socket.SOCK_STREAM):
		    for first in range(1, 65536, each):
		        read, write = os.pipe()
		        if os.fork() == 0:
		            held = []
		            for port in range(first, min(first + each, 65536)):
		                one = socket.socket(socket.AF_INET6, kind)
		                try:
		                    one.bind(("::", port))
		                    held.append(one)
		                except OSError:
		                    one.close()
		            os.write(write, b"%d\n" % len(held))
		            sys.stdin.read()
		            os._exit(0)
		        os.close(write)
		        children.append(read)
		print(sum(int(os.read(read, 16)) for read in children), flush=True)
		sys.stdin.read()
	EOF
	mkfifo "$NODE/in" "$NODE/out"
	ip netns exec evil python3 "$NODE/ports.py" <"$NODE/in" >"$NODE/out" 3>&- &
	exec 8>"$NODE/in" 9<"$NODE/out"
	read -r -t 60 held <&9
	# All but the resolver's two.
	[ "$held" -gt 131000 ]
	[ "$held" -le $((2 * 65535 - 2)) ]
	unharmed
	exec 8>&- 9<&-
	gone
	nothing_of_ours
}

@test "it floods the resolver and its siblings while it is deleted" {
	ip netns exec evil timeout 60 python3 "$BATS_TEST_DIRNAME/../lib/hostile.py" udp_flood 60 3>&- &
	udp=$!
	ip netns exec evil timeout 60 python3 "$BATS_TEST_DIRNAME/../lib/hostile.py" tcp_flood 60 3>&- &
	tcp=$!
	unharmed
	gone
	kill $udp $tcp 2>/dev/null || true
	wait $udp $tcp || true
	nothing_of_ours
}

@test "it has its own program hold its netns after everything: the interface goes all the same" {
	ip netns exec evil sleep 1000 3>&- &
	holder=$!
	until [ "$(readlink "/proc/$holder/ns/net")" = "net:[$(stat -Lc %i /run/netns/evil)]" ]; do :; done
	nsenter --net="/proc/$holder/ns/net" ip link show eth0 >/dev/null
	ip netns del evil
	pod_args[evil]=${pod_args[evil]}
	CNI_ARGS=${pod_args[evil]} "$CHAIN" del "$CONFLIST" evil ''
	until [ "$(carriers)" = "$processes" ]; do :; done
	refute nsenter --net="/proc/$holder/ns/net" ip link show eth0
	diff <(echo "$before") <(others)
	kill $holder
	ip netns add evil
	gone
}
