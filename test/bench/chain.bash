#!/usr/bin/env bash
# ADD and DEL of the whole chain beside bridge + host-local, in turn in one run, with what each plugin took. Run by `sudo make bench`.
set -euo pipefail
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
# shellcheck source=test/lib/node.bash
. "$here/../lib/node.bash"
ROUNDS=${ROUNDS:-50}
export CNI_PATH=$BIN:/usr/lib/cni
mkdir -p "$NODE"
node_conflist "$NODE/railway.conflist" "" ""
cat >"$NODE/bridge.conflist" <<EOF
{ "cniVersion": "1.0.0", "name": "public", "plugins": [
  { "type": "bridge", "bridge": "br0", "isGateway": true,
    "ipam": { "type": "host-local", "dataDir": "$NODE/host-local", "ranges": [[{ "subnet": "10.88.0.0/16" }]] } } ] }
EOF
resolver_start
export CNI_ARGS="IgnoreUnknown=1;RAILWAY_ENVIRONMENT=bench;RAILWAY_SERVICE=api"

one() { # LIST COMMAND ID
	local start
	start=$(date +%s%N)
	"$CHAIN" --time "$2" "$NODE/$1.conflist" "$3" "/run/netns/$3" >"$NODE/result" 2>>"$NODE/steps.$1" ||
		{ cat "$NODE/result" >&2; return 1; }
	echo "$1 $2 $((($(date +%s%N) - start) / 1000))" >>"$NODE/totals"
}

for round in $(seq 1 "$ROUNDS"); do
	for list in railway bridge; do
		ns=$list-$round
		ip netns add "$ns"
		one $list add "$ns"
		one $list del "$ns"
		ip netns del "$ns"
	done
done
resolver_stop

echo "$ROUNDS rounds in turn; milliseconds: median (minimum to maximum), the caller's own start included"
statistics() { sort -n | awk '{v[NR] = $1} END {printf "%8.2f  (%.2f to %.2f)", v[int((NR + 1) / 2)], v[1], v[NR]}'; }
for command in add del; do
	for list in railway bridge; do
		printf '  %-8s %-4s %s\n' $list $command \
			"$(awk -v l=$list -v c=$command '$1 == l && $2 == c {print $3 / 1000}' "$NODE/totals" | statistics)"
	done
	awk -v c=$command '$2 == c {n[$1]++; v[$1, n[$1]] = $3}
		function median(l,   i, j, t, a) { for (i = 1; i <= n[l]; i++) a[i] = v[l, i]
			for (i = 2; i <= n[l]; i++) for (j = i; j > 1 && a[j - 1] > a[j]; j--) { t = a[j]; a[j] = a[j - 1]; a[j - 1] = t }
			return a[int((n[l] + 1) / 2)] }
		END {printf "  railway : bridge = %.2f\n", median("railway") / median("bridge")}' "$NODE/totals"
done
echo "by plugin (railway-ipam runs inside railway-mesh, host-local inside bridge):"
for list in railway bridge; do
	awk '{print $1, $2}' "$NODE/steps.$list" | sort -u | while read -r plugin command; do
		printf '  %-14s %-5s %s\n' "$plugin" "$command" \
			"$(awk -v p="$plugin" -v c="$command" '$1 == p && $2 == c {print $3}' "$NODE/steps.$list" | statistics)"
	done
done
echo "by step, medians:"
ip netns add steps
ip -n steps link set lo up
"$TOOLS/steps" "$ROUNDS" /run/netns/steps "$BIN/railway-ipam"
