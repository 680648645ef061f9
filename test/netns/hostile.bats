#!/usr/bin/env bats
# What a hostile pod, or a hostile upstream, can do to others through the resolver: nothing.
bats_require_minimum_version 1.5.0
load common
load serve

HOSTILE=(python3 "$BATS_TEST_DIRNAME/../lib/hostile.py")

descriptors() { # PROCESS
	find "/proc/$1/fd" -mindepth 1 | wc -l
}

has_descriptors() { # PROCESS COUNT
	[ "$(descriptors "$1")" = "$2" ]
}

# holder NAME COMMAND...: in the background, until release NAME; returns when it says that it holds.
holder() {
	local name=$1 word
	shift
	mkfifo "$NODE/$name.in" "$NODE/$name.out"
	"$@" <"$NODE/$name.in" >"$NODE/$name.out" 3>&- &
	eval "exec {${name}_in}>\"$NODE/$name.in\" {${name}_out}<\"$NODE/$name.out\""
	eval "read -r -t 20 word <&\"\$${name}_out\""
	[ -n "$word" ]
}

release() { # NAME
	eval "exec {$1_in}>&- {$1_out}<&-"
}

answered() { # POD DIG-ARGUMENTS...: within 1 s, with an address
	in_netns "$1" dig +time=1 +tries=1 @fd12::10 +short "${@:2}" | grep -q '^[0-9a-f]'
}

@test "floods, parts of messages, answers that nobody takes: another pod is answered, and nothing is left" {
	resolver_start
	served hostile evil web
	served victim good web
	for n in $(seq 1 40); do
		"$TOOLS/resolver_tool" put /var/lib/railway /run/railway evil big "replica-$n" "big-$n" /run/netns/hostile
	done >/dev/null
	# The names above are known to a new worker.
	kill -KILL "$(resolver_worker)"
	eventually answered victim AAAA web.railway.internal
	worker=$(resolver_worker)
	worker_descriptors=$(descriptors "$worker")
	supervisor_descriptors=$(descriptors "$RESOLVER")
	[ "$(in_netns hostile dig +tcp +short @fd12::10 AAAA big.railway.internal | wc -l)" = 40 ]

	in_netns hostile "${HOSTILE[@]}" udp_flood 4 3>&- &
	udp=$!
	in_netns hostile "${HOSTILE[@]}" tcp_flood 4 3>&- &
	tcp=$!
	in_netns victim "${HOSTILE[@]}" measure web.railway.internal 4
	wait $udp $tcp

	in_netns hostile timeout 20 "${HOSTILE[@]}" prefixes web.railway.internal
	holder unread in_netns hostile "${HOSTILE[@]}" unread big.railway.internal 32
	in_netns victim "${HOSTILE[@]}" measure web.railway.internal 1
	# What the kernel keeps of their answers is bounded: twice the 64 KB that were asked for.
	in_netns hostile ss -tmnH state established 'sport = :53' >"$NODE/memory"
	grep -q skmem "$NODE/memory"
	[ "$(grep -o 'tb[0-9]*' "$NODE/memory" | tr -d tb | sort -n | tail -1)" -le 131072 ]
	release unread

	eventually has_descriptors "$worker" "$worker_descriptors"
	has_descriptors "$RESOLVER" "$supervisor_descriptors"
	[ "$(resolver_worker)" = "$worker" ]
	answered hostile AAAA web.railway.internal
}

@test "an environment that takes all TCP connections leaves some to others" {
	resolver_start
	for n in $(seq 1 32); do
		served "evil-$n" evil web >/dev/null
	done
	served victim good web
	holder connections "${HOSTILE[@]}" hold $(seq -f 'evil-%g' 1 32)
	for _ in $(seq 1 5); do
		answered victim +tcp AAAA web.railway.internal
	done
	release connections
}

@test "an environment that has many queries on their way leaves some to others" {
	python3 "$BATS_TEST_DIRNAME/../lib/fake_dns.py" 127.0.0.2 5300 192.0.2.2 3>&- &
	until dig +time=1 +tries=1 -p 5300 @127.0.0.2 +short A example.com | grep -q 192.0.2.2; do :; done
	# One that takes queries and does not answer.
	socat -u UDP4-RECV:5300,bind=127.0.0.9 /dev/null 3>&- &
	resolver_start
	for n in $(seq 1 17); do
		served "evil-$n" evil web 127.0.0.9:5300 >/dev/null
	done
	served victim good web 127.0.0.2:5300
	holder queries "${HOSTILE[@]}" ask example.com 5 $(seq -f 'evil-%g' 1 17)
	for _ in $(seq 1 20); do
		answered victim A example.com
	done
	release queries
}

@test "an upstream that floods, with empty and wrong answers too, or resets every connection" {
	cat >"$NODE/upstream.py" <<-'EOF'
		import os, socket, struct, threading
		udp = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
		udp.bind(("127.0.0.9", 5300))
		tcp = socket.create_server(("127.0.0.9", 5300), backlog=64)
		def flood(query, client):
		    wrong = bytes([query[0] ^ 1]) + query[1:2] + b"\x81\x80" + query[4:]
		    for _ in range(20000):
		        for message in (wrong, b"", os.urandom(64)):
		            try:
		                udp.sendto(message, client)
		            except OSError:
		                return
		def serve():
		    while True:
		        query, client = udp.recvfrom(4096)
		        if b"\x05reset" in query:
		            udp.sendto(query[:2] + b"\x83\x80" + query[4:], client)
		        else:
		            threading.Thread(target=flood, args=(query, client), daemon=True).start()
		threading.Thread(target=serve, daemon=True).start()
		while True:
		    connection, _ = tcp.accept()
		    connection.shutdown(socket.SHUT_WR)
		    connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
		    connection.close()
	EOF
	python3 "$NODE/upstream.py" 3>&- &
	resolver_start
	served hostile evil web 127.0.0.9:5300
	served victim good web
	worker=$(resolver_worker)
	for n in 1 2 3; do
		in_netns hostile dig +time=4 +tries=1 @fd12::10 "flood-$n.example.com" >/dev/null 3>&- &
	done
	in_netns victim "${HOSTILE[@]}" measure web.railway.internal 3
	for n in $(seq 1 50); do
		in_netns hostile dig +time=2 +tries=1 +ignore @fd12::10 "$n.reset.example.com" >/dev/null 3>&- &
	done
	in_netns victim "${HOSTILE[@]}" measure web.railway.internal 1
	[ "$(resolver_worker)" = "$worker" ]
}

