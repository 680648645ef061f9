#include "plugins/railway-dns/resolver.h"

#include <arpa/inet.h>
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <strings.h>

#include "pkg/base/cleanup.h"
#include "pkg/cni/result.h"
#include "pkg/dns/nameservers.h"
#include "pkg/net/intercept.h"

enum {
	NAMESERVER_TEXT_SIZE = INET6_ADDRSTRLEN,
	TEXTS_MAXIMUM = 32, /* search domains or options of a result */
};

/* A pod whose runtime hands us our own address would be sent round in a circle. */
static bool is_our_own(const struct rail_endpoint *endpoint)
{
	return endpoint->family == AF_INET6 && memcmp(&endpoint->address.v6, &rail_resolver_address,
						      sizeof(rail_resolver_address)) == 0;
}

static const struct rail_json *dns_of(const struct rail_json *result, const char *key)
{
	return rail_json_get(rail_json_get(result, "dns"), key);
}

/* A link-local address with its scope, as a node on a network with router advertisements may have
 * one (RFC 8106). What a scope means in the pod's place nobody says. */
static bool is_scoped(const char *text, const char *place)
{
	char address[INET6_ADDRSTRLEN];
	const char *percent = strchr(text, '%');
	struct rail_endpoint endpoint;
	size_t length = percent == NULL ? 0 : (size_t)(percent - text);

	if (percent == NULL || length >= sizeof(address))
		return false;
	memcpy(address, text, length);
	address[length] = '\0';
	if (!rail_nameserver_parse(address, &endpoint))
		return false;
	(void)fprintf(stderr,
		      "railway-dns: %s: '%s%%...' is left out: addresses with a scope are not "
		      "asked\n",
		      place, address);
	return true;
}

/*
 * Loopback, unspecified, multicast, broadcast. The pod's author may have named them (dnsConfig),
 * and means the pod; the worker asks in the host's netns, where they are the node itself.
 */
static bool is_of_the_node(const struct rail_endpoint *endpoint)
{
	const struct in6_addr *v6 = &endpoint->address.v6;
	bool is_mapped = endpoint->family == AF_INET6 && IN6_IS_ADDR_V4MAPPED(v6);
	struct in_addr v4 = endpoint->address.v4;

	if (endpoint->family == AF_INET6 && !is_mapped)
		return IN6_IS_ADDR_LOOPBACK(v6) || IN6_IS_ADDR_UNSPECIFIED(v6) ||
		       IN6_IS_ADDR_MULTICAST(v6);
	if (is_mapped)
		memcpy(&v4, &v6->s6_addr[12], sizeof(v4));

	uint32_t number = ntohl(v4.s_addr);

	return number >> 24 == 0 || number >> 24 == IN_LOOPBACKNET || number >> 28 == 0xe ||
	       number == INADDR_BROADCAST;
}

/* A list of addresses, as far as there is room. place: for the error. */
static int add_servers(const struct rail_json *servers, const char *place, bool is_authors,
		       struct rail_resolver_settings *settings, struct rail_error *error)
{
	if (servers == NULL || rail_json_type(servers) == RAIL_JSON_NULL)
		return 0;
	if (rail_json_type(servers) != RAIL_JSON_ARRAY)
		return rail_fail_code(error, RAIL_CODE_INVALID_CONFIG, EINVAL,
				      "%s is %s, not a list of addresses", place,
				      rail_json_type_name(rail_json_type(servers)));
	for (const struct rail_json *value = rail_json_first(servers); value != NULL;
	     value = rail_json_next(value)) {
		const char *text = rail_json_string(value);
		struct rail_endpoint endpoint;

		if (text != NULL && is_scoped(text, place))
			continue;
		if (text == NULL || !rail_nameserver_parse(text, &endpoint))
			return rail_fail_code(error, RAIL_CODE_INVALID_CONFIG, EINVAL,
					      "%s: '%.64s' is no address", place,
					      text != NULL ? text : "(not a string)");
		if (is_authors && is_of_the_node(&endpoint)) {
			(void)fprintf(
				stderr,
				"railway-dns: %s: '%s' is left out: in the host's netns, where "
				"it would be asked, it is the node itself; name the node's "
				"nameservers with the key 'upstreams'\n",
				place, text);
			continue;
		}
		if (is_our_own(&endpoint) || settings->upstream_count == RAIL_UPSTREAMS_MAXIMUM)
			continue;
		settings->upstreams[settings->upstream_count++] = endpoint;
	}
	return 0;
}

static const char *annotation(const struct rail_cni_call *call, const char *key)
{
	for (size_t i = 0; i < call->annotations.count; i++)
		if (strcmp(call->annotations.pairs[i].key, key) == 0)
			return call->annotations.pairs[i].value;
	return NULL;
}

/*
 * Whether the runtime may be one that ignores the result's nameservers: one that says which a pod
 * has, or that a pod is of Kubernetes. A job of Nomad's, which takes them, may set K8S_POD_NAME.
 */
