#!/usr/bin/env bats
# The DaemonSet's image and script, as they are shipped, on a node whose cluster has a network of its own.
bats_require_minimum_version 1.5.0
load common

# The image's files below $IMAGE_ROOT, and the node's two directories.
node_with_image() {
	IMAGE_ROOT=$NODE/image
	sh "$DEPLOY/kubernetes/rootfs.sh" "$BIN" "$IMAGE_ROOT"
	export RAILWAY_DIR=$IMAGE_ROOT/opt/railway CNI_BIN_DIR=$NODE/host/bin CNI_CONF_DIR=$NODE/host/net.d WATCH_SECONDS=0.1
	mkdir -p "$CNI_CONF_DIR" "$CNI_BIN_DIR"
	OURS=$CNI_CONF_DIR/00-railway.conflist
}

installer() { sh "$RAILWAY_DIR/install.sh" "$@"; }

watch_start() { # [COMMAND...]: what it is run with
	"$@" sh "$RAILWAY_DIR/install.sh" watch >"$NODE/watch.log" 2>&1 3>&- &
	WATCH=$!
}

# Until it has looked at the directory once more: between two looks it sleeps.
a_turn() {
	local i before
	for i in 1 2; do
		before=$(pgrep -P "$WATCH" -x sleep || true)
		wait_until another_sleep "$before"
	done
}

another_sleep() { # PID: one that is not this
	local now
	now=$(pgrep -P "$WATCH" -x sleep) && [ "$now" != "$1" ]
}

watch_stop() {
	kill "$WATCH"
	wait "$WATCH"
}

# The cluster's own network, as its own DaemonSet writes it.
main_list() { # FILE VERSION [BRIDGE]
	cat >"$CNI_CONF_DIR/$1" <<-EOF
		{ "cniVersion": "$2", "name": "cluster", "plugins": [
		  { "type": "bridge", "bridge": "${3:-cni0}", "isGateway": true,
		    "ipam": { "type": "host-local", "dataDir": "$NODE/host-local", "ranges": [[{ "subnet": "10.244.7.0/24" }]],
		              "routes": [{ "dst": "0.0.0.0/0" }] } } ] }
	EOF
}

until_says() { # TEXT
	wait_until grep -qs "$1" "$OURS"
}

@test "the plugins: installed over running ones with the libraries they need, and taken away again" {
	node_with_image
	installer plugins
	exec 8<"$CNI_BIN_DIR/railway-mesh"
	before=$(stat -Lc %i "$CNI_BIN_DIR/railway-mesh")
	installer plugins
	[ "$(stat -Lc %i "$CNI_BIN_DIR/railway-mesh")" != "$before" ] # another file: the one that runs is not written to
	exec 8<&-
	for plugin in railway-ipam railway-mesh railway-dns; do
		run ldd "$CNI_BIN_DIR/$plugin"
		for library in cjson mnl lmdb sodium; do
			[[ $output != *"lib$library"* ]] || [[ $output == *"$CNI_BIN_DIR/railway-lib/lib$library"* ]]
		done
		[[ $output == *railway-lib/libcjson* ]]
		[ "$(CNI_COMMAND=VERSION "$CNI_BIN_DIR/$plugin" <<<'{"cniVersion":"1.0.0"}' | jq -r .cniVersion)" = 1.0.0 ]
	done
	: >"$CNI_BIN_DIR/bridge"
	: >"$OURS"
	installer remove
	[ "$(ls -A "$CNI_BIN_DIR")" = bridge ]
	[ -z "$(ls -A "$CNI_CONF_DIR")" ]
}

