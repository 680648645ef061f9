#include "plugins/railway-mesh/meshd/session.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "pkg/base/cleanup.h"
#include "pkg/base/file.h"
#include "pkg/base/log.h"
#include "plugins/railway-mesh/meshd/environments.h"
#include "plugins/railway-mesh/meshd/identity.h"
#include "plugins/railway-mesh/meshd/leftovers.h"
#include "plugins/railway-mesh/meshd/registered.h"

/*
 * Round and round while the node is joined: the lease, and the look at the record that it lives,
 * which shows whether etcd was restored. Whatever fails, the lease is renewed before it is tried
 * again: what etcd refuses must not end it, and with it all of the node's members.
 */
enum step {
	STEP_NUMBER, /* the node's number is claimed, or confirmed */
	STEP_LEASE,  /* the lease is renewed, or another granted */
	STEP_ALIVE,  /* the record that the node lives is found, or written */
};

enum {
	RETRY_MINIMUM_MS = 250,
	RETRY_MAXIMUM_MS = 4000,
	ALIVE_RETRY_MS = 500,
	RENEWALS_A_LEASE = 3,
};

struct meshd_session {
	struct meshd *meshd;
	enum step step;
	bool writes; /* of NUMBER and ALIVE: the key is not there */
	struct rail_etcd_call *call;
	struct rail_timer *timer;
	char id[RAIL_NODE_ID_SIZE];
	uint32_t number;    /* claimed or to be claimed */
	bool number_is_new; /* not in the registry yet */
	bool has_number;    /* etcd has said so */
	int64_t lease;	    /* to be renewed; 0: none */
	int64_t retry_ms;
	bool trouble_told;
	int64_t alive_since_ms; /* when another's record was first met; 0: never */
	bool alive_told;
	int64_t asked_at;  /* meshd_saw */
	bool was_away;	   /* etcd, since the node's records were looked through */
	bool must_restart; /* once it has joined */
};

static void step(struct meshd_session *session);

/* Half of it, and chance: nodes that lost etcd together do not come back together. */
static int64_t jitter(int64_t delay_ms)
{
	uint32_t random = 0;

	(void)rail_random(&random, sizeof(random), NULL);
	return delay_ms / 2 + random % (delay_ms / 2 + 1);
}

/* Each reason once, as long as it stays the same. */
static void tell_trouble(struct meshd_session *session, const struct rail_error *error)
{
	static struct rail_log_limit limit = {.maximum = 5, .window_ms = 60000};
	struct meshd *meshd = session->meshd;
	unsigned int dropped;

	if (meshd->connected || strcmp(meshd->trouble.message, error->message) != 0)
		session->trouble_told = false;
	meshd->trouble = *error;
	/* Of many endpoints each may have a reason of its own, in turn. */
	if (session->trouble_told || !rail_log_allowed(&limit, rail_monotonic_ms(), &dropped))
		return;
	session->trouble_told = true;
	rail_log(RAIL_LOG_WARN,
		 rail_etcd_may_pass(error)
			 ? "etcd does not answer; pods go on, and what is new is published when it "
			   "does"
			 : "etcd does not do what this node asks; pods go on, and what is new is "
			   "published when it does",
		 "error", error->message, NULL);
}

static void set_connected(struct meshd_session *session, const struct rail_error *error)
{
	struct meshd *meshd = session->meshd;

	if (error == NULL) {
		session->retry_ms = RETRY_MINIMUM_MS;
		if (!meshd->connected)
			rail_log(RAIL_LOG_INFO, "etcd answers", "endpoint",
				 rail_etcd_endpoint(meshd->etcd), NULL);
		meshd->connected = true;
		return;
	}
	tell_trouble(session, error);
	meshd->connected = false;
	session->was_away = true;
	session->retry_ms =
		session->retry_ms * 2 > RETRY_MAXIMUM_MS ? RETRY_MAXIMUM_MS : session->retry_ms * 2;
	rail_timer_start(session->timer, jitter(session->retry_ms));
}

