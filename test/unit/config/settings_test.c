#include "pkg/config/settings.h"

#include <arpa/inet.h>
#include <criterion/criterion.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "pkg/base/cleanup.h"

/* The node's file of a test; every configuration names it, so that the machine's own plays no part.
 */
static char node_file[] = "/tmp/rail-settings-XXXXXX";

static void write_node_file(const char *text)
{
	FILE *file = fopen(node_file, "we");

	cr_assert_not_null(file);
	cr_assert_geq(fputs(text, file), 0);
	cr_assert_eq(fclose(file), 0);
}

static void set_up(void)
{
	int fd = mkstemp(node_file);

	cr_assert_geq(fd, 0);
	(void)close(fd);
	write_node_file("{}");
}

static void tear_down(void)
{
	(void)unlink(node_file);
}

TestSuite(config_settings, .init = set_up, .fini = tear_down);

static const char *command = "ADD";

static const char *get_variable(const char *name)
{
	const struct {
		const char *name;
		const char *value;
	} variables[] = {
		{"CNI_COMMAND", command},      {"CNI_CONTAINERID", "abc"},
		{"CNI_NETNS", "/run/netns/x"}, {"CNI_IFNAME", "eth0"},
		{"CNI_PATH", "/opt/cni/bin"},
	};

	for (size_t i = 0; i < sizeof(variables) / sizeof(variables[0]); i++)
		if (strcmp(variables[i].name, name) == 0)
			return variables[i].value;
	return NULL;
}

/* text is the configuration without the keys that every one has, "..." in front of them. */
static struct rail_cni_call make_call(const char *type, const char *keys)
{
	char text[16384];
	struct rail_cni_call call;
	struct rail_error error = RAIL_ERROR_NONE;

	(void)snprintf(
		text, sizeof(text),
		"{\"cniVersion\":\"1.0.0\",\"name\":\"n\",\"type\":\"%s\",\"config\":\"%s\"%s%s}",
		type, node_file, keys[0] != '\0' ? "," : "", keys);
	cr_assert_eq(rail_cni_call_read(get_variable, text, strlen(text), &call, &error), 0,
		     "%s: %s", text, error.message);
	return call;
}

static const char *type_of(enum rail_plugin plugin)
{
	return plugin == RAIL_PLUGIN_IPAM   ? "railway-ipam"
	       : plugin == RAIL_PLUGIN_MESH ? "railway-mesh"
					    : "railway-dns";
}

/* The strings of settings are not looked at afterwards: the call is gone. */
static int read_settings(enum rail_plugin plugin, const char *keys, struct rail_settings *settings,
			 struct rail_error *error)
{
	RAIL_CLEANUP(rail_cni_call_done)
	struct rail_cni_call call = make_call(type_of(plugin), keys);

	*error = RAIL_ERROR_NONE;
	return rail_settings_of_call(&call, plugin, settings, error);
}

static struct rail_settings good(enum rail_plugin plugin, const char *keys)
{
	struct rail_settings settings;
	struct rail_error error;

	cr_assert_eq(read_settings(plugin, keys, &settings, &error), 0, "%s: %s", keys,
		     error.message);
	return settings;
}

static void refused(enum rail_plugin plugin, const char *keys, int code, const char *says)
{
	struct rail_settings settings;
	struct rail_error error;

	cr_assert_lt(read_settings(plugin, keys, &settings, &error), 0, "%s", keys);
	cr_assert_eq(error.code, code, "%s: %d: %s", keys, error.code, error.message);
	cr_assert(strstr(error.message, says) != NULL, "'%s' is not in: %s", says, error.message);
}

