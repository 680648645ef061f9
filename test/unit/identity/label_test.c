#include <criterion/criterion.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "pkg/base/cleanup.h"
#include "pkg/identity/identity.h"

#define LABEL_63 "abcdefghijklmnopqrstuvwxyz0123456789abcdefghijklmnopqrstuvwxyz0"

Test(identity_label, names_become_labels)
{
	static const struct {
		const char *name;
		const char *label;
	} rows[] = {
		{"api", "api"},
		{"API", "api"},
		{"My Service", "my-service"},
		{"my_service\tb", "my-service-b"},
		{"web.example", "webexample"},
		{"a.b", "ab"},
		{"a/b", "ab"},
		{"--a--b--", "a--b"},
		{"_ a _", "a"},
		{"-./a", "a"},
		{"7", "7"},
		{"a\r\n\x01\x7f"
		 "b",
		 "ab"},
		{"caf\xc3\xa9", "caf"},
		{"\xd0\xb0pi", "pi"}, /* a Cyrillic letter that looks like a Latin one */
		{LABEL_63, LABEL_63},
		{"..." LABEL_63 "---", LABEL_63},
	};

	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		struct rail_error error = RAIL_ERROR_NONE;
		char label[RAIL_LABEL_SIZE];

		cr_assert_eq(rail_label_make("test", rows[i].name, true, label, &error), 0, "%s",
			     error.message);
		cr_assert_str_eq(label, rows[i].label);
	}
}

Test(identity_label, names_of_which_nothing_is_left_are_refused)
{
	static const char *const rows[] = {"", "-", "_ _", "...", "/", "\xc3\xa9\xc3\xa9", "\x01"};

	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		struct rail_error error = RAIL_ERROR_NONE;
		char label[RAIL_LABEL_SIZE] = "before";

		cr_assert_eq(rail_label_make("the test's key", rows[i], false, label, &error),
			     -EINVAL);
		cr_assert_eq(error.code, RAIL_CODE_INVALID_CONFIG);
		cr_assert_neq(strstr(error.message, "the test's key"), NULL);
		cr_assert_str_eq(label, "before");
	}
}

Test(identity_label, names_that_are_too_long_are_refused_whatever_their_length)
{
	static const size_t lengths[] = {64, 65, 253, 1023, 10240};

	for (size_t i = 0; i < sizeof(lengths) / sizeof(lengths[0]); i++) {
		RAIL_FREE char *name = malloc(lengths[i] + 1);
		struct rail_error error = RAIL_ERROR_NONE;
		char label[RAIL_LABEL_SIZE];

		cr_assert_not_null(name);
		memset(name, 'a', lengths[i]);
		name[lengths[i]] = '\0';
		cr_assert_eq(rail_label_make("key", name, false, label, &error), -ENAMETOOLONG);
		cr_assert_eq(error.code, RAIL_CODE_INVALID_CONFIG);

		/* Two letters, and nothing but dashes between them. */
		memset(name + 1, '-', lengths[i] - 2);
		cr_assert_eq(rail_label_make("key", name, false, label, &error), -ENAMETOOLONG);
		/* One letter: the dashes are no part of the label. */
		name[lengths[i] - 1] = '-';
		cr_assert_eq(rail_label_make("key", name, false, label, &error), 0);
		cr_assert_str_eq(label, "a");
	}
}

Test(identity_label, reserved_names_are_refused_for_services_only)
{
	static const char *const rows[] = {"health", "internal", "internal-health", "railway",
					   "up",     "HEALTH",	 "Internal_Health", ".up."};

	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		struct rail_error error = RAIL_ERROR_NONE;
		char label[RAIL_LABEL_SIZE];

		cr_assert_eq(rail_label_make("key", rows[i], true, label, &error), -EINVAL, "%s",
			     rows[i]);
		cr_assert_neq(strstr(error.message, "reserved"), NULL);
		cr_assert_eq(rail_label_make("key", rows[i], false, label, &error), 0);
	}
}