static void renew_first(struct meshd_session *session)
{
	if (session->lease != 0)
		session->step = STEP_LEASE;
}

static void fail_local(struct meshd_session *session, const struct rail_error *error)
{
	renew_first(session);
	rail_log(RAIL_LOG_ERROR, "this node cannot join its cluster", "error", error->message,
		 NULL);
	rail_timer_start(session->timer, RETRY_MAXIMUM_MS);
}

static void begin(struct meshd_session *session, const char *path, char *body,
		  rail_etcd_answered *answered)
{
	struct rail_error error = RAIL_ERROR_NONE;

	session->asked_at = session->meshd->revision;
	if (rail_etcd_begin(session->meshd->etcd, path, body, answered, session, &session->call,
			    &error) < 0)
		fail_local(session, &error);
}

static void go_on(struct meshd_session *session, enum step next)
{
	session->step = next;
	session->writes = false;
	step(session);
}

static void write_it(struct meshd_session *session)
{
	session->writes = true;
	step(session);
}

/* ---- the number ---- */

static int new_number(struct meshd_session *session, struct rail_error *error)
{
	uint32_t number = 0;

	/* By chance: a number that a restored etcd knows nothing of is not given out again. */
	while (number <= RAIL_NODE_LONE) {
		int result = rail_random(&number, sizeof(number), error);

		if (result < 0)
			return result;
	}
	session->number = number;
	session->number_is_new = true;
	return 0;
}

static int load_identity(struct meshd_session *session, struct rail_error *error)
{
	uint32_t number = 0;
	int result = meshd_identity_load(session->meshd->store, session->id, &number, error);

	if (result < 0)
		return result;
	if (number == RAIL_NODE_LONE)
		return new_number(session, error);
	session->number = number;
	return 0;
}

static char *encode_self(const struct meshd_session *session)
{
	struct rail_node_record record = {.node = session->number};

	memcpy(record.id, session->id, sizeof(record.id));
	(void)gethostname(record.host, sizeof(record.host) - 1);
	return rail_node_record_encode(&record);
}

/* "Put it where it is not there, else tell what is." */
static char *encode_claim(const char *key, const char *value, int64_t lease)
{
	struct rail_etcd_compare compare = {.key = key};
	struct rail_etcd_operation put = {
		.kind = RAIL_ETCD_PUT, .key = key, .value = value, .lease = lease};
	struct rail_etcd_operation get = {.kind = RAIL_ETCD_GET, .key = key};
	struct rail_etcd_transaction transaction = {&compare, 1, &put, 1, &get, 1};

	return value == NULL ? NULL : rail_etcd_encode_transaction(&transaction);
}

/* Parses what the key has, or that it was written; false where that is dealt with. */
static bool take(struct meshd_session *session, const struct rail_json *answer,
		 const struct rail_error *error, bool *ret_succeeded,
		 struct rail_etcd_records *ret_records)
{
	struct rail_etcd_header header;
	struct rail_error parsing = RAIL_ERROR_NONE;
	bool more;

	session->call = NULL;
	*ret_succeeded = false;
	if (answer != NULL &&
	    (session->writes
		     ? rail_etcd_parse_transaction(answer, &header, ret_succeeded, ret_records,
						   &parsing)
		     : rail_etcd_parse_range(answer, &header, ret_records, &more, &parsing)) < 0) {
		answer = NULL;
		error = &parsing;
	}
	if (answer == NULL) {
		renew_first(session);
		set_connected(session, error);
		return false;
	}
	set_connected(session, NULL);
	meshd_saw(session->meshd, &header, session->asked_at);
	return true;
}

