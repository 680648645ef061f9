#pragma once

#include "pkg/base/loop.h"

/* What the service manager is told (sd_notify(3)), over the socket that $NOTIFY_SOCKET names.
 * Nothing where there is none. */

void rail_notify(const char *state);
/* RELOADING=1 with the time, as systemd wants it (Type=notify-reload); READY=1 ends it. */
void rail_notify_reloading(void);

struct rail_watchdog;

/* Says WATCHDOG=1 at half of what $WATCHDOG_USEC asks for, as long as the loop turns. *ret_watchdog
 * is NULL where nobody asks this process. */
int rail_watchdog_new(struct rail_loop *loop, struct rail_watchdog **ret_watchdog,
		      struct rail_error *error);
void rail_watchdog_free(struct rail_watchdog *watchdog);
