#include <ctype.h>
#include <errno.h>
#include <limits.h>
#include <net/if.h>
#include <stdio.h>
#include <string.h>
#include <strings.h>

#include "pkg/cni/call_internal.h"

/* The variables of a call (CNI specification 1.1.0, section 2, "Parameters"). */

enum {
	NAME_LENGTH_MAXIMUM = 256,
	ARGUMENTS_LENGTH_MAXIMUM = 64 * 1024,
	ARGUMENTS_COUNT_MAXIMUM = 1024,
};

static int fail(struct rail_error *error, const char *variable, const char *value, const char *what)
{
	return rail_fail_code(error, RAIL_CODE_INVALID_ENVIRONMENT, EINVAL,
			      "environment variable %s='%.64s': %s", variable, value, what);
}

bool rail_call_name_valid(const char *name)
{
	/* Not isalnum(), which asks the locale. */
	static const char letters[] = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ"
				      "0123456789_.-";

	return name[0] != '\0' && strchr("_.-", name[0]) == NULL &&
	       name[strspn(name, letters)] == '\0';
}

const char *rail_cni_interface_fault(const char *name)
{
	if (name[0] == '\0')
		return "empty";
	if (strlen(name) >= IFNAMSIZ)
		return "longer than 15 bytes";
	if (strcmp(name, ".") == 0 || strcmp(name, "..") == 0)
		return "'.' and '..' are no names for an interface";
	if (strpbrk(name, "/:%") != NULL)
		return "the name of an interface has no '/', ':' and '%'";
	for (const char *c = name; *c != '\0'; c++)
		if (isspace((unsigned char)*c) || iscntrl((unsigned char)*c))
			return "the name of an interface has no blanks and control characters";
	return NULL;
}

static const char *container_id_fault(const char *value)
{
	if (strlen(value) > NAME_LENGTH_MAXIMUM)
		return "longer than 256 bytes";
	if (!rail_call_name_valid(value))
		return "must be a letter or digit, followed by letters, digits, '_', '.' and '-'";
	return NULL;
}

static const char *netns_fault(const char *value)
{
	return strlen(value) >= PATH_MAX ? "longer than a path may be" : NULL;
}

#define COMMAND(command) (1U << RAIL_CNI_##command)

static const struct variable {
	const char *name;
	size_t offset; /* of a const char * in struct rail_cni_call */
	unsigned int required;
	unsigned int used;
	const char *(*fault)(const char *value);
} variables[] = {
	{
		.name = "CNI_CONTAINERID",
		.offset = offsetof(struct rail_cni_call, container_id),
		.required = COMMAND(ADD) | COMMAND(CHECK) | COMMAND(DEL),
		.fault = container_id_fault,
	},
	{
		.name = "CNI_NETNS",
		.offset = offsetof(struct rail_cni_call, netns),
		.required = COMMAND(ADD) | COMMAND(CHECK),
		/* A DEL may come when the netns is gone, without its path. */
		.used = COMMAND(DEL),
		.fault = netns_fault,
	},
	{
		.name = "CNI_IFNAME",
		.offset = offsetof(struct rail_cni_call, interface),
		.required = COMMAND(ADD) | COMMAND(CHECK) | COMMAND(DEL),
		.fault = rail_cni_interface_fault,
	},
	{
		.name = "CNI_PATH",
		.offset = offsetof(struct rail_cni_call, path),
		.required = COMMAND(ADD) | COMMAND(CHECK) | COMMAND(DEL) | COMMAND(GC) |
			    COMMAND(STATUS),
	},
};

#define VARIABLE_COUNT (sizeof(variables) / sizeof(variables[0]))

static const char *value_of(const char *(*get_variable)(const char *name), const char *name)
{
	const char *value = get_variable(name);

	return value != NULL ? value : "";
}

int rail_call_read_command(const char *(*get_variable)(const char *name),
			   struct rail_cni_call *call, struct rail_error *error)
{
	static const struct {
		const char *name;
		enum rail_cni_command command;
	} commands[] = {
		{"ADD", RAIL_CNI_ADD}, {"DEL", RAIL_CNI_DEL},	    {"CHECK", RAIL_CNI_CHECK},
		{"GC", RAIL_CNI_GC},   {"STATUS", RAIL_CNI_STATUS}, {"VERSION", RAIL_CNI_VERSION},
	};
	const char *name = value_of(get_variable, "CNI_COMMAND");

	if (name[0] == '\0')
		return rail_fail_code(error, RAIL_CODE_INVALID_ENVIRONMENT, EINVAL,
				      "missing in the environment: CNI_COMMAND");
	for (size_t i = 0; i < sizeof(commands) / sizeof(commands[0]); i++) {
		if (strcmp(name, commands[i].name) == 0) {
			call->command = commands[i].command;
			return 0;
		}
	}
	return fail(error, "CNI_COMMAND", name, "must be ADD, DEL, CHECK, GC, STATUS or VERSION");
}

static bool is_one_of(const char *value, const char *one, const char *other)
{
	return strcasecmp(value, one) == 0 || strcasecmp(value, other) == 0;
}

static int read_truth(const char *variable, const char *value, bool *ret_truth,
		      struct rail_error *error)
{
	if (is_one_of(value, "1", "true"))
		*ret_truth = true;
	else if (is_one_of(value, "0", "false") || value[0] == '\0')
		*ret_truth = false;
	else
		return fail(error, variable, value, "must be 1, true, 0 or false");
	return 0;
}

