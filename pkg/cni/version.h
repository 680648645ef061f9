#pragma once

/* The versions of the CNI specification, in their order. Each call is answered in its own version's
 * format. */
enum rail_cni_version {
	RAIL_CNI_0_1_0,
	RAIL_CNI_0_2_0,
	RAIL_CNI_0_3_0,
	RAIL_CNI_0_3_1,
	RAIL_CNI_0_4_0,
	RAIL_CNI_1_0_0,
	RAIL_CNI_1_1_0,
	RAIL_CNI_VERSION_COUNT,
};

extern const char *const rail_cni_version_names[RAIL_CNI_VERSION_COUNT];

/* -EINVAL for a version that is none of these. */
int rail_cni_version_parse(const char *text, enum rail_cni_version *ret_version);
