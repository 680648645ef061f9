#!/usr/bin/env bash
# run.bash IMAGE tests [PATTERN [FILE...]] | shell | command COMMAND...: starts the virtual machine and gives the status of what ran
# in it. Emulated, without root; its time is not real time. DEADLINE: seconds after which it is hung.
set -uo pipefail
image=$1 what=$2
shift 2
here=$(dirname "${BASH_SOURCE[0]}")
# shellcheck source=test/vm/kernel.bash
. "$here/kernel.bash"
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT

machine() {
	# A second archive behind the first one: the kernel unpacks both.
	(cd "$work" && echo job | cpio --create --format=newc --owner=0:0 --quiet) >"$work/job.cpio"
	cat "$image" "$work/job.cpio" >"$work/initramfs"
	# What is emulated is translated once for each address it is at: without randomized ones a process starts in a quarter of the time. A
	# machine that has to wait for a processor when it boots would take its timer for broken.
	timeout --foreground --kill-after=5 "${DEADLINE:-900}" qemu-system-x86_64 -accel tcg,thread=multi -cpu max -smp 2 \
		-m "${MEMORY:-2048}" -display none -monitor none -serial stdio -nic none -no-reboot -kernel "$KERNEL" \
		-initrd "$work/initramfs" -append 'console=ttyS0 quiet loglevel=3 panic=-1 random.trust_cpu=on norandmaps mitigations=off no_timer_check'
}

# Shows the console and remembers it.
recorded() {
	machine </dev/null | sed --unbuffered 's/\r$//' | tee "$work/console"
	local status
	status=$(grep -oP '^vm: exit status \K\d+$' "$work/console" | tail -1)
	if [ -z "$status" ]; then
		echo "vm: the machine ended, or was ended after ${DEADLINE:-900} s, before its job did" >&2
		return 1
	fi
	return "$status"
}

case $what in
tests)
	pattern=${1:-}
	[ $# -eq 0 ] || shift
	[ $# -gt 0 ] || set -- test/vm/*.bats test/netns/*.bats
	{
		echo 'status=0'
		[ -z "${HANDSHAKES:-}" ] || printf 'export HANDSHAKES=%q\n' "$HANDSHAKES"
		printf 'for file in %s; do\n' "$(printf '%q ' "$@")"
		printf '	echo "# $file"; SECONDS=0\n	bash test/lib/isolate.bash bats --tap %s "$file" || status=1\n' \
			"${pattern:+--filter $(printf '%q' "$pattern")}"
		echo '	echo "#   $SECONDS s"'
		echo 'done; exit $status'
	} >"$work/job"
	recorded
	status=$?
	if [ -n "${RAILWAY_COUNTS:-}" ]; then
		awk '/^ok .*# skip/ {s++; next} /^ok / {p++} /^not ok / {f++} END {print p + 0, f + 0, s + 0}' \
			"$work/console" >>"$RAILWAY_COUNTS"
	fi
	exit $status
	;;
command)
	printf '%s\n' "$*" >"$work/job"
	recorded
	;;
shell)
	echo 'echo "bash test/lib/isolate.bash bash: a node of its own; exit ends the machine"
setsid --ctty --wait bash -i </dev/ttyS0 >/dev/ttyS0 2>&1' >"$work/job"
	saved=$(stty -g)
	trap 'stty "$saved"; rm -rf "$work"' EXIT
	stty raw -echo
	DEADLINE=${DEADLINE:-0} machine
	;;
*)
	echo "vm: tests, command or shell?" >&2
	exit 2
	;;
esac
