#!/usr/bin/env bats
# What the environment's lock, its mark and the look at a sibling's netns hold off: each test fails where its guard is taken out.
bats_require_minimum_version 1.5.0
load common

KEYS='"ipam":{"type":"railway-ipam"},"service":"api","environment":"production"'

mesh() { # COMMAND POD
	CNI_COMMAND=$1 CNI_CONTAINERID=$2 CNI_NETNS=/run/netns/$2 CNI_IFNAME=eth0 CNI_ARGS= \
		"$CNI_PATH/railway-mesh" <<<"$(config railway-mesh "$KEYS")" 3>&-
}

add() { # POD...
	local pod
	for pod; do
		ip netns add "$pod"
		mesh ADD "$pod" >"$NODE/ADD.$pod"
	done
}

# paused MOMENT COMMAND POD [DIRECTORY]: in the background, as $PAUSED; returns when it is there. It goes on when DIRECTORY/go is written to.
paused() {
	local word directory=${4:-$NODE}
	mkdir -p "$directory"
	mkfifo "$directory/reached" "$directory/go"
	RAIL_PAUSE="$1 $directory" CNI_COMMAND=$2 CNI_CONTAINERID=$3 CNI_NETNS=/run/netns/$3 CNI_IFNAME=eth0 \
		"$PAUSES/railway-mesh" <<<"$(config railway-mesh "$KEYS")" >"$directory/paused" 2>&1 3>&- &
	PAUSED=$!
	read -r -t 30 word <"$directory/reached"
}

# waiting COMMAND POD: in the background, as $WAITING; returns when it waits for the environment's lock, or has ended for lack of one.
waiting() {
	CNI_COMMAND=$1 CNI_CONTAINERID=$2 CNI_NETNS=/run/netns/$2 CNI_IFNAME=eth0 \
		"$CNI_PATH/railway-mesh" <<<"$(config railway-mesh "$KEYS")" >"$NODE/waiting" 2>&1 3>&- &
	WAITING=$!
	while kill -0 $WAITING 2>/dev/null && ! grep -q nanosleep /proc/$WAITING/wchan; do :; done
}

kill_paused() {
	kill -KILL $PAUSED
	wait $PAUSED || true
	rm "$NODE/reached" "$NODE/go"
}

exactly() { # POD...: each has exactly the others as peers
	local pod
	for pod; do
		[ "$(peers "$pod")" = "$(members_but "$pod" "$@")" ] || { echo "$pod has $(peers "$pod")"; return 1; }
	done
}

@test "an ADD that has read the membership, and a DEL of one of its members meanwhile" {
	add one two
	ip netns add new
	paused membership-read ADD new
	waiting DEL two
	echo >"$NODE/go"
	wait $PAUSED
	wait $WAITING
	exactly one new
}

@test "an ADD that has read the membership, and an ADD of another pod meanwhile" {
	add one
	ip netns add new
	ip netns add other
	paused membership-read ADD new
	waiting ADD other
	echo >"$NODE/go"
	wait $PAUSED
	wait $WAITING
	exactly one new other
}

@test "an ADD that has read its siblings, and a sibling whose own ADD ends meanwhile: it is no dead one" {
	add one
	ip netns add other
	ip netns add new
	paused wired ADD other "$NODE/other"
	other=$PAUSED
	paused siblings-read ADD new
	echo >"$NODE/other/go"
	wait $other
	echo >"$NODE/go"
	wait $PAUSED
	exactly one other new
}

@test "a DEL is killed when its member is gone and the siblings still have it as a peer: the next operation mends them" {
	add one two three
	paused member-removed DEL two
	kill_paused
	[ "$(peers one | wc -l)" = 2 ]
	add four
	exactly one three four
	mesh DEL two
	exactly one three four
	refute ip -n two link show eth0
}

@test "an ADD is killed when its member is stored and no sibling knows it: the next operation mends them" {
	add one two
	ip netns add new
	paused member-stored ADD new
	kill_paused
	add four
	exactly one two four
	mesh DEL new
	exactly one two four
	refute ip -n new link show eth0
}

@test "an ADD is killed when its interface is made and it is no member yet: the next ADD of the environment takes all of it away" {
	add one
	ip netns add new
	paused interface-made ADD new
	ip -n new link show eth0
	kill_paused
	add four
	exactly one four
	refute ip -n new link show eth0
	[ "$("$TOOLS/resolver_tool" leases /var/lib/railway /run/railway production | sort | tr '\n' ' ')" = "four one " ]
}

