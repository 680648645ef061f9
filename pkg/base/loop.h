#pragma once

#include <stdint.h>

#include "pkg/base/error.h"

/*
 * The daemons' event loop: descriptors (epoll, level-triggered) and timers of one thread. A
 * callback may remove any source or timer, its own included: what is removed is never called again,
 * also not for an event that was already fetched, and its memory goes when the turn is over.
 */

struct rail_loop;
struct rail_source;
struct rail_timer;

int rail_loop_new(struct rail_loop **ret_loop, struct rail_error *error);
/* Frees the sources and timers that are left; closes no descriptor of theirs. */
void rail_loop_free(struct rail_loop *loop);

/*
 * Watches fd for events (EPOLLIN, EPOLLOUT; EPOLLERR and EPOLLHUP always come too). The source must
 * be removed before fd is closed: while another process holds the same open file, epoll would go on
 * reporting it.
 */
int rail_loop_watch(struct rail_loop *loop, int fd, uint32_t events,
		    void (*callback)(void *context, uint32_t events), void *context,
		    struct rail_source **ret_source, struct rail_error *error);
/* No events: only EPOLLERR and EPOLLHUP. */
int rail_source_change(struct rail_source *source, uint32_t events, struct rail_error *error);
/* Removes and sets the pointer to NULL; nothing where it is NULL already. */
void rail_source_remove(struct rail_source **source);

/* A timer, not yet running. */
int rail_loop_timer(struct rail_loop *loop, void (*callback)(void *context), void *context,
		    struct rail_timer **ret_timer, struct rail_error *error);
/* Calls once, delay_ms from now; a delay set before is forgotten. */
void rail_timer_start(struct rail_timer *timer, int64_t delay_ms);
/* The same, but one that is running already stays as it is: whoever has it started again and again
 * cannot put it off. */
void rail_timer_ensure(struct rail_timer *timer, int64_t delay_ms);
void rail_timer_stop(struct rail_timer *timer);
void rail_timer_remove(struct rail_timer **timer);

/*
 * Waits, at most limit_ms (-1: as long as the timers allow), and calls back for what is ready:
 * first the descriptors, then the timers that are due.
 */
int rail_loop_turn(struct rail_loop *loop, int limit_ms, struct rail_error *error);
