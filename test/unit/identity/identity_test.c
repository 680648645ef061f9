#include "pkg/identity/identity.h"

#include <criterion/criterion.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "pkg/base/cleanup.h"

#define CONTAINER "9c3e0123456789abcdef"

/* A list of pairs in place: PAIRS({"key", "value"}, ...) */
#define PAIRS(...)                                                                                 \
	(struct rail_pairs)                                                                        \
	{                                                                                          \
		(const struct rail_pair[]){__VA_ARGS__},                                           \
			sizeof((const struct rail_pair[]){__VA_ARGS__}) / sizeof(struct rail_pair) \
	}

static struct rail_identity decide(const struct rail_claims *claims)
{
	struct rail_error error = RAIL_ERROR_NONE;
	struct rail_identity identity;

	cr_assert_eq(rail_identity_decide(claims, &identity, &error), 0, "%s", error.message);
	return identity;
}

/* The claims are refused with code 7, by a message that holds text. */
static void refused(const struct rail_claims *claims, const char *text)
{
	struct rail_error error = RAIL_ERROR_NONE;
	struct rail_identity identity;

	memset(&identity, 0x55, sizeof(identity));
	struct rail_identity before = identity;
	cr_assert_lt(rail_identity_decide(claims, &identity, &error), 0, "environment '%s'",
		     identity.environment);
	cr_assert_eq(error.code, RAIL_CODE_INVALID_CONFIG);
	cr_assert_neq(strstr(error.message, text), NULL, "'%s' is not in: %s", text, error.message);
	for (const char *c = error.message; *c != '\0'; c++)
		cr_assert(*c >= ' ' && *c <= '~', "the message holds raw bytes: %s", error.message);
	cr_assert_eq(memcmp(&identity, &before, sizeof(identity)), 0);
}

static void is_in(const struct rail_claims *claims, const char *environment)
{
	struct rail_identity identity = decide(claims);

	cr_assert_str_eq(identity.environment, environment);
}

static char *long_text(size_t length)
{
	char *text = malloc(length + 1);

	cr_assert_not_null(text);
	memset(text, 'a', length);
	text[length] = '\0';
	return text;
}

Test(identity_identity, a_pod_of_containerd_or_cri_o)
{
	struct rail_claims claims = {
		.arguments = PAIRS({"IgnoreUnknown", "1"}, {"K8S_POD_NAMESPACE", "demo"},
				   {"K8S_POD_NAME", "web-7d4b9c6f5d-x2k4z"},
				   {"K8S_POD_INFRA_CONTAINER_ID", CONTAINER},
				   {"K8S_POD_UID", "uid-web-0"}),
		.annotations = PAIRS({"example/a", "b"}),
		.container_id = CONTAINER,
	};
	struct rail_identity identity = decide(&claims);

	cr_assert_str_eq(identity.environment, "demo");
	cr_assert_str_eq(identity.service, "web");
	cr_assert_str_eq(identity.service_original, "web");
	cr_assert_str_eq(identity.replica, "web-7d4b9c6f5d-x2k4z");
	cr_assert_str_eq(identity.replica_original, "web-7d4b9c6f5d-x2k4z");
}

Test(identity_identity, a_group_of_nomad)
{
	struct rail_claims claims = {
		.arguments = PAIRS({"IgnoreUnknown", "true"}, {"NOMAD_REGION", "global"},
				   {"NOMAD_NAMESPACE", "shops"}, {"NOMAD_JOB_ID", "Shop"},
				   {"NOMAD_GROUP_NAME", "web"},
				   {"NOMAD_ALLOC_ID", "6b235529-1111-2222-3333-444444444444"}),
		.container_id = "6b235529-1111-2222-3333-444444444444",
	};
	struct rail_identity identity = decide(&claims);

	cr_assert_str_eq(identity.environment, "shops");
	cr_assert_str_eq(identity.service, "shop-web");
	cr_assert_str_eq(identity.service_original, "Shop-web");
	cr_assert_str_eq(identity.replica, "6b235529-111");
}