Test(config_settings, every_key_has_a_default)
{
	static const enum rail_plugin plugins[] = {RAIL_PLUGIN_IPAM, RAIL_PLUGIN_MESH,
						   RAIL_PLUGIN_DNS};

	for (size_t i = 0; i < 3; i++) {
		struct rail_settings settings = good(plugins[i], "");

		cr_assert_str_eq(settings.state_directory, "/var/lib/railway");
		cr_assert_str_eq(settings.run_directory, "/run/railway");
		cr_assert_str_eq(settings.resolver_socket, "/run/railway/resolver.sock");
		cr_assert_str_eq(settings.mesh_socket, "/run/railway/mesh.sock");
		cr_assert(IN6_IS_ADDR_UNSPECIFIED(&settings.endpoint));
		cr_assert_eq(settings.listen_port_count, 0);
		cr_assert_eq(settings.cluster.endpoint_count, 0);
		cr_assert_str_eq(settings.transport, "auto");
		cr_assert_eq(settings.mtu, 0);
		cr_assert_str_eq(settings.interface, "");
		cr_assert_eq(settings.pool.length, 8);
		cr_assert_eq(settings.pool.base.s6_addr[0], 0xfd);
		cr_assert_null(settings.environment);
		cr_assert_null(settings.service);
		cr_assert_null(settings.replica);
		cr_assert_not(settings.trust_arguments);
		cr_assert(settings.enabled);
		cr_assert_eq(settings.ttl_s, 5);
		cr_assert_eq(settings.upstream_count, 0);
		cr_assert_eq(settings.fallback_nameserver_count, 0);
		cr_assert_eq(settings.search_domain_count, 1);
		cr_assert_str_eq(settings.search_domains[0], "railway.internal");
		cr_assert_eq(settings.intercept, RAIL_INTERCEPT_AUTO);
		cr_assert_eq(settings.dns_port, 53);
	}
}

Test(config_settings, keys_of_all)
{
	RAIL_CLEANUP(rail_cni_call_done)
	struct rail_cni_call call =
		make_call("railway-ipam",
			  "\"environment\":\"production\",\"service\":\"api\",\"replica\":\"0\","
			  "\"trustArgs\":true,\"enabled\":false,\"pool\":\"fd20::/12\","
			  "\"stateDirectory\":\"/s\",\"runDirectory\":\"/r\"");
	struct rail_settings settings;

	cr_assert_eq(rail_settings_of_call(&call, RAIL_PLUGIN_IPAM, &settings, NULL), 0);
	cr_assert_str_eq(settings.environment, "production");
	cr_assert_str_eq(settings.service, "api");
	cr_assert_str_eq(settings.replica, "0");
	cr_assert(settings.trust_arguments);
	cr_assert_not(settings.enabled);
	cr_assert_eq(settings.pool.length, 12);
	cr_assert_str_eq(settings.state_directory, "/s");
	cr_assert_str_eq(settings.resolver_socket, "/r/resolver.sock");
	cr_assert_str_eq(settings.mesh_socket, "/r/mesh.sock");
}

Test(config_settings, keys_of_mesh)
{
	struct rail_settings settings =
		good(RAIL_PLUGIN_MESH,
		     "\"transport\":\"userspace\",\"mtu\":1280,\"interface\":\"priv0\","
		     "\"endpoint\":\"192.0.2.7\",\"listenPorts\":[51820,\"60000-60002\",1],"
		     "\"meshSocket\":\"/x/m.sock\"");
	static const uint16_t ports[] = {51820, 60000, 60001, 60002, 1};
	char text[INET6_ADDRSTRLEN];

	cr_assert_str_eq(settings.transport, "userspace");
	cr_assert_eq(settings.mtu, 1280);
	cr_assert_str_eq(settings.interface, "priv0");
	cr_assert_str_eq(inet_ntop(AF_INET6, &settings.endpoint, text, sizeof(text)),
			 "::ffff:192.0.2.7");
	cr_assert_eq(settings.listen_port_count, 5);
	cr_assert_eq(memcmp(settings.listen_ports, ports, sizeof(ports)), 0);
	cr_assert_str_eq(settings.mesh_socket, "/x/m.sock");

	settings = good(RAIL_PLUGIN_MESH, "\"endpoint\":\"2001:db8::7\",\"mtu\":0,"
					  "\"listenPorts\":[\"1-1024\"]");
	cr_assert_str_eq(inet_ntop(AF_INET6, &settings.endpoint, text, sizeof(text)),
			 "2001:db8::7");
	cr_assert_eq(settings.listen_port_count, 1024);
	cr_assert_eq(settings.listen_ports[1023], 1024);
}

