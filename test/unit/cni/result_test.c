#include "pkg/cni/result.h"

#include <arpa/inet.h>
#include <criterion/criterion.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "pkg/base/cleanup.h"

static struct rail_json *parse(const char *text)
{
	struct rail_error error = RAIL_ERROR_NONE;
	struct rail_json *document = NULL;

	cr_assert_eq(rail_json_parse(text, strlen(text), &document, &error), 0, "%s: %s", text,
		     error.message);
	return document;
}

static void is_printed(const struct rail_json *value, const char *wanted)
{
	RAIL_FREE char *text = rail_json_print(value);

	cr_assert_str_eq(text, wanted);
}

static struct in6_addr address_of(const char *text)
{
	struct in6_addr address;

	cr_assert_eq(inet_pton(AF_INET6, text, &address), 1);
	return address;
}

/* A result with one of everything. */
static struct rail_json *whole_result(enum rail_cni_version version)
{
	static const char *const nameservers[] = {"fd12::10"};
	static const char *const search[] = {"railway.internal"};
	static const char *const options[] = {"ndots:1", "edns0"};
	const struct rail_cni_call call = {.version = version};
	const struct in6_addr address = address_of("fd00:1:2:3::4");
	struct rail_error error = RAIL_ERROR_NONE;
	struct rail_json *result = NULL;
	int index = 7;

	cr_assert_eq(rail_result_begin(&call, &result, &error), 0);
	cr_assert_eq(rail_result_add_interface(result, version, "railway0", "", 1420,
					       "/run/netns/x", &index, &error),
		     0);
	cr_assert_eq(index, version < RAIL_CNI_0_3_0 ? -1 : 0);
	cr_assert_eq(rail_result_add_address(result, version, &address, 64, index, &error), 0);
	cr_assert_eq(rail_result_add_route(result, version, "fd00:1:2::/48", &error), 0);
	cr_assert_eq(rail_result_set_dns(result, nameservers, 1, "", search, 1, options, 2, &error),
		     0);
	return result;
}

Test(cni_result, the_format_of_each_version)
{
	static const char legacy[] =
		"\"ip6\":{\"ip\":\"fd00:1:2:3::4/64\",\"routes\":[{\"dst\":\"fd00:1:2::/48\"}]}";
	static const char dns[] = "\"dns\":{\"nameservers\":[\"fd12::10\"],"
				  "\"search\":[\"railway.internal\"],"
				  "\"options\":[\"ndots:1\",\"edns0\"]}";
	static const char interfaces[] =
		"\"interfaces\":[{\"name\":\"railway0\",\"sandbox\":\"/run/netns/x\"}]";
	static const char interfaces_1_1[] = "\"interfaces\":[{\"name\":\"railway0\","
					     "\"mtu\":1420,\"sandbox\":\"/run/netns/x\"}]";
	static const char ips_0[] = "\"ips\":[{\"version\":\"6\",\"interface\":0,"
				    "\"address\":\"fd00:1:2:3::4/64\"}]";
	static const char ips_1[] = "\"ips\":[{\"interface\":0,"
				    "\"address\":\"fd00:1:2:3::4/64\"}]";
	static const char routes[] = "\"routes\":[{\"dst\":\"fd00:1:2::/48\"}]";

	for (int i = 0; i < RAIL_CNI_VERSION_COUNT; i++) {
		enum rail_cni_version version = (enum rail_cni_version)i;
		RAIL_CLEANUP(rail_json_freep) struct rail_json *result = whole_result(version);
		char wanted[1024];

		if (version < RAIL_CNI_0_3_0)
			(void)snprintf(wanted, sizeof(wanted), "{\"cniVersion\":\"%s\",%s,%s}",
				       rail_cni_version_names[i], legacy, dns);
		else
			(void)snprintf(wanted, sizeof(wanted),
				       "{\"cniVersion\":\"%s\",%s,%s,%s,%s}",
				       rail_cni_version_names[i],
				       version < RAIL_CNI_1_1_0 ? interfaces : interfaces_1_1,
				       version < RAIL_CNI_1_0_0 ? ips_0 : ips_1, routes, dns);
		is_printed(result, wanted);
	}
}

