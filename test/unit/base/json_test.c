#include <criterion/criterion.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "pkg/base/cleanup.h"
#include "pkg/base/json.h"

static struct rail_json *parse(const char *text)
{
	struct rail_error error = RAIL_ERROR_NONE;
	struct rail_json *document = NULL;

	cr_assert_eq(rail_json_parse(text, strlen(text), &document, &error), 0, "%s: %s", text,
		     error.message);
	return document;
}

Test(base_json, what_is_read_is_printed_with_the_same_content)
{
	static const struct {
		const char *text;
		const char *printed; /* NULL: as text */
	} cases[] = {
		{"{}", NULL},
		{"[]", NULL},
		{" \t\r\n[ 1 , 2 ] \n", "[1,2]"},
		{"{\"b\":1,\"a\":{\"z\":null,\"y\":[true,false]}}", NULL},
		{"[0,-1,4294967295,9007199254740991,9007199254740993]", NULL},
		{"[9223372036854775807,-9223372036854775808,18446744073709551616]", NULL},
		{"[1.5,1e3,-0,0.1,1E+2,1e-7,1e999]", NULL},
		{"[\"12\",3,{\"4\":5},\"\\\"6\",7]", NULL},
		{"\"\\u00e4\\ud83d\\ude00/\\/\"", "\"\xc3\xa4\xf0\x9f\x98\x80//\""},
		{"\"\\\"\\\\\\b\\f\\n\\r\\t\\u0001\\u007f\"",
		 "\"\\\"\\\\\\b\\f\\n\\r\\t\\u0001\x7f\""},
		{"{\"K\":1,\"k\":2,\"\":3}", NULL},
	};

	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		const char *wanted = cases[i].printed != NULL ? cases[i].printed : cases[i].text;
		RAIL_CLEANUP(rail_json_freep) struct rail_json *document = parse(cases[i].text);
		RAIL_CLEANUP(rail_json_freep) struct rail_json *copy = rail_json_copy(document);
		RAIL_FREE char *printed = rail_json_print(document);
		RAIL_FREE char *printed_copy = rail_json_print(copy);

		cr_assert_str_eq(printed, wanted);
		cr_assert_str_eq(printed_copy, wanted);
	}
}

Test(base_json, refuses_what_is_no_json)
{
	static const struct {
		const char *text;
		const char *says;
	} cases[] = {
		{"", "empty"},
		{" \n ", "empty"},
		{"{", "a string was expected"},
		{"{\"a\"}", "':' was expected"},
		{"{\"a\":1,}", "a string was expected"},
		{"[1,]", "a value was expected"},
		{"[1 2]", "',' or ']'"},
		{"{\"a\":1 \"b\":2}", "',' or '}'"},
		{"{a:1}", "a string was expected"},
		{"{} x", "something follows"},
		{"{}{}", "something follows"},
		{"tru", "a value was expected"},
		{"nul", "a value was expected"},
		{"\xef\xbb\xbf{}", "a value was expected"},
		{"[01]", "malformed number"},
		{"[1.]", "a digit was expected"},
		{"[.5]", "a value was expected"},
		{"[+1]", "a value was expected"},
		{"[-]", "a digit was expected"},
		{"[1e]", "exponent"},
		{"[1-2]", "malformed number"},
		{"[NaN]", "a value was expected"},
		{"[1111111111111111111111111111111111111111111111111111111111111111]",
		 "63 characters"},
		{"\"a", "ends inside a string"},
		{"\"\\", "unknown escape"},
		{"\"\\x\"", "unknown escape"},
		{"\"\\u12\"", "four hexadecimal"},
		{"\"\\u0000\"", "\\u0000"},
		{"{\"\\u0000\":1}", "\\u0000"},
		{"\"\\ud800\"", "surrogate"},
		{"\"\\ud800\\u0041\"", "surrogate"},
		{"\"\\udc00\"", "surrogate"},
		{"\"a\nb\"", "control character"},
		{"\"\xff\"", "UTF-8"},
		{"\"\xc0\x80\"", "UTF-8"},
		{"\"\xe0\x9f\xbf\"", "UTF-8"},
		{"\"\xed\xa0\x80\"", "UTF-8"},
		{"\"\xf4\x90\x80\x80\"", "UTF-8"},
		{"\"\xe2\x82\"", "UTF-8"},
		{"{\"\xff\":1}", "UTF-8"},
		{"\v{}", "a value was expected"},
		{"{\n  \"a\": x}", "line 2, column 8"},
	};

	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		struct rail_json *document = (struct rail_json *)&cases;
		struct rail_error error = RAIL_ERROR_NONE;

		cr_assert_lt(
			rail_json_parse(cases[i].text, strlen(cases[i].text), &document, &error), 0,
			"%s", cases[i].text);
		cr_assert_eq(error.code, RAIL_CODE_DECODE);
		cr_assert(strstr(error.message, cases[i].says) != NULL, "%s: %s", cases[i].text,
			  error.message);
		cr_assert_eq(document, (struct rail_json *)&cases);
	}
}

