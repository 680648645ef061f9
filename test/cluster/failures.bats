#!/usr/bin/env bats
# What fails between nodes and etcd, one by one. After each: no address twice, peers and names exactly the members, stores and etcd agree, and
# pods that could talk before never stopped.
bats_require_minimum_version 1.5.0
load nodes

# three_members: etcd as three members at 10.9.1.1 to 10.9.1.3
three_members() {
	local i urls='' cluster=''
	for i in 1 2 3; do
		ip addr add "10.9.1.$i/32" dev lo 2>/dev/null || true
		cluster+="${cluster:+,}m$i=http://10.9.1.$i:2380"
		urls+="${urls:+\", \"}http://10.9.1.$i:2379"
	done
	ETCD_URLS=$urls
	declare -gA member=()
	ETCDS=
	for i in 1 2 3; do
		etcd --name "m$i" --data-dir "$WORK/etcd$i" --initial-cluster "$cluster" --initial-cluster-state new \
			--initial-advertise-peer-urls "http://10.9.1.$i:2380" --listen-peer-urls "http://10.9.1.$i:2380" \
			--listen-client-urls "http://10.9.1.$i:2379" --advertise-client-urls "http://10.9.1.$i:2379" \
			--logger zap --log-level error >>"$WORK/etcd$i.log" 2>&1 3>&- &
		member[$i]=$!
		ETCDS+=" $!"
	done
	ETCD_URL=http://10.9.1.1:2379,http://10.9.1.2:2379,http://10.9.1.3:2379
	wait_until 30 etcdctl_ put hello there >/dev/null 2>&1
}

@test "meshd killed and started again takes its lease up, and nobody notices" {
	two_nodes
	lease=$(keys_in in | head -1)
	before=$(etcdctl_ get --prefix railway/1/in -w json | jq -c '[.kvs[] | [.key, .mod_revision]]')
	meshd_kill a
	# What needs no consensus goes on, with a warning.
	run on a pod_add three production api
	[ "$status" = 0 ]
	[[ $output == *"not known to other nodes yet"*"start railway-meshd"* ]]
	PODS+=("a three production api $(on a pod_address three)")
	run on a pod_add four production brandnew
	[ "$status" != 0 ]
	[[ $output == *'"code":11'* || $output == *'"code": 11'* ]]
	meshd_start a
	wait_until 10 agree
	all_talk production
	steady_stop
	# The members of before were not written again.
	after=$(etcdctl_ get --prefix railway/1/in -w json | jq -c '[.kvs[] | [.key, .mod_revision]]')
	[ "$(jq -nc --argjson b "$before" --argjson a "$after" '$b - $a')" = "[]" ]
}

@test "DEL while meshd is away is made good when it comes back" {
	two_nodes
	add a three production api
	wait_until 10 agree
	meshd_kill a
	del a three
	wait_until 5 test "$(published "$(address_of a one)" | wc -l)" = 3
	meshd_start a
	wait_until 10 agree
	steady_stop
}

# Of an environment that then has no pod on the node. The lease is longer than the test.
@test "DEL of a node's last pod while meshd is away is made good when it comes back" {
	LEASE=60 two_nodes
	add b other staging db
	add a another staging db
	wait_until 10 agree
	meshd_kill b
	del b two
	del b other
	meshd_start b
	wait_until 20 agree
	kill -INT "$STEADY"
}

@test "DEL of a node's last pod while etcd is away is made good when it is back" {
	LEASE=30 two_nodes
	add b three staging db
	add a four staging db
	wait_until 10 agree
	cut b
	wait_until 20 eval "! node_joined b"
	del b two
	mend b
	wait_until 15 agree
	refute grep -q "taken for dead" "$WORK/b.meshd.log"
	# Of b: nothing is left to be read or watched.
	wait_until 20 eval '[ "$(on b "$BIN/railwayctl" --json members production | jq ".members | length")" = 0 ]'
	kill -INT "$STEADY"
}

