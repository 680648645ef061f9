#include <arpa/inet.h>
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <time.h>
#include <unistd.h>

#include "pkg/base/cleanup.h"
#include "pkg/base/file.h"
#include "pkg/base/log.h"
#include "pkg/cluster/etcd.h"
#include "pkg/cluster/records.h"

/*
 * What many nodes ask of one etcd, without their kernels: each has a client, a lease and a watch on
 * each of its environments, as railway-meshd has, and its members are records.
 *
 *     cluster_scale URL NODES ENVIRONMENTS EACH MEMBERS RATE SECONDS
 *
 * EACH: environments a node has a pod in; MEMBERS: of a node in each of these; RATE: joins a
 * second. Prints "phase NAME" when one is over, and goes on when it reads a line, so that somebody
 * can look at etcd meanwhile.
 */

enum {
	LEASE_S = 30,
	TURN_MS = 50,
	RETRY_MS = 500,
	SERVICE = 7,
	PUTS_MAXIMUM = 32, /* a transaction, as railway-meshd sends them */
	PATIENCE_MS = 120000,
};

struct scenario {
	unsigned int nodes;
	unsigned int environments;
	unsigned int each;
	unsigned int members;
	unsigned int rate;
	unsigned int seconds;
};

struct node {
	struct rail_etcd *etcd;
	struct rail_etcd_call *call; /* of the session */
	struct rail_etcd_call *publishing;
	struct rail_timer *renewal;
	int64_t lease;
	uint32_t number;
	unsigned int published; /* environments */
	bool renewing_alive;
};

struct watched {
	struct rail_etcd_watch *watch;
	bool created;
};

struct join {
	int64_t put_us;
	struct rail_etcd_call *call;
	bool confirmed;
	unsigned int seen;
};

static struct scenario scenario;
static struct rail_cluster_settings settings;
static struct rail_loop *loop;
static struct node *nodes;
static struct watched *watches;
static struct join *joins;
static unsigned int join_count;
static int64_t *confirmations_us; /* of joins */
static size_t confirmation_count;
static int64_t *sightings_us; /* of joins, by each node that watches */
static size_t sighting_count;
static unsigned int joined;
static unsigned int created;
static unsigned int published;
static unsigned int members_seen; /* by each node that watches */
static uint64_t renewals;
static uint64_t repeated; /* as railway-meshd asks again where etcd is late */
static bool line_read;

static void give_up(const char *what, const struct rail_error *error)
{
	(void)fprintf(stderr, "cluster_scale: %s: %s\n", what,
		      error != NULL ? error->message : "no answer in time");
	exit(EXIT_FAILURE);
}

/* Whether it is asked again; what cannot pass ends the run. */
static bool again(const char *what, const struct rail_json *answer, const struct rail_error *error)
{
	if (answer != NULL)
		return false;
	if (!rail_etcd_may_pass(error))
		give_up(what, error);
	repeated++;
	return true;
}

static int64_t now_us(void)
{
	struct timespec now;

	(void)clock_gettime(CLOCK_MONOTONIC, &now);
	return (int64_t)now.tv_sec * 1000000 + now.tv_nsec / 1000;
}

static void turn(void)
{
	struct rail_error error = RAIL_ERROR_NONE;

	if (rail_loop_turn(loop, TURN_MS, &error) < 0)
		give_up("the loop", &error);
}

static void turn_until(const char *what, const unsigned int *count, unsigned int wanted)
{
	int64_t end_ms = rail_monotonic_ms() + PATIENCE_MS;

	while (*count < wanted) {
		if (rail_monotonic_ms() > end_ms)
			give_up(what, NULL);
		turn();
	}
}

static void turn_for(int64_t duration_ms)
{
	int64_t end_ms = rail_monotonic_ms() + duration_ms;

	while (rail_monotonic_ms() < end_ms)
		turn();
}

static void on_line(void *context, uint32_t events)
{
	char bytes[256];

	(void)context;
	(void)events;
	if (read(STDIN_FILENO, bytes, sizeof(bytes)) <= 0)
		exit(EXIT_FAILURE);
	line_read = true;
}

static void end_phase(const char *name)
{
	(void)printf("phase %s\n", name);
	(void)fflush(stdout);
	line_read = false;
	while (!line_read)
		turn();
}

/* ---- what the nodes and environments are ---- */

static unsigned int environment_of(unsigned int node, unsigned int slot)
{
	return (node * scenario.each + slot) % scenario.environments;
}

/* Nodes that have a pod in one environment. */
static unsigned int watchers(void)
{
	return scenario.nodes * scenario.each / scenario.environments;
}

static struct rail_prefix prefix_of(unsigned int environment)
{
	return (struct rail_prefix){
		{0xfd, 0x5c, 0xa1, 0xe0, (uint8_t)(environment >> 8), (uint8_t)environment}};
}

