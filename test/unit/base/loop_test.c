#include "pkg/base/loop.h"

#include <criterion/criterion.h>
#include <errno.h>
#include <fcntl.h>
#include <sys/epoll.h>
#include <unistd.h>

#include "pkg/base/cleanup.h"
#include "pkg/base/file.h"

enum { PIPES = 3 };

static struct rail_loop *loop;
static int readers[PIPES];
static int writers[PIPES];
static struct rail_source *sources[PIPES];
static struct rail_timer *timers[PIPES];
static int calls[PIPES];

static void make(void)
{
	cr_assert_eq(rail_loop_new(&loop, NULL), 0);
	for (int i = 0; i < PIPES; i++) {
		int fds[2];

		cr_assert_eq(pipe2(fds, O_CLOEXEC | O_NONBLOCK), 0);
		readers[i] = fds[0];
		writers[i] = fds[1];
	}
}

static void done(void)
{
	rail_loop_free(loop);
	for (int i = 0; i < PIPES; i++) {
		(void)close(readers[i]);
		(void)close(writers[i]);
	}
}

TestSuite(base_loop, .init = make, .fini = done);

static int index_of(void *context)
{
	return (int)((int *)context - calls);
}

static void count_call(void *context, uint32_t events)
{
	(void)events;
	calls[index_of(context)]++;
}

static void remove_all(void *context, uint32_t events)
{
	count_call(context, events);
	for (int i = 0; i < PIPES; i++) {
		rail_source_remove(&sources[i]);
		rail_timer_remove(&timers[i]);
	}
}

static void watch_all(void (*callback)(void *context, uint32_t events))
{
	for (int i = 0; i < PIPES; i++) {
		cr_assert_eq(rail_loop_watch(loop, readers[i], EPOLLIN, callback, &calls[i],
					     &sources[i], NULL),
			     0);
		cr_assert_eq(write(writers[i], "x", 1), 1);
	}
}

Test(base_loop, calls_for_what_is_ready_until_it_is_not)
{
	char byte;

	watch_all(count_call);
	cr_assert_eq(rail_loop_turn(loop, 1000, NULL), 0);
	cr_assert_eq(read(readers[0], &byte, 1), 1);
	cr_assert_eq(rail_loop_turn(loop, 1000, NULL), 0);
	cr_assert_eq(calls[0], 1);
	cr_assert_eq(calls[1], 2);
	cr_assert_eq(calls[2], 2);
}

Test(base_loop, a_callback_may_remove_everything)
{
	watch_all(remove_all);
	cr_assert_eq(rail_loop_turn(loop, 1000, NULL), 0);
	/* All three were ready: whoever came first removed the others, and itself. */
	cr_assert_eq(calls[0] + calls[1] + calls[2], 1);
	for (int i = 0; i < PIPES; i++)
		cr_assert_null(sources[i]);
	cr_assert_eq(rail_loop_turn(loop, 0, NULL), 0);
	cr_assert_eq(calls[0] + calls[1] + calls[2], 1);
}

Test(base_loop, a_removed_source_is_silent_though_its_file_lives_elsewhere)
{
	RAIL_CLOSE int copy = dup(readers[0]);

	watch_all(count_call);
	rail_source_remove(&sources[0]);
	rail_source_remove(&sources[0]);
	cr_assert_eq(rail_loop_turn(loop, 0, NULL), 0);
	cr_assert_eq(calls[0], 0);
	cr_assert_eq(calls[1], 1);
	cr_assert_geq(copy, 0);
}

Test(base_loop, waits_for_what_it_is_told)
{
	cr_assert_eq(rail_loop_watch(loop, writers[0], EPOLLOUT, count_call, &calls[0], &sources[0],
				     NULL),
		     0);
	cr_assert_eq(rail_source_change(sources[0], 0, NULL), 0);
	cr_assert_eq(rail_loop_turn(loop, 0, NULL), 0);
	cr_assert_eq(calls[0], 0);
	cr_assert_eq(rail_source_change(sources[0], EPOLLOUT, NULL), 0);
	cr_assert_eq(rail_loop_turn(loop, 0, NULL), 0);
	cr_assert_eq(calls[0], 1);
}

Test(base_loop, watching_what_is_no_descriptor_is_an_error)
{
	struct rail_error error = RAIL_ERROR_NONE;

	cr_assert_eq(rail_loop_watch(loop, -1, EPOLLIN, count_call, &calls[0], &sources[0], &error),
		     -EBADF);
	cr_assert_eq(error.errnum, EBADF);
}

static void count_timer(void *context)
{
	calls[index_of(context)]++;
}

static void restart_timer(void *context)
{
	calls[index_of(context)]++;
	rail_timer_start(timers[index_of(context)], 0);
}

static void remove_timers(void *context)
{
	remove_all(context, 0);
}

static void add_timers(void (*callback)(void *context))
{
	for (int i = 0; i < PIPES; i++)
		cr_assert_eq(rail_loop_timer(loop, callback, &calls[i], &timers[i], NULL), 0);
}

Test(base_loop, timers_run_once_when_they_are_due)
{
	int64_t start_ms = rail_monotonic_ms();

	add_timers(count_timer);
	rail_timer_start(timers[0], 20);
	rail_timer_start(timers[1], 0);
	rail_timer_start(timers[1], 60000);
	rail_timer_start(timers[2], 0);
	rail_timer_stop(timers[2]);
	while (calls[0] == 0)
		cr_assert_eq(rail_loop_turn(loop, -1, NULL), 0);
	cr_assert_geq(rail_monotonic_ms() - start_ms, 20);
	cr_assert_eq(rail_loop_turn(loop, 0, NULL), 0);
	cr_assert_eq(calls[0], 1);
	cr_assert_eq(calls[1], 0, "the later start counts");
	cr_assert_eq(calls[2], 0);
}

Test(base_loop, a_timer_that_runs_is_not_put_off_by_ensuring_that_it_does)
{
	add_timers(count_timer);
	rail_timer_ensure(timers[0], 0);
	rail_timer_ensure(timers[0], 60000);
	cr_assert_eq(rail_loop_turn(loop, 0, NULL), 0);
	cr_assert_eq(calls[0], 1);
	/* It has run: the next one counts. */
	rail_timer_ensure(timers[0], 60000);
	rail_timer_ensure(timers[0], 0);
	cr_assert_eq(rail_loop_turn(loop, 0, NULL), 0);
	cr_assert_eq(calls[0], 1);
}

Test(base_loop, a_timer_may_start_itself_again_and_runs_once_a_turn)
{
	add_timers(restart_timer);
	rail_timer_start(timers[0], 0);
	for (int turn = 1; turn <= 5; turn++) {
		cr_assert_eq(rail_loop_turn(loop, -1, NULL), 0);
		cr_assert_eq(calls[0], turn);
	}
}

Test(base_loop, a_timer_may_remove_all_of_them)
{
	add_timers(remove_timers);
	for (int i = 0; i < PIPES; i++)
		rail_timer_start(timers[i], 0);
	cr_assert_eq(rail_loop_turn(loop, -1, NULL), 0);
	cr_assert_eq(calls[0] + calls[1] + calls[2], 1);
	cr_assert_eq(rail_loop_turn(loop, 0, NULL), 0);
	cr_assert_eq(calls[0] + calls[1] + calls[2], 1);
}
