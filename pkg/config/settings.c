#include "pkg/config/settings.h"

#include <ctype.h>
#include <errno.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>

#include "pkg/base/cleanup.h"
#include "pkg/base/file.h"
#include "pkg/config/settings_values.h"

enum place {
	PLACE_NODE = 1 << 0,	/* the node's file */
	PLACE_NETWORK = 1 << 1, /* the network configuration */
	PLACE_IPAM = 1 << 2,	/* its ipam section */
	DEL_KEY = 1 << 3,	/* anywhere: what a DEL goes by */
};

#define IPAM RAIL_PLUGIN_IPAM
#define MESH RAIL_PLUGIN_MESH
#define DNS RAIL_PLUGIN_DNS
#define ALL (IPAM | MESH | DNS)
#define N_KEY (PLACE_NODE | PLACE_NETWORK | PLACE_IPAM)
#define CONFIG_KEY (PLACE_NETWORK | PLACE_IPAM)
#define FIELD(name) offsetof(struct rail_settings, name)

/*
 * A key that railway-ipam has may stand in the ipam section too. read is NULL for what is looked at
 * elsewhere.
 */
static const struct key {
	const char *name;
	unsigned int places;
	unsigned int plugins;
	rail_config_reader *read;
	size_t field;
} keys[] = {
	{"config", CONFIG_KEY, ALL, NULL, 0},
	{"stateDirectory", N_KEY | DEL_KEY, ALL, rail_config_read_path, FIELD(state_directory)},
	{"runDirectory", N_KEY | DEL_KEY, ALL, rail_config_read_path, FIELD(run_directory)},
	{"resolverSocket", N_KEY | DEL_KEY, ALL, rail_config_read_socket, FIELD(resolver_socket)},
	{"meshSocket", N_KEY | DEL_KEY, ALL, rail_config_read_socket, FIELD(mesh_socket)},
	{"endpoint", N_KEY, ALL, rail_config_read_endpoint, FIELD(endpoint)},
	{"listenPorts", N_KEY, ALL, rail_config_read_listen_ports, FIELD(listen_ports)},
	{"cluster", N_KEY, ALL, rail_config_read_cluster, FIELD(cluster)},

	{"transport", PLACE_NETWORK, MESH, rail_config_read_transport, FIELD(transport)},
	{"mtu", PLACE_NETWORK, MESH, rail_config_read_mtu, FIELD(mtu)},
	{"interface", PLACE_NETWORK, MESH, rail_config_read_interface, FIELD(interface)},

	{"pool", CONFIG_KEY, IPAM | MESH, rail_config_read_pool, FIELD(pool)},

	{"environment", CONFIG_KEY, ALL, rail_config_read_text, FIELD(environment)},
	{"service", CONFIG_KEY, ALL, rail_config_read_text, FIELD(service)},
	{"replica", CONFIG_KEY, ALL, rail_config_read_text, FIELD(replica)},
	{"trustArgs", CONFIG_KEY, ALL, rail_config_read_boolean, FIELD(trust_arguments)},
	{"enabled", CONFIG_KEY, ALL, rail_config_read_boolean, FIELD(enabled)},

	{"ttl", PLACE_NETWORK, DNS, rail_config_read_ttl, FIELD(ttl_s)},
	{"upstreams", PLACE_NETWORK, DNS, rail_config_read_upstreams, FIELD(upstreams)},
	{"fallbackNameservers", PLACE_NETWORK, DNS, rail_config_read_fallback_nameservers,
	 FIELD(fallback_nameservers)},
	{"searchDomains", PLACE_NETWORK, DNS, rail_config_read_search_domains,
	 FIELD(search_domains)},
	{"intercept", PLACE_NETWORK, DNS, rail_config_read_intercept, FIELD(intercept)},
	{"dnsPort", PLACE_NETWORK, DNS, rail_config_read_port, FIELD(dns_port)},
};

/* What CNI itself puts into a plugin's configuration; and "cni.dev/...". */
static const char *const cni_keys[] = {
	"cniVersion",
	"cniVersions",
	"name",
	"type",
	"ipam",
	"dns",
	"args",
	"runtimeConfig",
	"capabilities",
	"prevResult",
	"disableCheck",
	"disableGC",
	"loadOnlyInlinedPlugins",
};

