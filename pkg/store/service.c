#include <errno.h>
#include <string.h>

#include "pkg/store/keys.h"
#include "pkg/store/records.h"

enum {
	NUMBERS_MAXIMUM = UINT16_MAX, /* all but RAIL_SERVICE_OWN */
	SERVICE_RECORD_SIZE = RAIL_ORIGINAL_NAME_SIZE + 16,
};

static int fail_no_service(const char *label, struct rail_error *error)
{
	char quoted[RAIL_QUOTED_NAME_SIZE];

	rail_name_quote(label, quoted);
	return rail_fail(error, ENOENT, "the environment has no service %s", quoted);
}

/* 1 and the service where it is there, 0 where not. */
static int find_service(struct rail_transaction *transaction, const struct rail_prefix *prefix,
			const char *label, struct rail_service *ret_service,
			struct rail_error *error)
{
	struct rail_service service = {.prefix = *prefix};
	struct rail_span value;
	struct rail_subnet_key key;

	if (!rail_text_of_span(rail_span_of_text(label), service.label, sizeof(service.label)))
		return 0;

	int result = rail_store_get(transaction, RAIL_TABLE_SERVICES,
				    rail_service_key(prefix, label, &key), &value, error);
	if (result <= 0)
		return result;

	struct rail_reader reader = rail_reader_init(value.bytes, value.size);
	if (!rail_read_service(&reader, &service))
		return rail_record_damaged(transaction, "a service", error);
	*ret_service = service;
	return 1;
}

int rail_service_get(struct rail_transaction *transaction, const struct rail_prefix *prefix,
		     const char *label, struct rail_service *ret_service, struct rail_error *error)
{
	int result = find_service(transaction, prefix, label, ret_service, error);

	if (result == 0)
		return fail_no_service(label, error);
	return result < 0 ? result : 0;
}

int rail_service_by_number(struct rail_transaction *transaction, const struct rail_prefix *prefix,
			   uint16_t number, struct rail_service *ret_service,
			   struct rail_error *error)
{
	char label[RAIL_LABEL_SIZE];
	struct rail_span value;
	struct rail_subnet_key key;
	int result = rail_store_get(transaction, RAIL_TABLE_NUMBERS,
				    rail_number_key(prefix, number, &key), &value, error);

	if (result < 0)
		return result;
	if (result == 0) {
		char text[RAIL_PREFIX_TEXT_SIZE];

		rail_subnet_format(prefix, number, text);
		return rail_fail(error, ENOENT, "no service has the subnet %s", text);
	}
	if (!rail_text_of_span(value, label, sizeof(label)))
		return rail_record_damaged(transaction, "a service's number", error);
	return rail_service_get(transaction, prefix, label, ret_service, error);
}

int rail_service_put(struct rail_transaction *transaction, const struct rail_service *service,
		     struct rail_error *error)
{
	uint8_t record[SERVICE_RECORD_SIZE];
	struct rail_writer writer = rail_writer_init(record, sizeof(record));
	struct rail_subnet_key key;

	rail_write_service(&writer, service);
	if (writer.failed)
		return rail_record_unwritable("a service", error);

	int result = rail_store_put(transaction, RAIL_TABLE_SERVICES,
				    rail_service_key(&service->prefix, service->label, &key),
				    rail_span_of_writer(&writer), error);
	if (result == 0)
		result = rail_store_put(transaction, RAIL_TABLE_NUMBERS,
					rail_number_key(&service->prefix, service->number, &key),
					rail_span_of_text(service->label), error);
	return result;
}

static int choose_number(struct rail_transaction *transaction, const struct rail_prefix *prefix,
			 const char *label, uint16_t *ret_number, struct rail_error *error)
{
	uint16_t number = rail_service_number_start(label);
	struct rail_span value;
	struct rail_subnet_key key;

	for (int i = 0; i < NUMBERS_MAXIMUM; i++) {
		int result = rail_store_get(transaction, RAIL_TABLE_NUMBERS,
					    rail_number_key(prefix, number, &key), &value, error);

		if (result < 0)
			return result;
		if (result == 0) {
			*ret_number = number;
			return 0;
		}
		number = rail_service_number_next(number);
	}
	return rail_fail_code(error, RAIL_CODE_POOL_EXHAUSTED, ENOSPC,
			      "the environment has %d services, and a number for no more; remove "
			      "services, or use another environment",
			      NUMBERS_MAXIMUM);
}

/* Puts a name from outside into a service; its limits are those of a record. */
static int set_names(struct rail_service *service, const char *label, const char *original,
		     struct rail_error *error)
{
	char quoted[RAIL_QUOTED_NAME_SIZE];

