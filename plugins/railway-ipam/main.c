#include "pkg/cni/plugin.h"
#include "plugins/railway-ipam/verbs.h"

int main(void)
{
	static const struct rail_cni_plugin plugin = {
		.name = "railway-ipam",
		.description =
			"gives a replica an address in its service's /64 of its environment's /48",
		.add = ipam_add,
		.undo_add = ipam_undo_add,
		.del = ipam_del,
		.check = ipam_check,
		.gc = ipam_gc,
		.status = ipam_status,
	};

	return rail_cni_main(&plugin);
}
