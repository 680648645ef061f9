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

# Called where a failure does not end the script: each step that can fail says so itself.
merge() {
	list=$(source_list) || { echo "no list of the cluster's network in $lists yet"; return 0; }
	# A name that a runtime does not take for a list's.
	jq --slurpfile ours "$from/plugins.json" '
		(if has("plugins") then . else {cniVersion, name, plugins: [del(.cniVersion, .name)]} end)
		| .plugins |= map(select(.type | startswith("railway-") | not)) + $ours[0]' "$list" >"$ours.new" || return 1
	if cmp -s "$ours.new" "$ours"; then
		rm "$ours.new"
	else
		mv -f "$ours.new" "$ours" || return 1
		echo "$ours: $list with railway-mesh and railway-dns"
	fi
}

case ${1:-} in
plugins) plugins ;;
watch)
	trap 'exit 0' TERM INT
	while :; do
		merge || echo "$list cannot be used; the list stays as it is" >&2
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
	rm -f "$ours" "$ours.new"
	for file in "$from"/bin/*; do rm -f "$bin/${file##*/}"; done
	rm -rf "$bin/railway-lib"
	;;
*)
	echo "usage: install.sh plugins|watch|meshd|remove" >&2
	exit 2
	;;
esac