@test "the list: the cluster's own with ours behind it, which follows it, and stays when the script ends" {
	node_with_image
	watch_start
	wait_until grep -q 'no list' "$NODE/watch.log"
	[ ! -e "$OURS" ]
	main_list 10-cluster.conflist 0.3.1
	until_says cni0
	[ "$(jq -c '[.name, .cniVersion, (.plugins | map(.type))]' "$OURS")" = '["cluster","0.3.1",["bridge","railway-mesh","railway-dns"]]' ]
	main_list 10-cluster.conflist 1.0.0 cni1
	until_says cni1
	# One plugin alone, the older form; it comes first by name.
	echo '{"cniVersion":"1.0.0","name":"plain","type":"ptp","ipam":{"type":"host-local"}}' >"$CNI_CONF_DIR/05-plain.conf"
	until_says plain
	[ "$(jq -c '[.name, .plugins[0], (.plugins | length)]' "$OURS")" = '["plain",{"type":"ptp","ipam":{"type":"host-local"}},3]' ]
	# What is no list, half-written say, leaves ours as it is.
	before=$(cat "$OURS")
	echo '{"cniVersion":' >"$NODE/half"
	mv "$NODE/half" "$CNI_CONF_DIR/05-plain.conf"
	wait_until grep -q '05-plain.conf cannot be used' "$NODE/watch.log"
	a_turn
	[ "$(cat "$OURS")" = "$before" ]
	: >"$CNI_CONF_DIR/05-plain.conf"
	wait_until grep -q '05-plain.conf cannot be used.*empty' "$NODE/watch.log"
	a_turn
	[ "$(cat "$OURS")" = "$before" ]
	# It says each once.
	[ "$(grep -c 'cannot be used' "$NODE/watch.log")" = 2 ]
	rm "$CNI_CONF_DIR/05-plain.conf"
	until_says cni1
	watch_stop
	before=$(cat "$OURS")
	[ "$(cat "$OURS")" = "$before" ]
	[ -z "$(ls "$CNI_BIN_DIR")" ]
}

@test "the list: written only when it changes" {
	node_with_image
	main_list 10-cluster.conflist 1.0.0
	watch_start
	until_says cni0
	a_turn
	before=$(stat -c %y "$CNI_CONF_DIR")
	a_turn
	[ "$(stat -c %y "$CNI_CONF_DIR")" = "$before" ]
	watch_stop
}

@test "the list: when somebody takes it away the script says so once, with what to do, and puts it back" {
	node_with_image
	main_list 10-cluster.conflist 1.0.0
	watch_start
	until_says cni0
	a_turn
	refute grep -qE 'gone|Cilium' "$NODE/watch.log"
	mv "$OURS" "$OURS.cilium_bak"
	until_says cni0
	a_turn
	[ "$(grep -c 'cni.exclusive to false' "$NODE/watch.log")" = 1 ]
	[ ! -e "$OURS.cilium_bak" ]
	refute grep -q gone "$NODE/watch.log"
	rm "$OURS"
	until_says cni0
	a_turn
	[ "$(grep -c "$OURS is gone" "$NODE/watch.log")" = 1 ]
	watch_stop
	# What was taken while no script ran.
	mv "$OURS" "$OURS.cilium_bak"
	watch_start
	until_says cni0
	grep -q 'cni.exclusive to false' "$NODE/watch.log"
	watch_stop
	: >"$OURS.cilium_bak"
	installer remove
	[ ! -e "$OURS.cilium_bak" ]
}

# rights CONTAINER: its capabilities in the manifest, as setpriv wants them.
rights() {
	/usr/bin/python3 - "$DEPLOY/kubernetes/railway.yaml" "$1" <<-'EOF'
		import sys, yaml
		with open(sys.argv[1]) as file:
		    spec = list(yaml.safe_load_all(file))[1]["spec"]["template"]["spec"]
		for each in spec["initContainers"] + spec["containers"]:
		    if each["name"] == sys.argv[2]:
		        rights = each["securityContext"]["capabilities"]
		        assert rights["drop"] == ["ALL"]
		        print(",".join(["-all"] + ["+" + right.lower() for right in rights.get("add", [])]))
	EOF
}

# As a runtime starts a container's first process, with the rights that follow.
WITH=(setpriv --inh-caps=-all --no-new-privs --bounding-set)

@test "directories of another user: the containers' rights are enough for them" {
	node_with_image
	main_list 10-cluster.conflist 1.0.0
	# Another release's, which are replaced.
	installer plugins
	: >"$OURS"
	chown -R 1000:1000 "$NODE/host"
	chmod -R go-w "$NODE/host"
	"${WITH[@]}" "$(rights plugins)" sh "$RAILWAY_DIR/install.sh" plugins
	[ "$(stat -c %u "$CNI_BIN_DIR/railway-mesh")" = 0 ]
	watch_start "${WITH[@]}" "$(rights conflist)"
	until_says cni0
	watch_stop
}