Test(config_settings, keys_of_dns)
{
	struct rail_settings settings =
		good(RAIL_PLUGIN_DNS,
		     "\"ttl\":0,\"upstreams\":[\"9.9.9.9\",\"10.0.0.10:5353\",\"2001:db8::1\","
		     "\"[2001:db8::2]:54\",\"[2001:db8::3]\"],"
		     "\"fallbackNameservers\":[\"1.1.1.1\",\"2001:db8::53\"],"
		     "\"searchDomains\":[\"a.example\",\"b_c-d\"],\"intercept\":false,"
		     "\"dnsPort\":5300");
	static const struct {
		int family;
		const char *address;
		uint16_t port;
	} upstreams[] = {
		{AF_INET, "9.9.9.9", 53},      {AF_INET, "10.0.0.10", 5353},
		{AF_INET6, "2001:db8::1", 53}, {AF_INET6, "2001:db8::2", 54},
		{AF_INET6, "2001:db8::3", 53},
	};
	char text[INET6_ADDRSTRLEN];

	cr_assert_eq(settings.ttl_s, 0);
	cr_assert_eq(settings.upstream_count, 5);
	for (size_t i = 0; i < 5; i++) {
		const struct rail_endpoint *upstream = &settings.upstreams[i];

		cr_assert_eq(upstream->family, upstreams[i].family);
		cr_assert_eq(upstream->port, upstreams[i].port);
		cr_assert_str_eq(
			inet_ntop(upstream->family, &upstream->address, text, sizeof(text)),
			upstreams[i].address);
	}
	cr_assert_eq(settings.fallback_nameserver_count, 2);
	cr_assert(IN6_IS_ADDR_V4MAPPED(&settings.fallback_nameservers[0]));
	cr_assert_eq(settings.search_domain_count, 2);
	cr_assert_str_eq(settings.search_domains[1], "b_c-d");
	cr_assert_eq(settings.intercept, RAIL_INTERCEPT_OFF);
	cr_assert_eq(settings.dns_port, 5300);

	cr_assert_eq(good(RAIL_PLUGIN_DNS, "\"searchDomains\":[]").search_domain_count, 0);
	cr_assert_eq(good(RAIL_PLUGIN_DNS, "\"intercept\":\"off\"").intercept, RAIL_INTERCEPT_OFF);
	cr_assert_eq(good(RAIL_PLUGIN_DNS, "\"intercept\":\"on\"").intercept, RAIL_INTERCEPT_ON);
	cr_assert_eq(good(RAIL_PLUGIN_DNS, "\"intercept\":true").intercept, RAIL_INTERCEPT_ON);
	cr_assert_eq(good(RAIL_PLUGIN_DNS, "\"intercept\":\"auto\"").intercept,
		     RAIL_INTERCEPT_AUTO);
}

static char long_path[300];

