#!/usr/bin/env bats
# The files for operators, as they are shipped: each is used, or judged by the tool that it is for.
bats_require_minimum_version 1.5.0
load common

UNIT=$DEPLOY/systemd/railway-resolverd.service

key() { # KEY: all its values in the unit, one a word
	sed -n "s/^$1=//p" "$UNIT"
}

# A root directory with the unit where systemd looks, its program installed, and systemd's own units beside it.
installed_root() {
	local root=$NODE/root
	mkdir -p "$root/etc/systemd/system" "$root/usr/lib/systemd" "$root/usr/local/sbin" "$root/bin" "$root/etc/tmpfiles.d"
	cp -r /usr/lib/systemd/system "$root/usr/lib/systemd/"
	cp /bin/kill /bin/grep "$root/bin/"
	cp "$BIN/railway-resolverd" "$BIN/railway-meshd" "$root/usr/local/sbin/"
	cp "$DEPLOY"/systemd/* "$root/etc/systemd/system/"
	cp "$DEPLOY"/tmpfiles.d/* "$root/etc/tmpfiles.d/"
	echo "$root"
}

# The system calls that the unit's filter lets through.
allowed_calls() {
	expand() { # WORD: a call, or the members of a group
		case $1 in
		@*) systemd-analyze syscall-filter "$1" | sed -n 's/^ \+//p' | grep -v '^#' | while read -r word; do expand "$word"; done ;;
		*) echo "$1" ;;
		esac
	}
	local word
	for word in $(key SystemCallFilter | grep -v '^~'); do expand "$word"; done |
		grep -vxFf <(for word in $(key SystemCallFilter | sed -n 's/^~//p'); do expand "$word"; done)
}

@test "the units: systemd finds no fault in them, and calls them protected" {
	root=$(installed_root)
	for unit in railway-resolverd railway-meshd; do
		run systemd-analyze verify --root="$root" $unit.service
		echo "$output"
		[ "$status" = 0 ]
		[ -z "$output" ]
		# What a service that enters namespaces cannot do without comes to 3.5 of 10; a lost line shows.
		run systemd-analyze security --offline=true --no-pager --threshold=37 "$root/etc/systemd/system/$unit.service"
		echo "$output" | tail -1
		[ "$status" = 0 ]
	done
}

@test "the unit's capabilities and system calls are enough for a daemon's whole life" {
	bounding=$(key CapabilityBoundingSet | tr 'A-Z' 'a-z' | sed 's/cap_/+/g; s/ /,/g')
	mkdir "$NODE/traced"
	cat >"$NODE/traced/railway-resolverd" <<-SH
		#!/bin/sh
		exec setpriv --bounding-set=-all,$bounding --inh-caps=-all --no-new-privs "$BIN/railway-resolverd" "\$@"
	SH
	chmod +x "$NODE/traced/railway-resolverd"
	BIN=$NODE/traced resolver_start --query-log "$NODE/queries.log"
	[ "$(awk '/^CapBnd/ {print $2}' "/proc/$RESOLVER/status")" = "$(awk '/^CapEff/ {print $2}' "/proc/$RESOLVER/status")" ]
	[ "$(awk '/^NoNewPrivs/ {print $2}' "/proc/$RESOLVER/status")" = 1 ]
	pod_add one production api
	pod_check one
	[ -n "$(in_pod one getent ahostsv6 api.railway.internal)" ]
	resolver_stop
	grep -q '"name":"api.railway.internal."' "$NODE/queries.log"
	# A sanitizer makes system calls of its own.
	[ "$VARIANT" != asan ] || return 0

	# systemd does not run here to set the filter: what is called is compared with it.
	cat >"$NODE/traced/railway-resolverd" <<-SH
		#!/bin/sh
		exec strace -f -qq -o $NODE/trace "$BIN/railway-resolverd" "\$@"
	SH
	BIN=$NODE/traced resolver_start --query-log "$NODE/queries.log"
	pod_add two production web
	[ -n "$(in_pod two getent ahostsv6 api.railway.internal)" ]
	in_pod two dig +time=1 +tries=1 example.com >/dev/null || true # forwarded
	kill -KILL "$(pgrep -f 'railway-resolverd --worker')"
	until [ -n "$(in_pod two getent ahostsv6 api.railway.internal)" ]; do :; done
	ip netns del one
	pod_del two
	kill -HUP "$(pgrep -o -x railway-resolve)"
	kill -TERM "$(pgrep -o -x railway-resolve)"
	wait "$RESOLVER" || true
	RESOLVER=
	sed -n 's/^[0-9]* *\([a-z_0-9]*\)(.*/\1/p' "$NODE/trace" | sort -u >"$NODE/called"
	grep -qx setns "$NODE/called"
	grep -qx recvmmsg "$NODE/called"
	allowed_calls | sort -u >"$NODE/allowed"
	forbidden=$(comm -23 "$NODE/called" "$NODE/allowed")
	[ -z "$forbidden" ] || { echo "called, and not allowed: $forbidden"; return 1; }
	refute grep -qx mount "$NODE/allowed"
}

@test "tmpfiles.d: makes the directories as the stores want them, and takes nothing away" {
	root=$(installed_root)
	systemd-tmpfiles --root="$root" --create railway.conf
	for directory in var/lib/railway run/railway; do
		[ "$(stat -c '%a %u %g' "$root/$directory")" = '700 0 0' ]
		echo kept >"$root/$directory/file"
	done
	systemd-tmpfiles --root="$root" --create --remove --clean railway.conf
	[ -e "$root/var/lib/railway/file" ]
	[ -e "$root/run/railway/file" ]
	rm -rf "${root:?}"/{var/lib,run}/railway/file
	ip netns add pod
	plugin railway-ipam ADD "$(config railway-ipam "\"service\":\"api\",\"stateDirectory\":\"$root/var/lib/railway\",\"runDirectory\":\"$root/run/railway\"")"
	[ "$status" = 0 ]
}

@test "every list: the CNI project's library reads it, and adds, checks and deletes a pod with it" {
	resolver_start
	count=0
	while read -r list; do
		[ "$(jq -r .name "$list")" = railway ]
		ip netns add pod
		mkdir -p "$NODE/lists"
		rm -f "$NODE"/lists/*
		cp "$list" "$NODE/lists/"
		for command in add check del; do
			NETCONFPATH=$NODE/lists CNI_PATH=$BIN:/usr/lib/cni CNITOOL_CACHE=$NODE/cache \
				CNI_ARGS='IgnoreUnknown=1;K8S_POD_NAMESPACE=shop;K8S_POD_NAME=web-0' \
				"$RUNTIMES/cnitool" $command railway /run/netns/pod >"$NODE/result" || { echo "$list: $command"; return 1; }
		done
		[ -z "$(leftovers)" ]
		ip netns del pod
		count=$((count + 1))
	done < <(find "$DEPLOY" -name '*.conflist')
	[ "$count" -ge 5 ]
}
