#!/usr/bin/env bats
# railwayctl: what an operator is shown of a node, and what he may change.
bats_require_minimum_version 1.5.0
load common
load serve
load ctl

@test "a node where nothing ever ran: it is said, lists are empty, and nothing is made" {
	for list in environments pods; do
		ctl $list
		[ "$status" = 0 ]
		[ "${#lines[@]}" = 1 ]
		[[ $stderr == *"no pod was ever added"* ]]
		shows ".$list == []" $list
	done
	ctl status
	[ "$status" = 1 ]
	grep -qE '^registry is there +no$' <<<"$output"
	shows '.registryThere == false and .liveThere == false and .environments == 0 and (.attention | map(.what)) == ["resolver"]' status
	fails "there is no environment 'production'" services production
	fails "knows no container 'one'" peers one
	fails "no registry store in '/var/lib/railway/registry'" disable production
	fails "no registry store in '/var/lib/railway/registry'" remove production
	[ ! -e /var/lib/railway ]
	[ ! -e /run/railway ]
}

@test "after a boot without pods: the registry is shown and maintained, and no live store is made" {
	resolver_start
	pod_add one production api
	pod_del one
	resolver_stop
	rm -rf /run/railway
	ctl pods
	[ "$status" = 0 ]
	[[ $stderr == *"since it booted"* ]]
	shows '.registryThere and (.liveThere | not) and .environments == 1' status
	ctl remove production api
	[ "$status" = 0 ]
	ctl remove production
	[ "$status" = 0 ]
	shows '.environments == []' environments
	[ ! -e /run/railway ]
}

@test "a node as it should be: status says so, counts, and exits with 0" {
	two_environments
	ctl status
	[ "$status" = 0 ]
	[ "${lines[-1]}" = "nothing needs attention" ]
	grep -qE '^pods ready +4$' <<<"$output"
	shows ".version == \"$("$BIN/railwayctl" --version | cut -d' ' -f2)\" and .transport == \"$(expected_transport)\" and .resolverAnswers
		and .registryThere and .liveThere and .meshSocket == null and .meshAnswers == null and .node == 1" status
	shows '.environments == 2 and .services == 4 and .podsReady == 4 and .podsPending + .podsDead + .podsDisabled == 0
		and .membersLocal == 4 and .membersRemote + .membersUnpublished == 0 and .attention == []' status
}

