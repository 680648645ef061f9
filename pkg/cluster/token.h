#pragma once

#include "pkg/base/json.h"
#include "pkg/config/settings.h"

/*
 * The token that etcd gives for name and password ('cluster.user', 'cluster.password'). Without I/O
 * but for the password's file, which is read each time.
 */

enum { RAIL_ETCD_TOKEN_SIZE = 1000 };

struct rail_etcd_token {
	const struct rail_cluster_settings *settings; /* borrowed */
	char text[RAIL_ETCD_TOKEN_SIZE];	      /* "": none */
};

/* Nothing can be asked before there is one. */
bool rail_etcd_token_is_missing(const struct rail_etcd_token *token);
/* NULL where there is none. Borrowed, until the token is taken or forgotten. */
const char *rail_etcd_token_text(const struct rail_etcd_token *token);
/* The body that asks for one, for free() after explicit_bzero(); NULL with an error. */
char *rail_etcd_token_request(const struct rail_etcd_token *token, struct rail_error *error);
int rail_etcd_token_take(struct rail_etcd_token *token, const struct rail_json *answer,
			 struct rail_error *error);
/*
 * Whether what etcd said, by gRPC's code (-1: none) and a message (or NULL), is that it does not
 * take the token: then it is forgotten, and another one may be taken.
 */
bool rail_etcd_token_is_refused(struct rail_etcd_token *token, int code, const char *message);
