#include "pkg/config/settings_values.h"

#include <arpa/inet.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "pkg/base/cleanup.h"

#define DNS_PORT 53

int rail_config_fail(const struct rail_config_value *value, const char *wanted)
{
	RAIL_FREE char *text = rail_json_print(value->json);
	bool cut = text != NULL && strlen(text) > 64;

	return rail_fail_code(value->error, RAIL_CODE_INVALID_CONFIG, EINVAL,
			      "%.300s, key '%s': %s, is %.64s%s", value->place, value->key, wanted,
			      text != NULL ? text : "another", cut ? "..." : "");
}

static int read_path(const struct rail_config_value *value, char *path, size_t size)
{
	const char *text = rail_json_string(value->json);

	if (text == NULL || text[0] != '/')
		return rail_config_fail(value, "must be an absolute path");
	if (strlen(text) >= size)
		return rail_config_fail(value, size == RAIL_SOCKET_PATH_SIZE
						       ? "must be a path of at most 107 bytes, "
							 "as sockets have"
						       : "must be a path of at most 255 bytes");
	memcpy(path, text, strlen(text) + 1);
	return 0;
}

int rail_config_read_path(const struct rail_config_value *value, struct rail_settings *settings,
			  void *field)
{
	(void)settings;
	return read_path(value, field, RAIL_PATH_SIZE);
}

int rail_config_read_socket(const struct rail_config_value *value, struct rail_settings *settings,
			    void *field)
{
	(void)settings;
	return read_path(value, field, RAIL_SOCKET_PATH_SIZE);
}

int rail_config_read_text(const struct rail_config_value *value, struct rail_settings *settings,
			  void *field)
{
	const char *text = rail_json_string(value->json);

	(void)settings;
	if (text == NULL || text[0] == '\0')
		return rail_config_fail(value, "must be a string that is not empty");
	*(const char **)field = text;
	return 0;
}

int rail_config_read_boolean(const struct rail_config_value *value, struct rail_settings *settings,
			     void *field)
{
	(void)settings;
	if (rail_json_type(value->json) != RAIL_JSON_BOOLEAN)
		return rail_config_fail(value, "must be true or false");
	*(bool *)field = rail_json_is_true(value->json);
	return 0;
}

/* An address of either family; IPv4 becomes IPv4-mapped (RFC 4291, 2.5.5.2). */
static bool parse_address(const char *text, struct in6_addr *ret_address)
{
	struct in_addr v4;

	if (inet_pton(AF_INET6, text, ret_address) == 1)
		return !IN6_IS_ADDR_V4MAPPED(ret_address);
	if (inet_pton(AF_INET, text, &v4) != 1)
		return false;
	memset(ret_address, 0, sizeof(*ret_address));
	ret_address->s6_addr[10] = 0xff;
	ret_address->s6_addr[11] = 0xff;
	memcpy(&ret_address->s6_addr[12], &v4, sizeof(v4));
	return true;
}

/* Whether packets can be sent to it without an interface being named. */
static bool is_destination(const struct in6_addr *address)
{
	if (IN6_IS_ADDR_V4MAPPED(address)) {
		uint8_t first = address->s6_addr[12];

		return first != 0 && first < 224;
	}
	return !IN6_IS_ADDR_UNSPECIFIED(address) && !IN6_IS_ADDR_MULTICAST(address) &&
	       !IN6_IS_ADDR_LINKLOCAL(address);
}

int rail_config_read_endpoint(const struct rail_config_value *value, struct rail_settings *settings,
			      void *field)
{
	const char *text = rail_json_string(value->json);
	struct in6_addr address;

	(void)settings;
	if (text == NULL || !parse_address(text, &address) || !is_destination(&address))
		return rail_config_fail(value, "must be the IPv4 or IPv6 address under which other "
					       "nodes reach this one");
	memcpy(field, &address, sizeof(address));
	return 0;
}

/* Decimal digits only, 1 to 65535. Ends at end. */
static bool parse_port(const char *text, const char *end, uint16_t *ret_port)
{
	unsigned int port = 0;

	if (text == end || end - text > 5)
		return false;
	for (; text < end; text++) {
		if (*text < '0' || *text > '9')
			return false;
		port = port * 10 + (unsigned int)(*text - '0');
	}
	if (port == 0 || port > UINT16_MAX)
		return false;
	*ret_port = (uint16_t)port;
	return true;
}

/* A number, or "from-to". */
static bool parse_port_range(const struct rail_json *value, uint16_t *ret_from, uint16_t *ret_to)
{
	const char *text = rail_json_string(value);
	int64_t port;

	if (text == NULL) {
		if (rail_json_integer(value, 1, UINT16_MAX, &port) < 0)
			return false;
		*ret_from = *ret_to = (uint16_t)port;
		return true;
	}

	const char *dash = strchr(text, '-');
	return dash != NULL && parse_port(text, dash, ret_from) &&
	       parse_port(dash + 1, dash + 1 + strlen(dash + 1), ret_to) && *ret_from <= *ret_to;
}