static struct in6_addr address_of(unsigned int environment, uint32_t node, uint32_t counter)
{
	const struct rail_address_parts parts = {.prefix = prefix_of(environment),
						 .service = SERVICE,
						 .node = node,
						 .counter = counter};

	return rail_address_compose(&parts);
}

static char *member_value(const struct node *node, uint32_t counter)
{
	struct rail_published member = {.node = node->number, .endpoint_count = 1, .named = true};

	member.endpoints[0].family = AF_INET;
	member.endpoints[0].port = (uint16_t)(1024 + counter % 60000);
	member.endpoints[0].address.v4.s_addr = htonl(0x0a000000U + node->number);
	(void)snprintf(member.replica, sizeof(member.replica), "replica-%u-%u", node->number,
		       counter);
	if (rail_random(&member.public_key, sizeof(member.public_key), NULL) < 0)
		return NULL;
	return rail_published_encode(&member);
}

/* ---- the session: a lease, the record that it lives, and both renewed ---- */

static void call(struct node *node, const char *path, char *body, rail_etcd_answered *answered)
{
	struct rail_error error = RAIL_ERROR_NONE;

	if (rail_etcd_begin(node->etcd, path, body, answered, node, &node->call, &error) < 0)
		give_up(path, &error);
}

static void on_alive(void *context, const struct rail_json *answer, const struct rail_error *error)
{
	struct node *node = context;

	node->call = NULL;
	if (again("write that a node lives", answer, error)) {
		rail_timer_start(node->renewal, RETRY_MS);
		return;
	}
	if (!node->renewing_alive)
		joined++;
	node->renewing_alive = true;
	renewals++;
	rail_timer_start(node->renewal, LEASE_S * 1000 / 3);
}

/* Written once, then looked at. */
static void write_or_look(struct node *node)
{
	struct rail_node_record record = {.node = node->number};
	rail_cluster_key key;

	rail_key_of_alive(node->number, key);
	if (node->renewing_alive) {
		call(node, "/v3/kv/range",
		     rail_etcd_encode_range(&(struct rail_etcd_range){.key = key}), on_alive);
		return;
	}
	memset(record.id, 'a', sizeof(record.id) - 1);
	(void)snprintf(record.host, sizeof(record.host), "node-%u", node->number);

	RAIL_FREE char *value = rail_node_record_encode(&record);
	const struct rail_etcd_compare absent = {.key = key};
	const struct rail_etcd_operation put = {
		.kind = RAIL_ETCD_PUT, .key = key, .value = value, .lease = node->lease};
	const struct rail_etcd_operation get = {.kind = RAIL_ETCD_GET, .key = key};
	const struct rail_etcd_transaction transaction = {&absent, 1, &put, 1, &get, 1};

	call(node, "/v3/kv/txn", value == NULL ? NULL : rail_etcd_encode_transaction(&transaction),
	     on_alive);
}

static void on_lease(void *context, const struct rail_json *answer, const struct rail_error *error)
{
	struct node *node = context;
	struct rail_error parsing = RAIL_ERROR_NONE;
	struct rail_etcd_header header;
	int64_t ttl_s = 0;

	node->call = NULL;
	if (again("a lease", answer, error)) {
		rail_timer_start(node->renewal, RETRY_MS);
		return;
	}
	if (rail_etcd_parse_lease(answer, &header, &node->lease, &ttl_s, &parsing) < 0 ||
	    ttl_s == 0)
		give_up("a lease has ended", &parsing);
	write_or_look(node);
}

static void renew(void *context)
{
	struct node *node = context;

	if (node->lease == 0)
		call(node, "/v3/lease/grant", rail_etcd_encode_grant(LEASE_S), on_lease);
	else
		call(node, "/v3/lease/keepalive", rail_etcd_encode_lease(node->lease), on_lease);
}

static void on_moved(void *context)
{
	(void)context;
}

static void start_nodes(void)
{
	struct rail_error error = RAIL_ERROR_NONE;

	for (unsigned int i = 0; i < scenario.nodes; i++) {
		struct node *node = &nodes[i];

		node->number = i + 2;
		if (rail_etcd_new(loop, &settings, on_moved, node, &node->etcd, &error) < 0 ||
		    rail_loop_timer(loop, renew, node, &node->renewal, &error) < 0)
			give_up("a node", &error);
		/* As nodes that were not all started at one moment. */
		rail_timer_start(node->renewal, (int64_t)i * 10000 / scenario.nodes);
	}
	turn_until("the nodes' leases", &joined, scenario.nodes);
}

/* ---- watches ---- */

