#include "pkg/cni/call.h"

#include <criterion/criterion.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "pkg/base/cleanup.h"

/* ---- the environment of a test ---- */

#define VARIABLES_MAXIMUM 8

struct variable {
	const char *name;
	const char *value;
};

static struct variable environment[VARIABLES_MAXIMUM];

static const char *get_variable(const char *name)
{
	for (size_t i = 0; i < VARIABLES_MAXIMUM; i++)
		if (environment[i].name != NULL && strcmp(environment[i].name, name) == 0)
			return environment[i].value;
	return NULL;
}

/* value NULL: not set. */
static void set_variable(const char *name, const char *value)
{
	for (size_t i = 0; i < VARIABLES_MAXIMUM; i++) {
		if (environment[i].name == NULL || strcmp(environment[i].name, name) == 0) {
			environment[i] = (struct variable){name, value};
			return;
		}
	}
	cr_assert_fail("too many variables");
}

static void set_environment(const char *command)
{
	memset(environment, 0, sizeof(environment));
	set_variable("CNI_COMMAND", command);
	set_variable("CNI_CONTAINERID", "9c3e55aea");
	set_variable("CNI_NETNS", "/var/run/netns/cni-1");
	set_variable("CNI_IFNAME", "eth0");
	set_variable("CNI_PATH", "/opt/cni/bin");
	set_variable("CNI_ARGS", "");
}

#define CONFIGURATION "{\"cniVersion\":\"1.1.0\",\"name\":\"railway\",\"type\":\"railway-mesh\""

static int read_call(const char *input, struct rail_cni_call *ret_call, struct rail_error *error)
{
	*error = RAIL_ERROR_NONE;
	return rail_cni_call_read(get_variable, input, strlen(input), ret_call, error);
}

static struct rail_cni_call good_call(const char *input)
{
	struct rail_cni_call call;
	struct rail_error error;

	cr_assert_eq(read_call(input, &call, &error), 0, "%s", error.message);
	return call;
}

static void refused(const char *input, int code, const char *says)
{
	struct rail_cni_call call;
	struct rail_error error;

	cr_assert_lt(read_call(input, &call, &error), 0, "%s", input);
	cr_assert_eq(error.code, code, "%d: %s", error.code, error.message);
	cr_assert(strstr(error.message, says) != NULL, "'%s' is not in: %s", says, error.message);
	cr_assert_null(call.document);
}

static const char *pair(const struct rail_pairs *pairs, const char *key)
{
	for (size_t i = 0; i < pairs->count; i++)
		if (strcmp(pairs->pairs[i].key, key) == 0)
			return pairs->pairs[i].value;
	return NULL;
}

/* ---- what runtimes really pass ---- */

Test(cni_call, containerd)
{
	set_environment("ADD");
	set_variable("CNI_ARGS", "IgnoreUnknown=1;K8S_POD_NAMESPACE=demo;K8S_POD_NAME=web-0;"
				 "K8S_POD_INFRA_CONTAINER_ID=9c3e55aea;K8S_POD_UID=uid-web-0");
	RAIL_CLEANUP(rail_cni_call_done)
	struct rail_cni_call call = good_call(
		"{\"cniVersion\":\"1.0.0\",\"name\":\"railway\",\"type\":\"railway-mesh\","
		"\"capabilities\":{\"io.kubernetes.cri.pod-annotations\":true,\"ips\":true},"
		"\"ipam\":{\"type\":\"railway-ipam\"},\"runtimeConfig\":{"
		"\"bandwidth\":{\"IngressRate\":10000000,\"IngressBurst\":4294967295},"
		"\"dns\":{\"Servers\":[\"fd13::53\",\"10.0.0.10\"],\"Searches\":[\"demo.svc\"],"
		"\"Options\":[\"ndots:2\"]},"
		"\"io.kubernetes.cri.pod-annotations\":{\"example/a\":\"b\","
		"\"kubernetes.io/egress-bandwidth\":\"20M\"},"
		"\"portMappings\":[{\"HostPort\":38081,\"ContainerPort\":80,\"Protocol\":\"tcp\","
		"\"HostIP\":\"127.0.0.1\"}]}}");

	cr_assert_eq(call.command, RAIL_CNI_ADD);
	cr_assert_eq(call.version, RAIL_CNI_1_0_0);
	cr_assert_str_eq(call.container_id, "9c3e55aea");
	cr_assert_str_eq(call.netns, "/var/run/netns/cni-1");
	cr_assert_str_eq(call.interface, "eth0");
	cr_assert_str_eq(call.path, "/opt/cni/bin");
	cr_assert_str_eq(call.network, "railway");
	cr_assert_str_eq(call.type, "railway-mesh");
	cr_assert_not_null(call.ipam);
	cr_assert_null(call.prev_result);
	cr_assert(call.ignore_unknown_arguments);
	cr_assert_eq(call.arguments.count, 5);
	cr_assert_str_eq(rail_cni_argument(&call, "K8S_POD_NAMESPACE"), "demo");
	cr_assert_str_eq(pair(&call.annotations, "example/a"), "b");
	cr_assert_eq(call.annotations.count, 2);

	const struct rail_json *dns = rail_cni_capability(&call, "dns");
	const struct rail_json *servers = rail_json_get_any_case(dns, "servers");
	cr_assert_str_eq(rail_json_string(rail_json_first(servers)), "fd13::53");

	const struct rail_json *ports = rail_cni_capability(&call, "portMappings");
	int64_t port;
	cr_assert_eq(rail_json_integer(rail_json_get_any_case(rail_json_first(ports), "hostPort"),
				       1, 65535, &port),
		     0);
	cr_assert_eq(port, 38081);
}

