#!/usr/bin/env bash
# Format, layers, clang-tidy, cppcheck, shell scripts. Each check counts as one.
set -uo pipefail
passed=0 failed=0
check() {
	local what=$1
	shift
	if "$@"; then passed=$((passed + 1)); else
		failed=$((failed + 1))
		echo "lint: $what: failed" >&2
	fi
}
mapfile -t sources < <(find pkg plugins cmd test -name '*.c' | sort)
mapfile -t headers < <(find pkg plugins cmd test -name '*.h' | sort)
mapfile -t scripts < <(find test .ci -name '*.bash' -o -path './.ci/run' -o -path '.ci/run' | sort)

format() { clang-format --dry-run -Werror "${sources[@]}" "${headers[@]}"; }

# A directory includes from those it stands on, never upwards. Each line: directory, then what it may include besides itself.
layers() {
	local directory allowed file include bad=0
	while read -r directory allowed; do
		while IFS=: read -r file include; do
			case " $directory $allowed " in
			*" $include "*) ;;
			*) echo "$file includes from $include, which is not below $directory" && bad=1 ;;
			esac
		done < <(grep -rHoP '^#include "\K(pkg/[a-z]+|(plugins|cmd)/[a-z-]+)(?=/)' "$directory" 2>/dev/null)
	done <test/lib/layers
	for directory in pkg/*/ plugins/*/ cmd/*/; do
		grep -q "^${directory%/}\b" test/lib/layers ||
			{ echo "$directory is not in test/lib/layers" && bad=1; }
	done
	return $bad
}

# Each library is included in one place.
libraries() {
	local header where bad=0
	while read -r header where; do
		while read -r file; do
			[[ $file =~ ^($where)$ ]] || { echo "$file includes $header" && bad=1; }
		done < <(grep -rlE "^#include <$header" pkg plugins cmd 2>/dev/null)
	done <<-EOF
		cjson/ pkg/base/json[a-z_]*\.c
		lmdb.h pkg/store/.*
		libmnl/ pkg/net/.*
		sodium pkg/wg/key\.c|pkg/dns/hash\.c
		ares.h pkg/dns/ares\.[ch]
		curl/ pkg/cluster/http\.c
		seccomp.h plugins/railway-dns/resolverd/filter\.c
	EOF
	return $bad
}

tidy() {
	printf '%s\n' "${sources[@]}" | grep -v '^test/unit' | xargs -P "$(nproc)" -n 6 sh -c '
		clang-tidy --quiet --warnings-as-errors="*" "$@" -- -std=gnu17 -D_GNU_SOURCE \
			-DRAIL_VERSION="\"0\"" -I. 2>/dev/null' sh
}

cppcheck_all() {
	cppcheck --quiet --std=c11 -D_GNU_SOURCE -DRAIL_VERSION='"0"' -I. -j "$(nproc)" \
		--enable=warning,portability,performance --error-exitcode=1 --inline-suppr \
		--suppressions-list=test/lib/cppcheck-suppressions pkg plugins cmd test/tools
}

shell() { for script in "${scripts[@]}"; do bash -n "$script" || return 1; done; }

check "clang-format" format
check "layers" layers
check "libraries" libraries
check "clang-tidy" tidy
check "cppcheck" cppcheck_all
check "shell syntax" shell
[ -z "${RAILWAY_COUNTS:-}" ] || echo "$passed $failed 0" >>"$RAILWAY_COUNTS"
[ "$failed" = 0 ]
