#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/*
 * Bounded reading and writing of bytes in network order, for every wire and record format. The
 * error is sticky: after a read or write that does not fit, all that follow do nothing (reads give
 * zeroes), and the caller looks at "failed" once, at the end. No function reads or writes outside
 * the buffer.
 */

struct rail_reader {
	const uint8_t *bytes; /* borrowed */
	size_t size;
	size_t position;
	bool failed;
};

struct rail_writer {
	uint8_t *bytes; /* borrowed */
	size_t capacity;
	size_t position; /* bytes written so far */
	bool failed;
};

struct rail_reader rail_reader_init(const void *bytes, size_t size);
size_t rail_reader_left(const struct rail_reader *reader);
uint8_t rail_read_u8(struct rail_reader *reader);
uint16_t rail_read_u16(struct rail_reader *reader);
uint32_t rail_read_u32(struct rail_reader *reader);
uint64_t rail_read_u64(struct rail_reader *reader);
/* Copies size bytes to target; on failure target is zeroed. */
void rail_read_bytes(struct rail_reader *reader, void *target, size_t size);
/* A pointer to the next size bytes inside the buffer, which are skipped; NULL on failure. */
const uint8_t *rail_read_view(struct rail_reader *reader, size_t size);
/*
 * A string written by rail_write_string, into target with a terminating NUL. Fails where it does
 * not fit with the NUL, or contains one. On failure target is "".
 */
void rail_read_string(struct rail_reader *reader, char *target, size_t target_size);

struct rail_writer rail_writer_init(void *bytes, size_t capacity);
size_t rail_writer_left(const struct rail_writer *writer);
void rail_write_u8(struct rail_writer *writer, uint8_t value);
void rail_write_u16(struct rail_writer *writer, uint16_t value);
void rail_write_u32(struct rail_writer *writer, uint32_t value);
void rail_write_u64(struct rail_writer *writer, uint64_t value);
void rail_write_bytes(struct rail_writer *writer, const void *source, size_t size);
/* A length of 16 bits and the bytes without NUL. Fails above 65,535 bytes. */
void rail_write_string(struct rail_writer *writer, const char *text);
/* Overwrites two bytes written before; fails where position + 2 is beyond what was written. */
void rail_write_u16_at(struct rail_writer *writer, size_t position, uint16_t value);