Test(cni_result, what_is_empty_is_left_out)
{
	const struct rail_cni_call call = {.version = RAIL_CNI_1_1_0};
	const struct in6_addr address = address_of("fd00::1");
	RAIL_CLEANUP(rail_json_freep) struct rail_json *result = NULL;
	int index;

	cr_assert_eq(rail_result_begin(&call, &result, NULL), 0);
	cr_assert_eq(rail_result_add_interface(result, call.version, "a", "02:00:00:00:00:01", 0,
					       "", &index, NULL),
		     0);
	cr_assert_eq(rail_result_add_address(result, call.version, &address, 128, -1, NULL), 0);
	cr_assert_eq(rail_result_set_dns(result, NULL, 0, NULL, NULL, 0, NULL, 0, NULL), 0);
	is_printed(result, "{\"cniVersion\":\"1.1.0\",\"interfaces\":[{\"name\":\"a\",\"mac\":"
			   "\"02:00:00:00:00:01\"}],\"ips\":[{\"address\":\"fd00::1/128\"}],"
			   "\"dns\":{}}");
}

Test(cni_result, prev_result_passes_through)
{
	static const char before[] =
		"{\"dns\":{\"domain\":\"x\"},\"cniVersion\":\"1.0.0\",\"own\":[1.50,{\"b\":null,"
		"\"a\":12345678901234567890}],\"interfaces\":[{\"name\":\"veth1\"},{\"name\":"
		"\"eth0\",\"sandbox\":\"/n\"}],\"ips\":[{\"address\":\"10.1.0.5/16\","
		"\"interface\":1}]";
	char text[512];
	(void)snprintf(text, sizeof(text), "%s}", before);
	RAIL_CLEANUP(rail_json_freep) struct rail_json *prev = parse(text);
	const struct rail_cni_call call = {.version = RAIL_CNI_1_0_0, .prev_result = prev};
	const struct in6_addr address = address_of("fd00::1");
	RAIL_CLEANUP(rail_json_freep) struct rail_json *result = NULL;
	int index;

	cr_assert_eq(rail_result_begin(&call, &result, NULL), 0);
	is_printed(result, text);
	cr_assert_eq(rail_result_add_interface(result, call.version, "railway0", "", 1420, "/n",
					       &index, NULL),
		     0);
	cr_assert_eq(index, 2);
	cr_assert_eq(rail_result_add_address(result, call.version, &address, 64, index, NULL), 0);
	is_printed(result,
		   "{\"dns\":{\"domain\":\"x\"},\"cniVersion\":\"1.0.0\",\"own\":[1.50,{\"b\":null,"
		   "\"a\":12345678901234567890}],\"interfaces\":[{\"name\":\"veth1\"},{\"name\":"
		   "\"eth0\",\"sandbox\":\"/n\"},{\"name\":\"railway0\",\"sandbox\":\"/n\"}],"
		   "\"ips\":[{\"address\":\"10.1.0.5/16\",\"interface\":1},{\"interface\":2,"
		   "\"address\":\"fd00::1/64\"}]}");
	/* The call's own document is not touched. */
	is_printed(prev, text);
}

Test(cni_result, prev_result_of_another_version_is_refused)
{
	static const struct {
		const char *text;
		bool good;
	} cases[] = {
		{"{\"cniVersion\":\"1.0.0\"}", true},  {"{}", true},
		{"{\"cniVersion\":\"0.4.0\"}", false}, {"{\"cniVersion\":1}", false},
		{"{\"cniVersion\":null}", false},
	};

	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		RAIL_CLEANUP(rail_json_freep) struct rail_json *prev = parse(cases[i].text);
		RAIL_CLEANUP(rail_json_freep) struct rail_json *result = NULL;
		const struct rail_cni_call call = {.version = RAIL_CNI_1_0_0, .prev_result = prev};
		struct rail_error error = RAIL_ERROR_NONE;

		int outcome = rail_result_begin(&call, &result, &error);
		cr_assert_eq(outcome == 0, cases[i].good, "%s", cases[i].text);
		if (cases[i].good)
			is_printed(result, "{\"cniVersion\":\"1.0.0\"}");
		else
			cr_assert_eq(error.code, RAIL_CODE_INVALID_CONFIG);
	}
}

Test(cni_result, malformed_containers_are_refused)
{
	const struct in6_addr address = address_of("fd00::1");
	struct rail_error error = RAIL_ERROR_NONE;
	int index;
	RAIL_CLEANUP(rail_json_freep)
	struct rail_json *result = parse("{\"interfaces\":{},\"ips\":{},\"routes\":1,\"ip6\":[]}");

	cr_assert_lt(
		rail_result_add_interface(result, RAIL_CNI_1_0_0, "a", "", 0, "", &index, &error),
		0);
	cr_assert_eq(error.code, RAIL_CODE_INVALID_CONFIG);
	cr_assert_lt(rail_result_add_address(result, RAIL_CNI_1_0_0, &address, 64, 0, &error), 0);
	cr_assert_lt(rail_result_add_route(result, RAIL_CNI_1_0_0, "fd00::/48", &error), 0);
	cr_assert_lt(rail_result_add_address(result, RAIL_CNI_0_2_0, &address, 64, 0, &error), 0);
	cr_assert_lt(rail_result_add_route(result, RAIL_CNI_0_2_0, "fd00::/48", &error), 0);
}