	if (label[0] != '\0' &&
	    rail_text_of_span(rail_span_of_text(label), service->label, sizeof(service->label)) &&
	    rail_text_of_span(rail_span_of_text(original), service->original,
			      sizeof(service->original)))
		return 0;
	rail_name_quote(original, quoted);
	return rail_fail_code(error, RAIL_CODE_INVALID_CONFIG, EINVAL,
			      "%s cannot be the name of a service: it, or the label made of it, is "
			      "empty or too long",
			      quoted);
}

int rail_service_ensure(struct rail_transaction *transaction, const struct rail_prefix *prefix,
			const char *label, const char *original, struct rail_service *ret_service,
			struct rail_error *error)
{
	struct rail_service service = {.prefix = *prefix};
	struct rail_service present;
	int result = set_names(&service, label, original, error);

	if (result == 0)
		result = find_service(transaction, prefix, label, &present, error);
	if (result < 0)
		return result;
	if (result > 0) {
		char quoted[2][RAIL_QUOTED_NAME_SIZE];

		if (strcmp(present.original, original) == 0) {
			*ret_service = present;
			return 0;
		}
		rail_name_quote(original, quoted[0]);
		rail_name_quote(present.original, quoted[1]);
		return rail_fail_code(error, RAIL_CODE_INVALID_CONFIG, EEXIST,
				      "the names %s and %s both become the service '%s' of one "
				      "environment, and the second was there first; give the first "
				      "another name",
				      quoted[0], quoted[1], label);
	}

	result = choose_number(transaction, prefix, label, &service.number, error);
	if (result == 0)
		result = rail_service_put(transaction, &service, error);
	if (result < 0)
		return rail_wrap(error, result, "make service '%s'", label);
	*ret_service = service;
	return 0;
}

int rail_service_rename(struct rail_transaction *transaction, const struct rail_prefix *prefix,
			const char *label, const char *new_label, const char *new_original,
			struct rail_error *error)
{
	struct rail_service service;
	struct rail_service other;
	struct rail_subnet_key key;
	int result = rail_service_get(transaction, prefix, label, &service, error);

	if (result == 0)
		result = set_names(&service, new_label, new_original, error);
	if (result == 0 && strcmp(label, new_label) != 0) {
		result = find_service(transaction, prefix, new_label, &other, error);
		if (result > 0)
			return rail_fail_code(error, RAIL_CODE_INVALID_CONFIG, EEXIST,
					      "service '%s' cannot be called '%s': the environment "
					      "has one of that name",
					      label, new_label);
		if (result == 0)
			result = rail_store_delete(transaction, RAIL_TABLE_SERVICES,
						   rail_service_key(prefix, label, &key), error);
	}
	return result < 0 ? result : rail_service_put(transaction, &service, error);
}

int rail_service_remove(struct rail_transaction *transaction, struct rail_transaction *live,
			const struct rail_prefix *prefix, const char *label,
			struct rail_error *error)
{
	struct rail_service service;
	struct rail_subnet_key key;
	int result = rail_service_get(transaction, prefix, label, &service, error);

	if (result == 0)
		result = rail_check_uninhabited(live, prefix, &service.number, "service", label,
						error);
	if (result == 0)
		result = rail_store_delete(transaction, RAIL_TABLE_SERVICES,
					   rail_service_key(prefix, label, &key), error);
	if (result == 0)
		result = rail_store_delete(transaction, RAIL_TABLE_NUMBERS,
					   rail_number_key(prefix, service.number, &key), error);
	return result;
}

struct service_visit {
	const struct rail_transaction *transaction;
	const struct rail_prefix *prefix;
	int (*each)(void *context, const struct rail_service *service);
	void *context;
};

static int visit_service(void *context, struct rail_span key, struct rail_span value,
			 struct rail_error *error)
{
	const struct service_visit *visit = context;
	struct rail_service service = {.prefix = *visit->prefix};
	struct rail_reader reader = rail_reader_init(value.bytes, value.size);
	struct rail_span label = {(const uint8_t *)key.bytes + RAIL_PREFIX_SIZE,
				  key.size - RAIL_PREFIX_SIZE};

	if (!rail_text_of_span(label, service.label, sizeof(service.label)) ||
	    !rail_read_service(&reader, &service))
		return rail_record_damaged(visit->transaction, "a service", error);
	return visit->each(visit->context, &service);
}

int rail_service_each(struct rail_transaction *transaction, const struct rail_prefix *prefix,
		      int (*each)(void *context, const struct rail_service *service), void *context,
		      struct rail_error *error)
{
	struct service_visit visit = {transaction, prefix, each, context};

	return rail_store_each(transaction, RAIL_TABLE_SERVICES, rail_span_of_prefix(prefix),
			       visit_service, &visit, error);
}
