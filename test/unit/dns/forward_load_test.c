#include "test/unit/dns/forward_rig.h"

#include <signal.h>
#include <sys/resource.h>

/* Many queries: what an attacker can predict of them, and the caps. */

TestSuite(dns_forward_load, .init = set_up, .fini = tear_down, .timeout = 60);

enum { SAMPLE = 500 };

static void answer_briefly(const struct received *received)
{
	answer(received, 0, 120);
}

static size_t count_distinct(uint16_t (*value)(const struct received *), size_t *ret_most)
{
	static size_t seen[65536];
	size_t distinct = 0;

	memset(seen, 0, sizeof(seen));
	*ret_most = 0;
	for (size_t i = 0; i < rig.received_count; i++) {
		size_t times = ++seen[value(&rig.received[i])];

		distinct += times == 1 ? 1 : 0;
		if (times > *ret_most)
			*ret_most = times;
	}
	return distinct;
}

static uint16_t id_of(const struct received *received)
{
	return received->id;
}

static uint16_t port_of(const struct received *received)
{
	return received->port;
}

/* 500 draws of 65,536 have 2 repetitions on average, of the kernel's 28,232 ports 4. */
Test(dns_forward_load, ids_and_ports_of_queries_differ)
{
	size_t most;

	rig.react = answer_briefly;
	for (uint32_t i = 0; i < SAMPLE; i++) {
		send_query(i);
		run_until_called(i + 1, 1000);
	}
	cr_assert_eq(rig.received_count, SAMPLE);
	cr_assert_geq(count_distinct(id_of, &most), SAMPLE - 25);
	cr_assert_geq(count_distinct(port_of, &most), SAMPLE - 50);
	/* Each bit of an ID is set in half of them: 250, give or take 9 deviations of 11. */
	for (unsigned bit = 0; bit < 16; bit++) {
		size_t set = 0;

		for (size_t i = 0; i < SAMPLE; i++)
			set += ((unsigned)rig.received[i].id >> bit) & 1U;
		cr_assert(set > 150 && set < 350, "bit %u: %zu of %d", bit, set, SAMPLE);
	}
}

Test(dns_forward_load, a_repetition_over_tcp_has_an_id_of_its_own)
{
	size_t same = 0;

	for (uint32_t i = 0; i < 20; i++) {
		send_query(i);
		run_until_received(2 * i + 1, 1000);
		answer(&rig.received[2 * i], FLAG_TC, 100);
		run_until_received(2 * i + 2, 1000);
		answer(&rig.received[2 * i + 1], 0, 100);
		run_until_called(i + 1, 1000);
		same += rig.received[2 * i].id == rig.received[2 * i + 1].id ? 1 : 0;
	}
	cr_assert_leq(same, 2);
}

Test(dns_forward_load, many_at_once_share_ports_in_small_groups)
{
	enum { COUNT = 1024 };
	size_t most;

	for (uint32_t i = 0; i < COUNT; i++)
		send_query(i);
	run_until_received(COUNT, 3000);
	cr_assert_geq(count_distinct(port_of, &most), 16);
	cr_assert_leq(most, 64);
	/* Whoever sees one port does not know the next. */
	for (size_t i = 1; i < COUNT; i++)
		cr_assert_neq(rig.received[i].port, rig.received[i - 1].port);
	for (size_t i = 0; i < COUNT; i++)
		answer(&rig.received[i], 0, 100);
	run_until_called(COUNT, 3000);
	for (uint32_t i = 0; i < COUNT; i++)
		expect_answer(i, 0, 100);
	cr_assert_eq(rig.watched_count, 0);
}

Test(dns_forward_load, a_port_does_not_live_on_under_load)
{
	enum { COUNT = 4000 };
	uint32_t sent = 0;
	size_t most;

	/* Two dozen are always on their way, so that few channels are ever idle. */
	for (; sent < 24; sent++)
		send_query(sent);
	for (size_t next = 0; next < COUNT; next++) {
		while (rig.received_count <= next)
			step(100);
		if (sent < COUNT)
			send_query(sent++);
		answer(&rig.received[next], 0, 100);
	}
	run_until_called(COUNT, 2000);
	(void)count_distinct(port_of, &most);
	/* Twice, for the kernel may draw a port twice. */
	cr_assert_leq(most, 2 * 64, "%zu queries of one port", most);
}

