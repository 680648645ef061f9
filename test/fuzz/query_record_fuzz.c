/* The input is a record of the query log, from a worker that may be somebody else's. Whatever is
 * accepted becomes one line that is one JSON object. */

#include <stdlib.h>
#include <string.h>

#include "pkg/base/json.h"
#include "pkg/dns/query_record.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void require(bool truth)
{
	if (!truth)
		abort();
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct rail_error error = RAIL_ERROR_NONE;
	struct rail_json *document = NULL;
	struct rail_query_record record;
	struct rail_query_pod pod;
	char line[RAIL_QUERY_LINE_SIZE];
	uint8_t again[RAIL_QUERY_RECORD_MAXIMUM];

	if (rail_query_record_decode(data, size, &record, &pod) < 0)
		return 0;
	require(rail_query_record_encode(&record, &pod, again, sizeof(again)) == (int)size);

	size_t length = rail_query_line(&record, &pod, line);

	require(length > 0 && length <= sizeof(line));
	require(memchr(line, '\n', length) == line + length - 1);
	for (size_t i = 0; i + 1 < length; i++)
		require(line[i] >= ' ' && line[i] < 0x7f);
	require(rail_json_parse(line, length, &document, &error) == 0);
	require(rail_json_type(document) == RAIL_JSON_OBJECT);
	require(rail_json_get(document, "duration_ms") != NULL);
	rail_json_free(document);
	return 0;
}