static bool argument_known(const char *key)
{
	return strcmp(key, "IgnoreUnknown") == 0 || strcmp(key, "IP") == 0 ||
	       strcmp(key, "MAC") == 0 || strcmp(key, "ENABLE_ALPINE_PRIVATE_NETWORKING") == 0 ||
	       strncmp(key, "K8S_", 4) == 0 || strncmp(key, "NOMAD_", 6) == 0 ||
	       strncmp(key, "RAILWAY_", 8) == 0;
}

/* One part, which is cut at its '='. Adds to list, which has room. */
static int read_argument(char *part, struct rail_pair *list, size_t *count,
			 struct rail_error *error)
{
	char *equals = strchr(part, '=');

	if (equals == NULL || equals == part)
		return fail(error, "CNI_ARGS", part,
			    "each part between ';' must be a key, '=' and a value");
	*equals = '\0';
	for (size_t i = 0; i < *count; i++) {
		if (strcmp(list[i].key, part) != 0)
			continue;
		if (strcmp(list[i].value, equals + 1) == 0)
			return 0;
		return fail(error, "CNI_ARGS", part, "the key is there twice, with two values");
	}
	list[(*count)++] = (struct rail_pair){.key = part, .value = equals + 1};
	return 0;
}

static int check_unknown(struct rail_cni_call *call, struct rail_error *error)
{
	int result = 0;

	for (size_t i = 0; i < call->arguments.count && result == 0; i++)
		if (strcmp(call->arguments.pairs[i].key, "IgnoreUnknown") == 0)
			result = read_truth("CNI_ARGS, IgnoreUnknown",
					    call->arguments.pairs[i].value,
					    &call->ignore_unknown_arguments, error);
	if (result < 0 || call->ignore_unknown_arguments)
		return result;

	for (size_t i = 0; i < call->arguments.count; i++)
		if (!argument_known(call->arguments.pairs[i].key))
			return fail(error, "CNI_ARGS", call->arguments.pairs[i].key,
				    "unknown key; IgnoreUnknown=1 lets it pass");
	return 0;
}

static int read_arguments(const char *text, bool lenient, struct rail_cni_call *call,
			  struct rail_error *error)
{
	size_t parts = 1;
	size_t count = 0;

	for (const char *c = strchr(text, ';'); c != NULL; c = strchr(c + 1, ';'))
		parts++;
	if (strlen(text) > ARGUMENTS_LENGTH_MAXIMUM || parts > ARGUMENTS_COUNT_MAXIMUM)
		return fail(error, "CNI_ARGS", text, "more than 64 KiB, or more than 1024 keys");

	char *rest = rail_call_keep_text(call, text);
	struct rail_pair *list = rail_call_keep(call, parts, sizeof(*list));
	if (rest == NULL || list == NULL)
		return rail_fail_errno(error, ENOMEM, "read CNI_ARGS");

	for (char *part = strsep(&rest, ";"); part != NULL; part = strsep(&rest, ";")) {
		int result = read_argument(part, list, &count, error);
		if (result < 0 && !lenient)
			return result;
	}
	call->arguments = (struct rail_pairs){.pairs = list, .count = count};
	return check_unknown(call, error);
}

int rail_call_read_arguments(const char *text, struct rail_cni_call *call, struct rail_error *error)
{
	if (text[0] == '\0')
		return 0;
	/* A DEL that failed where its ADD did would leave the pod undeletable. */
	if (call->command == RAIL_CNI_DEL) {
		(void)read_arguments(text, /*lenient=*/true, call, NULL);
		return 0;
	}
	return read_arguments(text, /*lenient=*/false, call, error);
}

int rail_call_read_environment(const char *(*get_variable)(const char *name),
			       struct rail_cni_call *call, struct rail_error *error)
{
	unsigned int command = 1U << call->command;
	char missing[128] = "";

	for (size_t i = 0; i < VARIABLE_COUNT; i++) {
		const struct variable *variable = &variables[i];
		const char *value = value_of(get_variable, variable->name);
		size_t length = strlen(missing);

		if ((variable->required & command) != 0 && value[0] == '\0')
			(void)snprintf(missing + length, sizeof(missing) - length, "%s%s",
				       length == 0 ? "" : ", ", variable->name);
	}
	if (missing[0] != '\0')
		return rail_fail_code(error, RAIL_CODE_INVALID_ENVIRONMENT, EINVAL,
				      "missing in the environment: %s", missing);

	for (size_t i = 0; i < VARIABLE_COUNT; i++) {
		const struct variable *variable = &variables[i];
		const char *value = value_of(get_variable, variable->name);

		if (((variable->required | variable->used) & command) == 0)
			continue;

		const char *fault = variable->fault != NULL ? variable->fault(value) : NULL;
		if (fault != NULL)
			return fail(error, variable->name, value, fault);
		memcpy((char *)call + variable->offset, &value, sizeof(value));
	}

	if ((command & (COMMAND(ADD) | COMMAND(CHECK) | COMMAND(DEL))) == 0)
		return 0;
	int result = read_truth("CNI_NETNS_OVERRIDE", value_of(get_variable, "CNI_NETNS_OVERRIDE"),
				&call->netns_override, error);
	if (result < 0)
		return result;
	return rail_call_read_arguments(value_of(get_variable, "CNI_ARGS"), call, error);
}