Test(cni_call, capabilities_are_found_in_either_case)
{
	set_environment("ADD");
	RAIL_CLEANUP(rail_cni_call_done)
	struct rail_cni_call call = good_call(
		CONFIGURATION ",\"runtimeConfig\":{\"DNS\":{\"SERVERS\":[]},\"ips\":null}}");

	cr_assert_not_null(rail_cni_capability(&call, "dns"));
	cr_assert_not_null(rail_json_get_any_case(rail_cni_capability(&call, "dns"), "servers"));
	cr_assert_null(rail_cni_capability(&call, "ips"));
	cr_assert_null(rail_cni_capability(&call, "portMappings"));
}

/* Whatever is in a pod's annotations: its DEL is read. */
Test(cni_call, annotations_with_nul_bytes_and_of_any_size)
{
	enum { SIZE = 256 * 1024 };
	static char text[6 * SIZE + 512];
	size_t size;

	size = (size_t)sprintf(text,
			       "%s,\"runtimeConfig\":{\"io.kubernetes.cri.pod-annotations\":"
			       "{\"nul\":\"a\\u0000b\",\"large\":\"",
			       CONFIGURATION);
	for (int i = 0; i < SIZE; i++)
		size += (size_t)sprintf(text + size, "\\u003c");
	(void)sprintf(text + size, "\"}}}");
	set_environment("DEL");
	RAIL_CLEANUP(rail_cni_call_done) struct rail_cni_call call = good_call(text);

	cr_assert_eq(call.annotations.count, 2);
	cr_assert_str_eq(call.annotations.pairs[0].value, "a\xef\xbf\xbd"
							  "b");
	cr_assert_eq(strlen(call.annotations.pairs[1].value), SIZE);
}

Test(cni_call, ctr_passes_no_identity_and_an_empty_netns_to_del)
{
	set_environment("DEL");
	set_variable("CNI_CONTAINERID", "default-box");
	set_variable("CNI_NETNS", "");
	RAIL_CLEANUP(rail_cni_call_done) struct rail_cni_call call = good_call(CONFIGURATION "}");

	cr_assert_eq(call.command, RAIL_CNI_DEL);
	cr_assert_str_eq(call.netns, "");
	cr_assert_eq(call.arguments.count, 0);
	cr_assert_null(rail_cni_argument(&call, "K8S_POD_NAME"));

	set_variable("CNI_NETNS", NULL);
	RAIL_CLEANUP(rail_cni_call_done) struct rail_cni_call unset = good_call(CONFIGURATION "}");
	cr_assert_str_eq(unset.netns, "");
}