Test(config_settings, wrong_values)
{
	static const struct {
		enum rail_plugin plugin;
		const char *key;
		const char *values[16];
	} cases[] = {
		{RAIL_PLUGIN_MESH,
		 "stateDirectory",
		 {"1", "null", "\"\"", "\"relative/x\"", "[]", long_path}},
		{RAIL_PLUGIN_MESH, "runDirectory", {"true", "\"x\"", long_path}},
		{RAIL_PLUGIN_DNS, "resolverSocket", {"{}", "\"x\"", long_path}},
		{RAIL_PLUGIN_MESH, "meshSocket", {"1", "\"x\"", long_path}},
		{RAIL_PLUGIN_MESH,
		 "endpoint",
		 {"1", "\"\"", "\"host\"", "\"::\"", "\"0.0.0.0\"", "\"224.0.0.1\"", "\"ff02::1\"",
		  "\"fe80::1\"", "\"::ffff:1.2.3.4\"", "\"1.2.3.4:5\"", "\"255.255.255.255\""}},
		{RAIL_PLUGIN_MESH,
		 "listenPorts",
		 {"1", "\"1-2\"", "[0]", "[65536]", "[1.5]", "[\"5\"]", "[\"5-\"]", "[\"-5\"]",
		  "[\"9-8\"]", "[\"1-65536\"]", "[7,7]", "[\"1-9\",5]", "[\"1-1025\"]", "[null]",
		  "[\"1-2-3\"]"}},
		{RAIL_PLUGIN_MESH, "transport", {"1", "\"\"", "\"Kernel\"", "\"boringtun\""}},
		{RAIL_PLUGIN_MESH,
		 "mtu",
		 {"\"1280\"", "1279", "-1", "65536", "1400.5", "true", "1", "1e99"}},
		{RAIL_PLUGIN_MESH,
		 "interface",
		 {"1", "\"\"", "\"a/b\"", "\"1234567890123456\"", "\"..\"", "\"a b\""}},
		{RAIL_PLUGIN_IPAM,
		 "pool",
		 {"1", "\"\"", "\"fd00::\"", "\"2001:db8::/32\"", "\"fd00::/64\"", "\"fd00::1/8\"",
		  "\"10.0.0.0/8\""}},
		{RAIL_PLUGIN_IPAM, "environment", {"1", "\"\"", "null", "{}"}},
		{RAIL_PLUGIN_MESH, "service", {"1", "\"\"", "true", "[]"}},
		{RAIL_PLUGIN_DNS, "replica", {"0", "\"\"", "null"}},
		{RAIL_PLUGIN_IPAM, "trustArgs", {"\"true\"", "1", "null"}},
		{RAIL_PLUGIN_IPAM, "enabled", {"\"false\"", "0", "null"}},
		{RAIL_PLUGIN_DNS, "ttl", {"\"5\"", "-1", "86401", "0.5", "null"}},
		{RAIL_PLUGIN_DNS,
		 "upstreams",
		 {"\"1.1.1.1\"", "[1]", "[\"\"]", "[\"dns.example\"]", "[\"1.1.1.1:0\"]",
		  "[\"1.1.1.1:\"]", "[\"1.1.1.1:65536\"]", "[\"[1.1.1.1]:53\"]", "[\"[::1\"]",
		  "[\"[::1]x\"]", "[\"::\"]", "[\"fe80::1%eth0\"]",
		  "[\"1.1.1.1\",\"1.1.1.2\",\"1.1.1.3\",\"1.1.1.4\",\"1.1.1.5\",\"1.1.1.6\","
		  "\"1.1.1.7\",\"1.1.1.8\",\"1.1.1.9\"]"}},
		{RAIL_PLUGIN_DNS,
		 "fallbackNameservers",
		 {"\"1.1.1.1\"", "[1]", "[\"1.1.1.1:53\"]", "[\"::\"]", "[\"\"]"}},
		{RAIL_PLUGIN_DNS,
		 "searchDomains",
		 {"\"a\"", "[1]", "[\"\"]", "[\".\"]", "[\"a..b\"]", "[\"a.\"]", "[\"a b\"]",
		  "[\"a\\nb\"]",
		  "[\"aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa\"]"}},
		{RAIL_PLUGIN_DNS, "intercept", {"1", "\"yes\"", "null"}},
		{RAIL_PLUGIN_DNS, "dnsPort", {"0", "65536", "\"53\"", "-1"}},
	};

	memset(long_path, 'a', sizeof(long_path) - 1);
	long_path[0] = '"';
	long_path[1] = '/';
	long_path[sizeof(long_path) - 2] = '"';
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		for (size_t j = 0; j < 16 && cases[i].values[j] != NULL; j++) {
			char keys[1024];
			char says[64];

			(void)snprintf(keys, sizeof(keys), "\"%s\":%s", cases[i].key,
				       cases[i].values[j]);
			(void)snprintf(says, sizeof(says), "key '%s': ", cases[i].key);
			refused(cases[i].plugin, keys, RAIL_CODE_INVALID_CONFIG, says);
		}
	}
}

Test(config_settings, an_error_says_what_was_given)
{
	refused(RAIL_PLUGIN_DNS, "\"ttl\":86401", RAIL_CODE_INVALID_CONFIG,
		"network configuration, key 'ttl': must be a whole number from 0 to 86400 "
		"(seconds), is 86401");
	refused(RAIL_PLUGIN_MESH, "\"transport\":\"boringtun\"", RAIL_CODE_INVALID_CONFIG,
		"is \"boringtun\"");
}

