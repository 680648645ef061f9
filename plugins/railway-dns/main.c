#include "pkg/cni/plugin.h"
#include "plugins/railway-dns/verbs.h"

int main(void)
{
	static const struct rail_cni_plugin plugin = {
		.name = "railway-dns",
		.description = "gives a replica its name and its pod the environment's resolver",
		.add = dns_add,
		.undo_add = dns_undo_add,
		.del = dns_del,
		.check = dns_check,
		.gc = dns_gc,
		.status = dns_status,
	};

	return rail_cni_main(&plugin);
}
