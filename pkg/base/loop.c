#include "pkg/base/loop.h"

#include <errno.h>
#include <limits.h>
#include <stdbool.h>
#include <stdlib.h>
#include <sys/epoll.h>
#include <unistd.h>

#include "pkg/base/file.h"

enum { EVENTS_A_TURN = 64 };

struct rail_source {
	struct rail_loop *loop;
	struct rail_source *next; /* in the loop's list of live or of removed ones */
	struct rail_source *previous;
	int fd;
	bool removed;
	void (*callback)(void *context, uint32_t events);
	void *context;
};

struct rail_timer {
	struct rail_loop *loop;
	struct rail_timer *next;
	int64_t due_ms;
	bool running;
	bool removed;
	void (*callback)(void *context);
	void *context;
};

struct rail_loop {
	int epoll;
	struct rail_source *sources;
	struct rail_source *removed_sources;
	struct rail_timer *timers; /* few, so a list */
};

int rail_loop_new(struct rail_loop **ret_loop, struct rail_error *error)
{
	struct rail_loop *loop = calloc(1, sizeof(*loop));

	if (loop == NULL)
		return rail_fail(error, ENOMEM, "no memory for the event loop");
	loop->epoll = epoll_create1(EPOLL_CLOEXEC);
	if (loop->epoll < 0) {
		int result = rail_fail_errno(error, errno, "epoll_create1");

		free(loop);
		return result;
	}
	*ret_loop = loop;
	return 0;
}

static void free_removed(struct rail_loop *loop)
{
	while (loop->removed_sources != NULL) {
		struct rail_source *source = loop->removed_sources;

		loop->removed_sources = source->next;
		free(source);
	}
	for (struct rail_timer **link = &loop->timers; *link != NULL;) {
		struct rail_timer *timer = *link;

		if (timer->removed) {
			*link = timer->next;
			free(timer);
		} else {
			link = &timer->next;
		}
	}
}

void rail_loop_free(struct rail_loop *loop)
{
	if (loop == NULL)
		return;
	while (loop->sources != NULL) {
		struct rail_source *source = loop->sources;

		rail_source_remove(&source);
	}
	for (struct rail_timer *timer = loop->timers; timer != NULL; timer = timer->next)
		timer->removed = true;
	free_removed(loop);
	(void)close(loop->epoll);
	free(loop);
}

int rail_loop_watch(struct rail_loop *loop, int fd, uint32_t events,
		    void (*callback)(void *context, uint32_t events), void *context,
		    struct rail_source **ret_source, struct rail_error *error)
{
	struct rail_source *source = calloc(1, sizeof(*source));

	if (source == NULL)
		return rail_fail(error, ENOMEM, "no memory to watch a descriptor");
	*source = (struct rail_source){
		.loop = loop, .fd = fd, .callback = callback, .context = context};

	struct epoll_event event = {.events = events, .data.ptr = source};

	if (epoll_ctl(loop->epoll, EPOLL_CTL_ADD, fd, &event) < 0) {
		int result = rail_fail_errno(error, errno, "epoll_ctl: watch descriptor %d", fd);

		free(source);
		return result;
	}
	source->next = loop->sources;
	if (source->next != NULL)
		source->next->previous = source;
	loop->sources = source;
	*ret_source = source;
	return 0;
}

int rail_source_change(struct rail_source *source, uint32_t events, struct rail_error *error)
{
	struct epoll_event event = {.events = events, .data.ptr = source};

	if (epoll_ctl(source->loop->epoll, EPOLL_CTL_MOD, source->fd, &event) < 0)
		return rail_fail_errno(error, errno, "epoll_ctl: change descriptor %d", source->fd);
	return 0;
}

void rail_source_remove(struct rail_source **pointer)
{
	struct rail_source *source = *pointer;

	*pointer = NULL;
	if (source == NULL)
		return;

	struct rail_loop *loop = source->loop;

	(void)epoll_ctl(loop->epoll, EPOLL_CTL_DEL, source->fd, NULL);
	source->removed = true;
	if (source->previous != NULL)
		source->previous->next = source->next;
	else
		loop->sources = source->next;
	if (source->next != NULL)
		source->next->previous = source->previous;
	source->next = loop->removed_sources;
	loop->removed_sources = source;
}

int rail_loop_timer(struct rail_loop *loop, void (*callback)(void *context), void *context,
		    struct rail_timer **ret_timer, struct rail_error *error)
{
	struct rail_timer *timer = calloc(1, sizeof(*timer));

	if (timer == NULL)
		return rail_fail(error, ENOMEM, "no memory for a timer");
	*timer = (struct rail_timer){
		.loop = loop, .next = loop->timers, .callback = callback, .context = context};
	loop->timers = timer;
	*ret_timer = timer;
	return 0;
}

void rail_timer_start(struct rail_timer *timer, int64_t delay_ms)
{
	timer->due_ms = rail_monotonic_ms() + delay_ms;
	timer->running = true;
}

void rail_timer_ensure(struct rail_timer *timer, int64_t delay_ms)
{
	if (!timer->running)
		rail_timer_start(timer, delay_ms);
}

void rail_timer_stop(struct rail_timer *timer)
{
	timer->running = false;
}

void rail_timer_remove(struct rail_timer **pointer)
{
	if (*pointer != NULL) {
		(*pointer)->running = false;
		(*pointer)->removed = true;
		*pointer = NULL;
	}
}

static int sleep_limit(const struct rail_loop *loop, int limit_ms)
{
	int64_t now_ms = rail_monotonic_ms();

	for (const struct rail_timer *timer = loop->timers; timer != NULL; timer = timer->next) {
		int64_t left_ms = timer->due_ms - now_ms;

		if (!timer->running)
			continue;
		if (left_ms < 0)
			left_ms = 0;
		if (limit_ms < 0 || left_ms < limit_ms)
			limit_ms = left_ms > INT_MAX ? INT_MAX : (int)left_ms;
	}
	return limit_ms;
}

int rail_loop_turn(struct rail_loop *loop, int limit_ms, struct rail_error *error)
{
	struct epoll_event events[EVENTS_A_TURN];
	int count = epoll_wait(loop->epoll, events, EVENTS_A_TURN, sleep_limit(loop, limit_ms));

	if (count < 0 && errno != EINTR)
		return rail_fail_errno(error, errno, "epoll_wait");
	for (int i = 0; i < count; i++) {
		struct rail_source *source = events[i].data.ptr;

		if (!source->removed)
			source->callback(source->context, events[i].events);
	}

	int64_t now_ms = rail_monotonic_ms();

	/* Timers that a callback adds stand before this one in the list, and wait for the next
	 * turn. */
	for (struct rail_timer *timer = loop->timers; timer != NULL; timer = timer->next)
		if (timer->running && timer->due_ms <= now_ms) {
			timer->running = false;
			timer->callback(timer->context);
		}
	free_removed(loop);
	return 0;
}
