#!/bin/sh
# install.sh plugins|watch|meshd|remove: what the DaemonSet does to its node.
#
#   plugins  puts the three plugins, and the libraries that they need, into the runtime's directory
#   watch    keeps 00-railway.conflist: the list of the cluster's own network with railway-mesh and railway-dns behind it. It follows
#            that list when it changes, and stays when this ends: a pod that starts meanwhile must not start without its network
#   meshd    runs railway-meshd once the node's file has the key cluster; a node by itself needs none
#   remove   takes the list and the plugins away
set -eu
from=${RAILWAY_DIR:-/opt/railway}
bin=${CNI_BIN_DIR:-/host/opt/cni/bin}
lists=${CNI_CONF_DIR:-/host/etc/cni/net.d}
ours=$lists/00-railway.conflist
pause=${WATCH_SECONDS:-10}
config=${RAILWAY_CONFIG:-/etc/railway/railway.json}
meshd=${RAILWAY_MESHD:-/usr/local/sbin/railway-meshd}

# A plugin may be running: a file is replaced whole, never written to.
put() { # FILE DIRECTORY
	cp "$1" "$2/.${1##*/}.new"
	mv -f "$2/.${1##*/}.new" "$2/${1##*/}"
}

plugins() {
	mkdir -p "$bin/railway-lib"
	for file in "$from"/lib/*; do put "$file" "$bin/railway-lib"; done
	for file in "$from"/bin/*; do put "$file" "$bin"; done
}

# The list that the runtime would take without ours: the first by name.
source_list() {
	for file in "$lists"/*; do
		case $file in
		"$ours") ;;
		*.conf | *.conflist | *.json) [ ! -f "$file" ] || { echo "$file"; return; } ;;
		esac
	done
	return 1
}

complain() { # TEXT: once, until all is well again or something else is wrong
	[ "$1" = "$complaint" ] || echo "$1" >&2
	complaint=$1
}

# Pods that start while ours is away have the cluster's network alone, and stay so: whoever takes it away has to be told not to.
ask_who_took_it() {
	if [ -e "$ours.cilium_bak" ]; then
		echo "Cilium has taken $ours away: set cni.exclusive to false in its values. Pods that started meanwhile have no private network" >&2
		# It is ours, and would be a stale list where somebody renames it back.
		rm -f "$ours.cilium_bak"
	elif [ -n "$there" ] && [ ! -e "$ours" ]; then
		echo "$ours is gone: whatever removes other programs' lists from $lists must leave it there." \
			"Pods that started meanwhile have no private network" >&2
	fi
}

# Called where a failure does not end the script: each step that can fail says so itself.
merge() {
	list=$(source_list) || { complain "no list of the cluster's network in $lists yet"; return 0; }
	# An empty file, which its owner has only begun to write, comes to nothing, and jq finds no fault in it.
	merged=$(jq --slurpfile ours "$from/plugins.json" '
		(if has("plugins") then . else {cniVersion, name, plugins: [del(.cniVersion, .name)]} end)
		| .plugins |= map(select(.type | startswith("railway-") | not)) + $ours[0]' "$list" 2>&1) && [ -n "$merged" ] ||
		{ complain "$list cannot be used; $ours is left as it is. ${merged:-It is empty}"; return 1; }
	# Nothing is written unless it changes: runtimes read all lists anew whenever something happens in the directory.
	if ! printf '%s\n' "$merged" | cmp -s - "$ours"; then
		# A name that a runtime does not take for a list's.
		failure=$({ printf '%s\n' "$merged" >"$ours.new" && mv -f "$ours.new" "$ours"; } 2>&1) ||
			{ complain "$ours cannot be written: $failure"; return 1; }
		echo "$ours: $list with railway-mesh and railway-dns"
	fi
	complaint=
}

case ${1:-} in
plugins) plugins ;;
watch)
	trap 'exit 0' TERM INT
	complaint='' there=''
	while :; do
		ask_who_took_it || :
		# Without a list of ours no pod has its network: that has to show in the state of the Pod.
		merge || [ -e "$ours" ] || exit 1
		[ ! -e "$ours" ] || there=1
		sleep "$pause" &
		wait $!
	done
	;;
meshd)
	trap 'exit 0' TERM INT
	until jq -e .cluster "$config" >/dev/null 2>&1; do
		sleep "$pause" &
		wait $!
	done
	trap - TERM INT
	exec "$meshd"
	;;
remove)
	rm -f "$ours" "$ours.new" "$ours.cilium_bak"
	for file in "$from"/bin/*; do rm -f "$bin/${file##*/}"; done
	rm -rf "$bin/railway-lib"
	;;
*)
	echo "usage: install.sh plugins|watch|meshd|remove" >&2
	exit 2
	;;
esac
