#include "pkg/base/server.h"

#include <criterion/criterion.h>
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include "pkg/base/cleanup.h"
#include "pkg/base/file.h"
#include "pkg/base/log.h"
#include "test/unit/children.h"

enum { VERSION = 2, SLOTS = 3, CLIENTS_MAXIMUM = 8 };

static char directory[] = "/tmp/rail-server-XXXXXX";
static char path[64];
static struct rail_loop *loop;
static struct rail_server *server;

/* What the daemon in this test does and sees. */
static struct daemon {
	bool waits;    /* it lets clients wait */
	bool is_quick; /* poll answers them */
	int patience_ms;
	size_t requests;
	size_t polls;
	size_t late;
	size_t gone;
	size_t largest; /* of requests; SIZE_MAX: one that was too large */
	int descriptors;
	bool has_file;
} daemon_state;

struct data {
	bool is_used;
	int number;
};

static void on_request(void *context, struct rail_client *client,
		       const struct rail_request *request)
{
	struct daemon *daemon = context;
	struct data *data = rail_client_data(client);

	cr_assert_not(data->is_used, "a client begins with what another left");
	*data = (struct data){true, (int)daemon->requests++};
	daemon->largest = request->bytes == NULL ? SIZE_MAX : request->size;
	daemon->descriptors = request->descriptor_count;
	daemon->has_file = request->descriptor >= 0 && fcntl(request->descriptor, F_GETFD) >= 0;
	if (daemon->waits)
		rail_client_wait(client, daemon->patience_ms);
	else
		rail_client_reply(client, &RAIL_ERROR_NONE);
}

static void on_poll(void *context, struct rail_client *client)
{
	struct daemon *daemon = context;

	daemon->polls++;
	if (daemon->is_quick)
		rail_client_reply(client, &RAIL_ERROR_NONE);
}

static void on_late(void *context, struct rail_client *client)
{
	const struct rail_error late = {
		.errnum = ETIMEDOUT, .code = RAIL_CODE_TRY_AGAIN, .message = "too late"};

	((struct daemon *)context)->late++;
	rail_client_reply(client, &late);
}

static void on_gone(void *context, struct rail_client *client)
{
	(void)client;
	((struct daemon *)context)->gone++;
}

static void set_up(void)
{
	const struct rail_server_options options = {
		.daemon = "tested",
		.version = VERSION,
		.client_maximum = SLOTS,
		.data_size = sizeof(struct data),
		.tick_ms = 10,
		.hooks = {.request = on_request,
			  .poll = on_poll,
			  .late = on_late,
			  .gone = on_gone,
			  .context = &daemon_state},
	};
	struct rail_listener listener = RAIL_LISTENER_CLOSED;
	struct rail_error error = RAIL_ERROR_NONE;

	daemon_state = (struct daemon){.patience_ms = 60000};
	cr_assert_not_null(mkdtemp(directory));
	(void)snprintf(path, sizeof(path), "%s/socket", directory);
	cr_assert_eq(rail_loop_new(&loop, &error), 0);
	cr_assert_eq(rail_listener_open(path, "key", &listener, &error), 0, "%s", error.message);
	cr_assert_eq(rail_server_new(loop, &listener, &options, &server, &error), 0);
	cr_assert_lt(listener.socket, 0);
	cr_assert_eq(rail_server_serve(server, &error), 0);
}

static void tear_down(void)
{
	char lock[80];

	rail_server_free(server);
	rail_loop_free(loop);
	(void)snprintf(lock, sizeof(lock), "%s.lock", path);
	(void)unlink(lock);
	cr_assert_eq(access(path, F_OK), -1, "the socket is still there");
	(void)rmdir(directory);
}

TestSuite(base_server, .init = set_up, .fini = tear_down, .timeout = 30);

static struct sockaddr_un address_of_server(void)
{
	struct sockaddr_un address = {.sun_family = AF_UNIX};

	(void)snprintf(address.sun_path, sizeof(address.sun_path), "%s", path);
	return address;
}

static int connect_client(void)
{
	const struct sockaddr_un address = address_of_server();
	int fd = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0);

	cr_assert_eq(connect(fd, (const struct sockaddr *)&address, sizeof(address)), 0);
	return fd;
}