Test(identity_identity, a_container_of_podman_has_a_name_and_no_namespace)
{
	struct rail_claims claims = {
		.arguments = PAIRS({"IgnoreUnknown", "1"}, {"K8S_POD_NAME", "box"}),
		.container_id = CONTAINER,
	};
	struct rail_identity identity = decide(&claims);

	cr_assert_str_eq(identity.environment, "default");
	cr_assert_str_eq(identity.service, "box");
	cr_assert_str_eq(identity.replica, "box");
}

Test(identity_identity, a_container_of_ctr_has_nothing_but_the_configuration)
{
	struct rail_claims claims = {.container_id = "default-box"};

	refused(&claims, "railway.internal/service");
	struct rail_error error = RAIL_ERROR_NONE;
	struct rail_identity identity;
	cr_assert_eq(rail_identity_decide(&claims, &identity, &error), -ENOENT);

	claims.config_service = "api";
	identity = decide(&claims);
	cr_assert_str_eq(identity.environment, "default");
	cr_assert_str_eq(identity.service, "api");
	cr_assert_str_eq(identity.replica, "default-box");
}

Test(identity_identity, the_configurations_environment_beats_everybody)
{
	struct rail_claims claims = {
		.config_environment = "team/a",
		.config_service = "api",
		.trust_arguments = true,
		.arguments = PAIRS({"K8S_POD_NAMESPACE", "demo"}, {"RAILWAY_ENVIRONMENT", "x"}),
		.cni_arguments = PAIRS({"RAILWAY_ENVIRONMENT", "y"}),
		.annotations = PAIRS({"railway.internal/environment", "z"}),
		.container_id = CONTAINER,
	};

	is_in(&claims, "team/a");
	claims.config_environment = "";
	refused(&claims, "configuration key environment");
	claims.config_environment = "a\nb";
	refused(&claims, "'a\\x0ab'");
}

Test(identity_identity, an_author_names_an_environment_within_the_namespace)
{
	struct rail_claims claims = {
		.config_service = "api",
		.arguments = PAIRS({"K8S_POD_NAMESPACE", "demo"}, {"RAILWAY_ENVIRONMENT", "two"}),
		.cni_arguments = PAIRS({"RAILWAY_ENVIRONMENT", "one"}),
		.annotations = PAIRS({"railway.internal/environment", "three"}),
		.container_id = CONTAINER,
	};

	is_in(&claims, "demo/one");
	claims.cni_arguments.count = 0;
	is_in(&claims, "demo/two");
	claims.arguments.count = 1;
	is_in(&claims, "demo/three");
	claims.annotations.count = 0;
	is_in(&claims, "demo");
}

Test(identity_identity, trust_does_not_lift_an_author_out_of_the_namespace)
{
	struct rail_claims claims = {
		.config_service = "api",
		.trust_arguments = true,
		.arguments = PAIRS({"K8S_POD_NAMESPACE", "demo"}, {"RAILWAY_ENVIRONMENT", "other"}),
		.container_id = CONTAINER,
	};

	is_in(&claims, "demo/other");
}

Test(identity_identity, without_a_namespace_an_author_counts_only_with_trust)
{
	struct rail_claims claims = {
		.config_service = "api",
		.arguments = PAIRS({"RAILWAY_ENVIRONMENT", "two"}),
		.cni_arguments = PAIRS({"RAILWAY_ENVIRONMENT", "one"}),
		.annotations = PAIRS({"railway.internal/environment", "three"}),
		.container_id = CONTAINER,
	};

	is_in(&claims, "default");
	claims.trust_arguments = true;
	is_in(&claims, "one");
	claims.cni_arguments.count = 0;
	is_in(&claims, "two");
	/* An annotation without a namespace comes from no orchestrator. */
	claims.arguments.count = 0;
	is_in(&claims, "default");
}

Test(identity_identity, what_an_author_says_in_vain_is_not_even_looked_at)
{
	struct rail_claims claims = {
		.config_service = "api",
		.arguments = PAIRS({"RAILWAY_ENVIRONMENT", "a/b"}, {"RAILWAY_ENVIRONMENT", "c"}),
		.container_id = CONTAINER,
	};

	is_in(&claims, "default");
}

/* Every way in which an author might put on another tenant's name. The victim is the namespace
 * "victim" and the environment "victim/production". */
