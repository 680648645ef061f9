#include "pkg/cluster/etcd.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/queue.h>

#include "pkg/base/cleanup.h"
#include "pkg/base/file.h"
#include "pkg/cluster/http.h"
#include "pkg/cluster/refusal.h"
#include "pkg/cluster/token.h"

enum {
	PATH_SIZE = 64,
	URL_SIZE = RAIL_CLUSTER_URL_SIZE + PATH_SIZE,
};

struct rail_etcd_call {
	LIST_ENTRY(rail_etcd_call) link;
	struct rail_etcd *etcd;
	char path[PATH_SIZE];
	char *body;
	rail_etcd_answered *answered;
	void *context;
	struct rail_http_request *request; /* NULL: waits for a token */
	size_t endpoint;		   /* that it was sent to */
	size_t attempts_left;
	bool renewed; /* the token, for this call */
};

struct rail_etcd_watch {
	LIST_ENTRY(rail_etcd_watch) link;
	struct rail_etcd *etcd;
	char *body;
	struct rail_etcd_watch_callbacks callbacks;
	struct rail_http_request *request; /* NULL: waits for a token */
};

struct rail_etcd {
	struct rail_loop *loop;
	struct rail_http *http;
	const struct rail_cluster_settings *settings;
	void (*moved)(void *context);
	void *context;
	size_t endpoint;
	struct rail_etcd_token token;
	bool authenticating;
	struct rail_etcd_call *authentication;
	struct rail_timer *resume;
	LIST_HEAD(, rail_etcd_call) calls;
	LIST_HEAD(, rail_etcd_watch) watches;
};

static void authenticate(struct rail_etcd *etcd);
static void send_call(struct rail_etcd_call *call);
static void send_watch(struct rail_etcd_watch *watch);
static void end_watch(struct rail_etcd_watch *watch, const struct rail_error *error);

const char *rail_etcd_endpoint(const struct rail_etcd *etcd)
{
	return etcd->settings->endpoints[etcd->endpoint];
}

static void make_url(const struct rail_etcd *etcd, const char *path, char url[URL_SIZE])
{
	(void)snprintf(url, URL_SIZE, "%s%s", rail_etcd_endpoint(etcd), path);
}

static void move_on(struct rail_etcd *etcd, size_t from)
{
	/* Of calls that fail together only the first moves. */
	if (etcd->endpoint != from)
		return;
	etcd->endpoint = (etcd->endpoint + 1) % etcd->settings->endpoint_count;
	etcd->moved(etcd->context);
}

static void free_call(struct rail_etcd_call *call)
{
	rail_http_cancel(&call->request);
	LIST_REMOVE(call, link);
	if (call->body != NULL)
		explicit_bzero(call->body, strlen(call->body)); /* it may hold the password */
	free(call->body);
	free(call);
}

static void finish_call(struct rail_etcd_call *call, const struct rail_json *answer,
			const struct rail_error *error)
{
	rail_etcd_answered *answered = call->answered;
	void *context = call->context;

	free_call(call);
	answered(context, answer, error);
}

/* ---- the token ---- */

static void on_resume(void *context)
{
	struct rail_etcd *etcd = context;
	struct rail_etcd_call *call;
	struct rail_etcd_watch *watch;

	if (rail_etcd_token_is_missing(&etcd->token)) {
		authenticate(etcd);
		return;
	}
	/* Each that is sent is one less that waits, and each that fails leaves the list. */
	for (bool again = true; again;) {
		again = false;
		LIST_FOREACH(call, &etcd->calls, link)
		if (call->request == NULL && call != etcd->authentication) {
			send_call(call);
			again = true;
			break;
		}
	}
	for (bool again = true; again;) {
		again = false;
		LIST_FOREACH(watch, &etcd->watches, link)
		if (watch->request == NULL) {
			send_watch(watch);
			again = true;
			break;
		}
	}
}

