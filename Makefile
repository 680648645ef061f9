# Railway private networking: the CNI plugin suite. `make help` lists the targets.

VERSION := 0.1.0
VARIANT ?= release
PREFIX ?= /usr/local
CNI_BIN_DIR ?= /opt/cni/bin
DESTDIR ?=
V ?=
T ?=
WERROR ?=

# ---- packages (Debian 12); each of the two set-up commands installs its own ----------------------

PACKAGES_BUILD := gcc libc6-dev pkg-config libcjson-dev libmnl-dev liblmdb-dev libsodium-dev \
	libc-ares-dev libseccomp-dev \
	libcurl4-openssl-dev
PACKAGES_DEMO := $(PACKAGES_BUILD) wireguard-go wireguard-tools iproute2 jq curl python3-minimal \
	libpython3-stdlib procps util-linux
PACKAGES_TEST = $(PACKAGES_DEMO) clang clang-tidy clang-format cppcheck libclang-rt-14-dev \
	libcriterion-dev bats bind9-dnsutils socat strace containernetworking-plugins nftables musl-tools \
	$(PACKAGES_CLIENTS) $(PACKAGES_RUNTIMES) $(PACKAGES_CLUSTER)
PACKAGES_CLIENTS = nodejs golang-go default-jdk-headless postgresql iptables
# Another vendor's containerd and runc do as well, and would have to make room for Debian's.
PACKAGES_RUNTIMES = $(foreach p,containerd runc,$(shell command -v $(p) >/dev/null || echo $(p))) busybox-static \
	golang-go golang-github-appc-cni-dev protobuf-compiler python3-protobuf python3-grpcio python3-yaml patchelf systemd dpkg-dev
PACKAGES_CLUSTER = etcd-server etcd-client openssl iputils-ping faketime
PACKAGES_BENCH_DNS = $(PACKAGES_TEST) dnsperf knot nsd unbound dnsmasq-base aardvark-dns
PACKAGES_VM = $(PACKAGES_TEST) qemu-system-x86 linux-image-cloud-amd64 cpio kmod iperf3

# ---- who builds -----------------------------------------------------------------------------------
# Under sudo everything is built as the owner of the tree, so that a plain make works afterwards.

TREE_OWNER := $(shell stat -c %u .)
TREE_GROUP := $(shell stat -c %g .)
AM_ROOT := $(filter 0,$(shell id -u))
ifneq ($(and $(AM_ROOT),$(filter-out 0,$(TREE_OWNER))),)
AS_OWNER := setpriv --reuid=$(TREE_OWNER) --regid=$(TREE_GROUP) --clear-groups --
endif

BUILD_MAKE = $(AS_OWNER) $(MAKE) --no-print-directory -j$(shell nproc)

# ---- flags ----------------------------------------------------------------------------------------

ifeq ($(origin CC),default)
CC := gcc
endif
AR := ar

WARNINGS := -Wall -Wextra -Wshadow -Wstrict-prototypes -Wmissing-prototypes -Wold-style-definition \
	-Wvla -Wformat=2 -Wundef -Wcast-align -Wpointer-arith -Wimplicit-fallthrough -Wconversion \
	-Wsign-conversion
HARDENING := -fstack-protector-strong -fPIE -fno-common $(if $(filter x86_64,$(shell uname -m)),-fcf-protection)
BASE_CPPFLAGS := -I. -D_GNU_SOURCE -DRAIL_VERSION='"$(VERSION)"'
BASE_CFLAGS := -std=gnu17 -g $(WARNINGS) $(HARDENING) -ffunction-sections -fdata-sections
BASE_LDFLAGS := -pie -Wl,-z,relro,-z,now -Wl,--as-needed -Wl,--gc-sections

