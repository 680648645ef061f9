#pragma once

#include "pkg/mesh/lock.h"
#include "plugins/railway-mesh/meshd/environment.h"

/*
 * Brings an environment's members to its local pods, each pod in a thread of its own, with the
 * environment's lock held until the last of them is through. One at a time for an environment.
 */

/* A change, as the pods are told of it. */
struct wire_step {
	struct rail_member member;
	bool gone;
	bool is_new;
};

/* What the live store says now; all of it is the wiring's. */
struct wire_job {
	struct rail_environment_lock lock;
	struct wire_step *steps;
	size_t step_count;
	bool repair; /* each pod is read, and brought in line */
};

/*
 * Takes the job over, also where it fails. Calls environment_wired when it is through, never from
 * here.
 */
int environment_wire(struct environment *environment, struct wire_job *job,
		     struct rail_error *error);
/* Whether pods that answer may still lack what the store has. */
bool environment_wiring_matters(const struct environment *environment);
