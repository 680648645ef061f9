#include "pkg/cluster/records.h"

#include <arpa/inet.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "pkg/base/cleanup.h"
#include "pkg/cluster/base64.h"
#include "pkg/wg/key.h"

enum {
	PREFIX_DIGITS = 2 * sizeof(struct rail_prefix),
	ADDRESS_DIGITS = 2 * sizeof(struct in6_addr),
	NUMBER_DIGITS = 4,
};

/* ---- keys ---- */

static void write_digits(const uint8_t *bytes, size_t size, char *text)
{
	for (size_t i = 0; i < size; i++)
		(void)snprintf(text + 2 * i, 3, "%02x", bytes[i]);
}

static int digit(char letter)
{
	if (letter >= '0' && letter <= '9')
		return letter - '0';
	return letter >= 'a' && letter <= 'f' ? letter - 'a' + 10 : -1;
}

/* Exactly so many digits, and nothing behind. */
static bool read_digits(const char *text, uint8_t *bytes, size_t size)
{
	if (strlen(text) != 2 * size)
		return false;
	for (size_t i = 0; i < size; i++) {
		int high = digit(text[2 * i]);
		int low = digit(text[2 * i + 1]);

		if (high < 0 || low < 0)
			return false;
		bytes[i] = (uint8_t)(high << 4 | low);
	}
	return true;
}

void rail_key_of_node(uint32_t node, rail_cluster_key key)
{
	(void)snprintf(key, RAIL_CLUSTER_KEY_SIZE, RAIL_CLUSTER_ROOT "nodes/%08x", node);
}

void rail_key_of_alive(uint32_t node, rail_cluster_key key)
{
	(void)snprintf(key, RAIL_CLUSTER_KEY_SIZE, RAIL_CLUSTER_ROOT "alive/%08x", node);
}

void rail_key_of_environment(const char *name, rail_cluster_key key)
{
	(void)snprintf(key, RAIL_CLUSTER_KEY_SIZE, RAIL_CLUSTER_ROOT "environments/%s", name);
}

void rail_key_of_prefix(const struct rail_prefix *prefix, rail_cluster_key key)
{
	char digits[PREFIX_DIGITS + 1];

	write_digits(prefix->bytes, sizeof(prefix->bytes), digits);
	(void)snprintf(key, RAIL_CLUSTER_KEY_SIZE, RAIL_CLUSTER_ROOT "prefixes/%s", digits);
}

static void key_inside(const struct rail_prefix *prefix, const char *kind, const char *name,
		       rail_cluster_key key)
{
	char digits[PREFIX_DIGITS + 1];

	write_digits(prefix->bytes, sizeof(prefix->bytes), digits);
	(void)snprintf(key, RAIL_CLUSTER_KEY_SIZE, RAIL_CLUSTER_ROOT "in/%s/%s%s", digits, kind,
		       name);
}

void rail_key_of_inside(const struct rail_prefix *prefix, rail_cluster_key key)
{
	key_inside(prefix, "", "", key);
}

void rail_key_of_service(const struct rail_prefix *prefix, const char *label, rail_cluster_key key)
{
	key_inside(prefix, "services/", label, key);
}

void rail_key_of_number(const struct rail_prefix *prefix, uint16_t number, rail_cluster_key key)
{
	char digits[NUMBER_DIGITS + 1];

	(void)snprintf(digits, sizeof(digits), "%04x", number);
	key_inside(prefix, "numbers/", digits, key);
}

static void key_of_address(const struct in6_addr *address, const char *kind, rail_cluster_key key)
{
	struct rail_address_parts parts = rail_address_split(address);
	char digits[ADDRESS_DIGITS + 1];

	write_digits(address->s6_addr, sizeof(address->s6_addr), digits);
	key_inside(&parts.prefix, kind, digits, key);
}

void rail_key_of_claim(const struct in6_addr *address, rail_cluster_key key)
{
	key_of_address(address, "claims/", key);
}

void rail_key_of_member(const struct in6_addr *address, rail_cluster_key key)
{
	key_of_address(address, "members/", key);
}

/* What stands behind, where text begins so; else NULL. */
static const char *behind(const char *text, const char *beginning)
{
	size_t length = strlen(beginning);

	return strncmp(text, beginning, length) == 0 ? text + length : NULL;
}

