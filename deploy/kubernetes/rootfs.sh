#!/bin/sh
# rootfs.sh BUILT ROOT: what the image holds beside its base system, below ROOT, from the binaries in BUILT. The plugins are run by the
# node and not in the image: the libraries that they need beside libc come with them, and are looked for next to them.
set -eu
built=$1 root=$2
here=$(dirname "$0")
mkdir -p "$root/opt/railway/bin" "$root/opt/railway/lib" "$root/usr/local/sbin"
cp "$built/railway-ipam" "$built/railway-mesh" "$built/railway-dns" "$root/opt/railway/bin/"
cp "$built/railway-resolverd" "$built/railway-meshd" "$built/railwayctl" "$root/usr/local/sbin/"
cp "$here/install.sh" "$here/plugins.json" "$root/opt/railway/"
for plugin in "$root"/opt/railway/bin/*; do
	ldd "$plugin" | sed -n 's/.* => \(\/[^ ]*\) .*/\1/p' | grep -v '/libc\.so' | while read -r library; do
		cp -L "$library" "$root/opt/railway/lib/"
	done
	patchelf --set-rpath '$ORIGIN/railway-lib' "$plugin"
done
