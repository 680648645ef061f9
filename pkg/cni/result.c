#include "pkg/cni/result.h"

#include <arpa/inet.h>
#include <errno.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "pkg/base/cleanup.h"

/*
 * The formats (CNI specification, "Success"): up to 0.2.0 one address of each family in ip4 and
 * ip6, with their routes inside; from 0.3.0 on lists of interfaces, ips and routes, where ips have
 * a version until 1.0.0 dropped it.
 */

static int fail_memory(struct rail_error *error)
{
	return rail_fail_errno(error, ENOMEM, "make the result");
}

static int fail_malformed(struct rail_error *error, const char *what)
{
	return rail_fail_code(error, RAIL_CODE_INVALID_CONFIG, EINVAL, "malformed result: %s",
			      what);
}

int rail_result_begin(const struct rail_cni_call *call, struct rail_json **ret_result,
		      struct rail_error *error)
{
	const char *version = rail_cni_version_names[call->version];
	const struct rail_json *given = rail_json_get(call->prev_result, "cniVersion");

	if (given != NULL &&
	    (rail_json_string(given) == NULL || strcmp(rail_json_string(given), version) != 0)) {
		RAIL_FREE char *text = rail_json_print(given);

		return rail_fail_code(error, RAIL_CODE_INVALID_CONFIG, EINVAL,
				      "prevResult's cniVersion is %.64s, the configuration's is "
				      "\"%s\": they must be the same",
				      text != NULL ? text : "another", version);
	}

	RAIL_CLEANUP(rail_json_freep)
	struct rail_json *result = call->prev_result != NULL ? rail_json_copy(call->prev_result)
							     : rail_json_new_object();
	if (result == NULL || (given == NULL && rail_json_put(result, "cniVersion",
							      rail_json_new_string(version)) < 0))
		return fail_memory(error);
	*ret_result = RAIL_TAKE_POINTER(result);
	return 0;
}

/* The container of that name in an object, made where it is missing or null. */
static int need_container(struct rail_json *object, const char *key, enum rail_json_type type,
			  struct rail_json **ret_container, struct rail_error *error)
{
	struct rail_json *value = rail_json_get(object, key);

	if (value == NULL || rail_json_type(value) == RAIL_JSON_NULL) {
		if (rail_json_put(object, key,
				  type == RAIL_JSON_ARRAY ? rail_json_new_array()
							  : rail_json_new_object()) < 0)
			return fail_memory(error);
		value = rail_json_get(object, key);
	}
	if (rail_json_type(value) != type)
		return rail_fail_code(error, RAIL_CODE_INVALID_CONFIG, EINVAL,
				      "malformed result: '%s' must be %s, is %s", key,
				      rail_json_type_name(type),
				      rail_json_type_name(rail_json_type(value)));
	*ret_container = value;
	return 0;
}

int rail_result_add_interface(struct rail_json *result, enum rail_cni_version version,
			      const char *name, const char *mac, unsigned int mtu,
			      const char *sandbox, int *ret_index, struct rail_error *error)
{
	if (version < RAIL_CNI_0_3_0) {
		*ret_index = -1;
		return 0;
	}

	struct rail_json *interfaces = NULL;
	int outcome = need_container(result, "interfaces", RAIL_JSON_ARRAY, &interfaces, error);
	if (outcome < 0)
		return outcome;

	size_t index = rail_json_count(interfaces);
	RAIL_CLEANUP(rail_json_freep) struct rail_json *entry = rail_json_new_object();
	if (index >= INT_MAX || rail_json_put(entry, "name", rail_json_new_string(name)) < 0)
		return fail_memory(error);
	if (mac[0] != '\0' && rail_json_put(entry, "mac", rail_json_new_string(mac)) < 0)
		return fail_memory(error);
	if (mtu != 0 && version >= RAIL_CNI_1_1_0 &&
	    rail_json_put(entry, "mtu", rail_json_new_integer(mtu)) < 0)
		return fail_memory(error);
	if (sandbox[0] != '\0' &&
	    rail_json_put(entry, "sandbox", rail_json_new_string(sandbox)) < 0)
		return fail_memory(error);
	if (rail_json_append(interfaces, RAIL_TAKE_POINTER(entry)) < 0)
		return fail_memory(error);
	*ret_index = (int)index;
	return 0;
}

