#include "pkg/base/error.h"

#include <criterion/criterion.h>
#include <errno.h>
#include <string.h>

static void fill(char *text, size_t size)
{
	memset(text, 'x', size - 1);
	text[size - 1] = '\0';
}

Test(base_error, a_failure_is_the_negative_errno_value_with_its_message)
{
	struct rail_error error = RAIL_ERROR_NONE;

	cr_assert_eq(rail_fail(&error, ENOENT, "no '%s' in %d", "x", 7), -ENOENT);
	cr_assert_eq(error.errnum, ENOENT);
	cr_assert_eq(error.code, RAIL_CODE_DERIVED);
	cr_assert_str_eq(error.message, "no 'x' in 7");

	cr_assert_eq(rail_fail_errno(&error, ENOENT, "open"), -ENOENT);
	cr_assert_str_eq(error.message, "open: No such file or directory");

	cr_assert_eq(rail_fail_code(&error, RAIL_CODE_TRY_AGAIN, ETIMEDOUT, "late"), -ETIMEDOUT);
	cr_assert_eq(error.code, RAIL_CODE_TRY_AGAIN);
}

Test(base_error, a_failure_is_never_0_and_needs_no_error)
{
	struct rail_error error = RAIL_ERROR_NONE;

	cr_assert_eq(rail_fail(&error, 0, "forgotten"), -EIO);
	cr_assert_eq(error.errnum, EIO);
	cr_assert_eq(rail_fail(&error, -EPERM, "negative"), -EIO);
	cr_assert_eq(rail_fail(NULL, EPERM, "nobody asks"), -EPERM);
	cr_assert_eq(rail_fail_errno(NULL, EPERM, "nobody asks"), -EPERM);
	cr_assert_eq(rail_wrap(NULL, -EPERM, "nobody asks"), -EPERM);
}

Test(base_error, context_goes_in_front_of_a_failure_and_leaves_a_success_alone)
{
	struct rail_error error = RAIL_ERROR_NONE;

	cr_assert_eq(rail_wrap(&error, 3, "outer"), 3);
	cr_assert_str_empty(error.message);

	int result = rail_fail_code(&error, RAIL_CODE_IO, EACCES, "inner");
	cr_assert_eq(rail_wrap(&error, result, "outer '%s'", "x"), -EACCES);
	cr_assert_str_eq(error.message, "outer 'x': inner");
	cr_assert_eq(error.code, RAIL_CODE_IO);
}

Test(base_error, a_message_that_does_not_fit_is_cut_and_its_context_stays)
{
	static char text[2 * RAIL_ERROR_MESSAGE_SIZE];
	struct rail_error error = RAIL_ERROR_NONE;
	struct rail_error one = RAIL_ERROR_NONE;

	fill(text, sizeof(text));
	int result = rail_fail_errno(&error, EPERM, "%s", text);
	cr_assert_eq(strlen(error.message), RAIL_ERROR_MESSAGE_SIZE - 1);

	(void)rail_wrap(&error, result, "outer");
	cr_assert_eq(strlen(error.message), RAIL_ERROR_MESSAGE_SIZE - 1);
	cr_assert_eq(strncmp(error.message, "outer: xxx", 10), 0);

	(void)rail_wrap(&error, result, "%s", text);
	cr_assert_eq(strlen(error.message), RAIL_ERROR_MESSAGE_SIZE - 1);

	(void)rail_fail(&one, EIO, "one");
	rail_error_collect(&error, &one);
	cr_assert_eq(strlen(error.message), RAIL_ERROR_MESSAGE_SIZE - 1);
	cr_assert_eq(error.errnum, EPERM);
}

Test(base_error, collected_failures_keep_the_code_of_the_first_and_all_messages)
{
	struct rail_error all = RAIL_ERROR_NONE;
	struct rail_error none = RAIL_ERROR_NONE;
	struct rail_error one = RAIL_ERROR_NONE;

	rail_error_collect(&all, &none);
	cr_assert_eq(all.errnum, 0);
	(void)rail_fail_code(&one, RAIL_CODE_TRY_AGAIN, EAGAIN, "first");
	rail_error_collect(&all, &one);
	(void)rail_fail_code(&one, RAIL_CODE_IO, EIO, "second");
	rail_error_collect(&all, &one);
	rail_error_collect(&all, &none);
	rail_error_collect(NULL, &one);
	cr_assert_eq(all.errnum, EAGAIN);
	cr_assert_eq(all.code, RAIL_CODE_TRY_AGAIN);
	cr_assert_str_eq(all.message, "first; second");
}