Test(cni_call, crio_gc)
{
	static const struct {
		const char *keys;
		bool has;
		size_t count;
	} cases[] = {
		{",\"cni.dev/valid-attachments\":[{\"containerID\":\"42f2\",\"ifname\":\"eth0\"},"
		 "{\"containerID\":\"43\",\"ifname\":\"eth1\"}],"
		 "\"cni.dev/attachments\":[{\"containerID\":\"42f2\",\"ifname\":\"eth0\"}]",
		 true, 3},
		{",\"cni.dev/valid-attachments\":[],"
		 "\"cni.dev/attachments\":[{\"containerID\":\"42f2\",\"ifname\":\"eth0\"}]",
		 true, 1},
		{",\"cni.dev/attachments\":[{\"containerID\":\"42f2\",\"ifname\":\"eth0\"}]", true,
		 1},
		{",\"cni.dev/valid-attachments\":null,"
		 "\"cni.dev/attachments\":[{\"containerID\":\"42f2\",\"ifname\":\"eth0\"}]",
		 true, 1},
		{",\"cni.dev/valid-attachments\":[]", true, 0},
		{",\"cni.dev/valid-attachments\":null", false, 0},
		{",\"cni.dev/valid-attachments\":null,\"cni.dev/attachments\":null", false, 0},
		{"", false, 0},
	};

	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		char input[1024];

		set_environment("GC");
		set_variable("CNI_CONTAINERID", "");
		set_variable("CNI_NETNS", "");
		set_variable("CNI_IFNAME", "");
		(void)snprintf(input, sizeof(input), CONFIGURATION "%s}", cases[i].keys);

		RAIL_CLEANUP(rail_cni_call_done) struct rail_cni_call call = good_call(input);
		cr_assert_eq(call.has_valid_attachments, cases[i].has, "%s", cases[i].keys);
		cr_assert_eq(call.valid_attachment_count, cases[i].count, "%s", cases[i].keys);
		if (cases[i].count > 0) {
			cr_assert_str_eq(call.valid_attachments[0].container_id, "42f2");
			cr_assert_str_eq(call.valid_attachments[0].interface, "eth0");
		}
	}
}

Test(cni_call, a_malformed_list_of_attachments_is_never_a_shorter_one)
{
	static const char *const lists[] = {
		"{}",
		"\"42f2\"",
		"[\"42f2\"]",
		"[null]",
		"[{}]",
		"[{\"containerID\":\"42f2\"}]",
		"[{\"ifname\":\"eth0\"}]",
		"[{\"containerID\":\"\",\"ifname\":\"eth0\"}]",
		"[{\"containerID\":42,\"ifname\":\"eth0\"}]",
		"[{\"containerID\":\"42f2\",\"ifname\":\"eth0\"},{\"containerID\":\"43\"}]",
	};
	static const char *const keys[] = {"cni.dev/valid-attachments", "cni.dev/attachments"};

	set_environment("GC");
	for (size_t i = 0; i < sizeof(lists) / sizeof(lists[0]); i++) {
		for (size_t j = 0; j < 2; j++) {
			char input[512];

			(void)snprintf(input, sizeof(input), CONFIGURATION ",\"%s\":%s}", keys[j],
				       lists[i]);
			refused(input, RAIL_CODE_INVALID_CONFIG, keys[j]);
		}
	}
}

Test(cni_call, podman)
{
	set_environment("ADD");
	set_variable("CNI_ARGS", "IgnoreUnknown=1;K8S_POD_NAME=box");
	RAIL_CLEANUP(rail_cni_call_done)
	struct rail_cni_call call = good_call(
		CONFIGURATION ",\"runtimeConfig\":{\"aliases\":{\"net1\":[\"ec3b3beaf02a\"]},"
			      "\"portMappings\":[{\"hostPort\":38091,\"containerPort\":80,"
			      "\"protocol\":\"tcp\",\"hostIP\":\"127.0.0.1\"}]}}");

	cr_assert_str_eq(rail_cni_argument(&call, "K8S_POD_NAME"), "box");
	cr_assert_not_null(rail_cni_capability(&call, "aliases"));
}

