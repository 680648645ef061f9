#include "pkg/base/ask.h"

#include <criterion/criterion.h>
#include <errno.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

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

/* ---- a daemon that refuses before it is asked ---- */

enum { ROUNDS = 2000 };

static void *refuse_all(void *context)
{
	const struct rail_error refusal = {.errnum = EPERM, .code = 7, .message = "not you"};
	int listener = *(int *)context;
	uint8_t bytes[RAIL_ASK_MESSAGE_SIZE];
	int size = rail_reply_encode(VERSION, &refusal, bytes, sizeof(bytes));

	for (int i = 0; i < ROUNDS; i++) {
		int fd = accept4(listener, NULL, NULL, SOCK_CLOEXEC);

		(void)shutdown(fd, SHUT_RD);
		(void)recv(fd, &(char){0}, 1, MSG_DONTWAIT);
		(void)send(fd, bytes, (size_t)size, MSG_NOSIGNAL);
		(void)close(fd);
	}
	return NULL;
}

/* Now the request, now the refusal is first. */
Test(base_ask, a_refusal_is_read_also_where_it_comes_before_the_request, .timeout = 60)
{
	char directory[] = "/tmp/rail-ask-XXXXXX";
	struct sockaddr_un address = {.sun_family = AF_UNIX};
	const struct rail_ask_target target = {
		.daemon = "tested",
		.whose = "the tested one's",
		.key = "socket",
		.path = address.sun_path,
		.version = VERSION,
		.limit_ms = 20000,
	};
	pthread_t thread;
	int listener = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0);

	cr_assert_not_null(mkdtemp(directory));
	(void)snprintf(address.sun_path, sizeof(address.sun_path), "%s/socket", directory);
	cr_assert_eq(bind(listener, (const struct sockaddr *)&address, sizeof(address)), 0);
	cr_assert_eq(listen(listener, 8), 0);
	cr_assert_eq(pthread_create(&thread, NULL, refuse_all, &listener), 0);
	for (int i = 0; i < ROUNDS; i++) {
		struct rail_error error = RAIL_ERROR_NONE;

		cr_assert_eq(rail_ask(&target, (const uint8_t *)"x", 1, -EBADF, &error), -EPERM,
			     "round %d: %s", i, error.message);
		cr_assert_str_eq(error.message, "not you");
	}
	(void)pthread_join(thread, NULL);
	(void)close(listener);
	(void)unlink(address.sun_path);
	(void)rmdir(directory);
}