@test "the lists: each as text and as JSON, from the stores" {
	two_environments
	for list in environments pods; do same_as_text $list $list; done
	for list in services members; do same_as_text $list $list production; done
	same_as_text pods pods staging
	shows '.environments == [.environments[] | select(.enabled)] and (.environments | map([.environment, .services, .localPods, .members]))
		== [["production", 3, 3, 3], ["staging", 1, 1, 1]]' environments
	shows '.services | map([.service, .originalName, .replicas, .localReplicas])
		== [["api", null, 1, 1], ["my-api", "My api", 1, 1], ["web", null, 1, 1]]' services production
	"$TOOLS/mesh_tool" members /var/lib/railway /run/railway production 1 2
	shows '.services | map(.replicas) == [1, 1, 1]' services production
	shows ".pods | map([.environment, .service, .replica, .state, .interface, .netns])
		== [[\"staging\", \"api\", \"other\", \"ready\", \"eth0\", \"/run/netns/other\"]]" pods staging
	shows ".pods | map(select(.containerId == \"one\").address) == [\"$(pod_address one)\"]" pods
	shows '[.members[] | select(.local and .named and .published and .node == 1)] | map(.replica) | sort == ["one", "three", "two"]' \
		members production
	shows '[.members[] | select(.local | not)] | map([.service, .replica, .node, .endpoint])
		== [[null, "remote-1", 9, "127.0.0.1:9"], [null, "remote-2", 9, "127.0.0.1:9"]]' members production
	shows ".members | map(select(.replica == \"two\").publicKey) == [\"$(pod_wg two show public-key)\"]" members production
	shows '.membersLocal == 4 and .membersRemote == 2' status
}

@test "a pod that went without a DEL: dead, until the next one of its environment clears it away" {
	two_environments
	ip netns del two
	eventually shows '.podsDead == 1' status
	needs dead '^two eth0 its netns went'
	shows '.pods | map(select(.containerId == "two").state) == ["dead"]' pods
	pod_add four production web
	shows '.podsDead == 0 and .attention == []' status
}

@test "without a resolver that would notice: a pod whose netns is gone, and one whose packets nobody carries" {
	two_environments
	resolver_stop
	ip netns del two
	[ "$TRANSPORT" = kernel ] || kill_carrier three
	needs gone '^two eth0'
	[ "$TRANSPORT" = kernel ] || needs carrier '^three eth0 its wireguard-go'
}

@test "a plugin that is at work, and one that was killed at it" {
	resolver_start
	pod_add one production api
	ip netns add two
	mkfifo "$NODE/reached" "$NODE/go"
	RAIL_PAUSE="membership-read $NODE" CNI_COMMAND=ADD CNI_CONTAINERID=two CNI_NETNS=/run/netns/two CNI_IFNAME=eth0 \
		"$PAUSES/railway-mesh" <<<"$(config railway-mesh '"ipam":{"type":"railway-ipam"},"service":"api","environment":"production"')" \
		>"$NODE/paused" 2>&1 3>&- &
	paused=$!
	read -r -t 30 _ <"$NODE/reached"
	# The environment's lock is held meanwhile, and nobody waits for it.
	shows '.podsPending == 1 and .attention == []' status
	shows '.pods | map(select(.containerId == "two").state) == ["pending"]' pods
	shows '.containerId == "one"' peers one
	kill -KILL $paused
	wait $paused || true
	needs pending "^two eth0 process $paused was at work"
	pod_add four production web
	shows '.podsPending == 0 and .attention == []' status
}

@test "a resolver that is stopped, or hangs: status says so in a moment, and exits with 1" {
	two_environments
	kill -STOP "$RESOLVER"
	run timeout 20 "$BIN/railwayctl" status
	[ "$status" = 1 ]
	grep -qE '^resolver answers +no$' <<<"$output"
	needs resolver 'did not answer within 2 s'
	kill -CONT "$RESOLVER"
	eventually shows '.resolverAnswers' status
	resolver_stop
	needs resolver '/run/railway/resolver.sock nobody serves'
	shows '.resolverAnswers == false and .podsReady == 4' status
}

@test "a pod that the resolver does not know: status names it; a restart of the resolver registers it anew" {
	two_environments
	shows '.attention == []' status
	NETWORK=railway "$TOOLS/resolver_tool" ask /run/railway/resolver.sock remove two
	needs names '^two eth0 the attachment is not registered with railway-resolverd'
	shows '.attention | map(.what) == ["names"]' status
	resolver_stop
	shows '.attention | map(.what) == ["resolver"]' status
	resolver_start
	shows '.attention == []' status
}

@test "disable and enable: the next ADD goes by it, and a pod that runs keeps its network" {
	resolver_start
	pod_add one production api
	ctl disable production
	[ "$status" = 0 ]
	[[ $output == *"new pods get no private network; those that run keep theirs"* ]]
	shows '.environments[0].enabled == false' environments
	pod_add two production web
	refute ip -n two link show eth0
	shows '.pods | map([.replica, .state]) == [["one", "ready"], ["two", "disabled"]]' pods production
	fails 'no WireGuard device: it is disabled' peers two
	pod_check one
	ctl --json enable production
	[ "$output" = '{"environment":"production","enabled":true}' ]
	pod_add three production web
	[ "$(peers one)" = "$(members_but one one three)" ]
	shows '.podsReady == 2 and .podsDisabled == 1 and .attention == []' status
	fails "there is no environment 'nothing'" disable nothing
}

@test "remove: refused while something lives, and done when nothing does" {
	two_environments
	fails "'production' still has replicas.*pods of this node: 3, members: 3" remove production
	fails "'web' still has replicas.*pods of this node: 1, members: 1" remove production web
	fails "no service 'nothing'" remove production nothing
	fails "no environment 'nothing'" remove nothing
	shows '.environments | map(.services) == [3, 1]' environments
	pod_del two
	ctl remove production web
	[ "$status" = 0 ]
	shows '.services | map(.service) == ["api", "my-api"]' services production
	pod_del other
	ctl --json remove staging
	[ "$output" = '{"environment":"staging","service":null,"removed":true}' ]
	shows '.environments | map(.environment) == ["production"]' environments
	pod_add two production web
	pod_check two
}

@test "a tenant has filled the registry: a known service's ADD succeeds, a new one's says so, and the node stays ready" {
	resolver_start
	pod_add one production api >/dev/null
	"$TOOLS/resolver_tool" crowd /var/lib/railway /run/railway
	plugin railway-ipam STATUS "$(CNI_VERSION=1.1.0 config railway-ipam)"
	[ "$status" = 0 ] || { echo "$output"; return 1; }
	pod_add two production api >/dev/null
	pod_check two
	pod_del two
	run pod_add new elsewhere fresh
	output=$(tail -1 <<<"$output")
	expect_error 5 "the registry store in '/var/lib/railway[^']*' is full \(256 MiB\)"
	pod_del new
	# Taking away writes, too, and finds the room for it.
	"$BIN/railwayctl" remove "$("$BIN/railwayctl" --json environments | jq -r '[.environments[].environment | select(startswith("crowd"))] | last')"
	"$TOOLS/resolver_tool" disperse /var/lib/railway /run/railway
	pod_add new elsewhere fresh >/dev/null
	pod_del new
	pod_del one
	[ -z "$(leftovers)" ]
}

@test "a node of a cluster: removal is refused, the flag is its own, a meshd that does not answer is told" {
	resolver_start
	pod_add one production api
	echo '{ "cluster": { "endpoints": ["http://127.0.0.1:9"] } }' >"$NODE/railway.json"
	fails 'etcd holds' --config "$NODE/railway.json" remove production
	fails 'etcd holds' --config "$NODE/railway.json" remove production api
	shows '.environments | length == 1' environments
	ctl --config "$NODE/railway.json" disable production
	[[ $output == *"on this node (and on no other: the flag is not shared)"* ]]
	ctl enable production
	shows '.attention == []' status
	shows '.meshSocket == "/run/railway/mesh.sock" and .meshAnswers == false
		and (.attention | map([.what, .subject])) == [["meshd", "/run/railway/mesh.sock"]]' --config "$NODE/railway.json" status
}

@test "names from outside: nothing of them reaches a terminal as more than text" {
	escape=$'\e'
	ip netns add pod
	keys='"ipam":{"type":"railway-ipam"}'
	plugin railway-mesh ADD "$(config railway-mesh "$keys,\"environment\":\"a\\u001b[31m\",\"service\":\"api\"")"
	expect_error 7 'not printable ASCII'
	plugin railway-mesh ADD "$(config railway-mesh "$keys,\"environment\":\"a  b\\\\x1b\",\"service\":\"api\\u001b[31m\\u009b\\u000a\\u202e\"")"
	[ "$status" = 0 ]
	for command in "environments" "pods" "status" "peers pod"; do
		ctl $command
		refute grep -qP '[^\n -~]' <<<"$output"
	done
	ctl environments
	grep -qF 'a \x20b\x5cx1b  fd' <<<"$output"
	ctl services 'a  b\x1b'
	[ "$status" = 0 ]
	[ "${#lines[@]}" = 2 ]
	grep -qF 'api\x1b[31m\xc2\x9b\x0a\xe2\x80\xae' <<<"$output"
	ctl --json services 'a  b\x1b'
	refute grep -qP '[^\n -~]' <<<"$output"
	[ "$(jq -r '.services[0].originalName' <<<"$output")" = "api$escape[31m"$'\u009b\n\u202e' ]
	for word in "$escape]0;x" $'\u009b31m'; do
		ctl services "$word"
		[ "$status" = 3 ]
		refute grep -qP '[^\n -~]' <<<"$stderr"
		ctl "$word"
		[ "$status" = 2 ]
		refute grep -qP '[^\n -~]' <<<"$stderr"
	done
}