Test(dns_forward_load, has_a_cap_and_frees_what_is_on_its_way)
{
	for (uint32_t i = 0; i < RAIL_FORWARD_PENDING_MAXIMUM; i++)
		send_query(i);
	cr_assert_eq(rail_forwarder_pending(rig.forwarder), RAIL_FORWARD_PENDING_MAXIMUM);
	cr_assert_eq(send_to(5000, &rig.servers[0].endpoint, 1, true), -EAGAIN);
	cr_assert_leq(rig.watched_count, 32);
	/* One answer makes room for one query. */
	run_until_received(RAIL_FORWARD_PENDING_MAXIMUM, 1000);
	answer(&rig.received[0], 0, 100);
	run_until_called(1, 1000);
	send_query(5000);
	cr_assert_eq(send_to(5001, &rig.servers[0].endpoint, 1, true), -EAGAIN);

	rail_forwarder_free(rig.forwarder);
	rig.forwarder = NULL;
	cr_assert_eq(rig.called, 1);
	cr_assert_eq(rig.watched_count, 0);
}

Test(dns_forward_load, frees_what_is_on_its_way_over_tcp)
{
	for (uint32_t i = 0; i < 100; i++)
		send_query(i);
	run_until_received(100, 1000);
	for (size_t i = 0; i < 100; i++)
		answer(&rig.received[i], FLAG_TC, 100);
	run_until_received(200, 1000);
	rail_forwarder_free(rig.forwarder);
	rig.forwarder = NULL;
	cr_assert_eq(rig.called, 0);
	cr_assert_eq(rig.watched_count, 0);
}

/* Its environment is known by that query only, which the one that is sent takes the set from. */
Test(dns_forward_load, a_set_may_go_that_c_ares_still_has_the_senders_query_in)
{
	enum { EVIL = 1, SETS = 64 };
	int64_t start = clock_ms();
	struct rail_endpoint upstreams[] = {rig.servers[0].endpoint, rig.servers[1].endpoint};

	cr_assert_eq(send_for(EVIL, 0, upstreams, 1, true), 0);
	run_for((int)(start + RAIL_FORWARD_DEADLINE_MS - 700 - clock_ms()));
	answer(&rig.received[0], FLAG_TC, 100);
	run_until_called(1, 2000);
	for (uint32_t i = 1; i <= SETS; i++) {
		upstreams[1].port = (uint16_t)(10000 + i);
		cr_assert_eq(send_for(i < SETS ? EVIL + i : EVIL, i, upstreams, 2, true), 0);
	}
	cr_assert_eq(rail_forwarder_pending(rig.forwarder), SETS);
}

/* The most that one environment can keep: every query of it is answered truncated, late, and then
 * not at all, which puts the end off by the time that is tried over TCP. */
Test(dns_forward_load, what_c_ares_still_has_counts_for_its_environment)
{
	enum { HALF = RAIL_FORWARD_PENDING_MAXIMUM / 2, EVIL = 1, OTHER = 2 };
	const struct rail_endpoint *upstream = &rig.servers[0].endpoint;
	uint32_t number = 0;
	int64_t start = clock_ms();

	while (send_for(EVIL, number, upstream, 1, true) == 0)
		number++;
	cr_assert_eq(number, HALF);
	run_until_received(HALF, 2000);
	/* Late, and before c-ares gives up the first of them. */
	run_for((int)(start + RAIL_FORWARD_DEADLINE_MS - 700 - clock_ms()));
	for (size_t i = 0; i < HALF; i++)
		answer(&rig.received[i], FLAG_TC, 100);
	run_until_called(HALF, 2000);
	/* Nobody waits any more, and yet: */
	while (number < RAIL_FORWARD_PENDING_MAXIMUM &&
	       send_for(EVIL, number, upstream, 1, true) == 0)
		number++;
	cr_assert_leq(number, HALF + HALF / 2);
	cr_assert_eq(send_for(OTHER, number, &rig.servers[1].endpoint, 1, true), 0);
	cr_assert_geq(rail_forwarder_room(rig.forwarder), HALF / 4);
}

