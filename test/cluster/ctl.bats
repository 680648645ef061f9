#!/usr/bin/env bats
# railwayctl on a node of a cluster, which has members of other nodes and a daemon more.
bats_require_minimum_version 1.5.0
load nodes

status() { # NODE FILTER: what status says in JSON satisfies it
	on "$1" "$BIN/railwayctl" --config /run/node/railway.json --json status >"$WORK/status" || [ $? = 1 ]
	jq -e "$2" "$WORK/status" >/dev/null || { cat "$WORK/status"; return 1; }
}

ctl() { # NODE ARGUMENT...
	on "$1" "$BIN/railwayctl" --config /run/node/railway.json "${@:2}"
}

@test "railwayctl in a cluster: the node's number, members and peers of other nodes, what etcd does not know yet" {
	two_nodes
	number=$(ctl a --json status | jq .node)
	[ "$number" -gt 1 ]
	[ "$number" != "$(ctl b --json status | jq .node)" ]
	wait_until 10 status a '.meshAnswers and .membersLocal == 1 and .membersRemote == 1 and .attention == []'
	[ "$(ctl b --json members production | jq ".members[] | select(.local | not) | .node")" = "$number" ]
	ctl a --json members production | jq -e '[.members[] | select(.local | not)] == [.members[] |
		select(.replica == "two" and .service == "web" and (.endpoint | startswith("10.9.0.")))]'
	ctl a --json peers one | jq -e '.peers | map([.peer, .service, .replica]) == [["ok", "web", "two"]]
		and .[0].handshakeAgeSeconds >= 0 and .[0].receivedBytes > 0'
	run ctl a remove production
	[ "$status" = 3 ]
	cut a
	add a three production api
	wait_until 30 status a '.membersUnpublished == 1 and (.attention | map(.what) | sort) == ["meshd", "unpublished"]'
	mend a
	wait_until 30 status a '.membersUnpublished == 0 and .attention == []'
	status b '.membersRemote == 2'
}
