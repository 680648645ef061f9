#!/usr/bin/env bash
# The demo: two environments with services of the same names on one node, real programs in the pods. It exits non-zero when anything of
# what it says does not hold. Run by `sudo make demo`, inside test/lib/isolate.bash.
set -euo pipefail
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
# shellcheck source=test/lib/node.bash
. "$here/../lib/node.bash"
export CONFLIST=$NODE/10-railway.conflist
PORT=8080

bold() { printf '\n\033[1m%s\033[0m\n' "$*"; }
say() { printf '    %s\n' "$*"; }
fail() {
	printf '\n\033[31mdemo: FAILED: %s\033[0m\n' "$*" >&2
	exit 1
}

links_before=$(ip -o link | wc -l)
mkdir -p "$NODE"
node_conflist "$CONFLIST"
resolver_start || fail "railway-resolverd does not start"

bold "Two environments, each with the services api (3 replicas) and web (1)"
for environment in production staging; do
	for pod in api-1 api-2 api-3 web-1; do
		ns=$environment-$pod
		pod_add "$ns" "$environment" "${pod%-*}" >"$NODE/result" ||
			fail "ADD of $ns: $(cat "$NODE/result")"
		# The program starts when ADD has returned: nothing to wait for.
		coproc { in_pod "$ns" python3 "$here/replica.py" "$environment/$pod" $PORT; }
		read -r -t 20 -u "${COPROC[0]}" _ || fail "the program in $ns does not start"
		eval "exec ${COPROC[0]}<&-"
	done
done

declare -A prefix
for environment in production staging; do
	address=$(pod_address $environment-web-1)
	prefix[$environment]=$(cut -d: -f1-3 <<<"$address")
	say "environment $environment: ${prefix[$environment]}::/48"
	for service in api web; do
		address=$(pod_address $environment-$service-1)
		say "  service $service: $(cut -d: -f1-4 <<<"$address")::/64"
		for ns in $(ip netns list | awk '{print $1}' | grep "^$environment-$service-" | sort); do
			say "    $ns  $(pod_address "$ns")"
		done
	done
done
[ "${prefix[production]}" != "${prefix[staging]}" ] || fail "both environments have one prefix"

bold "production/web asks http://api.railway.internal:$PORT, six times"
answers=
for _ in 1 2 3 4 5 6; do
	# The first of these is the first packet between the two pods: no retry.
	answer=$(in_pod production-web-1 curl -sS --max-time 3 --retry 0 \
		"http://api.railway.internal:$PORT") || fail "curl in production-web-1"
	say "$answer"
	answers+="$answer "
done
for replica in 1 2 3; do
	[ "$(grep -o "production/api-$replica" <<<"$answers" | wc -l)" = 2 ] ||
		fail "api-$replica did not answer twice of six times: $answers"
done

bold "... one replica by its own name, and a name as it is without the domain"
answer=$(in_pod production-web-1 curl -sS --max-time 3 \
	"http://production-api-2.api.railway.internal:$PORT") || fail "the replica's own name"
say "production-api-2.api.railway.internal: $answer"
[ "$answer" = production/api-2 ] || fail "the replica's name led to $answer"
answer=$(in_pod production-web-1 curl -sS --max-time 3 "http://web:$PORT") || fail "the short name"
say "web: $answer"
[ "$answer" = production/web-1 ] || fail "the short name led to $answer"

bold "... and over UDP"
for _ in 1 2 3; do
	answer=$(in_pod production-web-1 python3 "$here/ask.py" api.railway.internal $PORT) ||
		fail "UDP"
	say "$answer"
	[[ $answer == production/api-? ]] || fail "UDP was answered by $answer"
done

bold "A pod is reached at once: ADD of a fourth replica, its first request"
pod_add production-api-4 production api >/dev/null || fail "ADD of production-api-4"
answer=$(in_pod production-api-4 curl -sS --max-time 3 --retry 0 "http://web.railway.internal:$PORT") ||
	fail "the first request of a new pod"
say "production/api-4 -> web.railway.internal: $answer"
[ "$answer" = production/web-1 ] || fail "the new pod was answered by $answer"
pod_del production-api-4 || fail "DEL of production-api-4"
ip netns del production-api-4

bold "WireGuard's own view of production/web"
peer=$(pod_address production-api-1) self=$(pod_address production-web-1)
device=
for candidate in $(wg show interfaces); do
	peers=$(wg show "$candidate" allowed-ips)
	[[ $peers == *"$peer/128"* && $peers != *"$self/128"* ]] && device=$candidate
done
[ -n "$device" ] || fail "no WireGuard device has production/api-1 as a peer"
wg show "$device" | sed 's/^/    /'
handshakes=$(wg show "$device" latest-handshakes | awk '$2 > 0' | wc -l)
[ "$handshakes" = 3 ] || fail "$handshakes handshakes, not 3"

bold "staging has the same names, and answers for itself"
answer=$(in_pod staging-web-1 curl -sS --max-time 3 "http://api.railway.internal:$PORT") ||
	fail "curl in staging-web-1"
say "staging/web -> api.railway.internal: $answer"
[[ $answer == staging/api-? ]] || fail "staging was answered by $answer"

bold "... but not for production: its address is out of reach"
target=$(pod_address production-api-1)
if output=$(in_pod staging-web-1 curl -sS --max-time 3 "http://[$target]:$PORT" 2>&1); then
	fail "staging reached production: $output"
fi
say "staging/web -> [$target]: $output"
if output=$(in_pod production-web-1 getent hosts staging-api-1.api.railway.internal); then
	fail "production resolved a name of staging: $output"
fi
say "production/web asks for staging-api-1.api.railway.internal: no such name"

bold "DEL of everything"
for ns in $(ip netns list | awk '{print $1}' | sort); do
	pod_del "$ns" || fail "DEL of $ns"
	ip -n "$ns" link show dev eth0 >/dev/null 2>&1 && fail "eth0 is still in $ns"
	# The programs in the pod end with the pod.
	ip netns pids "$ns" | xargs -r kill
	ip netns del "$ns"
done
resolver_stop
left=$(wg show interfaces)$(pgrep -x wireguard-go || true)$(ls /var/run/wireguard)
[ -z "$left" ] || fail "left behind: $left"
[ "$(ip -o link | wc -l)" = "$links_before" ] || fail "left behind: $(ip -o link)"
say "interfaces, tunnels, processes and names left: none"
printf '\n\033[32mdemo: everything holds\033[0m\n'