static void on_number(void *context, const struct rail_json *answer, const struct rail_error *error)
{
	struct meshd_session *session = context;
	RAIL_CLEANUP(rail_etcd_records_done) struct rail_etcd_records records = {.count = 0};
	struct rail_error local = RAIL_ERROR_NONE;
	struct rail_node_record holder;
	bool succeeded;
	int result = 0;

	if (!take(session, answer, error, &succeeded, &records))
		return;
	if (!succeeded && records.count == 0) {
		write_it(session);
		return;
	}
	if (!succeeded && (rail_node_record_parse(records.records[0].value, &holder, &local) < 0 ||
			   strcmp(holder.id, session->id) != 0)) {
		if (!session->number_is_new)
			rail_log(RAIL_LOG_WARN,
				 "this node's number is another node's; taking a new one", NULL);
		result = new_number(session, &local);
		if (result < 0)
			fail_local(session, &local);
		else
			go_on(session, STEP_NUMBER);
		return;
	}
	if (session->number_is_new)
		result =
			meshd_identity_store_number(session->meshd->store, session->number, &local);
	if (result < 0) {
		fail_local(session, &local);
		return;
	}
	session->number_is_new = false;
	session->has_number = true;
	go_on(session, STEP_LEASE);
}

/* ---- the lease ---- */

static void on_lease(void *context, const struct rail_json *answer, const struct rail_error *error)
{
	struct meshd_session *session = context;
	struct rail_etcd_header header;
	struct rail_error parsing = RAIL_ERROR_NONE;
	int64_t lease = 0;
	int64_t ttl_s = 0;
	bool was_renewal = session->lease != 0;

	session->call = NULL;
	if (answer != NULL &&
	    rail_etcd_parse_lease(answer, &header, &lease, &ttl_s, &parsing) < 0) {
		answer = NULL;
		error = &parsing;
	}
	if (answer == NULL) {
		/* An unknown lease is no failure of etcd's. */
		if (error->errnum == ENOENT && was_renewal) {
			session->lease = 0;
			go_on(session, STEP_LEASE);
			return;
		}
		set_connected(session, error);
		return;
	}
	if (ttl_s <= 0) {
		if (session->meshd->lease != 0)
			rail_log(RAIL_LOG_WARN,
				 "the lease has ended: this node was taken for dead, "
				 "and publishes everything anew",
				 NULL);
		session->lease = 0;
		session->meshd->lease = 0;
		go_on(session, STEP_LEASE);
		return;
	}
	if (!was_renewal) {
		session->lease = lease;
		meshd_identity_store_lease(session->meshd->store, session->lease);
	}
	go_on(session, session->has_number ? STEP_ALIVE : STEP_NUMBER);
}

static void renew(struct meshd_session *session)
{
	if (session->lease != 0)
		begin(session, "/v3/lease/keepalive", rail_etcd_encode_lease(session->lease),
		      on_lease);
	else
		begin(session, "/v3/lease/grant",
		      rail_etcd_encode_grant(session->meshd->settings.cluster.lease_s), on_lease);
}

/* ---- the record that it lives ---- */

static void become_joined(struct meshd_session *session)
{
	struct meshd *meshd = session->meshd;
	bool is_new = meshd->node != session->number || meshd->lease != session->lease;

	if (session->must_restart) {
		session->must_restart = false;
		session->has_number = false;
		go_on(session, STEP_NUMBER);
		return;
	}
	meshd->node = session->number;
	meshd->lease = session->lease;
	session->alive_since_ms = 0;
	session->alive_told = false;
	session->step = STEP_LEASE;
	rail_timer_start(session->timer,
			 (int64_t)meshd->settings.cluster.lease_s * 1000 / RENEWALS_A_LEASE);
	if (is_new) {
		char number[16];
		char lease[24];

		(void)snprintf(number, sizeof(number), "%u", meshd->node);
		(void)snprintf(lease, sizeof(lease), "%" PRIx64, (uint64_t)meshd->lease);
		rail_log(RAIL_LOG_INFO, "joined", "node", number, "lease", lease, NULL);
		meshd_environments_joined(meshd->environments);
		meshd_registered_compare(meshd->registered);
	}
	if (is_new || session->was_away)
		meshd_leftovers_look_soon(meshd->leftovers);
	session->was_away = false;
}

/* Somebody else's record: of this node's daemon in an earlier boot, which ends with its lease, or
 * of a machine that was copied from this one. */