int rail_result_add_address(struct rail_json *result, enum rail_cni_version version,
			    const struct in6_addr *address, unsigned int length,
			    int interface_index, struct rail_error *error)
{
	char text[INET6_ADDRSTRLEN];
	char cidr[INET6_ADDRSTRLEN + 16];
	struct rail_json *container = NULL;
	int outcome;

	(void)inet_ntop(AF_INET6, address, text, sizeof(text));
	(void)snprintf(cidr, sizeof(cidr), "%s/%u", text, length);

	if (version < RAIL_CNI_0_3_0) {
		outcome = need_container(result, "ip6", RAIL_JSON_OBJECT, &container, error);
		if (outcome < 0)
			return outcome;
		if (rail_json_get(container, "ip") != NULL)
			return rail_fail_code(error, RAIL_CODE_INVALID_CONFIG, EINVAL,
					      "a result of cniVersion %s has room for one IPv6 "
					      "address, and has one: use cniVersion 0.3.0 or newer",
					      rail_cni_version_names[version]);
		if (rail_json_put(container, "ip", rail_json_new_string(cidr)) < 0)
			return fail_memory(error);
		return 0;
	}

	outcome = need_container(result, "ips", RAIL_JSON_ARRAY, &container, error);
	if (outcome < 0)
		return outcome;

	RAIL_CLEANUP(rail_json_freep) struct rail_json *entry = rail_json_new_object();
	if (version < RAIL_CNI_1_0_0 &&
	    rail_json_put(entry, "version", rail_json_new_string("6")) < 0)
		return fail_memory(error);
	if (interface_index >= 0 &&
	    rail_json_put(entry, "interface", rail_json_new_integer(interface_index)) < 0)
		return fail_memory(error);
	if (rail_json_put(entry, "address", rail_json_new_string(cidr)) < 0 ||
	    rail_json_append(container, RAIL_TAKE_POINTER(entry)) < 0)
		return fail_memory(error);
	return 0;
}

int rail_result_add_route(struct rail_json *result, enum rail_cni_version version,
			  const char *destination, struct rail_error *error)
{
	struct rail_json *holder = result;
	struct rail_json *routes = NULL;
	int outcome = 0;

	if (version < RAIL_CNI_0_3_0)
		outcome = need_container(result, strchr(destination, ':') != NULL ? "ip6" : "ip4",
					 RAIL_JSON_OBJECT, &holder, error);
	if (outcome == 0)
		outcome = need_container(holder, "routes", RAIL_JSON_ARRAY, &routes, error);
	if (outcome < 0)
		return outcome;

	RAIL_CLEANUP(rail_json_freep) struct rail_json *entry = rail_json_new_object();
	if (rail_json_put(entry, "dst", rail_json_new_string(destination)) < 0 ||
	    rail_json_append(routes, RAIL_TAKE_POINTER(entry)) < 0)
		return fail_memory(error);
	return 0;
}

static int put_list(struct rail_json *object, const char *key, const char *const *texts,
		    size_t count)
{
	if (count == 0)
		return 0;

	RAIL_CLEANUP(rail_json_freep) struct rail_json *list = rail_json_new_array();
	for (size_t i = 0; i < count; i++)
		if (rail_json_append(list, rail_json_new_string(texts[i])) < 0)
			return -ENOMEM;
	return rail_json_put(object, key, RAIL_TAKE_POINTER(list));
}

