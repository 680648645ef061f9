#include "pkg/cluster/http.h"

#include <curl/curl.h>
#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdbool.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/queue.h>
#include <sys/socket.h>

#include "pkg/base/cleanup.h"

enum {
	CONNECT_MS = 3000,
	/* A peer that is gone without a word is noticed within some 20 s. */
	KEEPALIVE_IDLE_S = 5,
	KEEPALIVE_INTERVAL_S = 5,
	SILENCE_MS = 20000,
	/* What may wait here of a stream: libcurl hands over more than one line at a time. */
	STREAM_MAXIMUM = 4 * RAIL_HTTP_BODY_MAXIMUM,
};

struct rail_http_request {
	LIST_ENTRY(rail_http_request) link;
	TAILQ_ENTRY(rail_http_request) ready_link;
	bool is_ready;
	bool cancelled; /* within its own callback */
	bool finished;
	struct rail_http *http;
	CURL *easy;
	struct curl_slist *headers;
	char reason[CURL_ERROR_SIZE];
	CURLcode outcome;
	char *data;
	size_t size;
	size_t capacity;
	bool too_large;
	void (*line)(void *context, const char *text, size_t size);
	void (*done)(void *context, long status, const char *body, size_t size,
		     const struct rail_error *error);
	void *context;
};

/* A descriptor that libcurl waits for. */
struct socket_watch {
	struct rail_http *http;
	curl_socket_t fd;
	struct rail_source *source;
};

struct rail_http {
	struct rail_loop *loop;
	CURLM *multi;
	struct rail_timer *timer;
	LIST_HEAD(, rail_http_request) requests;
	TAILQ_HEAD(, rail_http_request) ready;
	struct rail_http_request *current; /* whose callback is running */
	char *ca;
	char *certificate;
	char *key;
};

static void make_ready(struct rail_http_request *request)
{
	if (request->is_ready)
		return;
	request->is_ready = true;
	TAILQ_INSERT_TAIL(&request->http->ready, request, ready_link);
}

static void free_request(struct rail_http_request *request)
{
	if (request->is_ready)
		TAILQ_REMOVE(&request->http->ready, request, ready_link);
	LIST_REMOVE(request, link);
	(void)curl_multi_remove_handle(request->http->multi, request->easy);
	curl_easy_cleanup(request->easy);
	curl_slist_free_all(request->headers);
	free(request->data);
	free(request);
}

/* Called by libcurl, in which nothing may be undone: it only keeps the bytes. */
static size_t on_data(char *bytes, size_t size, size_t count, void *context)
{
	struct rail_http_request *request = context;
	size_t length = size * count;
	size_t maximum = request->line != NULL ? STREAM_MAXIMUM : RAIL_HTTP_BODY_MAXIMUM;

	if (length > maximum - request->size) {
		request->too_large = true;
		return 0;
	}
	if (request->size + length + 1 > request->capacity) {
		size_t capacity = (request->size + length + 1) * 2;
		char *grown = realloc(request->data, capacity);

		if (grown == NULL)
			return 0;
		request->data = grown;
		request->capacity = capacity;
	}
	memcpy(request->data + request->size, bytes, length);
	request->size += length;
	request->data[request->size] = '\0';
	if (request->line != NULL)
		make_ready(request);
	return length;
}

/* It ends its stream. */
static void refuse_line(struct rail_http_request *request)
{
	request->size = 0;
	request->too_large = true;
	request->finished = true;
	request->outcome = CURLE_WRITE_ERROR;
}

static void deliver_lines(struct rail_http_request *request)
{
	char *start = request->data;
	char *limit = request->data + request->size;

	while (!request->cancelled && start < limit) {
		char *end = memchr(start, '\n', (size_t)(limit - start));

		if (end == NULL)
			break;
		if (end - start > RAIL_HTTP_BODY_MAXIMUM) {
			refuse_line(request);
			return;
		}
		*end = '\0';
		if (end != start)
			request->line(request->context, start, (size_t)(end - start));
		start = end + 1;
	}
	request->size = (size_t)(limit - start);
	if (request->size != 0)
		memmove(request->data, start, request->size + 1);
	if (request->size > RAIL_HTTP_BODY_MAXIMUM && !request->finished)
		refuse_line(request);
}

static void deliver_end(struct rail_http_request *request)
{
	struct rail_error error = RAIL_ERROR_NONE;
	long status = 0;

	if (request->too_large) {
		(void)rail_fail_code(&error, RAIL_CODE_TRY_AGAIN, EMSGSIZE,
				     "the answer has more than %d bytes", RAIL_HTTP_BODY_MAXIMUM);
	} else if (request->outcome != CURLE_OK) {
		int errnum = request->outcome == CURLE_OPERATION_TIMEDOUT ? ETIMEDOUT : EIO;

		(void)rail_fail_code(&error, RAIL_CODE_TRY_AGAIN, errnum, "%s",
				     request->reason[0] != '\0'
					     ? request->reason
					     : curl_easy_strerror(request->outcome));
	} else {
		(void)curl_easy_getinfo(request->easy, CURLINFO_RESPONSE_CODE, &status);
	}

	bool is_stream = request->line != NULL && status == 200;

	request->done(request->context, status,
		      is_stream || request->data == NULL ? "" : request->data,
		      is_stream ? 0 : request->size, &error);
}