Test(base_json, refuses_a_nul_byte_inside)
{
	static const char text[] = "{\"a\":\"b\0c\"}";
	static const char behind[] = "{}\0";
	struct rail_json *document = NULL;

	cr_assert_lt(rail_json_parse(text, sizeof(text) - 1, &document, NULL), 0);
	cr_assert_lt(rail_json_parse(behind, sizeof(behind) - 1, &document, NULL), 0);
}

Test(base_json, refuses_a_key_that_is_there_twice)
{
	static const struct {
		const char *text;
		const char *key;
	} cases[] = {
		{"{\"a\":1,\"b\":2,\"a\":1}", "'a'"},
		{"[{\"x\":{\"name\":1,\"name\":2}}]", "'name'"},
		{"{\"a\":1,\"\\u0061\":2}", "'a'"},
	};

	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		struct rail_json *document = NULL;
		struct rail_error error = RAIL_ERROR_NONE;

		cr_assert_lt(
			rail_json_parse(cases[i].text, strlen(cases[i].text), &document, &error),
			0);
		cr_assert_eq(error.code, RAIL_CODE_DECODE);
		cr_assert(strstr(error.message, cases[i].key) != NULL, "%s", error.message);
	}

	/* The same key in two objects is none of that. */
	rail_json_free(parse("{\"a\":{\"a\":1},\"b\":{\"a\":1}}"));
}

/* As many brackets as depth says, around nothing. */
static int parse_nested(size_t depth)
{
	RAIL_FREE char *text = malloc(depth * 2);
	struct rail_json *document = NULL;

	memset(text, '[', depth);
	memset(text + depth, ']', depth);

	int result = rail_json_parse(text, depth * 2, &document, NULL);
	rail_json_free(document);
	return result;
}

Test(base_json, depth_is_bounded)
{
	cr_assert_eq(parse_nested(RAIL_JSON_DEPTH_MAXIMUM), 0);
	cr_assert_lt(parse_nested(RAIL_JSON_DEPTH_MAXIMUM + 1), 0);
	cr_assert_lt(parse_nested(RAIL_JSON_SIZE_MAXIMUM / 2), 0);
}

Test(base_json, size_is_bounded)
{
	size_t size = RAIL_JSON_SIZE_MAXIMUM;
	RAIL_FREE char *text = malloc(size + 1);
	struct rail_error error = RAIL_ERROR_NONE;
	struct rail_json *document = NULL;

	memset(text, ' ', size + 1);
	text[0] = '{';
	text[1] = '}';
	cr_assert_eq(rail_json_parse(text, size, &document, NULL), 0);
	rail_json_free(document);
	cr_assert_eq(rail_json_parse(text, size + 1, &document, &error), -EFBIG);
	cr_assert_eq(error.code, RAIL_CODE_DECODE);
}

