# The newest installed kernel of Debian's cloud package: KERNEL (its file) and KERNEL_VERSION. shellcheck shell=bash
KERNEL=$(find /boot -name 'vmlinuz-*-cloud-amd64' | sort -V | tail -1)
[ -n "$KERNEL" ] || { echo "vm: no kernel in /boot: install linux-image-cloud-amd64" >&2; exit 1; }
# shellcheck disable=SC2034
KERNEL_VERSION=${KERNEL#/boot/vmlinuz-}
