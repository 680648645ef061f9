#!/usr/bin/env bats
# The package for Debian: installed, upgraded, removed and purged in a copy of this machine's root directory.
bats_require_minimum_version 1.5.0
load common

NAME=railway-private-networking

# A root directory that is this machine's until something is changed in it, with a service manager that notes what it is told.
machine() {
	root=$NODE/root
	mkdir "$NODE/machine" "$root"
	mount -t tmpfs tmpfs "$NODE/machine"
	mkdir "$NODE/machine/upper" "$NODE/machine/work"
	mount -t overlay -o "lowerdir=/,upperdir=$NODE/machine/upper,workdir=$NODE/machine/work" overlay "$root"
	mount --bind /proc "$root/proc"
	mount --bind /dev "$root/dev"
	mount -t tmpfs tmpfs "$root/run"
	mkdir -p "$root/run/systemd/system"
	rm -f "$root/usr/sbin/policy-rc.d"
	cat >"$root/usr/local/bin/systemctl" <<-'EOF'
		#!/bin/sh
		echo "$*" >>/run/told
		case $* in
		*is-active*) test -e /run/active ;;
		*is-enabled*) echo enabled ;;
		*preset*) SYSTEMD_OFFLINE=1 exec /bin/systemctl "$@" ;;
		esac
	EOF
	chmod 0755 "$root/usr/local/bin/systemctl"
}

inside() { chroot "$root" "$@"; }

told() { # and forgets it
	cat "$root/run/told" 2>/dev/null
	rm -f "$root/run/told"
}

package() { echo "$BATS_TEST_DIRNAME"/../../build/"$NAME"_*.deb; }

@test "installed: every file is there, the units find their programs, and both daemons are started; removed and purged: nothing is left" {
	machine
	cp "$(package)" "$root/run/package.deb"
	inside dpkg -i /run/package.deb
	[ "$(inside dpkg-query -W -f '${db:Status-Status}' "$NAME")" = installed ]
	said=$(told)
	grep -q 'start.*railway-resolverd' <<<"$said"
	grep -q 'start.*railway-meshd' <<<"$said"
	refute grep -q USR2 <<<"$said"
	[ "$(stat -c %a "$root/var/lib/railway" "$root/run/railway" | sort -u)" = 700 ]
	for unit in railway-resolverd railway-meshd; do
		program=$(sed -n 's/^ExecStart=\([^ ]*\).*/\1/p' "$root/lib/systemd/system/$unit.service")
		inside "$program" --version | grep -q "$(inside dpkg-query -W -f '${Version}' "$NAME")"
		[ -L "$root/etc/systemd/system/multi-user.target.wants/$unit.service" ]
	done
	for plugin in railway-ipam railway-mesh railway-dns; do
		CNI_COMMAND=VERSION inside "/opt/cni/bin/$plugin" <<<'{"cniVersion":"1.0.0"}' | jq -e .supportedVersions >/dev/null
	done
	inside railwayctl --version
	[ -z "$(inside dpkg --verify "$NAME")" ]
	# Every library that a program wants is one of a package that this one depends on.
	for program in "$root"/usr/sbin/railway* "$root"/opt/cni/bin/railway-*; do
		refute grep -q 'not found' <(ldd "$program")
	done
	inside dpkg-deb -f /run/package.deb Depends | grep -q 'libc-ares2.*libcurl4.*liblmdb0.*libseccomp2'

	inside dpkg -r "$NAME"
	told | grep -q 'stop.*railway-resolverd'
	[ -z "$(ls "$root"/opt/cni/bin/railway-* "$root"/usr/sbin/railway* 2>/dev/null)" ]
	# Which environment has which addresses stays until it is purged.
	[ -d "$root/var/lib/railway" ]
	inside dpkg -P "$NAME"
	[ ! -e "$root/var/lib/railway" ]
	[ ! -L "$root/etc/systemd/system/multi-user.target.wants/railway-resolverd.service" ]
}

@test "upgraded: the new resolver takes over from the one that runs, and meshd is restarted" {
	machine
	cp "$(package)" "$root/run/package.deb"
	dpkg-deb -R "$(package)" "$NODE/newer"
	sed -i 's/^Version: .*/Version: 99/' "$NODE/newer/DEBIAN/control"
	dpkg-deb --root-owner-group -b "$NODE/newer" "$root/run/newer.deb" >/dev/null
	inside dpkg -i /run/package.deb
	told >/dev/null
	: >"$root/run/active"
	inside dpkg -i /run/newer.deb
	said=$(told)
	grep -q 'kill --kill-whom=main --signal=USR2 railway-resolverd.service' <<<"$said"
	grep -q 'try-restart.*railway-meshd' <<<"$said"
	refute grep -qE '(^| )(stop|restart) .*railway-resolverd' <<<"$said"
	[ "$(inside dpkg-query -W -f '${Version}' "$NAME")" = 99 ]
}

@test "removed while pods have a private network: it says what that means" {
	machine
	cp "$(package)" "$root/run/package.deb"
	inside dpkg -i /run/package.deb
	mkdir -p "$root/run/railway" "$root/var/lib/railway"
	ip netns add pod
	"$TOOLS/resolver_tool" put "$root/var/lib/railway" "$root/run/railway" production api api-1 pod /run/netns/pod
	run inside dpkg -r "$NAME"
	[ "$status" = 0 ]
	[[ $output == *"1 pods of this node have a private network"* ]]
}