/* The first server, and one that differs: a set for each number, wanted by an asker of its own. */
static int send_to_set(uint32_t number)
{
	struct rail_endpoint upstreams[] = {rig.servers[0].endpoint, rig.servers[1].endpoint};

	upstreams[1].port = (uint16_t)(10000 + number);
	return send_for(number, number, upstreams, 2, true);
}

Test(dns_forward_load, a_set_that_is_idle_makes_way)
{
	rig.react = answer_briefly;
	for (uint32_t i = 0; i < 200; i++) {
		cr_assert_eq(send_to_set(i), 0);
		run_until_called(i + 1, 1000);
		expect_answer(i, 0, 120);
	}
	cr_assert_eq(rig.watched_count, 0);
}

Test(dns_forward_load, a_set_that_is_busy_stays)
{
	for (uint32_t i = 0; i < 64; i++)
		cr_assert_eq(send_to_set(i), 0);
	cr_assert_eq(send_to_set(64), -EAGAIN);
	cr_assert_eq(send_to(100, &rig.servers[0].endpoint, 1, true), -EAGAIN);
	/* One that is known already is not new. */
	cr_assert_eq(send_to_set(63), 0);
	run_until_received(65, 1000);
	answer(&rig.received[3], 0, 100);
	run_until_called(1, 1000);
	cr_assert_eq(send_to_set(64), 0);
	cr_assert_eq(send_to_set(65), -EAGAIN);
	/* And everything else goes on. */
	run_until_received(66, 1000);
	for (size_t i = 0; i < 66; i++)
		if (i != 3)
			answer(&rig.received[i], 0, 100);
	run_until_called(66, 1000);
	cr_assert_eq(rail_forwarder_pending(rig.forwarder), 0);
}

static unsigned crowds;

static void send_to_other_sets(void *context, int outcome, const uint8_t *message, size_t size)
{
	(void)message;
	(void)size;
	*(int *)context = outcome;
	crowds++;
	for (uint32_t i = 1; i <= 64; i++)
		cr_assert_eq(send_to_set(i), 0);
}

/* It is given up while c-ares still waits for TCP, and its caller drives its set away. */
Test(dns_forward_load, a_set_may_go_while_its_last_caller_is_called)
{
	uint8_t bytes[QUERY_SIZE];
	int64_t start = clock_ms();
	int outcome = 1;

	make_query(bytes, 0, true);
	cr_assert_eq(rail_forwarder_send(rig.forwarder, &rig.servers[0].endpoint, 1, &nobody, bytes,
					 sizeof(bytes), send_to_other_sets, &outcome),
		     0);
	run_until_received(1, 500);
	run_for(400);
	answer(&rig.received[0], FLAG_TC, 100);
	run_until_received(2, 500);
	cr_assert_geq(rig.received[1].connection, 0);
	while (crowds == 0 && clock_ms() < start + 6000)
		step(100);
	cr_assert_leq(clock_ms() - start, RAIL_FORWARD_DEADLINE_MS + 150);
	cr_assert_eq(outcome, 0);
	run_until_received(2 + 64, 1000);
	cr_assert_eq(crowds, 1);
	cr_assert_eq(rail_forwarder_pending(rig.forwarder), 64);
}

/* 64 sets with 20 queries each would want 512 channels in turn. */
Test(dns_forward_load, many_sets_share_the_channels)
{
	uint32_t sent = 0;

	rig.react = answer_briefly;
	for (uint32_t i = 0; i < 64 * 20; i++)
		if (send_to_set(i % 64) == 0)
			sent++;
	cr_assert_leq(rig.watched_count, 512);
	cr_assert_geq(sent, 1000);
	run_until_called(sent, 3000);
}

