#include "plugins/railway-mesh/meshd/wire.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "pkg/base/cleanup.h"
#include "pkg/base/log.h"
#include "pkg/mesh/wiring.h"
#include "plugins/railway-mesh/meshd/greeter.h"
#include "plugins/railway-mesh/meshd/notices.h"
#include "plugins/railway-mesh/meshd/workers.h"

enum {
	SILENT_RETRY_MINIMUM_MS = 1000,
	SILENT_RETRY_MAXIMUM_MS = 60000,
	/* A session that is older than this no longer keeps an endpoint (pkg/wg). */
	REPAIR_MS = 185000,
};

struct pod_task {
	struct meshd_task task;
	struct wiring *wiring;
	const struct rail_attachment *pod;
	const struct rail_changes *changes; /* NULL: a repair */
	bool was_silent;
	int result;
	struct rail_error error;
};

struct wiring {
	struct environment *environment;
	struct wire_job job;
	struct rail_membership membership;
	/* What the changes are borrowed from. */
	struct rail_device gone;
	struct rail_device added;
	struct rail_changes changes;
	struct pod_task *tasks;
	size_t task_count;
	size_t left;
	size_t awaited; /* of those: pods that answered until now */
	/* Pods that do not answer: of before, which were not asked, and new ones. */
	struct rail_attachment_key *silent;
	size_t silent_count;
	bool has_new_silent;
	bool asked_silent;
	struct pod_task nobody; /* in the place of pods that answer, where there are none */
};

static void free_wiring(struct wiring *wiring)
{
	rail_environment_lock_abandon(&wiring->job.lock);
	free(wiring->job.steps);
	rail_changes_done(&wiring->changes);
	rail_device_done(&wiring->gone);
	rail_device_done(&wiring->added);
	rail_membership_done(&wiring->membership);
	free(wiring->tasks);
	free(wiring->silent);
	free(wiring);
}

/* ---- in a thread ---- */

static void work(struct meshd_task *task)
{
	struct pod_task *pod_task = (struct pod_task *)task;

	pod_task->result =
		pod_task->changes != NULL
			? rail_wiring_change_pod(pod_task->pod, pod_task->changes, &pod_task->error)
			: rail_wiring_repair_pod(pod_task->pod, &pod_task->wiring->membership,
						 &pod_task->error);
}

static void do_nothing(struct meshd_task *task)
{
	(void)task;
}

/* ---- in the loop ---- */

static void tell(const struct wiring *wiring)
{
	struct environment *environment = wiring->environment;

	for (size_t i = 0; i < wiring->job.step_count; i++)
		meshd_notices_add(environment->meshd->notices,
				  &wiring->job.steps[i].member.address);
}

static void greet(const struct wiring *wiring)
{
	struct environment *environment = wiring->environment;
	bool kept = false;

	for (size_t i = 0; i < wiring->job.step_count; i++) {
		const struct wire_step *step = &wiring->job.steps[i];

		if (step->is_new)
			meshd_greet(environment->meshd->greeter, environment, &step->member);
		kept = kept || (!step->gone && !step->is_new);
	}
	/* Endpoints that were too fresh to be rewritten. */
	if (kept)
		rail_timer_start(environment->repair_timer, REPAIR_MS);
}

static void note_silent(struct wiring *wiring, const struct pod_task *task)
{
	wiring->silent[wiring->silent_count++] = task->pod->key;
	if (task->was_silent)
		return;
	wiring->has_new_silent = true;
	rail_log(RAIL_LOG_WARN,
		 "a pod's WireGuard does not answer: it is asked again now and then, and "
		 "meanwhile reaches none of the members that come",
		 "environment", wiring->environment->name, "container", task->pod->key.container_id,
		 "error", task->error.message, NULL);
}

static void keep_silent(struct wiring *wiring)
{
	struct environment *environment = wiring->environment;

	free(environment->silent);
	environment->silent = RAIL_TAKE_POINTER(wiring->silent);
	environment->silent_count = wiring->silent_count;
	if (environment->silent_count == 0) {
		environment->silent_retry_ms = 0;
		rail_timer_stop(environment->silent_timer);
		return;
	}
	if (wiring->has_new_silent)
		environment->silent_retry_ms = SILENT_RETRY_MINIMUM_MS;
	else if (wiring->asked_silent)
		environment->silent_retry_ms *= 2;
	else
		return;
	if (environment->silent_retry_ms > SILENT_RETRY_MAXIMUM_MS)
		environment->silent_retry_ms = SILENT_RETRY_MAXIMUM_MS;
	rail_timer_start(environment->silent_timer, environment->silent_retry_ms);
}

/* Every pod that answers has it: nobody waits for the others. */
static void settle(struct wiring *wiring)
{
	struct environment *environment = wiring->environment;

	environment->was_applied = true;
	tell(wiring);
	greet(wiring);
	for (size_t i = 0; i < wiring->task_count; i++) {
		const struct pod_task *task = &wiring->tasks[i];

		if (!task->was_silent && task->result < 0 && task->result != -ENODEV &&
		    task->result != -ETIMEDOUT)
			environment->needs_repair = true;
	}
	if (wiring->left > 0)
		environment_apply(environment);
}