Test(identity_identity, no_word_of_an_author_reaches_another_tenant)
{
	static const char *const words[] = {
		"victim/production",
		"/victim",
		"../victim",
		"/",
		"victim/",
		"./../victim",
		"victim\xe2\x88\x95production",
		"\n",
		"victim\n",
		"\r",
		"\x01",
		"\x7f",
		"vi\xd1\x81tim",
		"\xff\xfe",
		"",
		"victim\t",
	};
	static const bool trusts[] = {false, true};

	for (size_t i = 0; i < sizeof(words) / sizeof(words[0]); i++) {
		for (size_t j = 0; j < 2; j++) {
			struct rail_claims claims = {
				.config_service = "api",
				.trust_arguments = trusts[j],
				.arguments = PAIRS({"K8S_POD_NAMESPACE", "attacker"},
						   {"RAILWAY_ENVIRONMENT", words[i]}),
				.container_id = CONTAINER,
			};
			struct rail_claims annotated = {
				.config_service = "api",
				.trust_arguments = trusts[j],
				.arguments = PAIRS({"K8S_POD_NAMESPACE", "attacker"}),
				.annotations = PAIRS({"railway.internal/environment", words[i]}),
				.container_id = CONTAINER,
			};
			struct rail_claims json = {
				.config_service = "api",
				.trust_arguments = trusts[j],
				.arguments = PAIRS({"NOMAD_NAMESPACE", "attacker"}),
				.cni_arguments = PAIRS({"RAILWAY_ENVIRONMENT", words[i]}),
				.container_id = CONTAINER,
			};

			refused(&claims, "RAILWAY_ENVIRONMENT in CNI_ARGS");
			refused(&annotated, "annotation railway.internal/environment");
			refused(&json, "RAILWAY_ENVIRONMENT in args.cni");
		}
		/* In no namespace, with trust: "<namespace>/<name>" cannot be forged. */
		struct rail_claims bare = {
			.config_service = "api",
			.trust_arguments = true,
			.arguments = PAIRS({"RAILWAY_ENVIRONMENT", words[i]}),
			.container_id = CONTAINER,
		};
		refused(&bare, "RAILWAY_ENVIRONMENT in CNI_ARGS");
	}
}

Test(identity_identity, names_of_environments_are_no_paths)
{
	struct rail_claims claims = {
		.config_service = "api",
		.arguments = PAIRS({"K8S_POD_NAMESPACE", "own"}, {"RAILWAY_ENVIRONMENT", ".."}),
		.container_id = CONTAINER,
	};

	is_in(&claims, "own/..");
}

Test(identity_identity, a_namespace_that_could_be_two_is_refused)
{
	static const char *const words[] = {"a/b", "/", "", "a\n", "\xc3\xa9", "a\x01"};

	for (size_t i = 0; i < sizeof(words) / sizeof(words[0]); i++) {
		struct rail_claims kubernetes = {
			.config_service = "api",
			.trust_arguments = true,
			.arguments = PAIRS({"K8S_POD_NAMESPACE", words[i]}),
			.container_id = CONTAINER,
		};
		struct rail_claims nomad = {
			.config_service = "api",
			.arguments = PAIRS({"NOMAD_NAMESPACE", words[i]}),
			.container_id = CONTAINER,
		};

		refused(&kubernetes, "K8S_POD_NAMESPACE in CNI_ARGS");
		refused(&nomad, "NOMAD_NAMESPACE in CNI_ARGS");
	}
}

Test(identity_identity, the_orchestrators_keys_count_in_cni_args_only)
{
	struct rail_claims claims = {
		.config_service = "api",
		.trust_arguments = true,
		.cni_arguments =
			PAIRS({"K8S_POD_NAMESPACE", "victim"}, {"NOMAD_NAMESPACE", "victim"},
			      {"K8S_POD_NAME", "db-0"}, {"NOMAD_JOB_ID", "db"}),
		.annotations = PAIRS({"K8S_POD_NAMESPACE", "victim"}, {"NOMAD_NAMESPACE", "victim"},
				     {"K8S_POD_NAME", "db-0"}, {"RAILWAY_ENVIRONMENT", "victim"}),
		.container_id = CONTAINER,
	};
	struct rail_identity identity = decide(&claims);

	cr_assert_str_eq(identity.environment, "default");
	cr_assert_str_eq(identity.replica, "9c3e01234567");

	claims.config_service = NULL;
	refused(&claims, "nothing names the service");

	/* And with a namespace of its own, nothing of the other is taken. */
	claims.config_service = "api";
	claims.arguments = PAIRS({"K8S_POD_NAMESPACE", "own"});
	is_in(&claims, "own");
}