Test(cni_call, nomad)
{
	set_environment("ADD");
	set_variable("CNI_CONTAINERID", "6b235529-06a9-4b12-8d0f-7a3b1c2d3e4f");
	set_variable("CNI_ARGS",
		     "NOMAD_JOB_ID=my job/dispatch-1700000000-ab12cd34;IgnoreUnknown=true;"
		     "NOMAD_REGION=global;NOMAD_NAMESPACE=default;NOMAD_GROUP_NAME=web;"
		     "CONSUL_IPTABLES_CONFIG={\"a\":\"b=c\",\"d\":[1]};own=x=y");
	RAIL_CLEANUP(rail_cni_call_done)
	struct rail_cni_call call =
		good_call(CONFIGURATION ",\"runtimeConfig\":{\"portMappings\":[]}}");

	cr_assert(call.ignore_unknown_arguments);
	cr_assert_str_eq(rail_cni_argument(&call, "NOMAD_JOB_ID"),
			 "my job/dispatch-1700000000-ab12cd34");
	cr_assert_str_eq(rail_cni_argument(&call, "CONSUL_IPTABLES_CONFIG"),
			 "{\"a\":\"b=c\",\"d\":[1]}");
	cr_assert_str_eq(rail_cni_argument(&call, "own"), "x=y");
}

/* ---- versions ---- */

Test(cni_call, versions)
{
	static const struct {
		const char *key;
		enum rail_cni_version version;
	} cases[] = {
		{"\"cniVersion\":\"0.1.0\",", RAIL_CNI_0_1_0},
		{"\"cniVersion\":\"0.2.0\",", RAIL_CNI_0_2_0},
		{"", RAIL_CNI_0_2_0},
		{"\"cniVersion\":\"0.3.0\",", RAIL_CNI_0_3_0},
		{"\"cniVersion\":\"0.3.1\",", RAIL_CNI_0_3_1},
		{"\"cniVersion\":\"0.4.0\",", RAIL_CNI_0_4_0},
		{"\"cniVersion\":\"1.0.0\",", RAIL_CNI_1_0_0},
		{"\"cniVersion\":\"1.1.0\",", RAIL_CNI_1_1_0},
	};
	static const struct {
		const char *command;
		enum rail_cni_version since;
	} commands[] = {
		{"ADD", RAIL_CNI_0_1_0}, {"DEL", RAIL_CNI_0_1_0},    {"CHECK", RAIL_CNI_0_4_0},
		{"GC", RAIL_CNI_1_1_0},	 {"STATUS", RAIL_CNI_1_1_0},
	};

	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		for (size_t j = 0; j < sizeof(commands) / sizeof(commands[0]); j++) {
			char input[128];
			struct rail_cni_call call;
			struct rail_error error;

			(void)snprintf(input, sizeof(input), "{%s\"name\":\"n\",\"type\":\"t\"}",
				       cases[i].key);
			set_environment(commands[j].command);

			int result = read_call(input, &call, &error);
			cr_assert_eq(call.version, cases[i].version, "%s", input);
			if (cases[i].version >= commands[j].since) {
				cr_assert_eq(result, 0, "%s %s: %s", commands[j].command, input,
					     error.message);
			} else {
				cr_assert_lt(result, 0);
				cr_assert_eq(error.code, RAIL_CODE_INCOMPATIBLE_VERSION);
				cr_assert_not_null(strstr(error.message, commands[j].command));
			}
			rail_cni_call_done(&call);
		}
	}
}

Test(cni_call, unknown_versions)
{
	set_environment("ADD");
	refused("{\"cniVersion\":\"2.0.0\",\"name\":\"n\",\"type\":\"t\"}",
		RAIL_CODE_INCOMPATIBLE_VERSION, "'2.0.0'");
	refused("{\"cniVersion\":\"\",\"name\":\"n\",\"type\":\"t\"}",
		RAIL_CODE_INCOMPATIBLE_VERSION, "1.1.0");
	refused("{\"cniVersion\":1,\"name\":\"n\",\"type\":\"t\"}", RAIL_CODE_INVALID_CONFIG,
		"cniVersion");
}

Test(cni_call, the_version_is_there_although_the_environment_is_wrong)
{
	struct rail_cni_call call;
	struct rail_error error;

	set_environment("ADD");
	set_variable("CNI_NETNS", "");
	cr_assert_lt(read_call("{\"cniVersion\":\"0.4.0\"}", &call, &error), 0);
	cr_assert_eq(error.code, RAIL_CODE_INVALID_ENVIRONMENT);
	cr_assert_eq(call.version, RAIL_CNI_0_4_0);
	rail_cni_call_done(&call);
}