static void wait_for_other(struct meshd_session *session, const struct rail_etcd_record *record)
{
	int64_t now_ms = rail_monotonic_ms();
	int64_t patience_ms = ((int64_t)session->meshd->settings.cluster.lease_s + 10) * 1000;
	struct rail_node_record other = {.node = 0};

	if (session->alive_since_ms == 0) {
		session->alive_since_ms = now_ms;
		rail_log(RAIL_LOG_INFO,
			 "waiting for the end of the lease that this node had before", NULL);
	}
	if (now_ms - session->alive_since_ms > patience_ms && !session->alive_told) {
		(void)rail_node_record_parse(record->value, &other, NULL);
		rail_log(RAIL_LOG_ERROR,
			 "another machine is in the cluster as this node: was one of them copied "
			 "from "
			 "the other? Remove 'stateDirectory' on the copy, while no pod runs there",
			 "host", other.host, NULL);
		session->alive_told = true;
	}
	rail_timer_start(session->timer, ALIVE_RETRY_MS);
}

static void on_alive(void *context, const struct rail_json *answer, const struct rail_error *error)
{
	struct meshd_session *session = context;
	RAIL_CLEANUP(rail_etcd_records_done) struct rail_etcd_records records = {.count = 0};
	bool succeeded;

	if (error != NULL && error->errnum == ENOENT) {
		/* The lease went in between. */
		session->call = NULL;
		session->lease = 0;
		go_on(session, STEP_LEASE);
		return;
	}
	if (!take(session, answer, error, &succeeded, &records))
		return;
	if (succeeded || (records.count > 0 && records.records[0].lease == session->lease))
		become_joined(session);
	else if (records.count > 0)
		wait_for_other(session, &records.records[0]);
	else
		write_it(session);
}

/* Looked at first: an etcd that takes no more writes still confirms what is there, and a renewal
 * writes nothing. etcd's answer is linearizable, and shows whether it was restored. */
static void look_or_write(struct meshd_session *session, bool number)
{
	RAIL_FREE char *value = encode_self(session);
	rail_etcd_answered *answered = number ? on_number : on_alive;
	rail_cluster_key key;

	if (number)
		rail_key_of_node(session->number, key);
	else
		rail_key_of_alive(session->number, key);
	if (session->writes)
		begin(session, "/v3/kv/txn", encode_claim(key, value, number ? 0 : session->lease),
		      answered);
	else
		begin(session, "/v3/kv/range",
		      rail_etcd_encode_range(&(struct rail_etcd_range){.key = key}), answered);
}

static void step(struct meshd_session *session)
{
	struct rail_error error = RAIL_ERROR_NONE;

	switch (session->step) {
	case STEP_NUMBER:
		if (session->id[0] == '\0' && load_identity(session, &error) < 0)
			fail_local(session, &error);
		else
			look_or_write(session, true);
		break;
	case STEP_LEASE:
		renew(session);
		break;
	case STEP_ALIVE:
		look_or_write(session, false);
		break;
	}
}

static void on_timer(void *context)
{
	struct meshd_session *session = context;

	if (session->call == NULL)
		step(session);
}

void meshd_session_restart(struct meshd_session *session)
{
	session->must_restart = true;
}

int meshd_session_new(struct meshd *meshd, struct meshd_session **ret_session,
		      struct rail_error *error)
{
	struct meshd_session *session = calloc(1, sizeof(*session));

	if (session == NULL)
		return rail_fail(error, ENOMEM, "no memory for the session");
	session->meshd = meshd;
	session->retry_ms = RETRY_MINIMUM_MS;

	int result = rail_loop_timer(meshd->loop, on_timer, session, &session->timer, error);

	if (result < 0) {
		free(session);
		return result;
	}
	session->lease = meshd_identity_load_lease(meshd->store);
	*ret_session = session;
	return 0;
}

void meshd_session_start(struct meshd_session *session)
{
	step(session);
}

void meshd_session_free(struct meshd_session *session)
{
	if (session == NULL)
		return;
	rail_etcd_cancel(&session->call);
	rail_timer_remove(&session->timer);
	free(session);
}