static void on_watch(void *context, const struct rail_etcd_watch_answer *answer)
{
	struct watched *watched = context;
	int64_t now = now_us();

	if (answer->created && !watched->created) {
		watched->created = true;
		created++;
	}
	for (size_t i = 0; i < answer->events.count; i++) {
		/* The number of a join is in its address' last 32 bits. */
		const char *key = answer->events.records[i].key;
		size_t length = strlen(key);
		unsigned long number =
			length < 8 ? 0 : strtoul(key + length - 8, NULL, 16) & 0xffffffffUL;

		members_seen += number > 0 && number <= scenario.members;
		if (number <= scenario.members || number > scenario.members + join_count)
			continue;

		struct join *join = &joins[number - scenario.members - 1];

		join->seen++;
		sightings_us[sighting_count++] = now - join->put_us;
	}
}

static void on_watch_ended(void *context, const struct rail_error *error)
{
	(void)context;
	give_up("a watch", error);
}

static void start_watches(void)
{
	struct rail_error error = RAIL_ERROR_NONE;
	rail_cluster_key key;

	for (unsigned int i = 0; i < scenario.nodes * scenario.each; i++) {
		unsigned int node = i / scenario.each;
		struct rail_prefix prefix = prefix_of(environment_of(node, i % scenario.each));
		struct rail_etcd_watch_callbacks callbacks = {
			.answer = on_watch, .ended = on_watch_ended, .context = &watches[i]};

		rail_key_of_inside(&prefix, key);
		if (rail_etcd_watch(nodes[node].etcd, key, 0, &callbacks, &watches[i].watch,
				    &error) < 0)
			give_up("a watch", &error);
	}
	turn_until("the watches", &created, scenario.nodes * scenario.each);
}

/* ---- members ---- */

static void publish_next(struct node *node);

static void on_published(void *context, const struct rail_json *answer,
			 const struct rail_error *error)
{
	struct node *node = context;

	node->publishing = NULL;
	if (again("publish members", answer, error)) {
		publish_next(node);
		return;
	}
	published++;
	node->published++;
	if (node->published < scenario.each)
		publish_next(node);
}

static void publish_next(struct node *node)
{
	unsigned int environment = environment_of((unsigned int)(node - nodes), node->published);
	rail_cluster_key keys[PUTS_MAXIMUM];
	struct rail_etcd_compare compares[PUTS_MAXIMUM];
	struct rail_etcd_operation puts[PUTS_MAXIMUM];
	char *values[PUTS_MAXIMUM];
	struct rail_error error = RAIL_ERROR_NONE;

	for (unsigned int i = 0; i < scenario.members; i++) {
		struct in6_addr address = address_of(environment, node->number, i + 1);

		rail_key_of_member(&address, keys[i]);
		values[i] = member_value(node, i + 1);
		compares[i] = (struct rail_etcd_compare){.key = keys[i]};
		puts[i] = (struct rail_etcd_operation){.kind = RAIL_ETCD_PUT,
						       .key = keys[i],
						       .value = values[i],
						       .lease = node->lease};
	}

	const struct rail_etcd_transaction transaction = {
		compares, scenario.members, puts, scenario.members, NULL, 0};

	if (rail_etcd_begin(node->etcd, "/v3/kv/txn", rail_etcd_encode_transaction(&transaction),
			    on_published, node, &node->publishing, &error) < 0)
		give_up("publish members", &error);
	for (unsigned int i = 0; i < scenario.members; i++)
		free(values[i]);
}

/* ---- joins ---- */

static void send_join(unsigned int number);

static void on_joined(void *context, const struct rail_json *answer, const struct rail_error *error)
{
	struct join *join = context;

	join->call = NULL;
	if (again("a join", answer, error)) {
		send_join((unsigned int)(join - joins));
		return;
	}
	join->confirmed = true;
	confirmations_us[confirmation_count++] = now_us() - join->put_us;
}

static void send_join(unsigned int number)
{
	struct node *node = &nodes[(number * 7919U) % scenario.nodes];
	unsigned int environment =
		environment_of((unsigned int)(node - nodes), number % scenario.each);
	uint32_t counter = scenario.members + number + 1;
	struct in6_addr address = address_of(environment, node->number, counter);
	RAIL_FREE char *value = member_value(node, counter);
	struct rail_error error = RAIL_ERROR_NONE;
	rail_cluster_key key;

	rail_key_of_member(&address, key);

	const struct rail_etcd_compare absent = {.key = key};
	const struct rail_etcd_operation put = {
		.kind = RAIL_ETCD_PUT, .key = key, .value = value, .lease = node->lease};
	const struct rail_etcd_transaction transaction = {&absent, 1, &put, 1, NULL, 0};

	if (rail_etcd_begin(node->etcd, "/v3/kv/txn", rail_etcd_encode_transaction(&transaction),
			    on_joined, &joins[number], &joins[number].call, &error) < 0)
		give_up("a join", &error);
}

