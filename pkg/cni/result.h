#pragma once

#include <netinet/in.h>

#include "pkg/cni/call.h"

/*
 * Results of ADD. A result is a JSON document in the format of its version: what an earlier plugin
 * of the chain put in prevResult passes through as it is, and only what is added is ours.
 */

/* A new result of the call's version, or a copy of its prevResult (whose cniVersion must be the
 * call's, or missing: code 7). For rail_json_free. */
int rail_result_begin(const struct rail_cni_call *call, struct rail_json **ret_result,
		      struct rail_error *error);

/* Adds an interface; *ret_index is its place. Formats before 0.3.0 have none: index -1. mac "" is
 * left out; mtu is said from 1.1.0 on, 0 is left out. */
int rail_result_add_interface(struct rail_json *result, enum rail_cni_version version,
			      const char *name, const char *mac, unsigned int mtu,
			      const char *sandbox, int *ret_index, struct rail_error *error);
/* interface_index < 0: none (as in a result of IPAM). Formats before 0.3.0 have room for one IPv6
 * address: a second one fails with code 7. */
int rail_result_add_address(struct rail_json *result, enum rail_cni_version version,
			    const struct in6_addr *address, unsigned int length,
			    int interface_index, struct rail_error *error);
/* Says which interface an address of the result is on (from 0.3.0 on; before, nothing is done).
 * ENOENT, code 7, where the result does not have it. */
int rail_result_assign_address(struct rail_json *result, enum rail_cni_version version,
			       const struct in6_addr *address, int interface_index,
			       struct rail_error *error);
/* A route without gateway. Before 0.3.0 it stands inside ip6. */
int rail_result_add_route(struct rail_json *result, enum rail_cni_version version,
			  const char *destination, struct rail_error *error);
/* Replaces the result's dns. Lists may be empty. */
int rail_result_set_dns(struct rail_json *result, const char *const *nameservers,
			size_t nameserver_count, const char *domain, const char *const *search,
			size_t search_count, const char *const *options, size_t option_count,
			struct rail_error *error);

/*
 * Calls each for every IPv6 address of a result in the format of version: of IPAM results and of
 * prevResult. A value other than 0 that each returns ends the walk and is returned. -ENOENT (error
 * set, code 7) where there is no IPv6 address at all; code 7 for malformed entries, of IPv4 too.
 */
struct rail_result_address {
	struct in6_addr address;
	unsigned int length;
	int interface_index; /* -1: none */
};
int rail_result_each_address(const struct rail_json *result, enum rail_cni_version version,
			     int (*each)(void *context, const struct rail_result_address *address),
			     void *context, struct rail_error *error);
/* Whether an interface but lo is named, on either side: some plugins name the host's end alone.
 * result may be NULL. */
bool rail_result_has_interface(const struct rail_json *result);

/* The one JSON object that a failed plugin prints on standard output, for free(). Derives the code
 * from errnum where the error has none. */
char *rail_error_print(enum rail_cni_version version, const struct rail_error *error);
int rail_error_code(const struct rail_error *error); /* the code that is printed */

/*
 * For STATUS (CNI specification 1.1.0, "STATUS"): gives an error the code 50 or 51, and returns
 * result. One that says so already (a delegated plugin's), or that is about the call itself (its
 * version, variables, JSON or configuration), keeps its code: no waiting mends it.
 */
int rail_error_as_status(struct rail_error *error, int result, int code);
