#include <arpa/inet.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "plugins/railway-mesh/meshd/environment.h"

/* Who has an environment's requested addresses, as etcd says. */

enum {
	CLAIMS_MAXIMUM = 20000,
	/* This node's own always have their place. */
	OWN_MAXIMUM = 2 * CLAIMS_MAXIMUM,
};

struct claim *environment_find_claim(const struct environment *environment,
				     const struct in6_addr *address)
{
	for (size_t i = 0; i < environment->claim_count; i++)
		if (IN6_ARE_ADDR_EQUAL(&environment->claims[i].address, address))
			return &environment->claims[i];
	return NULL;
}

void environment_drop_claim(struct environment *environment, struct claim *claim)
{
	*claim = environment->claims[--environment->claim_count];
}

void environment_put_claim(struct environment *environment, const struct claim *claim)
{
	struct claim *present = environment_find_claim(environment, &claim->address);

	if (present == NULL &&
	    environment->claim_count < (claim->ours ? OWN_MAXIMUM : CLAIMS_MAXIMUM)) {
		struct claim *grown = reallocarray(environment->claims,
						   environment->claim_count + 1, sizeof(*grown));

		/* Without it etcd's compare still sees that the key is there. */
		if (grown == NULL)
			return;
		environment->claims = grown;
		present = &grown[environment->claim_count++];
	}
	if (present != NULL)
		*present = *claim;
}

void environment_take_claim(struct environment *environment, const struct rail_etcd_record *record,
			    const struct in6_addr *address)
{
	struct claim *present = environment_find_claim(environment, address);
	struct rail_node_record holder = {.node = 0};

	if (record->deleted) {
		if (present != NULL)
			environment_drop_claim(environment, present);
		return;
	}
	/* One that cannot be read is somebody's all the same. */
	(void)rail_node_record_parse(record->value, &holder, NULL);
	environment_put_claim(environment, &(struct claim){
						   .address = *address,
						   .mod_revision = record->mod_revision,
						   .lease = record->lease,
						   .ours = holder.node != 0 &&
							   holder.node == environment->meshd->node,
					   });
}

bool environment_has_claims(const struct environment *environment)
{
	for (size_t i = 0; i < environment->claim_count; i++)
		if (environment->claims[i].ours)
			return true;
	return false;
}

char *meshd_claim_value(const struct meshd *meshd)
{
	struct rail_node_record self = {.node = meshd->node};

	/* Claims are told apart by the node's number alone. */
	memset(self.id, '0', sizeof(self.id) - 1);
	(void)gethostname(self.host, sizeof(self.host) - 1);
	return rail_node_record_encode(&self);
}
