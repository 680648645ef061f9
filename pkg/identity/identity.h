#pragma once

#include <stdbool.h>
#include <stddef.h>

#include "pkg/base/error.h"
#include "pkg/base/pairs.h"

/*
 * Who is this pod? Decides environment, service and replica from what the network configuration,
 * the orchestrator and the pod's author say, without I/O. The rule that everything here serves:
 * whoever writes a pod cannot choose another tenant's environment.
 */

enum {
	RAIL_ENVIRONMENT_NAME_SIZE = 254, /* 253 bytes and NUL */
	RAIL_ORIGINAL_NAME_SIZE = 1024, /* a service's or replica's name before it became a label */
	RAIL_LABEL_SIZE = 64,		/* a DNS label and NUL */
	RAIL_QUOTED_NAME_SIZE = 272,	/* for rail_name_quote */
};

/* What is said about a pod, and by whom. All borrowed; NULL where nothing was said. */
struct rail_claims {
	/* The network configuration: trusted. */
	const char *config_environment;
	const char *config_service;
	const char *config_replica;
	bool trust_arguments; /* trustArgs */

	/* args.cni of the configuration, CNI_ARGS and the pod's annotations: the author's, but for
	 * the orchestrator's own keys in CNI_ARGS (K8S_POD_NAMESPACE, NOMAD_NAMESPACE, ...), which
	 * count nowhere else. */
	struct rail_pairs arguments;	 /* CNI_ARGS */
	struct rail_pairs cni_arguments; /* args.cni; wins over CNI_ARGS for the same key */
	struct rail_pairs annotations;

	const char *container_id;
};

struct rail_identity {
	char environment[RAIL_ENVIRONMENT_NAME_SIZE];
	char service[RAIL_LABEL_SIZE];
	char service_original[RAIL_ORIGINAL_NAME_SIZE];
	char replica[RAIL_LABEL_SIZE];
	char replica_original[RAIL_ORIGINAL_NAME_SIZE];
};

/*
 * Decides all three. Fails with code 7 and a message that names the key or variable that decided,
 * its value (escaped, and cut where long) and what is wrong with it; with ENOENT and code 7 where
 * nothing names a service, listing the ways to name one. The rules are those of doc/identity.md.
 */
int rail_identity_decide(const struct rail_claims *claims, struct rail_identity *ret_identity,
			 struct rail_error *error);

/*
 * An environment's name as it may stand in a configuration: 1 to 253 printable ASCII bytes. source
 * says in the message where the name comes from: "configuration key environment".
 */
int rail_environment_name_check(const char *source, const char *name, struct rail_error *error);

/*
 * Makes a DNS label of a service's or replica's name: lower case, blanks and '_' to '-', other
 * characters dropped, no '-' at either end. Refused (code 7, naming source): longer than 63 bytes
 * afterwards, nothing left. reserved_too: the names health, internal, internal-health, railway and
 * up are refused as well (for services).
 */
int rail_label_make(const char *source, const char *name, bool reserved_too,
		    char ret_label[RAIL_LABEL_SIZE], struct rail_error *error);

/*
 * The workload's name in a Kubernetes pod's name: without the suffix that a ReplicaSet
 * (-<6 to 10 generated characters>-<5>), a CronJob (-<minutes since 1970, 8 digits>-<5>), a
 * DaemonSet or Job (-<5>) or a StatefulSet (-<number>) adds. Generated suffixes use only the
 * characters bcdfghjklmnpqrstvwxz2456789. Kubernetes cuts what it generates a name from to 58
 * characters, with the '-' at its end and what is left of hash or minutes (apiserver,
 * storage/names): of such a name of 63 characters that rest is taken away, too. A name without a
 * suffix stays as it is. What does not fit into target_size is cut.
 */
void rail_workload_of_pod(const char *pod_name, char *target, size_t target_size);

/* A name for a message: in quotes, what is not printable ASCII as \xNN, cut behind 64 bytes. */
void rail_name_quote(const char *name, char text[RAIL_QUOTED_NAME_SIZE]);
