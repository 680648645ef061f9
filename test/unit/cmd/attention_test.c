#include "cmd/railwayctl/attention.h"

#include <criterion/criterion.h>
#include <stdlib.h>
#include <string.h>

#include "pkg/base/cleanup.h"

Test(cmd_attention, of_each_kind_a_few_are_listed_and_the_rest_is_counted)
{
	RAIL_CLEANUP(attention_done) struct attention attention;

	attention_init(&attention);
	for (int i = 0; i < ATTENTION_LISTED_MAXIMUM + 5; i++)
		attention_add(&attention, ATTENTION_DEAD, "pod eth0", "gone");
	attention_add(&attention, ATTENTION_RESOLVER, "/run/resolver.sock", "away");
	attention_close(&attention);
	cr_assert_eq(table_finish(&attention.table, NULL), 0);
	cr_assert_eq(table_row_count(&attention.table), ATTENTION_LISTED_MAXIMUM + 2);

	RAIL_CLEANUP(rail_json_freep) struct rail_json *json = table_json(&attention.table);
	struct rail_json *row = rail_json_first(json);
	struct rail_json *last = row;

	for (; row != NULL; row = rail_json_next(row)) {
		cr_assert_not_null(rail_json_string(rail_json_get(row, "what")));
		cr_assert_not_null(rail_json_string(rail_json_get(row, "remedy")));
		last = row;
	}
	cr_assert_str_eq(rail_json_string(rail_json_get(last, "what")), "dead");
	cr_assert_str_eq(rail_json_string(rail_json_get(last, "problem")), "and 5 more like it");
}

Test(cmd_attention, every_kind_says_what_to_do)
{
	RAIL_CLEANUP(attention_done) struct attention attention;
	char *text = NULL;
	size_t size;

	attention_init(&attention);
	for (int kind = 0; kind < ATTENTION_KINDS; kind++)
		attention_add(&attention, (enum attention_kind)kind, "subject", "problem");
	attention_close(&attention);
	cr_assert_eq(table_finish(&attention.table, NULL), 0);
	cr_assert_eq(table_row_count(&attention.table), ATTENTION_KINDS);

	FILE *stream = open_memstream(&text, &size);
	cr_assert_eq(table_print(&attention.table, stream), 0);
	cr_assert_eq(fclose(stream), 0);
	cr_assert_null(strstr(text, " - "), "%s", text);
	free(text);
}
