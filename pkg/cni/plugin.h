#pragma once

#include "pkg/cni/call.h"
#include "pkg/cni/result.h"

/*
 * The skeleton of a plugin: reads the call, dispatches it, prints exactly one JSON object for a
 * result or an error on standard output (nothing for a success without result), and gives the exit
 * status. TERM, INT and HUP are blocked meanwhile: a half-done DEL helps nobody. With no
 * CNI_COMMAND it says what it is, with its version, and exits 0 without reading standard input.
 * Messages on standard error are for people.
 */
struct rail_cni_plugin {
	const char *name;	 /* "railway-ipam" */
	const char *description; /* one line */
	int (*add)(const struct rail_cni_call *call, struct rail_json **ret_result,
		   struct rail_error *error);
	/* An ADD that succeeded, but whose result could not be given to the runtime: undoes it. */
	void (*undo_add)(const struct rail_cni_call *call);
	int (*del)(const struct rail_cni_call *call, struct rail_error *error);
	int (*check)(const struct rail_cni_call *call, struct rail_error *error);
	int (*gc)(const struct rail_cni_call *call, struct rail_error *error);
	int (*status)(const struct rail_cni_call *call, struct rail_error *error);
};

/* What main() returns. */
int rail_cni_main(const struct rail_cni_plugin *plugin);