Test(cni_call, version_looks_at_nothing_else)
{
	static const char *const inputs[] = {"", "{", "[]", "{\"cniVersion\":\"9.9.9\"}",
					     CONFIGURATION "}"};

	memset(environment, 0, sizeof(environment));
	set_variable("CNI_COMMAND", "VERSION");
	for (size_t i = 0; i < sizeof(inputs) / sizeof(inputs[0]); i++) {
		RAIL_CLEANUP(rail_cni_call_done) struct rail_cni_call call = good_call(inputs[i]);
		cr_assert_eq(call.command, RAIL_CNI_VERSION);
	}
}

/* ---- the environment ---- */

Test(cni_call, all_missing_variables_are_named)
{
	static const struct {
		const char *command;
		const char *missing; /* of all that are required */
	} cases[] = {
		{"ADD", "CNI_CONTAINERID, CNI_NETNS, CNI_IFNAME, CNI_PATH"},
		{"CHECK", "CNI_CONTAINERID, CNI_NETNS, CNI_IFNAME, CNI_PATH"},
		{"DEL", "CNI_CONTAINERID, CNI_IFNAME, CNI_PATH"},
		{"GC", "CNI_PATH"},
		{"STATUS", "CNI_PATH"},
	};

	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		static const char *const empty[] = {NULL, ""};

		for (size_t j = 0; j < 2; j++) {
			char says[128];

			memset(environment, 0, sizeof(environment));
			set_variable("CNI_COMMAND", cases[i].command);
			set_variable("CNI_CONTAINERID", empty[j]);
			set_variable("CNI_NETNS", empty[j]);
			set_variable("CNI_IFNAME", empty[j]);
			set_variable("CNI_PATH", empty[j]);
			(void)snprintf(says, sizeof(says), "missing in the environment: %s",
				       cases[i].missing);

			struct rail_cni_call call;
			struct rail_error error;
			cr_assert_lt(read_call(CONFIGURATION "}", &call, &error), 0);
			cr_assert_eq(error.code, RAIL_CODE_INVALID_ENVIRONMENT);
			cr_assert_str_eq(error.message, says);
		}
	}

	memset(environment, 0, sizeof(environment));
	refused(CONFIGURATION "}", RAIL_CODE_INVALID_ENVIRONMENT, "CNI_COMMAND");
}

Test(cni_call, what_is_wrong_with_the_environment_is_said_first)
{
	set_environment("ADD");
	set_variable("CNI_IFNAME", "");
	refused("no json", RAIL_CODE_INVALID_ENVIRONMENT, "CNI_IFNAME");
	set_environment("UPDATE");
	refused("no json", RAIL_CODE_INVALID_ENVIRONMENT, "'UPDATE'");
	set_environment("add");
	refused(CONFIGURATION "}", RAIL_CODE_INVALID_ENVIRONMENT, "CNI_COMMAND='add'");
}

static char long_id[258];

Test(cni_call, malformed_variables)
{
	static const struct {
		const char *name;
		const char *value;
		bool good;
	} cases[] = {
		{"CNI_CONTAINERID", "a", true},
		{"CNI_CONTAINERID", "0._-Z", true},
		{"CNI_CONTAINERID", "-a", false},
		{"CNI_CONTAINERID", ".", false},
		{"CNI_CONTAINERID", "_a", false},
		{"CNI_CONTAINERID", "../x", false},
		{"CNI_CONTAINERID", "a b", false},
		{"CNI_CONTAINERID", "a\n", false},
		{"CNI_CONTAINERID", "\xc3\xa4", false},
		{"CNI_CONTAINERID", long_id + 1, true},
		{"CNI_CONTAINERID", long_id, false},
		{"CNI_IFNAME", "eth0", true},
		{"CNI_IFNAME", "123456789012345", true},
		{"CNI_IFNAME", "1234567890123456", false},
		{"CNI_IFNAME", ".", false},
		{"CNI_IFNAME", "..", false},
		{"CNI_IFNAME", "...", true},
		{"CNI_IFNAME", "a/b", false},
		{"CNI_IFNAME", "a:b", false},
		{"CNI_IFNAME", "a b", false},
		{"CNI_IFNAME", "a\tb", false},
		{"CNI_IFNAME", "eth%d", false},
		{"CNI_NETNS_OVERRIDE", "1", true},
		{"CNI_NETNS_OVERRIDE", "false", true},
		{"CNI_NETNS_OVERRIDE", "perhaps", false},
	};

	memset(long_id, 'a', sizeof(long_id) - 1);
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		struct rail_cni_call call;
		struct rail_error error;

		set_environment("ADD");
		set_variable(cases[i].name, cases[i].value);

		int result = read_call(CONFIGURATION "}", &call, &error);
		cr_assert_eq(result == 0, cases[i].good, "%s=%s: %s", cases[i].name, cases[i].value,
			     error.message);
		if (!cases[i].good) {
			cr_assert_eq(error.code, RAIL_CODE_INVALID_ENVIRONMENT);
			cr_assert_not_null(strstr(error.message, cases[i].name));
		}
		rail_cni_call_done(&call);
	}
}