Test(cni_result, the_old_format_has_room_for_one_address)
{
	const struct in6_addr address = address_of("fd00::1");
	struct rail_error error = RAIL_ERROR_NONE;
	RAIL_CLEANUP(rail_json_freep) struct rail_json *result = whole_result(RAIL_CNI_0_2_0);

	cr_assert_lt(rail_result_add_address(result, RAIL_CNI_0_2_0, &address, 64, -1, &error), 0);
	cr_assert_eq(error.code, RAIL_CODE_INVALID_CONFIG);
	cr_assert_not_null(strstr(error.message, "0.2.0"));
}

struct seen {
	struct rail_result_address addresses[4];
	size_t count;
	int stop_with;
};

static int see(void *context, const struct rail_result_address *address)
{
	struct seen *seen = context;

	cr_assert_lt(seen->count, 4);
	seen->addresses[seen->count++] = *address;
	return seen->stop_with;
}

Test(cni_result, each_address_of_each_version)
{
	for (int i = 0; i < RAIL_CNI_VERSION_COUNT; i++) {
		enum rail_cni_version version = (enum rail_cni_version)i;
		RAIL_CLEANUP(rail_json_freep) struct rail_json *result = whole_result(version);
		const struct in6_addr wanted = address_of("fd00:1:2:3::4");
		struct seen seen = {0};

		cr_assert_eq(rail_result_each_address(result, version, see, &seen, NULL), 0);
		cr_assert_eq(seen.count, 1);
		cr_assert_eq(memcmp(&seen.addresses[0].address, &wanted, sizeof(wanted)), 0);
		cr_assert_eq(seen.addresses[0].length, 64);
		cr_assert_eq(seen.addresses[0].interface_index, version < RAIL_CNI_0_3_0 ? -1 : 0);
	}
}

Test(cni_result, each_address_in_order_and_ended)
{
	RAIL_CLEANUP(rail_json_freep)
	struct rail_json *result = parse(
		"{\"interfaces\":[{\"name\":\"a\"},{\"name\":\"b\"}],\"ips\":["
		"{\"address\":\"10.0.0.1/8\"},{\"address\":\"fd00::1/64\",\"interface\":1},"
		"{\"address\":\"fd00::2/128\",\"interface\":null},{\"address\":\"fd00::3/0\"}]}");
	struct seen seen = {0};

	cr_assert_eq(rail_result_each_address(result, RAIL_CNI_1_0_0, see, &seen, NULL), 0);
	cr_assert_eq(seen.count, 3);
	cr_assert_eq(seen.addresses[0].interface_index, 1);
	cr_assert_eq(seen.addresses[1].interface_index, -1);
	cr_assert_eq(seen.addresses[1].length, 128);
	cr_assert_eq(seen.addresses[2].length, 0);

	seen = (struct seen){.stop_with = -EDOM};
	cr_assert_eq(rail_result_each_address(result, RAIL_CNI_1_0_0, see, &seen, NULL), -EDOM);
	cr_assert_eq(seen.count, 1);
}