/* Eight upstreams that do not answer, by many names. */
static void send_to_eight(uint64_t asker, uint32_t number, size_t set)
{
	struct rail_endpoint upstreams[RAIL_UPSTREAM_MAXIMUM];

	for (size_t i = 0; i < RAIL_UPSTREAM_MAXIMUM; i++)
		upstreams[i] = rig.servers[0].endpoint;
	upstreams[RAIL_UPSTREAM_MAXIMUM - 1].port = (uint16_t)(10000 + set);
	cr_assert_eq(send_for(asker, number, upstreams, RAIL_UPSTREAM_MAXIMUM, true), 0);
}

static void allow_many_sockets(void)
{
	const struct rlimit limit = {.rlim_cur = 4096, .rlim_max = 4096};

	cr_assert_eq(setrlimit(RLIMIT_NOFILE, &limit), 0);
}

/* Channels that have asked all of eight silent upstreams would have 2,048 sockets. */
Test(dns_forward_load, has_a_cap_of_sockets)
{
	size_t most = 0;

	allow_many_sockets();
	for (uint32_t i = 0; i < 256; i++)
		send_to_eight(i % 64, i, i % 64);
	while (rig.called < 256) {
		step(100);
		most = rig.watched_count > most ? rig.watched_count : most;
	}
	/* Each of 64 leaves as many as it has itself. */
	cr_assert_leq(most, RAIL_FORWARD_SOCKET_MAXIMUM);
	cr_assert_geq(most, RAIL_FORWARD_SOCKET_MAXIMUM - 64);
	/* Callers do not wait for the last repetition. */
	for (int i = 0; i < 100 && rig.watched_count != 0; i++)
		step(10);
	cr_assert_eq(rig.watched_count, 0);
}

/* One that asks as many upstreams as it may, none of which answers, takes none from another. */
Test(dns_forward_load, one_asker_cannot_take_all_sets_channels_and_sockets)
{
	const struct rail_endpoint *good = &rig.servers[1].endpoint;
	uint32_t sets = 0;
	uint32_t number = 0;
	int64_t end = clock_ms() + 3000;

	allow_many_sockets();
	for (; sets < 64; sets++) {
		struct rail_endpoint silent = rig.servers[0].endpoint;

		silent.port = (uint16_t)(10000 + sets);
		if (send_for(1, number++, &silent, 1, true) < 0)
			break;
	}
	cr_assert_eq(sets, 32);
	run_for(100);

	rig.react = NULL;
	for (uint32_t round = 0; round < 20; round++)
		for (uint32_t i = 0; i < 16; i++)
			send_to_eight(2, number++, i);
	while (clock_ms() < end)
		step(50);

	/* The other one still is answered over UDP, and over TCP where that is needed. */
	size_t before = rig.received_count;

	cr_assert_eq(send_for(3, number, good, 1, true), 0);
	for (int i = 0; i < 100 && rig.received_count == before; i++)
		step(10);
	while (before < rig.received_count && rig.received[before].server != &rig.servers[1])
		before++;
	cr_assert_lt(before, rig.received_count, "the query did not go out");
	answer(&rig.received[before], 0, 100);
	for (int i = 0; i < 100 && rig.outcomes[number].calls == 0; i++)
		step(10);
	expect_answer(number, 0, 100);
}

/* How many messages wait at the only socket that is watched; takes them. */
static size_t take_queued(void)
{
	int fd = rig.watched[0].fd;
	size_t count = 0;
	uint8_t byte;

	while (recv(fd, &byte, 1, MSG_DONTWAIT) >= 0)
		count++;
	return count;
}