Test(cni_call, netns_override)
{
	static const struct {
		const char *value;
		bool truth;
	} cases[] = {{"1", true},      {"true", true}, {"TRUE", true}, {"0", false},
		     {"false", false}, {"", false},    {NULL, false}};

	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		set_environment("ADD");
		set_variable("CNI_NETNS_OVERRIDE", cases[i].value);

		RAIL_CLEANUP(rail_cni_call_done)
		struct rail_cni_call call = good_call(CONFIGURATION "}");
		cr_assert_eq(call.netns_override, cases[i].truth);
	}
}

Test(cni_call, variables_that_the_command_does_not_use_are_not_looked_at)
{
	set_environment("STATUS");
	set_variable("CNI_CONTAINERID", "../..");
	set_variable("CNI_IFNAME", "a/b");
	set_variable("CNI_ARGS", "nonsense");
	RAIL_CLEANUP(rail_cni_call_done) struct rail_cni_call call = good_call(CONFIGURATION "}");
	cr_assert_str_eq(call.container_id, "");
	cr_assert_str_eq(call.interface, "");
	cr_assert_str_eq(call.netns, "");
	cr_assert_eq(call.arguments.count, 0);
}

/* ---- CNI_ARGS ---- */

Test(cni_call, arguments)
{
	static const struct {
		const char *text;
		const char *says; /* NULL: good */
		size_t count;
	} cases[] = {
		{"", NULL, 0},
		{"IP=fd00::1", NULL, 1},
		{"MAC=", NULL, 1},
		{"a=b", "'a'", 0},
		{"RAILWAY_SERVICE=api;NOMAD_JOB_ID=x;K8S_POD_NAME=y;"
		 "ENABLE_ALPINE_PRIVATE_NETWORKING=true",
		 NULL, 4},
		{"IgnoreUnknown=0;a=b", "'a'", 0},
		{"IgnoreUnknown=1;a=b", NULL, 2},
		{"a=b;IgnoreUnknown=True", NULL, 2},
		{"IgnoreUnknown=TRUE;a=b", NULL, 2},
		{"IgnoreUnknown=maybe;a=b", "'maybe'", 0},
		{"ignoreunknown=1", "'ignoreunknown'", 0},
		{"a", "'a'", 0},
		{"IP=fd00::1;", "a key, '=' and a value", 0},
		{"=b", "a key, '=' and a value", 0},
		{"IP=1;IP=2", "twice", 0},
		{"IgnoreUnknown=1;IgnoreUnknown=1", NULL, 1},
	};

	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		set_environment("ADD");
		set_variable("CNI_ARGS", cases[i].text);
		if (cases[i].says != NULL) {
			refused(CONFIGURATION "}", RAIL_CODE_INVALID_ENVIRONMENT, cases[i].says);
			continue;
		}

		RAIL_CLEANUP(rail_cni_call_done)
		struct rail_cni_call call = good_call(CONFIGURATION "}");
		cr_assert_eq(call.arguments.count, cases[i].count, "%s", cases[i].text);

		/* DEL takes them too. */
		set_variable("CNI_COMMAND", "DEL");
		RAIL_CLEANUP(rail_cni_call_done)
		struct rail_cni_call del = good_call(CONFIGURATION "}");
		cr_assert_eq(del.arguments.count, cases[i].count);
	}
}

Test(cni_call, del_does_not_fail_on_arguments)
{
	set_environment("DEL");
	set_variable("CNI_ARGS", "nonsense;K8S_POD_NAME=y;unknown=1;K8S_POD_NAME=z");
	RAIL_CLEANUP(rail_cni_call_done) struct rail_cni_call call = good_call(CONFIGURATION "}");
	cr_assert_str_eq(rail_cni_argument(&call, "K8S_POD_NAME"), "y");
}