static bool is_label(const char *text)
{
	char label[RAIL_LABEL_SIZE];

	return rail_label_make("a record", text, false, label, NULL) == 0 &&
	       strcmp(label, text) == 0;
}

enum rail_inside_kind rail_key_parse(const char *key, const struct rail_prefix *prefix,
				     const char **ret_label, uint16_t *ret_number,
				     struct in6_addr *ret_address)
{
	rail_cluster_key inside;
	uint8_t number[2];
	const char *rest;
	const char *name;

	rail_key_of_inside(prefix, inside);
	rest = behind(key, inside);
	if (rest == NULL)
		return RAIL_INSIDE_UNKNOWN;
	name = behind(rest, "services/");
	if (name != NULL && is_label(name)) {
		*ret_label = name;
		return RAIL_INSIDE_SERVICE;
	}
	name = behind(rest, "numbers/");
	if (name != NULL && read_digits(name, number, sizeof(number))) {
		*ret_number = (uint16_t)(number[0] << 8 | number[1]);
		return RAIL_INSIDE_NUMBER;
	}

	enum rail_inside_kind kind = RAIL_INSIDE_MEMBER;

	name = behind(rest, "members/");
	if (name == NULL) {
		kind = RAIL_INSIDE_CLAIM;
		name = behind(rest, "claims/");
	}
	if (name == NULL ||
	    !read_digits(name, ret_address->s6_addr, sizeof(ret_address->s6_addr)) ||
	    !rail_prefix_contains(prefix, ret_address))
		return RAIL_INSIDE_UNKNOWN;
	return kind;
}

/* ---- values ---- */

static int refuse(struct rail_error *error, const char *what)
{
	return rail_fail(error, EBADMSG, "%s", what);
}

static int parse_object(const char *text, struct rail_json **ret_document, struct rail_error *error)
{
	if (text == NULL)
		return refuse(error, "the value is too large, or no text");
	if (rail_json_parse(text, strlen(text), ret_document, NULL) < 0)
		return refuse(error, "the value is no JSON");
	if (rail_json_type(*ret_document) != RAIL_JSON_OBJECT)
		return refuse(error, "the value is no JSON object");
	return 0;
}

static char *print_and_free(struct rail_json *document, bool failed)
{
	char *text = failed ? NULL : rail_json_print(document);

	rail_json_free(document);
	return text;
}

/* Where a member of another node can be: not this node itself, by whatever name. */
static bool is_reachable(const struct rail_endpoint *endpoint)
{
	const struct in6_addr *v6 = &endpoint->address.v6;

	if (endpoint->family == AF_INET) {
		uint32_t v4 = ntohl(endpoint->address.v4.s_addr);

		return v4 >> 24 != 0 && v4 >> 24 != 127 && v4 >> 28 < 14 && v4 >> 16 != 0xa9fe;
	}
	return !IN6_IS_ADDR_UNSPECIFIED(v6) && !IN6_IS_ADDR_LOOPBACK(v6) &&
	       !IN6_IS_ADDR_MULTICAST(v6) && !IN6_IS_ADDR_LINKLOCAL(v6) &&
	       !IN6_IS_ADDR_V4MAPPED(v6) && !IN6_IS_ADDR_V4COMPAT(v6);
}

/* "192.0.2.1:51820" or "[2001:db8::1]:51820", as rail_endpoint_format writes it. */
static bool parse_endpoint(const char *text, struct rail_endpoint *ret_endpoint)
{
	struct rail_endpoint endpoint = {.family = AF_INET};
	const char *colon = strrchr(text, ':');
	char host[RAIL_ENDPOINT_TEXT_SIZE];
	char again[RAIL_ENDPOINT_TEXT_SIZE];
	char *end;

	if (colon == NULL || (size_t)(colon - text) >= sizeof(host) || colon == text)
		return false;
	memcpy(host, text, (size_t)(colon - text));
	host[colon - text] = '\0';

	unsigned long port = strtoul(colon + 1, &end, 10);

	if (*end != '\0' || port == 0 || port > UINT16_MAX)
		return false;
	endpoint.port = (uint16_t)port;
	if (host[0] == '[') {
		endpoint.family = AF_INET6;
		host[strlen(host) - 1] = '\0';
		if (inet_pton(AF_INET6, host + 1, &endpoint.address.v6) != 1)
			return false;
	} else if (inet_pton(AF_INET, host, &endpoint.address.v4) != 1) {
		return false;
	}
	/* No second way to write one. */
	rail_endpoint_format(&endpoint, again);
	if (strcmp(again, text) != 0 || !is_reachable(&endpoint))
		return false;
	*ret_endpoint = endpoint;
	return true;
}

