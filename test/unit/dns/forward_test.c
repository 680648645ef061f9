#include "test/unit/dns/forward_rig.h"

#include <seccomp.h>

#include "test/unit/children.h"

TestSuite(dns_forward, .init = set_up, .fini = tear_down, .timeout = 60);

static void answer_briefly(const struct received *received)
{
	answer(received, 0, 120);
}

Test(dns_forward, passes_an_answer_on)
{
	rig.react = answer_briefly;
	send_query(1);
	cr_assert_eq(rail_forwarder_pending(rig.forwarder), 1);
	run_until_called(1, 1000);
	expect_answer(1, 0, 120);
	cr_assert_eq(rig.received_count, 1);
	cr_assert_eq(rig.received[0].size, QUERY_SIZE);
	cr_assert_eq(rail_forwarder_pending(rig.forwarder), 0);
	cr_assert_eq(rig.watched_count, 0, "an idle forwarder keeps a socket");
}

Test(dns_forward, changes_nothing_of_a_query_but_its_id)
{
	uint8_t bytes[QUERY_SIZE];

	send_query(7);
	run_until_received(1, 1000);
	make_query(bytes, 7, true);
	cr_assert_arr_eq(rig.received[0].bytes + 2, bytes + 2, QUERY_SIZE - 2);
}

/* c-ares compares questions as text. */
Test(dns_forward, takes_any_bytes_for_a_name)
{
	static const uint8_t label[] = {0x00, '.', '\\', 0xff, ' ', 'A', '@'};
	uint8_t bytes[QUERY_SIZE];

	rig.react = answer_briefly;
	make_query(bytes, 1, true);
	memcpy(bytes + 13, label, sizeof(label));
	cr_assert_eq(rail_forwarder_send(rig.forwarder, &rig.servers[0].endpoint, 1, &nobody, bytes,
					 sizeof(bytes), called, &rig.outcomes[1]),
		     0);
	run_until_called(1, 1000);
	cr_assert_eq(rig.outcomes[1].outcome, 0);
	cr_assert_eq(rig.outcomes[1].size, 120);
}

static uint16_t response_code;

static void answer_with_code(const struct received *received)
{
	answer(received, response_code, 100);
}

Test(dns_forward, passes_every_response_code_on_at_once)
{
	static const uint16_t codes[] = {1, 2, 3, 4, 5}; /* FORMERR, SERVFAIL, NXDOMAIN, ... */
	struct rail_endpoint both[] = {rig.servers[0].endpoint, rig.servers[1].endpoint};

	rig.react = answer_with_code;
	for (uint32_t i = 0; i < sizeof(codes) / sizeof(codes[0]); i++) {
		response_code = codes[i];
		cr_assert_eq(send_to(i, both, 2, true), 0);
		run_until_called(i + 1, 1000);
		expect_answer(i, codes[i], 100);
		cr_assert_eq(rig.received_count, i + 1, "code %u was asked again", codes[i]);
	}
}

static void answer_with_881(const struct received *received)
{
	answer(received, 0, 881);
}

Test(dns_forward, takes_what_edns_allows_over_udp)
{
	rig.react = answer_with_881;
	send_query(1);
	run_until_called(1, 1000);
	expect_answer(1, 0, 881);
	cr_assert_eq(rig.received_count, 1);
	cr_assert_eq(rig.servers[0].connection_count, 0);
}

static void truncate_over_udp(const struct received *received)
{
	if (received->connection < 0)
		answer(received, FLAG_TC, 512);
	else
		answer(received, 0, 40000);
}

Test(dns_forward, repeats_over_tcp_what_was_truncated)
{
	rig.react = truncate_over_udp;
	send_query(1);
	cr_assert_eq(send_to(2, &rig.servers[0].endpoint, 1, false), 0);
	run_until_called(2, 1000);
	expect_answer(1, 0, 40000);
	expect_answer(2, 0, 40000);
	cr_assert_eq(rig.received_count, 4);
	cr_assert_eq(rig.watched_count, 0);
}

