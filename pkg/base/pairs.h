#pragma once

#include <stddef.h>

/* A key and its value, borrowed. */
struct rail_pair {
	const char *key;
	const char *value;
};

struct rail_pairs {
	const struct rail_pair *pairs;
	size_t count;
};
