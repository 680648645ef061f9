#include "pkg/base/bytes.h"

#include <criterion/criterion.h>
#include <stdlib.h>
#include <string.h>

Test(base_bytes, numbers_are_in_network_order)
{
	static const uint8_t expected[] = {0x01, 0x02, 0x03, 0x04, 0x05, 0x06, 0x07, 0x08,
					   0x09, 0x0a, 0x0b, 0x0c, 0x0d, 0x0e, 0x0f};
	uint8_t bytes[sizeof(expected)];
	struct rail_writer writer = rail_writer_init(bytes, sizeof(bytes));

	rail_write_u8(&writer, 0x01);
	rail_write_u16(&writer, 0x0203);
	rail_write_u32(&writer, 0x04050607);
	rail_write_u64(&writer, 0x08090a0b0c0d0e0f);
	cr_assert_not(writer.failed);
	cr_assert_eq(rail_writer_left(&writer), 0);
	cr_assert_arr_eq(bytes, expected, sizeof(expected));

	struct rail_reader reader = rail_reader_init(bytes, sizeof(bytes));
	cr_assert_eq(rail_read_u8(&reader), 0x01);
	cr_assert_eq(rail_read_u16(&reader), 0x0203);
	cr_assert_eq(rail_read_u32(&reader), 0x04050607);
	cr_assert_eq(rail_read_u64(&reader), 0x08090a0b0c0d0e0f);
	cr_assert_not(reader.failed);
	cr_assert_eq(rail_reader_left(&reader), 0);
}

Test(base_bytes, a_failed_read_is_remembered_and_all_later_ones_give_zeroes)
{
	static const uint8_t bytes[] = {0xff, 0xff, 0xff};
	struct rail_reader reader = rail_reader_init(bytes, sizeof(bytes));
	uint8_t target[2] = {0x55, 0x55};
	char text[4] = "abc";

	cr_assert_eq(rail_read_u32(&reader), 0);
	cr_assert(reader.failed);
	cr_assert_eq(rail_reader_left(&reader), 0);
	/* These would fit. */
	cr_assert_eq(rail_read_u8(&reader), 0);
	cr_assert_eq(rail_read_u16(&reader), 0);
	rail_read_bytes(&reader, target, sizeof(target));
	cr_assert_eq(target[0] | target[1], 0);
	cr_assert_null(rail_read_view(&reader, 1));
	rail_read_string(&reader, text, sizeof(text));
	cr_assert_str_empty(text);
	cr_assert(reader.failed);
}

Test(base_bytes, sizes_near_the_largest_do_not_wrap_around)
{
	uint8_t bytes[8] = {0};
	struct rail_reader reader = rail_reader_init(bytes, sizeof(bytes));
	struct rail_writer writer = rail_writer_init(bytes, sizeof(bytes));

	(void)rail_read_u8(&reader);
	cr_assert_null(rail_read_view(&reader, SIZE_MAX));
	cr_assert(reader.failed);

	rail_write_u8(&writer, 1);
	rail_write_bytes(&writer, bytes, SIZE_MAX);
	cr_assert(writer.failed);
	cr_assert_eq(writer.position, 1);
}

Test(base_bytes, a_write_that_does_not_fit_changes_nothing_and_stops_the_rest)
{
	uint8_t bytes[4] = {0xaa, 0xaa, 0xaa, 0xaa};
	struct rail_writer writer = rail_writer_init(bytes, 3);

	rail_write_u16(&writer, 0x0102);
	rail_write_u16(&writer, 0x0304);
	cr_assert(writer.failed);
	cr_assert_eq(rail_writer_left(&writer), 0);
	rail_write_u8(&writer, 5); /* would fit */
	cr_assert_eq(writer.position, 2);
	cr_assert_eq(bytes[2], 0xaa);
	cr_assert_eq(bytes[3], 0xaa);
}

Test(base_bytes, nothing_is_read_or_written_of_nothing)
{
	struct rail_reader reader = rail_reader_init(NULL, 0);
	struct rail_writer writer = rail_writer_init(NULL, 0);

	rail_read_bytes(&reader, NULL, 0);
	rail_write_bytes(&writer, NULL, 0);
	cr_assert_not(reader.failed);
	cr_assert_not(writer.failed);
	cr_assert_eq(rail_read_u8(&reader), 0);
	cr_assert(reader.failed);
}

Test(base_bytes, a_string_comes_back_where_it_fits_with_its_nul)
{
	uint8_t bytes[16];
	struct rail_writer writer = rail_writer_init(bytes, sizeof(bytes));
	char exact[4];
	char small[3] = "xx";

	rail_write_string(&writer, "abc");
	cr_assert_not(writer.failed);
	cr_assert_eq(writer.position, 5);

	struct rail_reader reader = rail_reader_init(bytes, writer.position);
	rail_read_string(&reader, exact, sizeof(exact));
	cr_assert_not(reader.failed);
	cr_assert_str_eq(exact, "abc");

	reader = rail_reader_init(bytes, writer.position);
	rail_read_string(&reader, small, sizeof(small));
	cr_assert(reader.failed);
	cr_assert_str_empty(small);
}

Test(base_bytes, a_string_with_a_nul_inside_or_cut_short_is_refused)
{
	static const uint8_t with_nul[] = {0, 3, 'a', 0, 'c'};
	static const uint8_t cut[] = {0, 3, 'a', 'b'};
	char text[8] = "before";

	struct rail_reader reader = rail_reader_init(with_nul, sizeof(with_nul));
	rail_read_string(&reader, text, sizeof(text));
	cr_assert(reader.failed);
	cr_assert_str_empty(text);

	reader = rail_reader_init(cut, sizeof(cut));
	rail_read_string(&reader, text, sizeof(text));
	cr_assert(reader.failed);
	cr_assert_str_empty(text);
}

Test(base_bytes, the_longest_string_has_65535_bytes)
{
	static char text[65537];
	static uint8_t bytes[65540];
	struct rail_writer writer = rail_writer_init(bytes, sizeof(bytes));

	memset(text, 'x', 65535);
	rail_write_string(&writer, text);
	cr_assert_not(writer.failed);
	cr_assert_eq(writer.position, 65537);

	writer = rail_writer_init(bytes, sizeof(bytes));
	text[65535] = 'x';
	rail_write_string(&writer, text);
	cr_assert(writer.failed);
	cr_assert_eq(writer.position, 0);
}

Test(base_bytes, two_bytes_are_overwritten_only_where_they_were_written)
{
	uint8_t bytes[8] = {0};
	struct rail_writer writer = rail_writer_init(bytes, sizeof(bytes));

	rail_write_u32(&writer, 0x11111111);
	rail_write_u16_at(&writer, 2, 0xabcd);
	cr_assert_not(writer.failed);
	cr_assert_eq(bytes[1], 0x11);
	cr_assert_eq(bytes[2], 0xab);
	cr_assert_eq(bytes[3], 0xcd);

	rail_write_u16_at(&writer, 3, 0x2222);
	cr_assert(writer.failed);
	cr_assert_eq(bytes[3], 0xcd);
	cr_assert_eq(bytes[4], 0);

	writer = rail_writer_init(bytes, sizeof(bytes));
	rail_write_u16_at(&writer, SIZE_MAX, 0x2222);
	cr_assert(writer.failed);
}