static void answer_with_5000(const struct received *received)
{
	answer(received, 0, 5000);
}

Test(dns_forward, repeats_over_tcp_what_is_larger_than_its_buffer)
{
	rig.react = answer_with_5000;
	send_query(1);
	run_until_called(1, 1000);
	expect_answer(1, 0, 5000);
	cr_assert_eq(rig.servers[0].connection_count, 1);
}

static void answer_plainly_with_600(const struct received *received)
{
	answer(received, 0, 600);
}

Test(dns_forward, never_gives_a_part_of_an_answer_to_a_query_without_edns)
{
	rig.react = answer_plainly_with_600;
	cr_assert_eq(send_to(1, &rig.servers[0].endpoint, 1, false), 0);
	run_until_called(1, 1000);
	expect_answer(1, 0, 600);
	cr_assert_eq(rig.servers[0].connection_count, 1);
}

Test(dns_forward, gives_the_truncated_answer_where_there_is_no_tcp)
{
	(void)close(rig.servers[0].listener);
	rig.servers[0].listener = -1;
	rig.react = truncate_over_udp;
	send_query(1);
	run_until_called(1, 1000);
	expect_answer(1, FLAG_TC, 512);
}

/* Cuts a message over TCP at a different byte each time. */
static void break_off_over_tcp(const struct received *received)
{
	static const uint8_t start[] = {0x00, 0x64, 0x12, 0x34};
	static size_t size;

	if (received->connection < 0) {
		answer(received, FLAG_TC, 100);
		return;
	}
	cr_assert_eq(send(received->connection, start, size, MSG_NOSIGNAL), (ssize_t)size);
	size = (size + 1) % (sizeof(start) + 1);
	close_connection(received->server, received->connection);
}

Test(dns_forward, survives_tcp_that_breaks_off)
{
	rig.react = break_off_over_tcp;
	for (uint32_t i = 0; i < 5; i++) {
		send_query(i);
		run_until_called(i + 1, 5000);
		expect_answer(i, FLAG_TC, 100);
	}
}

/* So many that each channel has several; every third is special, so that a channel has both. */
enum {
	SHARED = 39,
	THIRD = SHARED / 3,
};

static void answer_over_tcp_and_close(const struct received *received)
{
	if (received->connection >= 0) {
		answer(received, 0, 700);
		close_connection(received->server, received->connection);
	}
}

Test(dns_forward, tcp_of_one_query_leaves_the_others_alone)
{
	rig.react = answer_over_tcp_and_close;
	for (uint32_t i = 0; i < SHARED; i++)
		send_query(i);
	run_until_received(SHARED, 1000);
	for (size_t i = 0; i < SHARED; i += 3)
		answer(&rig.received[i], FLAG_TC, 100);
	run_until_called(THIRD, 4000);
	for (size_t i = 0; i < SHARED; i++)
		if (i % 3 != 0)
			answer(&rig.received[i], 0, 130);
	run_until_called(SHARED, 1000);
	for (size_t i = 0; i < SHARED; i++)
		expect_answer(rig.received[i].number, 0, i % 3 == 0 ? 700 : 130);
	for (size_t i = SHARED; i < rig.received_count; i++)
		cr_assert_geq(rig.received[i].connection, 0, "a query was repeated over UDP");
}

static void truncate_and_close_after_each(const struct received *received)
{
	if (received->connection < 0)
		answer(received, FLAG_TC, 100);
	else
		answer_over_tcp_and_close(received);
}

Test(dns_forward, goes_on_where_tcp_is_closed_after_each_answer)
{
	rig.react = truncate_and_close_after_each;
	for (uint32_t i = 0; i < SHARED; i++)
		send_query(i);
	run_until_called(SHARED, 4000);
	for (uint32_t i = 0; i < SHARED; i++)
		expect_answer(i, 0, 700);
}