Test(cni_result, malformed_addresses)
{
	static const struct {
		enum rail_cni_version version;
		const char *text;
		int result;
	} cases[] = {
		{RAIL_CNI_1_0_0, "{}", -ENOENT},
		{RAIL_CNI_1_0_0, "{\"ips\":null}", -ENOENT},
		{RAIL_CNI_1_0_0, "{\"ips\":[{\"address\":\"10.0.0.1/8\"}]}", -ENOENT},
		{RAIL_CNI_0_2_0, "{\"ip4\":{\"ip\":\"10.0.0.1/8\"}}", -ENOENT},
		{RAIL_CNI_1_0_0, "{\"ips\":{}}", -EINVAL},
		{RAIL_CNI_0_2_0, "{\"ip6\":[]}", -EINVAL},
		{RAIL_CNI_0_2_0, "{\"ip6\":{}}", -EINVAL},
		{RAIL_CNI_1_0_0, "{\"ips\":[1]}", -EINVAL},
		{RAIL_CNI_1_0_0, "{\"ips\":[{}]}", -EINVAL},
		{RAIL_CNI_1_0_0, "{\"ips\":[{\"address\":1}]}", -EINVAL},
		{RAIL_CNI_1_0_0, "{\"ips\":[{\"address\":\"fd00::1\"}]}", -EINVAL},
		{RAIL_CNI_1_0_0, "{\"ips\":[{\"address\":\"fd00::1/129\"}]}", -EINVAL},
		{RAIL_CNI_1_0_0, "{\"ips\":[{\"address\":\"fd00::1/\"}]}", -EINVAL},
		{RAIL_CNI_1_0_0, "{\"ips\":[{\"address\":\"fd00::1/-1\"}]}", -EINVAL},
		{RAIL_CNI_1_0_0, "{\"ips\":[{\"address\":\"fd00::1/64x\"}]}", -EINVAL},
		{RAIL_CNI_1_0_0, "{\"ips\":[{\"address\":\"fd00::1/18446744073709551617\"}]}",
		 -EINVAL},
		{RAIL_CNI_1_0_0, "{\"ips\":[{\"address\":\"10.0.0.1/33\"}]}", -EINVAL},
		{RAIL_CNI_1_0_0, "{\"ips\":[{\"address\":\"host/64\"}]}", -EINVAL},
		{RAIL_CNI_1_0_0,
		 "{\"ips\":[{\"address\":\"fd00:0000:0000:0000:0000:0000:0000:0000:0000:0000:1/"
		 "64\"}]}",
		 -EINVAL},
		{RAIL_CNI_1_0_0, "{\"ips\":[{\"address\":\"fd00::1/64\",\"interface\":0}]}",
		 -EINVAL},
		{RAIL_CNI_1_0_0,
		 "{\"interfaces\":[{\"name\":\"a\"}],"
		 "\"ips\":[{\"address\":\"fd00::1/64\",\"interface\":1}]}",
		 -EINVAL},
		{RAIL_CNI_1_0_0,
		 "{\"interfaces\":[{\"name\":\"a\"}],"
		 "\"ips\":[{\"address\":\"fd00::1/64\",\"interface\":-1}]}",
		 -EINVAL},
	};

	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		RAIL_CLEANUP(rail_json_freep) struct rail_json *result = parse(cases[i].text);
		struct rail_error error = RAIL_ERROR_NONE;
		struct seen seen = {0};

		cr_assert_eq(rail_result_each_address(result, cases[i].version, see, &seen, &error),
			     cases[i].result, "%s", cases[i].text);
		cr_assert_eq(error.code, RAIL_CODE_INVALID_CONFIG);
		cr_assert_eq(seen.count, 0);
	}
}

Test(cni_result, an_address_of_prev_result_is_assigned)
{
	static const char text[] = "{\"interfaces\":[{\"name\":\"a\"}],\"ips\":[{\"address\":"
				   "\"10.0.0.1/8\"},{\"address\":\"fd00::1/64\"},{\"address\":"
				   "\"fd00::2/64\",\"gateway\":\"fd00::3\"}]}";
	RAIL_CLEANUP(rail_json_freep) struct rail_json *result = parse(text);
	const struct in6_addr second = address_of("fd00::2");
	const struct in6_addr other = address_of("fd00::9");
	struct rail_error error = RAIL_ERROR_NONE;

	cr_assert_eq(rail_result_assign_address(result, RAIL_CNI_1_0_0, &other, 0, &error),
		     -ENOENT);
	cr_assert_eq(error.code, RAIL_CODE_INVALID_CONFIG);
	is_printed(result, text);

	cr_assert_eq(rail_result_assign_address(result, RAIL_CNI_1_0_0, &second, 0, NULL), 0);
	is_printed(result, "{\"interfaces\":[{\"name\":\"a\"}],\"ips\":[{\"address\":"
			   "\"10.0.0.1/8\"},{\"address\":\"fd00::1/64\"},{\"address\":"
			   "\"fd00::2/64\",\"gateway\":\"fd00::3\",\"interface\":0}]}");

	RAIL_CLEANUP(rail_json_freep)
	struct rail_json *malformed = parse("{\"ips\":[{\"address\":\"x\"}]}");
	cr_assert_eq(rail_result_assign_address(malformed, RAIL_CNI_1_0_0, &second, 0, NULL),
		     -EINVAL);
	/* The old formats have no interfaces. */
	cr_assert_eq(rail_result_assign_address(malformed, RAIL_CNI_0_2_0, &second, 0, NULL), 0);
}

