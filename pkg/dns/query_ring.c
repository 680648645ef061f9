#include "pkg/dns/query_ring.h"

#include <errno.h>
#include <string.h>

#include "pkg/base/shared.h"

enum { SIZE_BYTES = 2 }; /* in front of each record */

int rail_query_ring_create(int *ret_fd, struct rail_query_ring **ret_ring, struct rail_error *error)
{
	void *memory;
	int result = rail_shared_create("railway-queries", sizeof(struct rail_query_ring), ret_fd,
					&memory, error);

	if (result == 0)
		*ret_ring = memory;
	return result;
}

int rail_query_ring_map(int fd, struct rail_query_ring **ret_ring, struct rail_error *error)
{
	void *memory;
	int result = rail_shared_map(fd, sizeof(struct rail_query_ring), &memory, error);

	if (result == 0)
		*ret_ring = memory;
	return result;
}

void rail_query_ring_unmap(struct rail_query_ring *ring)
{
	rail_shared_unmap(ring, sizeof(*ring));
}

/* The part of a stretch of bytes that comes before the ring's end. */
static size_t before_end(uint64_t position, size_t size)
{
	size_t room = RAIL_QUERY_RING_SIZE - (size_t)(position % RAIL_QUERY_RING_SIZE);

	return size < room ? size : room;
}

static void copy_in(struct rail_query_ring *ring, uint64_t position, const uint8_t *bytes,
		    size_t size)
{
	size_t first = before_end(position, size);

	memcpy(ring->bytes + position % RAIL_QUERY_RING_SIZE, bytes, first);
	memcpy(ring->bytes, bytes + first, size - first);
}

static void copy_out(const struct rail_query_ring *ring, uint64_t position, uint8_t *bytes,
		     size_t size)
{
	size_t first = before_end(position, size);

	memcpy(bytes, ring->bytes + position % RAIL_QUERY_RING_SIZE, first);
	memcpy(bytes + first, ring->bytes, size - first);
}

void rail_query_ring_drop(struct rail_query_ring *ring)
{
	uint64_t dropped = atomic_load_explicit(&ring->dropped, memory_order_relaxed);

	atomic_store_explicit(&ring->dropped, dropped + 1, memory_order_relaxed);
}

bool rail_query_ring_put(struct rail_query_ring *ring, const uint8_t *bytes, size_t size)
{
	uint64_t written = atomic_load_explicit(&ring->written, memory_order_relaxed);
	uint64_t used = written - atomic_load_explicit(&ring->taken, memory_order_acquire);
	const uint8_t size_bytes[SIZE_BYTES] = {(uint8_t)(size >> 8), (uint8_t)size};

	if (size == 0 || size > RAIL_QUERY_RECORD_MAXIMUM || used > RAIL_QUERY_RING_SIZE ||
	    RAIL_QUERY_RING_SIZE - used < SIZE_BYTES + size) {
		rail_query_ring_drop(ring);
		return false;
	}
	copy_in(ring, written, size_bytes, SIZE_BYTES);
	copy_in(ring, written + SIZE_BYTES, bytes, size);
	/* A worker that dies before this has written nothing. */
	atomic_store_explicit(&ring->written, written + SIZE_BYTES + size, memory_order_release);
	return true;
}

struct rail_query_reader rail_query_reader_init(struct rail_query_ring *ring)
{
	uint64_t position = atomic_load_explicit(&ring->taken, memory_order_relaxed);

	return (struct rail_query_reader){.ring = ring, .position = position, .next = position};
}

void rail_query_reader_take(struct rail_query_reader *reader)
{
	reader->position = reader->next;
	atomic_store_explicit(&reader->ring->taken, reader->position, memory_order_release);
}

int rail_query_reader_peek(struct rail_query_reader *reader,
			   uint8_t bytes[RAIL_QUERY_RECORD_MAXIMUM])
{
	uint64_t written = atomic_load_explicit(&reader->ring->written, memory_order_acquire);
	uint64_t left = written - reader->position;
	uint8_t size_bytes[SIZE_BYTES];
	size_t size = 0;

	if (left == 0)
		return 0;
	if (left > SIZE_BYTES && left <= RAIL_QUERY_RING_SIZE) {
		copy_out(reader->ring, reader->position, size_bytes, SIZE_BYTES);
		size = (size_t)size_bytes[0] << 8 | size_bytes[1];
	}
	if (size == 0 || size > RAIL_QUERY_RECORD_MAXIMUM || size > left - SIZE_BYTES) {
		reader->next = written;
		rail_query_reader_take(reader);
		return -EBADMSG;
	}
	copy_out(reader->ring, reader->position + SIZE_BYTES, bytes, size);
	reader->next = reader->position + SIZE_BYTES + size;
	return (int)size;
}

uint64_t rail_query_reader_untold(const struct rail_query_reader *reader)
{
	return atomic_load_explicit(&reader->ring->dropped, memory_order_relaxed) -
	       atomic_load_explicit(&reader->ring->told, memory_order_relaxed);
}

void rail_query_reader_told(struct rail_query_reader *reader, uint64_t count)
{
	uint64_t told = atomic_load_explicit(&reader->ring->told, memory_order_relaxed);

	atomic_store_explicit(&reader->ring->told, told + count, memory_order_relaxed);
}
