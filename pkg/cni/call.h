#pragma once

#include <stdbool.h>
#include <stddef.h>

#include "pkg/base/error.h"
#include "pkg/base/json.h"
#include "pkg/base/pairs.h"
#include "pkg/cni/version.h"

/*
 * One call of a plugin: what the runtime passes in the environment and on standard input (CNI
 * specification 1.1.0, sections 1 and 2). Everything is validated before a plugin's own code sees
 * it.
 */

enum rail_cni_command {
	RAIL_CNI_ADD,
	RAIL_CNI_DEL,
	RAIL_CNI_CHECK,
	RAIL_CNI_GC,
	RAIL_CNI_STATUS,
	RAIL_CNI_VERSION,
};

/* An entry of GC's list of attachments that are still valid. Borrowed. */
struct rail_cni_valid_attachment {
	const char *container_id;
	const char *interface;
};

struct rail_cni_call {
	enum rail_cni_command command;

	/* The environment. "" where a variable is not set and not required. Borrowed from the
	 * process's own. */
	const char *container_id;
	const char *netns;
	const char *interface;	     /* CNI_IFNAME */
	const char *path;	     /* CNI_PATH */
	struct rail_pairs arguments; /* CNI_ARGS, split at the first '=' of each part */
	bool ignore_unknown_arguments;
	bool netns_override; /* CNI_NETNS_OVERRIDE: the caller's own netns is allowed */

	/* The configuration. Borrowed from document. */
	enum rail_cni_version version;
	const char *network; /* name */
	const char *type;
	struct rail_json *document;	     /* all of it */
	const struct rail_json *ipam;	     /* NULL where there is none */
	const struct rail_json *prev_result; /* NULL where there is none */
	struct rail_pairs cni_arguments; /* args.cni: its strings, numbers and booleans as text */
	struct rail_pairs annotations;	 /* runtimeConfig."io.kubernetes.cri.pod-annotations" */
	struct rail_pairs
		labels; /* args.cni.labels, [{key, value}]: not trusted more than arguments */

	/* GC: the entries of both keys; has_valid_attachments is false where neither key is there,
	 * or both are null. An entry may be there twice. */
	bool has_valid_attachments;
	struct rail_cni_valid_attachment *valid_attachments;
	size_t valid_attachment_count;

	void *memory; /* what the borrowed lists stand in */
};

/*
 * Reads and validates a call. get_variable is getenv(3) or a test's own; input is all of standard
 * input. Errors: code 4 for the environment (all missing variables in one message), 6 for what is
 * no JSON, 7 for the configuration, 1 for a version that is unknown or does not have the command
 * (CHECK from 0.4.0, GC and STATUS from 1.1.0). A missing cniVersion is 0.2.0. Even on failure
 * ret_call->version is the call's where it could be read, so that the error can be printed in it.
 * For VERSION nothing else is looked at; document is then NULL where the input is no JSON.
 *
 * A "\u0000" in the configuration is read as U+FFFD.
 *
 * A variable that the command does not use is not looked at and is "". CNI_ARGS is used by ADD and
 * CHECK, where each part must be K=V with a key that is not there twice with different values, and
 * without IgnoreUnknown only keys that are known (K8S_..., NOMAD_..., RAILWAY_..., IP, MAC,
 * ENABLE_ALPINE_PRIVATE_NETWORKING) are taken; DEL, which must not fail where ADD did, takes the
 * parts that can be read.
 */
int rail_cni_call_read(const char *(*get_variable)(const char *name), const char *input,
		       size_t input_size, struct rail_cni_call *ret_call, struct rail_error *error);
void rail_cni_call_done(struct rail_cni_call *call);

/*
 * The value of a capability (runtimeConfig), its key in either case; NULL where the runtime gave
 * none. Keys inside are looked up with rail_json_get_any_case.
 */
const struct rail_json *rail_cni_capability(const struct rail_cni_call *call, const char *name);

/* Whether a plugin's type is a file name: what a path could be made of is refused. */
bool rail_cni_type_valid(const char *type);

/* What is wrong with a name for an interface ("longer than 15 bytes", as dev_valid_name of the
 * kernel has it, and '%', which the kernel replaces by a number); NULL for a good one. */
const char *rail_cni_interface_fault(const char *name);

/* An argument by key: args.cni wins over CNI_ARGS. NULL where there is none. */
const char *rail_cni_argument(const struct rail_cni_call *call, const char *key);
