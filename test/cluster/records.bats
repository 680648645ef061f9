#!/usr/bin/env bats
# Records that other nodes wrote, or somebody in their name: many, malformed, oversized, false.
bats_require_minimum_version 1.5.0
LEASE=30
load nodes

setup() {
	network_start
	etcd_start
}

# The tree of the environment that an address is of.
tree() { python3 -c 'import ipaddress, sys; print("railway/1/in/" + ipaddress.ip_address(sys.argv[1]).packed.hex()[:12])' "$1"; }

# key_with ADDRESS NODE COUNTER: a member's key in the same service.
member_key() {
	python3 -c '
import ipaddress, sys
packed = ipaddress.ip_address(sys.argv[1]).packed[:8] + int(sys.argv[2]).to_bytes(4, "big") + int(sys.argv[3]).to_bytes(4, "big")
print("railway/1/in/%s/members/%s" % (packed.hex()[:12], packed.hex()))' "$@"
}

member_value() { # NODE [KEY] [ENDPOINT]
	local key=${2:-$(head -c 32 /dev/urandom | base64)}
	echo "{\"node\":$1,\"key\":\"$key\",\"endpoints\":[\"${3:-10.9.0.99:5000}\"],\"replica\":\"fake\",\"named\":true}"
}

@test "records that are malformed, oversized or false are refused and logged, and nothing else suffers" {
	node_start a
	node_start b
	add a one production api
	one=$(address_of a one)
	own=$((16#$(keys_in alive | head -1 | sed 's/.*\///')))
	etcdctl_ put "$(member_key "$one" 77 1)" 'no json' >/dev/null
	etcdctl_ put "$(member_key "$one" 77 2)" "$(member_value 78)" >/dev/null
	etcdctl_ put "$(member_key "$one" 77 3)" "$(member_value 77 AAAA)" >/dev/null
	etcdctl_ put "$(member_key "$one" 77 4)" "$(member_value 77 '' 127.0.0.1:53)" >/dev/null
	etcdctl_ put "$(member_key "$one" 77 5)" "$(member_value 77 '' 10.9.0.9:0)" >/dev/null
	etcdctl_ put "$(tree "$one")/members/00ff" "$(member_value 77)" >/dev/null
	etcdctl_ put "$(tree "$one")/services/UPPER" '{"number":7,"original":"UPPER"}' >/dev/null
	etcdctl_ put "$(tree "$one")/nonsense" 'x' >/dev/null
	key=$(head -c 32 /dev/urandom | base64)
	etcdctl_ put "$(member_key "$one" 77 6)" "$(member_value 77 "$key")" >/dev/null
	etcdctl_ put "$(member_key "$one" 77 7)" "$(member_value 77 "$key")" >/dev/null
	head -c 1000000 /dev/zero | tr '\0' x | etcdctl_ put "$(member_key "$one" 77 8)" >/dev/null
	# In the running watch, and in a node that reads all of it.
	add b two production web
	good=$(python3 -c 'import ipaddress, sys; print(ipaddress.ip_address(bytes.fromhex(sys.argv[1].rsplit("/", 1)[1])))' "$(member_key "$one" 77 6)")
	for node in a b; do
		pod=$([ $node = a ] && echo one || echo two)
		wait_until 10 eval '[ "$(resolves $node $pod api)" = "$(printf "%s\n" "$good" "$one" | sort)" ]'
		on $node pod_check $pod
		for why in "no JSON" "another node's" "no public key" "can reach" "another member has" "none of ours" "too large"; do
			grep -q "is refused.*$why" "$WORK/$node.meshd.log" || { echo "$node did not say: $why"; false; }
		done
	done
	talks b two "$one"
	add a three production api
	talks b two "$(address_of a three)"
	[ "$(stat -c %s "$WORK/a.meshd.log")" -lt 100000 ]
}

@test "a record with a local pod's key, which is read before the pod's own, is refused, and stops no ADD" {
	node_start a
	node_start b
	add a one production api
	add b two production web
	wait_until 10 agree
	one=$(address_of a one)
	key=$(pod_wg a one show public-key)
	etcdctl_ put "$(member_key "$one" 2 1)" "$(member_value 2 "$key")" >/dev/null
	wait_until 10 grep -q "is refused.*another member has" "$WORK/a.meshd.log"
	meshd_kill a
	mv "$WORK/a.meshd.log" "$WORK/before"
	meshd_start a
	# By the daemon that reads it first.
	wait_until 15 grep -q "is refused" "$WORK/a.meshd.log"
	wait_until 10 node_joined a
	on a pod_check one
	add a three production api
	wait_until 10 eval '[ "$(resolves a three api)" = "$(expected production api)" ]'
	all_talk production
	on a pod_check one
	etcdctl_ del "$(member_key "$one" 2 1)" >/dev/null
	del a three
	wait_until 10 agree
	all_talk production
}

# fill FROM COUNT: records of another node that are refused, and count all the same.
fill() {
	python3 - "$(address_of a one)" "$1" "$2" <<-'EOF2' >"$WORK/records"
		import ipaddress, sys
		for i in range(int(sys.argv[2]), int(sys.argv[2]) + int(sys.argv[3])):
		    packed = ipaddress.ip_address(sys.argv[1]).packed[:8] + (77).to_bytes(4, "big") + i.to_bytes(4, "big")
		    print('put railway/1/in/%s/members/%s x' % (packed.hex()[:12], packed.hex()))
	EOF2
	rm -f "$WORK"/part.*
	split -l 1000 "$WORK/records" "$WORK/part."
	for part in "$WORK"/part.*; do
		{ echo; cat "$part"; echo; echo; } | etcdctl_ txn >/dev/null
	done
}

@test "where others fill an environment, a node's own members are published, and known to be" {
	etcd_kill
	etcd_start --max-txn-ops 1000
	node_start a
	add a one production api
	one=$(address_of a one)
	fill 1 20000
	# Nothing more gets in (of many complaints a few are logged, and those are older) ...
	n=0
	beyond() {
		n=$((n + 1))
		etcdctl_ put "$(member_key "$one" 78 $n)" x >/dev/null
		grep -q "has too many members" "$WORK/a.meshd.log"
	}
	wait_until 30 beyond
	# ... but what this node says itself: a warning would say that it is not known.
	run on a pod_add two production api
	[ "$status" = 0 ]
	[[ $output != *"not known to other nodes"* ]]
	two=$(on a pod_address two)
	published "$one" | grep -qxF "$two"
	on a pod_del two
	refute grep -qxF "$two" <(published "$one")
}

# records FIRST COUNT: members of a node that is not there, in the environment of pod one of node a. Nobody answers where they are said to be.
records() {
	python3 - "$(address_of a one)" "$1" "$2" <<-'EOF2' >"$WORK/records"
		import base64, ipaddress, os, sys
		for i in range(int(sys.argv[2]), int(sys.argv[2]) + int(sys.argv[3])):
		    packed = ipaddress.ip_address(sys.argv[1]).packed[:8] + (77).to_bytes(4, "big") + i.to_bytes(4, "big")
		    print('put railway/1/in/%s/members/%s "{\\"node\\":77,\\"key\\":\\"%s\\",\\"endpoints\\":[\\"10.9.0.1:%d\\"],\\"replica\\":\\"r%d\\",\\"named\\":true}"' % (
		        packed.hex()[:12], packed.hex(), base64.b64encode(os.urandom(32)).decode(), 1024 + i, i))
	EOF2
	rm -f "$WORK"/part.*
	split -l 100 "$WORK/records" "$WORK/part."
	for part in "$WORK"/part.*; do
		{ echo; cat "$part"; echo; echo; } | etcdctl_ txn >/dev/null
	done
}

meshd_ticks() { awk '{sub(/.*\) /, ""); print $12 + $13}' "/proc/$(cat "$WORK/$1.meshd.pid")/stat"; } # NODE

@test "an environment of 1,000 members: 12 pods, the rest records; one that joins is met by handshakes at a pace" {
	for node in a b c; do node_start $node; done
	add a one production api
	records 1 330
	add b two production web
	records 331 330
	add a three production web
	records 661 328
	[ "$(keys_in in | grep -c members/)" = 991 ]
	for i in 4 5 6; do
		for node in a b; do
			add $node "$node$i" production web
		done
	done
	add c first production worker
	add c second production worker
	wait_until 60 eval '[ "$(pod_wg c first show peers | wc -l)" = 998 ]'

	# The last one joins, and says nothing itself.
	python3 "$ROOT/test/lib/handshakes.py" vc >"$WORK/handshakes" 3>&- &
	capture=$!
	wait_until 10 grep -q ready "$WORK/handshakes"
	ticks=$(meshd_ticks a)
	before=$(date +%s.%N)
	add c last production worker
	port=$(pod_wg c last show listen-port)
	# The newest greet first; the oldest, of the other nodes, is behind 998 members, one every 5 ms.
	met() { awk -v port="$port" '$2 == "to" && $3 == port' "$WORK/handshakes"; }
	wait_until 30 eval '[ "$(met | wc -l)" -ge 9 ]'
	kill $capture
	echo "# railway-meshd of a, 5 pods: $(($(meshd_ticks a) - ticks)) ticks of CPU for the join" >&3
	met | awk -v before="$before" '{printf "# met after %.2f s\n", $1 - before}' >&3
	# Each pod of the other nodes once: no storm, and no packet to the records, which answer nothing.
	[ "$(met | wc -l)" = 9 ]
	[ "$(awk -v port="$port" '$2 == "from" && $3 == port' "$WORK/handshakes" | wc -l)" = 0 ]
	# Not before their turn: "one", "two" and "three" are behind 998, 667 and 336 others, 5 ms each.
	first=$(met | awk 'NR == 1 || $1 < least {least = $1} END {print least}')
	for turn in "1 4.7" "2 3.1" "3 1.5"; do
		[ "$(met | awk -v first="$first" -v delay="${turn#* }" '$1 - first >= delay' | wc -l)" -ge "${turn% *}" ]
	done

	for pod in "a one" "b two" "c last"; do
		# shellcheck disable=SC2086
		wait_until 20 eval "[ \$(on ${pod% *} ip netns exec ${pod#* } dig +tcp +short AAAA api.railway.internal @fd12::10 | wc -l) = 989 ]"
	done
	for line in "${PODS[@]}"; do
		read -r node pod _ <<<"$line"
		on "$node" pod_check "$pod"
	done
	all_talk production
	# The daemons' lease went on all the while.
	refute grep -q "taken for dead" "$WORK"/a.meshd.log "$WORK"/b.meshd.log "$WORK"/c.meshd.log
	for node in a b c; do
		awk -v node=$node '/^VmHWM/ {printf "# railway-meshd of %s: %d KiB at most\n", node, $2}' "/proc/$(cat "$WORK/$node.meshd.pid")/status" >&3
	done
	awk '/^VmRSS/ {printf "# wireguard-go with 999 peers: %d KiB\n", $2}' "/proc/$(carrier c last)/status" >&3
	del b two
	wait_until 20 eval '[ "$(pod_wg a one show peers | wc -l)" = 998 ]'
}

# put_long TREE COUNT LENGTH SIZE: keys of that length before the members of a tree, each with a value of that size, one a revision.
put_long() {
	python3 - "$ETCD_ADDRESS" "$@" <<-'EOF2'
		import base64, http.client, json, sys
		address, tree, count, length, size = sys.argv[1], sys.argv[2], *map(int, sys.argv[3:])
		etcd = http.client.HTTPConnection(address, 2379)
		text = lambda data: base64.b64encode(data).decode()
		for i in range(count):
		    key = b"%s/a%04d" % (tree.encode(), i)
		    etcd.request("POST", "/v3/kv/put", json.dumps({"key": text(key.ljust(length, b"\0")), "value": text(size * b"x")}))
		    answer = etcd.getresponse()
		    assert answer.status == 200, answer.read()
		    answer.read()
	EOF2
}

@test "keys that are too long to be looked at hide no member, neither from a watch nor from a full reading" {
	node_start a
	node_start b
	add a one production api
	add b two production web
	wait_until 10 agree
	# More than a page of them, and one that no line of a watch holds: everything is read again.
	inside=$(tree "$(address_of a one)")
	put_long "$inside" 600 1100 1
	put_long "$inside" 1 1200 1000000
	for node in a b; do wait_until 20 grep -q 'is refused.*/a0000.*the record is too large' "$WORK/$node.meshd.log"; done
	agree
	talks a one "$(address_of b two)"
	node_start c
	add c three production worker
	wait_until 10 agree
	all_talk production
	# Behind one whose key alone is too large nothing is read, and nothing is taken away.
	put_long "$inside" 1 900000 1
	for node in a b c; do wait_until 20 grep -q "an environment cannot be read.*a0000.*too large to be read: delete it" "$WORK/$node.meshd.log"; done
	agree
	etcdctl_ del --prefix "$inside/a" >/dev/null
	add a four production api
	wait_until 20 agree
	all_talk production
}

# proxy_start [cut]: between etcd and who goes to PROXY_ADDRESS
PROXY_ADDRESS=10.9.1.2
proxy_start() {
	python3 "$ROOT/test/lib/etcd_proxy.py" $PROXY_ADDRESS $ETCD_ADDRESS 2379 "$@" >"$WORK/proxy" 3>&- &
	PROXY=$!
	wait_until 10 grep -q ready "$WORK/proxy"
}

@test "a watch that ends while it catches up goes on behind what it was told, not behind where etcd is" {
	ip addr add $PROXY_ADDRESS/32 dev lo
	proxy_start
	node_start a
	ETCD_URLS=http://$PROXY_ADDRESS:2379 node_start b
	add a one production api
	add b two production web
	wait_until 10 agree
	kill $PROXY
	wait $PROXY || true
	# etcd tells of 1,000 revisions in a line; the member is in the next.
	one=$(address_of a one)
	put_long "$(tree "$one")" 1100 64 1
	etcdctl_ put "$(member_key "$one" 77 1)" "$(member_value 77)" >/dev/null
	proxy_start cut
	wait_until 20 grep -q cut "$WORK/proxy"
	wait_until 20 eval '[ "$(resolves b two api | wc -l)" = 2 ]'
	kill $PROXY
}