/* Calls back, outside of libcurl. */
static void pump(struct rail_http *http)
{
	int left;
	CURLMsg *message;

	while ((message = curl_multi_info_read(http->multi, &left)) != NULL) {
		struct rail_http_request *request;

		if (message->msg != CURLMSG_DONE ||
		    curl_easy_getinfo(message->easy_handle, CURLINFO_PRIVATE, &request) != CURLE_OK)
			continue;
		request->finished = true;
		request->outcome = message->data.result;
		make_ready(request);
	}
	while (http->current == NULL && !TAILQ_EMPTY(&http->ready)) {
		struct rail_http_request *request = TAILQ_FIRST(&http->ready);

		TAILQ_REMOVE(&http->ready, request, ready_link);
		request->is_ready = false;
		http->current = request;
		if (request->line != NULL && request->size != 0)
			deliver_lines(request);
		if (request->finished && !request->cancelled) {
			deliver_end(request);
			request->cancelled = true;
		}
		http->current = NULL;
		if (request->cancelled)
			free_request(request);
	}
}

static void act(struct rail_http *http, curl_socket_t fd, int flags)
{
	int running;

	(void)curl_multi_socket_action(http->multi, fd, flags, &running);
	pump(http);
}

static void on_event(void *context, uint32_t events)
{
	const struct socket_watch *watch = context;
	int flags = ((events & EPOLLIN) != 0 ? CURL_CSELECT_IN : 0) |
		    ((events & EPOLLOUT) != 0 ? CURL_CSELECT_OUT : 0) |
		    ((events & (EPOLLERR | EPOLLHUP)) != 0 ? CURL_CSELECT_ERR : 0);

	act(watch->http, watch->fd, flags);
}

static void on_timer(void *context)
{
	act(context, CURL_SOCKET_TIMEOUT, 0);
}

static int set_timer(CURLM *multi, long timeout_ms, void *context)
{
	struct rail_http *http = context;

	(void)multi;
	if (timeout_ms < 0)
		rail_timer_stop(http->timer);
	else
		rail_timer_start(http->timer, timeout_ms);
	return 0;
}

static int watch_socket(CURL *easy, curl_socket_t fd, int what, void *context, void *per_socket)
{
	struct rail_http *http = context;
	struct socket_watch *watch = per_socket;
	uint32_t events = ((what & CURL_POLL_IN) != 0 ? EPOLLIN : 0U) |
			  ((what & CURL_POLL_OUT) != 0 ? EPOLLOUT : 0U);

	(void)easy;
	if (what == CURL_POLL_REMOVE) {
		if (watch != NULL) {
			rail_source_remove(&watch->source);
			free(watch);
			(void)curl_multi_assign(http->multi, fd, NULL);
		}
		return 0;
	}
	if (watch != NULL)
		return rail_source_change(watch->source, events, NULL) < 0 ? -1 : 0;

	watch = calloc(1, sizeof(*watch));
	if (watch == NULL)
		return -1;
	*watch = (struct socket_watch){.http = http, .fd = fd};
	if (rail_loop_watch(http->loop, fd, events, on_event, watch, &watch->source, NULL) < 0 ||
	    curl_multi_assign(http->multi, fd, watch) != CURLM_OK) {
		rail_source_remove(&watch->source);
		free(watch);
		return -1;
	}
	return 0;
}

static int set_socket_options(void *context, curl_socket_t fd, curlsocktype purpose)
{
	unsigned int silence_ms = SILENCE_MS;

	(void)context;
	(void)purpose;
	(void)setsockopt(fd, IPPROTO_TCP, TCP_USER_TIMEOUT, &silence_ms, sizeof(silence_ms));
	return CURL_SOCKOPT_OK;
}

int rail_http_new(struct rail_loop *loop, const struct rail_http_security *security,
		  struct rail_http **ret_http, struct rail_error *error)
{
	struct rail_http *http = calloc(1, sizeof(*http));

	if (http == NULL || curl_global_init(CURL_GLOBAL_DEFAULT) != CURLE_OK) {
		free(http);
		return rail_fail(error, ENOMEM, "libcurl cannot be set up");
	}
	http->loop = loop;
	LIST_INIT(&http->requests);
	TAILQ_INIT(&http->ready);
	http->ca = strdup(security->ca);
	http->certificate = strdup(security->certificate);
	http->key = strdup(security->key);
	http->multi = curl_multi_init();

	int result = http->multi == NULL || http->ca == NULL || http->certificate == NULL ||
				     http->key == NULL
			     ? rail_fail(error, ENOMEM, "no memory for HTTP")
			     : rail_loop_timer(loop, on_timer, http, &http->timer, error);