Test(cni_call, arguments_are_bounded)
{
	size_t size = 64 * 1024;
	RAIL_FREE char *text = malloc(size + 2);

	set_environment("ADD");
	memset(text, 'a', size + 1);
	memcpy(text, "IP=", 3);
	text[size] = '\0';
	set_variable("CNI_ARGS", text);
	RAIL_CLEANUP(rail_cni_call_done) struct rail_cni_call call = good_call(CONFIGURATION "}");
	cr_assert_eq(call.arguments.count, 1);

	text[size] = 'a';
	text[size + 1] = '\0';
	refused(CONFIGURATION "}", RAIL_CODE_INVALID_ENVIRONMENT, "64 KiB");

	for (size_t i = 0; i < 1025; i++)
		memcpy(text + i * 4, "a=b;", 4);
	text[1025 * 4 - 1] = '\0';
	refused(CONFIGURATION "}", RAIL_CODE_INVALID_ENVIRONMENT, "1024");
}

/* ---- the configuration ---- */

Test(cni_call, args_cni)
{
	set_environment("ADD");
	set_variable("CNI_ARGS", "RAILWAY_SERVICE=one;IP=fd00::1");
	RAIL_CLEANUP(rail_cni_call_done)
	struct rail_cni_call call = good_call(
		CONFIGURATION ",\"args\":{\"other\":1,\"cni\":{\"RAILWAY_SERVICE\":\"two\","
			      "\"number\":12345678901234567890,\"yes\":true,\"none\":null,"
			      "\"list\":[1],\"labels\":[{\"key\":\"app\",\"value\":\"web\"}]}}}");

	cr_assert_str_eq(rail_cni_argument(&call, "RAILWAY_SERVICE"), "two");
	cr_assert_str_eq(rail_cni_argument(&call, "IP"), "fd00::1");
	cr_assert_str_eq(rail_cni_argument(&call, "number"), "12345678901234567890");
	cr_assert_str_eq(rail_cni_argument(&call, "yes"), "true");
	cr_assert_null(rail_cni_argument(&call, "none"));
	cr_assert_null(rail_cni_argument(&call, "list"));
	cr_assert_eq(call.cni_arguments.count, 3);
	cr_assert_eq(call.labels.count, 1);
	cr_assert_str_eq(pair(&call.labels, "app"), "web");
}

