#include "pkg/attachment/operation.h"

#include <errno.h>
#include <stdio.h>
#include <unistd.h>

#include "pkg/base/cleanup.h"

int rail_operation_begin(const struct rail_cni_call *call, enum rail_plugin plugin,
			 struct rail_operation *ret_operation, struct rail_error *error)
{
	struct rail_operation operation = {.call = call, .plugin = plugin};

	int result = rail_settings_of_call(call, plugin, &operation.settings, error);
	if (result < 0)
		return result;
	result = rail_process_self(&operation.self, error);
	if (result < 0)
		return result;
	/* A parent in another PID namespace is none of this plugin's. */
	result = rail_process_identify(getppid(), &operation.parent, error);
	if (result < 0 && result != -ESRCH)
		return result;
	/* The lengths were checked with the call. */
	(void)snprintf(operation.key.network, sizeof(operation.key.network), "%s", call->network);
	(void)snprintf(operation.key.container_id, sizeof(operation.key.container_id), "%s",
		       call->container_id);
	(void)snprintf(operation.key.interface, sizeof(operation.key.interface), "%s",
		       call->interface);

	result = rail_store_open(operation.settings.state_directory,
				 operation.settings.run_directory, &operation.store, error);
	if (result < 0)
		return result;
	*ret_operation = operation;
	return 0;
}

void rail_operation_end(struct rail_operation *operation)
{
	rail_store_closep(&operation->store);
	operation->store = NULL;
}

int rail_operation_reopen(struct rail_operation *operation, struct rail_error *error)
{
	rail_operation_end(operation);
	return rail_store_open(operation->settings.state_directory,
			       operation->settings.run_directory, &operation->store, error);
}

int rail_operation_attachment(const struct rail_operation *operation,
			      struct rail_attachment *ret_attachment, struct rail_error *error)
{
	RAIL_CLEANUP(rail_transaction_abort) struct rail_transaction *live = NULL;
	struct rail_error inner = RAIL_ERROR_NONE;

	int result = rail_transaction_begin(operation->store, RAIL_LIVE, RAIL_READ, &live, error);
	if (result < 0)
		return result;
	result = rail_attachment_get(live, &operation->key, ret_attachment, &inner);
	if (result < 0 && result != -ENOENT && error != NULL)
		*error = inner;
	return result;
}

bool rail_attachment_owner_equal(const struct rail_attachment *one,
				 const struct rail_attachment *other)
{
	return one->owner.pid == other->owner.pid &&
	       one->owner.start_time == other->owner.start_time;
}

int rail_operation_check_own(struct rail_transaction *live,
			     const struct rail_attachment *attachment, struct rail_error *error)
{
	struct rail_attachment stored;

	int result = rail_attachment_get(live, &attachment->key, &stored, error);
	if (result < 0 && result != -ENOENT)
		return result;
	if (result < 0 || stored.state != RAIL_PENDING ||
	    !rail_attachment_owner_equal(&stored, attachment))
		return rail_fail_code(error, RAIL_CODE_TRY_AGAIN, ECANCELED,
				      "attachment %s of container '%s' was undone while it was "
				      "being made",
				      attachment->key.interface, attachment->key.container_id);
	return 0;
}

int rail_operation_put_within(struct rail_transaction *live,
			      const struct rail_attachment *attachment, struct rail_error *error)
{
	int result = rail_operation_check_own(live, attachment, error);

	return result < 0 ? result : rail_attachment_put(live, attachment, error);
}

int rail_operation_put(const struct rail_operation *operation,
		       const struct rail_attachment *attachment, struct rail_error *error)
{
	RAIL_CLEANUP(rail_transaction_abort) struct rail_transaction *live = NULL;

	int result = rail_transaction_begin(operation->store, RAIL_LIVE, RAIL_WRITE, &live, error);
	if (result < 0)
		return result;
	result = rail_operation_put_within(live, attachment, error);
	if (result < 0)
		return result;
	return rail_transaction_commit(&live, error);
}