Test(base_json, an_object_of_very_many_keys_is_read, .timeout = 10)
{
	RAIL_FREE char *text = malloc(RAIL_JSON_SIZE_MAXIMUM);
	size_t size = 1;
	size_t count = 0;

	text[0] = '{';
	while (size < RAIL_JSON_SIZE_MAXIMUM - 32)
		size += (size_t)sprintf(text + size, "%s\"%zx\":1", count > 0 ? "," : "", count),
			count++;
	text[size++] = '}';

	struct rail_json *document = NULL;
	cr_assert_eq(rail_json_parse(text, size, &document, NULL), 0);
	cr_assert_eq(rail_json_count(document), count);
	rail_json_free(document);
}

Test(base_json, a_nul_byte_can_be_replaced)
{
	static const struct {
		const char *text;
		const char *replaced;
	} cases[] = {
		{"\"\\u0000\"", "\"\\ufffd\""},
		{"[\"a\\u0000\\u0000b\",\"\\u0041\"]", "[\"a\\ufffd\\ufffdb\",\"\\u0041\"]"},
		/* An escaped backslash. */
		{"\"\\\\u0000\"", "\"\\\\u0000\""},
		{"\"\\\\\\u0000\"", "\"\\\\\\ufffd\""},
		{"\"\\\"\\u0000", "\"\\\"\\ufffd"},
		{"\\u000", "\\u000"},
		{"\\", "\\"},
		{"", ""},
	};

	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		RAIL_FREE char *text = strdup(cases[i].text);

		rail_json_replace_nul(text, strlen(text));
		cr_assert_str_eq(text, cases[i].replaced);
	}
}

Test(base_json, look_ups_are_exact_unless_asked)
{
	RAIL_CLEANUP(rail_json_freep)
	struct rail_json *document = parse("{\"Servers\":[1],\"a\":{},\"A\":true,\"n\":null}");

	cr_assert_null(rail_json_get(document, "servers"));
	cr_assert_not_null(rail_json_get(document, "Servers"));
	cr_assert_not_null(rail_json_get_any_case(document, "servers"));
	cr_assert_not_null(rail_json_get_any_case(document, "SERVERS"));
	cr_assert_null(rail_json_get_any_case(document, "server"));
	/* The exact one wins. */
	cr_assert_eq(rail_json_type(rail_json_get_any_case(document, "a")), RAIL_JSON_OBJECT);
	cr_assert_eq(rail_json_type(rail_json_get_any_case(document, "A")), RAIL_JSON_BOOLEAN);
	cr_assert_eq(rail_json_type(rail_json_get(document, "n")), RAIL_JSON_NULL);
	cr_assert_null(rail_json_get(rail_json_get(document, "Servers"), "a"));
	cr_assert_null(rail_json_get(NULL, "a"));
	cr_assert_str_eq(rail_json_key(rail_json_first(document)), "Servers");
	cr_assert_null(rail_json_key(rail_json_first(rail_json_first(document))));
}

Test(base_json, integers)
{
	static const struct {
		const char *text;
		bool good;
		int64_t number;
	} cases[] = {
		{"7", true, 7},
		{"-3", true, -3},
		{"1e3", true, 1000},
		{"2.0", true, 2},
		{"-0", true, 0},
		{"9007199254740993", true, 9007199254740993},
		{"9223372036854775807", true, INT64_MAX},
		{"9223372036854775808", false, 0},
		{"1e300", false, 0},
		{"1e999", false, 0},
		{"1.5", false, 0},
		{"\"7\"", false, 0},
		{"true", false, 0},
		{"null", false, 0},
	};
	int64_t number;

	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		RAIL_CLEANUP(rail_json_freep) struct rail_json *value = parse(cases[i].text);
		int result = rail_json_integer(value, INT64_MIN, INT64_MAX, &number);

		cr_assert_eq(result, cases[i].good ? 0 : -EINVAL, "%s", cases[i].text);
		if (cases[i].good)
			cr_assert_eq(number, cases[i].number, "%s", cases[i].text);
	}

	RAIL_CLEANUP(rail_json_freep) struct rail_json *ten = parse("10");
	cr_assert_eq(rail_json_integer(ten, 10, 10, &number), 0);
	cr_assert_eq(rail_json_integer(ten, 11, 20, &number), -EINVAL);
	cr_assert_eq(rail_json_integer(ten, 0, 9, &number), -EINVAL);
	cr_assert_eq(rail_json_integer(NULL, 0, 9, &number), -EINVAL);
}