Test(identity_identity, an_annotations_key_is_no_arguments_and_the_other_way_round)
{
	struct rail_claims claims = {
		.config_service = "api",
		.trust_arguments = true,
		.arguments =
			PAIRS({"K8S_POD_NAMESPACE", "own"}, {"railway.internal/environment", "x"}),
		.cni_arguments = PAIRS({"railway.internal/environment", "x"}),
		.annotations = PAIRS({"RAILWAY_ENVIRONMENT", "x"}),
		.container_id = CONTAINER,
	};

	is_in(&claims, "own");
}

Test(identity_identity, keys_are_compared_byte_for_byte)
{
	struct rail_claims claims = {
		.config_service = "api",
		.trust_arguments = true,
		.arguments =
			PAIRS({"k8s_pod_namespace", "victim"}, {"K8S_POD_NAMESPACE ", "victim"},
			      {"Nomad_Namespace", "victim"}, {"railway_environment", "victim"},
			      {"", "victim"}, {NULL, "victim"}, {"RAILWAY_ENVIRONMEN", "victim"},
			      {"RAILWAY_ENVIRONMENTS", "victim"}),
		.annotations = PAIRS({"Railway.Internal/Environment", "victim"}),
		.container_id = CONTAINER,
	};

	is_in(&claims, "default");
}

Test(identity_identity, names_of_environments_are_never_normalised)
{
	static const char *const names[] = {"Team_A", "team-a", "team_a", " team-a", "TEAM-A"};

	for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++) {
		struct rail_claims claims = {
			.config_service = "api",
			.arguments = PAIRS({"K8S_POD_NAMESPACE", names[i]}),
			.container_id = CONTAINER,
		};

		is_in(&claims, names[i]);
	}
}

Test(identity_identity, a_nomad_job_cannot_pose_as_a_pod_of_kubernetes)
{
	struct rail_claims claims = {
		.arguments = PAIRS({"K8S_POD_NAMESPACE", "victim"}, {"K8S_POD_NAME", "db-0"},
				   {"NOMAD_NAMESPACE", "own"}, {"NOMAD_JOB_ID", "shop"},
				   {"NOMAD_GROUP_NAME", "shop"}),
		.container_id = CONTAINER,
	};
	struct rail_identity identity = decide(&claims);

	cr_assert_str_eq(identity.environment, "own");
	cr_assert_str_eq(identity.service, "shop");
	cr_assert_str_eq(identity.replica, "9c3e01234567");

	/* Not even where Nomad's own word is unusable, */
	claims.arguments = PAIRS({"K8S_POD_NAMESPACE", "victim"}, {"K8S_POD_NAME", "db-0"},
				 {"NOMAD_NAMESPACE", ""}, {"NOMAD_JOB_ID", "shop"});
	refused(&claims, "NOMAD_NAMESPACE");
	/* and not for its name where Nomad names no job. */
	claims.arguments = PAIRS({"K8S_POD_NAME", "db-0"}, {"NOMAD_NAMESPACE", "own"});
	refused(&claims, "nothing names the service");
}