# replace POD: its path names another netns, while something keeps the first one alive.
replace() {
	nsenter --net="/run/netns/$1" sleep 600 3>&- &
	KEEPER=$!
	until [ "$(readlink "/proc/$KEEPER/ns/net")" != "$(readlink /proc/self/ns/net)" ]; do :; done
	umount "/run/netns/$1"
	rm "/run/netns/$1"
	ip netns add "$1"
}

@test "a sibling's path has come to name another netns: that one is not touched, and the sibling counts as gone" {
	add one two
	key=$NODE/private
	if [ "$TRANSPORT" = kernel ]; then
		pod_wg two show private-key >"$key"
		alias=$(ip -n two -j link show dev eth0 | jq -r '.[0].ifalias')
	fi
	replace two
	if [ "$TRANSPORT" = kernel ]; then
		# The same name, alias and key: only the netns itself tells.
		ip -n two link add eth0 type wireguard
		ip -n two link set dev eth0 alias "$alias"
		ip netns exec two wg set eth0 private-key "$key"
		ip -n two link set eth0 up
	fi
	add three
	exactly one three
	if [ "$TRANSPORT" = kernel ]; then
		[ -z "$(ip netns exec two wg show eth0 peers)" ]
		ip -n two link show eth0
	fi
	kill $KEEPER
}

@test "a sibling's path has come to name the host's netns: the host is not touched" {
	add one two
	nsenter --net=/run/netns/two sleep 600 3>&- &
	keeper=$!
	until [ "$(readlink "/proc/$keeper/ns/net")" != "$(readlink /proc/self/ns/net)" ]; do :; done
	umount /run/netns/two
	mount --bind /proc/self/ns/net /run/netns/two
	before="$(ip -o link) $(ip -6 rule)"
	add three
	exactly one three
	mesh DEL two
	[ "$(ip -o link) $(ip -6 rule)" = "$before" ]
	kill $keeper
	umount /run/netns/two
}

@test "DEL of a netns that has no path any more and is kept alive: its interface goes all the same" {
	add one two
	nsenter --net=/run/netns/two sleep 600 3>&- &
	keeper=$!
	until [ "$(readlink "/proc/$keeper/ns/net")" != "$(readlink /proc/self/ns/net)" ]; do :; done
	umount /run/netns/two
	rm /run/netns/two
	nsenter --net="/proc/$keeper/ns/net" ip link show eth0
	mesh DEL two
	refute nsenter --net="/proc/$keeper/ns/net" ip link show eth0
	exactly one
	kill $keeper
}

@test "DEL that is given another path of the same netns" {
	add one two
	touch "$NODE/elsewhere"
	mount --bind /run/netns/two "$NODE/elsewhere"
	umount /run/netns/two
	rm /run/netns/two
	CNI_CONTAINERID=two CNI_NETNS=$NODE/elsewhere plugin railway-mesh DEL "$(config railway-mesh "$KEYS")"
	[ "$status" = 0 ]
	refute nsenter --net="$NODE/elsewhere" ip link show eth0
	[ "$(nsenter --net="$NODE/elsewhere" ip -6 rule | grep -c 21057)" = 0 ]
	exactly one
	umount "$NODE/elsewhere"
}

@test "an environment is removed while an ADD of it is on its way: the ADD fails, leaves nothing, and makes it anew when it is tried again" {
	add old
	before=$(ip -n old -6 addr show dev eth0 | grep -o 'fd[0-9a-f:]*' | head -1)
	mesh DEL old
	ip netns add new
	paused registered ADD new
	"$BIN/railwayctl" remove production
	echo >"$NODE/go"
	run wait $PAUSED
	[ "$status" -ne 0 ]
	jq -e '.code == 11 and (.msg | contains("removed at this moment"))' "$NODE/paused"
	[ "$("$BIN/railwayctl" --json pods | jq '.pods | length')" = 0 ]
	[ -z "$("$BIN/railwayctl" --json environments | jq -r '.environments[]')" ]
	[ -z "$(ip -n new -o link | grep -v ' lo:')" ]
	mesh ADD new >"$NODE/ADD.new"
	after=$(ip -n new -6 addr show dev eth0 | grep -o 'fd[0-9a-f:]*' | head -1)
	[ "${before:0:14}" != "${after:0:14}" ]
}
