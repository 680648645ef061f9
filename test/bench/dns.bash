#!/usr/bin/env bash
# The resolver beside other servers, all with the names of 1,000 services of 3 replicas and one thread, in turn in one run. Run by
# `sudo make bench-dns`. Both the server's processor time a query and the queries a second are printed; on a machine with little
# to spare only the first says much.
set -euo pipefail
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
# shellcheck source=test/lib/node.bash
. "$here/../lib/node.bash"
SERVICES=${SERVICES:-1000} SECONDS_EACH=${SECONDS_EACH:-4} PODS=${PODS:-1000} ROUNDS=${ROUNDS:-3}
mkdir -p "$NODE/dns"
cd "$NODE/dns"
BENCH=$TOOLS/dns_bench

# One netns for all of them: the same way to each server, on ports of their own.
add_netns() {
	ip netns add "$1"
	ip -n "$1" link set lo up
	ip -n "$1" addr add fd12::10/128 dev lo nodad
}
add_netns bench
inside() { nsenter --net=/run/netns/bench "$@"; }

# ---- the names ----------------------------------------------------------------------------------

put() { "$TOOLS/resolver_tool" put /var/lib/railway /run/railway "$@" >/dev/null; }
names() { # PATTERN: a line for each address, with SERVICE and ADDRESS replaced
	awk -v services="$SERVICES" -v pattern="$1" 'BEGIN {
		for (s = 0; s < services; s++) for (r = 1; r <= 3; r++) {
			line = pattern
			sub("SERVICE", "svc" s, line)
			sub("ADDRESS", sprintf("fd00:1:2:%x::%x", s + 1, r), line)
			print line
		} }'
}

start_railway() {
	if [ ! -e filled ]; then
		"$TOOLS/resolver_tool" fill /var/lib/railway /run/railway bench "$SERVICES" 3 /run/netns/bench >/dev/null
		put bench client client client /run/netns/bench
		touch filled
	fi
	resolver_start
	"$TOOLS/resolver_tool" ask /run/railway/resolver.sock add client /run/netns/bench
	SERVER=$(resolver_worker)
}
stop_railway() { resolver_stop; }

start_echo() {
	nsenter --net=/run/netns/bench "$BENCH" echo 5301 bench >/dev/null &
	SERVER=$!
}

zone() {
	printf '%s\n' '$ORIGIN railway.internal.' '$TTL 5' '@ SOA ns hostmaster 1 3600 600 86400 5' '@ NS ns' 'ns AAAA fd12::10'
	names 'SERVICE AAAA ADDRESS'
}

start_knot() {
	zone >knot.zone
	mkdir -p knot
	cat >knot.conf <<-END
		server:
		    listen: fd12::10@5302
		    udp-workers: 1
		    tcp-workers: 1
		    background-workers: 1
		    rundir: $PWD/knot
		database:
		    storage: $PWD/knot
		zone:
		  - domain: railway.internal
		    file: $PWD/knot.zone
		    zonefile-sync: -1
		    journal-content: none
	END
	nsenter --net=/run/netns/bench knotd -c knot.conf >knot.log 2>&1 &
	SERVER=$!
}

start_nsd() {
	zone >nsd.zone
	cat >nsd.conf <<-END
		server:
		  ip-address: fd12::10@5303
		  server-count: 1
		  username: ""
		  chroot: ""
		  pidfile: "$PWD/nsd.pid"
		  database: ""
		  xfrdfile: "$PWD/nsd.xfrd"
		  xfrdir: "$PWD"
		  zonelistfile: "$PWD/nsd.list"
		  round-robin: yes
		  rrl-ratelimit: 0
		remote-control:
		  control-enable: no
		zone:
		  name: railway.internal
		  zonefile: $PWD/nsd.zone
	END
	nsenter --net=/run/netns/bench nsd -d -c nsd.conf >nsd.log 2>&1 &
	SERVER=$!
}