Test(identity_identity, a_key_given_twice_must_say_the_same)
{
	struct rail_claims claims = {
		.config_service = "api",
		.arguments = PAIRS({"K8S_POD_NAMESPACE", "own"}, {"K8S_POD_NAMESPACE", "own"}),
		.container_id = CONTAINER,
	};

	is_in(&claims, "own");
	claims.arguments = PAIRS({"K8S_POD_NAMESPACE", "own"}, {"K8S_POD_NAMESPACE", "victim"});
	refused(&claims, "given twice");
	claims.arguments = PAIRS({"K8S_POD_NAMESPACE", "own"}, {"K8S_POD_NAMESPACE", ""});
	refused(&claims, "given twice");
	claims.arguments = PAIRS({"NOMAD_NAMESPACE", "own"}, {"x", "y"}, {"NOMAD_NAMESPACE", "b"});
	refused(&claims, "given twice");
	claims.arguments = PAIRS({"K8S_POD_NAMESPACE", "own"}, {"RAILWAY_ENVIRONMENT", "a"},
				 {"RAILWAY_ENVIRONMENT", "b"});
	refused(&claims, "given twice");
	claims.arguments = PAIRS({"K8S_POD_NAME", "a"}, {"K8S_POD_NAME", "b"});
	refused(&claims, "given twice");
	/* What does not count may be said as often as one likes. */
	claims.arguments = PAIRS({"NOMAD_NAMESPACE", "own"}, {"K8S_POD_NAMESPACE", "a"},
				 {"K8S_POD_NAMESPACE", "b"});
	is_in(&claims, "own");
}

Test(identity_identity, environments_have_253_bytes_at_most)
{
	RAIL_FREE char *longest = long_text(253);
	RAIL_FREE char *longer = long_text(254);
	RAIL_FREE char *half = long_text(126);
	RAIL_FREE char *huge = long_text(10240);
	struct rail_claims claims = {.config_service = "api", .container_id = CONTAINER};

	claims.arguments = PAIRS({"K8S_POD_NAMESPACE", longest});
	is_in(&claims, longest);
	claims.arguments = PAIRS({"K8S_POD_NAMESPACE", longer});
	refused(&claims, "254 bytes");
	claims.arguments = PAIRS({"K8S_POD_NAMESPACE", huge});
	refused(&claims, "10240 bytes");
	claims.arguments = PAIRS({"K8S_POD_NAMESPACE", half}, {"RAILWAY_ENVIRONMENT", half});
	cr_assert_eq(strlen(decide(&claims).environment), 253);
	claims.arguments = PAIRS({"K8S_POD_NAMESPACE", half}, {"RAILWAY_ENVIRONMENT", longest});
	refused(&claims, "380 bytes");
	claims.arguments = PAIRS({"K8S_POD_NAMESPACE", "a"}, {"RAILWAY_ENVIRONMENT", longest});
	refused(&claims, "255 bytes");
	claims.arguments = PAIRS({"K8S_POD_NAMESPACE", "a"}, {"RAILWAY_ENVIRONMENT", huge});
	refused(&claims, "RAILWAY_ENVIRONMENT in CNI_ARGS");
}

Test(identity_identity, who_names_a_service_first)
{
	struct rail_claims claims = {
		.config_service = "Zero",
		.arguments = PAIRS({"K8S_POD_NAME", "four-0"}, {"RAILWAY_SERVICE", "two"}),
		.cni_arguments = PAIRS({"RAILWAY_SERVICE", "one"}),
		.annotations = PAIRS({"railway.internal/service", "three"}),
		.container_id = CONTAINER,
	};

	cr_assert_str_eq(decide(&claims).service, "zero");
	cr_assert_str_eq(decide(&claims).service_original, "Zero");
	claims.config_service = NULL;
	cr_assert_str_eq(decide(&claims).service, "one");
	claims.cni_arguments.count = 0;
	cr_assert_str_eq(decide(&claims).service, "two");
	claims.arguments.count = 1;
	cr_assert_str_eq(decide(&claims).service, "three");
	claims.annotations.count = 0;
	cr_assert_str_eq(decide(&claims).service, "four");
	claims.arguments.count = 0;
	refused(&claims, "nothing names the service");
}

