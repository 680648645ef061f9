#include "pkg/dns/registration.h"

#include <criterion/criterion.h>
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include "pkg/base/cleanup.h"

static struct rail_registration_request make_request(enum rail_registration_kind kind)
{
	struct rail_registration_request request = {.kind = kind};

	if (kind == RAIL_REGISTRATION_STATUS || kind == RAIL_REGISTRATION_HAND_OVER)
		return request;
	if (kind == RAIL_REGISTRATION_MEMBERS) {
		memset(request.prefix.bytes, 0xfd, sizeof(request.prefix.bytes));
		request.address_count = RAIL_REGISTRATION_MEMBERS_MAXIMUM;
		for (size_t i = 0; i < request.address_count; i++)
			memset(&request.addresses[i], 0xfd, sizeof(request.addresses[i]));
		return request;
	}
	/* As long as each may be. */
	memset(request.key.network, 'n', sizeof(request.key.network) - 1);
	memset(request.key.container_id, 'c', sizeof(request.key.container_id) - 1);
	memset(request.key.interface, 'i', sizeof(request.key.interface) - 1);
	return request;
}

Test(dns_registration, requests_come_back_as_they_were_sent)
{
	for (unsigned int kind = RAIL_REGISTRATION_ADD; kind <= RAIL_REGISTRATION_MEMBERS; kind++) {
		const struct rail_registration_request sent = make_request(kind);
		struct rail_registration_request received;
		uint8_t bytes[RAIL_ASK_MESSAGE_SIZE];
		int size = rail_registration_encode(&sent, bytes, sizeof(bytes));

		cr_assert_gt(size, 0);
		cr_assert_eq(rail_registration_decode(bytes, (size_t)size, &received), 0);
		cr_assert_eq(received.kind, kind);
		cr_assert_str_eq(received.key.network, sent.key.network);
		cr_assert_str_eq(received.key.container_id, sent.key.container_id);
		cr_assert_str_eq(received.key.interface, sent.key.interface);
	}
}

Test(dns_registration, a_request_that_is_cut_or_longer_is_refused)
{
	const struct rail_registration_request sent = make_request(RAIL_REGISTRATION_ADD);
	struct rail_registration_request received;
	uint8_t bytes[RAIL_ASK_MESSAGE_SIZE] = {0};
	int size = rail_registration_encode(&sent, bytes, sizeof(bytes));

	for (int cut = 0; cut < size; cut++)
		cr_assert_eq(rail_registration_decode(bytes, (size_t)cut, &received), -EBADMSG);
	cr_assert_eq(rail_registration_decode(bytes, (size_t)size + 1, &received), -EBADMSG);
	for (int capacity = 0; capacity < size; capacity++)
		cr_assert_eq(rail_registration_encode(&sent, bytes, (size_t)capacity), -EMSGSIZE);
}

Test(dns_registration, requests_without_a_whole_key_are_refused)
{
	struct rail_registration_request request = make_request(RAIL_REGISTRATION_REMOVE);
	uint8_t bytes[RAIL_ASK_MESSAGE_SIZE];
	/* Version, kind, and three empty strings. */
	const uint8_t empty[] = {
		RAIL_REGISTRATION_VERSION, RAIL_REGISTRATION_REMOVE, 0, 0, 0, 0, 0, 0};

	request.key.interface[0] = '\0';
	cr_assert_eq(rail_registration_encode(&request, bytes, sizeof(bytes)), -EBADMSG);
	cr_assert_eq(rail_registration_decode(empty, sizeof(empty), &request), -EBADMSG);
}

Test(dns_registration, names_that_are_too_long_are_refused)
{
	struct rail_registration_request request;
	uint8_t bytes[RAIL_ASK_MESSAGE_SIZE] = {RAIL_REGISTRATION_VERSION,
						RAIL_REGISTRATION_REMOVE};
	const size_t length = RAIL_NETWORK_NAME_SIZE; /* one more than fits with its NUL */
	uint8_t *end = bytes + 4 + length;

	bytes[3] = (uint8_t)length;
	memset(bytes + 4, 'n', length);
	memcpy(end, "\0\1c\0\1i", 6);
	cr_assert_eq(rail_registration_decode(bytes, 4 + length + 6, &request), -EBADMSG);
}