Test(cni_result, an_interface_but_lo_is_another_plugins)
{
	static const struct {
		const char *text;
		bool has;
	} cases[] = {
		{"{\"interfaces\":[{\"name\":\"br\"},{\"name\":\"eth0\",\"sandbox\":\"/n\"}]}",
		 true},
		/* As Calico has it. */
		{"{\"interfaces\":[{\"name\":\"cali1\",\"sandbox\":\"/n\"}],\"ips\":[]}", true},
		{"{\"interfaces\":[{\"name\":\"cali1\"}]}", true},
		{"{\"interfaces\":[{\"name\":\"lo\",\"sandbox\":\"/n\"}]}", false},
		{"{\"interfaces\":[]}", false},
		{"{\"interfaces\":[{}, 1, null]}", false},
		{"{\"interfaces\":null,\"ips\":[]}", false},
		{"{}", false},
	};

	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		RAIL_CLEANUP(rail_json_freep) struct rail_json *result = NULL;

		cr_assert_eq(rail_json_parse(cases[i].text, strlen(cases[i].text), &result, NULL),
			     0);
		cr_assert_eq(rail_result_has_interface(result), cases[i].has, "%s", cases[i].text);
	}
}

Test(cni_result, codes_of_errors)
{
	static const struct {
		int code;
		int errnum;
		int printed;
	} cases[] = {
		{RAIL_CODE_DERIVED, EAGAIN, 11},
		{RAIL_CODE_DERIVED, ETIMEDOUT, 11},
		{RAIL_CODE_DERIVED, ENOMEM, 11},
		{RAIL_CODE_DERIVED, EINVAL, 7},
		{RAIL_CODE_DERIVED, EIO, 5},
		{RAIL_CODE_DERIVED, ENOSPC, 5},
		{RAIL_CODE_DERIVED, EACCES, 5},
		{RAIL_CODE_DERIVED, EROFS, 5},
		{RAIL_CODE_DERIVED, EDOM, 999},
		{RAIL_CODE_INVALID_NETNS, EIO, 8},
		{RAIL_CODE_POOL_EXHAUSTED, ENOSPC, 101},
	};

	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		struct rail_error error = {.code = cases[i].code, .errnum = cases[i].errnum};

		cr_assert_eq(rail_error_code(&error), cases[i].printed);
	}
}

Test(cni_result, status_keeps_what_waiting_does_not_mend)
{
	static const struct {
		int code;
		int errnum;
		int asked;
		int printed;
	} cases[] = {
		{RAIL_CODE_DERIVED, EROFS, 50, 50},
		{RAIL_CODE_IO, EIO, 50, 50},
		{RAIL_CODE_TRY_AGAIN, ETIMEDOUT, 50, 50},
		{RAIL_CODE_TRY_AGAIN, ECONNREFUSED, 51, 51},
		{RAIL_CODE_POOL_EXHAUSTED, ENOSPC, 50, 50},
		{RAIL_CODE_INTERNAL, EIO, 50, 50},
		{RAIL_CODE_LIMITED_CONNECTIVITY, EIO, 50, 51},
		{RAIL_CODE_NOT_AVAILABLE, ENODEV, 51, 50},
		{RAIL_CODE_INCOMPATIBLE_VERSION, EINVAL, 50, 1},
		{RAIL_CODE_UNSUPPORTED_FIELD, EINVAL, 50, 2},
		{RAIL_CODE_INVALID_ENVIRONMENT, EINVAL, 50, 4},
		{RAIL_CODE_DECODE, EINVAL, 50, 6},
		{RAIL_CODE_INVALID_CONFIG, EINVAL, 50, 7},
	};

	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		struct rail_error error = {.code = cases[i].code, .errnum = cases[i].errnum};

		cr_assert_eq(rail_error_as_status(&error, -EIO, cases[i].asked), -EIO);
		cr_assert_eq(rail_error_code(&error), cases[i].printed, "case %zu", i);
	}
}

Test(cni_result, an_error_is_printed_in_its_version)
{
	struct rail_error error = RAIL_ERROR_NONE;
	(void)rail_fail_code(&error, RAIL_CODE_INVALID_CONFIG, EINVAL, "key \"a\": \xff\n");
	RAIL_FREE char *text = rail_error_print(RAIL_CNI_0_4_0, &error);

	cr_assert_str_eq(text, "{\"cniVersion\":\"0.4.0\",\"code\":7,"
			       "\"msg\":\"key \\\"a\\\": \xef\xbf\xbd\\n\"}");
}