/* A server from before EDNS: FORMERR, and no OPT in it. */
static void know_no_edns(const struct received *received)
{
	struct received plain = *received;

	plain.bytes[11] = 0;
	answer(&plain, has_opt(received) ? 1 : 0, 100);
}

static void know_no_edns_but_as_notimp(const struct received *received)
{
	struct received plain = *received;

	plain.bytes[11] = 0;
	answer(&plain, has_opt(received) ? 4 : 0, 100);
}

static void answer_with_notimp(const struct received *received)
{
	answer(received, 4, 100);
}

Test(dns_forward, asks_servers_that_know_no_edns_without_it)
{
	rig.react = know_no_edns;
	for (uint32_t i = 0; i < 3; i++) {
		send_query(i);
		run_until_called(i + 1, 1000);
		expect_answer(i, 0, 100);
		cr_assert_eq(rig.received_count, 2 * (i + 1));
		cr_assert_eq(rig.received[2 * i + 1].size, PLAIN_QUERY_SIZE);
	}
	for (uint32_t i = 3; i < 3 + SHARED; i++)
		send_query(i);
	run_until_called(3 + SHARED, 3000);
	for (uint32_t i = 3; i < 3 + SHARED; i++)
		expect_answer(i, 0, 100);
}

static uint16_t refusal;

/* Such as cannot read the question, either: a header alone. */
static void refuse_edns_with_a_header(const struct received *received)
{
	struct received plain = *received;

	plain.bytes[11] = 0;
	if (has_opt(received)) {
		memset(plain.bytes + 4, 0, 8);
		answer_from(received->server->udp, &plain, FLAG_QR | refusal, 12);
	} else {
		answer(&plain, 0, 100);
	}
}

Test(dns_forward, a_header_alone_and_notimp_say_that_edns_is_not_known)
{
	static const uint16_t refusals[] = {1, 4};

	for (uint32_t i = 0; i < 2; i++) {
		refusal = refusals[i];
		rig.react = refuse_edns_with_a_header;
		send_query(i);
		/* Before it is given up as silent, after 3.8 s. */
		run_until_called(i + 1, 2000);
		expect_answer(i, 0, 100);
	}
	rig.react = know_no_edns_but_as_notimp;
	send_query(2);
	run_until_called(3, 1000);
	expect_answer(2, 0, 100);
}

/* To a query without EDNS both are answers. */
Test(dns_forward, a_refusal_of_a_plain_query_is_passed_on)
{
	rig.react = answer_with_notimp;
	cr_assert_eq(send_to(1, &rig.servers[0].endpoint, 1, false), 0);
	run_until_called(1, 1000);
	expect_answer(1, 4, 100);
	cr_assert_eq(rig.received_count, 1);
}

Test(dns_forward, one_formerr_spoils_no_other_answer)
{
	for (uint32_t i = 0; i < SHARED; i++)
		send_query(i);
	run_until_received(SHARED, 1000);
	for (size_t i = 0; i < SHARED; i += 3)
		know_no_edns(&rig.received[i]);
	run_until_received(SHARED + THIRD, 1000);
	/* Some of these come to channels that now take 512 bytes only. */
	rig.react = answer_with_881;
	for (size_t i = 0; i < SHARED; i++)
		if (i % 3 != 0)
			answer(&rig.received[i], 0, 881);
	for (size_t i = SHARED; i < SHARED + THIRD; i++)
		answer(&rig.received[i], 0, 100);
	run_until_called(SHARED, 3000);
	for (size_t i = 0; i < SHARED; i++)
		expect_answer(rig.received[i].number, 0, i % 3 == 0 ? 100 : 881);
	cr_assert_gt(rig.servers[0].connection_count, 0);
	/* And none of them is used again. */
	for (uint32_t i = SHARED; i < 2 * SHARED; i++) {
		size_t connections = rig.servers[0].connection_count;

		send_query(i);
		run_until_called(i + 1, 1000);
		expect_answer(i, 0, 881);
		cr_assert_eq(rig.servers[0].connection_count, connections);
	}
}

