#pragma once

#include <stddef.h>

/*
 * Errors.
 *
 * A function that can fail returns 0 (or a positive value) or a negative errno value, and takes a
 * struct rail_error as its last parameter. The error is set exactly when the function fails; what
 * the function gives back through "ret_" parameters is written only on success. The error is a
 * plain value owned by the caller: it needs no memory and survives the lack of it.
 */

/* The error codes of the CNI specification (1.1.0, "Error"), and those of its reference library. */
enum rail_error_code {
	RAIL_CODE_DERIVED = 0, /* decided from the errno value when the error is printed */
	RAIL_CODE_INCOMPATIBLE_VERSION = 1,
	RAIL_CODE_UNSUPPORTED_FIELD = 2,
	RAIL_CODE_UNKNOWN_CONTAINER = 3,
	RAIL_CODE_INVALID_ENVIRONMENT = 4,
	RAIL_CODE_IO = 5,
	RAIL_CODE_DECODE = 6,
	RAIL_CODE_INVALID_CONFIG = 7,
	RAIL_CODE_INVALID_NETNS = 8,
	RAIL_CODE_TRY_AGAIN = 11,
	RAIL_CODE_NOT_AVAILABLE = 50,
	RAIL_CODE_LIMITED_CONNECTIVITY = 51,
	RAIL_CODE_ATTACHMENT_EXISTS = 100, /* a second ADD of a live attachment */
	RAIL_CODE_POOL_EXHAUSTED = 101,	   /* no address, subnet or prefix is left */
	RAIL_CODE_CHECK_FAILED = 102,	   /* CHECK found something missing or changed */
	RAIL_CODE_INTERNAL = 999,
};

#define RAIL_ERROR_MESSAGE_SIZE 1024

struct rail_error {
	int errnum; /* a positive errno value; 0 only while nothing failed */
	int code;   /* enum rail_error_code */
	char message[RAIL_ERROR_MESSAGE_SIZE];
};

#define RAIL_ERROR_NONE                                                                            \
	(struct rail_error)                                                                        \
	{                                                                                          \
		0                                                                                  \
	}

/*
 * Sets an error and returns -errnum (EIO where errnum is 0), so that a failure is one expression:
 * return rail_fail(error, errno, "open netns '%s'", path). The text of errnum is not added: use
 * rail_fail_errno for that. error may be NULL. A message that does not fit is cut.
 */
int rail_fail(struct rail_error *error, int errnum, const char *format, ...)
	__attribute__((format(printf, 3, 4)));

/* The same, with the text of the errno value behind the message: "open '/x': No such file or
 * directory". */
int rail_fail_errno(struct rail_error *error, int errnum, const char *format, ...)
	__attribute__((format(printf, 3, 4)));

/* The same as rail_fail, with a CNI error code of its own. */
int rail_fail_code(struct rail_error *error, int code, int errnum, const char *format, ...)
	__attribute__((format(printf, 4, 5)));

/* Puts "<context>: " before the message of an error that is set, and returns result as it is. */
int rail_wrap(struct rail_error *error, int result, const char *format, ...)
	__attribute__((format(printf, 3, 4)));

/*
 * For work that attempts everything (DEL, GC): adds one failure to those collected so far. The
 * first one gives the code; the messages are joined with "; ".
 */
void rail_error_collect(struct rail_error *all, const struct rail_error *one);

/* What such work comes to: 0 where nothing was collected, else its negative errno value, with error
 * (may be NULL) set. */
int rail_error_outcome(const struct rail_error *all, struct rail_error *error);

/*
 * What these give back is known where they are called, for compilers and static analysis, which see
 * one file at a time: a failure is negative, so what a failing function has not written is not
 * read.
 */
#define RAIL_NEGATIVE(call)                                                                        \
	({                                                                                         \
		int negative_ = (call);                                                            \
		if (negative_ >= 0)                                                                \
			__builtin_unreachable();                                                   \
		negative_;                                                                         \
	})
#define rail_fail(...) RAIL_NEGATIVE((rail_fail)(__VA_ARGS__))
#define rail_fail_errno(...) RAIL_NEGATIVE((rail_fail_errno)(__VA_ARGS__))
#define rail_fail_code(...) RAIL_NEGATIVE((rail_fail_code)(__VA_ARGS__))
#define rail_wrap(error, result, ...)                                                              \
	({                                                                                         \
		int wrapped_ = (result);                                                           \
		(void)(rail_wrap)((error), wrapped_, __VA_ARGS__);                                 \
		wrapped_;                                                                          \
	})