@test "the worker's filter: no Unix sockets, no netlink, no files, no other program, no other process" {
	"$TOOLS/filter_probe" >"$NODE/calls"
	outcome() {
		awk -v call="$1" '$1 == call {print $2}' "$NODE/calls"
	}
	for call in udp_socket tcp_socket linger signal_itself map_data; do
		[ "$(outcome $call)" = allowed ]
	done
	refused="unix_stream unix_datagram unix_seqpacket unix_by_upper_half unix_pair netlink packet vsock raw ping mptcp
		bind listen attach_filter peer_credentials ioctl memory_file signal_other pidfd_open map_code"
	killed="execve setns unshare io_uring bpf pidfd_getfd"
	# A sanitizer's runtime needs some that the worker does not.
	if [ "$VARIANT" != asan ]; then
		[ "$(outcome open)" = ENOENT ]
		refused+=" set_nonblocking duplicate signal_thread_of_other make_dumpable limits"
		killed+=" clone clone3 ptrace read_memory"
	fi
	for call in $refused; do
		[ "$(outcome "$call")" = EPERM ] || { grep "^$call " "$NODE/calls"; return 1; }
	done
	for call in $killed; do
		[ "$(outcome "$call")" = killed ] || { grep "^$call " "$NODE/calls"; return 1; }
	done
	refute grep crashed "$NODE/calls"
	# The second wall, alone.
	if [ "$VARIANT" != asan ]; then
		if python3 -c 'import ctypes, sys; sys.exit(ctypes.CDLL(None).syscall(444, None, 0, 1) < 6)'; then
			"$TOOLS/filter_probe" landlock >"$NODE/calls.landlock"
			grep -qx 'open EACCES' "$NODE/calls.landlock"
			grep -qx 'signal_other EPERM' "$NODE/calls.landlock"
			grep -qx 'udp_socket allowed' "$NODE/calls.landlock"
		else
			echo "# this kernel has no Landlock of version 6: not tested" >&3
		fi
	fi
	refute grep '^other_abi allowed' "$NODE/calls"
}

@test "while somebody holds the live store, packets and requests are served" {
	resolver_start
	served victim good web
	served gone good api
	holder store "${HOSTILE[@]}" lock "$(find /run/railway -name write.lock)"
	ip netns del gone
	eventually grep -q "netns is gone" "$NODE/resolver.log"
	for _ in $(seq 1 5); do
		timeout 1 "$TOOLS/resolver_tool" ask /run/railway/resolver.sock status
		answered victim AAAA web.railway.internal
	done
	refute answered victim AAAA gone.api.railway.internal
	release store
	eventually bash -c "'$TOOLS/resolver_tool' show /var/lib/railway /run/railway gone | grep -q ^dead"
}

@test "a daemon that was started with SIGCHLD ignored still sees its worker die" {
	mkdir "$NODE/bin"
	printf '#!/bin/sh\nexec env --ignore-signal=CHLD %s/railway-resolverd "$@"\n' "$BIN" >"$NODE/bin/railway-resolverd"
	chmod +x "$NODE/bin/railway-resolverd"
	BIN=$NODE/bin resolver_start
	served victim good web
	worker=$(resolver_worker)
	kill -KILL "$worker"
	eventually answered victim AAAA web.railway.internal
	[ -n "$(resolver_worker)" ]
	[ "$(resolver_worker)" != "$worker" ]
}

@test "a resolv.conf that is too large, or a FIFO: the node's nameservers stay" {
	python3 "$BATS_TEST_DIRNAME/../lib/fake_dns.py" 127.0.0.2 53 192.0.2.2 3>&- &
	until dig +time=1 +tries=1 @127.0.0.2 +short A example.com | grep -q 192.0.2.2; do :; done
	file=$(readlink -f /etc/resolv.conf)
	echo "nameserver 127.0.0.2" >"$NODE/resolv.conf"
	mount --bind "$NODE/resolv.conf" "$file"
	resolver_start
	served victim good web
	answered victim A example.com
	head -c 100000 /dev/zero | tr '\0' '#' >"$NODE/resolv.conf"
	kill -HUP "$RESOLVER"
	eventually grep -q "nameservers cannot be read" "$NODE/resolver.log"
	answered victim A example.com
	mkfifo "$NODE/fifo"
	umount "$file"
	mount --bind "$NODE/fifo" "$file"
	kill -HUP "$RESOLVER"
	eventually grep -q "no regular file" "$NODE/resolver.log"
	timeout 1 "$TOOLS/resolver_tool" ask /run/railway/resolver.sock status
	# dig reads the file too, and shall see another one than the resolver does.
	echo "nameserver 127.0.0.2" >"$NODE/plain"
	unshare --mount --propagation private sh -c '
		umount "$1" && mount --bind "$2" "$1" && nsenter --net=/run/netns/victim \
			dig +time=1 +tries=1 @fd12::10 +short A example.com' sh "$file" "$NODE/plain" | grep -q 192.0.2.2
}