Test(dns_forward, ignores_a_wrong_id)
{
	struct received wrong;

	send_query(1);
	run_until_received(1, 1000);
	wrong = rig.received[0];
	put_u16(wrong.bytes, wrong.id ^ 1U);
	answer(&wrong, 2, 100);
	run_for(100);
	cr_assert_eq(rig.called, 0);
	answer(&rig.received[0], 0, 100);
	run_until_called(1, 1000);
	expect_answer(1, 0, 100);
}

Test(dns_forward, ignores_an_answer_to_another_question)
{
	struct received other;

	send_query(1);
	run_until_received(1, 1000);
	/* Another name, type, class. */
	for (size_t i = 0; i < 3; i++) {
		static const size_t places[] = {14, 12 + NAME_SIZE + 1, 12 + NAME_SIZE + 3};

		other = rig.received[0];
		other.bytes[places[i]] ^= 1;
		answer(&other, 0, 100);
	}
	run_for(100);
	cr_assert_eq(rig.called, 0);
	answer(&rig.received[0], 0, 100);
	run_until_called(1, 1000);
	expect_answer(1, 0, 100);
}

static void add_loopback_address(const struct in6_addr *address)
{
	struct {
		struct in6_addr address;
		uint32_t length;
		int index;
	} request = {.address = *address, .length = 128, .index = (int)if_nametoindex("lo")};
	struct sockaddr_in6 own = {.sin6_family = AF_INET6, .sin6_addr = *address};
	int fd = socket(AF_INET6, SOCK_DGRAM | SOCK_CLOEXEC, 0);

	cr_assert_eq(ioctl(fd, SIOCSIFADDR, &request), 0);
	/* It is tentative for a moment. */
	for (int i = 0; i < 1000 && bind(fd, (struct sockaddr *)&own, sizeof(own)) < 0; i++)
		(void)poll(NULL, 0, 1);
	(void)close(fd);
}

Test(dns_forward, ignores_a_wrong_source)
{
	struct in6_addr other;
	uint16_t port = 0;
	int wrong_port = open_socket(SOCK_DGRAM, &in6addr_loopback, &port);
	int wrong_address;

	cr_assert_eq(inet_pton(AF_INET6, "fd00::1", &other), 1);
	add_loopback_address(&other);
	port = rig.servers[0].endpoint.port;
	wrong_address = open_socket(SOCK_DGRAM, &other, &port);

	send_query(1);
	run_until_received(1, 1000);
	answer_from(wrong_port, &rig.received[0], 2, 100);
	answer_from(wrong_address, &rig.received[0], 2, 100);
	run_for(100);
	cr_assert_eq(rig.called, 0);
	answer(&rig.received[0], 0, 100);
	run_until_called(1, 1000);
	expect_answer(1, 0, 100);
	(void)close(wrong_port);
	(void)close(wrong_address);
}

Test(dns_forward, survives_nonsense_from_an_upstream)
{
	uint8_t bytes[600] = {0};

	send_query(1);
	run_until_received(1, 1000);
	for (size_t size = 0; size < sizeof(bytes); size += size < 60 ? 1 : 27) {
		make_answer(bytes, sizeof(bytes), &rig.received[0], 1, true);
		/* The counts promise more than there is. */
		memset(bytes + 6, 0xff, 6);
		if (size >= 12)
			put_u16(bytes + 4, 0x00ff);
		cr_assert_eq(sendto(rig.servers[0].udp, bytes, size, 0,
				    (struct sockaddr *)&rig.received[0].from,
				    sizeof(rig.received[0].from)),
			     (ssize_t)size);
		step(10);
	}
	cr_assert_eq(rig.called, 0);
	answer(&rig.received[0], 0, 100);
	run_until_called(1, 1000);
	expect_answer(1, 0, 100);
}