static void on_token(void *context, const struct rail_json *answer, const struct rail_error *error)
{
	struct rail_etcd *etcd = context;
	struct rail_error local = RAIL_ERROR_NONE;
	struct rail_etcd_call *call;
	struct rail_etcd_watch *watch;

	etcd->authentication = NULL;
	etcd->authenticating = false;
	if (answer != NULL && rail_etcd_token_take(&etcd->token, answer, &local) == 0) {
		rail_timer_start(etcd->resume, 0);
		return;
	}
	if (answer != NULL)
		error = &local;

	struct rail_error outcome;
	/* A file that is not there is no lease that is gone. */
	int errnum = error->errnum == ENOENT ? EACCES : error->errnum;

	(void)rail_fail_code(&outcome, error->code, errnum,
			     "log in to etcd as '%s' ('cluster.user'): %s", etcd->settings->user,
			     error->message);
	for (bool again = true; again;) {
		again = false;
		LIST_FOREACH(call, &etcd->calls, link)
		if (call->request == NULL) {
			finish_call(call, NULL, &outcome);
			again = true;
			break;
		}
	}
	for (bool again = true; again;) {
		again = false;
		LIST_FOREACH(watch, &etcd->watches, link)
		if (watch->request == NULL) {
			end_watch(watch, &outcome);
			again = true;
			break;
		}
	}
}

static struct rail_etcd_call *new_call(struct rail_etcd *etcd, const char *path, char *body,
				       rail_etcd_answered *answered, void *context)
{
	struct rail_etcd_call *call = calloc(1, sizeof(*call));

	if (call == NULL || body == NULL) {
		free(call);
		free(body);
		return NULL;
	}
	call->etcd = etcd;
	(void)snprintf(call->path, sizeof(call->path), "%s", path);
	call->body = body;
	call->answered = answered;
	call->context = context;
	call->attempts_left = etcd->settings->endpoint_count + 1;
	LIST_INSERT_HEAD(&etcd->calls, call, link);
	return call;
}

static void authenticate(struct rail_etcd *etcd)
{
	struct rail_error error = RAIL_ERROR_NONE;

	if (etcd->authenticating)
		return;
	etcd->authenticating = true;

	etcd->authentication =
		new_call(etcd, "/v3/auth/authenticate",
			 rail_etcd_token_request(&etcd->token, &error), on_token, etcd);
	if (etcd->authentication != NULL) {
		send_call(etcd->authentication);
		return;
	}
	if (error.errnum == 0)
		(void)rail_fail(&error, ENOMEM, "no memory to log in to etcd");
	on_token(etcd, NULL, &error);
}

/* ---- calls ---- */

static bool is_authentication(const struct rail_etcd_call *call)
{
	return call == call->etcd->authentication;
}

bool rail_etcd_may_pass(const struct rail_error *error)
{
	return error->code == RAIL_CODE_TRY_AGAIN &&
	       (error->errnum == ETIMEDOUT || error->errnum == EIO || error->errnum == EAGAIN ||
		error->errnum == ENOENT);
}

static void try_again(struct rail_etcd_call *call, const struct rail_error *error)
{
	struct rail_etcd *etcd = call->etcd;

	move_on(etcd, call->endpoint);
	if (--call->attempts_left == 0)
		finish_call(call, NULL, error);
	else
		send_call(call);
}

static void on_call_done(void *context, long status, const char *body, size_t size,
			 const struct rail_error *transport)
{
	struct rail_etcd_call *call = context;
	struct rail_etcd *etcd = call->etcd;
	RAIL_CLEANUP(rail_json_freep) struct rail_json *answer = NULL;
	struct rail_error error = RAIL_ERROR_NONE;

	call->request = NULL;
	if (status == 0) {
		(void)rail_fail_code(&error, RAIL_CODE_TRY_AGAIN, transport->errnum,
				     "etcd at %s: %s", rail_etcd_endpoint(etcd),
				     transport->message);
		if (transport->errnum == EMSGSIZE)
			finish_call(call, NULL, &error);
		else
			try_again(call, &error);
		return;
	}

	int parsed = rail_json_parse(body, size, &answer, &error);

	if (status == 200 && parsed == 0) {
		finish_call(call, answer, NULL);
		return;
	}

	struct rail_etcd_refusal refusal = rail_etcd_refusal_of(answer, status);

	(void)rail_etcd_refusal_fail(&refusal, &error);
	if (!is_authentication(call) && !call->renewed &&
	    rail_etcd_token_is_refused(&etcd->token, refusal.code, refusal.message)) {
		call->renewed = true;
		send_call(call);
	} else if (rail_etcd_refusal_may_pass(&refusal)) {
		try_again(call, &error);
	} else {
		finish_call(call, NULL, &error);
	}
}

