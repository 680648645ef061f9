#include "cmd/railwayctl/attention.h"

#include <errno.h>
#include <string.h>

#include "pkg/base/cleanup.h"
#include "pkg/base/file.h"
#include "pkg/dns/registration.h"
#include "pkg/net/netns.h"
#include "pkg/store/cluster.h"

enum { PROBLEM_SIZE = 128, SUBJECT_SIZE = RAIL_CONTAINER_ID_SIZE + IFNAMSIZ };

static const struct table_column columns[] = {
	{"what", "ATTENTION", TABLE_TEXT},
	{"subject", "SUBJECT", TABLE_TEXT},
	{"problem", "PROBLEM", TABLE_TEXT},
	{"remedy", "WHAT TO DO", TABLE_TEXT},
};

static const struct {
	const char *word;
	const char *remedy;
} kinds[ATTENTION_KINDS] = {
	[ATTENTION_STORES] = {"stores", "as the problem says; no pod can be added or deleted "
					"meanwhile"},
	[ATTENTION_TRANSPORT] = {"transport", "as the problem says, on the node itself: in a "
					      "container wireguard-go may not be seen"},
	[ATTENTION_RESOLVER] = {"resolver", "systemctl status railway-resolverd; its log: "
					    "journalctl -u railway-resolverd"},
	[ATTENTION_MESHD] = {"meshd", "systemctl status railway-meshd; its log: journalctl -u "
				      "railway-meshd"},
	[ATTENTION_ENVIRONMENT] = {"environment", "end its pods on this node: then it takes the "
						  "cluster's /48"},
	[ATTENTION_DEAD] = {"dead", "nothing: the next pod of its environment clears it away; at "
				    "once: DEL of it, or GC, by the runtime"},
	[ATTENTION_PENDING] = {"pending", "nothing: the next pod of its environment undoes it; at "
					  "once: DEL of it, or GC, by the runtime"},
	[ATTENTION_GONE] = {"gone", "nothing: railway-resolverd marks it dead within a minute, "
				    "where it runs; at once: DEL of it, by the runtime"},
	[ATTENTION_CARRIER] = {"carrier", "end the pod and start it anew: its key is lost"},
	[ATTENTION_NAMES] = {"names", "why: journalctl -u railway-resolverd; a restart of it "
				      "registers every pod anew"},
	[ATTENTION_UNPUBLISHED] = {"unpublished", "railwayctl members; why: journalctl -u "
						  "railway-meshd"},
};

void attention_init(struct attention *attention)
{
	*attention = (struct attention){.table = TABLE_OF(columns)};
}

void attention_done(struct attention *attention)
{
	table_done(&attention->table);
}

static void put(struct attention *attention, enum attention_kind kind, const char *subject,
		const char *problem)
{
	table_put_text(&attention->table, kinds[kind].word);
	table_put_text(&attention->table, subject);
	table_put_text(&attention->table, problem);
	table_put_text(&attention->table, kinds[kind].remedy);
}

void attention_add(struct attention *attention, enum attention_kind kind, const char *subject,
		   const char *problem)
{
	if (attention->counts[kind]++ < ATTENTION_LISTED_MAXIMUM)
		put(attention, kind, subject, problem);
}

void attention_close(struct attention *attention)
{
	for (int kind = 0; kind < ATTENTION_KINDS; kind++) {
		char problem[PROBLEM_SIZE];

		if (attention->counts[kind] <= ATTENTION_LISTED_MAXIMUM)
			continue;
		(void)snprintf(problem, sizeof(problem), "and %zu more like it",
			       attention->counts[kind] - ATTENTION_LISTED_MAXIMUM);
		put(attention, (enum attention_kind)kind, NULL, problem);
	}
}

static void add_pod(struct attention *attention, enum attention_kind kind,
		    const struct rail_attachment *pod, const char *problem)
{
	char subject[SUBJECT_SIZE];

	(void)snprintf(subject, sizeof(subject), "%s %s", pod->key.container_id,
		       pod->key.interface);
	attention_add(attention, kind, subject, problem);
}

/*
 * Whether a plugin died at the pod: 1 or 0. One that is through with it stores that and ends: whom
 * the store still names when he is seen to be dead died.
 */
static int plugin_died(struct ctl *ctl, const struct rail_attachment *pod, struct rail_error *error)
{
	RAIL_CLEANUP(rail_transaction_abort) struct rail_transaction *live = NULL;
	struct rail_attachment now;

	if (pod->owner.pid == 0 || rail_process_alive(&pod->owner))
		return 0;
	int result = rail_transaction_begin(ctl->store, RAIL_LIVE, RAIL_READ, &live, error);
	if (result == 0)
		result = rail_attachment_get(live, &pod->key, &now, error);
	if (result < 0)
		return result == -ENOENT ? 0 : result;
	return now.owner.pid == pod->owner.pid && now.owner.start_time == pod->owner.start_time;
}

static bool netns_is_gone(const struct rail_attachment *pod)
{
	RAIL_CLOSE int fd = -EBADF;
	int result = rail_netns_reopen(pod->netns_path, &pod->netns, &fd);

	return result == -ENOENT || result == -ESTALE;
}

