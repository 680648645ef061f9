#pragma once

#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>

#include "pkg/base/error.h"
#include "pkg/base/json.h"

/*
 * Tables: what a command shows, from one description of its columns, as text for people and as JSON
 * for programs. Cells are put one after the other, row by row. A failure is sticky: what follows
 * does nothing, and table_finish tells.
 */

enum table_kind {
	TABLE_TEXT,
	TABLE_NUMBER,
	TABLE_TRUTH,   /* "yes" and "no" */
	TABLE_SECONDS, /* "3 min 7 s"; in JSON their number */
	TABLE_BYTES,   /* "1.5 KiB"; in JSON their number */
};

struct table_column {
	const char *key; /* in JSON */
	const char *heading;
	enum table_kind kind;
};

struct table_cell {
	bool is_there;
	char *text;
	int64_t number;
};

struct table {
	const struct table_column *columns; /* borrowed */
	size_t column_count;
	struct table_cell *cells;
	size_t cell_count;
	int errnum; /* of what failed */
};

#define TABLE_OF(columns_)                                                                         \
	(struct table)                                                                             \
	{                                                                                          \
		.columns = (columns_), .column_count = sizeof(columns_) / sizeof((columns_)[0])    \
	}

void table_done(struct table *table); /* for RAIL_CLEANUP */

/* The next cell. A text is copied; NULL and "" are a cell without a value ("-", null). Seconds and
 * bytes are put as numbers. */
void table_put_text(struct table *table, const char *text);
void table_put_number(struct table *table, int64_t number);
void table_put_truth(struct table *table, bool truth);
void table_put_nothing(struct table *table);

/* Fails where memory ran out, or (code 999) a cell was of another kind than its column, or the last
 * row is not whole. To be called before what follows. */
int table_finish(const struct table *table, struct rail_error *error);
size_t table_row_count(const struct table *table);

/* A line of headings, then a line for each row. Two blanks stand between columns and never in a
 * cell; what is not printable ASCII is escaped. -ENOMEM. */
int table_print(const struct table *table, FILE *stream);
/* The first row, a line for each column: heading and value. */
int table_print_record(const struct table *table, FILE *stream);

/* An array of objects, and the first row's object. NULL where memory ran out. */
struct rail_json *table_json(const struct table *table);
struct rail_json *table_record_json(const struct table *table);
