#!/usr/bin/env bats
# The kernel's own WireGuard: what only that can show. The network tests run on it too (make test-vm).
bats_require_minimum_version 1.5.0
. "$BATS_TEST_DIRNAME/../netns/common.bash"

serve() { # POD PORT: a TCP server that says the pod's name to whoever connects
	in_pod "$1" socat "TCP6-LISTEN:$2,fork,reuseaddr" "SYSTEM:echo $1" 3>&- &
	until in_pod "$1" ss -Hltn "sport = :$2" | grep -q .; do :; done
}

ask() { # POD NAME PORT
	in_pod "$1" socat -t20 -T20 - "TCP6:$2:$3,connect-timeout=20" </dev/null
}

kind() { # POD INTERFACE
	ip -n "$1" -d -j link show dev "$2" | jq -r '.[0].linkinfo.info_kind'
}

listen_port() { # POD INTERFACE
	ip netns exec "$1" wg show "$2" listen-port
}

@test "the kernel's WireGuard is taken; pods talk by name from the first packet" {
	resolver_start
	pod_add web production web
	pod_add api production api
	[ "$(kind web eth0)" = wireguard ]
	[ "$(kind api eth0)" = wireguard ]
	refute pgrep -x wireguard-go
	serve api 80
	[ "$(ask web api.railway.internal 80)" = api ]
	ip netns exec web wg show eth0 latest-handshakes | grep -qE '[1-9][0-9]+$'
	pod_check web
	pod_check api
}

@test "the first packet to a new pod, and from it, is answered" {
	resolver_start
	pod_add web production web
	pod_add api production api
	ip netns exec web ping -6 -n -c 1 -W 20 "$(pod_address api)"
	pod_add new production new
	ip netns exec new ping -6 -n -c 1 -W 20 "$(pod_address web)"
	# Lost, it would have been sent again after 5 s.
	for pod in web new; do
		ip netns exec $pod wg show eth0 transfer | awk '$2 > 0 {n++} END {exit n == 0}'
	done
}

@test "one message makes the link in the pod's netns: the host's never sees it" {
	resolver_start
	ip monitor link >"$NODE/links" 3>&- &
	monitor=$!
	# It listens when it sees this one.
	until grep -q marker "$NODE/links"; do
		ip link add marker type dummy
		ip link del marker
	done
	pod_add web production web
	pod_add api production api
	pod_del web
	until grep -q last-marker "$NODE/links"; do
		ip link add last-marker type dummy
		ip link del last-marker
	done
	kill $monitor
	refute grep -vE 'marker|^ ' "$NODE/links"
}

@test "traffic runs without a lost packet while 100 peers of that device come and go" {
	resolver_start
	pod_add web production web
	pod_add api production api
	address=$(pod_address api)
	ip netns exec web ping -6 -n -c 1 -W 20 "$address"
	ip netns exec web ping -6 -n -i 0.01 -W 20 "$address" >"$NODE/ping" 3>&- &
	pinger=$!
	for round in 1 2 3; do
		"$TOOLS/mesh_tool" members /var/lib/railway /run/railway production 1 100
		[ "$(ip netns exec web wg show eth0 peers | wc -l)" = 101 ]
		"$TOOLS/mesh_tool" forget /var/lib/railway /run/railway production 1 100
		[ "$(ip netns exec web wg show eth0 peers | wc -l)" = 1 ]
	done
	until [ "$(grep -c 'bytes from' "$NODE/ping")" -gt 300 ]; do :; done
	kill -INT $pinger
	wait $pinger || true
	# None was skipped, or came twice. (The last ones may be on their way.)
	grep -o 'icmp_seq=[0-9]*' "$NODE/ping" | cut -d= -f2 | awk '$1 != NR {exit 1}'
}

