#!/usr/bin/env bash
# build.bash ROOT VERSION OUTPUT: a package of what `make install` has put below ROOT, with the units and what else of deploy a node needs. Run from the
# project's root; needs dpkg-dev, and no root.
set -euo pipefail
root=$1 version=$2 output=$3
share=$root/usr/share/doc/railway-private-networking
install -d "$root/lib/systemd/system" "$root/usr/lib/tmpfiles.d" "$share/examples" "$root/DEBIAN"
for unit in deploy/systemd/*.service; do
	sed 's,/usr/local/sbin/,/usr/sbin/,' "$unit" >"$root/lib/systemd/system/${unit##*/}"
done
install -m 0644 deploy/tmpfiles.d/railway.conf "$root/usr/lib/tmpfiles.d/"
install -m 0644 README.md doc/*.md "$share/"
for runtime in containerd crio cnitool nomad; do
	install -d "$share/examples/$runtime"
	find "deploy/$runtime" -maxdepth 1 -type f -exec install -m 0644 -t "$share/examples/$runtime" {} +
done
install -m 0755 deploy/debian/{postinst,prerm,postrm} "$root/DEBIAN/"

# dpkg-shlibdeps wants a debian/control where it runs.
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
install -d "$work/debian"
echo 'Source: railway-private-networking' >"$work/debian/control"
binaries=("$(realpath "$root")"/usr/sbin/* "$(realpath "$root")"/opt/cni/bin/*)
strip --strip-unneeded "${binaries[@]}"
depends=$(cd "$work" && dpkg-shlibdeps -O "${binaries[@]}" 2>/dev/null | sed -n 's/^shlibs:Depends=//p')
size=$(du -sk --exclude=DEBIAN "$root" | cut -f1)
maintainer=${MAINTAINER:-$(id -un) <$(id -un)@$(uname -n)>}
sed -e "s|@VERSION@|$version|; s|@ARCHITECTURE@|$(dpkg --print-architecture)|; s|@DEPENDS@|$depends|; s|@SIZE@|$size|" \
	-e "s|@MAINTAINER@|$maintainer|" deploy/debian/control.in >"$root/DEBIAN/control"
(cd "$root" && find . -path ./DEBIAN -prune -o -type f -printf '%P\0' | sort -z | xargs -0 md5sum) >"$root/DEBIAN/md5sums"
chmod -R u+rwX,go+rX,go-w "$root"
dpkg-deb --root-owner-group --build "$root" "$output" >/dev/null
