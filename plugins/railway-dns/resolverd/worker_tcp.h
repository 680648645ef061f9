#pragma once

#include "plugins/railway-dns/resolverd/worker_internal.h"

/* What worker_tcp.c (which connections there are) and worker_connection.c (what is read from one,
 * and written to it) share. */

enum {
	RAIL_CONNECTION_SLOT_BITS = 10,
};

_Static_assert(1 << RAIL_CONNECTION_SLOT_BITS == RAIL_CONNECTIONS_MAXIMUM,
	       "a connection's number holds its slot");

struct rail_connection {
	struct rail_tcp *tcp;
	struct rail_worker_pod *pod;
	uint64_t id; /* slot, and how often it has been used: never 0, never given twice */
	int fd;
	struct rail_source *source;
	uint32_t events;
	int64_t active_ms;  /* the last byte in either direction */
	int64_t message_ms; /* the last whole message, or the beginning */
	size_t pending_count;
	bool ended;    /* nothing more is read: it goes when all is answered and sent */
	bool is_fresh; /* it has brought no whole message yet */
	uint8_t input[2 + RAIL_QUERY_SIZE_MAXIMUM];
	size_t input_size;
	uint8_t *output; /* what the socket did not take */
	size_t output_size;
	size_t output_capacity;
};

struct rail_tcp {
	struct rail_worker *worker;
	struct rail_timer *tick;
	bool paused; /* some pod does not accept at the moment */
	bool drains;
	size_t count;
	size_t unsent_size;
	uint8_t framed[2 + RAIL_DNS_MESSAGE_MAXIMUM];
	struct rail_connection *slots[RAIL_CONNECTIONS_MAXIMUM];
	uint64_t uses;
};

/* The slot in a connection's number. */
static inline size_t rail_connection_slot(uint64_t id)
{
	return id & (RAIL_CONNECTIONS_MAXIMUM - 1);
}

/* worker_tcp.c: the pod may be able to take one more, or none for now. */
void rail_tcp_accept_more(struct rail_worker_pod *pod, bool accepts);

/* worker_connection.c */

/* Watches a connection that was just made. */
int rail_connection_start(struct rail_connection *connection);
/* Frees it. reset: what was not sent yet is thrown away, and nothing of it stays anywhere. */
void rail_connection_close(struct rail_connection *connection, bool reset);
/* Handles what has come, once. It may close the connection. */
void rail_connection_read(struct rail_connection *connection);
/* Reads no more: it closes when all is answered and sent, which may be now. */
void rail_connection_end(struct rail_connection *connection);
/* Nothing is on its way, in either direction. */
bool rail_connection_is_idle(const struct rail_connection *connection);