@test "one device with 2,000 peers made from member records is read back right" {
	resolver_start
	pod_add web production web
	"$TOOLS/mesh_tool" members /var/lib/railway /run/railway production 1 2000
	pod_add api production api
	own=$(pod_address api)
	"$TOOLS/mesh_tool" list /var/lib/railway /run/railway production | grep -v " $own/128" | sort >"$NODE/members"
	[ "$(wc -l <"$NODE/members")" = 2001 ]
	ip netns exec api wg show eth0 allowed-ips | tr '\t' ' ' | sort | diff - "$NODE/members"
	pod_check api
	# One of them missing, one with another address: both are noticed.
	key=$(tail -1 "$NODE/members" | cut -d' ' -f1)
	ip netns exec api wg set eth0 peer "$key" remove
	run pod_check api
	[ "$status" -ne 0 ]
	grep -qF "$key" <<<"$output"
	grep -q "1 differences" <<<"$output"
	"$TOOLS/mesh_tool" forget /var/lib/railway /run/railway production 1 2000
	pod_check api
	[ "$(ip netns exec api wg show eth0 peers | wc -l)" = 1 ]
}

@test "DEL finds the interface that the pod has renamed, and the one whose alias it changed, too" {
	resolver_start
	pod_add web production web
	pod_add api production api
	ip -n web link set eth0 down
	ip -n web link set eth0 name mine
	ip -n api link set dev eth0 alias mine
	ip -n api link set eth0 down
	ip -n api link set eth0 name mine
	# Another link of the same kind stays.
	ip -n api link add other type wireguard
	pod_del web
	pod_del api
	refute ip -n web link show dev mine
	refute ip -n api link show dev mine
	ip -n api link show dev other
	ip -n api link del other
}

@test "pods of two environments have no peers of each other" {
	resolver_start
	pod_add web production web
	pod_add other staging api
	[ -z "$(ip netns exec web wg show eth0 peers)" ]
	[ -z "$(ip netns exec other wg show eth0 peers)" ]
	run ask web "$(pod_address other)" 80
	[ "$status" -ne 0 ]
}

@test "the UDP sockets are in the host's netns and none is in the pods'" {
	resolver_start
	pod_add web production web
	pod_add api production api
	for pod in web api; do
		port=$(listen_port "$pod" eth0)
		[ "$port" != 0 ]
		grep -qi "$(printf ':%04X 0' "$port")" /proc/net/udp
		grep -qi "$(printf ':%04X 0' "$port")" /proc/net/udp6
		refute ip netns exec "$pod" grep -qi "$(printf ':%04X 0' "$port")" /proc/net/udp /proc/net/udp6
	done
}

@test "AllowedIPs are exactly the other pod's /128" {
	resolver_start
	pod_add one production web
	pod_add two production web
	pod_add three production api
	for pod in one two three; do
		expected=$(for other in one two three; do
			[ "$other" = "$pod" ] || echo "$(pod_address "$other")/128"
		done | sort)
		[ "$(ip netns exec "$pod" wg show eth0 allowed-ips | cut -f 2- | sort)" = "$expected" ]
	done
	pod_del two
	[ "$(ip netns exec one wg show eth0 allowed-ips | cut -f 2-)" = "$(pod_address three)/128" ]
}

@test "with the interface down the private network is refused at once, though eth0 has a default route" {
	CNI_PATH=$BIN:/usr/lib/cni
	cat >"$CONFLIST" <<-EOF
		{ "cniVersion": "1.0.0", "name": "railway", "plugins": [
		  { "type": "bridge", "bridge": "br-public", "isGateway": true,
		    "ipam": { "type": "host-local", "dataDir": "$NODE/host-local",
		              "ranges": [[{ "subnet": "10.88.0.0/24" }], [{ "subnet": "2001:db8::/64" }]],
		              "routes": [{ "dst": "0.0.0.0/0" }, { "dst": "::/0" }] } },
		  { "type": "railway-mesh", "ipam": { "type": "railway-ipam" }, "trustArgs": true },
		  { "type": "railway-dns" } ] }
	EOF
	resolver_start
	pod_add web production web
	pod_add api production api
	serve api 80
	[ "$(ask web api.railway.internal 80)" = api ]
	address=$(pod_address api railway0)
	ip -n web -6 route show default | grep -q eth0
	ip -n web link set railway0 down
	# EACCES of the prohibit rule, not a time-out.
	run in_pod web timeout 20 socat - "TCP6:[$address]:80,connect-timeout=15" </dev/null
	[ "$status" -ne 0 ]
	grep -q "Permission denied" <<<"$output"
	run pod_check web
	[ "$status" -ne 0 ]
}

