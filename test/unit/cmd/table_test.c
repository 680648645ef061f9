#include "cmd/railwayctl/table.h"

#include <criterion/criterion.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "pkg/base/cleanup.h"

static const struct table_column columns[] = {
	{"name", "NAME", TABLE_TEXT},	    {"count", "COUNT", TABLE_NUMBER},
	{"good", "GOOD", TABLE_TRUTH},	    {"ageSeconds", "AGE", TABLE_SECONDS},
	{"sizeBytes", "SIZE", TABLE_BYTES},
};

static void put_row(struct table *table, const char *name, int64_t count, bool good, int64_t age,
		    int64_t size)
{
	table_put_text(table, name);
	table_put_number(table, count);
	table_put_truth(table, good);
	table_put_number(table, age);
	table_put_number(table, size);
}

/* What it prints, for free(). */
static char *printed(const struct table *table, int (*print)(const struct table *, FILE *))
{
	char *text = NULL;
	size_t size;
	FILE *stream = open_memstream(&text, &size);

	cr_assert_eq(table_finish(table, NULL), 0);
	cr_assert_eq(print(table, stream), 0);
	cr_assert_eq(fclose(stream), 0);
	return text;
}

Test(cmd_table, columns_are_aligned_and_the_last_is_not_filled_up)
{
	RAIL_CLEANUP(table_done) struct table table = TABLE_OF(columns);

	put_row(&table, "a", 1, true, 3, 7);
	put_row(&table, "a longer one", 12345678, false, 187, 1536);
	table_put_text(&table, NULL);
	for (int i = 0; i < 4; i++)
		table_put_nothing(&table);

	RAIL_FREE char *text = printed(&table, table_print);
	cr_assert_str_eq(text, "NAME          COUNT     GOOD  AGE        SIZE\n"
			       "a             1         yes   3 s        7 B\n"
			       "a longer one  12345678  no    3 min 7 s  1.5 KiB\n"
			       "-             -         -     -          -\n");
	cr_assert_eq(table_row_count(&table), 3);
}

Test(cmd_table, the_same_cells_are_json)
{
	RAIL_CLEANUP(table_done) struct table table = TABLE_OF(columns);

	put_row(&table, "a\x1b[31m\n", -1, true, 3, 7);
	table_put_text(&table, "");
	for (int i = 0; i < 4; i++)
		table_put_nothing(&table);

	RAIL_CLEANUP(rail_json_freep) struct rail_json *json = table_json(&table);
	RAIL_FREE char *text = rail_json_print(json);
	cr_assert_str_eq(
		text, "[{\"name\":\"a\\u001b[31m\\n\",\"count\":-1,\"good\":true,\"ageSeconds\":3,"
		      "\"sizeBytes\":7},{\"name\":null,\"count\":null,\"good\":null,"
		      "\"ageSeconds\":null,\"sizeBytes\":null}]");

	RAIL_CLEANUP(rail_json_freep) struct rail_json *record = table_record_json(&table);
	cr_assert_eq(rail_json_count(record), 5);
	cr_assert(rail_json_is_true(rail_json_get(record, "good")));
}

Test(cmd_table, a_record_is_a_line_for_each_column)
{
	RAIL_CLEANUP(table_done) struct table table = TABLE_OF(columns);

	put_row(&table, "a", 1, true, 90000, 0);

	RAIL_FREE char *text = printed(&table, table_print_record);
	cr_assert_str_eq(text, "NAME   a\nCOUNT  1\nGOOD   yes\nAGE    1 d 1 h\nSIZE   0 B\n");
}

Test(cmd_table, without_rows_there_is_a_line_of_headings_and_an_empty_array)
{
	RAIL_CLEANUP(table_done) struct table table = TABLE_OF(columns);
	RAIL_FREE char *text = printed(&table, table_print);
	RAIL_CLEANUP(rail_json_freep) struct rail_json *json = table_json(&table);

	cr_assert_str_eq(text, "NAME  COUNT  GOOD  AGE  SIZE\n");
	cr_assert_eq(rail_json_count(json), 0);
}

Test(cmd_table, seconds_and_bytes_at_their_bounds)
{
	static const struct table_column two[] = {{"s", "S", TABLE_SECONDS},
						  {"b", "B", TABLE_BYTES}};
	static const struct {
		int64_t number;
		const char *seconds;
		const char *bytes;
	} cases[] = {
		{0, "0 s", "0 B"},
		{59, "59 s", "59 B"},
		{60, "1 min 0 s", "60 B"},
		{1023, "17 min 3 s", "1023 B"},
		{1024, "17 min 4 s", "1.0 KiB"},
		{3600, "1 h 0 min", "3.5 KiB"},
		{86399, "23 h 59 min", "84.3 KiB"},
		{86400, "1 d 0 h", "84.3 KiB"},
		{1048575, "12 d 3 h", "1023.9 KiB"},
		{1048576, "12 d 3 h", "1.0 MiB"},
		{INT64_MAX, "106751991167300 d 15 h", "7.9 EiB"},
	};

	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		RAIL_CLEANUP(table_done) struct table table = TABLE_OF(two);
		char expected[128];

		table_put_number(&table, cases[i].number);
		table_put_number(&table, cases[i].number);
		RAIL_FREE char *text = printed(&table, table_print_record);
		(void)snprintf(expected, sizeof(expected), "S  %s\nB  %s\n", cases[i].seconds,
			       cases[i].bytes);
		cr_assert_str_eq(text, expected);
	}
}

Test(cmd_table, a_row_that_does_not_fit_its_columns_is_a_fault)
{
	struct rail_error error = RAIL_ERROR_NONE;
	RAIL_CLEANUP(table_done) struct table wrong = TABLE_OF(columns);
	RAIL_CLEANUP(table_done) struct table part = TABLE_OF(columns);

	table_put_number(&wrong, 7);
	cr_assert_eq(table_finish(&wrong, &error), -EINVAL);
	cr_assert_eq(error.code, RAIL_CODE_INTERNAL);
	/* Nothing goes on behind it. */
	put_row(&wrong, "a", 1, true, 3, 7);
	cr_assert_eq(table_row_count(&wrong), 0);

	table_put_text(&part, "a");
	cr_assert_eq(table_finish(&part, NULL), -EINVAL);
}
