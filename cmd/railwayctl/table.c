#include "cmd/railwayctl/table.h"

#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "cmd/railwayctl/escape.h"
#include "pkg/base/cleanup.h"
#include "pkg/base/grow.h"

enum {
	CELL_TEXT_SIZE = 64, /* of numbers */
	MINUTE = 60,
	HOUR = 60 * MINUTE,
	DAY = 24 * HOUR,
	KIBI = 1024,
};

void table_done(struct table *table)
{
	for (size_t i = 0; i < table->cell_count; i++)
		free(table->cells[i].text);
	free(table->cells);
	table->cells = NULL;
	table->cell_count = 0;
}

/* The next cell; NULL where its column is of another kind. */
static struct table_cell *next_cell(struct table *table, bool is_text, bool is_truth)
{
	enum table_kind kind = table->columns[table->cell_count % table->column_count].kind;
	size_t count = table->cell_count;

	if (table->errnum != 0)
		return NULL;
	if ((kind == TABLE_TEXT) != is_text || (kind == TABLE_TRUTH) != is_truth) {
		table->errnum = EINVAL;
		return NULL;
	}

	struct table_cell *cells = rail_grow(table->cells, count, sizeof(*cells));

	if (cells == NULL) {
		table->errnum = ENOMEM;
		return NULL;
	}
	table->cells = cells;
	table->cells[count] = (struct table_cell){.text = NULL};
	table->cell_count++;
	return &table->cells[count];
}

void table_put_text(struct table *table, const char *text)
{
	struct table_cell *cell = next_cell(table, true, false);

	if (cell == NULL || text == NULL || *text == '\0')
		return;
	cell->text = strdup(text);
	cell->is_there = cell->text != NULL;
	if (cell->text == NULL)
		table->errnum = ENOMEM;
}

void table_put_number(struct table *table, int64_t number)
{
	struct table_cell *cell = next_cell(table, false, false);

	if (cell != NULL)
		*cell = (struct table_cell){.is_there = true, .number = number};
}

void table_put_truth(struct table *table, bool truth)
{
	struct table_cell *cell = next_cell(table, false, true);

	if (cell != NULL)
		*cell = (struct table_cell){.is_there = true, .number = truth};
}

void table_put_nothing(struct table *table)
{
	enum table_kind kind = table->columns[table->cell_count % table->column_count].kind;

	(void)next_cell(table, kind == TABLE_TEXT, kind == TABLE_TRUTH);
}

int table_finish(const struct table *table, struct rail_error *error)
{
	if (table->errnum == ENOMEM)
		return rail_fail_errno(error, ENOMEM, "make a table");
	if (table->errnum != 0 || table->cell_count % table->column_count != 0)
		return rail_fail_code(error, RAIL_CODE_INTERNAL, EINVAL,
				      "a table's row has other cells than its columns");
	return 0;
}

size_t table_row_count(const struct table *table)
{
	return table->cell_count / table->column_count;
}

/* ---- text ---- */

static void format_seconds(int64_t seconds, char text[CELL_TEXT_SIZE])
{
	if (seconds < MINUTE)
		(void)snprintf(text, CELL_TEXT_SIZE, "%" PRId64 " s", seconds);
	else if (seconds < HOUR)
		(void)snprintf(text, CELL_TEXT_SIZE, "%" PRId64 " min %" PRId64 " s",
			       seconds / MINUTE, seconds % MINUTE);
	else if (seconds < DAY)
		(void)snprintf(text, CELL_TEXT_SIZE, "%" PRId64 " h %" PRId64 " min",
			       seconds / HOUR, seconds % HOUR / MINUTE);
	else
		(void)snprintf(text, CELL_TEXT_SIZE, "%" PRId64 " d %" PRId64 " h", seconds / DAY,
			       seconds % DAY / HOUR);
}

static void format_bytes(int64_t bytes, char text[CELL_TEXT_SIZE])
{
	static const char *const units[] = {"KiB", "MiB", "GiB", "TiB", "PiB", "EiB"};
	size_t unit = 0;
	int64_t whole = bytes / KIBI;
	int64_t rest = bytes % KIBI;

	if (bytes < KIBI) {
		(void)snprintf(text, CELL_TEXT_SIZE, "%" PRId64 " B", bytes);
		return;
	}
	while (whole >= KIBI) {
		rest = whole % KIBI;
		whole /= KIBI;
		unit++;
	}
	(void)snprintf(text, CELL_TEXT_SIZE, "%" PRId64 ".%" PRId64 " %s", whole, rest * 10 / KIBI,
		       units[unit]);
}