ifeq ($(VARIANT),release)
BASE_CPPFLAGS += -U_FORTIFY_SOURCE -D_FORTIFY_SOURCE=2
BASE_CFLAGS += -O2
else ifeq ($(VARIANT),clang)
CC := clang
BASE_CPPFLAGS += -U_FORTIFY_SOURCE -D_FORTIFY_SOURCE=2
BASE_CFLAGS += -O2
else ifeq ($(VARIANT),asan)
BASE_CFLAGS += -O1 -fno-omit-frame-pointer -fsanitize=address,undefined -fno-sanitize-recover=all
BASE_LDFLAGS += -fsanitize=address,undefined
else ifeq ($(VARIANT),pauses)
# For tests: processes can be stopped at the moments of pkg/base/pause.h.
BASE_CPPFLAGS += -U_FORTIFY_SOURCE -D_FORTIFY_SOURCE=2 -DRAIL_PAUSES
BASE_CFLAGS += -O2
else ifeq ($(VARIANT),fuzz)
CC := clang
BASE_CPPFLAGS += -DRAIL_FUZZ
BASE_CFLAGS += -O1 -fno-omit-frame-pointer -fsanitize=fuzzer-no-link,address,undefined \
	-fno-sanitize-recover=all
BASE_LDFLAGS += -fsanitize=fuzzer,address,undefined
else
$(error VARIANT=$(VARIANT): known are release, clang, asan, pauses, fuzz)
endif
ifneq ($(WERROR),)
BASE_CFLAGS += -Werror
endif

LIBS := -lcjson -llmdb -lmnl -lsodium -lcares -lseccomp -lcurl

# ---- what is built --------------------------------------------------------------------------------

BUILD := build/$(VARIANT)
BIN := $(BUILD)/bin
LIBRARY := $(BUILD)/librailway.a