@test "a list that cannot be written: the script names it, and ends while there is none of ours" {
	node_with_image
	main_list 10-cluster.conflist 1.0.0
	chown 1000:1000 "$CNI_CONF_DIR"
	run timeout 20 "${WITH[@]}" -all sh "$RAILWAY_DIR/install.sh" watch
	[ "$status" = 1 ]
	[[ $output == *"$OURS cannot be written"*denied* ]]
	[[ $output != *"cannot be used"* ]]
	# With one pods still have their network; what is wrong is said once.
	chown 0:0 "$CNI_CONF_DIR"
	watch_start
	until_says cni0
	watch_stop
	chown 1000:1000 "$CNI_CONF_DIR"
	main_list 10-cluster.conflist 1.0.0 cni1
	watch_start "${WITH[@]}" -all
	wait_until grep -q "$OURS cannot be written" "$NODE/watch.log"
	a_turn
	[ "$(grep -c 'cannot be written' "$NODE/watch.log")" = 1 ]
	watch_stop
	grep -q cni0 "$OURS"
}

@test "containerd with the installed plugins and list: pods have the cluster's address on eth0, and talk by name over railway0" {
	node_with_image
	main_list 10-cluster.conflist 1.0.0
	watch_start
	until_says railway-mesh
	watch_stop
	installer plugins
	BIN=$IMAGE_ROOT/usr/local/sbin resolver_start
	containerd_start "$OURS"
	rm -f "$NODE"/bin/railway-*
	cp -r "$CNI_BIN_DIR"/. "$NODE/bin/"
	pod_run api-0 shop
	pod_run web-0 shop
	pod_run web-1 other
	[[ "$(cri ip "${sandbox[web-0]}")" == 10.244.7.* ]]
	[ "$(ask web-0 api.railway.internal)" = shop/api-0 ]
	[ "$(ask web-0 "$(cri ip "${sandbox[api-0]}")")" = shop/api-0 ] # as the kubelet's probes and Services reach it
	refute ask web-1 api.railway.internal
	cri exec "${container[web-0]}" busybox ip -6 addr show dev railway0 | grep -q 'inet6 fd'
	for name in web-0 web-1 api-0; do
		cri stop "${sandbox[$name]}" "${sandbox[$name]}"
		cri remove "${sandbox[$name]}"
		refute record "${sandbox[$name]}" cluster
	done
	[ -z "$(runtime_leftovers)" ]
}

@test "the cluster's DNS servers, annotated as the page says: port 53 and their own upstreams are theirs, and not another pod's" {
	node_with_image
	main_list 10-cluster.conflist 1.0.0
	watch_start
	until_says railway-mesh
	watch_stop
	resolver_start
	containerd_start "$OURS"
	annotations=$(sed -n "/patch deployment coredns/,/'}*\$/s/.*-p '\(.*\)'\$/\1/p" "$DEPLOY/../doc/runtimes/kubernetes.md" |
		jq -c .spec.template.metadata.annotations)
	[ "$annotations" != null ] && [ -n "$annotations" ]
	pod_run dns-0 kube-system "$annotations"
	pod_run web-0 kube-system
	dns=$(cri netns "${sandbox[dns-0]}") web=$(cri netns "${sandbox[web-0]}")
	# As CoreDNS binds: at every address.
	ip netns exec "${dns##*/}" python3 "$BATS_TEST_DIRNAME/../lib/fake_dns.py" :: 53 192.0.2.99 3>&- &
	wait_until ip netns exec "${dns##*/}" bash -c "ss -Hlun | grep -q '\*:53 '"
	# Asked for by the cluster's address of the pod, from the node: it is the server's answer.
	[ "$(dig +time=2 +tries=2 "@$(cri ip "${sandbox[dns-0]}")" +short A zone.example)" = 192.0.2.99 ]
	# What a zone of its own asks elsewhere leaves the pod; another pod's queries end at the resolver.
	ip netns exec "${dns##*/}" dig +time=1 +tries=1 @192.0.2.53 AAAA web.railway.internal >"$NODE/asked" || true
	grep -q 'no servers could be reached' "$NODE/asked"
	ip netns exec "${web##*/}" dig +time=2 +tries=2 @192.0.2.53 +short AAAA dns.railway.internal | grep -q ^fd
	# Private names are there for it as well.
	ip netns exec "${dns##*/}" dig +time=2 +tries=2 @fd12::10 +short AAAA web.railway.internal | grep -q ^fd
	for name in dns-0 web-0; do
		cri stop "${sandbox[$name]}"
		cri remove "${sandbox[$name]}"
	done
}