@test "wrong usage: 2, and how to use it; --help and --version need no node" {
	for words in "" "nothing" "services" "services one two" "pods one two" "status one" "peers" "peers a b c" "remove a b c" \
		"--nothing" "--config" "status --nothing"; do
		ctl $words
		[ "$status" = 2 ] || { echo "$words: $status"; return 1; }
		[ -z "$output" ]
		grep -q 'usage: railwayctl' <<<"$stderr"
	done
	ctl --help
	[ "$status" = 0 ]
	for command in status environments services pods members peers enable disable remove; do
		grep -qE "^  $command " <<<"$output"
	done
	ctl --version
	[[ $output =~ ^railwayctl\ [0-9.]+$ ]]
}

@test "it cannot be done: 3, and why" {
	fails "'$NODE/none.json'.* does not exist" --config "$NODE/none.json" status
	echo '{' >"$NODE/broken.json"
	fails 'invalid JSON' --config "$NODE/broken.json" pods
	echo '{ "stateDirectry": "/x" }' >"$NODE/misspelt.json"
	fails "did you mean 'stateDirectory'" --config "$NODE/misspelt.json" pods
	cp "$BIN/railwayctl" "$NODE/railwayctl"
	run --separate-stderr setpriv --reuid=65534 --regid=65534 --clear-groups "$NODE/railwayctl" status
	[ "$status" = 3 ]
	[[ $stderr == *"only root"* ]]
	run --separate-stderr bash -c '"$0" pods >/dev/full' "$BIN/railwayctl"
	[ "$status" = 3 ]
	[[ $stderr == *"standard output"* ]]
}

@test "the node's file says where to look; stores that cannot be read are one more thing that status shows" {
	echo "{ \"stateDirectory\": \"$NODE/state\", \"runDirectory\": \"$NODE/run\" }" >"$NODE/railway.json"
	node_conflist "$CONFLIST" "\"config\": \"$NODE/railway.json\"" "\"config\": \"$NODE/railway.json\""
	resolver_start --config "$NODE/railway.json"
	pod_add one production api
	shows '.pods == []' pods
	shows '.pods | map(.replica) == ["one"]' --config "$NODE/railway.json" pods
	shows ".attention == [] and .registry == \"$NODE/state/registry\" and .live == \"$NODE/run/live\"" --config "$NODE/railway.json" status
	chmod 0722 "$NODE/state/registry"
	fails 'chmod go-w' --config "$NODE/railway.json" pods
	shows '.registryThere == null and .environments == null and .resolverAnswers
		and (.attention | map(.what)) == ["stores"]' --config "$NODE/railway.json" status
	chmod 0700 "$NODE/state/registry"
}