int rail_result_set_dns(struct rail_json *result, const char *const *nameservers,
			size_t nameserver_count, const char *domain, const char *const *search,
			size_t search_count, const char *const *options, size_t option_count,
			struct rail_error *error)
{
	RAIL_CLEANUP(rail_json_freep) struct rail_json *dns = rail_json_new_object();

	if (put_list(dns, "nameservers", nameservers, nameserver_count) < 0)
		return fail_memory(error);
	if (domain != NULL && domain[0] != '\0' &&
	    rail_json_put(dns, "domain", rail_json_new_string(domain)) < 0)
		return fail_memory(error);
	if (put_list(dns, "search", search, search_count) < 0 ||
	    put_list(dns, "options", options, option_count) < 0 ||
	    rail_json_put(result, "dns", RAIL_TAKE_POINTER(dns)) < 0)
		return fail_memory(error);
	return 0;
}

/* ---- reading ---- */

/* A number of at most three digits, 0 to maximum. */
static bool parse_length(const char *text, unsigned int maximum, unsigned int *ret_length)
{
	size_t digits = strspn(text, "0123456789");

	if (digits == 0 || digits > 3 || text[digits] != '\0')
		return false;
	*ret_length = (unsigned int)strtoul(text, NULL, 10);
	return *ret_length <= maximum;
}

/* An address with its prefix length. *ret_found is false for IPv4. */
static int parse_cidr(const struct rail_json *value, struct rail_result_address *ret_address,
		      bool *ret_found, struct rail_error *error)
{
	const char *text = rail_json_string(value);
	char address[INET6_ADDRSTRLEN];
	struct in_addr v4;
	unsigned int length;

	if (text == NULL)
		return fail_malformed(error, "an entry of 'ips' without 'address'");

	const char *slash = strchr(text, '/');
	size_t size = slash != NULL ? (size_t)(slash - text) : 0;
	if (slash != NULL && size < sizeof(address)) {
		memcpy(address, text, size);
		address[size] = '\0';
		if (inet_pton(AF_INET6, address, &ret_address->address) == 1 &&
		    parse_length(slash + 1, 128, &ret_address->length)) {
			*ret_found = true;
			return 0;
		}
		if (inet_pton(AF_INET, address, &v4) == 1 && parse_length(slash + 1, 32, &length)) {
			*ret_found = false;
			return 0;
		}
	}
	return rail_fail_code(error, RAIL_CODE_INVALID_CONFIG, EINVAL,
			      "malformed result: '%.64s' is no address with a prefix length", text);
}

static const struct rail_json *interface_at(const struct rail_json *result, int index)
{
	const struct rail_json *list = rail_json_get(result, "interfaces");

	if (index < 0 || list == NULL || rail_json_type(list) != RAIL_JSON_ARRAY)
		return NULL;

	const struct rail_json *entry = rail_json_first(list);
	for (int i = 0; i < index && entry != NULL; i++)
		entry = rail_json_next(entry);
	return entry;
}

static const char *interface_name(const struct rail_json *result, int index)
{
	return rail_json_string(rail_json_get(interface_at(result, index), "name"));
}

static int parse_interface_index(const struct rail_json *result, const struct rail_json *value,
				 int *ret_index, struct rail_error *error)
{
	int64_t index;

	*ret_index = -1;
	if (value == NULL || rail_json_type(value) == RAIL_JSON_NULL)
		return 0;
	if (rail_json_integer(value, 0, INT_MAX, &index) < 0 ||
	    interface_name(result, (int)index) == NULL)
		return fail_malformed(error, "an 'interface' of 'ips' that is not the place of an "
					     "entry of 'interfaces'");
	*ret_index = (int)index;
	return 0;
}

static int read_list_entry(const struct rail_json *result, const struct rail_json *entry,
			   struct rail_result_address *ret_address, bool *ret_found,
			   struct rail_error *error)
{
	int outcome = parse_cidr(rail_json_get(entry, "address"), ret_address, ret_found, error);