Test(config_settings, unknown_keys_name_the_nearest)
{
	static const struct {
		const char *keys;
		const char *says;
	} cases[] = {
		{"\"tll\":7", "unknown key 'tll' (value 7); did you mean 'ttl'?"},
		{"\"upstream\":[]", "did you mean 'upstreams'?"},
		{"\"searchdomains\":[]", "did you mean 'searchDomains'?"},
		{"\"enviroment\":\"x\"", "unknown key 'enviroment' (value \"x\"); did you mean "
					 "'environment'?"},
		{"\"runtimeConfg\":{}", "did you mean 'runtimeConfig'?"},
		{"\"Type\":\"x\"", "did you mean 'type'?"},
		{"\"bridge\":\"cni0\"", "unknown key 'bridge' (value \"cni0\")"},
		{"\"cni.devx\":1", "unknown key 'cni.devx'"},
	};

	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++)
		refused(RAIL_PLUGIN_DNS, cases[i].keys, RAIL_CODE_UNSUPPORTED_FIELD, cases[i].says);
}

Test(config_settings, nearest_keys)
{
	static const struct {
		const char *key;
		const char *nearest;
	} cases[] = {
		{"ttl", "ttl"},
		{"tlt", "ttl"},
		{"TTL", "ttl"},
		{"trustArg", "trustArgs"},
		{"listenPort", "listenPorts"},
		{"statedir", NULL},
		{"stateDirectroy", "stateDirectory"},
		{"xx", NULL},
		{"", NULL},
		{"subnet", NULL},
		{"aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa",
		 NULL},
	};

	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		const char *nearest = rail_settings_nearest_key(cases[i].key);

		if (cases[i].nearest == NULL)
			cr_assert_null(nearest, "%s: %s", cases[i].key, nearest);
		else
			cr_assert_str_eq(nearest, cases[i].nearest);
	}
}

Test(config_settings, keys_of_another_plugin_name_it)
{
	refused(RAIL_PLUGIN_MESH, "\"ttl\":5", RAIL_CODE_UNSUPPORTED_FIELD, "railway-dns");
	refused(RAIL_PLUGIN_DNS, "\"mtu\":1400", RAIL_CODE_UNSUPPORTED_FIELD, "railway-mesh");
	refused(RAIL_PLUGIN_DNS, "\"pool\":\"fd00::/8\"", RAIL_CODE_UNSUPPORTED_FIELD,
		"railway-ipam, railway-mesh");
	refused(RAIL_PLUGIN_IPAM, "\"transport\":\"auto\"", RAIL_CODE_UNSUPPORTED_FIELD,
		"railway-mesh");
}

Test(config_settings, what_is_cnis_is_never_an_error)
{
	(void)good(RAIL_PLUGIN_MESH,
		   "\"cniVersions\":[\"1.0.0\"],\"ipam\":{\"type\":\"railway-ipam\",\"subnet\":1},"
		   "\"dns\":{},\"args\":{\"cni\":{}},\"runtimeConfig\":{},\"capabilities\":{},"
		   "\"prevResult\":{\"cniVersion\":\"1.0.0\"},\"disableCheck\":true,"
		   "\"disableGC\":true,\"loadOnlyInlinedPlugins\":false,"
		   "\"cni.dev/attachments\":null,\"cni.dev/anything\":1");
}

/* ---- the ipam section ---- */

static int read_delegated(const char *type, const char *keys, struct rail_settings *settings,
			  struct rail_error *error)
{
	RAIL_CLEANUP(rail_cni_call_done) struct rail_cni_call call = make_call(type, keys);

	*error = RAIL_ERROR_NONE;
	return rail_settings_of_call(&call, RAIL_PLUGIN_IPAM, settings, error);
}

Test(config_settings, delegated_to_by_mesh_both_places_count)
{
	struct rail_settings settings;
	struct rail_error error;

	cr_assert_eq(read_delegated("railway-mesh",
				    "\"mtu\":1400,\"pool\":\"fd20::/16\",\"stateDirectory\":\"/s\","
				    "\"runDirectory\":\"/r\","
				    "\"ipam\":{\"type\":\"railway-ipam\",\"pool\":\"fd30::/20\","
				    "\"stateDirectory\":\"/t\",\"trustArgs\":true}",
				    &settings, &error),
		     0, "%s", error.message);
	cr_assert_eq(settings.pool.length, 20);
	cr_assert_str_eq(settings.state_directory, "/t");
	cr_assert_str_eq(settings.run_directory, "/r");
	cr_assert(settings.trust_arguments);
	/* Its own keys are railway-mesh's to judge. */
	cr_assert_eq(settings.mtu, 0);
}