/* For free(); NULL where memory ran out. */
static char *render(const struct table_cell *cell, enum table_kind kind)
{
	char text[CELL_TEXT_SIZE];

	if (!cell->is_there)
		return strdup("-");
	switch (kind) {
	case TABLE_TEXT:
		return escape_cell(cell->text);
	case TABLE_TRUTH:
		return strdup(cell->number != 0 ? "yes" : "no");
	case TABLE_SECONDS:
		format_seconds(cell->number, text);
		return strdup(text);
	case TABLE_BYTES:
		format_bytes(cell->number, text);
		return strdup(text);
	case TABLE_NUMBER:
		break;
	}
	(void)snprintf(text, sizeof(text), "%" PRId64, cell->number);
	return strdup(text);
}

static void free_texts(char **texts, size_t count)
{
	for (size_t i = 0; texts != NULL && i < count; i++)
		free(texts[i]);
	free(texts);
}

/* All cells as text, for free_texts; NULL where memory ran out. */
static char **render_all(const struct table *table)
{
	char **texts = calloc(table->cell_count + 1, sizeof(*texts));

	for (size_t i = 0; texts != NULL && i < table->cell_count; i++) {
		texts[i] = render(&table->cells[i], table->columns[i % table->column_count].kind);
		if (texts[i] == NULL) {
			free_texts(texts, i);
			return NULL;
		}
	}
	return texts;
}

/* A column's width; the last one is not filled up. */
static int width_of(const struct table *table, char *const *texts, size_t column)
{
	size_t width = strlen(table->columns[column].heading);

	if (column + 1 == table->column_count)
		return 0;
	for (size_t i = column; i < table->cell_count; i += table->column_count)
		if (strlen(texts[i]) > width)
			width = strlen(texts[i]);
	return (int)width;
}

int table_print(const struct table *table, FILE *stream)
{
	RAIL_FREE int *widths = calloc(table->column_count, sizeof(*widths));
	char **texts = render_all(table);

	if (widths == NULL || texts == NULL) {
		free_texts(texts, table->cell_count);
		return -ENOMEM;
	}
	for (size_t i = 0; i < table->column_count; i++) {
		widths[i] = width_of(table, texts, i);
		(void)fprintf(stream, "%s%-*s", i > 0 ? "  " : "", widths[i],
			      table->columns[i].heading);
	}
	(void)fputc('\n', stream);
	for (size_t i = 0; i < table->cell_count; i++) {
		size_t column = i % table->column_count;

		(void)fprintf(stream, "%s%-*s%s", column > 0 ? "  " : "", widths[column], texts[i],
			      column + 1 == table->column_count ? "\n" : "");
	}
	free_texts(texts, table->cell_count);
	return 0;
}

int table_print_record(const struct table *table, FILE *stream)
{
	char **texts = render_all(table);
	size_t width = 0;

	if (texts == NULL)
		return -ENOMEM;
	for (size_t i = 0; i < table->column_count; i++)
		if (strlen(table->columns[i].heading) > width)
			width = strlen(table->columns[i].heading);
	for (size_t i = 0; i < table->column_count && i < table->cell_count; i++)
		(void)fprintf(stream, "%-*s  %s\n", (int)width, table->columns[i].heading,
			      texts[i]);
	free_texts(texts, table->cell_count);
	return 0;
}

/* ---- JSON ---- */

static struct rail_json *cell_json(const struct table_cell *cell, enum table_kind kind)
{
	if (!cell->is_there)
		return rail_json_new_null();
	if (kind == TABLE_TEXT)
		return rail_json_new_string(cell->text);
	if (kind == TABLE_TRUTH)
		return rail_json_new_boolean(cell->number != 0);
	return rail_json_new_integer(cell->number);
}

static struct rail_json *row_json(const struct table *table, size_t row)
{
	struct rail_json *object = rail_json_new_object();
	const struct table_cell *cells = &table->cells[row * table->column_count];

	for (size_t i = 0; object != NULL && i < table->column_count; i++) {
		const struct table_column *column = &table->columns[i];

		if (rail_json_put(object, column->key, cell_json(&cells[i], column->kind)) < 0) {
			rail_json_free(object);
			return NULL;
		}
	}
	return object;
}

struct rail_json *table_json(const struct table *table)
{
	struct rail_json *array = rail_json_new_array();

	for (size_t i = 0; array != NULL && i < table_row_count(table); i++) {
		if (rail_json_append(array, row_json(table, i)) < 0) {
			rail_json_free(array);
			return NULL;
		}
	}
	return array;
}

struct rail_json *table_record_json(const struct table *table)
{
	return row_json(table, 0);
}