@test "etcd killed and started again" {
	two_nodes
	etcd_kill
	run on a pod_add three production api
	[ "$status" = 0 ]
	[[ $output == *"not known to other nodes yet"* ]]
	PODS+=("a three production api $(on a pod_address three)")
	run on a pod_add four production brandnew
	[ "$status" != 0 ]
	refute node_joined a
	talks b two "$(address_of a one)"
	etcd_start
	wait_until 30 agree
	all_talk production
	steady_stop
}

@test "a node cut off from etcd for longer than its lease comes back" {
	two_nodes
	add a three production api
	cut b
	# Its members go from the others, as a dead node's do; it keeps what it knows.
	wait_until $((LEASE * 4)) eval '[ "$(published "$(address_of a one)" | wc -l)" = 2 ]'
	[ "$(resolves b two api)" = "$(expected production api)" ]
	mend b
	wait_until 30 agree
	all_talk production
	kill -INT "$STEADY"
}

@test "a node cut off from etcd for less than its lease: nobody notices" {
	two_nodes
	cut b
	add a three production api
	mend b
	wait_until 30 agree
	all_talk production
	steady_stop
}

@test "one of three members of etcd is killed while pods come and go" {
	three_members
	node_start a
	node_start b
	add a one production api
	add b two production web
	talks a one "$(address_of b two)"
	steady_start a one "$(address_of b two)"
	for i in 1 2 3; do
		if [ $i = 2 ]; then kill -KILL "${member[1]}"; fi
		add a "a$i" production api
		add b "b$i" production web
		if [ $i = 3 ]; then del a a1; fi
	done
	wait_until 30 agree
	all_talk production
	steady_stop
}

@test "etcd restored from a snapshot: what it forgot is told again, and no peer is taken away meanwhile" {
	two_nodes
	etcdctl_ snapshot save "$WORK/snapshot" >/dev/null 2>&1
	add b three staging db
	add a four staging cache
	add a five production api
	wait_until 10 agree
	etcd_kill
	rm -rf "$WORK/etcd"
	ETCDCTL_API=3 etcdctl snapshot restore "$WORK/snapshot" --data-dir "$WORK/etcd" >/dev/null 2>&1
	etcd_start
	wait_until 40 agree
	all_talk production
	all_talk staging
	steady_stop
}

@test "watches survive a compaction" {
	two_nodes
	cut b
	add a three production api
	for i in 1 2 3; do etcdctl_ put noise "$i" >/dev/null; done
	revision=$(etcdctl_ get noise -w json | jq .header.revision)
	etcdctl_ compaction "$revision" >/dev/null
	mend b
	wait_until 30 agree
	all_talk production
	kill -INT "$STEADY"
}

@test "a node's address changes" {
	two_nodes
	on b ip -4 addr flush dev eth0
	on b ip addr add 10.9.0.77/24 dev eth0
	on b ip route add default via 10.9.0.1
	wait_until 20 eval 'etcdctl_ get --prefix railway/1/in | grep -q 10.9.0.77'
	wait_until 20 talks a one "$(address_of b two)"
	talks b two "$(address_of a one)"
	wait_until 10 agree
	kill -INT "$STEADY"
}

@test "a node whose clock is wrong by an hour" {
	etcd_start
	node_start a
	node_boot b
	node_config b
	on b resolver_start
	nsenter --target "${node_pid[b]}" --net --mount -- faketime -f +1h "$BIN/railway-meshd" \
		--config /run/node/railway.json >>"$WORK/b.meshd.log" 2>&1 3>&- &
	wait_until 30 node_joined b
	add a one production api
	add b two production web
	all_talk production
	wait_until 10 agree
}

@test "etcd that does not answer for a while: what needs it waits, and goes on" {
	two_nodes
	kill -STOP "$ETCD"
	on a pod_add three production brandnew >"$WORK/result" 3>&- &
	waiting=$!
	# Two attempts, of which the second has failed too.
	wait_until 20 grep -q "etcd does not answer" "$WORK/a.meshd.log"
	kill -CONT "$ETCD"
	wait $waiting
	PODS+=("a three production brandnew $(on a pod_address three)")
	wait_until 30 agree
	all_talk production
	kill -INT "$STEADY"
}