int rail_config_read_listen_ports(const struct rail_config_value *value,
				  struct rail_settings *settings, void *field)
{
	uint16_t ports[RAIL_LISTEN_PORTS_MAXIMUM];
	uint8_t seen[(UINT16_MAX + 1) / 8] = {0};
	size_t count = 0;

	(void)field;
	if (rail_json_type(value->json) != RAIL_JSON_ARRAY)
		return rail_config_fail(value, "must be a list of ports and \"from-to\" ranges");
	for (const struct rail_json *entry = rail_json_first(value->json); entry != NULL;
	     entry = rail_json_next(entry)) {
		uint16_t from;
		uint16_t to;

		if (!parse_port_range(entry, &from, &to))
			return rail_config_fail(
				value,
				"must be a list of ports (1 to 65535) and \"from-to\" ranges");
		for (unsigned int port = from; port <= to; port++) {
			if ((seen[port / 8] & 1U << port % 8) != 0)
				return rail_config_fail(value, "must have each port once");
			if (count == RAIL_LISTEN_PORTS_MAXIMUM)
				return rail_config_fail(value, "must have at most 1024 ports");
			seen[port / 8] = (uint8_t)(seen[port / 8] | 1U << port % 8);
			ports[count++] = (uint16_t)port;
		}
	}
	memcpy(settings->listen_ports, ports, count * sizeof(ports[0]));
	settings->listen_port_count = count;
	return 0;
}

int rail_config_read_transport(const struct rail_config_value *value,
			       struct rail_settings *settings, void *field)
{
	const char *text = rail_json_string(value->json);

	(void)field;
	if (text == NULL || (strcmp(text, "auto") != 0 && strcmp(text, "kernel") != 0 &&
			     strcmp(text, "userspace") != 0))
		return rail_config_fail(value, "must be \"auto\", \"kernel\" or \"userspace\"");
	memcpy(settings->transport, text, strlen(text) + 1);
	return 0;
}

int rail_config_read_mtu(const struct rail_config_value *value, struct rail_settings *settings,
			 void *field)
{
	int64_t number;

	(void)settings;
	/* IPv6 needs 1280 (RFC 8200, section 5). */
	if (rail_json_integer(value->json, 0, UINT16_MAX, &number) < 0 ||
	    (number != 0 && number < 1280))
		return rail_config_fail(value, "must be a whole number from 1280 to 65535, or 0 "
					       "for the underlay's less 80");
	*(unsigned int *)field = (unsigned int)number;
	return 0;
}

int rail_config_read_interface(const struct rail_config_value *value,
			       struct rail_settings *settings, void *field)
{
	const char *text = rail_json_string(value->json);
	const char *fault = text != NULL ? rail_cni_interface_fault(text) : "not a string";

	(void)settings;
	if (fault != NULL) {
		char wanted[128];

		(void)snprintf(wanted, sizeof(wanted), "must be the name of an interface (%s)",
			       fault);
		return rail_config_fail(value, wanted);
	}
	memcpy(field, text, strlen(text) + 1);
	return 0;
}

int rail_config_read_pool(const struct rail_config_value *value, struct rail_settings *settings,
			  void *field)
{
	const char *text = rail_json_string(value->json);

	(void)field;
	if (text == NULL)
		return rail_config_fail(value, "must be a prefix such as \"fd00::/8\"");
	return rail_wrap(value->error, rail_pool_parse(text, &settings->pool, value->error),
			 "%.300s, key '%s'", value->place, value->key);
}

int rail_config_read_ttl(const struct rail_config_value *value, struct rail_settings *settings,
			 void *field)
{
	int64_t number;

	(void)settings;
	if (rail_json_integer(value->json, 0, 86400, &number) < 0)
		return rail_config_fail(value, "must be a whole number from 0 to 86400 (seconds)");
	*(uint32_t *)field = (uint32_t)number;
	return 0;
}

/* "address", "address:port" for IPv4, "[address]:port" or "[address]". */
static bool parse_endpoint(const char *text, struct rail_endpoint *ret_endpoint)
{
	char host[INET6_ADDRSTRLEN];
	const char *start = text;
	const char *end = text + strlen(text);
	const char *port = NULL;

	if (text[0] == '[') {
		start++;
		end = strchr(text, ']');
		if (end == NULL || (end[1] != '\0' && end[1] != ':'))
			return false;
		port = end[1] == ':' ? end + 2 : NULL;
	} else if (strchr(text, ':') != NULL && strchr(text, ':') == strrchr(text, ':')) {
		end = strchr(text, ':');
		port = end + 1;
	}

	size_t length = (size_t)(end - start);
	struct in6_addr address;
	struct rail_endpoint endpoint = {.family = AF_INET6, .port = DNS_PORT};
	if (length >= sizeof(host))
		return false;
	memcpy(host, start, length);
	host[length] = '\0';
	if (!parse_address(host, &address) || !is_destination(&address))
		return false;
	if (port != NULL && !parse_port(port, port + strlen(port), &endpoint.port))
		return false;
	if (IN6_IS_ADDR_V4MAPPED(&address)) {
		/* Brackets are for IPv6 only. */
		if (text[0] == '[')
			return false;
		endpoint.family = AF_INET;
		memcpy(&endpoint.address.v4, &address.s6_addr[12], sizeof(endpoint.address.v4));
	} else {
		endpoint.address.v6 = address;
	}
	*ret_endpoint = endpoint;
	return true;
}