static void join_at_rate(void)
{
	int64_t start = now_us();
	unsigned int total = scenario.rate * scenario.seconds;

	while (join_count < total) {
		int64_t due = start + (int64_t)join_count * 1000000 / scenario.rate;
		int64_t left = due - now_us();
		struct rail_error error = RAIL_ERROR_NONE;

		if (left <= 0) {
			joins[join_count].put_us = now_us();
			send_join(join_count++);
			left = 0;
		}
		if (rail_loop_turn(loop, (int)(left / 1000), &error) < 0)
			give_up("the loop", &error);
	}
	/* What is still under way. */
	turn_for(2000);
}

static int compare_times(const void *one, const void *other)
{
	int64_t a = *(const int64_t *)one;
	int64_t b = *(const int64_t *)other;

	return (a > b) - (a < b);
}

static void print_times(const char *what, int64_t *times_us, size_t count)
{
	static const unsigned int percentiles[] = {50, 90, 99, 100};

	qsort(times_us, count, sizeof(*times_us), compare_times);
	(void)printf("%s %zu", what, count);
	for (size_t i = 0; i < sizeof(percentiles) / sizeof(percentiles[0]) && count > 0; i++) {
		size_t index = (count * percentiles[i] + 99) / 100;

		(void)printf(" p%u %.1f", percentiles[i], (double)times_us[index - 1] / 1000);
	}
	(void)printf("\n");
}

static int report(void)
{
	unsigned int missed = 0;

	for (unsigned int i = 0; i < join_count; i++)
		missed += !joins[i].confirmed || joins[i].seen < watchers();
	print_times("confirmed", confirmations_us, confirmation_count);
	print_times("visible", sightings_us, sighting_count);
	(void)printf("joins %u missed %u; asked again %" PRIu64 " times\n", join_count, missed,
		     repeated);
	return missed == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}

static unsigned int number_of(const char *text, unsigned int maximum)
{
	char *end;
	unsigned long number = strtoul(text, &end, 10);

	if (*end != '\0' || number == 0 || number > maximum) {
		(void)fprintf(stderr, "cluster_scale: %s: a number from 1 to %u\n", text, maximum);
		exit(EXIT_FAILURE);
	}
	return (unsigned int)number;
}

static void prepare(char **argv)
{
	struct rail_error error = RAIL_ERROR_NONE;
	struct rail_source *source;

	(void)snprintf(settings.endpoints[0], sizeof(settings.endpoints[0]), "%s", argv[1]);
	settings.endpoint_count = 1;
	settings.lease_s = LEASE_S;
	scenario = (struct scenario){
		.nodes = number_of(argv[2], 5000),
		.environments = number_of(argv[3], 50000),
		.each = number_of(argv[4], 100),
		.members = number_of(argv[5], PUTS_MAXIMUM),
		.rate = number_of(argv[6], 10000),
		.seconds = number_of(argv[7], 600),
	};

	size_t total = (size_t)scenario.rate * scenario.seconds;

	nodes = calloc(scenario.nodes, sizeof(*nodes));
	watches = calloc((size_t)scenario.nodes * scenario.each, sizeof(*watches));
	joins = calloc(total, sizeof(*joins));
	confirmations_us = calloc(total, sizeof(*confirmations_us));
	if (watchers() * scenario.environments != scenario.nodes * scenario.each) {
		(void)fprintf(stderr, "cluster_scale: NODES * EACH must be divisible by "
				      "ENVIRONMENTS\n");
		exit(EXIT_FAILURE);
	}
	sightings_us = calloc(total * watchers(), sizeof(*sightings_us));
	if (nodes == NULL || watches == NULL || joins == NULL || confirmations_us == NULL ||
	    sightings_us == NULL || rail_loop_new(&loop, &error) < 0 ||
	    rail_loop_watch(loop, STDIN_FILENO, EPOLLIN, on_line, NULL, &source, &error) < 0)
		give_up("no memory", NULL);
}

int main(int argc, char **argv)
{
	if (argc != 8) {
		(void)fprintf(stderr, "usage: see the comment in cluster_scale.c\n");
		return EXIT_FAILURE;
	}
	prepare(argv);
	end_phase("begin");
	start_nodes();
	end_phase("leases");
	start_watches();
	end_phase("watches");
	for (unsigned int i = 0; i < scenario.nodes; i++)
		publish_next(&nodes[i]);
	turn_until("the members", &published, scenario.nodes * scenario.each);
	turn_until("the members' events", &members_seen,
		   scenario.environments * watchers() * watchers() * scenario.members);
	end_phase("members");

	uint64_t before = renewals;

	turn_for((int64_t)scenario.seconds * 1000);
	(void)printf("renewals %" PRIu64 "\n", renewals - before);
	end_phase("steady");
	join_at_rate();
	end_phase("joins");
	return report();
}