	if (outcome == 0)
		outcome = parse_interface_index(result, rail_json_get(entry, "interface"),
						&ret_address->interface_index, error);
	return outcome;
}

/* The first entry that may hold an address: ip6, or the elements of ips. */
static int first_entry(const struct rail_json *result, enum rail_cni_version version,
		       const struct rail_json **ret_entry, struct rail_error *error)
{
	bool legacy = version < RAIL_CNI_0_3_0;
	const char *key = legacy ? "ip6" : "ips";
	enum rail_json_type type = legacy ? RAIL_JSON_OBJECT : RAIL_JSON_ARRAY;
	const struct rail_json *value = rail_json_get(result, key);

	*ret_entry = NULL;
	if (value == NULL || rail_json_type(value) == RAIL_JSON_NULL)
		return 0;
	if (rail_json_type(value) != type)
		return rail_fail_code(error, RAIL_CODE_INVALID_CONFIG, EINVAL,
				      "malformed result: '%s' must be %s, is %s", key,
				      rail_json_type_name(type),
				      rail_json_type_name(rail_json_type(value)));
	*ret_entry = legacy ? value : rail_json_first(value);
	return 0;
}

int rail_result_each_address(const struct rail_json *result, enum rail_cni_version version,
			     int (*each)(void *context, const struct rail_result_address *address),
			     void *context, struct rail_error *error)
{
	bool legacy = version < RAIL_CNI_0_3_0;
	const struct rail_json *entry = NULL;
	bool any = false;

	int outcome = first_entry(result, version, &entry, error);
	if (outcome < 0)
		return outcome;
	for (; entry != NULL; entry = legacy ? NULL : rail_json_next(entry)) {
		struct rail_result_address address = {.interface_index = -1};
		bool found;

		outcome = legacy ? parse_cidr(rail_json_get(entry, "ip"), &address, &found, error)
				 : read_list_entry(result, entry, &address, &found, error);
		if (outcome < 0)
			return outcome;
		if (!found)
			continue;
		any = true;
		outcome = each(context, &address);
		if (outcome != 0)
			return outcome;
	}
	if (!any)
		return rail_fail_code(error, RAIL_CODE_INVALID_CONFIG, ENOENT,
				      "the result has no IPv6 address");
	return 0;
}

bool rail_result_has_interface(const struct rail_json *result)
{
	for (const struct rail_json *entry = interface_at(result, 0); entry != NULL;
	     entry = rail_json_next(entry)) {
		const char *name = rail_json_string(rail_json_get(entry, "name"));

		if (name != NULL && strcmp(name, "lo") != 0)
			return true;
	}
	return false;
}

int rail_result_assign_address(struct rail_json *result, enum rail_cni_version version,
			       const struct in6_addr *address, int interface_index,
			       struct rail_error *error)
{
	const struct rail_json *entry = NULL;
	int index = 0;

	if (version < RAIL_CNI_0_3_0)
		return 0;
	int outcome = first_entry(result, version, &entry, error);
	for (; outcome == 0 && entry != NULL; entry = rail_json_next(entry), index++) {
		struct rail_result_address candidate = {.interface_index = -1};
		bool found = false;

		outcome = read_list_entry(result, entry, &candidate, &found, error);
		if (outcome < 0 || !found ||
		    memcmp(&candidate.address, address, sizeof(*address)) != 0)
			continue;
		struct rail_json *own = rail_json_first(rail_json_get(result, "ips"));
		while (index-- > 0)
			own = rail_json_next(own);
		if (rail_json_put(own, "interface", rail_json_new_integer(interface_index)) < 0)
			return fail_memory(error);
		return 0;
	}
	if (outcome < 0)
		return outcome;
	return rail_fail_code(error, RAIL_CODE_INVALID_CONFIG, ENOENT,
			      "prevResult does not have the leased address");
}
