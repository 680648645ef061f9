#pragma once

#include "pkg/base/error.h"

/* Keeps the capabilities that entering a pod's netns and changing its peers take, and no others.
 * Fails where they are not there. */
int meshd_give_up_privileges(struct rail_error *error);