static int ask(const void *bytes, size_t size)
{
	int fd = connect_client();

	cr_assert_eq(send(fd, bytes, size, MSG_NOSIGNAL), (ssize_t)size);
	return fd;
}

/* Turns the loop until it holds. */
#define UNTIL(condition)                                                                           \
	do {                                                                                       \
		int64_t end_ms = rail_monotonic_ms() + 20000;                                      \
		bool holds = false;                                                                \
                                                                                                   \
		while (!(holds = (condition)) && rail_monotonic_ms() < end_ms)                     \
			cr_assert_eq(rail_loop_turn(loop, 50, NULL), 0);                           \
		cr_assert(holds, "never: %s", #condition);                                         \
	} while (0)

static bool has_reply(int fd, struct rail_error *ret_outcome)
{
	uint8_t bytes[RAIL_ASK_MESSAGE_SIZE];
	ssize_t size = recv(fd, bytes, sizeof(bytes), MSG_DONTWAIT);

	return size > 0 && rail_reply_decode(VERSION, bytes, (size_t)size, ret_outcome) == 0;
}

Test(base_server, a_request_has_its_reply_and_the_client_goes)
{
	struct rail_error outcome = {.errnum = 1};
	RAIL_CLOSE int fd = ask("hello", 5);

	UNTIL(has_reply(fd, &outcome));
	cr_assert_eq(outcome.errnum, 0);
	cr_assert_eq(daemon_state.largest, 5);
	cr_assert_eq(daemon_state.gone, 1);
	cr_assert_eq(rail_server_count(server), 0);
}

Test(base_server, one_that_waits_is_asked_for_until_it_is_late)
{
	struct rail_error outcome = RAIL_ERROR_NONE;
	RAIL_CLOSE int fd = -1;

	daemon_state.waits = true;
	daemon_state.patience_ms = 200;
	fd = ask("x", 1);
	UNTIL(has_reply(fd, &outcome));
	cr_assert_eq(outcome.errnum, ETIMEDOUT);
	cr_assert_eq(outcome.code, RAIL_CODE_TRY_AGAIN);
	cr_assert_str_eq(outcome.message, "too late");
	cr_assert_geq(daemon_state.polls, 1);
	cr_assert_eq(daemon_state.late, 1);
	cr_assert_eq(daemon_state.gone, 1);
}

/* Others that come all the time do not hold it up. */
Test(base_server, one_that_waits_is_looked_after_however_often_others_connect)
{
	struct rail_error outcome = RAIL_ERROR_NONE;
	RAIL_CLOSE int fd = -1;
	size_t connections = 0;

	daemon_state.waits = true;
	daemon_state.patience_ms = 200;
	fd = ask("x", 1);
	UNTIL(daemon_state.requests == 1);
	daemon_state.waits = false;
	while (!has_reply(fd, &outcome) && connections < 20000) {
		RAIL_CLOSE int other = ask("y", 1);

		connections++;
		cr_assert_eq(rail_loop_turn(loop, 0, NULL), 0);
	}
	cr_assert_eq(outcome.errnum, ETIMEDOUT, "after %zu connections", connections);
	cr_assert_geq(daemon_state.polls, 1);
}

Test(base_server, more_than_there_is_room_for_wait_for_the_others)
{
	struct rail_error outcome = {.errnum = 1};
	int fds[CLIENTS_MAXIMUM];

	daemon_state.waits = true;
	for (size_t i = 0; i < CLIENTS_MAXIMUM; i++)
		fds[i] = ask("x", 1);
	UNTIL(daemon_state.requests == SLOTS);
	cr_assert_eq(rail_server_count(server), SLOTS);
	daemon_state.is_quick = true;
	for (size_t i = 0; i < CLIENTS_MAXIMUM; i++) {
		UNTIL(has_reply(fds[i], &outcome));
		cr_assert_eq(outcome.errnum, 0);
		(void)close(fds[i]);
	}
	cr_assert_eq(daemon_state.requests, CLIENTS_MAXIMUM);
	cr_assert_eq(daemon_state.gone, CLIENTS_MAXIMUM);
	cr_assert_eq(daemon_state.late, 0);
}

Test(base_server, those_that_wait_are_found_one_after_the_other_and_may_go_meanwhile)
{
	struct rail_client *client = NULL;
	int fds[SLOTS];
	size_t found = 0;

	daemon_state.waits = true;
	for (size_t i = 0; i < SLOTS; i++)
		fds[i] = ask("x", 1);
	UNTIL(daemon_state.requests == SLOTS);
	while ((client = rail_server_next_waiting(server, client)) != NULL) {
		cr_assert_eq(((struct data *)rail_client_data(client))->number, found);
		rail_client_close(client);
		found++;
	}
	cr_assert_eq(found, SLOTS);
	cr_assert_eq(rail_server_count(server), 0);
	for (size_t i = 0; i < SLOTS; i++)
		(void)close(fds[i]);
}

Test(base_server, one_that_hangs_up_or_says_more_is_let_go)
{
	RAIL_CLOSE int silent = connect_client();
	int fd;

	daemon_state.waits = true;
	UNTIL(rail_server_count(server) == 1);
	fd = ask("x", 1);
	UNTIL(daemon_state.requests == 1);
	(void)close(fd);
	UNTIL(daemon_state.gone == 1);
	fd = ask("x", 1);
	UNTIL(daemon_state.requests == 2);
	cr_assert_eq(send(fd, "y", 1, MSG_NOSIGNAL), 1);
	UNTIL(daemon_state.gone == 2);
	(void)close(fd);
	cr_assert_eq(daemon_state.requests, 2);
	cr_assert_eq(daemon_state.late, 0);
	/* One that says nothing has 5 s. */
	UNTIL(rail_server_count(server) == 0);
	cr_assert_eq(daemon_state.gone, 3);
}

Test(base_server, a_request_that_is_too_large_is_none)
{
	static uint8_t bytes[RAIL_ASK_MESSAGE_SIZE + 1];
	struct rail_error outcome = {.errnum = 1};
	RAIL_CLOSE int fd = ask(bytes, sizeof(bytes));

	UNTIL(has_reply(fd, &outcome));
	cr_assert_eq(daemon_state.largest, SIZE_MAX);
}

/* Sends a request with copies of a descriptor. */
static int ask_with_files(int file, int count)
{
	int fd = connect_client();
	union {
		struct cmsghdr header;
		char space[CMSG_SPACE(8 * sizeof(int))];
	} control = {0};
	struct iovec part = {.iov_base = "x", .iov_len = 1};
	struct msghdr message = {
		.msg_iov = &part,
		.msg_iovlen = 1,
		.msg_control = &control,
		.msg_controllen = CMSG_SPACE((size_t)count * sizeof(int)),
	};

	control.header.cmsg_level = SOL_SOCKET;
	control.header.cmsg_type = SCM_RIGHTS;
	control.header.cmsg_len = CMSG_LEN((size_t)count * sizeof(int));
	for (int i = 0; i < count; i++)
		memcpy(CMSG_DATA(&control.header) + (size_t)i * sizeof(int), &file, sizeof(int));
	cr_assert_eq(sendmsg(fd, &message, MSG_NOSIGNAL), 1);
	return fd;
}

/* Of a pipe: whether any copy of its writing end is left. */
static bool is_closed_everywhere(int reading_end)
{
	char byte;

	return read(reading_end, &byte, 1) == 0;
}

Test(base_server, descriptors_are_counted_and_none_is_left_open)
{
	for (int count = 1; count <= 8; count += 7) {
		struct rail_error outcome = {.errnum = 1};
		RAIL_CLOSE int fd = -1;
		int ends[2];

		cr_assert_eq(pipe2(ends, O_CLOEXEC | O_NONBLOCK), 0);
		fd = ask_with_files(ends[1], count);
		(void)close(ends[1]);
		UNTIL(has_reply(fd, &outcome));
		cr_assert(count == 1 ? daemon_state.descriptors == 1
				     : daemon_state.descriptors > 1);
		cr_assert(daemon_state.has_file);
		cr_assert(is_closed_everywhere(ends[0]));
		(void)close(ends[0]);
	}
}

/* Asks as somebody else, and expects to be told that it may not. It says so when it has asked;
 * where it is to be late, it waits for a byte before. */
static pid_t fork_stranger(int end, bool is_late)
{
	const struct sockaddr_un address = address_of_server();
	pid_t child = fork_child();

	if (child == 0) {
		struct rail_error outcome = RAIL_ERROR_NONE;
		int fd = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0);
		char byte;

		CHILD_MUST(setresuid(65534, 65534, 65534) == 0);
		CHILD_MUST(connect(fd, (const struct sockaddr *)&address, sizeof(address)) == 0);
		CHILD_MUST(!is_late || read(end, &byte, 1) == 1);
		CHILD_MUST(send(fd, "x", 1, MSG_NOSIGNAL) == (is_late ? -1 : 1));
		CHILD_MUST(!is_late || errno == EPIPE);
		CHILD_MUST(write(end, "", 1) == 1);
		CHILD_MUST(poll(&(struct pollfd){.fd = fd, .events = POLLIN}, 1, 20000) == 1);
		CHILD_MUST(has_reply(fd, &outcome));
		CHILD_MUST(outcome.errnum == EPERM);
		CHILD_MUST(strstr(outcome.message, "only root") != NULL);
		_exit(0);
	}
	return child;
}