Test(identity_identity, services_of_nomads_jobs)
{
	static const struct {
		const char *job;
		const char *group;
		const char *original;
		const char *service;
	} rows[] = {
		{"shop", "web", "shop-web", "shop-web"},
		{"shop", "shop", "shop", "shop"},
		{"shop", NULL, "shop", "shop"},
		{"my job/dispatch-1700000000-ab12cd34", "main", "my job-main", "my-job-main"},
		{"my job/dispatch-1700000000-ab12cd34", "my job", "my job", "my-job"},
		{"job/dispatch-eu west-1700000000-ab12cd34", "g", "job-g", "job-g"},
		{"clean/periodic-1700000000", "g", "clean-g", "clean-g"},
		{"clean/periodic-1700000000/dispatch-1700000001-ab12cd34", "g", "clean-g",
		 "clean-g"},
		{"infra/api", "g", "infra/api-g", "infraapi-g"},
		/* These are called so. */
		{"infra/dispatch-api", "g", "infra/dispatch-api-g", "infradispatch-api-g"},
		{"infra/periodic-x", "g", "infra/periodic-x-g", "infraperiodic-x-g"},
		{"infra/dispatch-ab12cd34", "g", "infra/dispatch-ab12cd34-g",
		 "infradispatch-ab12cd34-g"},
		{"infra/dispatch-1700000000-ab", "g", "infra/dispatch-1700000000-ab-g",
		 "infradispatch-1700000000-ab-g"},
		{"infra/periodic-", "g", "infra/periodic--g", "infraperiodic--g"},
	};

	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		struct rail_claims claims = {
			.arguments =
				PAIRS({"NOMAD_NAMESPACE", "own"}, {"NOMAD_JOB_ID", rows[i].job},
				      {"NOMAD_GROUP_NAME", rows[i].group}),
			.container_id = CONTAINER,
		};

		if (rows[i].group == NULL)
			claims.arguments.count = 2;
		struct rail_identity identity = decide(&claims);
		cr_assert_str_eq(identity.service_original, rows[i].original);
		cr_assert_str_eq(identity.service, rows[i].service);
	}
}

Test(identity_identity, services_that_cannot_be_are_refused_by_their_source)
{
	RAIL_FREE char *huge = long_text(10240);
	RAIL_FREE char *longest = long_text(63);
	struct rail_claims claims = {.container_id = CONTAINER};

	claims.annotations = PAIRS({"railway.internal/service", ""});
	refused(&claims, "annotation railway.internal/service");
	claims.annotations = PAIRS({"railway.internal/service", "\xf0\x9f\x9a\x82"});
	refused(&claims, "\\xf0\\x9f\\x9a\\x82");
	claims.annotations = PAIRS({"railway.internal/service", "Internal"});
	refused(&claims, "reserved");
	claims.annotations = PAIRS({"railway.internal/service", huge});
	refused(&claims, "10240 bytes");
	claims.annotations.count = 0;
	claims.arguments = PAIRS({"K8S_POD_NAME", "up-0"});
	refused(&claims, "K8S_POD_NAME in CNI_ARGS");
	claims.arguments = PAIRS({"NOMAD_NAMESPACE", "own"}, {"NOMAD_JOB_ID", huge},
				 {"NOMAD_GROUP_NAME", "web"});
	refused(&claims, "NOMAD_JOB_ID");
	claims.arguments = PAIRS({"NOMAD_NAMESPACE", "own"}, {"NOMAD_JOB_ID", longest},
				 {"NOMAD_GROUP_NAME", "web"});
	refused(&claims, "too long");
}

Test(identity_identity, replicas)
{
	struct rail_claims claims = {
		.config_service = "api",
		.config_replica = "Blue_1",
		.arguments = PAIRS({"K8S_POD_NAME", "up"}),
		.container_id = "9C3E_ABCDEFGHIJK",
	};

	cr_assert_str_eq(decide(&claims).replica, "blue-1");
	cr_assert_str_eq(decide(&claims).replica_original, "Blue_1");
	claims.config_replica = NULL;
	cr_assert_str_eq(decide(&claims).replica, "up");
	claims.arguments.count = 0;
	cr_assert_str_eq(decide(&claims).replica, "9c3e-abcdefg");
	cr_assert_str_eq(decide(&claims).replica_original, "9C3E_ABCDEFG");
	claims.container_id = "x";
	cr_assert_str_eq(decide(&claims).replica, "x");
	claims.container_id = "...";
	refused(&claims, "container ID");
	claims.container_id = NULL;
	refused(&claims, "container ID");
	claims.config_replica = "";
	refused(&claims, "configuration key replica");
}
