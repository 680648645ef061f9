#include "pkg/cluster/token.h"

#include <criterion/criterion.h>
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "pkg/base/cleanup.h"

static struct rail_cluster_settings settings = {.user = "railway"};

/* Takes a token of that many letters. */
static int take(struct rail_etcd_token *token, size_t size)
{
	RAIL_CLEANUP(rail_json_freep) struct rail_json *answer = NULL;
	char text[RAIL_ETCD_TOKEN_SIZE + 32];

	(void)snprintf(text, sizeof(text), "{\"token\":\"%0*d\"}", (int)size, 0);
	cr_assert_eq(rail_json_parse(text, strlen(text), &answer, NULL), 0);
	return rail_etcd_token_take(token, answer, NULL);
}

Test(cluster_token, one_is_missing_until_it_is_taken_and_only_where_there_is_a_user)
{
	struct rail_cluster_settings nobody = {.user = ""};
	struct rail_etcd_token none = {.settings = &nobody};
	struct rail_etcd_token token = {.settings = &settings};

	cr_assert_not(rail_etcd_token_is_missing(&none));
	cr_assert(rail_etcd_token_is_missing(&token));
	cr_assert_null(rail_etcd_token_text(&token));
	cr_assert_eq(take(&token, RAIL_ETCD_TOKEN_SIZE), -EPROTO, "no room for its end");
	cr_assert(rail_etcd_token_is_missing(&token));
	cr_assert_eq(take(&token, RAIL_ETCD_TOKEN_SIZE - 1), 0);
	cr_assert_not(rail_etcd_token_is_missing(&token));
	cr_assert_eq(strlen(rail_etcd_token_text(&token)), RAIL_ETCD_TOKEN_SIZE - 1);
}

Test(cluster_token, what_is_said_against_it_forgets_it_and_nothing_else_does)
{
	static const struct {
		int code;
		const char *message;
		bool refused;
	} cases[] = {
		{16, NULL, true},
		{16, "etcdserver: invalid auth token", true},
		{3, "etcdserver: revision of auth store is old", true},
		{-1, "rpc error: code = Unauthenticated desc = etcdserver: invalid auth token",
		 true},
		{-1, NULL, false},
		{3, "etcdserver: key is not provided", false},
		{7, "etcdserver: permission denied", false},
	};

	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		struct rail_etcd_token token = {.settings = &settings};

		cr_assert_eq(take(&token, 10), 0);
		cr_assert_eq(rail_etcd_token_is_refused(&token, cases[i].code, cases[i].message),
			     cases[i].refused, "%zu", i);
		cr_assert_eq(rail_etcd_token_is_missing(&token), cases[i].refused, "%zu", i);
	}
}