/* A channel takes the 9th query of those that eight have one of already. */
Test(dns_forward_load, what_an_upstream_sends_is_looked_at_for_the_pod_that_waits_for_it)
{
	const struct rail_endpoint *upstream = &rig.servers[0].endpoint;
	size_t for_one = 0;
	size_t for_several = 0;

	for (uint32_t i = 0; i < 12; i++)
		cr_assert_eq(send_for(i < 8 ? 1 : 2, i, upstream, 1, true), 0);
	run_until_received(12, 1000);
	for (size_t i = 0; i < 12; i++)
		answer_briefly(&rig.received[i]);
	run_until_called(12, 1000);
	/* Each with its end. */
	cr_assert_eq(rig.pod_count % 2, 0);
	for (size_t i = 0; i < rig.pod_count; i += 2) {
		cr_assert(rig.pods[i] == 2 || rig.pods[i] == 0, "pod %d", (int)rig.pods[i]);
		cr_assert_eq(rig.pods[i + 1], 0);
		for_one += rig.pods[i] == 2 ? 1 : 0;
		for_several += rig.pods[i] == 0 ? 1 : 0;
	}
	cr_assert_eq(for_one, 4);
	cr_assert_geq(for_several, 4);
	/* What is idle has forgotten them. */
	rig.pod_count = 0;
	cr_assert_eq(send_for(6, 12, upstream, 1, true), 0);
	run_until_received(13, 1000);
	answer_briefly(&rig.received[12]);
	run_until_called(13, 1000);
	cr_assert_eq(rig.pod_count, 2);
	cr_assert_eq(rig.pods[0], 7);
}

Test(dns_forward_load, a_flood_is_read_in_portions)
{
	enum { PORTION = 64, COUNT = 150 };
	uint8_t bytes[100];

	send_query(1);
	run_until_received(1, 1000);
	make_answer(bytes, sizeof(bytes), &rig.received[0], 0, false);
	bytes[0] ^= 0xff; /* another ID: it answers nothing */
	for (int i = 0; i < COUNT; i++)
		cr_assert_eq(sendto(rig.servers[0].udp, bytes, sizeof(bytes), 0,
				    (const struct sockaddr *)&rig.received[0].from,
				    sizeof(rig.received[0].from)),
			     (ssize_t)sizeof(bytes));
	cr_assert_eq(rig.watched_count, 1);
	rail_forwarder_ready(rig.forwarder, rig.watched[0].fd, true, false);
	cr_assert_eq(take_queued(), COUNT - PORTION);
	answer(&rig.received[0], 0, 100);
	run_until_called(1, 1000);
	expect_answer(1, 0, 100);
}

/* What is empty is no answer, and says nothing of the upstream either. */
Test(dns_forward_load, empty_datagrams_are_passed_over)
{
	send_query(1);
	run_until_received(1, 1000);
	for (int i = 0; i < 150; i++)
		cr_assert_eq(sendto(rig.servers[0].udp, "", 0, 0,
				    (const struct sockaddr *)&rig.received[0].from,
				    sizeof(rig.received[0].from)),
			     0);
	run_for(100);
	cr_assert_eq(rig.called, 0);
	cr_assert_eq(rig.received_count, 1, "it was not asked again");
	answer(&rig.received[0], 0, 100);
	run_until_called(1, 1000);
	expect_answer(1, 0, 100);
}

/* The end of what it sends and then a reset: writing to that connection is EPIPE, and SIGPIPE. */
Test(dns_forward_load, a_connection_that_is_reset_at_once_raises_no_signal)
{
	const struct linger now = {.l_onoff = 1};
	struct server *server = &rig.servers[0];
	int fd;

	cr_assert_neq(signal(SIGPIPE, SIG_DFL), SIG_ERR);
	send_query(1);
	run_until_received(1, 1000);
	answer(&rig.received[0], FLAG_TC, 100);
	/* Not by step, which would let the connection be written to before it is reset. */
	rail_forwarder_ready(rig.forwarder, rig.watched[0].fd, true, false);
	cr_assert_eq(rig.watched_count, 1);
	fd = accept4(server->listener, NULL, NULL, SOCK_CLOEXEC);
	cr_assert_geq(fd, 0);
	cr_assert_eq(shutdown(fd, SHUT_WR), 0);
	cr_assert_eq(setsockopt(fd, SOL_SOCKET, SO_LINGER, &now, sizeof(now)), 0);
	cr_assert_eq(close(fd), 0);
	rail_forwarder_ready(rig.forwarder, rig.watched[0].fd, true, true);
	run_until_called(1, 5000);
	expect_answer(1, FLAG_TC, 100);
}
