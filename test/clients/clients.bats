#!/usr/bin/env bats
# What runs in pods: other people's resolvers, languages and services, by name, with nothing set.
bats_require_minimum_version 1.5.0
load ../netns/common

setup_file() {
	export CLIENTS=$BATS_TEST_DIRNAME BUILT=$BATS_FILE_TMPDIR
	javac -d "$BUILT" "$CLIENTS/Lookup.java"
	# What a container of one file runs: Go's own resolver.
	GO111MODULE=off CGO_ENABLED=0 GOCACHE=${GOCACHE:-$BUILT/go} HOME=$BUILT go build -o "$BUILT/lookup-go" "$CLIENTS/lookup.go"
}

serve() { # POD PORT: says over HTTP who it is
	in_pod "$1" python3 "$BATS_TEST_DIRNAME/../demo/replica.py" "$1" "$2" >/dev/null 3>&- 4>&- &
	until in_pod "$1" ss -Hltn "sport = :$2" | grep -q .; do :; done
}

# A resolv.conf as kubelet writes it, where the runtime does not look at the result: the cluster's DNS is nowhere here.
kubernetes_resolv_conf() { # POD
	cat >"$NODE/pods/$1.resolv.conf" <<-EOF
		search default.svc.cluster.local svc.cluster.local cluster.local
		nameserver 10.96.0.10
		options ndots:5
	EOF
}

# The pod's eth0, as its public network would give it: programs look which families there are.
eth0() { # POD
	ip netns add "$1"
	ip -n "$1" link add eth0 type veth peer name wire
	ip -n "$1" link set eth0 up
	ip -n "$1" link set wire up
	ip -n "$1" addr add 10.1.0.2/24 dev eth0
	ip -n "$1" route add default via 10.1.0.1
}

# Both ways that a pod has to its resolver, and what says "no such name" to the cluster's names.
client_pods() {
	# One for all tests of this file.
	answers() { ss -Hlun 'sport = :53' | grep -q 127.0.0.10; }
	if ! answers; then
		python3 "$BATS_TEST_DIRNAME/../lib/fake_dns.py" 127.0.0.10 53 192.0.2.80 cluster.local= 3>&- 4>&- &
	fi
	until answers; do :; done
	resolver_start
	node_conflist "$CONFLIST" '"interface": "railway0"' '"upstreams": ["127.0.0.10"]'
	local pod
	for pod in "$@"; do
		pod_add "$pod" production api
		serve "$pod" 8080
	done
	for pod in told ignored; do
		eth0 $pod
		pod_add $pod production web
	done
	kubernetes_resolv_conf ignored
}

@test "a name and a connection: glibc, musl, busybox, Node by both of its resolvers, Python, Java, Go" {
	client_pods api
	for pod in told ignored; do
		in_pod $pod "$TOOLS/lookup-glibc" api.railway.internal 8080
		for client in "$TOOLS/lookup-glibc" "$TOOLS/lookup-musl" "busybox wget -q -O - http://api.railway.internal:8080/ --" \
			"node $CLIENTS/lookup.js" "python3 $CLIENTS/lookup.py" "java -cp $BUILT Lookup" "$BUILT/lookup-go"; do
			case $client in
			busybox*) arguments= ;;
			*) arguments='api.railway.internal 8080' ;;
			esac
			answer=$(in_pod $pod ${client% --} $arguments) || { echo "$pod: $client: $answer"; return 1; }
			[ "$answer" = api ]
		done
		[ "$(in_pod $pod node "$CLIENTS/lookup.js" api.railway.internal 8080 c-ares)" = api ]
		# busybox's nslookup asks by itself; wget asks the C library.
		in_pod $pod busybox nslookup api.railway.internal | grep -qF "$(pod_address api railway0)"
		# A replica by its own name, and back from the address to the name.
		[ "$(in_pod $pod "$TOOLS/lookup-musl" api.api.railway.internal 8080)" = api ]
		[ "$(in_pod $pod getent hosts "$(pod_address api railway0)" | awk '{print $2}')" = api.api.railway.internal ]
	done
	# The search domain of the result.
	[ "$(in_pod told "$TOOLS/lookup-glibc" api 8080)" = api ]
	[ "$(in_pod told "$TOOLS/lookup-musl" api 8080)" = api ]
}

