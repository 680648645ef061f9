#pragma once

/*
 * What others chose (names, paths, identifiers), for a terminal: no byte that could be taken for a
 * command to it. All results are for free(); NULL where memory ran out.
 */

/* A cell of a table: what is not printable ASCII, and the backslash, as \xNN; so are blanks at
 * either end and behind another blank. */
char *escape_cell(const char *text);

/* A message, in which the library has quoted names in that way already: what is not printable ASCII
 * as \xNN. */
char *escape_message(const char *text);

/* JSON text in plain ASCII: what is not stands in strings only, and becomes \uNNNN there; bytes
 * that are no UTF-8 (RFC 3629) become U+FFFD. */
char *escape_json(const char *json);