#define COUNT(array) (sizeof(array) / sizeof((array)[0]))

static const struct key *find_key(const char *name)
{
	for (size_t i = 0; i < COUNT(keys); i++)
		if (strcmp(keys[i].name, name) == 0)
			return &keys[i];
	return NULL;
}

static bool is_cni_key(const char *name)
{
	for (size_t i = 0; i < COUNT(cni_keys); i++)
		if (strcmp(cni_keys[i], name) == 0)
			return true;
	return strncmp(name, "cni.dev/", strlen("cni.dev/")) == 0;
}

/* ---- misspelt keys ---- */

#define KEY_LENGTH_MAXIMUM 64

static unsigned int minimum(unsigned int one, unsigned int other)
{
	return one < other ? one : other;
}

static bool same_letter(char one, char other)
{
	return tolower((unsigned char)one) == tolower((unsigned char)other);
}

/* The optimal string alignment distance, ignoring case: insertions, deletions, substitutions and
 * transpositions of neighbours. Both have at most KEY_LENGTH_MAXIMUM bytes. */
static unsigned int distance(const char *one, const char *other)
{
	unsigned int costs[KEY_LENGTH_MAXIMUM + 1][KEY_LENGTH_MAXIMUM + 1];
	size_t rows = strlen(one);
	size_t columns = strlen(other);

	for (size_t i = 0; i <= rows; i++)
		costs[i][0] = (unsigned int)i;
	for (size_t j = 0; j <= columns; j++)
		costs[0][j] = (unsigned int)j;
	for (size_t i = 1; i <= rows; i++) {
		for (size_t j = 1; j <= columns; j++) {
			bool same = same_letter(one[i - 1], other[j - 1]);
			unsigned int cost = costs[i - 1][j - 1] + (same ? 0 : 1);

			cost = minimum(cost, costs[i - 1][j] + 1);
			cost = minimum(cost, costs[i][j - 1] + 1);
			if (i > 1 && j > 1 && same_letter(one[i - 1], other[j - 2]) &&
			    same_letter(one[i - 2], other[j - 1]))
				cost = minimum(cost, costs[i - 2][j - 2] + 1);
			costs[i][j] = cost;
		}
	}
	return costs[rows][columns];
}

const char *rail_settings_nearest_key(const char *key)
{
	size_t length = strlen(key);
	unsigned int best = (unsigned int)(length / 3) + 1;
	const char *nearest = NULL;

	if (length > KEY_LENGTH_MAXIMUM)
		return NULL;
	for (size_t i = 0; i < COUNT(keys) + COUNT(cni_keys); i++) {
		const char *known = i < COUNT(keys) ? keys[i].name : cni_keys[i - COUNT(keys)];
		unsigned int far = distance(key, known);

		if (far < best) {
			best = far;
			nearest = known;
		}
	}
	return nearest;
}

static int fail_unknown(const struct rail_config_value *value)
{
	const char *nearest = rail_settings_nearest_key(value->key);
	RAIL_FREE char *text = rail_json_print(value->json);

	return rail_fail_code(value->error, RAIL_CODE_UNSUPPORTED_FIELD, EINVAL,
			      "%.300s: unknown key '%.64s' (value %.64s)%s%s%s", value->place,
			      value->key, text != NULL ? text : "?",
			      nearest != NULL ? "; did you mean '" : "",
			      nearest != NULL ? nearest : "", nearest != NULL ? "'?" : "");
}

/* ---- where a key may stand ---- */

/* "railway-ipam, railway-mesh" */
static void name_plugins(unsigned int plugins, char text[64])
{
	static const struct {
		unsigned int plugin;
		const char *name;
	} names[] = {{IPAM, "railway-ipam"}, {MESH, "railway-mesh"}, {DNS, "railway-dns"}};

	text[0] = '\0';
	for (size_t i = 0; i < COUNT(names); i++) {
		size_t length = strlen(text);

		if ((plugins & names[i].plugin) != 0)
			(void)snprintf(text + length, 64 - length, "%s%s", length == 0 ? "" : ", ",
				       names[i].name);
	}
}

