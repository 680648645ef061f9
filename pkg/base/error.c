#include "pkg/base/error.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

__attribute__((format(printf, 4, 0))) static int set(struct rail_error *error, int code, int errnum,
						     const char *format, va_list arguments)
{
	if (errnum <= 0)
		errnum = EIO;
	if (error != NULL) {
		error->errnum = errnum;
		error->code = code;
		(void)vsnprintf(error->message, sizeof(error->message), format, arguments);
	}
	return -errnum;
}

int(rail_fail)(struct rail_error *error, int errnum, const char *format, ...)
{
	va_list arguments;

	va_start(arguments, format);
	int result = set(error, RAIL_CODE_DERIVED, errnum, format, arguments);
	va_end(arguments);
	return result;
}

int(rail_fail_errno)(struct rail_error *error, int errnum, const char *format, ...)
{
	va_list arguments;

	va_start(arguments, format);
	int result = set(error, RAIL_CODE_DERIVED, errnum, format, arguments);
	va_end(arguments);
	if (error != NULL) {
		size_t length = strlen(error->message);

		(void)snprintf(error->message + length, sizeof(error->message) - length, ": %s",
			       strerrordesc_np(error->errnum));
	}
	return result;
}

int(rail_fail_code)(struct rail_error *error, int code, int errnum, const char *format, ...)
{
	va_list arguments;

	va_start(arguments, format);
	int result = set(error, code, errnum, format, arguments);
	va_end(arguments);
	return result;
}

int(rail_wrap)(struct rail_error *error, int result, const char *format, ...)
{
	if (error == NULL || result >= 0)
		return result;

	char inner[RAIL_ERROR_MESSAGE_SIZE];
	memcpy(inner, error->message, sizeof(inner));

	va_list arguments;
	va_start(arguments, format);
	(void)vsnprintf(error->message, sizeof(error->message), format, arguments);
	va_end(arguments);

	size_t length = strlen(error->message);
	/* A message that does not fit is cut; the context in front is what must stay. */
	(void)snprintf(error->message + length, sizeof(error->message) - length, ": %.*s",
		       (int)sizeof(inner) - 1, inner);
	return result;
}

void rail_error_collect(struct rail_error *all, const struct rail_error *one)
{
	if (all == NULL || one->errnum == 0)
		return;
	if (all->errnum == 0) {
		*all = *one;
		return;
	}

	size_t length = strlen(all->message);
	(void)snprintf(all->message + length, sizeof(all->message) - length, "; %s", one->message);
}

int rail_error_outcome(const struct rail_error *all, struct rail_error *error)
{
	if (all->errnum == 0)
		return 0;
	if (error != NULL)
		*error = *all;
	return -all->errnum;
}