static void second_answers(const struct received *received)
{
	if (received->server == &rig.servers[1])
		answer(received, 0, 100);
}

static void third_answers(const struct received *received)
{
	if (received->server == &rig.servers[2])
		answer(received, 0, 100);
}

static void first_answers(const struct received *received)
{
	if (received->server == &rig.servers[0])
		answer(received, 0, 100);
}

Test(dns_forward, asks_the_second_where_the_first_is_silent)
{
	struct rail_endpoint both[] = {rig.servers[0].endpoint, rig.servers[1].endpoint};
	int64_t start = clock_ms();

	rig.react = second_answers;
	cr_assert_eq(send_to(1, both, 2, true), 0);
	run_until_called(1, 3000);
	expect_answer(1, 0, 100);
	cr_assert_lt(rig.outcomes[1].at_ms - start, 1500);
	cr_assert_eq(rig.received[0].server, &rig.servers[0]);
}

/* Sends one query after the other until one is answered by the upstream that was asked first. */
static void send_until_one_is_enough(const struct rail_endpoint *upstreams, size_t count,
				     uint32_t *number)
{
	size_t received;

	do {
		received = rig.received_count;
		cr_assert_lt(++*number, 20, "the silent one is asked first for ever");
		cr_assert_eq(send_to(*number, upstreams, count, true), 0);
		run_until_called(rig.called + 1, 5000);
		cr_assert_eq(rig.outcomes[*number].outcome, 0);
	} while (rig.received_count != received + 1);
}

Test(dns_forward, asks_last_for_a_while_who_is_silent)
{
	const struct rail_endpoint both[] = {rig.servers[0].endpoint, rig.servers[1].endpoint};
	uint32_t number = 0;

	rig.react = second_answers;
	send_until_one_is_enough(both, 2, &number);
	/* One query that was lost is no reason. */
	cr_assert_geq(number, 3);
	for (size_t i = 0; i < 3; i++) {
		size_t received = rig.received_count;

		cr_assert_eq(send_to(++number, both, 2, true), 0);
		run_until_called(rig.called + 1, 2000);
		cr_assert_eq(rig.received_count, received + 1);
		cr_assert_eq(rig.received[received].server, &rig.servers[1]);
	}
	/* Where the other one does not answer it is asked, and is the first again when it has. */
	rig.react = first_answers;
	cr_assert_eq(send_to(++number, both, 2, true), 0);
	run_until_called(rig.called + 1, 3000);
	cr_assert_eq(rig.outcomes[number].outcome, 0);
	cr_assert_eq(send_to(++number, both, 2, true), 0);
	run_until_called(rig.called + 1, 2000);
	cr_assert_eq(rig.received[rig.received_count - 1].server, &rig.servers[0]);
}

/* A recursive one that has to look for a name is not silent where others hear from it. */
Test(dns_forward, asks_first_who_is_slow_for_some_names)
{
	const struct rail_endpoint both[] = {rig.servers[0].endpoint, rig.servers[1].endpoint};
	int64_t start = clock_ms();

	for (uint32_t number = 0; clock_ms() - start < 4000; number += 2) {
		size_t received = rig.received_count;

		/* The one of which it is silent, and one that it answers meanwhile. */
		rig.react = NULL;
		cr_assert_eq(send_to(number, both, 2, true), 0);
		run_until_received(received + 1, 1000);
		cr_assert_eq(rig.received[received].server, &rig.servers[0]);
		rig.react = first_answers;
		cr_assert_eq(send_to(number + 1, both, 2, true), 0);
		run_until_called(rig.called + 1, 1000);
		rig.react = second_answers;
		run_until_called(rig.called + 1, 2000);
	}
}

/* The answer of the first that comes when the second, which is dead, has been asked is the first's.
 */
