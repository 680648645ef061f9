#include "pkg/attachment/attachment.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "pkg/attachment/cluster.h"
#include "pkg/attachment/undo.h"
#include "pkg/base/cleanup.h"
#include "pkg/base/pause.h"
#include "pkg/net/link.h"
#include "pkg/store/cluster.h"

/* What a plugin adds, and what an earlier one must have added. */
static const struct plugin_parts {
	enum rail_plugin plugin;
	const char *name;
	uint32_t own;
	uint32_t before;
	const char *advice;
} plugin_parts[] = {
	{RAIL_PLUGIN_IPAM, "railway-ipam", RAIL_PART_LEASE, 0, ""},
	{RAIL_PLUGIN_MESH, "railway-mesh", RAIL_PART_INTERFACE | RAIL_PART_MEMBER, 0, ""},
	{RAIL_PLUGIN_DNS, "railway-dns", RAIL_PART_NAME, RAIL_PART_MEMBER,
	 "put railway-mesh before railway-dns in the list of plugins"},
};

static const struct plugin_parts *parts_of(enum rail_plugin plugin)
{
	for (size_t i = 0; i < sizeof(plugin_parts) / sizeof(plugin_parts[0]); i++)
		if (plugin_parts[i].plugin == plugin)
			return &plugin_parts[i];
	return &plugin_parts[0];
}

bool rail_attachment_is_delegated(const struct rail_operation *operation,
				  const struct rail_attachment *attachment)
{
	return attachment->state == RAIL_PENDING && operation->parent.pid != 0 &&
	       attachment->owner.pid == operation->parent.pid &&
	       attachment->owner.start_time == operation->parent.start_time;
}

static int decide_identity(const struct rail_operation *operation,
			   struct rail_identity *ret_identity, struct rail_error *error)
{
	const struct rail_settings *settings = &operation->settings;
	const struct rail_cni_call *call = operation->call;
	struct rail_claims claims = {
		.config_environment = settings->environment,
		.config_service = settings->service,
		.config_replica = settings->replica,
		.trust_arguments = settings->trust_arguments,
		.arguments = call->arguments,
		.cni_arguments = call->cni_arguments,
		.annotations = call->annotations,
		.container_id = call->container_id,
	};

	return rail_identity_decide(&claims, ret_identity, error);
}

int rail_attachment_check_agreement(const struct rail_operation *operation,
				    const struct rail_attachment *attachment,
				    struct rail_error *error)
{
	const struct rail_settings *settings = &operation->settings;
	const struct rail_identity *identity = &attachment->identity;

	if (!settings->enabled)
		return rail_fail_code(error, RAIL_CODE_INVALID_CONFIG, EINVAL,
				      "key 'enabled': false here, but an earlier plugin of the "
				      "chain was switched on; give it the same value in every "
				      "plugin");

	const struct {
		const char *key;
		const char *given;
		const char *stored;
		bool is_label;
	} names[] = {
		{"environment", settings->environment, identity->environment, false},
		{"service", settings->service, identity->service, true},
		{"replica", settings->replica, identity->replica, true},
	};

	for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++) {
		char label[RAIL_LABEL_SIZE];
		const char *given = names[i].given;

		if (given == NULL)
			continue;
		if (names[i].is_label) {
			int result = rail_label_make(names[i].key, given, false, label, error);
			if (result < 0)
				return result;
			given = label;
		}
		if (strcmp(given, names[i].stored) != 0)
			return rail_fail_code(
				error, RAIL_CODE_INVALID_CONFIG, EINVAL,
				"key '%s': '%s' here, but an earlier plugin of the chain decided "
				"'%s'; "
				"give it the same value in every plugin, or only in the first",
				names[i].key, given, names[i].stored);
	}
	return 0;
}

/* Nearly every ADD finds both there, and need not wait for a writer or for the disk. */
static int look_up(const struct rail_operation *operation, const struct rail_identity *identity,
		   struct rail_environment *ret_environment, struct rail_service *ret_service,
		   struct rail_error *error)
{
	RAIL_CLEANUP(rail_transaction_abort) struct rail_transaction *registry = NULL;

	int result = rail_transaction_begin(operation->store, RAIL_REGISTRY, RAIL_READ, &registry,
					    error);
	if (result == 0 && rail_operation_is_clustered(operation))
		result = rail_environment_check_refused(registry, identity->environment, error);
	if (result == 0)
		result = rail_environment_get(registry, identity->environment, ret_environment,
					      error);
	if (result == 0)
		result = rail_service_get(registry, &ret_environment->prefix, identity->service,
					  ret_service, error);
	return result;
}

static int make_both(const struct rail_operation *operation, const struct rail_identity *identity,
		     struct rail_environment *ret_environment, struct rail_service *ret_service,
		     struct rail_error *error)
{
	RAIL_CLEANUP(rail_transaction_abort) struct rail_transaction *registry = NULL;

