#include <criterion/criterion.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "pkg/dns/name.h"

struct accepted {
	const char *wire; /* its NUL is the root */
	size_t size;
	const char *lower;
	size_t labels;
	const char *text;
};

#define ROW(wire, lower, labels, text)                                                             \
	{                                                                                          \
		wire, sizeof(wire), lower, labels, text                                            \
	}

static const struct accepted accepted[] = {
	ROW("", "", 0, "."),
	ROW("\1a", "\1a", 1, "a."),
	ROW("\3ApI\7RaIlWaY\10InTeRnAl", "\3api\7railway\10internal", 3, "api.railway.internal."),
	ROW("\3a.b\1c", "\3a.b\1c", 2, "a\\.b.c."),
	ROW("\3a\0b\1C", "\3a\0b\1c", 2, "a\\000b.c."),
	ROW("\4\\\" \177", "\4\\\" \177", 1, "\\\\\\\"\\032\\127."),
	ROW("\3\xff\n\xc3", "\3\xff\n\xc3", 1, "\\255\\010\\195."),
	ROW("\4@[`{", "\4@[`{", 1, "@[`{."), /* the neighbours of A, Z, a and z */
	ROW("\11_services\3A-1", "\11_services\3a-1", 2, "_services.a-1."),
};

static int read_name(const void *bytes, size_t size, struct rail_name *name, size_t *ret_left)
{
	/* On the heap, at its exact size, so that a sanitizer sees a read beyond it. */
	uint8_t *copy = malloc(size > 0 ? size : 1);
	struct rail_reader reader;
	int result;

	memcpy(copy, bytes, size);
	reader = rail_reader_init(copy, size);
	result = rail_name_read(&reader, name);
	cr_assert_eq(reader.failed, result < 0);
	*ret_left = rail_reader_left(&reader);
	free(copy);
	return result;
}

Test(dns_name, reads_in_lower_case)
{
	for (size_t i = 0; i < sizeof(accepted) / sizeof(accepted[0]); i++) {
		const struct accepted *row = &accepted[i];
		char text[RAIL_NAME_TEXT_SIZE];
		struct rail_name name;
		uint8_t longer[64];
		size_t left;

		cr_assert_eq(read_name(row->wire, row->size, &name, &left), 0, "%s", row->text);
		cr_assert_eq(left, 0);
		cr_assert_eq(name.size, row->size);
		cr_assert_arr_eq(name.wire, row->lower, row->size);
		cr_assert_eq(name.label_count, row->labels);
		rail_name_to_text(&name, text);
		cr_assert_str_eq(text, row->text);

		memcpy(longer, row->wire, row->size);
		longer[row->size] = 0xc0;
		cr_assert_eq(read_name(longer, row->size + 1, &name, &left), 0);
		cr_assert_eq(left, 1);
		cr_assert_eq(name.size, row->size);
		for (size_t size = 0; size < row->size; size++)
			cr_assert_eq(read_name(row->wire, size, &name, &left), -EBADMSG);
	}
}

Test(dns_name, refuses_pointers_and_other_label_types)
{
	static const char *const rows[] = {
		"\xc0\x0c", "\xc0\x0c\0\0\0", "\1a\xc0\x0c", "\1a\xc0\0",
		"\x40",	    "\x41\x01\x01\0", "\x80\0",	     "\1a\xff\xff\xff\xff",
	};

	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		uint8_t bytes[300] = {0};
		struct rail_name name;
		size_t left;

		memcpy(bytes, rows[i], strlen(rows[i]));
		cr_assert_eq(read_name(bytes, sizeof(bytes), &name, &left), -EBADMSG, "row %zu", i);
	}
}

/* A name of count labels of length bytes and one of last (0: none). */
static size_t make_long(uint8_t *bytes, size_t count, size_t length, size_t last)
{
	size_t size = 0;

	for (size_t i = 0; i <= count; i++) {
		size_t this = i < count ? length : last;

		if (this == 0)
			continue;
		bytes[size] = (uint8_t)this;
		memset(bytes + size + 1, 0xfe, this);
		size += this + 1;
	}
	bytes[size] = 0;
	return size + 1;
}