@test "the manifest: its mounts are its volumes, its commands are in the image, its rights are the unit's" {
	node_with_image
	/usr/bin/python3 - "$DEPLOY/kubernetes/railway.yaml" "$DEPLOY/systemd" "$IMAGE_ROOT" <<-'EOF'
		import os, sys, yaml
		with open(sys.argv[1]) as file:
		    namespace, daemons = yaml.safe_load_all(file)
		spec = daemons["spec"]["template"]["spec"]
		assert daemons["kind"] == "DaemonSet" and daemons["apiVersion"] == "apps/v1"
		assert daemons["metadata"]["namespace"] == namespace["metadata"]["name"]
		assert daemons["spec"]["selector"]["matchLabels"].items() <= daemons["spec"]["template"]["metadata"]["labels"].items()
		assert spec["hostNetwork"] is True and spec["hostPID"] is True
		volumes = {volume["name"]: volume["hostPath"]["path"] for volume in spec["volumes"]}
		containers = {each["name"]: each for each in spec["initContainers"] + spec["containers"]}
		mounted = set()
		for each in containers.values():
		    program = each["command"][1] if each["command"][0] == "sh" else each["command"][0]
		    assert os.path.isfile(sys.argv[3] + program), program
		    for mount in each["volumeMounts"]:
		        mounted.add(mount["name"])
		        host = volumes[mount["name"]]
		        assert mount["mountPath"] in (host, "/host" + host), mount
		assert mounted == set(volumes)
		run = [mount for mount in containers["resolverd"]["volumeMounts"] if mount["mountPath"] == "/run"]
		assert run[0]["mountPropagation"] == "HostToContainer"
		for name in "resolverd", "meshd":
		    with open(f"{sys.argv[2]}/railway-{name}.service") as file:
		        unit = dict(line.strip().split("=", 1) for line in file if "=" in line and line[0] not in "#[")
		    rights = containers[name]["securityContext"]["capabilities"]
		    assert rights["drop"] == ["ALL"]
		    assert {"CAP_" + right for right in rights["add"]} == set(unit["CapabilityBoundingSet"].split())
	EOF
	# What is built with, and what the daemon needs, by Debian's names.
	for package in $(make -C "$BATS_TEST_DIRNAME/../.." -pn 2>/dev/null | sed -n 's/^PACKAGES_BUILD := //p') \
		$(readelf -d "$BIN/railway-resolverd" "$BIN/railway-meshd" "$BIN/railwayctl" | sed -n 's/.*NEEDED.*\[\(lib[a-z]*\)\.so\.\([0-9]*\)\]/\1\2/p' |
			sed 's/libcares/libc-ares/' | grep -vxE 'libc6|libm6|libasan[0-9]*|libubsan[0-9]*'); do
		grep -qE "(^|[[:blank:]])$package( |\$)" "$DEPLOY/kubernetes/Dockerfile" || { echo "the Dockerfile lacks $package"; return 1; }
		[[ $package != *-dev ]] || grep -qE "(^|[[:blank:]])$package( |\$)" "$DEPLOY/../doc/runtimes/node.md" || { echo "node.md lacks $package"; return 1; }
	done
}

@test "the cluster's daemon waits until the node's file has the key cluster, and is then run" {
	printf '#!/bin/sh\nexec sleep 600\n' >"$NODE/meshd"
	chmod +x "$NODE/meshd"
	echo '{ "runDirectory": "/run/railway" }' >"$NODE/railway.json"
	RAILWAY_CONFIG=$NODE/railway.json RAILWAY_MESHD=$NODE/meshd WATCH_SECONDS=0.05 sh "$DEPLOY/kubernetes/install.sh" meshd 3>&- &
	waiting=$!
	until pgrep -P $waiting -x sleep; do :; done
	grep -q install.sh "/proc/$waiting/cmdline"
	echo '{ "cluster": { "endpoints": ["http://127.0.0.1:2379"] } }' >"$NODE/railway.json"
	until [ "$(tr '\0' ' ' <"/proc/$waiting/cmdline")" = 'sleep 600 ' ]; do
		kill -0 $waiting
	done
	kill $waiting
}