	int result = rail_transaction_begin(operation->store, RAIL_REGISTRY, RAIL_WRITE, &registry,
					    error);
	if (result == 0)
		result = rail_environment_ensure(registry, identity->environment,
						 &operation->settings.pool, ret_environment, error);
	if (result == 0)
		result = rail_service_ensure(registry, &ret_environment->prefix, identity->service,
					     identity->service_original, ret_service, error);
	return result < 0 ? result : rail_transaction_commit(&registry, error);
}

static int ensure_registered(const struct rail_operation *operation,
			     struct rail_attachment *attachment, bool *ret_enabled,
			     struct rail_error *error)
{
	const struct rail_identity *identity = &attachment->identity;
	struct rail_environment environment = {0};
	struct rail_service service = {0};

	int result = look_up(operation, identity, &environment, &service, error);
	if (result == -ENOENT && rail_operation_is_clustered(operation)) {
		result = rail_cluster_ensure(operation, identity, error);
		if (result == 0)
			result = look_up(operation, identity, &environment, &service, error);
		if (result < 0)
			return result;
	}
	/* Of one that is there under another name this says so. */
	if (result == -ENOENT ||
	    (result == 0 && strcmp(service.original, identity->service_original) != 0))
		result = make_both(operation, identity, &environment, &service, error);
	if (result < 0)
		return result;
	attachment->prefix = environment.prefix;
	attachment->service = service.number;
	*ret_enabled = environment.enabled;
	return 0;
}

static int take_back(const struct rail_operation *operation, struct rail_error *error)
{
	RAIL_CLEANUP(rail_transaction_abort) struct rail_transaction *live = NULL;

	int result = rail_transaction_begin(operation->store, RAIL_LIVE, RAIL_WRITE, &live, error);
	if (result == 0)
		result = rail_attachment_delete(live, &operation->key, error);
	return result < 0 ? result : rail_transaction_commit(&live, error);
}

/* Whoever removes an environment or service looks for attachments first. One that was stored after
 * that look finds here that they are gone. */
static int check_still_registered(const struct rail_operation *operation,
				  const struct rail_attachment *attachment,
				  struct rail_error *error)
{
	struct rail_environment environment;
	struct rail_service service;

	int result = look_up(operation, &attachment->identity, &environment, &service, error);

	if (result == 0 && rail_prefix_equal(&environment.prefix, &attachment->prefix) &&
	    service.number == attachment->service)
		return 0;
	/* Whatever it is: an ADD that ends here leaves nothing. */
	if (result < 0 && result != -ENOENT) {
		(void)take_back(operation, NULL);
		return result;
	}
	result = take_back(operation, error);
	if (result < 0)
		return result;
	return rail_fail_code(error, RAIL_CODE_TRY_AGAIN, EAGAIN,
			      "its environment or service was removed at this moment");
}

static int begin_new(struct rail_operation *operation, const struct rail_netns_id *netns,
		     struct rail_attachment *ret_attachment, struct rail_error *error)
{
	RAIL_CLEANUP(rail_transaction_abort) struct rail_transaction *live = NULL;
	struct rail_attachment attachment = {
		.key = operation->key,
		.state = RAIL_PENDING,
		.owner = operation->self,
		.netns = *netns,
		.interface.nsid = RAIL_NSID_NONE,
	};
	struct rail_attachment existing;
	bool is_enabled = false;

	if (operation->plugin == RAIL_PLUGIN_DNS)
		return rail_fail_code(error, RAIL_CODE_INVALID_CONFIG, ENOENT,
				      "no private network was made for this attachment: %s",
				      parts_of(RAIL_PLUGIN_DNS)->advice);
	if (strlen(operation->call->netns) >= sizeof(attachment.netns_path))
		return rail_fail_code(error, RAIL_CODE_INVALID_ENVIRONMENT, ENAMETOOLONG,
				      "CNI_NETNS is longer than %zu bytes",
				      sizeof(attachment.netns_path) - 1);
	(void)snprintf(attachment.netns_path, sizeof(attachment.netns_path), "%s",
		       operation->call->netns);

	if (operation->settings.enabled) {
		bool enabled = true;

		int result = decide_identity(operation, &attachment.identity, error);
		if (result == 0)
			result = ensure_registered(operation, &attachment, &enabled, error);
		if (result < 0)
			return result;
		is_enabled = enabled;
		rail_pause("registered");
	}
	if (!is_enabled) {
		attachment.state = RAIL_DISABLED;
		attachment.owner = (struct rail_process){0};
	}