start_unbound() {
	{
		cat <<-END
			server:
			  interface: fd12::10@5304
			  access-control: ::/0 allow
			  num-threads: 1
			  username: ""
			  chroot: ""
			  pidfile: ""
			  use-syslog: no
			  do-daemonize: no
			  module-config: "iterator"
			  rrset-roundrobin: yes
			  local-zone: "railway.internal." static
		END
		names '  local-data: "SERVICE.railway.internal. 5 AAAA ADDRESS"'
	} >unbound.conf
	nsenter --net=/run/netns/bench unbound -d -c unbound.conf >unbound.log 2>&1 &
	SERVER=$!
}

start_dnsmasq() {
	names 'ADDRESS SERVICE.railway.internal' >dnsmasq.hosts
	nsenter --net=/run/netns/bench dnsmasq --keep-in-foreground --conf-file=/dev/null --no-resolv --no-hosts --addn-hosts="$PWD/dnsmasq.hosts" --user=root \
		--pid-file= --port=5305 --listen-address=fd12::10 --bind-interfaces --local=/railway.internal/ --local-ttl=5 \
		--log-facility="$PWD/dnsmasq.log" &
	SERVER=$!
}

start_aardvark() {
	# It answers whoever is in one of its networks: the asking address is a container's of this one.
	mkdir -p aardvark
	{
		echo fd12::10
		echo "$(printf "c%.0s" $(seq 64))  fd12::10 client"
		awk -v services="$SERVICES" 'BEGIN { for (s = 0; s < services; s++) for (r = 1; r <= 3; r++)
			printf "%064x  fd00:1:2:%x::%x svc%d.railway.internal\n", s * 3 + r, s + 1, r, s }'
	} >aardvark/bench
	inside setsid /usr/lib/podman/aardvark-dns --config "$PWD/aardvark" -p 5306 run >aardvark.log 2>&1 || true
	SERVER=$(cat aardvark/aardvark.pid 2>/dev/null)
}

# ---- measuring ----------------------------------------------------------------------------------

# Of the process and all that it has started, their threads too, in nanoseconds.
family() {
	local child
	echo "$1"
	for child in $(pgrep -P "$1" || true); do family "$child"; done
}
used() {
	local pid
	for pid in $(family "$SERVER"); do
		cat "/proc/$pid/task"/*/schedstat 2>/dev/null || true
	done | awk '{sum += $1} END {printf "%.0f\n", sum}' # mawk's %d ends at 2^31
}

measure() { # NAME PORT WINDOW RATE NETNS...: a line of results
	local name=$1 port=$2 window=$3 rate=$4 before after result
	shift 4
	before=$(used)
	result=$("$BENCH" load "$port" "$SERVICES" "$window" "$SECONDS_EACH" "$rate" "$@")
	after=$(used)
	echo "$name $rate $((after - before)) $result"
}

answers() { # PORT
	inside dig +time=1 +tries=1 -p "$1" @fd12::10 +short AAAA svc7.railway.internal | grep -c . || true
}

declare -A PORT=([echo]=5301 [railway]=53 [knot]=5302 [nsd]=5303 [unbound]=5304 [dnsmasq]=5305 [aardvark]=5306)
SERVERS=${SERVERS:-echo railway knot nsd unbound dnsmasq aardvark}

start() { # NAME: until it gives the three addresses
	local name=$1 end=$((SECONDS + 10))
	"start_$name"
	[ "$name" != echo ] || { sleep 0.2; return; }
	until [ "$(answers "${PORT[$name]}")" = 3 ]; do
		[ $SECONDS -lt $end ] || { echo "$name does not answer; its log:" >&2; tail -5 "$name.log" >&2 || true; stop "$name"; return 1; }
		sleep 0.05
	done
}

stop() {
	if [ "$1" = railway ]; then stop_railway; else
		kill "$SERVER" 2>/dev/null || true
		wait "$SERVER" 2>/dev/null || true
	fi
}

median() { sort -n | awk '{v[NR] = $1} END {printf "%.2f", v[int((NR + 1) / 2)]}'; }

awk -v services="$SERVICES" 'BEGIN {for (i = 0; i < services; i++) print "svc" i * 7 % services ".railway.internal AAAA"}' >names.dnsperf
for round in $(seq "$ROUNDS"); do
	for name in $SERVERS; do
		start "$name" || continue
		measure "$name" "${PORT[$name]}" 256 0 bench >>saturated
		measure "$name" "${PORT[$name]}" 1 0 bench >>single
		rate=$(awk -v n="$name" '$1 == n {print int($4 / $6 / 2)}' saturated | tail -1)
		measure "$name" "${PORT[$name]}" 256 "$rate" bench >>half
		if [ "$name" != echo ]; then
			before=$(used)
			inside dnsperf -f inet6 -s fd12::10 -p "${PORT[$name]}" -d names.dnsperf -l "$SECONDS_EACH" -q 256 \
				-T 1 -c 1 >dnsperf.out 2>&1 || true
			echo "$name $(($(used) - before)) $(sed -n 's/.*Queries completed: *\([0-9]*\).*/\1/p' dnsperf.out) $(
				sed -n 's/.*Queries per second: *\([0-9.]*\).*/\1/p' dnsperf.out)" >>dnsperf
		fi
		stop "$name"
	done
