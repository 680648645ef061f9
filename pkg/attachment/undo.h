#pragma once

#include "pkg/attachment/operation.h"

/*
 * Taking away what there is of an attachment, in the order in which nothing is lost: the name, the
 * resolver's sockets (they would pin the netns), the interface, the peers on its siblings, the
 * lease, the record. Every step is attempted; what fails is collected, and stays noted in the
 * record so that the next DEL tries it again.
 */

/*
 * Undoes the given parts (enum rail_attachment_parts) of an attachment, and the record where no
 * part is left. Succeeds where there is no such attachment. Taking the interface away implies the
 * name. Where the interface went and a lease stays, the record says so (RAIL_DEAD). Another process
 * at work on it: code 11.
 */
int rail_attachment_undo(struct rail_operation *operation, const struct rail_attachment_key *key,
			 uint32_t parts, struct rail_error *error);

/*
 * The same for an attachment as it was read or begun, where it is still that: ECANCELED where its
 * owner is another since, or where DEL or ADD have changed it. For an ADD that failed, which undoes
 * nobody else's work.
 */
int rail_attachment_give_up(struct rail_operation *operation,
			    const struct rail_attachment *attachment, uint32_t parts,
			    struct rail_error *error);

/* Whether a record is still what was seen of it. */
bool rail_attachment_is_unchanged(const struct rail_attachment *stored,
				  const struct rail_attachment *seen);

enum { RAIL_PARTS_ALL = RAIL_PART_LEASE | RAIL_PART_INTERFACE | RAIL_PART_MEMBER | RAIL_PART_NAME };

/*
 * What an operation met on its way through an environment, whose lock it holds no longer: pods
 * whose netns is gone, and those whose plugin died at work, are undone whole; pods whose interface
 * alone is gone lose name, member and peers, and their record says so (RAIL_DEAD) until DEL. What
 * lives after all, or another process works on, is left. Failures are for a log: they are no
 * failure of the operation.
 */
void rail_attachment_bury_one(struct rail_operation *operation,
			      const struct rail_attachment_key *key);
struct rail_gone;
void rail_attachment_bury(struct rail_operation *operation, const struct rail_gone *gone);
/*
 * Adds those that hold a lease of the environment and are no members of it, where nobody is at work
 * on them any more: an ADD died before its member was stored, or a DEL could not take all away. No
 * look at the membership meets them.
 */
int rail_attachment_list_orphans(struct rail_operation *operation, const struct rail_prefix *prefix,
				 struct rail_gone *orphans, struct rail_error *error);

/* GC: undoes every attachment of the operation's network that is not in the call's list. Goes on
 * after failures and collects them. */
int rail_attachment_collect_garbage(struct rail_operation *operation, struct rail_error *error);