static bool runtime_decides(const struct rail_cni_call *call)
{
	const char *pod = rail_cni_argument(call, "K8S_POD_NAME");

	if (rail_cni_capability(call, "dns") != NULL)
		return true;
	return pod != NULL && *pod != '\0' && rail_cni_argument(call, "NOMAD_NAMESPACE") == NULL;
}

/* A pod that asks other nameservers on purpose (a cluster's DNS with zones of its own, say) can be
 * let alone by its author: the only one who loses by that. */
static int wants_interception(const struct rail_operation *operation, bool *ret_wants,
			      struct rail_error *error)
{
	static const char key[] = "railway.internal/intercept";
	const char *word = annotation(operation->call, key);

	if (word != NULL && strcmp(word, "off") != 0 && strcmp(word, "false") != 0)
		return rail_fail_code(error, RAIL_CODE_INVALID_CONFIG, EINVAL,
				      "annotation '%s': must be \"off\", is '%.64s'", key, word);
	*ret_wants = word == NULL && (operation->settings.intercept == RAIL_INTERCEPT_ON ||
				      (operation->settings.intercept == RAIL_INTERCEPT_AUTO &&
				       runtime_decides(operation->call)));
	return 0;
}

int dns_resolver_settings(const struct rail_operation *operation,
			  struct rail_resolver_settings *ret_settings, struct rail_error *error)
{
	const struct rail_settings *configured = &operation->settings;
	struct rail_resolver_settings settings = {
		.port = configured->dns_port,
		.ttl_s = configured->ttl_s,
	};

	int result = add_servers(
		rail_json_get_any_case(rail_cni_capability(operation->call, "dns"), "servers"),
		"runtimeConfig.dns.servers", true, &settings, error);
	if (result == 0)
		result = wants_interception(operation, &settings.any_nameserver, error);
	if (result < 0)
		return result;
	/* Port 53 stays the pod's: it may have a DNS server of its own. */
	if (settings.any_nameserver && settings.port == RAIL_DNS_PORT)
		settings.port = RAIL_INTERCEPT_PORT;
	if (settings.upstream_count == 0)
		for (size_t i = 0; i < configured->upstream_count && i < RAIL_UPSTREAMS_MAXIMUM;
		     i++)
			settings.upstreams[settings.upstream_count++] = configured->upstreams[i];
	/* Ours stands in their place in the result. */
	if (settings.upstream_count == 0)
		result = add_servers(dns_of(operation->call->prev_result, "nameservers"),
				     "prevResult.dns.nameservers", false, &settings, error);
	if (result < 0)
		return result;
	*ret_settings = settings;
	return 0;
}

/* musl asks all nameservers at once and takes the first answer: a pod of Alpine's says that it
 * wants ours alone. */
static bool wants_one_nameserver(const struct rail_cni_call *call)
{
	const char *value = rail_cni_argument(call, "ENABLE_ALPINE_PRIVATE_NETWORKING");

	if (value == NULL)
		value = annotation(call, "railway.internal/enable-alpine-private-networking");
	return value != NULL && (strcasecmp(value, "true") == 0 || strcmp(value, "1") == 0);
}

static void format_server(const struct in6_addr *address, char text[NAMESERVER_TEXT_SIZE])
{
	if (IN6_IS_ADDR_V4MAPPED(address))
		(void)inet_ntop(AF_INET, &address->s6_addr[12], text, NAMESERVER_TEXT_SIZE);
	else
		(void)inet_ntop(AF_INET6, address, text, NAMESERVER_TEXT_SIZE);
}

/* The strings of an earlier plugin's list that there is still room for. */
static void add_strings(const struct rail_json *list, const char *texts[static TEXTS_MAXIMUM],
			size_t *count)
{
	for (const struct rail_json *value = rail_json_first(list); value != NULL;
	     value = rail_json_next(value))
		if (rail_json_string(value) != NULL && *count < TEXTS_MAXIMUM)
			texts[(*count)++] = rail_json_string(value);
}

int dns_put_result(const struct rail_operation *operation, struct rail_json *result,
		   struct rail_error *error)
{
	const struct rail_settings *settings = &operation->settings;
	char addresses[1 + RAIL_LIST_MAXIMUM][NAMESERVER_TEXT_SIZE];
	const char *nameservers[1 + RAIL_LIST_MAXIMUM];
	const char *search[TEXTS_MAXIMUM];
	const char *options[TEXTS_MAXIMUM];
	size_t count = 0;
	size_t search_count = 0;
	size_t option_count = 0;

	format_server(&rail_resolver_address, addresses[count]);
	nameservers[count] = addresses[count];
	count++;
	if (!wants_one_nameserver(operation->call))
		for (size_t i = 0; i < settings->fallback_nameserver_count; i++) {
			format_server(&settings->fallback_nameservers[i], addresses[count]);
			nameservers[count] = addresses[count];
			count++;
		}
	while (search_count < settings->search_domain_count) {
		search[search_count] = settings->search_domains[search_count];
		search_count++;
	}
	add_strings(dns_of(result, "search"), search, &search_count);
	add_strings(dns_of(result, "options"), options, &option_count);
	return rail_result_set_dns(result, nameservers, count,
				   rail_json_string(dns_of(result, "domain")), search, search_count,
				   options, option_count, error);
}
