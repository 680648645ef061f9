#include "pkg/cluster/etcd.h"

#include <arpa/inet.h>
#include <criterion/criterion.h>
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include "pkg/base/cleanup.h"
#include "pkg/base/file.h"
#include "test/unit/store/stores.h"

/* Against a real etcd, on ports of the loopback that the kernel chose. */

static pid_t etcd_process;
static struct rail_cluster_settings settings;
static struct rail_loop *loop;
static struct rail_etcd *etcd;
static int moves;
static char auth_token[PATH_MAX + 64] = "simple"; /* etcd's option */

static unsigned int free_port(void)
{
	struct sockaddr_in address = {.sin_family = AF_INET};
	socklen_t size = sizeof(address);
	RAIL_CLOSE int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);

	address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
	cr_assert_eq(bind(fd, (const struct sockaddr *)&address, size), 0);
	cr_assert_eq(getsockname(fd, (struct sockaddr *)&address, &size), 0);
	return ntohs(address.sin_port);
}

static void on_moved(void *context)
{
	(void)context;
	moves++;
}

static void start_etcd(void)
{
	char directory[PATH_MAX];
	char peer[64];
	char cluster[80];
	unsigned int port = free_port();

	(void)snprintf(directory, sizeof(directory), "%s/etcd", root_directory);
	(void)snprintf(settings.endpoints[0], sizeof(settings.endpoints[0]), "http://127.0.0.1:%u",
		       port);
	(void)snprintf(peer, sizeof(peer), "http://127.0.0.1:%u", free_port());
	(void)snprintf(cluster, sizeof(cluster), "a=%s", peer);
	settings.endpoint_count = 1;
	etcd_process = fork_child();
	if (etcd_process == 0) {
		int null = open("/dev/null", O_RDWR | O_CLOEXEC);

		CHILD_MUST(dup2(null, STDOUT_FILENO) >= 0 && dup2(null, STDERR_FILENO) >= 0);
		(void)execlp("etcd", "etcd", "--data-dir", directory, "--listen-client-urls",
			     settings.endpoints[0], "--advertise-client-urls",
			     settings.endpoints[0], "--listen-peer-urls", peer,
			     "--initial-advertise-peer-urls", peer, "--initial-cluster", cluster,
			     "--name", "a", "--auth-token", auth_token, NULL);
		_exit(127);
	}
}

static void stop_etcd(void)
{
	rail_etcd_free(etcd);
	rail_loop_free(loop);
	kill_child(etcd_process);
	remove_directories();
}

struct outcome {
	bool done;
	int errnum;
	struct rail_json *answer;
};

static void on_answered(void *context, const struct rail_json *answer,
			const struct rail_error *error)
{
	struct outcome *outcome = context;

	outcome->done = true;
	outcome->errnum = error == NULL ? 0 : error->errnum;
	outcome->answer = answer == NULL ? NULL : rail_json_copy(answer);
}

static void turn_until(const bool *flag)
{
	int64_t end_ms = rail_monotonic_ms() + 30000;

	while (!*flag) {
		cr_assert_lt(rail_monotonic_ms(), end_ms, "nothing came");
		cr_assert_eq(rail_loop_turn(loop, 100, NULL), 0);
	}
}

static struct outcome call(const char *path, char *body)
{
	struct outcome outcome = {.done = false};
	struct rail_etcd_call *handle;

	cr_assert_eq(rail_etcd_begin(etcd, path, body, on_answered, &outcome, &handle, NULL), 0);
	turn_until(&outcome.done);
	return outcome;
}

static char *put_body(const char *key, const char *value)
{
	struct rail_etcd_operation put = {.kind = RAIL_ETCD_PUT, .key = key, .value = value};
	struct rail_etcd_compare absent = {.key = key};
	const struct rail_etcd_transaction transaction = {&absent, 1, &put, 1, NULL, 0};

	return rail_etcd_encode_transaction(&transaction);
}

static bool put(const char *key, const char *value)
{
	struct outcome outcome = call("/v3/kv/txn", put_body(key, value));
	bool succeeded = rail_json_is_true(rail_json_get(outcome.answer, "succeeded"));

	cr_assert_eq(outcome.errnum, 0);
	rail_json_free(outcome.answer);
	return succeeded;
}

