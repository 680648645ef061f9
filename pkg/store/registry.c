#include "pkg/store/registry.h"

#include <errno.h>
#include <string.h>

#include "pkg/base/file.h"
#include "pkg/store/keys.h"
#include "pkg/store/records.h"

enum {
	PREFIX_BITS = RAIL_PREFIX_SIZE * 8,
	RANDOM_TRIES = 64,
	ENVIRONMENT_RECORD_SIZE = 16,
};

/* 1 and the environment where it is there, 0 where not. */
static int find_environment(struct rail_transaction *transaction, const char *name,
			    struct rail_environment *ret_environment, struct rail_error *error)
{
	struct rail_environment environment = {.enabled = false};
	struct rail_span value;
	int result = rail_environment_name_check("the environment's name", name, error);

	if (result == 0)
		result = rail_store_get(transaction, RAIL_TABLE_ENVIRONMENTS,
					rail_span_of_text(name), &value, error);
	if (result <= 0)
		return result;

	struct rail_reader reader = rail_reader_init(value.bytes, value.size);
	if (!rail_text_of_span(rail_span_of_text(name), environment.name,
			       sizeof(environment.name)) ||
	    !rail_read_environment(&reader, &environment))
		return rail_record_damaged(transaction, "an environment", error);
	*ret_environment = environment;
	return 1;
}

int rail_environment_put(struct rail_transaction *transaction,
			 const struct rail_environment *environment, struct rail_error *error)
{
	uint8_t record[ENVIRONMENT_RECORD_SIZE];
	struct rail_writer writer = rail_writer_init(record, sizeof(record));

	rail_write_environment(&writer, environment);

	int result = rail_store_put(transaction, RAIL_TABLE_ENVIRONMENTS,
				    rail_span_of_text(environment->name),
				    rail_span_of_writer(&writer), error);
	if (result == 0)
		result = rail_store_put(transaction, RAIL_TABLE_PREFIXES,
					rail_span_of_prefix(&environment->prefix),
					rail_span_of_text(environment->name), error);
	return result;
}

int rail_environment_get(struct rail_transaction *transaction, const char *name,
			 struct rail_environment *ret_environment, struct rail_error *error)
{
	char quoted[RAIL_QUOTED_NAME_SIZE];
	int result = find_environment(transaction, name, ret_environment, error);

	if (result == 0) {
		rail_name_quote(name, quoted);
		return rail_fail(error, ENOENT, "there is no environment %s", quoted);
	}
	return result < 0 ? result : 0;
}

int rail_environment_by_prefix(struct rail_transaction *transaction,
			       const struct rail_prefix *prefix,
			       struct rail_environment *ret_environment, struct rail_error *error)
{
	char name[RAIL_ENVIRONMENT_NAME_SIZE];
	struct rail_span value;
	int result = rail_store_get(transaction, RAIL_TABLE_PREFIXES, rail_span_of_prefix(prefix),
				    &value, error);

	if (result < 0)
		return result;
	if (result == 0) {
		char text[RAIL_PREFIX_TEXT_SIZE];

		rail_prefix_format(prefix, text);
		return rail_fail(error, ENOENT, "no environment has the prefix %s", text);
	}
	if (!rail_text_of_span(value, name, sizeof(name)))
		return rail_record_damaged(transaction, "an environment's prefix", error);
	return rail_environment_get(transaction, name, ret_environment, error);
}

/* 48 bits as 6 bytes. What is above them is dropped, so that a search wraps around. */
static void put_bits(uint64_t number, uint8_t bytes[RAIL_PREFIX_SIZE])
{
	for (size_t i = 0; i < RAIL_PREFIX_SIZE; i++)
		bytes[i] = (uint8_t)(number >> (8 * (RAIL_PREFIX_SIZE - 1 - i)));
}

/* Whether the /48 that comes out of these bits is free: 1 and the /48, or 0. */
static int try_prefix(struct rail_transaction *transaction, const struct rail_pool *pool,
		      uint64_t bits, struct rail_prefix *ret_prefix, struct rail_error *error)
{
	uint8_t bytes[RAIL_PREFIX_SIZE];
	struct rail_span value;

	put_bits(bits, bytes);
	if (!rail_prefix_make(pool, bytes, ret_prefix))
		return 0;

	int result = rail_store_get(transaction, RAIL_TABLE_PREFIXES,
				    rail_span_of_prefix(ret_prefix), &value, error);
	return result < 0 ? result : result == 0;
}

/* A free /48 of the pool: by chance, and where that fails often, because a small pool is nearly
 * full, the next one behind. */
