#include "pkg/cni/version.h"

#include <errno.h>
#include <string.h>

const char *const rail_cni_version_names[RAIL_CNI_VERSION_COUNT] = {
	[RAIL_CNI_0_1_0] = "0.1.0", [RAIL_CNI_0_2_0] = "0.2.0", [RAIL_CNI_0_3_0] = "0.3.0",
	[RAIL_CNI_0_3_1] = "0.3.1", [RAIL_CNI_0_4_0] = "0.4.0", [RAIL_CNI_1_0_0] = "1.0.0",
	[RAIL_CNI_1_1_0] = "1.1.0",
};

int rail_cni_version_parse(const char *text, enum rail_cni_version *ret_version)
{
	for (int i = 0; i < RAIL_CNI_VERSION_COUNT; i++) {
		if (strcmp(text, rail_cni_version_names[i]) == 0) {
			*ret_version = (enum rail_cni_version)i;
			return 0;
		}
	}
	return -EINVAL;
}
