#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "pkg/config/settings_values.h"

/* The key cluster: an object of its own. */

enum {
	LEASE_DEFAULT_S = 30,
	LEASE_MINIMUM_S = 5, /* a third of it is how often a node renews it */
	LEASE_MAXIMUM_S = 600,
};

/* A value below cluster: errors name "cluster.<key>". */
struct inner {
	struct rail_config_value value;
	char name[96];
};

static void descend(const struct rail_config_value *cluster, const struct rail_json *json,
		    struct inner *ret_inner)
{
	(void)snprintf(ret_inner->name, sizeof(ret_inner->name), "cluster.%.64s",
		       rail_json_key(json));
	ret_inner->value = (struct rail_config_value){
		.json = json,
		.key = ret_inner->name,
		.place = cluster->place,
		.error = cluster->error,
	};
}

/* "http://host:port" or "https://host:port". A path would be another gateway than etcd's own. */
static bool parse_url(const char *text, char url[RAIL_CLUSTER_URL_SIZE])
{
	static const char letters[] = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ"
				      "0123456789-._:[]";
	const char *host = text + (strncmp(text, "https://", 8) == 0 ? 8 : 7);
	size_t length = strlen(text);

	if (strncmp(text, "http://", 7) != 0 && strncmp(text, "https://", 8) != 0)
		return false;
	if (length > 0 && text[length - 1] == '/')
		length--;
	if (text + length <= host || length >= RAIL_CLUSTER_URL_SIZE ||
	    host + strspn(host, letters) != text + length)
		return false;
	memcpy(url, text, length);
	url[length] = '\0';
	return true;
}

static int read_endpoints(const struct rail_config_value *value,
			  struct rail_cluster_settings *cluster)
{
	static const char wanted[] = "must be a list of 1 to 16 URLs of etcd's, such as "
				     "\"https://192.0.2.1:2379\"";
	size_t count = 0;

	if (rail_json_type(value->json) != RAIL_JSON_ARRAY)
		return rail_config_fail(value, wanted);
	for (const struct rail_json *entry = rail_json_first(value->json); entry != NULL;
	     entry = rail_json_next(entry)) {
		const char *text = rail_json_string(entry);

		if (text == NULL || count == RAIL_CLUSTER_ENDPOINTS_MAXIMUM ||
		    !parse_url(text, cluster->endpoints[count]))
			return rail_config_fail(value, wanted);
		count++;
	}
	if (count == 0)
		return rail_config_fail(value, wanted);
	cluster->endpoint_count = count;
	return 0;
}

static int read_user(const struct rail_config_value *value, struct rail_cluster_settings *cluster)
{
	const char *text = rail_json_string(value->json);

	if (text == NULL || *text == '\0' || strlen(text) >= sizeof(cluster->user))
		return rail_config_fail(value, "must be the name of a user of etcd's");
	memcpy(cluster->user, text, strlen(text) + 1);
	return 0;
}

static int read_lease(const struct rail_config_value *value, struct rail_cluster_settings *cluster)
{
	int64_t number;

	if (rail_json_integer(value->json, LEASE_MINIMUM_S, LEASE_MAXIMUM_S, &number) < 0)
		return rail_config_fail(value, "must be a whole number from 5 to 600 (seconds)");
	cluster->lease_s = (uint32_t)number;
	return 0;
}

static int read_member(const struct rail_config_value *cluster_value, const struct rail_json *json,
		       struct rail_settings *settings, struct rail_cluster_settings *cluster)
{
	const char *key = rail_json_key(json);
	struct inner inner;

	descend(cluster_value, json, &inner);
	if (strcmp(key, "endpoints") == 0)
		return read_endpoints(&inner.value, cluster);
	if (strcmp(key, "ca") == 0)
		return rail_config_read_path(&inner.value, settings, cluster->ca);
	if (strcmp(key, "cert") == 0)
		return rail_config_read_path(&inner.value, settings, cluster->certificate);
	if (strcmp(key, "key") == 0)
		return rail_config_read_path(&inner.value, settings, cluster->key);
	if (strcmp(key, "user") == 0)
		return read_user(&inner.value, cluster);
	if (strcmp(key, "password") == 0)
		return rail_config_read_path(&inner.value, settings, cluster->password_file);
	if (strcmp(key, "lease") == 0)
		return read_lease(&inner.value, cluster);
	return rail_fail_code(
		cluster_value->error, RAIL_CODE_UNSUPPORTED_FIELD, EINVAL,
		"%.300s: unknown key '%s'; cluster has endpoints, ca, cert, key, user, "
		"password and lease",
		cluster_value->place, inner.name);
}

int rail_config_read_cluster(const struct rail_config_value *value, struct rail_settings *settings,
			     void *field)
{
	struct rail_cluster_settings cluster = {.lease_s = LEASE_DEFAULT_S};

	if (rail_json_type(value->json) != RAIL_JSON_OBJECT)
		return rail_config_fail(value, "must be an object with the key endpoints");
	for (const struct rail_json *json = rail_json_first(value->json); json != NULL;
	     json = rail_json_next(json)) {
		int result = read_member(value, json, settings, &cluster);

		if (result < 0)
			return result;
	}
	if (cluster.endpoint_count == 0)
		return rail_config_fail(value, "must have the key endpoints");
	if ((cluster.certificate[0] == '\0') != (cluster.key[0] == '\0'))
		return rail_config_fail(value, "must have both cert and key, or neither");
	if ((cluster.user[0] == '\0') != (cluster.password_file[0] == '\0'))
		return rail_config_fail(value, "must have both user and password (a file's path), "
					       "or neither");
	for (size_t i = 0; i < cluster.endpoint_count; i++)
		if ((cluster.ca[0] != '\0' || cluster.certificate[0] != '\0') &&
		    strncmp(cluster.endpoints[i], "https://", 8) != 0)
			return rail_config_fail(value, "must have https:// in every endpoint where "
						       "it has ca or cert");
	*(struct rail_cluster_settings *)field = cluster;
	return 0;
}
