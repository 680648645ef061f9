#!/usr/bin/env bash
# What a person who builds and installs relies on: make install honours its variables, and nothing built belongs to root after a build by root.
set -uo pipefail
passed=0 failed=0
check() {
	local what=$1
	shift
	if "$@"; then passed=$((passed + 1)); else
		failed=$((failed + 1))
		echo "build: $what" >&2
	fi
}
target=$(mktemp -d)
trap 'rm -rf "$target"' EXIT
touch plugins/railway-ipam/main.c # something to build for root, too
make --no-print-directory install DESTDIR="$target" PREFIX=/opt/x CNI_BIN_DIR=/opt/y/bin >/dev/null
for binary in railway-ipam railway-mesh railway-dns; do
	check "$binary is installed below DESTDIR and CNI_BIN_DIR" test -x "$target/opt/y/bin/$binary"
done
for daemon in railway-resolverd railway-meshd railwayctl; do
	check "$daemon is installed below DESTDIR and PREFIX" test -x "$target/opt/x/sbin/$daemon"
done
owner=$(stat -c %u .)
foreign() { [ -z "$(find build ! -user "$owner" -print -quit)" ]; }
check "all that was built belongs to the owner of the tree" foreign
for binary in railway-ipam railway-mesh railway-dns; do
	about=$(env -i "$target/opt/y/bin/$binary" 2>&1 </dev/null)
	check "$binary without CNI_COMMAND says what it is: $about" \
		grep -qE "$binary.* v[0-9]+\.[0-9]+\.[0-9]+" <<<"$about"
	no_curl() { ! ldd "$target/opt/y/bin/$binary" | grep -qE 'libcares|libcurl|libseccomp'; }
	check "$binary links neither c-ares nor curl" no_curl
done
[ -z "${RAILWAY_COUNTS:-}" ] || echo "$passed $failed 0" >>"$RAILWAY_COUNTS"
[ "$failed" = 0 ]
