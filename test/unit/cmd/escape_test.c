#include "cmd/railwayctl/escape.h"

#include <criterion/criterion.h>
#include <stdlib.h>

#include "pkg/base/cleanup.h"

static void becomes(char *(*escape)(const char *), const char *text, const char *expected)
{
	RAIL_FREE char *escaped = escape(text);

	cr_assert_str_eq(escaped, expected);
}

Test(cmd_escape, a_cell_holds_no_byte_that_a_terminal_obeys)
{
	becomes(escape_cell, "production/api-1", "production/api-1");
	becomes(escape_cell, "", "");
	becomes(escape_cell, "\x1b[31mred\x07\r\n\t", "\\x1b[31mred\\x07\\x0d\\x0a\\x09");
	becomes(escape_cell, "\x7f\x9b\xc2\x9b", "\\x7f\\x9b\\xc2\\x9b");
	becomes(escape_cell, "b\xc3\xbcro", "b\\xc3\\xbcro");
	/* So that no name looks like what another is escaped to. */
	becomes(escape_cell, "\\x1b", "\\x5cx1b");
}

Test(cmd_escape, no_cell_holds_what_stands_between_columns)
{
	becomes(escape_cell, "my api", "my api");
	becomes(escape_cell, "a  b   c", "a \\x20b \\x20\\x20c");
	becomes(escape_cell, " a ", "\\x20a\\x20");
	becomes(escape_cell, " ", "\\x20");
}

Test(cmd_escape, a_message_keeps_what_the_library_has_quoted)
{
	becomes(escape_message, "there is no 'a\\x1b'  here", "there is no 'a\\x1b'  here");
	becomes(escape_message, "\x1b]0;x\x07", "\\x1b]0;x\\x07");
}

Test(cmd_escape, json_becomes_plain_ascii_of_the_same_meaning)
{
	becomes(escape_json, "{\"a\":[1,\"x\\n\"]}", "{\"a\":[1,\"x\\n\"]}");
	becomes(escape_json, "\"b\xc3\xbcro \x7f\xc2\x9b\"", "\"b\\u00fcro \\u007f\\u009b\"");
	becomes(escape_json, "\"\xc3(\xff\"", "\"\\ufffd(\\ufffd\"");
	becomes(escape_json, "\"\xe2\x80\xae\xef\xbf\xbd\"", "\"\\u202e\\ufffd\"");
	/* Beyond 16 bits: two units. */
	becomes(escape_json, "\"\xf0\x9f\x9a\x82\xf4\x8f\xbf\xbf\"",
		"\"\\ud83d\\ude82\\udbff\\udfff\"");
}
