#!/usr/bin/env bash
# image.bash FILE: an initramfs with the built binaries, the tests and all that these need, for the kernel that kernel.bash names.
# Needs no root: the kernel makes the device nodes.
set -euo pipefail
image=$1
variant=${VARIANT:-release}
# Debian's own programs, and not what a person has put before them.
PATH=/usr/sbin:/usr/bin:/sbin:/bin
here=$(dirname "${BASH_SOURCE[0]}")
# shellcheck source=test/vm/kernel.bash
. "$here/kernel.bash"

# Whole packages of small programs, and single ones.
PACKAGES=(coreutils procps grep sed findutils diffutils hostname)
COMMANDS=(
	bash sh awk mawk mount umount unshare nsenter setpriv setsid flock dmesg prlimit taskset chrt lsns mountpoint findmnt less
	ip ss tc bridge nft iptables ip6tables wg ping iperf3 jq socat dig getent python3 etcd etcdctl strace curl modprobe insmod lsmod kmod bats wireguard-go
)
MODULES=(wireguard veth tun bridge dummy nf_tables nf_nat nf_conntrack ip6_tables ip_tables br_netfilter sch_netem)
# Whatever a rule of nft or of iptables may ask for, and what ss asks.
MODULE_PATTERNS=('nft_*.ko' 'xt_*.ko' 'nf_reject_*.ko' 'ip6t_*.ko' 'ipt_*.ko' '*_diag.ko')
DIRECTORIES=(/usr/lib/locale/C.utf8 /usr/lib/bats-core /usr/libexec/bats-core /usr/lib/x86_64-linux-gnu/xtables)
CNI_PLUGINS=(bridge host-local portmap loopback)

root=$(mktemp -d)
trap 'rm -rf "$root"' EXIT
chmod 0755 "$root"
mkdir -p "$root"/{usr/{bin,sbin,lib/x86_64-linux-gnu,lib64,lib/cni},etc,proc,sys,dev,run,tmp,root,var/{lib,tmp},railway/build}
for link in bin sbin lib lib64; do ln -s "usr/$link" "$root/$link"; done
ln -s ../run "$root/var/run"

# Where a file lies once /bin and /lib are links to what is below /usr.
place() {
	case $1 in
	/bin/* | /sbin/* | /lib/* | /lib64/*) echo "$root/usr$1" ;;
	*) echo "$root$1" ;;
	esac
}
put() { # FILE...
	local file target
	for file; do
		target=$(place "$file")
		[ ! -e "$target" ] || continue
		mkdir -p "$(dirname "$target")"
		cp -L "$file" "$target"
	done
}
libraries_of() { # FILE...
	ldd "$@" 2>/dev/null | grep -oP '^\t(.* => )?\K/\S+' | sort -u
}

mapfile -t paths < <(dpkg -L "${PACKAGES[@]}" | grep -E '^(/usr)?/s?bin/')
for command in "${COMMANDS[@]}"; do
	path=$(type -P "$command") || { echo "vm: this machine has no $command; tests that use it will fail" >&2; continue; }
	paths+=("$path")
done
for plugin in "${CNI_PLUGINS[@]}"; do
	[ ! -e "/usr/lib/cni/$plugin" ] || paths+=("/usr/lib/cni/$plugin")
done
put "${paths[@]}"
for directory in "${DIRECTORIES[@]}"; do
	mkdir -p "$root$directory"
	cp -a "$directory/." "$root$directory"
done

# Python without what no test can need.
python=$(python3 -c 'import sysconfig; print(sysconfig.get_path("stdlib"))')
mkdir -p "$root$python"
tar -C "$python" --exclude='*.opt-?.pyc' --exclude=test --exclude=idlelib --exclude=lib2to3 --exclude=pydoc_data \
	--exclude='config-*' --exclude=distutils --exclude=tkinter --exclude=dist-packages -cf - . | tar -C "$root$python" -xf -

mkdir -p "$root/railway/build/$variant"
cp -a "build/$variant/bin" "$root/railway/build/$variant/bin"
mkdir -p "$root/railway/build/pauses"
cp -a build/pauses/bin "$root/railway/build/pauses/bin"
mkdir -p "$root/railway/build/$variant/test"
find "build/$variant/test" -maxdepth 1 -type f -executable ! -name 'fuzz-*' -exec cp -t "$root/railway/build/$variant/test" {} +
mkdir -p "$root/railway/test"
[ ! -d "build/$variant/test/faults" ] || cp -a "build/$variant/test/faults" "$root/railway/build/$variant/test"
cp -a test/lib test/netns test/cluster test/bench test/vm test/demo "$root/railway/test"
cp -a deploy "$root/railway"

mapfile -t programs < <(find "$root" -type f \( -executable -o -name '*.so*' \))
mapfile -t libraries < <(libraries_of "${programs[@]}")
put "${libraries[@]}" /lib/x86_64-linux-gnu/libnss_{files,dns}.so.2
rm -f "$root/etc/ld.so.cache"

for pattern in "${MODULE_PATTERNS[@]}"; do
	while read -r module; do
		MODULES+=("$(basename "$module" .ko)")
	done < <(find "/lib/modules/$KERNEL_VERSION/kernel/net" -name "$pattern")
done
for module in "${MODULES[@]}"; do
	modprobe -S "$KERNEL_VERSION" --show-depends "$module" 2>/dev/null | awk '$1 == "insmod" {print $2}'
done | sort -u | while read -r module; do
	put "$module"
done
cp "/lib/modules/$KERNEL_VERSION"/modules.{order,builtin,builtin.modinfo} "$root/usr/lib/modules/$KERNEL_VERSION"
depmod -b "$root" "$KERNEL_VERSION"

echo 'root:x:0:0:root:/root:/bin/bash
nobody:x:65534:65534:nobody:/:/bin/false' >"$root/etc/passwd"
echo 'root:x:0:
nogroup:x:65534:' >"$root/etc/group"
echo 'icmp 1 ICMP
tcp 6 TCP
udp 17 UDP
ipv6-icmp 58 IPv6-ICMP' >"$root/etc/protocols"
echo '127.0.0.1 localhost
::1 localhost ip6-localhost' >"$root/etc/hosts"
echo 'passwd: files
group: files
hosts: files dns' >"$root/etc/nsswitch.conf"
echo 'nameserver 192.0.2.53' >"$root/etc/resolv.conf"
cp test/vm/init "$root/init"
chmod 0755 "$root/init"

mkdir -p "$(dirname "$image")"
(cd "$root" && find . -print0 | sort -z | cpio --null --create --format=newc --owner=0:0 --quiet) >"$image.new"
mv "$image.new" "$image"
