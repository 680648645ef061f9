#pragma once

#include "pkg/base/loop.h"

/*
 * Notices that paths of netns go away: inotify on their directories, and a pidfd for those below
 * /proc, where there is nothing for inotify. It only raises suspicions, and may miss one: whoever
 * is told looks for himself, and looks at everything once in a while.
 */

struct rail_watch;
struct rail_watched; /* one path */

int rail_watch_new(struct rail_loop *loop, void (*suspect)(void *context, const char *path),
		   void *context, struct rail_watch **ret_watch, struct rail_error *error);
void rail_watch_free(struct rail_watch *watch);

/* Watches a path. suspect is called with its text later on; it must not add or remove any. */
int rail_watch_add(struct rail_watch *watch, const char *path, struct rail_watched **ret_watched,
		   struct rail_error *error);
void rail_watch_remove(struct rail_watch *watch, struct rail_watched **watched);