char *rail_published_encode(const struct rail_published *published)
{
	struct rail_json *document = rail_json_new_object();
	struct rail_json *endpoints = rail_json_new_array();
	char key[RAIL_KEY_TEXT_SIZE];
	bool failed = false;

	rail_key_format(&published->public_key, key);
	for (size_t i = 0; i < published->endpoint_count; i++) {
		char text[RAIL_ENDPOINT_TEXT_SIZE];

		rail_endpoint_format(&published->endpoints[i], text);
		failed |= rail_json_append(endpoints, rail_json_new_string(text)) < 0;
	}
	failed |= rail_json_put(document, "node", rail_json_new_integer(published->node)) < 0;
	failed |= rail_json_put(document, "key", rail_json_new_string(key)) < 0;
	failed |= rail_json_put(document, "endpoints", endpoints) < 0;
	failed |= rail_json_put(document, "replica", rail_json_new_string(published->replica)) < 0;
	failed |= rail_json_put(document, "named", rail_json_new_boolean(published->named)) < 0;
	return print_and_free(document, failed);
}

static bool parse_key(const char *text, struct rail_key *ret_key)
{
	static const struct rail_key zero;
	size_t size = 0;
	RAIL_FREE char *bytes = text == NULL ? NULL : rail_base64_decode(text, &size);

	if (bytes == NULL || size != sizeof(ret_key->bytes))
		return false;
	memcpy(ret_key->bytes, bytes, size);
	return !rail_key_equal(ret_key, &zero);
}

static bool parse_endpoints(const struct rail_json *list, struct rail_published *published)
{
	for (const struct rail_json *value = rail_json_first(list); value != NULL;
	     value = rail_json_next(value)) {
		const char *text = rail_json_string(value);

		if (text == NULL || published->endpoint_count == RAIL_PUBLISHED_ENDPOINTS_MAXIMUM ||
		    !parse_endpoint(text, &published->endpoints[published->endpoint_count]))
			return false;
		published->endpoint_count++;
	}
	return published->endpoint_count > 0;
}

static bool parse_node(const struct rail_json *document, uint32_t *ret_node)
{
	int64_t node;

	if (rail_json_integer(rail_json_get(document, "node"), RAIL_NODE_LONE + 1, UINT32_MAX,
			      &node) < 0)
		return false;
	*ret_node = (uint32_t)node;
	return true;
}

int rail_published_parse(const char *text, const struct in6_addr *address,
			 struct rail_published *ret_published, struct rail_error *error)
{
	RAIL_CLEANUP(rail_json_freep) struct rail_json *document = NULL;
	struct rail_address_parts parts = rail_address_split(address);
	struct rail_published published = {.endpoint_count = 0};
	const char *replica;

	int result = parse_object(text, &document, error);
	if (result < 0)
		return result;
	if (!parse_node(document, &published.node))
		return refuse(error, "'node' is no number of a node in a cluster");
	if (parts.service == RAIL_SERVICE_OWN)
		return refuse(error, "the address is in no service's subnet");
	if (parts.node > RAIL_NODE_LONE && parts.node != published.node)
		return refuse(error, "the address is another node's");
	if (!parse_key(rail_json_string(rail_json_get(document, "key")), &published.public_key))
		return refuse(error, "'key' is no public key");
	if (!parse_endpoints(rail_json_get(document, "endpoints"), &published))
		return refuse(error, "'endpoints' are not one or two that another node can reach");
	replica = rail_json_string(rail_json_get(document, "replica"));
	if (replica == NULL || !is_label(replica))
		return refuse(error, "'replica' is no label");
	memcpy(published.replica, replica, strlen(replica) + 1);
	published.named = rail_json_is_true(rail_json_get(document, "named"));
	*ret_published = published;
	return 0;
}

