#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "pkg/base/cleanup.h"
#include "pkg/cni/call_internal.h"

/* The network configuration of a call (CNI specification 1.1.0, section 1). */

enum {
	NETWORK_LENGTH_MAXIMUM = 128,
};

#define ANNOTATIONS "io.kubernetes.cri.pod-annotations"

static int fail(struct rail_error *error, const char *key, const char *what)
{
	return rail_fail_code(error, RAIL_CODE_INVALID_CONFIG, EINVAL,
			      "network configuration, key '%.128s': %s", key, what);
}

static int fail_type(struct rail_error *error, const char *key, const struct rail_json *value,
		     enum rail_json_type wanted)
{
	return rail_fail_code(error, RAIL_CODE_INVALID_CONFIG, EINVAL,
			      "network configuration, key '%.128s': must be %s, is %s", key,
			      rail_json_type_name(wanted),
			      rail_json_type_name(rail_json_type(value)));
}

/* A member that may be missing or null (NULL then) and else must be of a type. path is what an
 * error calls it. */
static int read_member(const struct rail_json *object, const char *key, const char *path,
		       enum rail_json_type type, const struct rail_json **ret_value,
		       struct rail_error *error)
{
	const struct rail_json *value = rail_json_get(object, key);

	if (value != NULL && rail_json_type(value) == RAIL_JSON_NULL)
		value = NULL;
	if (value != NULL && rail_json_type(value) != type)
		return fail_type(error, path, value, type);
	*ret_value = value;
	return 0;
}

bool rail_cni_type_valid(const char *type)
{
	return type[0] != '\0' && strcmp(type, ".") != 0 && strcmp(type, "..") != 0 &&
	       strchr(type, '/') == NULL && strlen(type) <= 255;
}

int rail_call_read_version(struct rail_cni_call *call, struct rail_error *error)
{
	if (rail_json_type(call->document) != RAIL_JSON_OBJECT)
		return rail_fail_code(error, RAIL_CODE_DECODE, EINVAL,
				      "the network configuration on standard input is %s, not an "
				      "object",
				      rail_json_type_name(rail_json_type(call->document)));

	const struct rail_json *value = NULL;
	int result = read_member(call->document, "cniVersion", "cniVersion", RAIL_JSON_STRING,
				 &value, error);
	if (result < 0)
		return result;
	if (value == NULL) {
		/* Configurations without the key are older than the key. */
		call->version = RAIL_CNI_0_2_0;
		return 0;
	}
	if (rail_cni_version_parse(rail_json_string(value), &call->version) == 0)
		return 0;

	char known[128] = "";
	for (int i = 0; i < RAIL_CNI_VERSION_COUNT; i++) {
		size_t length = strlen(known);

		(void)snprintf(known + length, sizeof(known) - length, "%s%s", i == 0 ? "" : ", ",
			       rail_cni_version_names[i]);
	}
	return rail_fail_code(error, RAIL_CODE_INCOMPATIBLE_VERSION, EINVAL,
			      "network configuration, key 'cniVersion': '%.64s' is not one of the "
			      "versions that are supported (%s)",
			      rail_json_string(value), known);
}

static int check_command(const struct rail_cni_call *call, struct rail_error *error)
{
	static const struct {
		const char *name;
		enum rail_cni_version since;
	} commands[] = {
		[RAIL_CNI_ADD] = {"ADD", RAIL_CNI_0_1_0},
		[RAIL_CNI_DEL] = {"DEL", RAIL_CNI_0_1_0},
		[RAIL_CNI_CHECK] = {"CHECK", RAIL_CNI_0_4_0},
		[RAIL_CNI_GC] = {"GC", RAIL_CNI_1_1_0},
		[RAIL_CNI_STATUS] = {"STATUS", RAIL_CNI_1_1_0},
		[RAIL_CNI_VERSION] = {"VERSION", RAIL_CNI_0_1_0},
	};

	if (call->version >= commands[call->command].since)
		return 0;
	return rail_fail_code(error, RAIL_CODE_INCOMPATIBLE_VERSION, EINVAL,
			      "the configuration's cniVersion %s has no %s, which came with %s",
			      rail_cni_version_names[call->version], commands[call->command].name,
			      rail_cni_version_names[commands[call->command].since]);
}

static int read_name(struct rail_cni_call *call, struct rail_error *error)
{
	const struct rail_json *value = NULL;
	int result = read_member(call->document, "name", "name", RAIL_JSON_STRING, &value, error);

	if (result < 0)
		return result;
	if (value == NULL)
		return fail(error, "name", "missing");
	call->network = rail_json_string(value);
	if (strlen(call->network) > NETWORK_LENGTH_MAXIMUM || !rail_call_name_valid(call->network))
		return rail_fail_code(error, RAIL_CODE_INVALID_CONFIG, EINVAL,
				      "network configuration, key 'name': '%.64s' must be a letter "
				      "or digit, followed by letters, digits, '_', '.' and '-', "
				      "128 bytes at most",
				      call->network);
	return 0;
}

