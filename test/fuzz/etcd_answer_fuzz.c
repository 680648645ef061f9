/* The input is what etcd answered: a range, a transaction, a lease, a line of a watch, or an error.
 */

#include <stdlib.h>

#include "pkg/base/cleanup.h"
#include "pkg/cluster/gateway.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	RAIL_CLEANUP(rail_json_freep) struct rail_json *answer = NULL;
	struct rail_etcd_watch_answer watch;
	struct rail_etcd_records records;
	struct rail_etcd_header header;
	const char *text;
	int64_t number;
	int64_t other;
	bool flag;

	if (rail_json_parse((const char *)data, size, &answer, NULL) < 0)
		return 0;
	if (rail_etcd_parse_range(answer, &header, &records, &flag, NULL) == 0) {
		const struct rail_etcd_range range = {
			.key = "a/", .prefix = true, .after = records.last_key};

		free(rail_etcd_encode_range(&range));
		rail_etcd_records_done(&records);
	}
	if (rail_etcd_parse_transaction(answer, &header, &flag, &records, NULL) == 0)
		rail_etcd_records_done(&records);
	if (rail_etcd_parse_watch(answer, &watch, NULL) == 0)
		rail_etcd_records_done(&watch.events);
	if (rail_etcd_parse_lease_keys(answer, &header, &records, NULL) == 0)
		rail_etcd_records_done(&records);
	(void)rail_etcd_parse_lease(answer, &header, &number, &other, NULL);
	(void)rail_etcd_parse_authenticate(answer, &text, NULL);
	(void)rail_etcd_parse_error(answer, &text);
	return 0;
}