static void send_call(struct rail_etcd_call *call)
{
	struct rail_etcd *etcd = call->etcd;
	struct rail_error error = RAIL_ERROR_NONE;
	char url[URL_SIZE];

	if (rail_etcd_token_is_missing(&etcd->token) && !is_authentication(call)) {
		authenticate(etcd);
		return;
	}
	call->endpoint = etcd->endpoint;
	make_url(etcd, call->path, url);

	struct rail_http_post post = {
		.url = url,
		.authorization =
			is_authentication(call) ? NULL : rail_etcd_token_text(&etcd->token),
		.body = call->body,
		.timeout_ms = RAIL_ETCD_ATTEMPT_MS,
		.done = on_call_done,
		.context = call,
	};
	if (rail_http_post(etcd->http, &post, &call->request, &error) < 0)
		finish_call(call, NULL, &error);
}

int rail_etcd_begin(struct rail_etcd *etcd, const char *path, char *body,
		    rail_etcd_answered *answered, void *context, struct rail_etcd_call **ret_call,
		    struct rail_error *error)
{
	struct rail_etcd_call *call = new_call(etcd, path, body, answered, context);

	if (call == NULL)
		return rail_fail(error, ENOMEM, "no memory for a call of etcd");
	*ret_call = call;
	/* From the loop, so that nobody is called back before this has returned. */
	rail_timer_start(etcd->resume, 0);
	return 0;
}

void rail_etcd_cancel(struct rail_etcd_call **pointer)
{
	struct rail_etcd_call *call = *pointer;

	*pointer = NULL;
	if (call != NULL)
		free_call(call);
}

/* ---- watches ---- */

static void end_watch(struct rail_etcd_watch *watch, const struct rail_error *error)
{
	struct rail_etcd_watch_callbacks callbacks = watch->callbacks;

	rail_etcd_unwatch(&watch);
	callbacks.ended(callbacks.context, error);
}

static void on_watch_line(void *context, const char *text, size_t size)
{
	struct rail_etcd_watch *watch = context;
	RAIL_CLEANUP(rail_json_freep) struct rail_json *line = NULL;
	struct rail_etcd_watch_answer answer = {.created = false};
	struct rail_error error = RAIL_ERROR_NONE;

	if (rail_json_parse(text, size, &line, &error) < 0 ||
	    rail_etcd_parse_watch(line, &answer, &error) < 0) {
		end_watch(watch, &error);
		return;
	}
	if (answer.canceled) {
		(void)rail_etcd_token_is_refused(&watch->etcd->token, -1, answer.cancel_reason);
		(void)rail_fail_code(
			&error, RAIL_CODE_TRY_AGAIN,
			answer.compact_revision != 0 ? ESTALE : ECANCELED,
			"etcd canceled a watch: %.300s (compacted up to revision %lld)",
			answer.cancel_reason != NULL ? answer.cancel_reason : "no reason given",
			(long long)answer.compact_revision);
		end_watch(watch, &error);
	} else {
		watch->callbacks.answer(watch->callbacks.context, &answer);
	}
	rail_etcd_records_done(&answer.events);
}

static void on_watch_done(void *context, long status, const char *body, size_t size,
			  const struct rail_error *transport)
{
	struct rail_etcd_watch *watch = context;
	struct rail_etcd *etcd = watch->etcd;
	RAIL_CLEANUP(rail_json_freep) struct rail_json *answer = NULL;
	struct rail_error error = RAIL_ERROR_NONE;

	watch->request = NULL;
	if (status == 0)
		(void)rail_fail_code(&error, RAIL_CODE_TRY_AGAIN, transport->errnum,
				     "a watch of etcd at %s ended: %s", rail_etcd_endpoint(etcd),
				     transport->message);
	else if (status == 200)
		(void)rail_fail_code(&error, RAIL_CODE_TRY_AGAIN, ECONNRESET,
				     "etcd at %s ended a watch", rail_etcd_endpoint(etcd));
	else {
		(void)rail_json_parse(body, size, &answer, NULL);

		struct rail_etcd_refusal refusal = rail_etcd_refusal_of(answer, status);

		(void)rail_etcd_token_is_refused(&etcd->token, refusal.code, refusal.message);
		(void)rail_etcd_refusal_fail(&refusal, &error);
	}
	end_watch(watch, &error);
}

