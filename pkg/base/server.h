#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "pkg/base/ask.h"
#include "pkg/base/listener.h"
#include "pkg/base/loop.h"

/*
 * A daemon's end of ask.h: takes root's connections, one request of each, and gives one reply. So
 * many clients at most are in hand at a time; more wait in the kernel's queue. A client that goes,
 * sends no request within 5 s or sends another while it waits is let go.
 */

struct rail_server;
struct rail_client; /* until it has its reply, or goes: hooks.gone is called then, if it is set */

struct rail_request {
	const uint8_t *bytes; /* NULL: it is larger than RAIL_ASK_MESSAGE_SIZE */
	size_t size;
	int descriptor; /* the first that came with it, closed by the server afterwards; -1: none */
	int descriptor_count;
};

/* All of it is borrowed, the texts for as long as the server lives. Any hook may answer any
 * client. */
struct rail_server_hooks {
	/* A client's request has come. It is answered, closed, or told to wait. */
	void (*request)(void *context, struct rail_client *client,
			const struct rail_request *request);
	/* At each tick, while it waits; may be NULL. */
	void (*poll)(void *context, struct rail_client *client);
	/* It has waited for as long as it may: it must be answered now. */
	void (*late)(void *context, struct rail_client *client);
	/* It goes: the end of what its data holds. May be NULL. */
	void (*gone)(void *context, struct rail_client *client);
	void *context;
};

struct rail_server_options {
	const char *daemon; /* its name, for messages */
	uint8_t version;    /* of the protocol */
	size_t client_maximum;
	size_t data_size; /* of what the daemon keeps of a client */
	int tick_ms;
	struct rail_server_hooks hooks;
};

/* Takes the listener over, and accepts nobody yet. */
int rail_server_new(struct rail_loop *loop, struct rail_listener *listener,
		    const struct rail_server_options *options, struct rail_server **ret_server,
		    struct rail_error *error);
/* Accepts clients from here on. */
int rail_server_serve(struct rail_server *server, struct rail_error *error);
/* Accepts no more; the socket's place stays when the server is freed: it is another daemon's. */
void rail_server_give_away(struct rail_server *server);
/* Clients that are left get no reply. */
void rail_server_free(struct rail_server *server);

const struct rail_listener *rail_server_listener(const struct rail_server *server);
size_t rail_server_count(const struct rail_server *server);
/* The clients that wait, one after the other (NULL: the first). Any of them may go meanwhile. */
struct rail_client *rail_server_next_waiting(struct rail_server *server,
					     const struct rail_client *after);

/* data_size bytes, zero when the client comes; hooks.gone is the last who may use them. */
void *rail_client_data(struct rail_client *client);
int rail_client_fd(const struct rail_client *client);
/* It waits for its reply, patience_ms at most. */
void rail_client_wait(struct rail_client *client, int64_t patience_ms);
/* Each ends it. */
void rail_client_reply(struct rail_client *client, const struct rail_error *outcome);
void rail_client_close(struct rail_client *client);
/* The reply to what is no request, logged. */
void rail_client_refuse(struct rail_client *client, const struct rail_error *error);