@test "a node whose /var/lib is full goes on with members; services come when there is room" {
	two_nodes
	one=$(address_of a one)
	tree=railway/1/in/$(python3 -c 'import ipaddress, sys; print(ipaddress.ip_address(sys.argv[1]).packed.hex()[:12])' "$one")
	on a bash -c 'mount -o remount,size=$(du -sB1 /var/lib | cut -f1) /var/lib; head -c 4096 /dev/zero >/var/lib/more; rm /var/lib/more; df /var/lib'
	# More than there is room for in what the store has taken of the disk.
	for i in $(seq 0 400); do
		printf 'put %s/services/s%d {"number":%d,"original":"s%d"}\n' "$tree" "$i" $((1000 + i)) "$i"
	done >"$WORK/services"
	rm -f "$WORK"/part.*
	split -l 100 "$WORK/services" "$WORK/part."
	for part in "$WORK"/part.*; do
		{ echo; cat "$part"; echo; echo; } | etcdctl_ txn >/dev/null
	done
	wait_until 10 grep -q "file system of .*is full" "$WORK/a.meshd.log"
	add b three production web
	add a four production api
	wait_until 10 agree
	del b three
	wait_until 10 agree
	all_talk production
	on a mount -o remount,size=50% /var/lib
	wait_until 30 eval '[ "$(on a "$BIN/railwayctl" --json services production | jq ".services | length")" = 403 ]'
	refute grep -q "peers of an environment's pods could not all be set" "$WORK/a.meshd.log"
	steady_stop
}

# What says that the nodes live: the same as long as no lease has ended.
alive() { etcdctl_ get --prefix railway/1/alive -w json | jq -c '[.kvs[].create_revision]'; }

@test "an etcd whose database is full takes no writes: leases and members stay, and a meshd that starts joins" {
	two_nodes
	alive=$(alive)
	curl -sf "$ETCD_URL/v3/maintenance/alarm" -d '{"action":"ACTIVATE","alarm":"NOSPACE"}' -o /dev/null
	refute etcdctl_ put noise there
	# Starts, and is published when there is room: what stands in the way is told, and not twice a second.
	run on a pod_add full production api
	[ "$status" = 0 ]
	[[ $output == *"not known to other nodes yet"* ]]
	meshd_kill b
	meshd_start b
	wait_until 10 node_joined b
	# For longer than a lease.
	end=$(($(date +%s) + LEASE * 2))
	while [ "$(date +%s)" -lt $end ]; do
		node_joined a
		node_joined b
		[ "$(published "$(address_of a one)")" = "$(expected production)" ]
		[ "$(alive)" = "$alive" ]
	done
	grep -q "cannot be published.*database space exceeded" "$WORK/a.meshd.log"
	[ "$(grep -c "cannot be published" "$WORK/a.meshd.log")" -le 10 ]
	etcdctl_ alarm disarm >/dev/null
	PODS+=("a full production api $(on a pod_address full)")
	add a three production brandnew
	wait_until 10 agree
	steady_stop
}

@test "a node that etcd refuses keeps its lease, and its members" {
	two_nodes
	alive=$(alive)
	etcdctl_ user add root:secret >/dev/null
	etcdctl_ user grant-role root root >/dev/null
	etcdctl_ auth enable >/dev/null
	export ETCDCTL_USER=root:secret
	wait_until 10 grep -q "etcd refuses" "$WORK/a.meshd.log"
	end=$(($(date +%s) + LEASE * 2))
	while [ "$(date +%s)" -lt $end ]; do
		agree
		[ "$(alive)" = "$alive" ]
	done
	# The operator is told why, and of another reason as well.
	grep -q "does not do what this node asks.*user name is empty" "$WORK/a.meshd.log"
	run on a "$BIN/railwayctl" --config /run/node/railway.json status
	[[ $output == *"etcd does not do what railway-meshd asks"*"user name is empty"* ]]
	refute grep -q "etcd does not answer" "$WORK/a.meshd.log"
	etcd_kill
	wait_until 10 grep -q "etcd does not answer" "$WORK/a.meshd.log"
	etcd_start
	etcdctl_ auth disable >/dev/null
	unset ETCDCTL_USER
	wait_until 10 node_joined a
	add a three production brandnew
	wait_until 10 agree
	[ "$(alive)" = "$alive" ]
	steady_stop
}