static int fail_place(const struct rail_config_value *value, const struct key *key,
		      enum place place)
{
	RAIL_FREE char *text = rail_json_print(value->json);
	char plugins[64];

	name_plugins(key->plugins, plugins);
	return rail_fail_code(value->error, RAIL_CODE_UNSUPPORTED_FIELD, EINVAL,
			      "%.300s: the key '%s' (value %.64s) has no meaning here; it belongs "
			      "in %s of %s",
			      value->place, key->name, text != NULL ? text : "?",
			      place == PLACE_NETWORK ? "the configuration"
						     : "the network configuration",
			      plugins);
}

/* An object to read keys from. */
struct source {
	const struct rail_json *object; /* NULL: nothing */
	enum place place;
	const char *name;
	bool lenient; /* what is not ours is another plugin's, which checks it */
	bool is_del;
};

static int read_source(const struct source *source, enum rail_plugin plugin,
		       struct rail_settings *settings, struct rail_error *error)
{
	for (const struct rail_json *json = rail_json_first(source->object); json != NULL;
	     json = rail_json_next(json)) {
		struct rail_config_value value = {
			.json = json,
			.key = rail_json_key(json),
			.place = source->name,
			.error = error,
		};
		const struct key *key = find_key(value.key);
		int result = 0;

		if (source->is_del && (key == NULL || (key->places & DEL_KEY) == 0))
			continue;
		if (key == NULL) {
			if (source->lenient ||
			    (source->place == PLACE_NETWORK && is_cni_key(value.key)) ||
			    (source->place == PLACE_IPAM && strcmp(value.key, "type") == 0))
				continue;
			return fail_unknown(&value);
		}
		if ((key->places & source->place) == 0 || (key->plugins & plugin) == 0) {
			if (source->lenient)
				continue;
			return fail_place(&value, key, source->place);
		}
		if (key->read != NULL)
			result = key->read(&value, settings, (char *)settings + key->field);
		if (result < 0)
			return result;
	}
	return 0;
}

/* ---- putting it together ---- */

static void set_defaults(struct rail_settings *settings)
{
	*settings = (struct rail_settings){
		.state_directory = "/var/lib/railway",
		.run_directory = "/run/railway",
		.transport = "auto",
		.pool = {.base = {.s6_addr = {0xfd}}, .length = 8},
		.enabled = true,
		.ttl_s = 5,
		.search_domains = {"railway.internal"},
		.search_domain_count = 1,
		.intercept = RAIL_INTERCEPT_AUTO,
		.dns_port = 53,
	};
}

static int place_socket(const char *directory, const char *name, const char *key,
			char path[RAIL_SOCKET_PATH_SIZE], struct rail_error *error)
{
	if (path[0] != '\0')
		return 0;

	int printed = snprintf(path, RAIL_SOCKET_PATH_SIZE, "%s/%s", directory, name);
	if (printed >= RAIL_SOCKET_PATH_SIZE)
		return rail_fail_code(error, RAIL_CODE_INVALID_CONFIG, ENAMETOOLONG,
				      "key 'runDirectory': '%s' is too long for a socket below it "
				      "(107 bytes in all); shorten it or set '%s'",
				      directory, key);
	return 0;
}

static int finish(struct rail_settings *settings, struct rail_error *error)
{
	int result = place_socket(settings->run_directory, "resolver.sock", "resolverSocket",
				  settings->resolver_socket, error);

	if (result == 0)
		result = place_socket(settings->run_directory, "mesh.sock", "meshSocket",
				      settings->mesh_socket, error);
	return result;
}

/* path NULL: the default, which need not exist. Nothing of the file is borrowed by settings: its
 * keys are copied. */
static int read_node_file(const char *path, enum rail_plugin plugin, bool is_del,
			  struct rail_settings *settings, struct rail_error *error)
{
	const char *file = path != NULL ? path : RAIL_NODE_FILE;
	RAIL_FREE char *text = NULL;
	RAIL_CLEANUP(rail_json_freep) struct rail_json *document = NULL;
	struct rail_error reading = RAIL_ERROR_NONE;
	size_t size;
	char name[320];