/* The strings of a list of at most RAIL_LIST_MAXIMUM. */
static int read_list(const struct rail_config_value *value, const char *wanted,
		     const char *texts[RAIL_LIST_MAXIMUM], size_t *ret_count)
{
	size_t count = 0;

	if (rail_json_type(value->json) != RAIL_JSON_ARRAY)
		return rail_config_fail(value, wanted);
	for (const struct rail_json *entry = rail_json_first(value->json); entry != NULL;
	     entry = rail_json_next(entry)) {
		if (rail_json_string(entry) == NULL)
			return rail_config_fail(value, wanted);
		if (count == RAIL_LIST_MAXIMUM)
			return rail_config_fail(value, "must have at most 8 entries");
		texts[count++] = rail_json_string(entry);
	}
	*ret_count = count;
	return 0;
}

int rail_config_read_upstreams(const struct rail_config_value *value,
			       struct rail_settings *settings, void *field)
{
	static const char wanted[] = "must be a list of \"address\", \"address:port\" and "
				     "\"[address]:port\"";
	const char *texts[RAIL_LIST_MAXIMUM];
	size_t count = 0;
	int result = read_list(value, wanted, texts, &count);

	(void)field;
	if (result < 0)
		return result;
	for (size_t i = 0; i < count; i++)
		if (!parse_endpoint(texts[i], &settings->upstreams[i]))
			return rail_config_fail(value, wanted);
	settings->upstream_count = count;
	return 0;
}

int rail_config_read_fallback_nameservers(const struct rail_config_value *value,
					  struct rail_settings *settings, void *field)
{
	static const char wanted[] = "must be a list of IPv4 and IPv6 addresses";
	const char *texts[RAIL_LIST_MAXIMUM];
	size_t count = 0;
	int result = read_list(value, wanted, texts, &count);

	(void)field;
	if (result < 0)
		return result;
	for (size_t i = 0; i < count; i++)
		if (!parse_address(texts[i], &settings->fallback_nameservers[i]) ||
		    !is_destination(&settings->fallback_nameservers[i]))
			return rail_config_fail(value, wanted);
	settings->fallback_nameserver_count = count;
	return 0;
}

/* Labels of 1 to 63 letters, digits, '-' and '_', 253 bytes in all. */
static bool domain_valid(const char *text)
{
	static const char letters[] = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ"
				      "0123456789-_";

	if (strlen(text) >= RAIL_DOMAIN_SIZE)
		return false;
	for (;;) {
		size_t length = strspn(text, letters);

		if (length == 0 || length > 63)
			return false;
		if (text[length] == '\0')
			return true;
		if (text[length] != '.')
			return false;
		text += length + 1;
	}
}

int rail_config_read_search_domains(const struct rail_config_value *value,
				    struct rail_settings *settings, void *field)
{
	static const char wanted[] = "must be a list of domain names";
	const char *texts[RAIL_LIST_MAXIMUM];
	size_t count = 0;
	int result = read_list(value, wanted, texts, &count);

	(void)field;
	if (result < 0)
		return result;
	for (size_t i = 0; i < count; i++) {
		if (!domain_valid(texts[i]))
			return rail_config_fail(value, wanted);
		memcpy(settings->search_domains[i], texts[i], strlen(texts[i]) + 1);
	}
	settings->search_domain_count = count;
	return 0;
}

int rail_config_read_intercept(const struct rail_config_value *value,
			       struct rail_settings *settings, void *field)
{
	const char *text = rail_json_string(value->json);
	bool boolean = rail_json_type(value->json) == RAIL_JSON_BOOLEAN;

	(void)field;
	if (text != NULL && strcmp(text, "auto") == 0)
		settings->intercept = RAIL_INTERCEPT_AUTO;
	else if (boolean ? rail_json_is_true(value->json) : text != NULL && strcmp(text, "on") == 0)
		settings->intercept = RAIL_INTERCEPT_ON;
	else if (boolean || (text != NULL && strcmp(text, "off") == 0))
		settings->intercept = RAIL_INTERCEPT_OFF;
	else
		return rail_config_fail(value, "must be \"auto\", true or false");
	return 0;
}

int rail_config_read_port(const struct rail_config_value *value, struct rail_settings *settings,
			  void *field)
{
	int64_t number;

	(void)settings;
	if (rail_json_integer(value->json, 1, UINT16_MAX, &number) < 0)
		return rail_config_fail(value, "must be a port (1 to 65535)");
	*(uint16_t *)field = (uint16_t)number;
	return 0;
}