Test(dns_forward, asks_first_who_answers_late_where_the_second_is_dead)
{
	const struct rail_endpoint both[] = {rig.servers[0].endpoint, rig.servers[1].endpoint};
	int64_t start = clock_ms();

	for (uint32_t number = 0; clock_ms() - start < 4000; number++) {
		size_t received = rig.received_count;

		cr_assert_eq(send_to(number, both, 2, true), 0);
		run_until_received(received + 2, 2000);
		cr_assert_eq(rig.received[received].server, &rig.servers[0]);
		cr_assert_eq(rig.received[received + 1].server, &rig.servers[1]);
		answer(&rig.received[received], 0, 100);
		run_until_called(rig.called + 1, 1000);
	}
}

Test(dns_forward, finds_the_one_that_answers_behind_one_that_refuses_and_one_that_is_dead)
{
	const struct rail_endpoint three[] = {rig.servers[0].endpoint, rig.servers[1].endpoint,
					      rig.servers[2].endpoint};
	uint32_t number = 0;

	(void)close(rig.servers[0].udp);
	rig.servers[0].udp = -1;
	rig.react = third_answers;
	send_until_one_is_enough(three, 3, &number);
	cr_assert_eq(rig.received[rig.received_count - 1].server, &rig.servers[2]);
}

Test(dns_forward, asks_the_second_at_once_where_the_first_refuses)
{
	struct rail_endpoint both[] = {rig.servers[0].endpoint, rig.servers[1].endpoint};
	int64_t start = clock_ms();

	(void)close(rig.servers[0].udp);
	rig.servers[0].udp = -1;
	rig.react = second_answers;
	cr_assert_eq(send_to(1, both, 2, true), 0);
	run_until_called(1, 1000);
	expect_answer(1, 0, 100);
	cr_assert_lt(rig.outcomes[1].at_ms - start, 300);
}

static void truncate_and_keep_tcp_open(const struct received *received)
{
	if (received->connection < 0)
		answer(received, FLAG_TC, 100);
}

Test(dns_forward, gives_up_within_the_deadline)
{
	static const size_t counts[] = {1, 2, 3, 8};
	struct rail_endpoint upstreams[RAIL_UPSTREAM_MAXIMUM];
	int64_t start = clock_ms();
	size_t received;

	for (size_t i = 0; i < RAIL_UPSTREAM_MAXIMUM; i++)
		upstreams[i] = rig.servers[0].endpoint;
	for (uint32_t i = 0; i < 4; i++)
		cr_assert_eq(send_to(i, upstreams, counts[i], true), 0);
	/* One whose TCP is accepted and never served. */
	run_until_received(4, 500);
	rig.react = truncate_and_keep_tcp_open;
	cr_assert_eq(send_to(4, &rig.servers[1].endpoint, 1, true), 0);
	run_until_received(6, 500);
	rig.react = NULL;
	run_until_called(5, 6000);
	for (uint32_t i = 0; i < 5; i++) {
		if (i < 4)
			expect_failure(i, -ETIMEDOUT);
		else
			expect_answer(i, FLAG_TC, 100);
		cr_assert_leq(rig.outcomes[i].at_ms - start, RAIL_FORWARD_DEADLINE_MS + 150);
		/* The truncated one comes earlier: a client is waiting for it. */
		cr_assert(i == 4 ||
			  rig.outcomes[i].at_ms - start >= RAIL_FORWARD_DEADLINE_MS - 500);
	}
	cr_assert_lt(rig.outcomes[4].at_ms, rig.outcomes[0].at_ms - 1000);
	/* Every one was asked: once of three and more, twice of fewer. */
	received = rig.received_count;
	cr_assert_geq(received, 2 + 4 + 3 + 8 + 2);
	/* An answer after that is nobody's. */
	for (size_t i = 0; i < received; i++)
		if (rig.received[i].connection < 0)
			answer(&rig.received[i], 0, 100);
	run_for(100);
	cr_assert_eq(rig.called, 5);
	cr_assert_eq(rail_forwarder_pending(rig.forwarder), 0);
}