	(void)snprintf(name, sizeof(name), "node's file '%.256s'", file);
	int result = rail_read_file(file, RAIL_JSON_SIZE_MAXIMUM, &text, &size, &reading);
	if (result == -ENOENT) {
		if (path == NULL)
			return 0;
		return rail_fail_code(error, RAIL_CODE_INVALID_CONFIG, ENOENT, "%s: does not exist",
				      name);
	}
	if (result < 0)
		return rail_fail_code(error, reading.code, reading.errnum, "node's file: %s",
				      reading.message);

	result = rail_json_parse(text, size, &document, error);
	if (result < 0)
		return rail_wrap(error, result, "%s", name);
	if (rail_json_type(document) != RAIL_JSON_OBJECT)
		return rail_fail_code(error, RAIL_CODE_DECODE, EINVAL, "%s: must be %s, is %s",
				      name, rail_json_type_name(RAIL_JSON_OBJECT),
				      rail_json_type_name(rail_json_type(document)));

	struct source source = {
		.object = document,
		.place = PLACE_NODE,
		.name = name,
		.is_del = is_del,
	};
	return read_source(&source, plugin, settings, error);
}

static int read_node_file_of(const struct source *network, const struct source *section,
			     enum rail_plugin plugin, struct rail_settings *settings,
			     struct rail_error *error)
{
	const struct rail_json *own = rail_json_get(section->object, "config");
	char path[RAIL_PATH_SIZE];
	struct rail_config_value value = {
		.json = own != NULL ? own : rail_json_get(network->object, "config"),
		.key = "config",
		.place = own != NULL ? section->name : network->name,
		.error = error,
	};

	if (value.json == NULL)
		return read_node_file(NULL, plugin, network->is_del, settings, error);

	int result = rail_config_read_path(&value, settings, path);
	return result < 0 ? result : read_node_file(path, plugin, network->is_del, settings, error);
}

static bool is_ours(const char *type)
{
	return strcmp(type, "railway-ipam") == 0 || strcmp(type, "railway-mesh") == 0 ||
	       strcmp(type, "railway-dns") == 0;
}

int rail_settings_of_call(const struct rail_cni_call *call, enum rail_plugin plugin,
			  struct rail_settings *ret_settings, struct rail_error *error)
{
	struct rail_settings settings;
	struct source network = {
		.object = call->document,
		.place = PLACE_NETWORK,
		.name = "network configuration",
		.is_del = call->command == RAIL_CNI_DEL,
	};
	struct source section = {
		.place = PLACE_IPAM,
		.name = "network configuration, ipam",
		.is_del = network.is_del,
	};
	const char *delegate = rail_json_string(rail_json_get(call->ipam, "type"));

	/* What is delegated to us has the whole configuration of the plugin that delegates: its
	 * keys are not ours to judge, and those of another suite's plugin not ours to read. */
	if (plugin == RAIL_PLUGIN_IPAM && delegate != NULL && strcmp(delegate, call->type) != 0) {
		section.object = call->ipam;
		network.lenient = true;
		if (!is_ours(call->type))
			network.object = NULL;
	}
	/* What railway-ipam is told holds for railway-mesh, too, which decides who the pod is
	 * before it calls; what is wrong there railway-ipam says. */
	if (plugin == RAIL_PLUGIN_MESH && delegate != NULL &&
	    strcmp(delegate, "railway-ipam") == 0) {
		section.object = call->ipam;
		section.lenient = true;
	}

	set_defaults(&settings);
	int result = read_node_file_of(&network, &section, plugin, &settings, error);
	if (result == 0)
		result = read_source(&network, plugin, &settings, error);
	if (result == 0)
		result = read_source(&section, plugin, &settings, error);
	if (result == 0)
		result = finish(&settings, error);
	if (result == 0)
		*ret_settings = settings;
	return result;
}

int rail_settings_of_node(const char *path, struct rail_settings *ret_settings,
			  struct rail_error *error)
{
	struct rail_settings settings;

	set_defaults(&settings);
	int result = read_node_file(path, RAIL_PLUGIN_DNS, false, &settings, error);
	if (result == 0)
		result = finish(&settings, error);
	if (result == 0)
		*ret_settings = settings;
	return result;
}