char *rail_prefix_record_encode(const struct rail_prefix *prefix)
{
	struct rail_json *document = rail_json_new_object();
	char digits[PREFIX_DIGITS + 1];

	write_digits(prefix->bytes, sizeof(prefix->bytes), digits);
	return print_and_free(document,
			      rail_json_put(document, "prefix", rail_json_new_string(digits)) < 0);
}

int rail_prefix_record_parse(const char *text, struct rail_prefix *ret_prefix,
			     struct rail_error *error)
{
	RAIL_CLEANUP(rail_json_freep) struct rail_json *document = NULL;
	static const struct rail_pool everything = {.base = {.s6_addr = {0xfd}}, .length = 8};
	struct rail_prefix prefix;
	struct rail_prefix usable;

	int result = parse_object(text, &document, error);
	if (result < 0)
		return result;

	const char *digits = rail_json_string(rail_json_get(document, "prefix"));

	if (digits == NULL || !read_digits(digits, prefix.bytes, sizeof(prefix.bytes)) ||
	    !rail_prefix_make(&everything, prefix.bytes, &usable) ||
	    !rail_prefix_equal(&prefix, &usable))
		return refuse(error, "'prefix' is no /48 that an environment may have");
	*ret_prefix = prefix;
	return 0;
}

char *rail_service_record_encode(uint16_t number, const char *original)
{
	struct rail_json *document = rail_json_new_object();
	bool failed = rail_json_put(document, "number", rail_json_new_integer(number)) < 0;

	failed |= rail_json_put(document, "original", rail_json_new_string(original)) < 0;
	return print_and_free(document, failed);
}

int rail_service_record_parse(const char *text, const char *label, uint16_t *ret_number,
			      char original[RAIL_ORIGINAL_NAME_SIZE], struct rail_error *error)
{
	RAIL_CLEANUP(rail_json_freep) struct rail_json *document = NULL;
	char made[RAIL_LABEL_SIZE];
	int64_t number;

	int result = parse_object(text, &document, error);
	if (result < 0)
		return result;

	const char *name = rail_json_string(rail_json_get(document, "original"));

	if (rail_json_integer(rail_json_get(document, "number"), RAIL_SERVICE_OWN + 1, UINT16_MAX,
			      &number) < 0)
		return refuse(error, "'number' is no number of a service");
	if (name == NULL || strlen(name) >= RAIL_ORIGINAL_NAME_SIZE ||
	    rail_label_make("a record", name, false, made, NULL) < 0 || strcmp(made, label) != 0)
		return refuse(error, "'original' does not make the label");
	*ret_number = (uint16_t)number;
	memcpy(original, name, strlen(name) + 1);
	return 0;
}

char *rail_node_record_encode(const struct rail_node_record *record)
{
	struct rail_json *document = rail_json_new_object();
	bool failed = rail_json_put(document, "id", rail_json_new_string(record->id)) < 0;

	failed |= rail_json_put(document, "node", rail_json_new_integer(record->node)) < 0;
	failed |= rail_json_put(document, "host", rail_json_new_string(record->host)) < 0;
	return print_and_free(document, failed);
}

int rail_node_record_parse(const char *text, struct rail_node_record *ret_record,
			   struct rail_error *error)
{
	RAIL_CLEANUP(rail_json_freep) struct rail_json *document = NULL;
	struct rail_node_record record = {.node = 0};
	uint8_t id[(RAIL_NODE_ID_SIZE - 1) / 2];

	int result = parse_object(text, &document, error);
	if (result < 0)
		return result;

	const char *given = rail_json_string(rail_json_get(document, "id"));
	const char *host = rail_json_string(rail_json_get(document, "host"));

	if (given == NULL || !read_digits(given, id, sizeof(id)))
		return refuse(error, "'id' is no node's");
	if (!parse_node(document, &record.node))
		return refuse(error, "'node' is no number of a node in a cluster");
	memcpy(record.id, given, strlen(given) + 1);
	if (host != NULL)
		(void)snprintf(record.host, sizeof(record.host), "%s", host);
	*ret_record = record;
	return 0;
}