static void make_unreachable(struct rail_endpoint *endpoint)
{
	*endpoint = (struct rail_endpoint){.family = AF_INET, .port = 53};
	cr_assert_eq(inet_pton(AF_INET, "192.0.2.1", &endpoint->address.v4), 1);
}

/* c-ares calls back from within ares_send then. */
Test(dns_forward, what_fails_at_once_is_told_later)
{
	struct rail_endpoint unreachable;

	make_unreachable(&unreachable);
	cr_assert_eq(send_to(1, &unreachable, 1, true), 0);
	cr_assert_eq(rig.called, 0);
	cr_assert_eq(rail_forwarder_pending(rig.forwarder), 1);
	cr_assert_eq(rail_forwarder_timeout_ms(rig.forwarder), 0);
	rail_forwarder_expire(rig.forwarder);
	expect_failure(1, -ECONNREFUSED);
	cr_assert_neq(rail_forwarder_timeout_ms(rig.forwarder), 0);
}

Test(dns_forward, says_so_where_every_upstream_refuses)
{
	struct rail_endpoint both[] = {rig.servers[0].endpoint, rig.servers[1].endpoint};

	for (size_t i = 0; i < 2; i++) {
		(void)close(rig.servers[i].udp);
		rig.servers[i].udp = -1;
	}
	cr_assert_eq(send_to(1, both, 2, true), 0);
	run_until_called(1, 1000);
	expect_failure(1, -ECONNREFUSED);
}

static void answer_ipv4(int fd)
{
	struct sockaddr_in from;
	socklen_t from_size = sizeof(from);
	uint8_t bytes[QUERY_SIZE];

	if (recvfrom(fd, bytes, sizeof(bytes), MSG_DONTWAIT, (struct sockaddr *)&from,
		     &from_size) != QUERY_SIZE)
		return;
	bytes[2] = 0x80;
	(void)sendto(fd, bytes, sizeof(bytes), 0, (struct sockaddr *)&from, from_size);
}

Test(dns_forward, speaks_ipv4)
{
	struct sockaddr_in own = {.sin_family = AF_INET};
	struct rail_endpoint endpoint = {.family = AF_INET};
	socklen_t size = sizeof(own);
	int fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);

	own.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
	cr_assert_eq(bind(fd, (struct sockaddr *)&own, size), 0);
	cr_assert_eq(getsockname(fd, (struct sockaddr *)&own, &size), 0);
	endpoint.port = ntohs(own.sin_port);
	endpoint.address.v4 = own.sin_addr;
	cr_assert_eq(send_to(1, &endpoint, 1, true), 0);
	for (int i = 0; i < 50 && rig.called == 0; i++) {
		answer_ipv4(fd);
		step(20);
	}
	expect_answer(1, 0, QUERY_SIZE);
	(void)close(fd);
}

static struct rail_endpoint again_to;
static unsigned rounds;

static void send_again(void *context, int outcome, const uint8_t *message, size_t size)
{
	uint8_t bytes[QUERY_SIZE];

	(void)outcome;
	(void)message;
	(void)size;
	make_query(bytes, 1, true);
	rounds++;
	cr_assert_eq(rail_forwarder_send(rig.forwarder, &again_to, 1, &nobody, bytes, sizeof(bytes),
					 send_again, context),
		     0);
}

Test(dns_forward, callers_may_send_again)
{
	rig.react = answer_briefly;
	again_to = rig.servers[0].endpoint;
	send_again(NULL, 0, NULL, 0);
	for (int i = 0; i < 1000 && rounds < 50; i++)
		step(10);
	cr_assert_eq(rounds, 50);
	/* Also where that fails at once; each time is a turn of its own. */
	make_unreachable(&again_to);
	while (rounds < 52)
		step(10);
	for (unsigned i = 0; i < 10; i++) {
		unsigned before = rounds;

		cr_assert_eq(rail_forwarder_timeout_ms(rig.forwarder), 0);
		rail_forwarder_expire(rig.forwarder);
		cr_assert_eq(rounds, before + 1);
	}
}