Test(identity_label, workloads_of_pods)
{
	static const struct {
		const char *pod;
		const char *workload;
	} rows[] = {
		{"api-7d4b9c6f5d-x2k4z", "api"}, /* Deployment */
		{"my-api-v2-7d4b9c6f5d-x2k4z", "my-api-v2"},
		{"api-5fb4c8d-x2k4z", "api"},		  /* a short hash */
		{"node-exporter-x2k4z", "node-exporter"}, /* DaemonSet */
		{"web-db-x2k4z", "web-db"},		  /* "db" is no hash */
		{"web-v2-x2k4z", "web-v2"},
		{"migrate-x2k4z", "migrate"},	     /* Job */
		{"backup-28312340-x2k4z", "backup"}, /* CronJob */
		{"backup-28456789-x2k4z", "backup"}, /* whose minutes look like a hash */
		{"train-0-x2k4z", "train-0"},	     /* an indexed Job */
		/* Cut to 58 characters: in front of the last '-', and in the hash or the minutes.
		 */
		{"a-deployment-of-46-characters-with-many-wordse-7d4b9c6f5d-x2k4z",
		 "a-deployment-of-46-characters-with-many-wordse"},
		{"a-deployment-of-47-characters-with-many-words-i-7d4b9c6f5dx2k4z",
		 "a-deployment-of-47-characters-with-many-words-i"},
		{"a-deployment-of-48-characters-with-many-words-in-7d4b9c6f5x2k4z",
		 "a-deployment-of-48-characters-with-many-words-in"},
		{"a-deployment-of-56-characters-with-many-words-in-its-own-7x2k4z",
		 "a-deployment-of-56-characters-with-many-words-in-its-own"},
		{"a-deployment-of-57-characters-with-many-words-in-its-owne-x2k4z",
		 "a-deployment-of-57-characters-with-many-words-in-its-owne"},
		{"a-cronjob-of-48-characters-with-many-words-in-ie-29384723-x2k4z",
		 "a-cronjob-of-48-characters-with-many-words-in-ie"},
		{"a-cronjob-of-49-characters-with-many-words-in-i-t-29384723x2k4z",
		 "a-cronjob-of-49-characters-with-many-words-in-i-t"},
		{"a-cronjob-of-52-characters-with-many-words-in-i-ts-n-29384x2k4z",
		 "a-cronjob-of-52-characters-with-many-words-in-i-ts-n"},
		{"nothing-is-cut-from-a-statefulset-of-many-characters-in-all-02",
		 "nothing-is-cut-from-a-statefulset-of-many-characters-in-all"},
		{"db-0", "db"}, /* StatefulSet */
		{"db-12", "db"},
		{"db-1-2", "db-1"},
		{"db", "db"},
		{"my-api", "my-api"},
		{"box", "box"},
		{"api-7d4b9c6f5d-x2k4", "api-7d4b9c6f5d-x2k4"},	    /* 4 characters */
		{"api-7d4b9c6f5d-x2k4zz", "api-7d4b9c6f5d-x2k4zz"}, /* 6 */
		{"web-nginx", "web-nginx"},			    /* a vowel */
		{"web-X2K4Z", "web-X2K4Z"},
		{"web-http2", "web"}, /* could be a Job's as well */
		{"-x2k4z", "-x2k4z"},
		{"-0", "-0"},
		{"x2k4z", "x2k4z"},
		{"0", "0"},
		{"-", "-"},
		{"a-", "a-"},
		{"", ""},
	};

	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		char workload[64];

		rail_workload_of_pod(rows[i].pod, workload, sizeof(workload));
		cr_assert_str_eq(workload, rows[i].workload, "%s: %s", rows[i].pod, workload);
	}
}

Test(identity_label, a_workload_that_does_not_fit_is_cut)
{
	char target[4] = "xyz";

	rail_workload_of_pod("abcdef-0", target, sizeof(target));
	cr_assert_str_eq(target, "abc");
	target[0] = 'x';
	rail_workload_of_pod("abcdef-0", target, 0);
	cr_assert_eq(target[0], 'x');
}

Test(identity_label, quoted_names_are_printable_and_bounded)
{
	char text[RAIL_QUOTED_NAME_SIZE];
	char name[300];

	rail_name_quote("api", text);
	cr_assert_str_eq(text, "'api'");
	rail_name_quote("a'b\\c\n\xc3\xa9", text);
	cr_assert_str_eq(text, "'a\\x27b\\x5cc\\x0a\\xc3\\xa9'");

	memset(name, '\xff', sizeof(name) - 1);
	name[sizeof(name) - 1] = '\0';
	rail_name_quote(name, text);
	cr_assert_eq(strlen(text), 1 + 64 * 4 + 4);
	cr_assert_str_eq(text + strlen(text) - 4, "...'");
}
