/* The input is a key, a NUL, and the value that another node wrote there. A member that is accepted
 * is accepted again as this release writes it. */

#include <stdlib.h>
#include <string.h>

#include "pkg/base/cleanup.h"
#include "pkg/cluster/records.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void check_member(const char *value, const struct in6_addr *address)
{
	struct rail_published published;
	struct rail_published again;

	if (rail_published_parse(value, address, &published, NULL) < 0)
		return;

	RAIL_FREE char *text = rail_published_encode(&published);

	if (text == NULL || rail_published_parse(text, address, &again, NULL) < 0 ||
	    again.node != published.node || again.endpoint_count != published.endpoint_count)
		abort();
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static const struct rail_prefix prefix = {{0xfd, 0x12, 0x34, 0x56, 0x78, 0x9a}};
	RAIL_FREE char *key = malloc(size + 2);
	char original[RAIL_ORIGINAL_NAME_SIZE];
	struct rail_node_record node;
	struct rail_prefix other;
	struct in6_addr address;
	const char *label = "api";
	uint16_t number;

	if (key == NULL)
		return 0;
	memcpy(key, data, size);
	key[size] = key[size + 1] = '\0';

	const char *value = key + strlen(key) + 1;

	if (strlen(key) == size)
		value = key + size + 1;
	switch (rail_key_parse(key, &prefix, &label, &number, &address)) {
	case RAIL_INSIDE_MEMBER:
		check_member(value, &address);
		break;
	case RAIL_INSIDE_SERVICE:
		(void)rail_service_record_parse(value, label, &number, original, NULL);
		break;
	default:
		(void)rail_node_record_parse(value, &node, NULL);
		(void)rail_prefix_record_parse(value, &other, NULL);
	}
	return 0;
}
