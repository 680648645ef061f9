# What the tests of real runtimes share: a node (test/netns/common.bash) with a containerd of its own. shellcheck shell=bash
#
#   RUNTIMES   the directory of what make built for these tests: cnitool, cri_pb2.py, ask
. "$BATS_TEST_DIRNAME/../netns/common.bash"

DEPLOY=$BATS_TEST_DIRNAME/../../deploy
IMAGE=railway.test/busybox:1
# The one place outside of this node where a runtime leaves something: other nodes on this machine have other names.
CGROUP=/railway-test-$(stat -Lc %i /proc/self/ns/pid)

# wait_until COMMAND...: until it succeeds; fails after a minute.
wait_until() {
	local end=$((SECONDS + 60))
	until "$@"; do
		[ $SECONDS -lt $end ] || { echo "not within a minute: $*"; return 1; }
		sleep 0.02
	done
}

# A runtime's plugin directory: ours beside the reference plugins, of which containerd needs loopback.
plugin_directory() {
	mkdir -p "$NODE/bin"
	ln -sf /usr/lib/cni/* "$BIN"/railway-ipam "$BIN"/railway-mesh "$BIN"/railway-dns "$NODE/bin"
}

# containerd_start CONFLIST: with all of its state below $NODE; returns when it serves.
containerd_start() {
	local d=$NODE/containerd
	export CRI_SOCKET=$d/sock CRI_MESSAGES=$RUNTIMES
	mkdir -p "$d/net.d" /run/netns
	plugin_directory
	cp "$1" "$d/net.d/10-railway.conflist"
	cat >"$d/config.toml" <<-TOML
		version = 2
		root = "$d/root"
		state = "$d/state"
		disabled_plugins = ["io.containerd.internal.v1.opt", "io.containerd.snapshotter.v1.aufs", "io.containerd.snapshotter.v1.btrfs",
		  "io.containerd.snapshotter.v1.devmapper", "io.containerd.snapshotter.v1.zfs", "io.containerd.tracing.processor.v1.otlp"]
		[grpc]
		  address = "$CRI_SOCKET"
		[plugins."io.containerd.grpc.v1.cri"]
		  sandbox_image = "$IMAGE"
		  disable_apparmor = true
		  restrict_oom_score_adj = true
		  [plugins."io.containerd.grpc.v1.cri".cni]
		    bin_dir = "$NODE/bin"
		    conf_dir = "$d/net.d"
	TOML
	containerd_again
	python3 "$BATS_TEST_DIRNAME/image.py" "$IMAGE" "$NODE/image.tar" "$RUNTIMES/ask"
	for namespace in k8s.io default; do
		ctr -a "$CRI_SOCKET" -n "$namespace" images import "$NODE/image.tar" >/dev/null
	done
}

# The same one, after its end.
containerd_again() {
	containerd --config "$NODE/containerd/config.toml" >>"$NODE/containerd.log" 2>&1 3>&- &
	CONTAINERD=$!
	until ctr -a "$CRI_SOCKET" version >/dev/null 2>&1; do
		kill -0 "$CONTAINERD" || { tail -5 "$NODE/containerd.log"; return 1; }
	done
}

cri() { /usr/bin/python3 "$BATS_TEST_DIRNAME/cri.py" "$@"; }

# pod NAME NAMESPACE [ANNOTATIONS]: a pod's configuration as the kubelet sends it, its resolv.conf naming the resolver; prints the file.
pod() {
	local file=$NODE/$2.$1.json
	jq -n --arg name "$1" --arg namespace "$2" --arg cgroup "$CGROUP" --argjson annotations "${3:-{\}}" '{
		metadata: {name: $name, uid: "uid-\($namespace)-\($name)", namespace: $namespace}, hostname: $name,
		dns_config: {servers: ["fd12::10"], searches: ["railway.internal"]},
		labels: {"io.kubernetes.pod.name": $name}, annotations: $annotations,
		linux: {cgroup_parent: $cgroup}}' >"$file"
	echo "$file"
}

# pod_run NAME NAMESPACE [ANNOTATIONS]: a pod that says its namespace and name to whoever asks at port 8080. Sets sandbox[NAME] and
# container[NAME].
declare -gA sandbox container
pod_run() {
	local ids
	ids=$(cri run "$(pod "$@")" "$IMAGE" /bin/sh -c \
		"echo $2/$1 >/www/index.html && exec busybox httpd -f -p 8080 -h /www")
	read -r sandbox["$1"] container["$1"] <<<"$ids"
}

# ask POD HOST: what the pod at that name or address says.
ask() { cri exec "${container[$1]}" ask "$2" 8080; }

# What a node with a runtime could have left of its pods.
runtime_leftovers() {
	leftovers
	ls /run/netns
	find /sys/fs/cgroup -type d -path "*$CGROUP/*" 2>/dev/null
	pgrep containerd-shim || true
}

runtime_teardown() {
	local pid
	for pid in $(pgrep containerd-shim) ${CONTAINERD:-}; do
		kill -KILL "$pid" 2>/dev/null || true
	done
	[ -z "${CONTAINERD:-}" ] || wait "$CONTAINERD" 2>/dev/null || true
	pkill -KILL -x busybox || true
	pkill -KILL -x sleep || true
	grep -o " $NODE/[^ ]*" /proc/self/mounts | tac | xargs -rn1 umount -l || true
	find /sys/fs/cgroup -depth -type d -path "*$CGROUP*" -exec rmdir {} + 2>/dev/null || true
	if [ -n "${BATS_ERROR_STATUS:-}" ] && [ -s "$NODE/containerd.log" ]; then
		grep -E 'level=(error|warn)' "$NODE/containerd.log" | cut -c1-600 | sed 's/^/# containerd: /' | tail -10
	fi
}

eval "node_$(declare -f teardown)"
teardown() {
	runtime_teardown
	node_teardown
}
