#pragma once

#include "pkg/base/loop.h"

/*
 * POST requests of JSON over HTTP and HTTPS, many at once on the daemon's loop (libcurl's multi
 * interface). The only module that includes libcurl. No proxies, no redirects, nothing but HTTP.
 */

struct rail_http;
struct rail_http_request;

/* Paths of PEM files; "" where there is none. */
struct rail_http_security {
	const char *ca; /* in place of the system's; "": these */
	const char *certificate;
	const char *key;
};

int rail_http_new(struct rail_loop *loop, const struct rail_http_security *security,
		  struct rail_http **ret_http, struct rail_error *error);
/* Requests that are left are cancelled: nobody is called back. */
void rail_http_free(struct rail_http *http);

enum {
	RAIL_HTTP_BODY_MAXIMUM = 1024 * 1024, /* of an answer, or of a line of a stream */
};

struct rail_http_post {
	const char *url;
	const char *authorization; /* a token; NULL: none */
	const char *body;
	int timeout_ms; /* 0: a stream, which has no end; it is ended where its peer is gone */
	/* Each line of a stream, without its end; NULL where it is no stream. */
	void (*line)(void *context, const char *text, size_t size);
	/*
	 * Called once, last. status: HTTP's; 0 where no whole answer came, and error says why
	 * (-EMSGSIZE: it was too large). body is NUL-terminated, and empty for a stream.
	 */
	void (*done)(void *context, long status, const char *body, size_t size,
		     const struct rail_error *error);
	void *context;
};

/* Everything of post is copied. Callbacks come from the loop, never from this call. */
int rail_http_post(struct rail_http *http, const struct rail_http_post *post,
		   struct rail_http_request **ret_request, struct rail_error *error);
/* Ends it without calling back; sets the pointer to NULL. */
void rail_http_cancel(struct rail_http_request **request);