/* The socket's mode keeps them out already. */
static void let_others_connect(void)
{
	if (geteuid() != 0)
		cr_skip_test("not root: no other user to ask as");
	cr_assert_eq(chmod(directory, 0755), 0);
	cr_assert_eq(chmod(path, 0666), 0);
}

static void refuse_a_stranger(bool is_late)
{
	int ends[2];
	int status = -1;
	pid_t child;

	let_others_connect();
	cr_assert_eq(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, ends), 0);
	child = fork_stranger(ends[1], is_late);
	(void)close(ends[1]);
	if (is_late) {
		UNTIL(daemon_state.gone == 1);
		cr_assert_eq(write(ends[0], "", 1), 1);
	}
	wait_for_byte(ends[0]);
	UNTIL(waitpid(child, &status, WNOHANG) == child);
	cr_assert_eq(status, 0);
	cr_assert_eq(daemon_state.gone, 1);
	cr_assert_eq(daemon_state.requests, 0);
	(void)close(ends[0]);
}

Test(base_server, only_root_is_answered_and_another_is_told_so)
{
	refuse_a_stranger(false);
}

Test(base_server, another_is_told_so_also_where_it_asks_late)
{
	refuse_a_stranger(true);
}

/* Now the request, now the refusal is first. */
Test(base_server, another_is_told_so_each_time)
{
	const struct rail_ask_target target = {
		.daemon = "tested",
		.whose = "the tested one's",
		.key = "socket",
		.path = path,
		.version = VERSION,
		.limit_ms = 20000,
	};
	int status = -1;
	pid_t child;

	let_others_connect();
	rail_log_set_level(RAIL_LOG_ERROR);
	child = fork_child();
	if (child == 0) {
		CHILD_MUST(setresuid(65534, 65534, 65534) == 0);
		for (int i = 0; i < 2000; i++)
			CHILD_MUST(rail_ask(&target, (const uint8_t *)"x", 1, -EBADF, NULL) ==
				   -EPERM);
		_exit(0);
	}
	UNTIL(waitpid(child, &status, WNOHANG) == child);
	cr_assert_eq(status, 0);
	cr_assert_eq(daemon_state.requests, 0);
}

Test(base_server, given_away_the_socket_stays_in_its_place)
{
	struct rail_error error = RAIL_ERROR_NONE;
	RAIL_CLOSE int fd = -1;

	rail_server_give_away(server);
	fd = connect_client();
	cr_assert_eq(rail_loop_turn(loop, 50, &error), 0);
	cr_assert_eq(rail_server_count(server), 0);
	rail_server_free(RAIL_TAKE_POINTER(server));
	cr_assert_eq(access(path, F_OK), 0);
	(void)unlink(path);
}