	int result = rail_transaction_begin(operation->store, RAIL_LIVE, RAIL_WRITE, &live, error);
	if (result < 0)
		return result;
	result = rail_attachment_get(live, &operation->key, &existing, error);
	if (result == 0)
		return rail_fail_code(error, RAIL_CODE_TRY_AGAIN, EAGAIN,
				      "another process began the same attachment at this moment");
	if (result != -ENOENT)
		return result;
	result = rail_attachment_put(live, &attachment, error);
	if (result == 0)
		result = rail_transaction_commit(&live, error);
	if (result == 0 && operation->settings.enabled)
		result = check_still_registered(operation, &attachment, error);
	if (result == 0)
		*ret_attachment = attachment;
	return result;
}

/*
 * Whether a complete attachment is gone: 1 where its netns is, or its interface; 0 where it lives;
 * a negative errno value where that cannot be told. netns_fd: of the call, where it is the same
 * netns.
 */
static int is_gone(const struct rail_attachment *attachment, int netns_fd)
{
	const struct rail_transport *transport =
		rail_transport_by_name(attachment->interface.transport);
	RAIL_CLOSE int fd = -1;
	int result = 0;

	if (netns_fd < 0) {
		result = rail_netns_reopen(attachment->netns_path, &attachment->netns, &fd);
		netns_fd = fd;
	}
	/* The number of a netns that is gone can be given to another one; what was made in it
	 * tells. */
	if (result == 0 && (attachment->parts & RAIL_PART_INTERFACE) != 0 && transport != NULL)
		result = transport->verify(netns_fd, &attachment->interface, NULL);
	if (result == -ENOENT || result == -ESTALE || result == -ENODEV || result == -ESRCH)
		return 1;
	return result;
}

static int fail_at_work(const struct rail_attachment *attachment, struct rail_error *error)
{
	return rail_fail_code(error, RAIL_CODE_TRY_AGAIN, EAGAIN,
			      "process %d is at work on attachment %s of container '%s'",
			      attachment->owner.pid, attachment->key.interface,
			      attachment->key.container_id);
}

/* 0 where the attachment is complete so far and this plugin's part is missing, 1 where it is dead.
 */
static int judge_complete(const struct rail_operation *operation,
			  const struct rail_attachment *attachment,
			  const struct rail_netns_id *netns, int netns_fd, struct rail_error *error)
{
	bool is_same = rail_netns_id_equal(&attachment->netns, netns);

	if (is_same && (attachment->parts & parts_of(operation->plugin)->own) == 0)
		return 0;
	int gone = is_gone(attachment, is_same ? netns_fd : -1);
	if (gone < 0)
		return rail_fail_errno(error, -gone,
				       "learn whether container '%s' still lives in netns '%s'",
				       attachment->key.container_id, attachment->netns_path);
	if (gone > 0)
		return 1;
	return rail_fail_code(error, RAIL_CODE_ATTACHMENT_EXISTS, EEXIST,
			      "container '%s' has a live attachment '%s' in network '%s' already "
			      "(netns '%s'); it is left as it is: DEL it first",
			      attachment->key.container_id, attachment->key.interface,
			      attachment->key.network, attachment->netns_path);
}

/* What there is of the attachment: 0 when it is this plugin's turn, 1 when the rest of a dead one
 * must go first. */
static int judge(const struct rail_operation *operation, const struct rail_attachment *attachment,
		 const struct rail_netns_id *netns, int netns_fd, struct rail_error *error)
{
	switch (attachment->state) {
	case RAIL_PENDING:
		if (!rail_process_alive(&attachment->owner))
			return 1;
		if (rail_attachment_is_delegated(operation, attachment) &&
		    (attachment->parts & parts_of(operation->plugin)->own) == 0)
			return 0;
		return fail_at_work(attachment, error);
	case RAIL_DEAD:
		return 1;
	case RAIL_DISABLED:
		return rail_netns_id_equal(&attachment->netns, netns) ? 0 : 1;
	case RAIL_READY:
		return judge_complete(operation, attachment, netns, netns_fd, error);
	}
	return rail_fail(error, EINVAL, "the attachment is in an unknown state");
}

/* Makes it this process's, where it is still as it was judged. */
static int take_over(struct rail_operation *operation, struct rail_attachment *attachment,
		     struct rail_error *error)
{
	RAIL_CLEANUP(rail_transaction_abort) struct rail_transaction *live = NULL;
	struct rail_attachment stored;

	int result = rail_transaction_begin(operation->store, RAIL_LIVE, RAIL_WRITE, &live, error);
	if (result < 0)
		return result;
	result = rail_attachment_get(live, &operation->key, &stored, error);
	if (result < 0 && result != -ENOENT)
		return result;
	if (result < 0 || !rail_attachment_is_unchanged(&stored, attachment))
		return rail_fail_code(error, RAIL_CODE_TRY_AGAIN, EAGAIN,
				      "another process changed the same attachment at this moment");
	stored.state = RAIL_PENDING;
	stored.owner = operation->self;
	result = rail_attachment_put(live, &stored, error);
	if (result == 0)
		result = rail_transaction_commit(&live, error);
	if (result == 0)
		*attachment = stored;
	return result;
}

