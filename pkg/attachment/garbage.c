#include <errno.h>
#include <string.h>

#include "pkg/attachment/undo.h"
#include "pkg/base/cleanup.h"
#include "pkg/mesh/wiring.h"

struct stale_list {
	const struct rail_cni_call *call;
	struct rail_gone keys;
	struct rail_error *error;
};

static bool is_valid(const struct rail_cni_call *call, const struct rail_attachment_key *key)
{
	for (size_t i = 0; i < call->valid_attachment_count; i++)
		if (strcmp(call->valid_attachments[i].container_id, key->container_id) == 0 &&
		    strcmp(call->valid_attachments[i].interface, key->interface) == 0)
			return true;
	return false;
}

static int list_stale(void *context, const struct rail_attachment *attachment)
{
	struct stale_list *list = context;

	if (is_valid(list->call, &attachment->key))
		return 0;
	return rail_gone_add(&list->keys, &attachment->key, list->error);
}

int rail_attachment_collect_garbage(struct rail_operation *operation, struct rail_error *error)
{
	RAIL_CLEANUP(rail_transaction_abort) struct rail_transaction *live = NULL;
	struct stale_list list = {.call = operation->call, .error = error};
	struct rail_error all = RAIL_ERROR_NONE;

	/* No list is not an empty list: nothing is known to be stale. */
	if (!operation->call->has_valid_attachments)
		return 0;

	int result = rail_transaction_begin(operation->store, RAIL_LIVE, RAIL_READ, &live, error);
	if (result == 0)
		result = rail_attachment_each(live, operation->call->network, list_stale, &list,
					      error);
	rail_transaction_abort(&live);

	/* What comes behind a record that cannot be read is not known; what came before it is. */
	if (result < 0 && error != NULL)
		all = *error;
	for (size_t i = 0; i < list.keys.count; i++) {
		struct rail_error one = RAIL_ERROR_NONE;

		result = rail_attachment_undo(operation, &list.keys.keys[i], RAIL_PARTS_ALL, &one);
		if (result < 0) {
			(void)rail_wrap(&one, result, "attachment %s of container '%s'",
					list.keys.keys[i].interface,
					list.keys.keys[i].container_id);
			rail_error_collect(&all, &one);
		}
	}
	rail_gone_done(&list.keys);
	return rail_error_outcome(&all, error);
}