static int read_type(const struct rail_json *object, const char *path, const char **ret_type,
		     struct rail_error *error)
{
	const struct rail_json *value = NULL;
	int result = read_member(object, "type", path, RAIL_JSON_STRING, &value, error);

	if (result < 0)
		return result;
	if (value == NULL)
		return fail(error, path, "missing");

	const char *type = rail_json_string(value);
	if (!rail_cni_type_valid(type))
		return rail_fail_code(error, RAIL_CODE_INVALID_CONFIG, EINVAL,
				      "network configuration, key '%s': '%.64s' is not the name of "
				      "a plugin's file",
				      path, type);
	*ret_type = type;
	return 0;
}

static int read_ipam(struct rail_cni_call *call, struct rail_error *error)
{
	const struct rail_json *ipam = NULL;
	const char *type = NULL;
	int result = read_member(call->document, "ipam", "ipam", RAIL_JSON_OBJECT, &ipam, error);

	if (result < 0 || ipam == NULL || rail_json_first(ipam) == NULL)
		return result;
	result = read_type(ipam, "ipam.type", &type, error);
	if (result < 0)
		return result;
	call->ipam = ipam;
	return 0;
}

/* The members of an object of strings. */
static int read_pairs(struct rail_cni_call *call, const struct rail_json *object, const char *path,
		      struct rail_pairs *ret_pairs, struct rail_error *error)
{
	size_t count = rail_json_count(object);
	struct rail_pair *pairs = rail_call_keep(call, count, sizeof(*pairs));
	size_t i = 0;

	if (pairs == NULL)
		return rail_fail_errno(error, ENOMEM, "read the network configuration");
	for (const struct rail_json *value = rail_json_first(object); value != NULL;
	     value = rail_json_next(value)) {
		if (rail_json_type(value) != RAIL_JSON_STRING) {
			char inner[192];

			(void)snprintf(inner, sizeof(inner), "%s.%s", path, rail_json_key(value));
			return fail_type(error, inner, value, RAIL_JSON_STRING);
		}
		pairs[i++] = (struct rail_pair){
			.key = rail_json_key(value),
			.value = rail_json_string(value),
		};
	}
	*ret_pairs = (struct rail_pairs){.pairs = pairs, .count = count};
	return 0;
}

static int read_runtime_config(struct rail_cni_call *call, struct rail_error *error)
{
	static const struct {
		const char *name;
		enum rail_json_type type;
	} capabilities[] = {
		{ANNOTATIONS, RAIL_JSON_OBJECT},
		{"dns", RAIL_JSON_OBJECT},
		{"ips", RAIL_JSON_ARRAY},
	};
	const struct rail_json *runtime = NULL;
	int result = read_member(call->document, "runtimeConfig", "runtimeConfig", RAIL_JSON_OBJECT,
				 &runtime, error);

	if (result < 0 || runtime == NULL)
		return result;
	for (size_t i = 0; i < sizeof(capabilities) / sizeof(capabilities[0]); i++) {
		const struct rail_json *value = rail_cni_capability(call, capabilities[i].name);

		if (value != NULL && rail_json_type(value) != capabilities[i].type) {
			char path[64];

			(void)snprintf(path, sizeof(path), "runtimeConfig.%s",
				       capabilities[i].name);
			return fail_type(error, path, value, capabilities[i].type);
		}
	}

	const struct rail_json *annotations = rail_cni_capability(call, ANNOTATIONS);
	if (annotations == NULL)
		return 0;
	return read_pairs(call, annotations, "runtimeConfig." ANNOTATIONS, &call->annotations,
			  error);
}

/* [{"key": ..., "value": ...}] (CONVENTIONS.md of the CNI project). */
static int read_labels(struct rail_cni_call *call, const struct rail_json *cni,
		       struct rail_error *error)
{
	const struct rail_json *list = NULL;
	int result = read_member(cni, "labels", "args.cni.labels", RAIL_JSON_ARRAY, &list, error);

	if (result < 0 || list == NULL)
		return result;

	size_t count = rail_json_count(list);
	struct rail_pair *pairs = rail_call_keep(call, count, sizeof(*pairs));
	size_t i = 0;

	if (pairs == NULL)
		return rail_fail_errno(error, ENOMEM, "read the network configuration");
	for (const struct rail_json *label = rail_json_first(list); label != NULL;
	     label = rail_json_next(label)) {
		const char *key = rail_json_string(rail_json_get(label, "key"));
		const char *value = rail_json_string(rail_json_get(label, "value"));

		if (key == NULL || value == NULL)
			return fail(error, "args.cni.labels",
				    "each entry must be an object with the strings 'key' and "
				    "'value'");
		pairs[i++] = (struct rail_pair){.key = key, .value = value};
	}
	call->labels = (struct rail_pairs){.pairs = pairs, .count = count};
	return 0;
}