Test(dns_name, holds_255_bytes_and_63_a_label)
{
	static const struct {
		size_t count, length, last;
		bool good;
	} rows[] = {
		{3, 63, 61, true},  {3, 63, 62, false}, {4, 63, 0, false}, {127, 1, 0, true},
		{128, 1, 0, false}, {126, 1, 2, false}, {1, 63, 0, true},  {1, 64, 0, false},
	};

	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		uint8_t bytes[512];
		char text[RAIL_NAME_TEXT_SIZE];
		struct rail_name name;
		size_t left;
		size_t size = make_long(bytes, rows[i].count, rows[i].length, rows[i].last);

		cr_assert_eq(read_name(bytes, size, &name, &left) == 0, rows[i].good, "row %zu", i);
		if (!rows[i].good)
			continue;
		cr_assert_eq(name.size, size);
		rail_name_to_text(&name, text);
		/* "\254" for each byte, a dot for each label. */
		cr_assert_eq(strlen(text), 4 * (size - 1 - name.label_count) + name.label_count);
	}
}

Test(dns_name, is_built_label_by_label)
{
	struct rail_name name;
	char label[65];

	memset(label, 'x', sizeof(label));
	rail_name_init(&name);
	cr_assert_eq(name.size, 1);
	cr_assert_eq(rail_name_append(&name, "", 0), -EINVAL);
	cr_assert_eq(rail_name_append(&name, label, 64), -EINVAL);
	cr_assert_eq(rail_name_append(&name, "aPi", 3), 0);
	cr_assert_eq(rail_name_append(&name, "B", 1), 0);
	cr_assert_eq(name.size, 7);
	cr_assert_arr_eq(name.wire, "\3api\1b", 7);
	cr_assert_eq(name.label_count, 2);

	rail_name_init(&name);
	for (size_t i = 0; i < 3; i++)
		cr_assert_eq(rail_name_append(&name, label, 63), 0);
	cr_assert_eq(rail_name_append(&name, label, 62), -ENAMETOOLONG);
	cr_assert_eq(name.size, 193);
	cr_assert_eq(rail_name_append(&name, label, 61), 0);
	cr_assert_eq(name.size, 255);
	cr_assert_eq(rail_name_append(&name, label, 1), -ENAMETOOLONG);

	rail_name_init(&name);
	for (size_t i = 0; i < RAIL_NAME_LABEL_COUNT; i++)
		cr_assert_eq(rail_name_append(&name, "x", 1), 0);
	cr_assert_eq(rail_name_append(&name, "x", 1), -ENAMETOOLONG);
}

Test(dns_name, ends_at_labels_only)
{
	static const char zone[] = "\7railway\10internal";
	static const struct {
		const char *wire;
		size_t size;
		bool below;
	} rows[] = {
		{"\7railway\10internal", 18, true},
		{"\1a\7railway\10internal", 20, true},
		{"\10xrailway\10internal", 19, false},
		{"\11a\7railway\10internal", 20, false}, /* one label that ends in these bytes */
		{"\12a\7railway\10internal", 20, false}, /* cut: not a name at all */
		{"\7railway\10internal\1a", 20, false},
		{"\10internal", 10, false},
		{"", 1, false},
	};

	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		struct rail_name name;
		size_t left;

		if (read_name(rows[i].wire, rows[i].size, &name, &left) < 0) {
			cr_assert(!rows[i].below);
			continue;
		}
		cr_assert_eq(rail_name_ends_with(&name, zone, sizeof(zone), 2), rows[i].below,
			     "row %zu", i);
		cr_assert(rail_name_ends_with(&name, "", 1, 0), "all are below the root");
	}
}

Test(dns_name, gives_its_last_labels)
{
	struct rail_name name;
	size_t left;
	size_t size;

	cr_assert_eq(read_name("\1a\2bc\3def", 10, &name, &left), 0);
	cr_assert_arr_eq(rail_name_suffix(&name, 3, &size), "\1a\2bc\3def", 10);
	cr_assert_eq(size, 10);
	cr_assert_arr_eq(rail_name_suffix(&name, 1, &size), "\3def", 5);
	cr_assert_eq(size, 5);
	cr_assert_arr_eq(rail_name_suffix(&name, 0, &size), "", 1);
	cr_assert_eq(size, 1);
}
