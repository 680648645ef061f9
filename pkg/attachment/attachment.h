#pragma once

#include "pkg/attachment/operation.h"

/*
 * The life of an attachment across the plugins of a chain. The first plugin that sees it decides
 * who the pod is and stores that; each plugin adds its part; an attachment is pending while a
 * plugin works on it, and a pending one whose plugin is dead is undone by whoever meets it.
 */

/*
 * ADD: opens and checks the netns, then begins or takes up the attachment, pending in this process.
 * *ret_netns_fd belongs to the caller.
 *
 * Refused: a netns that is not there, none, or the host's (code 8); a live attachment that has this
 * plugin's part already (EEXIST, code 100: it is left untouched); one that another process works on
 * (code 11); a configuration that disagrees with what was stored (code 7); an attachment that an
 * earlier plugin of the chain should have begun (code 7). What is left of a dead one is undone
 * first.
 *
 * The state is RAIL_DISABLED, and nothing shall be done, where network or environment are switched
 * off.
 */
int rail_attachment_begin(struct rail_operation *operation, struct rail_attachment *ret_attachment,
			  int *ret_netns_fd, struct rail_error *error);

/* This plugin's part is whole. In a delegated call the attachment stays pending: its owner goes on.
 */
int rail_attachment_finish(struct rail_operation *operation, struct rail_attachment *attachment,
			   struct rail_error *error);

/* What was stored by an earlier plugin holds: code 7 where the operation's configuration says
 * something else, which is a mistake of its author's. */
int rail_attachment_check_agreement(const struct rail_operation *operation,
				    const struct rail_attachment *attachment,
				    struct rail_error *error);

/*
 * An ADD that failed where it could not undo itself: before the attachment was its own (made:
 * false), or after it was whole (made: true; its result could not be given to the runtime). All of
 * the attachment goes, what earlier plugins of the chain made for this ADD too. It stays where that
 * cannot be told: in another netns, at work in another process, or complete before this ADD came.
 */
void rail_attachment_withdraw(const struct rail_cni_call *call, enum rail_plugin plugin, bool made);

/* Whether the attachment is another process's: this plugin was delegated to. */
bool rail_attachment_is_delegated(const struct rail_operation *operation,
				  const struct rail_attachment *attachment);
