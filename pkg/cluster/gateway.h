#pragma once

#include <stdbool.h>

#include "pkg/base/json.h"

/*
 * What is sent to etcd's JSON gateway (etcd 3.4, api-reference "rpc.proto" as grpc-gateway maps it)
 * and what is understood of its answers: without I/O. int64 are strings there, keys and values
 * Base64, and default values are left out: what is absent is false, 0 or PUT. Another engine would
 * stand beside this file and etcd.c.
 */

enum {
	RAIL_ETCD_KEY_MAXIMUM = 1024,	/* bytes of a key that is looked at */
	RAIL_ETCD_VALUE_MAXIMUM = 4096, /* of a value */
};

/* Of every answer. A restored cluster shows by a revision that goes back, or by another ID. */
struct rail_etcd_header {
	char cluster_id[24]; /* "": not said */
	int64_t revision;    /* 0: not said */
};

struct rail_etcd_record {
	char *key; /* owned. No NUL within; one that is longer than the maximum, or has one, is left
		      out of the list */
	char *value; /* owned, no NUL within; NULL: deleted, or one that is not looked at (too
			large, with NUL) */
	int64_t create_revision;
	int64_t mod_revision;
	int64_t lease; /* 0: none */
	bool deleted;  /* an event's */
};

struct rail_etcd_records {
	struct rail_etcd_record *records;
	size_t count;
	/* Of all that came, those too that are left out: */
	int64_t revision; /* the highest mod_revision; 0: none came */
	char *last_key;	  /* of a range: the last one's, in Base64, owned; NULL: none came */
};

void rail_etcd_records_done(struct rail_etcd_records *records); /* for RAIL_CLEANUP */
/* NULL where there is none of that key. */
const struct rail_etcd_record *rail_etcd_records_find(const struct rail_etcd_records *records,
						      const char *key);

/* ---- requests: the body, for free(); NULL where memory ran out ---- */

struct rail_etcd_range {
	const char *key;
	bool prefix;	   /* all keys that begin so */
	const char *after; /* with prefix: only those behind this key, in Base64; NULL: all */
	int64_t revision;  /* as it was then; 0: now */
	int64_t limit;	   /* 0: none */
	bool keys_only;
};

char *rail_etcd_encode_range(const struct rail_etcd_range *range);

struct rail_etcd_compare {
	const char *key;
	int64_t mod_revision; /* what it must be; 0: the key is not there */
};

enum rail_etcd_kind { RAIL_ETCD_PUT, RAIL_ETCD_DELETE, RAIL_ETCD_GET };

struct rail_etcd_operation {
	enum rail_etcd_kind kind;
	const char *key;
	const char *value; /* of PUT */
	int64_t lease;
};

struct rail_etcd_transaction {
	const struct rail_etcd_compare *compares;
	size_t compare_count;
	const struct rail_etcd_operation *success;
	size_t success_count;
	const struct rail_etcd_operation *failure;
	size_t failure_count;
};

char *rail_etcd_encode_transaction(const struct rail_etcd_transaction *transaction);
char *rail_etcd_encode_grant(int64_t ttl_s);
char *rail_etcd_encode_lease(int64_t lease); /* of keepalive, revoke */
char *rail_etcd_encode_watch(const char *prefix, int64_t start_revision);
char *rail_etcd_encode_authenticate(const char *user, const char *password);

/* ---- answers. EPROTO for what is none ---- */

/* *ret_more: there are records behind the last one of these. */
int rail_etcd_parse_range(const struct rail_json *answer, struct rail_etcd_header *ret_header,
			  struct rail_etcd_records *ret_records, bool *ret_more,
			  struct rail_error *error);
/* The records of all ranges of the branch that was taken, in one list. */
int rail_etcd_parse_transaction(const struct rail_json *answer, struct rail_etcd_header *ret_header,
				bool *ret_succeeded, struct rail_etcd_records *ret_records,
				struct rail_error *error);
/* Of grant and keepalive: *ret_ttl_s is 0 where the lease is gone. */
int rail_etcd_parse_lease(const struct rail_json *answer, struct rail_etcd_header *ret_header,
			  int64_t *ret_lease, int64_t *ret_ttl_s, struct rail_error *error);
/* The token, borrowed from the answer. */
int rail_etcd_parse_authenticate(const struct rail_json *answer, const char **ret_token,
				 struct rail_error *error);

struct rail_etcd_watch_answer {
	struct rail_etcd_header header;
	bool created;
	bool canceled;		   /* by etcd: the watch is over */
	const char *cancel_reason; /* with canceled; borrowed from the line, or NULL */
	int64_t compact_revision;  /* with canceled: what was asked for is compacted; else 0 */
	struct rail_etcd_records events;
};

/* One line of a watch. An error that stands there in place of a result is returned as one. */
int rail_etcd_parse_watch(const struct rail_json *line, struct rail_etcd_watch_answer *ret_answer,
			  struct rail_error *error);

/* The gRPC status code that an error's body has; -1 where it has none. message borrowed, or NULL.
 */
int rail_etcd_parse_error(const struct rail_json *answer, const char **ret_message);

/* Of timetolive: what stands under a lease. */
char *rail_etcd_encode_lease_keys(int64_t lease);
/* Records of which only the key is set; none where the lease is gone. */
int rail_etcd_parse_lease_keys(const struct rail_json *answer, struct rail_etcd_header *ret_header,
			       struct rail_etcd_records *ret_records, struct rail_error *error);