Test(base_json, making)
{
	RAIL_CLEANUP(rail_json_freep) struct rail_json *object = rail_json_new_object();
	struct rail_json *array = rail_json_new_array();

	cr_assert_eq(rail_json_append(array, rail_json_new_integer(INT64_MAX)), 0);
	cr_assert_eq(rail_json_append(array, rail_json_new_boolean(false)), 0);
	cr_assert_eq(rail_json_put(object, "a", rail_json_new_string("one")), 0);
	cr_assert_eq(rail_json_put(object, "b", array), 0);
	cr_assert_eq(rail_json_put(object, "A", rail_json_new_object()), 0);
	cr_assert_eq(rail_json_put(object, "nothing", rail_json_new_null()), 0);
	/* Replaced where it stands. */
	cr_assert_eq(rail_json_put(object, "a", rail_json_new_integer(-5)), 0);
	/* A copy is nobody's member, so it can become anybody's. */
	cr_assert_eq(rail_json_append(array, rail_json_copy(rail_json_get(object, "a"))), 0);
	cr_assert_null(rail_json_key(rail_json_next(rail_json_next(rail_json_first(array)))));

	RAIL_FREE char *text = rail_json_print(object);
	cr_assert_str_eq(text, "{\"a\":-5,\"b\":[9223372036854775807,false,-5],\"A\":{},"
			       "\"nothing\":null}");

	rail_json_remove(object, "b");
	rail_json_remove(object, "b");
	RAIL_FREE char *less = rail_json_print(object);
	cr_assert_str_eq(less, "{\"a\":-5,\"A\":{},\"nothing\":null}");
}

Test(base_json, a_lack_of_memory_may_be_passed_on)
{
	RAIL_CLEANUP(rail_json_freep) struct rail_json *object = rail_json_new_object();

	cr_assert_eq(rail_json_put(object, "a", NULL), -ENOMEM);
	cr_assert_eq(rail_json_put(NULL, "a", rail_json_new_string("x")), -ENOMEM);
	cr_assert_eq(rail_json_append(NULL, rail_json_new_string("x")), -ENOMEM);
	cr_assert_eq(rail_json_append(object, rail_json_new_string("x")), -ENOMEM);
	cr_assert_null(rail_json_print(NULL));
	cr_assert_null(rail_json_copy(NULL));
	cr_assert_eq(rail_json_count(object), 0);
}

Test(base_json, what_is_printed_is_valid_whatever_the_string_is)
{
	RAIL_CLEANUP(rail_json_freep)
	struct rail_json *value = rail_json_new_string("a\xff\xe2\x82|\xc3\xa4\x01");
	RAIL_FREE char *text = rail_json_print(value);

	cr_assert_str_eq(text, "\"a\xef\xbf\xbd\xef\xbf\xbd\xef\xbf\xbd|\xc3\xa4\\u0001\"");
	rail_json_free(parse(text));
}

Test(base_json, types_have_names)
{
	cr_assert_str_eq(rail_json_type_name(RAIL_JSON_NULL), "null");
	cr_assert_str_eq(rail_json_type_name(RAIL_JSON_OBJECT), "an object");
	cr_assert_eq(rail_json_type(NULL), RAIL_JSON_NULL);
}
