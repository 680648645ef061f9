#pragma once

#include <stdint.h>
#include <stdlib.h>

/*
 * Makes room for one more element in an array of count elements, which was made by this function
 * alone: its capacity is the next power of two and need not be stored. Returns the array, which may
 * have moved, or NULL without touching it.
 */
static inline void *rail_grow(void *array, size_t count, size_t element_size)
{
	if ((count & (count - 1)) != 0)
		return array;

	size_t capacity = count == 0 ? 1 : count * 2;
	if (capacity < count || capacity > SIZE_MAX / element_size)
		return NULL;
	return realloc(array, capacity * element_size);
}