Test(dns_registration, another_version_and_unknown_kinds_are_refused)
{
	struct rail_registration_request request;
	const uint8_t version[] = {RAIL_REGISTRATION_VERSION + 1, RAIL_REGISTRATION_STATUS};
	const uint8_t none[] = {RAIL_REGISTRATION_VERSION, 0};
	const uint8_t unknown[] = {RAIL_REGISTRATION_VERSION, RAIL_REGISTRATION_MEMBERS + 1};

	cr_assert_eq(rail_registration_decode(version, sizeof(version), &request), -EPROTO);
	cr_assert_eq(rail_registration_decode(none, sizeof(none), &request), -EBADMSG);
	cr_assert_eq(rail_registration_decode(unknown, sizeof(unknown), &request), -EBADMSG);
}

/* A resolver that takes one connection. */
struct resolver {
	char directory[32];
	char path[64];
	int listener;
	pthread_t thread;
	const struct rail_error *outcome; /* NULL: hangs up without an answer */
	struct rail_registration_request request;
	struct stat netns; /* of the descriptor that came */
	bool has_netns;
};

static void receive(struct resolver *resolver, int fd)
{
	uint8_t bytes[RAIL_ASK_MESSAGE_SIZE];
	union {
		struct cmsghdr header;
		char space[CMSG_SPACE(sizeof(int))];
	} control;
	struct iovec part = {.iov_base = bytes, .iov_len = sizeof(bytes)};
	struct msghdr message = {.msg_iov = &part,
				 .msg_iovlen = 1,
				 .msg_control = &control,
				 .msg_controllen = sizeof(control)};
	ssize_t size = recvmsg(fd, &message, 0);

	if (size > 0)
		(void)rail_registration_decode(bytes, (size_t)size, &resolver->request);
	if (CMSG_FIRSTHDR(&message) != NULL) {
		RAIL_CLOSE int netns = -1;

		memcpy(&netns, CMSG_DATA(CMSG_FIRSTHDR(&message)), sizeof(netns));
		resolver->has_netns = fstat(netns, &resolver->netns) == 0;
	}
}

static void *serve(void *context)
{
	struct resolver *resolver = context;
	RAIL_CLOSE int fd = accept(resolver->listener, NULL, NULL);
	uint8_t bytes[RAIL_ASK_MESSAGE_SIZE];

	receive(resolver, fd);
	if (resolver->outcome != NULL) {
		int size = rail_reply_encode(RAIL_REGISTRATION_VERSION, resolver->outcome, bytes,
					     sizeof(bytes));

		(void)send(fd, bytes, (size_t)size, MSG_NOSIGNAL);
	}
	return NULL;
}

static void start(struct resolver *resolver, const struct rail_error *outcome)
{
	struct sockaddr_un address = {.sun_family = AF_UNIX};

	*resolver =
		(struct resolver){.directory = "/tmp/rail-registration-XXXXXX", .outcome = outcome};
	cr_assert_not_null(mkdtemp(resolver->directory));
	(void)snprintf(resolver->path, sizeof(resolver->path), "%s/socket", resolver->directory);
	memcpy(address.sun_path, resolver->path, sizeof(resolver->path));
	resolver->listener = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0);
	cr_assert_geq(resolver->listener, 0);
	cr_assert_eq(bind(resolver->listener, (struct sockaddr *)&address, sizeof(address)), 0);
	cr_assert_eq(listen(resolver->listener, 1), 0);
	cr_assert_eq(pthread_create(&resolver->thread, NULL, serve, resolver), 0);
}

static void stop(struct resolver *resolver)
{
	(void)pthread_join(resolver->thread, NULL);
	(void)close(resolver->listener);
	(void)unlink(resolver->path);
	(void)rmdir(resolver->directory);
}

Test(dns_registration, asks_with_the_netns_and_takes_the_answer)
{
	struct resolver resolver;
	const struct rail_registration_request request = make_request(RAIL_REGISTRATION_ADD);
	struct rail_error error = RAIL_ERROR_NONE;
	RAIL_CLOSE int netns = open("/proc/self/ns/net", O_RDONLY | O_CLOEXEC);
	struct stat expected;

	cr_assert_eq(fstat(netns, &expected), 0);
	start(&resolver, &RAIL_ERROR_NONE);
	cr_assert_eq(rail_registration_ask(resolver.path, &request, netns, &error), 0, "%s",
		     error.message);
	stop(&resolver);
	cr_assert_eq(resolver.request.kind, RAIL_REGISTRATION_ADD);
	cr_assert(rail_attachment_key_equal(&resolver.request.key, &request.key));
	cr_assert(resolver.has_netns);
	cr_assert_eq(resolver.netns.st_ino, expected.st_ino);
}

