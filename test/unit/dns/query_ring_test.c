#include "pkg/dns/query_ring.h"

#include <criterion/criterion.h>
#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

static struct rail_query_ring *ring;
static int ring_fd = -1;

static void set_up(void)
{
	struct rail_error error = RAIL_ERROR_NONE;

	cr_assert_eq(rail_query_ring_create(&ring_fd, &ring, &error), 0, "%s", error.message);
}

static void tear_down(void)
{
	rail_query_ring_unmap(ring);
	(void)close(ring_fd);
}

TestSuite(dns_query_ring, .init = set_up, .fini = tear_down);

/* Of that size, with bytes that no other of these has. */
static size_t fill(uint8_t bytes[RAIL_QUERY_RECORD_MAXIMUM], uint64_t number)
{
	size_t size = 1 + number * 37 % RAIL_QUERY_RECORD_MAXIMUM;

	for (size_t i = 0; i < size; i++)
		bytes[i] = (uint8_t)(number * 31 + i);
	return size;
}

static void put(uint64_t number)
{
	uint8_t bytes[RAIL_QUERY_RECORD_MAXIMUM];
	size_t size = fill(bytes, number);

	cr_assert(rail_query_ring_put(ring, bytes, size), "record %zu", (size_t)number);
}

static void expect(struct rail_query_reader *reader, uint64_t number)
{
	uint8_t wanted[RAIL_QUERY_RECORD_MAXIMUM];
	uint8_t bytes[RAIL_QUERY_RECORD_MAXIMUM];
	size_t size = fill(wanted, number);

	cr_assert_eq(rail_query_reader_peek(reader, bytes), (int)size, "record %zu",
		     (size_t)number);
	cr_assert_arr_eq(bytes, wanted, size);
}

Test(dns_query_ring, gives_back_what_was_put_across_its_end)
{
	struct rail_query_reader reader = rail_query_reader_init(ring);
	uint8_t bytes[RAIL_QUERY_RECORD_MAXIMUM];

	/* Many times around, with the end at every place of a record and of its size. */
	for (uint64_t number = 0; number < 20000; number++) {
		put(number);
		expect(&reader, number);
		rail_query_reader_take(&reader);
	}
	cr_assert_gt(reader.position, 4 * (uint64_t)RAIL_QUERY_RING_SIZE);
	cr_assert_eq(rail_query_reader_peek(&reader, bytes), 0);
}

Test(dns_query_ring, a_record_stays_until_it_is_taken_also_for_the_next_writer)
{
	struct rail_query_reader reader = rail_query_reader_init(ring);

	put(1);
	put(2);
	expect(&reader, 1);
	expect(&reader, 1);
	rail_query_reader_take(&reader);
	expect(&reader, 2);

	struct rail_query_reader next = rail_query_reader_init(ring);

	expect(&next, 2);
}

Test(dns_query_ring, what_finds_no_room_is_dropped_and_counted_and_told_once)
{
	struct rail_query_reader reader = rail_query_reader_init(ring);
	uint8_t bytes[RAIL_QUERY_RECORD_MAXIMUM] = {1};
	uint64_t count = 0;

	while (rail_query_ring_put(ring, bytes, sizeof(bytes)))
		count++;
	cr_assert_eq(count, RAIL_QUERY_RING_SIZE / (RAIL_QUERY_RECORD_MAXIMUM + 2));
	cr_assert_not(rail_query_ring_put(ring, bytes, sizeof(bytes)));
	rail_query_ring_drop(ring);
	cr_assert_eq(rail_query_reader_untold(&reader), 3);
	rail_query_reader_told(&reader, 2);
	cr_assert_eq(rail_query_reader_untold(&reader), 1);
	/* There is room for one again. */
	cr_assert_eq(rail_query_reader_peek(&reader, bytes), RAIL_QUERY_RECORD_MAXIMUM);
	rail_query_reader_take(&reader);
	cr_assert(rail_query_ring_put(ring, bytes, sizeof(bytes)));
	cr_assert_not(rail_query_ring_put(ring, bytes, sizeof(bytes)));

	struct rail_query_reader next = rail_query_reader_init(ring);

	cr_assert_eq(rail_query_reader_untold(&next), 2);
}

Test(dns_query_ring, records_without_size_and_too_large_ones_are_dropped)
{
	uint8_t bytes[RAIL_QUERY_RECORD_MAXIMUM + 1] = {0};
	struct rail_query_reader reader = rail_query_reader_init(ring);

	cr_assert_not(rail_query_ring_put(ring, bytes, 0));
	cr_assert_not(rail_query_ring_put(ring, bytes, sizeof(bytes)));
	cr_assert_eq(rail_query_reader_peek(&reader, bytes), 0);
	cr_assert_eq(rail_query_reader_untold(&reader), 2);
}

/* What a worker that is somebody else's may leave: any numbers, any bytes. */
Test(dns_query_ring, nonsense_is_thrown_away_and_the_next_record_is_read)
{
	static const uint64_t ends[] = {
		1, 2, 3, RAIL_QUERY_RING_SIZE, RAIL_QUERY_RING_SIZE + 1, UINT64_MAX};
	static const uint8_t sizes[][2] = {{0, 0}, {0xff, 0xff}, {0x04, 0x01}, {0x00, 0x02}};
	struct rail_query_reader reader = rail_query_reader_init(ring);
	uint8_t bytes[RAIL_QUERY_RECORD_MAXIMUM];

	for (size_t i = 0; i < sizeof(ends) / sizeof(ends[0]); i++)
		for (size_t j = 0; j < sizeof(sizes) / sizeof(sizes[0]); j++) {
			uint64_t start = reader.position;

			for (size_t at = 0; at < 2; at++)
				ring->bytes[(start + at) % RAIL_QUERY_RING_SIZE] = sizes[j][at];
			ring->written = start + ends[i];

			int size = rail_query_reader_peek(&reader, bytes);

			/* Two bytes and a ring that is full of something: that is a record. */
			if (j == 3 && ends[i] == RAIL_QUERY_RING_SIZE) {
				cr_assert_eq(size, 2);
				reader.next = ring->written;
				rail_query_reader_take(&reader);
			} else {
				cr_assert_eq(size, -EBADMSG, "end %zu, size %zu", i, j);
			}
			cr_assert_eq(reader.position, ring->written);
			put(i * 10 + j);
			expect(&reader, i * 10 + j);
			rail_query_reader_take(&reader);
		}
}

Test(dns_query_ring, nonsense_of_a_writer_stops_no_worker)
{
	uint8_t bytes[16] = {0};

	ring->taken = 5;
	cr_assert_not(rail_query_ring_put(ring, bytes, sizeof(bytes)));
	ring->taken = 0;
	cr_assert(rail_query_ring_put(ring, bytes, sizeof(bytes)));
}

Test(dns_query_ring, the_memory_is_one_and_its_size_nobodys_to_change)
{
	struct rail_error error = RAIL_ERROR_NONE;
	struct rail_query_ring *other;

	cr_assert_eq(rail_query_ring_map(ring_fd, &other, &error), 0, "%s", error.message);

	struct rail_query_reader reader = rail_query_reader_init(other);

	put(7);
	expect(&reader, 7);
	rail_query_ring_unmap(other);
	cr_assert_eq(ftruncate(ring_fd, 0), -1);
	cr_assert_eq(errno, EPERM);
	cr_assert_eq(ftruncate(ring_fd, 2 * (off_t)sizeof(*ring)), -1);
	cr_assert_eq(fcntl(ring_fd, F_GETFD) & FD_CLOEXEC, FD_CLOEXEC);
}