static void start_client(void)
{
	cr_assert_eq(rail_loop_new(&loop, NULL), 0);
	cr_assert_eq(rail_etcd_new(loop, &settings, on_moved, NULL, &etcd, NULL), 0);
	/* etcd takes a while to start. */
	for (int i = 0;; i++) {
		struct outcome outcome = call("/v3/lease/grant", rail_etcd_encode_grant(100));

		rail_json_free(outcome.answer);
		if (outcome.errnum == 0)
			return;
		cr_assert_lt(i, 3000, "etcd does not start");
		cr_assert_eq(usleep(10000), 0);
	}
}

static void set_up(void)
{
	make_directories();
	start_etcd();
	start_client();
}

TestSuite(cluster_etcd, .init = set_up, .fini = stop_etcd);

Test(cluster_etcd, compare_and_create_succeeds_once)
{
	cr_assert(put("key", "one"));
	cr_assert_not(put("key", "two"));
}

Test(cluster_etcd, what_etcd_says_against_a_call)
{
	struct outcome outcome = call("/v3/kv/range", strdup("{\"key\":7}"));

	cr_assert_eq(outcome.errnum, EBADMSG);
	outcome = call("/v3/lease/revoke", rail_etcd_encode_lease(12345));
	cr_assert_eq(outcome.errnum, ENOENT);
}

struct watched {
	bool created;
	bool ended;
	int events;
	int errnum;
	bool enough;
	char last[64];
	char why[RAIL_ERROR_MESSAGE_SIZE];
};

static void on_watch_answer(void *context, const struct rail_etcd_watch_answer *answer)
{
	struct watched *watched = context;

	watched->created = watched->created || answer->created;
	for (size_t i = 0; i < answer->events.count; i++) {
		watched->events++;
		(void)snprintf(watched->last, sizeof(watched->last), "%s=%s",
			       answer->events.records[i].key, answer->events.records[i].value);
	}
	watched->enough = watched->events >= 2;
}

static void on_watch_end(void *context, const struct rail_error *error)
{
	struct watched *watched = context;

	watched->ended = true;
	watched->errnum = error->errnum;
	(void)snprintf(watched->why, sizeof(watched->why), "%s", error->message);
}

Test(cluster_etcd, a_watch_tells_of_the_past_and_of_what_comes)
{
	struct watched watched = {.created = false};
	const struct rail_etcd_watch_callbacks callbacks = {
		.answer = on_watch_answer, .ended = on_watch_end, .context = &watched};
	struct rail_etcd_watch *watch;

	cr_assert(put("in/one", "1"));
	cr_assert(put("other", "x"));
	cr_assert_eq(rail_etcd_watch(etcd, "in/", 1, &callbacks, &watch, NULL), 0);
	turn_until(&watched.created);
	cr_assert(put("in/two", "2"));
	turn_until(&watched.enough);
	cr_assert_str_eq(watched.last, "in/two=2");
	cr_assert_not(watched.ended);
	rail_etcd_unwatch(&watch);
}

Test(cluster_etcd, a_watch_of_what_is_compacted_ends_and_says_so)
{
	struct watched watched = {.created = false};
	const struct rail_etcd_watch_callbacks callbacks = {
		.answer = on_watch_answer, .ended = on_watch_end, .context = &watched};
	struct rail_etcd_watch *watch;

	cr_assert(put("in/one", "1"));
	cr_assert(put("in/two", "1"));

	struct outcome outcome = call("/v3/kv/compaction", strdup("{\"revision\":\"3\"}"));

	rail_json_free(outcome.answer);
	cr_assert_eq(outcome.errnum, 0);
	cr_assert_eq(rail_etcd_watch(etcd, "in/", 1, &callbacks, &watch, NULL), 0);
	turn_until(&watched.ended);
	cr_assert_eq(watched.errnum, ESTALE);
}