Test(dns_registration, gives_the_resolvers_error_on)
{
	struct resolver resolver;
	const struct rail_registration_request request = make_request(RAIL_REGISTRATION_CHECK);
	const struct rail_error refusal = {
		.errnum = ENOENT, .code = RAIL_CODE_CHECK_FAILED, .message = "not 100% there"};
	struct rail_error error = RAIL_ERROR_NONE;

	start(&resolver, &refusal);
	cr_assert_eq(rail_registration_ask(resolver.path, &request, -1, &error), -ENOENT);
	stop(&resolver);
	cr_assert_eq(error.code, RAIL_CODE_CHECK_FAILED);
	cr_assert_str_eq(error.message, "not 100% there");
	cr_assert_not(resolver.has_netns);
}

Test(dns_registration, a_resolver_that_hangs_up_is_one_to_try_again)
{
	struct resolver resolver;
	const struct rail_registration_request request = make_request(RAIL_REGISTRATION_STATUS);
	struct rail_error error = RAIL_ERROR_NONE;

	start(&resolver, NULL);
	cr_assert_lt(rail_registration_ask(resolver.path, &request, -1, &error), 0);
	stop(&resolver);
	cr_assert_eq(error.code, RAIL_CODE_TRY_AGAIN);
}

Test(dns_registration, a_resolver_that_does_not_answer_is_given_up_at_the_limit)
{
	const struct rail_registration_request request = make_request(RAIL_REGISTRATION_STATUS);
	struct sockaddr_un address = {.sun_family = AF_UNIX};
	char directory[] = "/tmp/rail-registration-XXXXXX";
	struct rail_error error = RAIL_ERROR_NONE;
	RAIL_CLOSE int listener = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0);

	/* It takes connections, and nobody reads what comes. */
	cr_assert_not_null(mkdtemp(directory));
	(void)snprintf(address.sun_path, sizeof(address.sun_path), "%s/socket", directory);
	cr_assert_eq(bind(listener, (struct sockaddr *)&address, sizeof(address)), 0);
	cr_assert_eq(listen(listener, 1), 0);
	cr_assert_eq(rail_registration_ask_within(address.sun_path, &request, -1, 1000, &error),
		     -ETIMEDOUT);
	cr_assert_eq(error.code, RAIL_CODE_TRY_AGAIN);
	cr_assert_not_null(strstr(error.message, "within 1 s"), "%s", error.message);
	(void)unlink(address.sun_path);
	(void)rmdir(directory);
}

Test(dns_registration, without_a_resolver_the_error_says_what_to_start)
{
	struct resolver resolver;
	const struct rail_registration_request request = make_request(RAIL_REGISTRATION_STATUS);
	struct rail_error error = RAIL_ERROR_NONE;

	/* Nothing there at all, and a socket that nobody listens to any more. */
	cr_assert_eq(rail_registration_ask("/nonexistent/resolver.sock", &request, -1, &error),
		     -ECONNREFUSED);
	cr_assert_eq(error.code, RAIL_CODE_TRY_AGAIN);
	cr_assert(strstr(error.message, "/nonexistent/resolver.sock") != NULL);
	cr_assert(strstr(error.message, "railway-resolverd") != NULL);

	start(&resolver, &RAIL_ERROR_NONE);
	cr_assert_eq(rail_registration_ask(resolver.path, &request, -1, &error), 0);
	(void)pthread_join(resolver.thread, NULL);
	(void)close(resolver.listener);
	cr_assert_eq(rail_registration_ask(resolver.path, &request, -1, &error), -ECONNREFUSED);
	(void)unlink(resolver.path);
	(void)rmdir(resolver.directory);
}

Test(dns_registration, a_path_that_is_no_sockets_is_refused)
{
	const struct rail_registration_request request = make_request(RAIL_REGISTRATION_STATUS);
	struct rail_error error = RAIL_ERROR_NONE;
	char path[200];

	memset(path, 'p', sizeof(path) - 1);
	path[sizeof(path) - 1] = '\0';
	cr_assert_eq(rail_registration_ask(path, &request, -1, &error), -ENAMETOOLONG);
	cr_assert_eq(error.code, RAIL_CODE_INVALID_CONFIG);
	cr_assert_eq(rail_registration_ask("", &request, -1, &error), -ENAMETOOLONG);
}
