#!/usr/bin/env bash
# ADD and DEL of railway-mesh with railway-ipam, and of the whole chain of three, beside bridge + host-local, in turn in one run, with what
# each plugin and each step took. Run by `sudo make bench`, and in the virtual machine by `make bench-vm`.
set -euo pipefail
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
# shellcheck source=test/lib/node.bash
. "$here/../lib/node.bash"
# shellcheck source=test/bench/statistics.bash
. "$here/statistics.bash"
ROUNDS=${ROUNDS:-50}
export CNI_PATH=$BIN:/usr/lib/cni
mkdir -p "$NODE"
node_conflist "$NODE/chain.conflist" "" ""
cat >"$NODE/mesh.conflist" <<EOF
{ "cniVersion": "1.0.0", "name": "mesh", "plugins": [
  { "type": "railway-mesh", "trustArgs": true, "transport": "$TRANSPORT", "ipam": { "type": "railway-ipam" } } ] }
EOF
cat >"$NODE/bridge.conflist" <<EOF
{ "cniVersion": "1.0.0", "name": "public", "plugins": [
  { "type": "bridge", "bridge": "br0", "isGateway": true,
    "ipam": { "type": "host-local", "dataDir": "$NODE/host-local", "ranges": [[{ "subnet": "10.88.0.0/16" }]] } } ] }
EOF
resolver_start
export CNI_ARGS="IgnoreUnknown=1;RAILWAY_ENVIRONMENT=bench;RAILWAY_SERVICE=api"

one() { # LIST COMMAND ID
	local start=${EPOCHREALTIME/./}
	"$CHAIN" --time "$2" "$NODE/$1.conflist" "$3" "/run/netns/$3" >"$NODE/result" 2>"$NODE/times" ||
		{ cat "$NODE/result" >&2; return 1; }
	echo "$2 $1 $(((${EPOCHREALTIME/./} - start)))" | awk '{print $1, $2, $3 / 1000}' >>"$NODE/samples"
	awk -v list="$1" '{print "plugin", list, $1, $2, $3}' "$NODE/times" >>"$NODE/samples"
}

for round in $(seq "$ROUNDS"); do
	for list in mesh chain bridge; do
		ns=$list-$round
		ip netns add "$ns"
		one $list add "$ns"
		one $list del "$ns"
		ip netns del "$ns"
	done
done
resolver_stop

declare -A what=([mesh]="mesh + ipam" [chain]="chain of three" [bridge]="bridge + host-local")
echo "$ROUNDS rounds in turn; milliseconds: median (minimum to maximum), the caller's own start included"
for command in add del; do
	for list in mesh chain bridge; do
		printf '  %-4s %-20s %s\n' $command "${what[$list]}" "$(samples "$command $list" | statistics)"
	done
	echo "       mesh : bridge = $(ratio "$command mesh" "$command bridge"), chain : bridge = $(ratio "$command chain" "$command bridge")"
done
echo "by plugin (railway-ipam runs inside railway-mesh, host-local inside bridge):"
grep '^plugin ' "$NODE/samples" | awk '{print $2, $3, $4}' | sort -u | while read -r list plugin command; do
	[ "$list" != mesh ] || continue
	printf '  %-14s %-5s %s\n' "$plugin" "$command" "$(samples "plugin $list $plugin $command" | statistics)"
done
echo "by step, medians:"
ip netns add steps
ip -n steps link set lo up
"$TOOLS/steps" "$ROUNDS" /run/netns/steps "$BIN/railway-ipam"