@test "requests spread evenly over the replicas through getaddrinfo of glibc and musl" {
	client_pods api-1 api-2 api-3
	for pod in told ignored; do
		for libc in glibc musl; do
			in_pod $pod "$TOOLS/lookup-$libc" api.railway.internal 8080 30 | sort | uniq -c | awk '{print $1, $2}' >"$NODE/spread"
			diff "$NODE/spread" - <<-EOT
				10 api-1
				10 api-2
				10 api-3
			EOT
		done
	done
}

@test "a pod is reached by name from its very first packet: no client needs to wait or to ask again" {
	client_pods
	for n in 1 2 3; do
		pod_add "late-$n" production "late-$n"
		serve "late-$n" 8080
		[ "$(in_pod "late-$n" "$TOOLS/lookup-musl" "late-$n.railway.internal" 8080)" = "late-$n" ]
		[ "$(in_pod ignored "$TOOLS/lookup-musl" "late-$n.railway.internal" 8080)" = "late-$n" ]
		[ "$(in_pod told "$BUILT/lookup-go" "late-$n.railway.internal" 8080)" = "late-$n" ]
	done
}

# A runtime that takes the result's nameservers and can reach the fallback itself: it answers public names, and knows no private one.
fallback_conflist() {
	node_conflist "$CONFLIST" '"interface": "railway0"' '"intercept": false, "fallbackNameservers": ["127.0.0.11"]'
}

fallback_server() { # POD
	ip netns exec "$1" python3 "$BATS_TEST_DIRNAME/../lib/fake_dns.py" 127.0.0.11 53 192.0.2.11 railway.internal= 3>&- 4>&- &
	until ip netns exec "$1" ss -Hlun 'sport = :53' | grep -q 127.0.0.11; do :; done
}

@test "fallbackNameservers: public names while the resolver is down, which a pod without them has not" {
	resolver_start
	fallback_conflist
	eth0 with
	pod_add with production web
	fallback_server with
	node_conflist "$CONFLIST" '"interface": "railway0"' '"intercept": false'
	eth0 without
	pod_add without production web
	[ "$(in_pod with cat "$(readlink -f /etc/resolv.conf)" | awk '$1 == "nameserver" {print $2}' | paste -sd' ')" = "fd12::10 127.0.0.11" ]
	resolver_stop
	for libc in glibc musl; do
		[ "$(in_pod with "$TOOLS/lookup-$libc" www.example)" = 192.0.2.11 ]
		run in_pod without "$TOOLS/lookup-$libc" www.example
		[ "$status" -ne 0 ]
	done
}