static int choose_prefix(struct rail_transaction *transaction, const struct rail_pool *pool,
			 struct rail_prefix *ret_prefix, struct rail_error *error)
{
	uint64_t pool_size = (uint64_t)1 << (PREFIX_BITS - pool->length);
	uint64_t bits = 0;
	uint64_t taken;
	int result = rail_store_count(transaction, RAIL_TABLE_PREFIXES, &taken, error);

	for (int i = 0; result == 0 && i < RANDOM_TRIES; i++) {
		result = rail_random(&bits, sizeof(bits), error);
		if (result == 0)
			result = try_prefix(transaction, pool, bits, ret_prefix, error);
	}
	/* One more than are taken, and the two that nobody gets, must bring a free one. */
	for (uint64_t i = 1; result == 0 && i <= pool_size && i <= taken + 3; i++)
		result = try_prefix(transaction, pool, bits + i, ret_prefix, error);

	if (result == 0) {
		char text[RAIL_PREFIX_TEXT_SIZE];
		struct rail_prefix base;

		memcpy(base.bytes, pool->base.s6_addr, sizeof(base.bytes));
		rail_prefix_format(&base, text);
		text[strcspn(text, "/")] = '\0';
		return rail_fail_code(error, RAIL_CODE_POOL_EXHAUSTED, ENOSPC,
				      "every /48 of the pool %s/%u belongs to an environment; "
				      "configure a larger pool, or remove environments",
				      text, pool->length);
	}
	return result < 0 ? result : 0;
}

int rail_environment_ensure(struct rail_transaction *transaction, const char *name,
			    const struct rail_pool *pool, struct rail_environment *ret_environment,
			    struct rail_error *error)
{
	struct rail_environment environment = {.enabled = true};
	int result = find_environment(transaction, name, ret_environment, error);

	if (result != 0)
		return result < 0 ? result : 0;

	result = choose_prefix(transaction, pool, &environment.prefix, error);
	if (result < 0)
		return rail_wrap(error, result, "make environment '%s'", name);
	memcpy(environment.name, name, strlen(name) + 1);

	result = rail_environment_put(transaction, &environment, error);
	if (result < 0)
		return result;
	*ret_environment = environment;
	return 0;
}

int rail_environment_set_enabled(struct rail_transaction *transaction, const char *name,
				 bool enabled, struct rail_error *error)
{
	struct rail_environment environment;
	int result = rail_environment_get(transaction, name, &environment, error);

	if (result < 0)
		return result;
	environment.enabled = enabled;
	return rail_environment_put(transaction, &environment, error);
}

int rail_environment_remove(struct rail_transaction *transaction, struct rail_transaction *live,
			    const char *name, struct rail_error *error)
{
	static const enum rail_store_table by_prefix[] = {RAIL_TABLE_SERVICES, RAIL_TABLE_NUMBERS,
							  RAIL_TABLE_COUNTERS, RAIL_TABLE_PREFIXES};
	struct rail_environment environment;
	int result = rail_environment_get(transaction, name, &environment, error);

	if (result == 0)
		result = rail_check_uninhabited(live, &environment.prefix, NULL, "environment",
						name, error);
	for (size_t i = 0; result == 0 && i < sizeof(by_prefix) / sizeof(by_prefix[0]); i++)
		result = rail_store_delete_prefix(transaction, by_prefix[i],
						  rail_span_of_prefix(&environment.prefix), error);
	if (result == 0)
		result = rail_store_delete(transaction, RAIL_TABLE_ENVIRONMENTS,
					   rail_span_of_text(name), error);
	return result;
}

struct environment_visit {
	const struct rail_transaction *transaction;
	int (*each)(void *context, const struct rail_environment *environment);
	void *context;
};

static int visit_environment(void *context, struct rail_span key, struct rail_span value,
			     struct rail_error *error)
{
	const struct environment_visit *visit = context;
	struct rail_environment environment = {.enabled = false};
	struct rail_reader reader = rail_reader_init(value.bytes, value.size);

	if (!rail_text_of_span(key, environment.name, sizeof(environment.name)) ||
	    !rail_read_environment(&reader, &environment))
		return rail_record_damaged(visit->transaction, "an environment", error);
	return visit->each(visit->context, &environment);
}

int rail_environment_each(struct rail_transaction *transaction,
			  int (*each)(void *context, const struct rail_environment *environment),
			  void *context, struct rail_error *error)
{
	struct environment_visit visit = {transaction, each, context};

	return rail_store_each(transaction, RAIL_TABLE_ENVIRONMENTS,
			       (struct rail_span){.bytes = NULL}, visit_environment, &visit, error);
}