static void send_watch(struct rail_etcd_watch *watch)
{
	struct rail_etcd *etcd = watch->etcd;
	struct rail_error error = RAIL_ERROR_NONE;
	char url[URL_SIZE];

	if (rail_etcd_token_is_missing(&etcd->token)) {
		authenticate(etcd);
		return;
	}
	make_url(etcd, "/v3/watch", url);

	struct rail_http_post post = {
		.url = url,
		.authorization = rail_etcd_token_text(&etcd->token),
		.body = watch->body,
		.line = on_watch_line,
		.done = on_watch_done,
		.context = watch,
	};
	if (rail_http_post(etcd->http, &post, &watch->request, &error) < 0)
		end_watch(watch, &error);
}

int rail_etcd_watch(struct rail_etcd *etcd, const char *prefix, int64_t revision,
		    const struct rail_etcd_watch_callbacks *callbacks,
		    struct rail_etcd_watch **ret_watch, struct rail_error *error)
{
	struct rail_etcd_watch *watch = calloc(1, sizeof(*watch));
	char *body = rail_etcd_encode_watch(prefix, revision);

	if (watch == NULL || body == NULL) {
		free(watch);
		free(body);
		return rail_fail(error, ENOMEM, "no memory for a watch");
	}
	*watch = (struct rail_etcd_watch){.etcd = etcd, .body = body, .callbacks = *callbacks};
	LIST_INSERT_HEAD(&etcd->watches, watch, link);
	*ret_watch = watch;
	rail_timer_start(etcd->resume, 0);
	return 0;
}

void rail_etcd_unwatch(struct rail_etcd_watch **pointer)
{
	struct rail_etcd_watch *watch = *pointer;

	*pointer = NULL;
	if (watch == NULL)
		return;
	rail_http_cancel(&watch->request);
	LIST_REMOVE(watch, link);
	free(watch->body);
	free(watch);
}

/* ---- the client ---- */

int rail_etcd_new(struct rail_loop *loop, const struct rail_cluster_settings *settings,
		  void (*moved)(void *context), void *context, struct rail_etcd **ret_etcd,
		  struct rail_error *error)
{
	struct rail_http_security security = {
		.ca = settings->ca,
		.certificate = settings->certificate,
		.key = settings->key,
	};
	struct rail_etcd *etcd = calloc(1, sizeof(*etcd));
	uint32_t start = 0;

	if (etcd == NULL)
		return rail_fail(error, ENOMEM, "no memory for etcd's client");
	*etcd = (struct rail_etcd){
		.loop = loop,
		.settings = settings,
		.moved = moved,
		.context = context,
		.token = {.settings = settings},
	};
	LIST_INIT(&etcd->calls);
	LIST_INIT(&etcd->watches);

	/* Nodes that all began with the first endpoint would leave the others idle. */
	int result = rail_random(&start, sizeof(start), error);

	etcd->endpoint = start % settings->endpoint_count;
	if (result == 0)
		result = rail_loop_timer(loop, on_resume, etcd, &etcd->resume, error);
	if (result == 0)
		result = rail_http_new(loop, &security, &etcd->http, error);
	if (result < 0) {
		rail_etcd_free(etcd);
		return result;
	}
	*ret_etcd = etcd;
	return 0;
}

void rail_etcd_free(struct rail_etcd *etcd)
{
	if (etcd == NULL)
		return;
	while (!LIST_EMPTY(&etcd->calls))
		free_call(LIST_FIRST(&etcd->calls));
	while (!LIST_EMPTY(&etcd->watches)) {
		struct rail_etcd_watch *watch = LIST_FIRST(&etcd->watches);

		rail_etcd_unwatch(&watch);
	}
	rail_http_free(etcd->http);
	rail_timer_remove(&etcd->resume);
	explicit_bzero(&etcd->token, sizeof(etcd->token));
	free(etcd);
}