/* The text of a string, number or boolean; NULL for the others. */
static int keep_scalar(struct rail_cni_call *call, const struct rail_json *value,
		       const char **ret_text, struct rail_error *error)
{
	switch (rail_json_type(value)) {
	case RAIL_JSON_STRING:
		*ret_text = rail_json_string(value);
		return 0;
	case RAIL_JSON_NUMBER:
	case RAIL_JSON_BOOLEAN: {
		RAIL_FREE char *text = rail_json_print(value);
		char *kept = text != NULL ? rail_call_keep_text(call, text) : NULL;

		if (kept == NULL)
			return rail_fail_errno(error, ENOMEM, "read the network configuration");
		*ret_text = kept;
		return 0;
	}
	default:
		*ret_text = NULL;
		return 0;
	}
}

static int read_args(struct rail_cni_call *call, struct rail_error *error)
{
	const struct rail_json *args = NULL;
	const struct rail_json *cni = NULL;
	int result = read_member(call->document, "args", "args", RAIL_JSON_OBJECT, &args, error);

	if (result == 0 && args != NULL)
		result = read_member(args, "cni", "args.cni", RAIL_JSON_OBJECT, &cni, error);
	if (result < 0 || cni == NULL)
		return result;

	struct rail_pair *pairs = rail_call_keep(call, rail_json_count(cni), sizeof(*pairs));
	size_t count = 0;

	if (pairs == NULL)
		return rail_fail_errno(error, ENOMEM, "read the network configuration");
	for (const struct rail_json *value = rail_json_first(cni); value != NULL;
	     value = rail_json_next(value)) {
		const char *text = NULL;

		result = keep_scalar(call, value, &text, error);
		if (result < 0)
			return result;
		if (text != NULL)
			pairs[count++] =
				(struct rail_pair){.key = rail_json_key(value), .value = text};
	}
	call->cni_arguments = (struct rail_pairs){.pairs = pairs, .count = count};
	return read_labels(call, cni, error);
}

/* Adds the entries of one list to the call's, which have room. */
static int add_valid_attachments(struct rail_cni_call *call, const struct rail_json *list,
				 const char *key, struct rail_error *error)
{
	for (const struct rail_json *entry = rail_json_first(list); entry != NULL;
	     entry = rail_json_next(entry)) {
		const char *id = rail_json_string(rail_json_get(entry, "containerID"));
		const char *interface = rail_json_string(rail_json_get(entry, "ifname"));

		if (id == NULL || id[0] == '\0' || interface == NULL || interface[0] == '\0')
			return fail(error, key,
				    "each entry must be an object with the strings 'containerID' "
				    "and 'ifname'");
		call->valid_attachments[call->valid_attachment_count++] =
			(struct rail_cni_valid_attachment){
				.container_id = id,
				.interface = interface,
			};
	}
	return 0;
}

static int read_valid_attachments(struct rail_cni_call *call, struct rail_error *error)
{
	/* The reference library sends the list under both names. What stands in either is valid,
	 * and a list that is not there must never be taken for an empty one: both mistakes would
	 * remove what lives. */
	static const char *const keys[] = {"cni.dev/valid-attachments", "cni.dev/attachments"};
	const struct rail_json *lists[2] = {NULL};
	size_t count = 0;

	for (size_t i = 0; i < 2; i++) {
		int result = read_member(call->document, keys[i], keys[i], RAIL_JSON_ARRAY,
					 &lists[i], error);
		if (result < 0)
			return result;
		if (lists[i] != NULL)
			count += rail_json_count(lists[i]);
	}
	if (lists[0] == NULL && lists[1] == NULL)
		return 0;

	call->valid_attachments = rail_call_keep(call, count, sizeof(*call->valid_attachments));
	if (call->valid_attachments == NULL)
		return rail_fail_errno(error, ENOMEM, "read the network configuration");
	for (size_t i = 0; i < 2; i++) {
		int result = add_valid_attachments(call, lists[i], keys[i], error);
		if (result < 0)
			return result;
	}
	call->has_valid_attachments = true;
	return 0;
}

int rail_call_read_configuration(struct rail_cni_call *call, struct rail_error *error)
{
	int result = check_command(call, error);

	if (result == 0)
		result = read_name(call, error);
	if (result == 0)
		result = read_type(call->document, "type", &call->type, error);
	if (result == 0)
		result = read_ipam(call, error);
	if (result == 0)
		result = read_member(call->document, "prevResult", "prevResult", RAIL_JSON_OBJECT,
				     &call->prev_result, error);
	if (result == 0)
		result = read_runtime_config(call, error);
	if (result == 0)
		result = read_args(call, error);
	if (result == 0 && call->command == RAIL_CNI_GC)
		result = read_valid_attachments(call, error);
	return result;
}
