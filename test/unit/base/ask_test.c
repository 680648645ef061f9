#include "pkg/base/ask.h"

#include <criterion/criterion.h>
#include <errno.h>
#include <string.h>

enum { VERSION = 3 };

Test(base_ask, replies_come_back_as_they_were_sent)
{
	struct rail_error sent = {.errnum = ENOENT, .code = RAIL_CODE_CHECK_FAILED};
	struct rail_error received;
	uint8_t bytes[RAIL_ASK_MESSAGE_SIZE];

	memset(sent.message, 'm', sizeof(sent.message) - 1);

	int size = rail_reply_encode(VERSION, &sent, bytes, sizeof(bytes));

	cr_assert_gt(size, 0);
	cr_assert_eq(rail_reply_decode(VERSION, bytes, (size_t)size, &received), 0);
	cr_assert_eq(received.errnum, sent.errnum);
	cr_assert_eq(received.code, sent.code);
	cr_assert_str_eq(received.message, sent.message);
	for (int cut = 0; cut < size; cut++)
		cr_assert_eq(rail_reply_decode(VERSION, bytes, (size_t)cut, &received), -EBADMSG);

	size = rail_reply_encode(VERSION, &RAIL_ERROR_NONE, bytes, sizeof(bytes));
	cr_assert_gt(size, 0);
	cr_assert_eq(rail_reply_decode(VERSION, bytes, (size_t)size, &received), 0);
	cr_assert_eq(received.errnum, 0);
}

Test(base_ask, a_reply_of_success_with_a_message_is_refused)
{
	const uint8_t bytes[] = {VERSION, 0, 0, 0, 0, 0, 1, 'x'};
	const uint8_t code[] = {VERSION, 0, 0, 0, 7, 0, 0};
	const uint8_t errnum[] = {VERSION, 0xff, 0xff, 0, 7, 0, 0};
	struct rail_error outcome;

	cr_assert_eq(rail_reply_decode(VERSION, bytes, sizeof(bytes), &outcome), -EBADMSG);
	cr_assert_eq(rail_reply_decode(VERSION, code, sizeof(code), &outcome), -EBADMSG);
	cr_assert_eq(rail_reply_decode(VERSION, errnum, sizeof(errnum), &outcome), -EBADMSG);
}

Test(base_ask, a_reply_of_another_version_is_told_from_nonsense)
{
	uint8_t bytes[RAIL_ASK_MESSAGE_SIZE];
	struct rail_error outcome;
	int size = rail_reply_encode(VERSION + 1, &RAIL_ERROR_NONE, bytes, sizeof(bytes));

	cr_assert_gt(size, 0);
	cr_assert_eq(rail_reply_decode(VERSION, bytes, (size_t)size, &outcome), -EPROTO);
}