@test "ENABLE_ALPINE_PRIVATE_NETWORKING: musl believes whoever answers first, so such a pod gets no second nameserver" {
	resolver_start
	fallback_conflist
	eth0 api
	pod_add api production api
	address=$(pod_address api railway0)
	look_up() { # POD LIBC: while the resolver is slower than the fallback
		local worker output=$NODE/answer.$1.$2
		worker=$(resolver_worker)
		kill -STOP "$worker"
		in_pod "$1" "$TOOLS/lookup-$2" api.railway.internal >"$output" 2>&1 &
		# It has asked when the query waits in the resolver's socket.
		until ip netns exec "$1" ss -Hlun 'src [fd12::10]:53' | awk '{exit !($2 > 0)}'; do :; done
		# The fallback, where there is one, has answered before this has.
		[ ! -e "$NODE/fallback.$1" ] || ip netns exec "$1" dig +time=5 +tries=1 @127.0.0.11 api.railway.internal | grep -q NXDOMAIN
		kill -CONT "$worker"
		wait $! || true
		cat "$output"
	}
	eth0 plain
	pod_add plain production web
	fallback_server plain
	touch "$NODE/fallback.plain"
	# This is why: glibc asks one after the other, musl all at once.
	[ "$(look_up plain glibc)" = "$address" ]
	[[ $(look_up plain musl) == *"does not resolve"* ]]
	n=0
	for how in 'CNI_ARGS;ENABLE_ALPINE_PRIVATE_NETWORKING=true;{}' \
		'annotation;;{"io.kubernetes.cri.pod-annotations":{"railway.internal/enable-alpine-private-networking":"true"}}'; do
		n=$((n + 1))
		IFS=';' read -r _ argument capabilities <<<"$how"
		eth0 "alpine-$n"
		CAP_ARGS=$capabilities pod_add "alpine-$n" production web "$argument"
		fallback_server "alpine-$n"
		touch "$NODE/fallback.alpine-$n"
		[ "$(look_up "alpine-$n" musl)" = "$address" ]
		[ "$(look_up "alpine-$n" glibc)" = "$address" ]
	done
	# Where queries are intercepted every nameserver is the resolver, and nothing needs to be set.
	node_conflist "$CONFLIST" '"interface": "railway0"' '"fallbackNameservers": ["192.0.2.53"]'
	eth0 intercepted
	pod_add intercepted production web
	[ "$(grep -c nameserver "$NODE/pods/intercepted.resolv.conf")" = 2 ]
	[ "$(in_pod intercepted "$TOOLS/lookup-musl" api.railway.internal)" = "$address" ]
}

@test "databases are services: PostgreSQL in one pod, used by name from another, and out of reach for a third" {
	local bin=/usr/lib/postgresql/15/bin data=$NODE/postgres
	client_pods
	pod_add db production db
	pod_add stranger staging web
	install -d -o postgres -g postgres -m 0700 "$data"
	as_postgres() { in_pod db setpriv --reuid=postgres --regid=postgres --clear-groups env HOME="$data" "$@"; }
	install -o postgres -m 0400 /dev/stdin "$data/password" <<<secret
	as_postgres $bin/initdb -D "$data/db" --auth-local=trust --auth-host=scram-sha-256 -U shop --pwfile="$data/password" >/dev/null
	echo "host all all fd00::/8 scram-sha-256" >>"$data/db/pg_hba.conf"
	as_postgres $bin/postgres -D "$data/db" -k "$data" -c listen_addresses='*' -c fsync=off >"$NODE/postgres.log" 2>&1 3>&- 4>&- &
	until as_postgres $bin/pg_isready -q -h "$data"; do kill -0 $!; done
	sql() { # POD SQL
		in_pod "$1" env PGPASSWORD=secret PGCONNECT_TIMEOUT=5 $bin/psql -qtA "host=${HOST:-db.railway.internal} user=shop dbname=postgres" -c "$2"
	}
	for pod in told ignored; do
		sql $pod "create table if not exists visits (at timestamptz default now(), client inet default inet_client_addr())"
		sql $pod "insert into visits default values"
	done
	[ "$(sql told 'select count(*) from visits')" = 2 ]
	# The database sees the replicas' own private addresses.
	[ "$(sql told 'select host(client) from visits order by at' | paste -sd' ')" = "$(pod_address told railway0) $(pod_address ignored railway0)" ]
	# More than a packet, both ways.
	[ "$(sql told "select length(repeat('x', 3000000))")" = 3000000 ]
	[ "$(sql told "select repeat('x', 3000000)" | wc -c)" = 3000001 ]
	run sql stranger 'select 1'
	[ "$status" -ne 0 ]
	HOST=$(pod_address db railway0) run sql stranger 'select 1'
	[ "$status" -ne 0 ]
}
