#include "pkg/cni/version.h"

#include <criterion/criterion.h>
#include <errno.h>

Test(cni_version, every_name_is_parsed_to_its_own_number)
{
	for (int i = 0; i < RAIL_CNI_VERSION_COUNT; i++) {
		enum rail_cni_version version;

		cr_assert_eq(rail_cni_version_parse(rail_cni_version_names[i], &version), 0);
		cr_assert_eq((int)version, i);
	}
	cr_assert_str_eq(rail_cni_version_names[RAIL_CNI_1_1_0], "1.1.0");
}

Test(cni_version, others_are_refused)
{
	static const char *const texts[] = {"", "1", "1.0", "1.0.0 ", "v1.0.0", "1.2.0", "0.0.1"};

	for (size_t i = 0; i < sizeof(texts) / sizeof(texts[0]); i++) {
		enum rail_cni_version version = RAIL_CNI_0_4_0;

		cr_assert_eq(rail_cni_version_parse(texts[i], &version), -EINVAL, "%s", texts[i]);
		cr_assert_eq(version, RAIL_CNI_0_4_0);
	}
}