@test "one of listenPorts is taken, and the next where it is in use" {
	node_conflist "$CONFLIST" '"listenPorts": [40001, 40002]'
	resolver_start
	pod_add one production web
	pod_add two production web
	[ "$( (listen_port one eth0; listen_port two eth0) | sort | xargs)" = "40001 40002" ]
	run pod_add three production web
	[ "$status" -ne 0 ]
	grep -q "listenPorts are taken" <<<"$output"
	refute ip -n three link show dev eth0
}

@test "DEL leaves nothing, and a second DEL succeeds" {
	resolver_start
	before=$(wc -l </proc/net/udp)
	pod_add web production web
	pod_add api production api
	[ "$(wc -l </proc/net/udp)" -gt "$before" ]
	for pod in web api web; do
		pod_del "$pod"
		refute ip -n "$pod" link show dev eth0
	done
	[ -z "$(ip -n web -j link | jq -r '.[].ifname | select(. != "lo")')" ]
	[ -z "$(leftovers)" ]
	# A socket's port may stay for one grace period.
	for _ in $(seq 50); do
		[ "$(wc -l </proc/net/udp)" != "$before" ] || return 0
		sleep 0.1
	done
	return 1
}

@test "DEL removes a link whose creation died before it was told apart, and leaves another's" {
	resolver_start
	pod_add web production web
	pod_add api production api
	# What is there between the message that makes the link and the one that gives it its alias.
	read -r _ _ first _ < <(stored_interface web)
	ip -n web link del eth0
	ip -n web link add "$first" type wireguard
	pod_del web
	refute ip -n web link show dev "$first"
	# Another key and no alias: somebody else's.
	ip -n api link set eth0 down
	ip -n api link set dev eth0 alias ""
	ip netns exec api wg set eth0 private-key <(wg genkey)
	pod_del api
	ip -n api link show dev eth0
	ip -n api link del eth0
}

@test "a pod's own link under the interface's name makes ADD fail and stays" {
	resolver_start
	ip netns add web
	ip -n web link add eth0 type wireguard
	run pod_add web production web
	[ "$status" -ne 0 ]
	ip -n web link show dev eth0
}

@test "a key that is changed behind our back fails CHECK, and the sibling counts as gone" {
	resolver_start
	pod_add web production web
	pod_add api production api
	ip netns exec web wg set eth0 private-key <(wg genkey)
	run pod_check web
	[ "$status" -ne 0 ]
	# The next operation of the environment meets it.
	pod_add next production next
	[ "$(ip netns exec next wg show eth0 peers | wc -l)" = 1 ]
	[ "$(ip netns exec api wg show eth0 peers | wc -l)" = 1 ]
}

@test "three hundred peers are given in several messages and read back whole" {
	resolver_start
	pod_add web production web
	mkdir -p "$NODE/keys"
	python3 - >"$NODE/keys/peers" <<-'EOF'
		import base64, os
		for i in range(300):
		    key = base64.b64encode(os.urandom(32)).decode()
		    print(f"[Peer]\nPublicKey = {key}\nAllowedIPs = fd00:1::{i:x}/128, fd00:2::{i:x}/128")
	EOF
	ip netns exec web wg addconf eth0 "$NODE/keys/peers"
	# They are no members: the next that reconciles reads all of them and removes them.
	run pod_check web
	[ "$status" -ne 0 ]
	grep -q "300 differences" <<<"$output"
}