Test(dns_forward, refuses_what_it_cannot_send)
{
	struct rail_endpoint many[RAIL_UPSTREAM_MAXIMUM + 1];
	struct rail_endpoint bad = rig.servers[0].endpoint;
	uint8_t bytes[QUERY_SIZE + 1] = {0};

	for (size_t i = 0; i < RAIL_UPSTREAM_MAXIMUM + 1; i++)
		many[i] = rig.servers[0].endpoint;
	cr_assert_eq(send_to(1, many, 0, true), -EDESTADDRREQ);
	cr_assert_eq(send_to(1, many, RAIL_UPSTREAM_MAXIMUM + 1, true), -EINVAL);
	bad.port = 0;
	cr_assert_eq(send_to(1, &bad, 1, true), -EINVAL);
	bad = (struct rail_endpoint){.port = 53};
	cr_assert_eq(send_to(1, &bad, 1, true), -EINVAL);

	make_query(bytes, 1, true);
	for (size_t size = 0; size <= QUERY_SIZE + 1; size++) {
		int rc = rail_forwarder_send(rig.forwarder, many, 1, &nobody, bytes, size, called,
					     &rig.outcomes[1]);

		cr_assert_eq(rc, size == QUERY_SIZE ? 0 : -EINVAL, "%zu bytes", size);
	}
	bytes[QUERY_SIZE - 1] = 4; /* an option that is not there */
	cr_assert_eq(rail_forwarder_send(rig.forwarder, many, 1, &nobody, bytes, QUERY_SIZE, called,
					 NULL),
		     -EINVAL);
	cr_assert_eq(rail_forwarder_pending(rig.forwarder), 1);
}

/* ---- without files ---- */

static bool forbid_files_and_threads(void)
{
	static const int calls[] = {
		SCMP_SYS(open),	 SCMP_SYS(openat), SCMP_SYS(openat2), SCMP_SYS(creat),
		SCMP_SYS(clone), SCMP_SYS(clone3), SCMP_SYS(fork),    SCMP_SYS(vfork),
	};
	scmp_filter_ctx filter = seccomp_init(SCMP_ACT_ALLOW);

	if (filter == NULL)
		return false;
	for (size_t i = 0; i < sizeof(calls) / sizeof(calls[0]); i++)
		if (seccomp_rule_add(filter, SCMP_ACT_ERRNO(EPERM), calls[i], 0) < 0)
			return false;
	return seccomp_load(filter) == 0;
}

/* In a process of its own, for the filter stays. */
Test(dns_forward, needs_no_file_no_thread_and_no_environment)
{
	struct rail_endpoint both[] = {rig.servers[0].endpoint, rig.servers[1].endpoint};
	int status = 0;
	pid_t child;

	(void)setenv("LOCALDOMAIN", "example.org", 1);
	(void)setenv("RES_OPTIONS", "rotate retry:1 retrans:1 ndots:3", 1);
	child = fork_child();
	if (child == 0) {
		CHILD_MUST(forbid_files_and_threads());
		rig.react = truncate_over_udp;
		for (uint32_t i = 0; i < 100; i++)
			CHILD_MUST(send_to(i, both, 2, true) == 0);
		CHILD_MUST(are_called_within(100, 10000));
		for (uint32_t i = 0; i < 100; i++)
			CHILD_MUST(rig.outcomes[i].outcome == 0 && rig.outcomes[i].size == 40000);
		for (size_t i = 0; i < rig.received_count; i++)
			CHILD_MUST(rig.received[i].server == &rig.servers[0]);
		_exit(0);
	}
	cr_assert_eq(waitpid(child, &status, 0), child);
	cr_assert(WIFEXITED(status) && WEXITSTATUS(status) == 0, "status %#x", (unsigned)status);
}
