#include <errno.h>
#include <stdatomic.h>
#include <sys/mman.h>
#include <time.h>

#include "test/unit/store/allocation.h"

/* Processes that are killed at any moment while others work with the same stores. */

TestSuite(store_kill, .init = make_directories, .fini = remove_directories);

enum {
	RECORDS = 40, /* of one transaction: several pages */
	READERS = 3,
	KILLS = 100,
	ALLOCATORS = 8,
	ALLOCATIONS = 60, /* of each */
	ALLOCATION_ROUNDS = 20,
};

/* What the processes of a test tell each other. */
static struct {
	atomic_ulong committed;		 /* the writer's last whole generation */
	atomic_ulong snapshots[READERS]; /* that a reader has seen whole */
	atomic_bool done;
	atomic_uint allocated[ALLOCATORS];
	struct in6_addr addresses[ALLOCATORS][ALLOCATIONS];
} * shared;

static void share(void)
{
	shared = mmap(NULL, sizeof(*shared), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1,
		      0);
	cr_assert_neq(shared, MAP_FAILED);
}

/* Some moment within the next milliseconds: which one is what the test tries out. */
static void let_run(unsigned int *seed, long microseconds)
{
	struct timespec time = {.tv_nsec = rand_r(seed) % microseconds * 1000};

	(void)nanosleep(&time, NULL);
}

static struct rail_span record_key(unsigned int number, char room[static 16])
{
	(void)snprintf(room, 16, "record %u", number);
	return span(room);
}

static int write_generation(struct rail_store *store, unsigned long generation)
{
	RAIL_CLEANUP(rail_transaction_abort) struct rail_transaction *live = NULL;
	char value[400] = {0};
	int result = rail_transaction_begin(store, RAIL_LIVE, RAIL_WRITE, &live, NULL);

	memcpy(value, &generation, sizeof(generation));
	for (unsigned int i = 0; i < RECORDS && result == 0; i++) {
		char room[16];

		result = rail_store_put(live, RAIL_TABLE_MEMBERS, record_key(i, room),
					(struct rail_span){value, sizeof(value)}, NULL);
	}
	return result == 0 ? rail_transaction_commit(&live, NULL) : result;
}

/* The generation, which all records must have. */
static int read_generation(struct rail_store *store, unsigned long *ret_generation)
{
	RAIL_CLEANUP(rail_transaction_abort) struct rail_transaction *live = NULL;
	int result = rail_transaction_begin(store, RAIL_LIVE, RAIL_READ, &live, NULL);

	for (unsigned int i = 0; i < RECORDS && result >= 0; i++) {
		unsigned long generation = 0;
		struct rail_span value;
		char room[16];

		result =
			rail_store_get(live, RAIL_TABLE_MEMBERS, record_key(i, room), &value, NULL);
		if (result != 1 || value.size < sizeof(generation))
			return -ENOENT;
		memcpy(&generation, value.bytes, sizeof(generation));
		if (i > 0 && generation != *ret_generation)
			return -EPROTO;
		*ret_generation = generation;
	}
	return result < 0 ? result : 0;
}

static pid_t start_writer(void)
{
	pid_t child = fork_child();

	if (child == 0) {
		struct rail_store *store;
		unsigned long generation = 0;

		CHILD_MUST(rail_store_open_in_boot(state_directory, run_directory, BOOT, &store,
						   NULL) == 0);
		CHILD_MUST(read_generation(store, &generation) == 0);
		for (;;) {
			CHILD_MUST(write_generation(store, ++generation) == 0);
			atomic_store(&shared->committed, generation);
		}
	}
	return child;
}

static pid_t start_reader(unsigned int number)
{
	pid_t child = fork_child();

	if (child == 0) {
		unsigned long last = 0;
		struct rail_store *store;

		CHILD_MUST(rail_store_open_in_boot(state_directory, run_directory, BOOT, &store,
						   NULL) == 0);
		while (!atomic_load(&shared->done)) {
			unsigned long generation = 0;

			CHILD_MUST(read_generation(store, &generation) == 0);
			CHILD_MUST(generation >= last);
			last = generation;
			atomic_fetch_add(&shared->snapshots[number], 1);
		}
		rail_store_close(store);
		_exit(0);
	}
	return child;
}

static void assert_succeeded(pid_t child)
{
	int status;

	cr_assert_eq(waitpid(child, &status, 0), child);
	cr_assert_eq(status, 0);
}

