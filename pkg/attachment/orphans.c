#include <errno.h>

#include "pkg/attachment/undo.h"
#include "pkg/base/cleanup.h"
#include "pkg/mesh/wiring.h"

struct search {
	struct rail_transaction *live;
	struct rail_gone *orphans;
};

/* Between two plugins of a list an attachment with no more than a lease is as it should be. */
static bool is_left(const struct rail_attachment *attachment)
{
	return attachment->owner.pid != 0 ? !rail_process_alive(&attachment->owner)
					  : attachment->state == RAIL_DEAD;
}

static int visit(void *context, const struct in6_addr *address,
		 const struct rail_attachment_key *key, struct rail_error *error)
{
	struct search *search = context;
	struct rail_attachment attachment;
	struct rail_member member;

	int result = rail_member_get(search->live, address, &member, error);
	if (result == 0)
		return 0;
	if (result == -ENOENT)
		result = rail_attachment_get(search->live, key, &attachment, error);
	if (result < 0)
		return result == -ENOENT ? 0 : result;
	return is_left(&attachment) ? rail_gone_add(search->orphans, key, error) : 0;
}

int rail_attachment_list_orphans(struct rail_operation *operation, const struct rail_prefix *prefix,
				 struct rail_gone *orphans, struct rail_error *error)
{
	RAIL_CLEANUP(rail_transaction_abort) struct rail_transaction *live = NULL;

	int result = rail_transaction_begin(operation->store, RAIL_LIVE, RAIL_READ, &live, error);
	if (result < 0)
		return result;

	struct search search = {live, orphans};

	return rail_lease_each(live, prefix, visit, &search, error);
}