	if (result < 0) {
		rail_http_free(http);
		return result;
	}
	(void)curl_multi_setopt(http->multi, CURLMOPT_SOCKETFUNCTION, watch_socket);
	(void)curl_multi_setopt(http->multi, CURLMOPT_SOCKETDATA, http);
	(void)curl_multi_setopt(http->multi, CURLMOPT_TIMERFUNCTION, set_timer);
	(void)curl_multi_setopt(http->multi, CURLMOPT_TIMERDATA, http);
	*ret_http = http;
	return 0;
}

void rail_http_free(struct rail_http *http)
{
	if (http == NULL)
		return;
	while (!LIST_EMPTY(&http->requests))
		free_request(LIST_FIRST(&http->requests));
	if (http->multi != NULL)
		(void)curl_multi_cleanup(http->multi);
	rail_timer_remove(&http->timer);
	free(http->ca);
	free(http->certificate);
	free(http->key);
	free(http);
	curl_global_cleanup();
}

static bool add_header(struct rail_http_request *request, const char *text)
{
	struct curl_slist *longer = curl_slist_append(request->headers, text);

	if (longer == NULL)
		return false;
	request->headers = longer;
	return true;
}

static bool set_headers(struct rail_http_request *request, const struct rail_http_post *post)
{
	char authorization[1024];

	if (!add_header(request, "Content-Type: application/json") ||
	    !add_header(request, "Expect:"))
		return false;
	/* A member that is cut off from the others says so, in place of staying silent. */
	if (post->line != NULL && !add_header(request, "Grpc-Metadata-hasleader: true"))
		return false;
	if (post->authorization == NULL)
		return true;

	int printed = snprintf(authorization, sizeof(authorization), "Authorization: %s",
			       post->authorization);

	return printed > 0 && (size_t)printed < sizeof(authorization) &&
	       add_header(request, authorization);
}

#define SET(option, value)                                                                         \
	do {                                                                                       \
		if (curl_easy_setopt(easy, option, value) != CURLE_OK)                             \
			return false;                                                              \
	} while (0)

static bool set_options(struct rail_http_request *request, const struct rail_http_post *post)
{
	const struct rail_http *http = request->http;
	CURL *easy = request->easy;

	SET(CURLOPT_PRIVATE, request);
	SET(CURLOPT_URL, post->url);
	SET(CURLOPT_PROTOCOLS_STR, "http,https");
	SET(CURLOPT_PROXY, "");
	SET(CURLOPT_NOSIGNAL, 1L);
	SET(CURLOPT_HTTP_VERSION, (long)CURL_HTTP_VERSION_1_1);
	SET(CURLOPT_HTTPHEADER, request->headers);
	SET(CURLOPT_COPYPOSTFIELDS, post->body);
	SET(CURLOPT_WRITEFUNCTION, on_data);
	SET(CURLOPT_WRITEDATA, request);
	SET(CURLOPT_ERRORBUFFER, request->reason);
	SET(CURLOPT_CONNECTTIMEOUT_MS, (long)CONNECT_MS);
	SET(CURLOPT_TIMEOUT_MS, (long)post->timeout_ms);
	SET(CURLOPT_TCP_KEEPALIVE, 1L);
	SET(CURLOPT_TCP_KEEPIDLE, (long)KEEPALIVE_IDLE_S);
	SET(CURLOPT_TCP_KEEPINTVL, (long)KEEPALIVE_INTERVAL_S);
	SET(CURLOPT_SOCKOPTFUNCTION, set_socket_options);
	if (*http->ca != '\0') {
		SET(CURLOPT_CAINFO, http->ca);
		/* Beside the file, libcurl would go on to believe the system's directory. */
		SET(CURLOPT_CAPATH, NULL);
	}
#if LIBCURL_VERSION_NUM >= 0x075700
	/* Kept for a day, as by default, a file that was replaced would not be seen. An older
	 * libcurl has no such option, and keeps nothing. */
	(void)curl_easy_setopt(easy, CURLOPT_CA_CACHE_TIMEOUT, 0L);
#endif
	if (*http->certificate != '\0')
		SET(CURLOPT_SSLCERT, http->certificate);
	if (*http->key != '\0')
		SET(CURLOPT_SSLKEY, http->key);
	return true;
}

int rail_http_post(struct rail_http *http, const struct rail_http_post *post,
		   struct rail_http_request **ret_request, struct rail_error *error)
{
	struct rail_http_request *request = calloc(1, sizeof(*request));

	if (request == NULL)
		return rail_fail(error, ENOMEM, "no memory for a request");
	request->http = http;
	request->line = post->line;
	request->done = post->done;
	request->context = post->context;
	request->easy = curl_easy_init();
	LIST_INSERT_HEAD(&http->requests, request, link);
	if (request->easy == NULL || !set_headers(request, post) || !set_options(request, post) ||
	    curl_multi_add_handle(http->multi, request->easy) != CURLM_OK) {
		free_request(request);
		return rail_fail(error, ENOMEM, "no memory for a request");
	}
	*ret_request = request;
	return 0;
}

void rail_http_cancel(struct rail_http_request **pointer)
{
	struct rail_http_request *request = *pointer;

	*pointer = NULL;
	if (request == NULL)
		return;
	if (request->http->current == request)
		request->cancelled = true;
	else
		free_request(request);
}
