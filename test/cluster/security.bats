#!/usr/bin/env bats
# etcd behind TLS with client certificates, and behind name and password.
bats_require_minimum_version 1.5.0
load nodes

setup() {
	network_start
	SECRETS=$(mktemp -d) # a node does not see this one's /run
}

teardown() {
	cluster_end
	rm -rf "$SECRETS"
}

certificate() { # NAME: signed by the authority
	openssl req -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -keyout "$SECRETS/$1.key" -out "$SECRETS/$1.csr" -subj "/CN=$1" 2>/dev/null
	openssl x509 -req -in "$SECRETS/$1.csr" -CA "$SECRETS/ca.crt" -CAkey "$SECRETS/ca.key" -CAcreateserial -out "$SECRETS/$1.crt" -days 2 \
		-extfile <(echo "subjectAltName=IP:$ETCD_ADDRESS") 2>/dev/null
}

tls() {
	openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -keyout "$SECRETS/ca.key" -out "$SECRETS/ca.crt" -days 2 \
		-subj /CN=authority 2>/dev/null
	certificate etcd
	certificate node
	ETCD_URL=https://$ETCD_ADDRESS:2379
	export ETCDCTL_CACERT=$SECRETS/ca.crt ETCDCTL_CERT=$SECRETS/node.crt ETCDCTL_KEY=$SECRETS/node.key
	etcd_start --cert-file "$SECRETS/etcd.crt" --key-file "$SECRETS/etcd.key" --client-cert-auth --trusted-ca-file "$SECRETS/ca.crt"
}

@test "TLS with client certificates; without one, or with another authority, the node does not join and says so" {
	tls
	keys="\"ca\":\"$SECRETS/ca.crt\",\"cert\":\"$SECRETS/node.crt\",\"key\":\"$SECRETS/node.key\""
	for node in a b; do
		node_boot $node
		on $node tee /run/node/railway.json >/dev/null \
			<<<"{\"cluster\":{\"endpoints\":[\"$ETCD_URL\"],\"lease\":$LEASE,$keys}}"
		on $node node_conflist /run/node/railway.conflist '"config": "/run/node/railway.json"' '"config": "/run/node/railway.json"'
		on $node resolver_start
		meshd_start $node
		wait_until 30 node_joined $node
	done
	add a one production api
	add b two production web
	all_talk production
	node_boot c
	on c tee /run/node/railway.json >/dev/null <<<"{\"cluster\":{\"endpoints\":[\"$ETCD_URL\"],\"ca\":\"$SECRETS/ca.crt\"}}"
	meshd_start c
	wait_until 15 grep -q "etcd does not answer" "$WORK/c.meshd.log"
	refute node_joined c
}

@test "the authority of the file, and none of the system's, vouches for etcd; a file that is replaced is read" {
	tls
	node_boot a
	# On this node the system believes in etcd's authority; the file is another's.
	on a mount -t tmpfs tmpfs /etc/ssl/certs
	on a cp "$SECRETS/ca.crt" /etc/ssl/certs/authority.pem
	on a openssl rehash /etc/ssl/certs
	openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -keyout "$SECRETS/other.key" -out "$SECRETS/believed.crt" -days 2 \
		-subj /CN=another 2>/dev/null
	keys="\"ca\":\"$SECRETS/believed.crt\",\"cert\":\"$SECRETS/node.crt\",\"key\":\"$SECRETS/node.key\""
	on a tee /run/node/railway.json >/dev/null <<<"{\"cluster\":{\"endpoints\":[\"$ETCD_URL\"],\"lease\":$LEASE,$keys}}"
	on a resolver_start
	meshd_start a
	wait_until 15 grep -q "etcd does not answer.*certificate" "$WORK/a.meshd.log"
	refute node_joined a
	cp "$SECRETS/ca.crt" "$SECRETS/believed.crt"
	wait_until 20 node_joined a
}

# with_users [OPTION...]: etcd with users, and nodes a and b of one of them.
with_users() {
	etcd_start "$@"
	etcdctl_ user add root:rootsecret >/dev/null
	etcdctl_ role add railway >/dev/null
	etcdctl_ role grant-permission railway readwrite --prefix=true railway/ >/dev/null
	etcdctl_ user add railway:nodesecret >/dev/null
	etcdctl_ user grant-role railway railway >/dev/null
	etcdctl_ user grant-role root root >/dev/null
	etcdctl_ auth enable >/dev/null
	echo nodesecret >"$SECRETS/password"
	for node in a b; do
		node_boot $node
		on $node tee /run/node/railway.json >/dev/null \
			<<<"{\"cluster\":{\"endpoints\":[\"$ETCD_URL\"],\"lease\":$LEASE,\"user\":\"railway\",\"password\":\"$SECRETS/password\"}}"
		on $node node_conflist /run/node/railway.conflist '"config": "/run/node/railway.json"' '"config": "/run/node/railway.json"'
		on $node resolver_start
		meshd_start $node
		wait_until 30 node_joined $node
	done
}

@test "name and password, which no log ever has; a token that etcd forgot is renewed" {
	with_users
	add a one production api
	add b two production web
	all_talk production
	# Simple tokens live in etcd's memory: the next etcd knows none of them.
	etcd_kill
	etcd --data-dir "$WORK/etcd" --listen-client-urls "$ETCD_URL" --advertise-client-urls "$ETCD_URL" \
		--listen-peer-urls http://127.0.0.1:2380 --logger zap --log-level error >>"$WORK/etcd.log" 2>&1 3>&- &
	ETCD=$!
	add a three production new || { wait_until 20 node_joined a && add a three production new; }
	wait_until 20 eval '[ "$(resolves b two new)" = "$(address_of a three)" ]'
	refute grep -r nodesecret "$WORK"/a.meshd.log "$WORK"/b.meshd.log
}

@test "tokens in JWT, which every change of etcd's users makes worthless: nobody notices" {
	head -c 32 /dev/urandom >"$SECRETS/jwt"
	with_users --auth-token "jwt,priv-key=$SECRETS/jwt,sign-method=HS256,ttl=1h"
	add a one production api
	export ETCDCTL_USER=root:rootsecret
	etcdctl_ user add somebody:secret >/dev/null
	# A watch of b's is new, and a service of a's.
	add b two production web
	add a three production new
	wait_until 10 agree
	all_talk production
	refute grep -q "etcd does not answer" "$WORK/a.meshd.log"
}

@test "meshd runs with the capabilities that it needs, and no more" {
	etcd_start
	node_start a
	add a one production api
	pid=$(cat "$WORK/a.meshd.pid")
	# CAP_NET_ADMIN (12), CAP_SYS_PTRACE (19), CAP_SYS_ADMIN (21), of every thread.
	needed=$(printf '%016x' $((1 << 12 | 1 << 19 | 1 << 21)))
	for status in /proc/"$pid"/task/*/status; do
		[ "$(awk '/^Cap(Prm|Eff)/ {print $2}' "$status" | sort -u)" = "$needed" ]
		[ "$(awk '/^Cap(Inh|Amb)/ {print $2}' "$status" | sort -u)" = 0000000000000000 ]
		[ "$(awk '/^NoNewPrivs/ {print $2}' "$status")" = 1 ]
	done
	# Without one of them it says so, and does not begin.
	meshd_kill a TERM
	run -1 nsenter --target "${node_pid[a]}" --net --mount -- setpriv --bounding-set -sys_ptrace --inh-caps -sys_ptrace \
		"$BIN/railway-meshd" --config /run/node/railway.json
	[[ $output == *"needs root's capabilities"*"SYS_PTRACE"* ]]
}