LIBRARY_SOURCES := $(wildcard pkg/*/*.c)
PLUGINS := railway-ipam railway-mesh railway-dns
DAEMONS := railway-resolverd railway-meshd
COMMANDS := railwayctl
SOURCES_railway-ipam := $(wildcard plugins/railway-ipam/*.c)
SOURCES_railway-mesh := $(wildcard plugins/railway-mesh/*.c)
SOURCES_railway-dns := $(wildcard plugins/railway-dns/*.c)
SOURCES_railway-meshd := $(wildcard plugins/railway-mesh/meshd/*.c)
SOURCES_railway-resolverd := $(wildcard plugins/railway-dns/resolverd/*.c)
SOURCES_railwayctl := $(wildcard cmd/railwayctl/*.c)
TOOL_SOURCES := $(wildcard test/tools/*.c)
UNIT_SOURCES := $(wildcard test/unit/*.c test/unit/*/*.c)
FUZZ_TARGETS := $(patsubst test/fuzz/%_fuzz.c,%,$(wildcard test/fuzz/*_fuzz.c))

BINARIES := $(addprefix $(BIN)/,$(PLUGINS) $(DAEMONS) $(COMMANDS))
TOOLS := $(patsubst test/tools/%.c,$(BUILD)/test/%,$(TOOL_SOURCES))
FAULT_TOOLS := $(addprefix $(BUILD)/test/faults/,inject contents allocations.so clock.so)
objects = $(patsubst %.c,$(BUILD)/%.o,$(1))

ifeq ($(V),)
Q := @
say = @printf '  %-7s %s\n' '$(1)' '$(2)';
endif

.PHONY: all
all: $(BINARIES)

.SECONDEXPANSION:
$(BINARIES): $(BIN)/%: $$(call objects,$$(SOURCES_$$*)) $(LIBRARY)
	$(call say,LD,$@)
	@$(AS_OWNER) mkdir -p $(@D)
	$(Q)$(AS_OWNER) $(CC) $(BASE_CFLAGS) $(CFLAGS) $(BASE_LDFLAGS) $(LDFLAGS) -o $@ $^ $(LIBS)

$(LIBRARY): $(call objects,$(LIBRARY_SOURCES))
	$(call say,AR,$@)
	@$(AS_OWNER) rm -f $@
	$(Q)$(AS_OWNER) $(AR) rcs $@ $^

$(BUILD)/%.o: %.c | headers-there
	$(call say,CC,$<)
	@$(AS_OWNER) mkdir -p $(@D)
	$(Q)$(AS_OWNER) $(CC) $(BASE_CPPFLAGS) $(CPPFLAGS) $(BASE_CFLAGS) $(CFLAGS) -MMD -MP -c -o $@ $<

# The worker's filter itself, not a copy of it.
$(BUILD)/test/filter_probe: $(BUILD)/plugins/railway-dns/resolverd/filter.o \
	$(BUILD)/plugins/railway-dns/resolverd/landlock.o
$(TOOLS): $(BUILD)/test/%: $(BUILD)/test/tools/%.o $(LIBRARY)
	$(call say,LD,$@)
	@$(AS_OWNER) mkdir -p $(@D)
	$(Q)$(AS_OWNER) $(CC) $(BASE_CFLAGS) $(CFLAGS) $(BASE_LDFLAGS) $(LDFLAGS) -o $@ $(filter %.o,$^) $(LIBRARY) $(LIBS)

$(filter-out %.so,$(FAULT_TOOLS)): $(BUILD)/test/faults/%: $(BUILD)/test/faults/%.o
	$(call say,LD,$@)
	$(Q)$(AS_OWNER) $(CC) $(BASE_CFLAGS) $(CFLAGS) $(BASE_LDFLAGS) $(LDFLAGS) -o $@ $< -llmdb -lseccomp

# Without sanitizers, which bring an allocator of their own.
$(BUILD)/test/faults/%.so: test/faults/%.c
	$(call say,LD,$@)
	@$(AS_OWNER) mkdir -p $(@D)
	$(Q)$(AS_OWNER) $(CC) -D_GNU_SOURCE -std=gnu17 -g -O2 $(WARNINGS) $(if $(WERROR),-Werror) -fPIC -shared -o $@ $<

# The pure parts of a program are tested with the library's.
$(BUILD)/test/unit-tests: $(call objects,$(UNIT_SOURCES) $(filter-out %/main.c,$(SOURCES_railwayctl))) $(LIBRARY)
	$(call say,LD,$@)
	@$(AS_OWNER) mkdir -p $(@D)
	$(Q)$(AS_OWNER) $(CC) $(BASE_CFLAGS) $(CFLAGS) $(BASE_LDFLAGS) $(LDFLAGS) -o $@ $^ $(LIBS) -lcriterion \
		-Wl,--no-gc-sections # Criterion finds its tests by their section

# The same client with two C libraries, whatever the variant.
CLIENTS := $(BUILD)/test/lookup-glibc $(BUILD)/test/lookup-musl
$(BUILD)/test/lookup-musl: CLIENT_CC := musl-gcc -static
$(BUILD)/test/lookup-glibc: CLIENT_CC := gcc
$(CLIENTS): test/clients/lookup.c
	$(call say,CC,$@)
	@$(AS_OWNER) mkdir -p $(@D)
	$(Q)$(AS_OWNER) $(CLIENT_CC) -D_GNU_SOURCE -std=gnu17 $(WARNINGS) $(if $(WERROR),-Werror) -O2 -o $@ $<

# Without the fuzz variant a target is a program that runs the files it is given (the corpus).
FUZZ_MAIN := $(if $(filter fuzz,$(VARIANT)),,$(BUILD)/test/fuzz/main.o)
FUZZ_PROGRAMS := $(addprefix $(BUILD)/test/fuzz-,$(FUZZ_TARGETS))
$(FUZZ_PROGRAMS): $(BUILD)/test/fuzz-%: $(BUILD)/test/fuzz/%_fuzz.o $(FUZZ_MAIN) $(LIBRARY)
	$(call say,LD,$@)
	@$(AS_OWNER) mkdir -p $(@D)
	$(Q)$(AS_OWNER) $(CC) $(BASE_CFLAGS) $(CFLAGS) $(BASE_LDFLAGS) $(LDFLAGS) -o $@ $^ $(LIBS)

-include $(shell find build/$(VARIANT) -name '*.d' 2>/dev/null)

# ---- set-up ---------------------------------------------------------------------------------------

.PHONY: headers-there
headers-there:
	@pkg-config --exists libcjson libmnl libsodium libcares libseccomp libcurl 2>/dev/null \
		&& test -e /usr/include/lmdb.h || { \
		echo 'Packages are missing. This installs them (Debian 12):' >&2; \
		echo '  sudo apt-get install --no-install-recommends $(PACKAGES_BUILD)' >&2; \
		exit 1; }

# Installs what is missing of a list of packages; without root it says what to type.
define install_packages
	@missing=$$(for p in $(1); do dpkg-query -W -f '$${db:Status-Status}\n' $$p 2>/dev/null | \
		grep -qx installed || echo $$p; done); \
	if [ -n "$$missing" ]; then \
		if [ "$$(id -u)" != 0 ]; then \
			echo "Packages are missing. This installs them (Debian 12):" >&2; \
			echo "  sudo apt-get install --no-install-recommends" $$missing >&2; exit 1; fi; \
		echo "Installing:" $$missing; \
		{ apt-get update -qq && DEBIAN_FRONTEND=noninteractive \
			apt-get install -y -qq --no-remove --no-install-recommends $$missing; } >/dev/null; \
	fi
endef

.PHONY: packages-demo packages-test
packages-demo:
	$(call install_packages,$(PACKAGES_DEMO))
packages-test:
	$(call install_packages,$(PACKAGES_TEST))

.PHONY: install
install: all
	install -d '$(DESTDIR)$(CNI_BIN_DIR)' '$(DESTDIR)$(PREFIX)/sbin'
	install -m 0755 $(addprefix $(BIN)/,$(PLUGINS)) '$(DESTDIR)$(CNI_BIN_DIR)'
	install -m 0755 $(addprefix $(BIN)/,$(DAEMONS) $(COMMANDS)) '$(DESTDIR)$(PREFIX)/sbin'

# A package for Debian and what is made of it; MAINTAINER='Name <address>' goes into it.
PACKAGE = build/railway-private-networking_$(VERSION)_$(shell dpkg --print-architecture).deb
.PHONY: packages-deb deb deb-file
packages-deb:
	$(call install_packages,$(PACKAGES_BUILD) dpkg-dev)
deb: packages-deb
	@$(BUILD_MAKE) deb-file
deb-file: all
	@rm -rf build/deb build/railway-private-networking_*.deb
	@$(MAKE) --no-print-directory -s install DESTDIR='$(CURDIR)/build/deb' PREFIX=/usr CNI_BIN_DIR=/opt/cni/bin
	@bash deploy/debian/build.bash build/deb '$(VERSION)' '$(PACKAGE)'
	@echo '$(PACKAGE)'

.PHONY: clean
clean:
	rm -rf build

.PHONY: all-tests
all-tests: all $(TOOLS) $(BUILD)/test/unit-tests

.PHONY: unit
unit: $(BUILD)/test/unit-tests

.PHONY: tools
tools: all $(TOOLS) $(FAULT_TOOLS) $(CLIENTS)

# ---- demo and tests -------------------------------------------------------------------------------

.PHONY: demo
demo: packages-demo
	@$(BUILD_MAKE) all $(BUILD)/test/chain
	@BIN='$(CURDIR)/$(BIN)' TOOLS='$(CURDIR)/$(BUILD)/test' bash test/lib/isolate.bash \
		bash test/demo/demo.bash

# `make test` runs every target below, each of which also runs alone; T=pattern runs the tests whose names match.
# What each took is printed at the end, with one line that counts. One with an @ runs beside those that follow.
TEST_TARGETS := test-build vm-image vm-tests@ lint test-unit test-fuzz test-netns test-clients test-runtimes test-cluster test-faults test-demo

.PHONY: test
test: packages-test
	@bash test/lib/summary.bash run $(TEST_TARGETS)

.PHONY: test-build
test-build: packages-test
	@$(BUILD_MAKE) WERROR=1 all
	@$(BUILD_MAKE) WERROR=1 VARIANT=clang all
	@bash test/lib/build-test.bash

.PHONY: test-unit
test-unit: packages-test
	@$(BUILD_MAKE) WERROR=1 VARIANT=asan unit
	@bash test/lib/unit.bash build/asan/test/unit-tests '$(T)'

.PHONY: fuzz-programs
fuzz-programs: $(FUZZ_PROGRAMS)

# The corpora; `make fuzz-<target> FUZZ_SECONDS=600` goes on from there.
.PHONY: test-fuzz
test-fuzz: packages-test
	@$(BUILD_MAKE) WERROR=1 VARIANT=asan fuzz-programs
	@bash test/lib/fuzz.bash build/asan/test $(filter-out ,$(FUZZ_TARGETS))

FUZZ_SECONDS ?= 60
.PHONY: $(addprefix fuzz-,$(FUZZ_TARGETS))
$(addprefix fuzz-,$(FUZZ_TARGETS)): fuzz-%:
	@$(MAKE) --no-print-directory VARIANT=fuzz build/fuzz/test/fuzz-$*
	@mkdir -p build/fuzz/found/$*
	build/fuzz/test/fuzz-$* -max_total_time=$(FUZZ_SECONDS) build/fuzz/found/$* test/fuzz/corpus/$*

# Another way to change inputs, which gets further where they are text.
AFL_TARGETS := netconf etcd_answer uapi
.PHONY: packages-afl $(addprefix afl-,$(AFL_TARGETS))
packages-afl:
	$(call install_packages,afl++)
$(addprefix afl-,$(AFL_TARGETS)): afl-%: packages-afl
	@$(MAKE) --no-print-directory VARIANT=fuzz CC=afl-clang-fast BUILD=build/afl build/afl/test/fuzz-$*
	@mkdir -p build/afl/found
	AFL_SKIP_CPUFREQ=1 AFL_I_DONT_CARE_ABOUT_MISSING_CRASHES=1 AFL_NO_UI=1 afl-fuzz -V $(FUZZ_SECONDS) -m none \
		-i test/fuzz/corpus/$* -o build/afl/found/$* -- build/afl/test/fuzz-$* >build/afl/found/$*.log
	@! ls build/afl/found/$*/default/crashes | grep ^id:

# What takes longer than a person waits.
.PHONY: test-long
test-long: packages-test packages-afl
	@$(MAKE) --no-print-directory test-vm VM_TESTS='$(filter-out %/flood.bats,$(INDIFFERENT)) test/cluster/handshake.bats' HANDSHAKES=100
	@$(MAKE) --no-print-directory test-faults-all
	@$(MAKE) --no-print-directory test-scale
	@$(BUILD_MAKE) deb-file
	@$(BUILD_MAKE) WERROR=1 VARIANT=asan tools runtime-tools
	@bash test/lib/netns.bash asan '$(T)' $(SANITIZED_LONG)
	@RUNTIMES='$(CURDIR)/$(RUNTIMES)' TRANSPORTS=auto bash test/lib/netns.bash asan '$(T)' test/runtimes/*.bats
	@for target in $(addprefix fuzz-,$(FUZZ_TARGETS)) $(addprefix afl-,$(AFL_TARGETS)); do \
		$(BUILD_MAKE) FUZZ_SECONDS=600 $$target || exit 1; done

# The longest ones; `make test-long` has them sanitized.
SANITIZED_LONG := $(patsubst %,test/netns/%.bats,adversary concurrency)
.PHONY: test-netns
test-netns: packages-test
	@$(BUILD_MAKE) WERROR=1 tools
	@$(BUILD_MAKE) WERROR=1 VARIANT=asan tools
	@$(BUILD_MAKE) WERROR=1 VARIANT=pauses all
	@bash test/lib/netns.bash release '$(T)'
	@bash test/lib/netns.bash asan '$(T)' $(filter-out $(SANITIZED_LONG),$(wildcard test/netns/*.bats))

# A sample of what test-faults-all does with every system call and allocation.
.PHONY: test-faults test-faults-all
test-faults: packages-test
	@$(BUILD_MAKE) WERROR=1 tools
	@$(BUILD_MAKE) WERROR=1 VARIANT=asan tools
	@bash test/faults/run.bash sample

test-faults-all: packages-test
	@$(BUILD_MAKE) WERROR=1 tools
	@$(BUILD_MAKE) WERROR=1 VARIANT=asan tools
	@bash test/faults/run.bash all

# Other people's resolvers and programs on the pods of a release.
.PHONY: test-clients
test-clients: packages-test
	@$(BUILD_MAKE) WERROR=1 tools
	@bash test/lib/netns.bash release '$(T)' test/clients/*.bats

# What plays the clients: cnitool on Debian's libcni, the kubelet's messages, a program of Alpine's.
RUNTIMES := build/runtimes
.PHONY: runtime-tools
runtime-tools: $(RUNTIMES)/cnitool $(RUNTIMES)/cri_pb2.py $(RUNTIMES)/ask
$(RUNTIMES)/cnitool: test/runtimes/cnitool.go
	$(call say,TOOL,$@)
	@$(AS_OWNER) mkdir -p $(@D)
	$(Q)$(AS_OWNER) env GO111MODULE=off GOPATH=/usr/share/gocode GOCACHE='$(CURDIR)/$(RUNTIMES)/go-cache' \
		go build -o $@ $<
$(RUNTIMES)/cri_pb2.py: test/runtimes/cri.proto
	$(call say,TOOL,$@)
	@$(AS_OWNER) mkdir -p $(@D)
	$(Q)$(AS_OWNER) protoc --python_out=$(@D) -I $(<D) $<
$(RUNTIMES)/ask: test/runtimes/ask.c
	$(call say,TOOL,$@)
	@$(AS_OWNER) mkdir -p $(@D)
	$(Q)$(AS_OWNER) musl-gcc -static -O2 -Wall -Wextra -Werror -o $@ $<

.PHONY: test-runtimes
test-runtimes: packages-test
	@$(BUILD_MAKE) WERROR=1 tools runtime-tools deb-file
	@RUNTIMES='$(CURDIR)/$(RUNTIMES)' TRANSPORTS=auto bash test/lib/netns.bash release '$(T)' test/runtimes/*.bats

# Nodes on one machine, with etcd. The sanitized binaries run those that meet most of the code.
.PHONY: test-cluster
test-cluster: packages-test
	@$(BUILD_MAKE) WERROR=1 tools
	@$(BUILD_MAKE) WERROR=1 VARIANT=asan tools
	@TRANSPORTS=userspace bash test/lib/netns.bash release '$(T)' test/cluster/*.bats
	@TRANSPORTS=userspace bash test/lib/netns.bash asan '$(or $(T),three nodes|lone node|killed and started again|malformed|hang|requested address|number is)' \
		test/cluster/*.bats

.PHONY: test-demo
test-demo: packages-test
	@$(BUILD_MAKE) WERROR=1 tools
	@bash test/lib/demo-test.bash

.PHONY: lint
lint: packages-test
	@bash test/lib/lint.bash

.PHONY: bench
bench: packages-test
	@$(BUILD_MAKE) tools
	@BIN='$(CURDIR)/$(BIN)' TOOLS='$(CURDIR)/$(BUILD)/test' bash test/lib/isolate.bash \
		bash test/bench/chain.bash

# Hundreds of nodes' records, leases and watches on one etcd.
.PHONY: test-scale
test-scale: packages-test
	@$(BUILD_MAKE) WERROR=1 tools
	@BIN='$(CURDIR)/$(BIN)' TOOLS='$(CURDIR)/$(BUILD)/test' bash test/lib/isolate.bash \
		bash test/bench/cluster-scale.bash

.PHONY: bench-ipam
bench-ipam: packages-test
	@$(BUILD_MAKE) tools
	@BIN='$(CURDIR)/$(BIN)' TOOLS='$(CURDIR)/$(BUILD)/test' bash test/lib/isolate.bash \
		bash test/bench/ipam.bash

.PHONY: packages-bench-dns bench-dns bench-dns-scale
packages-bench-dns:
	$(call install_packages,$(PACKAGES_BENCH_DNS))

bench-dns: packages-bench-dns
	@$(BUILD_MAKE) tools
	@BIN='$(CURDIR)/$(BIN)' TOOLS='$(CURDIR)/$(BUILD)/test' bash test/lib/isolate.bash \
		bash test/bench/dns.bash

bench-dns-scale: packages-test
	@$(BUILD_MAKE) tools
	@BIN='$(CURDIR)/$(BIN)' TOOLS='$(CURDIR)/$(BUILD)/test' bash test/lib/isolate.bash \
		bash test/bench/dns-scale.bash

# Kernel WireGuard in a virtual machine, emulated: needs neither KVM nor root once the packages are there.
VM_IMAGE := $(BUILD)/vm/initramfs
.PHONY: packages-vm vm-image vm-tests test-vm bench-vm vm-shell
packages-vm:
	$(call install_packages,$(PACKAGES_VM))

vm-image: packages-vm
	@$(BUILD_MAKE) tools
	@$(BUILD_MAKE) VARIANT=pauses all
	@$(AS_OWNER) bash test/vm/image.bash $(VM_IMAGE)

test-vm: vm-image
	@$(MAKE) --no-print-directory vm-tests

# On the image that is there: others may be building.
vm-tests:
	@$(AS_OWNER) env DEADLINE=$(VM_DEADLINE) bash test/vm/run.bash $(VM_IMAGE) tests '$(T)' $(VM_TESTS)

# All but those to which it makes no difference what carries the packets; `make test-long` has these, too, but for flood.bats: its
# second is not an emulated one.
VM_DEADLINE := 4000
INDIFFERENT := $(patsubst %,test/netns/%.bats,ctl flood hostile input ipam poison protocol query_log resolver tcp upgrade)
VM_TESTS := test/vm/*.bats $(filter-out $(INDIFFERENT),$(wildcard test/netns/*.bats)) test/cluster/handshake.bats

# Emulated time is not real time: the ratios count. Ten thousand pods: BENCHES_VM=dns-scale PODS=10000 MEMORY=10240
BENCHES_VM := chain peers throughput
bench-vm: vm-image
	@for bench in $(BENCHES_VM); do \
		$(AS_OWNER) env DEADLINE=3600 bash test/vm/run.bash $(VM_IMAGE) command \
			"ROUNDS=$(ROUNDS) PODS=$(PODS) bash test/lib/isolate.bash bash test/bench/$$bench.bash" || exit 1; done

vm-shell: vm-image
	@$(AS_OWNER) bash test/vm/run.bash $(VM_IMAGE) shell

.PHONY: help
help:
	@echo 'make            builds into build/release (V=1 shows the commands; VARIANT=asan, clang, fuzz)'
	@echo 'make install    DESTDIR, PREFIX ($(PREFIX)), CNI_BIN_DIR ($(CNI_BIN_DIR))'
	@echo 'make deb        a package for Debian, into build'
	@echo 'sudo make demo  two environments on this machine, in namespaces of their own'
	@echo 'sudo make test  everything below, with the time of each; T=pattern runs matching tests'
	@printf '                %s\n' $(TEST_TARGETS)
	@echo 'sudo make bench ADD and DEL beside bridge + host-local'
	@echo 'sudo make bench-dns  the resolver beside Knot, NSD, unbound, dnsmasq and aardvark-dns'
	@echo 'make test-vm    kernel WireGuard in a virtual machine (T=pattern); make vm-shell: a shell in it'
	@echo 'sudo make test-scale  500 nodes of one etcd, without their kernels'
	@echo 'sudo make test-long  real runtimes with sanitizers, every fuzz target for ten minutes, every call of the plugins fails once, 1,000 kills'
	@echo 'make fuzz-NAME  FUZZ_SECONDS=60; NAME: $(FUZZ_TARGETS)'
