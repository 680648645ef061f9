#include "pkg/cni/plugin.h"
#include "plugins/railway-mesh/verbs.h"

int main(void)
{
	static const struct rail_cni_plugin plugin = {
		.name = "railway-mesh",
		.description = "makes a pod's WireGuard interface and wires it to its environment",
		.add = mesh_add,
		.undo_add = mesh_undo_add,
		.del = mesh_del,
		.check = mesh_check,
		.gc = mesh_gc,
		.status = mesh_status,
	};

	return rail_cni_main(&plugin);
}