Test(config_settings, what_ipam_is_told_holds_for_the_mesh_that_delegates)
{
	struct rail_settings settings;
	struct rail_error error;
	RAIL_CLEANUP(rail_cni_call_done)
	struct rail_cni_call call =
		make_call("railway-mesh", "\"service\":\"web\",\"runDirectory\":\"/r\",\"ipam\":{"
					  "\"type\":\"railway-ipam\",\"pool\":\"fd30::/20\","
					  "\"environment\":\"production\",\"service\":\"api\"}");

	cr_assert_eq(rail_settings_of_call(&call, RAIL_PLUGIN_MESH, &settings, &error), 0, "%s",
		     error.message);
	cr_assert_eq(settings.pool.length, 20);
	cr_assert_str_eq(settings.environment, "production");
	cr_assert_str_eq(settings.service, "api");
	cr_assert_str_eq(settings.run_directory, "/r");

	RAIL_CLEANUP(rail_cni_call_done)
	struct rail_cni_call other =
		make_call("railway-mesh", "\"ipam\":{\"type\":\"static\",\"service\":7}");
	cr_assert_eq(rail_settings_of_call(&other, RAIL_PLUGIN_MESH, &settings, &error), 0, "%s",
		     error.message);
	cr_assert_null(settings.service);
}

Test(config_settings, delegated_to_by_others_only_the_section_counts)
{
	struct rail_settings settings;
	struct rail_error error;

	write_node_file("{\"stateDirectory\":\"/node\"}");
	cr_assert_eq(read_delegated("bridge",
				    "\"bridge\":\"cni0\",\"mtu\":9000,\"enabled\":\"x\","
				    "\"runDirectory\":\"/not\",\"ipam\":{\"type\":\"railway-ipam\","
				    "\"config\":\"/dev/null/nothing\"}",
				    &settings, &error),
		     -ENOTDIR);
	char keys[256];
	(void)snprintf(keys, sizeof(keys),
		       "\"bridge\":\"cni0\",\"enabled\":\"x\",\"runDirectory\":\"/not\",\"ipam\":{"
		       "\"type\":\"railway-ipam\",\"service\":\"a\",\"config\":\"%s\"}",
		       node_file);
	cr_assert_eq(read_delegated("bridge", keys, &settings, &error), 0, "%s", error.message);
	cr_assert(settings.enabled);
	cr_assert_str_eq(settings.state_directory, "/node");
	cr_assert_str_eq(settings.run_directory, "/run/railway");
}

Test(config_settings, the_section_is_checked)
{
	static const struct {
		const char *keys;
		int code;
		const char *says;
	} cases[] = {
		{"\"subnet\":\"fd00::/64\"", RAIL_CODE_UNSUPPORTED_FIELD,
		 "network configuration, ipam: unknown key 'subnet'"},
		{"\"pol\":\"fd00::/8\"", RAIL_CODE_UNSUPPORTED_FIELD, "did you mean 'pool'?"},
		{"\"mtu\":1400", RAIL_CODE_UNSUPPORTED_FIELD, "railway-mesh"},
		{"\"runtimeConfig\":{}", RAIL_CODE_UNSUPPORTED_FIELD, "'runtimeConfig'"},
		{"\"service\":\"\"", RAIL_CODE_INVALID_CONFIG,
		 "network configuration, ipam, key 'service'"},
	};

	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		struct rail_settings settings;
		struct rail_error error;
		char keys[256];

		(void)snprintf(keys, sizeof(keys), "\"ipam\":{\"type\":\"railway-ipam\",%s}",
			       cases[i].keys);
		cr_assert_lt(read_delegated("railway-mesh", keys, &settings, &error), 0);
		cr_assert_eq(error.code, cases[i].code, "%s", error.message);
		cr_assert_not_null(strstr(error.message, cases[i].says), "%s", error.message);
	}
}

/* ---- the node's file ---- */

Test(config_settings, the_network_configuration_wins_over_the_nodes_file)
{
	write_node_file("{\"stateDirectory\":\"/node/s\",\"runDirectory\":\"/node/r\","
			"\"listenPorts\":[7]}");
	struct rail_settings settings =
		good(RAIL_PLUGIN_MESH, "\"stateDirectory\":\"/own\",\"listenPorts\":[8,9]");

	cr_assert_str_eq(settings.state_directory, "/own");
	cr_assert_str_eq(settings.run_directory, "/node/r");
	cr_assert_str_eq(settings.resolver_socket, "/node/r/resolver.sock");
	cr_assert_eq(settings.listen_port_count, 2);
	cr_assert_eq(settings.listen_ports[0], 8);
}