Test(store_kill, a_writer_is_killed_a_hundred_times_and_readers_see_whole_states_only)
{
	RAIL_CLEANUP(rail_store_closep) struct rail_store *store = open_stores();
	unsigned long killed_at_work = 0;
	unsigned int seed = 1;
	pid_t readers[READERS];

	share();
	cr_assert_eq(write_generation(store, 1), 0);
	atomic_store(&shared->committed, 1);
	for (unsigned int i = 0; i < READERS; i++)
		readers[i] = start_reader(i);

	for (unsigned int i = 0; i < KILLS; i++) {
		unsigned long before = atomic_load(&shared->committed);
		pid_t writer = start_writer();
		unsigned long generation = 0;

		/* The first ones while they open the stores, the others while they write. */
		while (i >= 10 && atomic_load(&shared->committed) == before)
			cr_assert_eq(waitpid(writer, NULL, WNOHANG), 0, "the writer failed");
		let_run(&seed, 3000);
		kill_child(writer);

		unsigned long committed = atomic_load(&shared->committed);
		killed_at_work += committed > before;
		cr_assert_eq(read_generation(store, &generation), 0);
		/* The last commit may be whole without having been told. */
		cr_assert(generation == committed || generation == committed + 1,
			  "%lu is stored, %lu was committed", generation, committed);
		cr_assert_eq(write_generation(store, generation + 1), 0);
		atomic_store(&shared->committed, generation + 1);
	}
	atomic_store(&shared->done, true);
	for (unsigned int i = 0; i < READERS; i++) {
		assert_succeeded(readers[i]);
		cr_assert_gt(atomic_load(&shared->snapshots[i]), KILLS);
	}
	cr_assert_geq(killed_at_work, KILLS - 10);
}

static void name_allocation(unsigned int process, unsigned int number,
			    struct rail_attachment_key *ret_key)
{
	char container[32];

	(void)snprintf(container, sizeof(container), "process-%u-%u", process, number);
	*ret_key = key_of("net", container, "eth0");
}

/* endless: it goes on until it is killed; what it gets then is not written down. */
static pid_t start_allocator(unsigned int process, unsigned int round, bool endless)
{
	pid_t child = fork_child();

	if (child == 0) {
		struct rail_error error = RAIL_ERROR_NONE;
		struct rail_store *store;

		CHILD_MUST(rail_store_open_in_boot(state_directory, run_directory, BOOT, &store,
						   &error) == 0);
		for (unsigned int i = 0; endless || i < ALLOCATIONS; i++) {
			struct rail_attachment_key key;
			struct in6_addr address;

			name_allocation(process + ALLOCATORS * round, i, &key);
			CHILD_MUST(allocate(store, &key, &address, &error) == 0);
			if (i < ALLOCATIONS) {
				shared->addresses[process][i] = address;
				atomic_store(&shared->allocated[process], i + 1);
			}
		}
		rail_store_close(store);
		_exit(0);
	}
	return child;
}

/* What was given is stored as given, and to one only. */
static size_t collect_round(struct rail_store *store, unsigned int round,
			    struct in6_addr *ret_addresses)
{
	struct rail_transaction *live = begin(store, RAIL_LIVE, RAIL_READ);
	size_t count = 0;

	for (unsigned int i = 0; i < ALLOCATORS; i++) {
		for (unsigned int j = 0; j < atomic_load(&shared->allocated[i]); j++) {
			struct rail_attachment_key expected;
			struct rail_attachment_key owner;

			name_allocation(i + ALLOCATORS * round, j, &expected);
			cr_assert_eq(rail_lease_owner(live, &shared->addresses[i][j], &owner, NULL),
				     0);
			cr_assert(rail_attachment_key_equal(&owner, &expected));
			ret_addresses[count++] = shared->addresses[i][j];
		}
	}
	rail_transaction_abort(&live);
	return count;
}

Test(store_kill, eight_processes_allocate_and_one_is_killed_the_others_are_not_held_up)
{
	static struct in6_addr addresses[ALLOCATION_ROUNDS * ALLOCATORS * ALLOCATIONS];
	RAIL_CLEANUP(rail_store_closep) struct rail_store *store = open_stores();
	unsigned int seed = 1;
	size_t count = 0;

	share();
	for (unsigned int round = 0; round < ALLOCATION_ROUNDS; round++) {
		unsigned int victim = round % ALLOCATORS;
		pid_t children[ALLOCATORS];

		for (unsigned int i = 0; i < ALLOCATORS; i++) {
			atomic_store(&shared->allocated[i], 0);
			children[i] = start_allocator(i, round, i == victim);
		}
		unsigned int moment = (unsigned int)rand_r(&seed) % (ALLOCATIONS / 2);
		while (atomic_load(&shared->allocated[victim]) <= moment)
			cr_assert_eq(waitpid(children[victim], NULL, WNOHANG), 0);
		kill_child(children[victim]);
		for (unsigned int i = 0; i < ALLOCATORS; i++) {
			if (i == victim)
				continue;
			assert_succeeded(children[i]);
			cr_assert_eq(atomic_load(&shared->allocated[i]), ALLOCATIONS);
		}
		count += collect_round(store, round, &addresses[count]);
	}
	assert_all_different(addresses, count);
}
