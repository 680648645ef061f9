#!/usr/bin/env bats
# Records that other nodes wrote, or somebody in their name: many, malformed, oversized, false.
bats_require_minimum_version 1.5.0

setup() {
	LEASE=30
	. "$BATS_TEST_DIRNAME/nodes.bash"
	network_start
	etcd_start
}

teardown() {
	[ -z "${BATS_ERROR_STATUS:-}" ] || cluster_logs
	cluster_stop
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

@test "an environment of 1,000 members: 12 pods, the rest records" {
	[ -n "${THOUSAND:-}" ] || skip "fails with wireguard-go, whose processes do not answer in time with 1,000 peers; not seen on the kernel's yet (THOUSAND=1 runs it)"
	for node in a b c; do node_start $node; done
	add a one production api
	one=$(address_of a one)
	python3 - "$one" 988 <<-'EOF2' >"$WORK/records"
		import base64, ipaddress, os, sys
		for i in range(1, int(sys.argv[2]) + 1):
		    packed = ipaddress.ip_address(sys.argv[1]).packed[:8] + (77).to_bytes(4, "big") + i.to_bytes(4, "big")
		    print('put railway/1/in/%s/members/%s "{\\"node\\":77,\\"key\\":\\"%s\\",\\"endpoints\\":[\\"10.9.0.99:%d\\"],\\"replica\\":\\"r%d\\",\\"named\\":true}"' % (
		        packed.hex()[:12], packed.hex(), base64.b64encode(os.urandom(32)).decode(), 1024 + i, i))
	EOF2
	split -l 100 "$WORK/records" "$WORK/part."
	for part in "$WORK"/part.*; do
		python3 - "$part" <<-'EOF2' | etcdctl_ txn >/dev/null
			import sys
			print()
			for line in open(sys.argv[1]): print(line.rstrip())
			print()
			print()
		EOF2
	done
	[ "$(keys_in in | grep -c members/)" = 989 ]
	for i in 2 3 4; do
		for node in a b c; do
			if [ $i = 4 ] && [ $node = c ]; then continue; fi
			add $node "$node$i" production web
		done
	done
	add b last production worker
	wait_until 20 talks b last "$one"
	add c end production worker
	wait_until 20 talks c end "$(address_of b last)"
	for pod in "a one" "b last" "c end"; do
		# shellcheck disable=SC2086
		wait_until 20 eval "[ \$(on ${pod% *} ip netns exec ${pod#* } dig +tcp +short AAAA api.railway.internal @fd12::10 | wc -l) = 989 ]"
	done
	for line in "${PODS[@]}"; do
		read -r node pod _ <<<"$line"
		on "$node" pod_check "$pod"
	done
	wait_until 60 all_talk production
}