static int judge_pod(struct attention *attention, struct ctl *ctl,
		     const struct rail_attachment *pod, struct rail_error *error)
{
	const struct rail_process *carrier = &pod->interface.process;
	char problem[PROBLEM_SIZE];

	if (pod->state == RAIL_DEAD) {
		add_pod(attention, ATTENTION_DEAD, pod, "its netns went without a DEL");
		return 0;
	}
	if (pod->owner.pid != 0) {
		int died = plugin_died(ctl, pod, error);

		(void)snprintf(problem, sizeof(problem),
			       "process %d was at work on it, and is gone", (int)pod->owner.pid);
		if (died > 0)
			add_pod(attention, ATTENTION_PENDING, pod, problem);
		return died < 0 ? died : 0;
	}
	if (pod->state != RAIL_READY || (pod->parts & RAIL_PART_INTERFACE) == 0)
		return 0;
	if (netns_is_gone(pod)) {
		add_pod(attention, ATTENTION_GONE, pod,
			"its netns is gone, and no DEL has come yet");
	} else if (carrier->pid != 0 && !rail_process_alive(carrier)) {
		(void)snprintf(problem, sizeof(problem),
			       "its wireguard-go, process %d, is gone: no packet comes through",
			       (int)carrier->pid);
		add_pod(attention, ATTENTION_CARRIER, pod, problem);
	}
	return 0;
}

static bool should_have_names(const struct rail_attachment *pod)
{
	return pod->state == RAIL_READY && pod->owner.pid == 0 &&
	       (pod->parts & RAIL_PART_NAME) != 0;
}

/* What the resolver says of a pod that a plugin is at work on now means nothing. */
static bool still_should(struct ctl *ctl, const struct rail_attachment_key *key)
{
	RAIL_CLEANUP(rail_transaction_abort) struct rail_transaction *live = NULL;
	struct rail_attachment now;

	return rail_transaction_begin(ctl->store, RAIL_LIVE, RAIL_READ, &live, NULL) == 0 &&
	       rail_attachment_get(live, key, &now, NULL) == 0 && should_have_names(&now);
}

void attention_judge_names(struct attention *attention, struct ctl *ctl,
			   const struct snapshot *snapshot)
{
	const char *socket = ctl->settings.resolver_socket;
	int64_t end_ms = rail_monotonic_ms() + RESOLVER_ALL_MS;

	for (size_t i = 0; i < snapshot->attachment_count; i++) {
		const struct rail_attachment *pod = &snapshot->attachments[i];
		const struct rail_registration_request check = {
			.kind = RAIL_REGISTRATION_CHECK,
			.key = pod->key,
		};
		struct rail_error answer = RAIL_ERROR_NONE;

		if (rail_monotonic_ms() > end_ms) {
			attention_add(attention, ATTENTION_RESOLVER, socket,
				      "it is too slow to be asked for every pod");
			return;
		}
		if (!should_have_names(pod) ||
		    rail_registration_ask_within(socket, &check, -EBADF, RESOLVER_LIMIT_MS,
						 &answer) == 0)
			continue;
		if (answer.code != RAIL_CODE_CHECK_FAILED) {
			attention_add(attention, ATTENTION_RESOLVER, socket, answer.message);
			return;
		}
		if (still_should(ctl, &pod->key))
			add_pod(attention, ATTENTION_NAMES, pod, answer.message);
	}
}

static void judge_members(struct attention *attention, const struct snapshot *snapshot,
			  const struct rail_environment *environment)
{
	char problem[PROBLEM_SIZE];
	size_t count;
	size_t unpublished = 0;
	const struct rail_member *members =
		snapshot_members(snapshot, &environment->prefix, &count);

	for (size_t i = 0; i < count; i++)
		unpublished += members[i].local && !members[i].published;
	if (unpublished == 0)
		return;
	(void)snprintf(problem, sizeof(problem), "other nodes do not know %zu of its pods here",
		       unpublished);
	attention_add(attention, ATTENTION_UNPUBLISHED, environment->name, problem);
}

/* Those that the cluster knows under another /48: no pod may join them here. */
static int judge_refusals(struct attention *attention, struct ctl *ctl,
			  const struct snapshot *snapshot, struct rail_error *error)
{
	RAIL_CLEANUP(rail_transaction_abort) struct rail_transaction *registry = NULL;

	if (ctl->settings.cluster.endpoint_count == 0 || snapshot->environment_count == 0)
		return 0;
	int result = rail_transaction_begin(ctl->store, RAIL_REGISTRY, RAIL_READ, &registry, error);
	for (size_t i = 0; result == 0 && i < snapshot->environment_count; i++) {
		const char *name = snapshot->environments[i].name;
		struct rail_error refusal = RAIL_ERROR_NONE;

		result = rail_environment_check_refused(registry, name, &refusal);
		if (result == -EREMCHG) {
			attention_add(attention, ATTENTION_ENVIRONMENT, name, refusal.message);
			result = 0;
		} else if (result < 0 && error != NULL) {
			*error = refusal;
		}
	}
	return result;
}

int attention_judge(struct attention *attention, struct ctl *ctl, const struct snapshot *snapshot,
		    struct rail_error *error)
{
	int result = judge_refusals(attention, ctl, snapshot, error);

	for (size_t i = 0; result == 0 && i < snapshot->attachment_count; i++)
		result = judge_pod(attention, ctl, &snapshot->attachments[i], error);
	for (size_t i = 0; result == 0 && i < snapshot->environment_count; i++)
		judge_members(attention, snapshot, &snapshot->environments[i]);
	return result;
}
