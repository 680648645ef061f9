#!/usr/bin/env bats
# ctr run --cni: a container without any identity of its own, whose DEL comes when its netns is gone.
bats_require_minimum_version 1.5.0
load common

# ctr has the two directories built in: this node has its own over them.
node_directories() {
	mkdir -p "$NODE/etc-upper" "$NODE/etc-work" "$NODE/opt"
	mount -t overlay -o "lowerdir=/etc,upperdir=$NODE/etc-upper,workdir=$NODE/etc-work" overlay /etc
	mount --bind "$NODE/opt" /opt
	mkdir -p /etc/cni/net.d /opt/cni
	plugin_directory
	ln -s "$NODE/bin" /opt/cni/bin
}

teardown() {
	umount -l /etc /opt || true
	runtime_teardown
	node_teardown
}

ctr_run() { # SERVICE NAME OPTION COMMAND...: its attachment is default-NAME
	local service=$1 name=$2 option=$3
	shift 3
	rm -f /etc/cni/net.d/*
	jq --arg service "$service" '.plugins[0].ipam += {environment: "production", service: $service}' \
		"$DEPLOY/containerd/ctr.conflist" >/etc/cni/net.d/10-railway.conflist
	ctr -a "$CRI_SOCKET" run $option --cni --cgroup "$CGROUP/$name" "$IMAGE" "$name" "$@"
}

exec_in() { # NAME COMMAND...
	local name=$1
	shift
	ctr -a "$CRI_SOCKET" task exec --exec-id "exec-$SRANDOM" "$name" "$@"
}

@test "containers of the services that their lists name talk by name, and killing them leaves nothing" {
	node_directories
	resolver_start
	containerd_start "$DEPLOY/containerd/10-railway.conflist"
	# In the foreground: ctr sends DEL when the container has ended, without a netns, whose path has gone with the process.
	ctr_run api box-api '' /bin/sh -c 'echo api >/www/index.html && exec busybox httpd -f -p 8080 -h /www' >"$NODE/ctr.log" 2>&1 3>&- &
	foreground=$!
	until record default-box-api && exec_in box-api busybox true 2>/dev/null; do kill -0 $foreground; done
	# Detached: no DEL ever comes.
	ctr_run web box-web --detach /bin/sleep 2147483647
	api=$(exec_in box-web busybox nslookup api.railway.internal fd12::10 | awk '/^Address: fd/ {print $2}')
	[ "$(exec_in box-web ask "$api" 8080)" = api ]

	ctr -a "$CRI_SOCKET" task kill --signal KILL box-api
	wait $foreground || true
	refute record default-box-api
	refute grep -i error "$NODE/ctr.log"
	refute exec_in box-web busybox nslookup -type=aaaa api.railway.internal fd12::10 | grep fd

	ctr -a "$CRI_SOCKET" task kill --signal KILL box-web
	until ctr -a "$CRI_SOCKET" task rm box-web >/dev/null 2>&1; do kill -0 "$CONTAINERD"; done
	ctr -a "$CRI_SOCKET" container rm box-web
	# What had no DEL is cleared away by whoever comes next in its environment.
	ctr_run api box-next --detach /bin/sleep 2147483647
	refute record default-box-web
	record default-box-next
	ctr -a "$CRI_SOCKET" task kill --signal KILL box-next
	until ctr -a "$CRI_SOCKET" task rm box-next >/dev/null 2>&1; do kill -0 "$CONTAINERD"; done
	CNI_VERSION=1.1.0 plugin railway-mesh GC "$(CNI_VERSION=1.1.0 config railway-mesh '"ipam":{"type":"railway-ipam"},"cni.dev/valid-attachments":[]')"
	[ "$status" = 0 ]
	refute record default-box-next
	[ -z "$(runtime_leftovers)" ]
}