Test(config_settings, a_daemon_reads_the_nodes_file)
{
	struct rail_settings settings;
	struct rail_error error = RAIL_ERROR_NONE;

	write_node_file("{\"runDirectory\":\"/node/r\",\"resolverSocket\":\"/node/x.sock\"}");
	cr_assert_eq(rail_settings_of_node(node_file, &settings, &error), 0, "%s", error.message);
	cr_assert_str_eq(settings.resolver_socket, "/node/x.sock");
	cr_assert_str_eq(settings.mesh_socket, "/node/r/mesh.sock");
	cr_assert_null(settings.environment);
}

Test(config_settings, faults_of_the_nodes_file)
{
	static const struct {
		const char *text;
		int code;
		const char *says;
	} cases[] = {
		{"", RAIL_CODE_DECODE, "empty"},
		{"{", RAIL_CODE_DECODE, "line 1"},
		{"[]", RAIL_CODE_DECODE, "a list"},
		{"{\"runDirectory\":1}", RAIL_CODE_INVALID_CONFIG, "key 'runDirectory'"},
		{"{\"runDirectry\":\"/x\"}", RAIL_CODE_UNSUPPORTED_FIELD,
		 "did you mean 'runDirectory'?"},
		{"{\"ttl\":5}", RAIL_CODE_UNSUPPORTED_FIELD, "railway-dns"},
		{"{\"environment\":\"x\"}", RAIL_CODE_UNSUPPORTED_FIELD,
		 "the network configuration of railway-ipam, railway-mesh, railway-dns"},
		{"{\"name\":\"x\"}", RAIL_CODE_UNSUPPORTED_FIELD, "'name'"},
		{"{\"config\":\"/x\"}", RAIL_CODE_UNSUPPORTED_FIELD, "'config'"},
	};

	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		struct rail_settings settings;
		struct rail_error error = RAIL_ERROR_NONE;

		write_node_file(cases[i].text);
		refused(RAIL_PLUGIN_MESH, "", cases[i].code, cases[i].says);
		cr_assert_lt(rail_settings_of_node(node_file, &settings, &error), 0);
		cr_assert_eq(error.code, cases[i].code);
		cr_assert_not_null(strstr(error.message, node_file), "%s", error.message);
	}
}

Test(config_settings, a_del_does_not_fail_for_what_only_an_add_goes_by)
{
	static const char *const faults[] = {
		"\"tll\":7",
		"\"ttl\":\"x\"",
		"\"mtu\":null",
		"\"cluster\":{\"endpoint\":1}",
		"\"listenPorts\":\"9-1\"",
	};
	struct rail_settings settings;

	command = "DEL";
	for (size_t i = 0; i < sizeof(faults) / sizeof(faults[0]); i++) {
		char text[128];

		(void)snprintf(text, sizeof(text), "{%s,\"runDirectory\":\"/node/r\"}", faults[i]);
		write_node_file(text);
		(void)snprintf(text, sizeof(text), "%s,\"stateDirectory\":\"/own/s\"", faults[i]);
		settings = good(RAIL_PLUGIN_MESH, text);
		cr_assert_str_eq(settings.run_directory, "/node/r");
		cr_assert_str_eq(settings.state_directory, "/own/s");
		cr_assert_str_eq(settings.mesh_socket, "/node/r/mesh.sock");
	}
	/* Where it would look for the pod it must know. */
	refused(RAIL_PLUGIN_MESH, "\"runDirectory\":1", RAIL_CODE_INVALID_CONFIG, "runDirectory");
	write_node_file("{");
	refused(RAIL_PLUGIN_MESH, "", RAIL_CODE_DECODE, "line 1");
}

Test(config_settings, a_nodes_file_that_is_named_must_exist)
{
	struct rail_settings settings;
	struct rail_error error = RAIL_ERROR_NONE;

	(void)unlink(node_file);
	refused(RAIL_PLUGIN_MESH, "", RAIL_CODE_INVALID_CONFIG, node_file);
	cr_assert_eq(rail_settings_of_node(node_file, &settings, &error), -ENOENT);
	cr_assert_eq(error.code, RAIL_CODE_INVALID_CONFIG);
}