Test(cluster_etcd, an_endpoint_that_is_not_there_is_left_for_the_next)
{
	rail_etcd_free(etcd);
	(void)snprintf(settings.endpoints[1], sizeof(settings.endpoints[1]), "%s",
		       settings.endpoints[0]);
	(void)snprintf(settings.endpoints[0], sizeof(settings.endpoints[0]), "http://127.0.0.1:%u",
		       free_port());
	settings.endpoint_count = 2;
	/* It begins with either; of several clients some begin with the wrong one. */
	for (int i = 0; i < 16 && moves == 0; i++) {
		cr_assert_eq(rail_etcd_new(loop, &settings, on_moved, NULL, &etcd, NULL), 0);

		struct outcome outcome = call("/v3/lease/grant", rail_etcd_encode_grant(100));

		cr_assert_eq(outcome.errnum, 0);
		rail_json_free(outcome.answer);
		rail_etcd_free(etcd);
	}
	cr_assert_gt(moves, 0);
	etcd = NULL;
}

static void write_file(char path[PATH_MAX], const char *name, const char *text)
{
	(void)snprintf(path, PATH_MAX, "%s/%s", root_directory, name);

	FILE *file = fopen(path, "we");

	cr_assert_not_null(file);
	cr_assert_geq(fputs(text, file), 0);
	cr_assert_eq(fclose(file), 0);
}

/* Another client, which logs in. */
static void log_in(const char *password_file)
{
	rail_etcd_free(etcd);
	(void)snprintf(settings.user, sizeof(settings.user), "root");
	(void)snprintf(settings.password_file, sizeof(settings.password_file), "%s", password_file);
	cr_assert_eq(rail_etcd_new(loop, &settings, on_moved, NULL, &etcd, NULL), 0);
}

static void ask(const char *path, const char *body)
{
	struct outcome outcome = call(path, strdup(body));

	cr_assert_eq(outcome.errnum, 0, "%s %s", path, body);
	rail_json_free(outcome.answer);
}

Test(cluster_etcd, a_password_that_cannot_be_read_is_no_lease_that_is_gone)
{
	char path[PATH_MAX];

	(void)snprintf(path, sizeof(path), "%s/nowhere", root_directory);
	log_in(path);

	struct outcome outcome = call("/v3/lease/keepalive", rail_etcd_encode_lease(12345));

	cr_assert_eq(outcome.errnum, EACCES);
}

/* JWT has the revision of users and roles in the token. */
static void set_up_with_users(void)
{
	char path[PATH_MAX];

	make_directories();
	write_file(path, "key", "0123456789abcdef0123456789abcdef");
	(void)snprintf(auth_token, sizeof(auth_token), "jwt,priv-key=%s,sign-method=HS256,ttl=1h",
		       path);
	start_etcd();
	start_client();
	ask("/v3/auth/user/add", "{\"name\":\"root\",\"password\":\"secret\"}");
	ask("/v3/auth/role/add", "{\"name\":\"root\"}");
	ask("/v3/auth/user/grant", "{\"user\":\"root\",\"role\":\"root\"}");
	ask("/v3/auth/enable", "{}");
	write_file(path, "password", "secret\n");
	log_in(path);
}

TestSuite(cluster_etcd_users, .init = set_up_with_users, .fini = stop_etcd);

Test(cluster_etcd_users, a_call_after_a_change_of_users_renews_the_token)
{
	cr_assert(put("one", "1"));
	ask("/v3/auth/user/add", "{\"name\":\"other\",\"password\":\"secret\"}");
	cr_assert(put("two", "2"));
}

Test(cluster_etcd_users, a_watch_after_a_change_of_users_ends_and_the_next_has_a_new_token)
{
	struct watched watched = {.created = false};
	struct watched next = {.created = false};
	struct rail_etcd_watch_callbacks callbacks = {
		.answer = on_watch_answer, .ended = on_watch_end, .context = &watched};
	struct rail_etcd_watch *watch;

	ask("/v3/auth/user/add", "{\"name\":\"other\",\"password\":\"secret\"}");
	cr_assert_eq(rail_etcd_watch(etcd, "in/", 1, &callbacks, &watch, NULL), 0);
	turn_until(&watched.ended);
	cr_assert_not(watched.created);
	cr_assert_not_null(strstr(watched.why, "revision of auth store is old"), "%s", watched.why);
	callbacks.context = &next;
	cr_assert_eq(rail_etcd_watch(etcd, "in/", 1, &callbacks, &watch, NULL), 0);
	turn_until(&next.created);
	cr_assert_not(next.ended);
	rail_etcd_unwatch(&watch);
}
