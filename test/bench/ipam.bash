#!/usr/bin/env bash
# railway-ipam beside host-local, in turn in one run, with 0, 1,000 and 10,000 live leases (railway-ipam with 100,000, too). Run by
# `sudo make bench-ipam`.
set -euo pipefail
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
# shellcheck source=test/lib/node.bash
. "$here/../lib/node.bash"
# shellcheck source=test/bench/statistics.bash
. "$here/statistics.bash"
ROUNDS=${ROUNDS:-20}
export CNI_PATH=$BIN:/usr/lib/cni
mkdir -p "$NODE/host-local/public"
cat >"$NODE/railway.conflist" <<EOF
{ "cniVersion": "1.0.0", "name": "railway", "plugins": [
  { "type": "railway-ipam", "environment": "bench", "service": "api" } ] }
EOF
cat >"$NODE/host-local.conflist" <<EOF
{ "cniVersion": "1.0.0", "name": "public", "plugins": [
  { "type": "host-local",
    "ipam": { "type": "host-local", "dataDir": "$NODE/host-local", "ranges": [[{ "subnet": "10.0.0.0/8" }]] } } ] }
EOF
ip netns add pod

# fill LEASES: so many are live, of either.
filled=0
fill() {
	[ "$1" -gt "$filled" ] || return 0
	"$TOOLS/mesh_tool" leases /var/lib/railway /run/railway bench api "$1"
	if [ "$1" -le 10000 ]; then
		python3 - "$NODE/host-local/public" "$filled" "$1" <<-'PYTHON'
			import sys
			directory, first, end = sys.argv[1], int(sys.argv[2]), int(sys.argv[3])
			for n in range(first + 2, end + 2):
			    address = f"10.{n >> 16 & 255}.{n >> 8 & 255}.{n & 255}"
			    with open(f"{directory}/{address}", "w") as file:
			        file.write(f"lease-{n}\r\neth0")
			with open(f"{directory}/last_reserved_ip.0", "w") as file:
			    file.write(address)
		PYTHON
	fi
	filled=$1
}

one() { # LIST COMMAND LEASES
	"$CHAIN" --time "$2" "$NODE/$1.conflist" pod /run/netns/pod 2>"$NODE/time" >"$NODE/result" ||
		{ cat "$NODE/result" >&2; return 1; }
	awk -v key="$3 $2 $1" '{print key, $3}' "$NODE/time" >>"$NODE/samples"
}

echo "$ROUNDS rounds in turn; milliseconds of one execution: median (minimum to maximum)"
for leases in 0 1000 10000 100000; do
	fill "$leases"
	lists="railway host-local"
	[ "$leases" -le 10000 ] || lists=railway
	for _ in $(seq "$ROUNDS"); do
		for list in $lists; do
			one "$list" add "$leases"
			one "$list" del "$leases"
		done
	done
	for command in add del; do
		for list in $lists; do
			printf '  %6d leases  %-4s %-11s %s\n' "$leases" $command "$list" "$(samples "$leases $command $list" | statistics)"
		done
		[ "$lists" = railway ] || printf '                 railway-ipam : host-local = %s\n' \
			"$(ratio "$leases $command railway" "$leases $command host-local")"
	done
done