Test(config_settings, a_run_directory_too_long_for_its_sockets)
{
	char keys[256];

	(void)snprintf(keys, sizeof(keys), "\"runDirectory\":\"/%0100d\"", 0);
	refused(RAIL_PLUGIN_DNS, keys, RAIL_CODE_INVALID_CONFIG, "runDirectory");
	(void)snprintf(
		keys, sizeof(keys),
		"\"runDirectory\":\"/%0100d\",\"resolverSocket\":\"/r\",\"meshSocket\":\"/m\"", 0);
	cr_assert_str_eq(good(RAIL_PLUGIN_DNS, keys).resolver_socket, "/r");
}

Test(config_settings, a_cluster)
{
	struct rail_settings settings;
	struct rail_error error;
	const char *keys = "\"cluster\":{\"endpoints\":[\"https://192.0.2.1:2379/\","
			   "\"https://[2001:db8::1]:2379\"],\"ca\":\"/ca\",\"cert\":\"/cert\","
			   "\"key\":\"/key\",\"user\":\"railway\",\"password\":\"/secret\"}";

	cr_assert_eq(read_settings(RAIL_PLUGIN_MESH, keys, &settings, &error), 0, "%s",
		     error.message);
	cr_assert_eq(settings.cluster.endpoint_count, 2);
	cr_assert_str_eq(settings.cluster.endpoints[0], "https://192.0.2.1:2379");
	cr_assert_str_eq(settings.cluster.endpoints[1], "https://[2001:db8::1]:2379");
	cr_assert_str_eq(settings.cluster.ca, "/ca");
	cr_assert_str_eq(settings.cluster.certificate, "/cert");
	cr_assert_str_eq(settings.cluster.key, "/key");
	cr_assert_str_eq(settings.cluster.user, "railway");
	cr_assert_str_eq(settings.cluster.password_file, "/secret");
	cr_assert_eq(settings.cluster.lease_s, 30);
}

Test(config_settings, a_cluster_that_is_none)
{
	static const struct {
		const char *value;
		int code;
		const char *says;
	} cases[] = {
		{"{}", RAIL_CODE_INVALID_CONFIG, "must have the key endpoints"},
		{"[]", RAIL_CODE_INVALID_CONFIG, "must be an object"},
		{"{\"endpoints\":[]}", RAIL_CODE_INVALID_CONFIG, "cluster.endpoints"},
		{"{\"endpoints\":[\"ftp://x\"]}", RAIL_CODE_INVALID_CONFIG, "list of 1 to 16"},
		{"{\"endpoints\":[\"http://\"]}", RAIL_CODE_INVALID_CONFIG, "list of 1 to 16"},
		{"{\"endpoints\":[\"http://x/v3\"]}", RAIL_CODE_INVALID_CONFIG, "list of 1 to 16"},
		{"{\"endpoints\":[\"http://u:p@x:1\"]}", RAIL_CODE_INVALID_CONFIG, "list of 1"},
		{"{\"endpoints\":[\"http://x:1\"],\"ca\":\"/ca\"}", RAIL_CODE_INVALID_CONFIG,
		 "https://"},
		{"{\"endpoints\":[\"https://x:1\"],\"cert\":\"/c\"}", RAIL_CODE_INVALID_CONFIG,
		 "both cert and key"},
		{"{\"endpoints\":[\"http://x:1\"],\"user\":\"u\"}", RAIL_CODE_INVALID_CONFIG,
		 "both user and password"},
		{"{\"endpoints\":[\"http://x:1\"],\"lease\":4}", RAIL_CODE_INVALID_CONFIG,
		 "cluster.lease"},
		{"{\"endpoints\":[\"http://x:1\"],\"port\":4}", RAIL_CODE_UNSUPPORTED_FIELD,
		 "unknown key 'cluster.port'"},
	};

	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		char keys[256];

		(void)snprintf(keys, sizeof(keys), "\"cluster\":%s", cases[i].value);
		refused(RAIL_PLUGIN_MESH, keys, cases[i].code, cases[i].says);
	}
}