static void finish(struct wiring *wiring)
{
	struct environment *environment = wiring->environment;
	struct rail_error all = RAIL_ERROR_NONE;

	for (size_t i = 0; i < wiring->task_count; i++) {
		const struct pod_task *task = &wiring->tasks[i];

		if (task->result == -ETIMEDOUT)
			note_silent(wiring, task);
		/* One that went meanwhile is nobody's failure. */
		else if (task->result < 0 && task->result != -ENODEV)
			rail_error_collect(&all, &task->error);
	}
	/* The next holder repairs what could not be set. */
	if (all.errnum == 0 && wiring->silent_count == 0)
		rail_environment_lock_finish(&wiring->job.lock, false);
	keep_silent(wiring);
	environment->wiring = NULL;
	free_wiring(wiring);
	environment_wired(environment, &all);
}

static void done(struct meshd_task *task)
{
	struct pod_task *pod_task = (struct pod_task *)task;
	struct wiring *wiring = pod_task->wiring;

	if (task->dropped)
		pod_task->result = rail_fail(&pod_task->error, ECANCELED, "the daemon ends");
	wiring->left--;
	if (!pod_task->was_silent && --wiring->awaited == 0)
		settle(wiring);
	if (wiring->left == 0)
		finish(wiring);
}

static void done_nobody(struct meshd_task *task)
{
	struct wiring *wiring = ((struct pod_task *)task)->wiring;

	wiring->left--;
	wiring->awaited = 0;
	settle(wiring);
	if (wiring->left == 0)
		finish(wiring);
}

bool environment_is_silent(const struct environment *environment,
			   const struct rail_attachment_key *key)
{
	for (size_t i = 0; i < environment->silent_count; i++)
		if (rail_attachment_key_equal(&environment->silent[i], key))
			return true;
	return false;
}

bool environment_wiring_matters(const struct environment *environment)
{
	return environment->wiring != NULL && environment->wiring->awaited > 0;
}

/* One list for all pods: what goes comes first, so that a key or an address can come again. */
static int list_changes(struct wiring *wiring, struct rail_error *error)
{
	for (size_t i = 0; i < wiring->job.step_count; i++) {
		const struct rail_member *member = &wiring->job.steps[i].member;
		struct rail_device *device =
			wiring->job.steps[i].gone ? &wiring->gone : &wiring->added;

		if (rail_device_add_peer(device, &member->public_key, &member->endpoint,
					 &member->address) < 0)
			return rail_fail_errno(error, ENOMEM, "list the peers");
	}
	return rail_device_difference(&wiring->gone, &wiring->added, 0, &wiring->changes, error);
}

/* A pod that hangs is left out, but where it is its turn to be asked again. */
static int make_tasks(struct wiring *wiring, struct rail_error *error)
{
	const struct rail_membership *membership = &wiring->membership;

	wiring->tasks = calloc(membership->pod_count + 1, sizeof(*wiring->tasks));
	wiring->silent = calloc(membership->pod_count + 1, sizeof(*wiring->silent));
	if (wiring->tasks == NULL || wiring->silent == NULL)
		return rail_fail_errno(error, ENOMEM, "list the pods");
	for (size_t i = 0; i < membership->pod_count; i++) {
		const struct rail_attachment *pod = &membership->pods[i];
		bool is_silent = environment_is_silent(wiring->environment, &pod->key);
		bool repair = is_silent || wiring->job.repair;

		if (is_silent && !wiring->asked_silent) {
			wiring->silent[wiring->silent_count++] = pod->key;
			continue;
		}
		if (!repair && wiring->changes.count == 0)
			continue;
		wiring->tasks[wiring->task_count++] = (struct pod_task){
			.task = {.work = work, .done = done},
			.wiring = wiring,
			.pod = pod,
			.changes = repair ? NULL : &wiring->changes,
			.was_silent = is_silent,
		};
		wiring->awaited += !is_silent;
	}
	return 0;
}

int environment_wire(struct environment *environment, struct wire_job *job,
		     struct rail_error *error)
{
	RAIL_CLEANUP(rail_gone_done) struct rail_gone gone = {0};
	struct meshd *meshd = environment->meshd;
	struct wiring *wiring = calloc(1, sizeof(*wiring));
	int result;

	if (wiring == NULL) {
		rail_environment_lock_abandon(&job->lock);
		free(RAIL_TAKE_POINTER(job->steps));
		return rail_fail(error, ENOMEM, "no memory to set peers");
	}
	wiring->environment = environment;
	wiring->job = *job;
	*job = (struct wire_job){.lock = RAIL_ENVIRONMENT_LOCK_NONE};
	wiring->asked_silent = environment->ask_silent;

	result = rail_membership_read(meshd->store, &environment->prefix, &wiring->membership,
				      &gone, error);
	if (result == 0 && !wiring->job.repair)
		result = list_changes(wiring, error);
	if (result == 0)
		result = make_tasks(wiring, error);
	if (result < 0) {
		/* The store has it, so names may be told. */
		tell(wiring);
		free_wiring(wiring);
		return result;
	}
	environment->ask_silent = false;
	environment->wiring = wiring;
	wiring->left = wiring->task_count;
	for (size_t i = 0; i < wiring->task_count; i++)
		meshd_workers_start(meshd->workers, &wiring->tasks[i].task);
	if (wiring->awaited == 0) {
		wiring->awaited = 1;
		wiring->left++;
		wiring->nobody = (struct pod_task){
			.task = {.work = do_nothing, .done = done_nobody}, .wiring = wiring};
		meshd_workers_start(meshd->workers, &wiring->nobody.task);
	}
	return 0;
}
