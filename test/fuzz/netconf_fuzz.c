#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "pkg/base/cleanup.h"
#include "pkg/cni/call.h"
#include "pkg/cni/result.h"
#include "pkg/config/settings.h"

/* A network configuration as a runtime may send it, up to a plugin's own code. */

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static const char *command;

static const char *get_variable(const char *name)
{
	static const struct {
		const char *name;
		const char *value;
	} variables[] = {
		{"CNI_CONTAINERID", "9c3e55aea"},
		{"CNI_NETNS", "/run/netns/x"},
		{"CNI_IFNAME", "eth0"},
		{"CNI_PATH", "/opt/cni/bin"},
		{"CNI_ARGS", "IgnoreUnknown=1;K8S_POD_NAME=web-0;K8S_POD_NAMESPACE=demo"},
	};

	if (strcmp(name, "CNI_COMMAND") == 0)
		return command;
	for (size_t i = 0; i < sizeof(variables) / sizeof(variables[0]); i++)
		if (strcmp(variables[i].name, name) == 0)
			return variables[i].value;
	return NULL;
}

/* Printed, read and printed again, a document is the same. */
static void check_round_trip(const struct rail_json *document)
{
	RAIL_FREE char *once = rail_json_print(document);
	RAIL_CLEANUP(rail_json_freep) struct rail_json *again = NULL;

	if (once == NULL)
		abort();
	/* Escapes may have made it larger than what is read. */
	if (strlen(once) > RAIL_JSON_SIZE_MAXIMUM)
		return;
	if (rail_json_parse(once, strlen(once), &again, NULL) < 0)
		abort();

	RAIL_FREE char *twice = rail_json_print(again);
	if (twice == NULL || strcmp(once, twice) != 0)
		abort();
}

static void check_error(const struct rail_error *error)
{
	RAIL_FREE char *text = rail_error_print(RAIL_CNI_1_1_0, error);
	RAIL_CLEANUP(rail_json_freep) struct rail_json *document = NULL;

	if (error->errnum == 0 || error->message[0] == '\0' || rail_error_code(error) <= 0)
		abort();
	if (text == NULL || rail_json_parse(text, strlen(text), &document, NULL) < 0)
		abort();
}

static int ignore_address(void *context, const struct rail_result_address *address)
{
	(void)context;
	if (address->length > 128)
		abort();
	return 0;
}

static void use_result(const struct rail_cni_call *call)
{
	RAIL_CLEANUP(rail_json_freep) struct rail_json *result = NULL;
	const struct in6_addr address = {.s6_addr = {0xfd}};
	struct rail_error error = RAIL_ERROR_NONE;
	int index = -1;

	if (rail_result_begin(call, &result, &error) < 0) {
		check_error(&error);
		return;
	}
	(void)rail_result_each_address(result, call->version, ignore_address, NULL, &error);
	(void)rail_result_has_interface(result);
	if (rail_result_add_interface(result, call->version, "eth0", "", 1420, "/run/netns/x",
				      &index, &error) < 0 ||
	    rail_result_add_address(result, call->version, &address, 64, index, &error) < 0 ||
	    rail_result_add_route(result, call->version, "fd00::/48", &error) < 0)
		check_error(&error);
	check_round_trip(result);
}

static void use_call(struct rail_cni_call *call)
{
	static const enum rail_plugin plugins[] = {RAIL_PLUGIN_IPAM, RAIL_PLUGIN_MESH,
						   RAIL_PLUGIN_DNS};

	(void)rail_cni_capability(call, "dns");
	(void)rail_cni_argument(call, "RAILWAY_SERVICE");
	check_round_trip(call->document);
	use_result(call);

	/* Files of the machine are not opened. */
	rail_json_remove(call->document, "config");
	rail_json_remove(rail_json_get(call->document, "ipam"), "config");
	for (size_t i = 0; i < sizeof(plugins) / sizeof(plugins[0]); i++) {
		struct rail_settings settings;
		struct rail_error error = RAIL_ERROR_NONE;

		if (rail_settings_of_call(call, plugins[i], &settings, &error) < 0)
			check_error(&error);
	}
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static const char *const commands[] = {"ADD", "GC"};

	for (size_t i = 0; i < sizeof(commands) / sizeof(commands[0]); i++) {
		RAIL_CLEANUP(rail_cni_call_done) struct rail_cni_call call;
		struct rail_error error = RAIL_ERROR_NONE;

		command = commands[i];
		if (rail_cni_call_read(get_variable, (const char *)data, size, &call, &error) == 0)
			use_call(&call);
		else
			check_error(&error);
	}
	return 0;
}