Test(cni_call, malformed_configurations)
{
	static const struct {
		const char *text;
		int code;
		const char *says;
	} cases[] = {
		{"", RAIL_CODE_DECODE, "empty"},
		{"{", RAIL_CODE_DECODE, "standard input"},
		{"[]", RAIL_CODE_DECODE, "a list"},
		{"{\"cniVersion\":\"1.0.0\",\"type\":\"t\"}", RAIL_CODE_INVALID_CONFIG,
		 "'name': missing"},
		{"{\"cniVersion\":\"1.0.0\",\"name\":null,\"type\":\"t\"}",
		 RAIL_CODE_INVALID_CONFIG, "'name': missing"},
		{"{\"cniVersion\":\"1.0.0\",\"name\":1,\"type\":\"t\"}", RAIL_CODE_INVALID_CONFIG,
		 "'name': must be a string, is a number"},
		{"{\"cniVersion\":\"1.0.0\",\"name\":\"\",\"type\":\"t\"}",
		 RAIL_CODE_INVALID_CONFIG, "'name'"},
		{"{\"cniVersion\":\"1.0.0\",\"name\":\"a/b\",\"type\":\"t\"}",
		 RAIL_CODE_INVALID_CONFIG, "'a/b'"},
		{"{\"cniVersion\":\"1.0.0\",\"name\":\"n\"}", RAIL_CODE_INVALID_CONFIG,
		 "'type': missing"},
		{"{\"cniVersion\":\"1.0.0\",\"name\":\"n\",\"type\":\"../t\"}",
		 RAIL_CODE_INVALID_CONFIG, "'../t'"},
		{CONFIGURATION ",\"ipam\":[]}", RAIL_CODE_INVALID_CONFIG, "'ipam'"},
		{CONFIGURATION ",\"ipam\":{\"subnet\":\"x\"}}", RAIL_CODE_INVALID_CONFIG,
		 "'ipam.type': missing"},
		{CONFIGURATION ",\"ipam\":{\"type\":1}}", RAIL_CODE_INVALID_CONFIG, "'ipam.type'"},
		{CONFIGURATION ",\"ipam\":{\"type\":\"\"}}", RAIL_CODE_INVALID_CONFIG,
		 "'ipam.type'"},
		{CONFIGURATION ",\"ipam\":{\"type\":\"a/b\"}}", RAIL_CODE_INVALID_CONFIG,
		 "'ipam.type'"},
		{CONFIGURATION ",\"ipam\":{\"type\":\"..\"}}", RAIL_CODE_INVALID_CONFIG,
		 "'ipam.type'"},
		{CONFIGURATION ",\"prevResult\":[]}", RAIL_CODE_INVALID_CONFIG, "'prevResult'"},
		{CONFIGURATION ",\"runtimeConfig\":[]}", RAIL_CODE_INVALID_CONFIG,
		 "'runtimeConfig'"},
		{CONFIGURATION ",\"runtimeConfig\":{\"Dns\":[]}}", RAIL_CODE_INVALID_CONFIG,
		 "'runtimeConfig.dns'"},
		{CONFIGURATION ",\"runtimeConfig\":{\"ips\":\"x\"}}", RAIL_CODE_INVALID_CONFIG,
		 "'runtimeConfig.ips': must be a list, is a string"},
		{CONFIGURATION ",\"runtimeConfig\":{\"io.kubernetes.cri.pod-annotations\":[]}}",
		 RAIL_CODE_INVALID_CONFIG, "'runtimeConfig.io.kubernetes.cri.pod-annotations'"},
		{CONFIGURATION
		 ",\"runtimeConfig\":{\"io.kubernetes.cri.pod-annotations\":{\"a/b\":1}}}",
		 RAIL_CODE_INVALID_CONFIG, "pod-annotations.a/b': must be a string, is a number"},
		{CONFIGURATION ",\"args\":1}", RAIL_CODE_INVALID_CONFIG, "'args'"},
		{CONFIGURATION ",\"args\":{\"cni\":[]}}", RAIL_CODE_INVALID_CONFIG, "'args.cni'"},
		{CONFIGURATION ",\"args\":{\"cni\":{\"labels\":{}}}}", RAIL_CODE_INVALID_CONFIG,
		 "'args.cni.labels'"},
		{CONFIGURATION ",\"args\":{\"cni\":{\"labels\":[{\"key\":\"a\"}]}}}",
		 RAIL_CODE_INVALID_CONFIG, "'args.cni.labels'"},
		{CONFIGURATION ",\"name\":\"x\"}", RAIL_CODE_DECODE, "'name'"},
	};

	set_environment("ADD");
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++)
		refused(cases[i].text, cases[i].code, cases[i].says);
}

Test(cni_call, what_is_null_is_not_there)
{
	set_environment("ADD");
	RAIL_CLEANUP(rail_cni_call_done)
	struct rail_cni_call call =
		good_call(CONFIGURATION ",\"ipam\":null,\"prevResult\":null,\"runtimeConfig\":null,"
					"\"args\":null}");
	cr_assert_null(call.ipam);
	cr_assert_null(call.prev_result);

	RAIL_CLEANUP(rail_cni_call_done)
	struct rail_cni_call empty =
		good_call(CONFIGURATION ",\"ipam\":{},\"args\":{\"cni\":null}}");
	cr_assert_null(empty.ipam);
}

Test(cni_call, the_name_of_a_network_is_bounded)
{
	char name[130];
	char input[256];

	set_environment("ADD");
	memset(name, 'n', sizeof(name) - 1);
	name[128] = '\0';
	(void)snprintf(input, sizeof(input), "{\"name\":\"%s\",\"type\":\"t\"}", name);
	RAIL_CLEANUP(rail_cni_call_done) struct rail_cni_call call = good_call(input);
	cr_assert_str_eq(call.network, name);

	name[128] = 'n';
	name[129] = '\0';
	(void)snprintf(input, sizeof(input), "{\"name\":\"%s\",\"type\":\"t\"}", name);
	refused(input, RAIL_CODE_INVALID_CONFIG, "'name'");
}