done

echo "AAAA of $SERVICES services of 3 replicas, one thread each; medians of $ROUNDS rounds in turn, $SECONDS_EACH s each"
echo "                 client of our own: 256 on their way      one at a time   dnsperf, 256           at half the first rate, µs"
echo "server           queries/s  CPU µs/query  : floor         CPU µs/query    queries/s  CPU µs     p50    p99   p99.9   lost"
floor=$(awk '$1 == "echo" {print $3 / $4 / 1000}' saturated | median)
for name in $SERVERS; do
	grep -q "^$name " saturated || continue
	cpu=$(awk -v n="$name" '$1 == n {print $3 / $4 / 1000}' saturated | median)
	printf '%-14s %10.0f  %12s  %7s  %18s  %11s  %9s  %6.0f %6.0f  %6.0f  %5.0f\n' "$name" \
		"$(awk -v n="$name" '$1 == n {print $4 / $6}' saturated | median)" "$cpu" \
		"$(awk -v a="$cpu" -v b="$floor" 'BEGIN {printf "%.2f", a / b}')" \
		"$(awk -v n="$name" '$1 == n && $4 > 0 {print $3 / $4 / 1000}' single | median)" \
		"$(awk -v n="$name" '$1 == n {print $4}' dnsperf 2>/dev/null | median)" \
		"$(awk -v n="$name" '$1 == n && $3 > 0 {print $2 / $3 / 1000}' dnsperf 2>/dev/null | median)" \
		"$(awk -v n="$name" '$1 == n {print $7}' half | median)" "$(awk -v n="$name" '$1 == n {print $8}' half | median)" \
		"$(awk -v n="$name" '$1 == n {print $9}' half | median)" "$(awk -v n="$name" '$1 == n {print $5}' half | median)"
done

# ---- many pods that ask a little each -----------------------------------------------------------

[ "$PODS" -gt 0 ] || exit 0
pods=()
for n in $(seq "$PODS"); do
	add_netns "pod-$n"
	pods+=("pod-$n")
done
ulimit -n "$(ulimit -Hn)"
"$BENCH" echo 5301 "${pods[@]}" >echo.ready &
SERVER=$!
until grep -q ready echo.ready; do sleep 0.05; done
measure echo 5301 256 0 "${pods[@]}" >>many
measure echo 5301 256 "$(awk '{print int($4 / $6 / 2)}' many)" "${pods[@]}" >>many.half
kill "$SERVER"
wait "$SERVER" 2>/dev/null || true
for pod in "${pods[@]}"; do
	put bench pod "$pod" "$pod" "/run/netns/$pod"
done
resolver_start
SERVER=$(resolver_worker)
measure railway 53 256 0 "${pods[@]}" >>many
measure railway 53 256 "$(awk '$1 == "railway" {print int($4 / $6 / 2)}' many)" "${pods[@]}" >>many.half
resolver_stop
echo
echo "$PODS pods, a query of each in turn, 256 on their way: nothing to batch"
awk 'FNR == NR {half[$1] = sprintf("%6d %6d  %6d  %5d", $7, $8, $9, $5); next}
	{cpu[$1] = $3 / $4 / 1000; printf "%-14s %10.0f  %12.2f  %7.2f   at half that rate, µs: %s\n", $1, $4 / $6, cpu[$1], cpu[$1] / cpu["echo"], half[$1]}' \
	many.half many