/* It is this plugin's turn. */
static int take_up(struct rail_operation *operation, struct rail_attachment *attachment,
		   struct rail_error *error)
{
	const struct plugin_parts *parts = parts_of(operation->plugin);
	int result = 0;

	if (attachment->state == RAIL_DISABLED)
		return 0;
	if ((attachment->parts & parts->before) != parts->before)
		result = rail_fail_code(error, RAIL_CODE_INVALID_CONFIG, ENOENT,
					"the attachment is not ready for %s: %s", parts->name,
					parts->advice);
	if (result == 0)
		result = rail_attachment_check_agreement(operation, attachment, error);
	if (rail_attachment_is_delegated(operation, attachment))
		return result;
	/* The ADD has failed: what the earlier plugins made for it goes, too. */
	if (result < 0) {
		(void)rail_attachment_give_up(operation, attachment, RAIL_PARTS_ALL, NULL);
		return result;
	}
	return take_over(operation, attachment, error);
}

/* railway-ipam with railway-mesh's configuration: it works for its parent, or for nobody. */
static bool lacks_caller(const struct rail_operation *operation,
			 const struct rail_attachment *attachment)
{
	return operation->plugin == RAIL_PLUGIN_IPAM &&
	       strcmp(operation->call->type, "railway-mesh") == 0 &&
	       (attachment == NULL || !rail_attachment_is_delegated(operation, attachment));
}

int rail_attachment_begin(struct rail_operation *operation, struct rail_attachment *ret_attachment,
			  int *ret_netns_fd, struct rail_error *error)
{
	struct rail_netns_id netns;
	RAIL_CLOSE int fd = -1;

	int result = rail_netns_open(operation->call->netns, &fd, &netns, error);
	if (result < 0)
		return result;

	for (;;) {
		struct rail_attachment attachment;

		int found = rail_operation_attachment(operation, &attachment, error);
		if (found < 0 && found != -ENOENT)
			return found;
		if (lacks_caller(operation, found == 0 ? &attachment : NULL))
			return rail_fail_code(error, RAIL_CODE_TRY_AGAIN, ECANCELED,
					      "railway-mesh, which asked for an address, is gone");
		result = found == 0 ? judge(operation, &attachment, &netns, fd, error) : 0;
		if (result > 0) {
			result = rail_attachment_undo(operation, &operation->key, RAIL_PARTS_ALL,
						      error);
			if (result < 0)
				return rail_wrap(error, result,
						 "undo what is left of an earlier attempt");
			continue;
		}
		if (result == 0)
			result = found == 0 ? take_up(operation, &attachment, error)
					    : begin_new(operation, &netns, &attachment, error);
		if (result < 0)
			return result;
		*ret_attachment = attachment;
		*ret_netns_fd = RAIL_TAKE_FD(fd);
		return 0;
	}
}

int rail_attachment_finish(struct rail_operation *operation, struct rail_attachment *attachment,
			   struct rail_error *error)
{
	RAIL_CLEANUP(rail_transaction_abort) struct rail_transaction *live = NULL;
	struct rail_attachment finished = *attachment;

	if (rail_attachment_is_delegated(operation, attachment))
		return rail_operation_put(operation, attachment, error);
	finished.state = RAIL_READY;
	finished.owner = (struct rail_process){0};

	int result = rail_transaction_begin(operation->store, RAIL_LIVE, RAIL_WRITE, &live, error);
	if (result == 0)
		result = rail_operation_check_own(live, attachment, error);
	if (result == 0)
		result = rail_attachment_put(live, &finished, error);
	if (result == 0)
		result = rail_transaction_commit(&live, error);
	if (result == 0)
		*attachment = finished;
	return result;
}

void rail_attachment_withdraw(const struct rail_cni_call *call, enum rail_plugin plugin, bool made)
{
	RAIL_CLEANUP(rail_operation_end) struct rail_operation operation = {0};
	struct rail_attachment attachment;
	struct rail_netns_id netns;
	RAIL_CLOSE int fd = -1;

	/* What failed once need not fail again. */
	if (rail_operation_begin(call, plugin, &operation, NULL) < 0 ||
	    rail_netns_open(call->netns, &fd, &netns, NULL) < 0 ||
	    rail_operation_attachment(&operation, &attachment, NULL) < 0)
		return;
	bool has_own = (attachment.parts & parts_of(plugin)->own) != 0;
	if (attachment.state == RAIL_READY && has_own == made &&
	    rail_netns_id_equal(&attachment.netns, &netns))
		(void)rail_attachment_give_up(&operation, &attachment, RAIL_PARTS_ALL, NULL);
}
