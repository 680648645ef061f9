#pragma once

#include "pkg/config/settings.h"

/* How the value of each kind of key is read; for settings.c only. */

struct rail_config_value {
	const struct rail_json *json;
	const char *key;
	const char *place; /* "network configuration", ...: what an error says */
	struct rail_error *error;
};

/* Code 7 with the key, the place and the value: "network configuration, key 'ttl': must be a whole
 * number from 0 to 86400, is 86401". wanted is what stands between. */
int rail_config_fail(const struct rail_config_value *value, const char *wanted);

/*
 * Each reads one value into its field (a member of settings; the types stand beside each). Errors:
 * code 7, or code 2 for what is not supported yet.
 */
typedef int rail_config_reader(const struct rail_config_value *value,
			       struct rail_settings *settings, void *field);

rail_config_reader rail_config_read_path;		  /* char[RAIL_PATH_SIZE] */
rail_config_reader rail_config_read_socket;		  /* char[RAIL_SOCKET_PATH_SIZE] */
rail_config_reader rail_config_read_text;		  /* const char *, not empty */
rail_config_reader rail_config_read_boolean;		  /* bool */
rail_config_reader rail_config_read_endpoint;		  /* struct in6_addr */
rail_config_reader rail_config_read_listen_ports;	  /* the two members */
rail_config_reader rail_config_read_cluster;		  /* struct rail_cluster_settings */
rail_config_reader rail_config_read_transport;		  /* char[16] */
rail_config_reader rail_config_read_mtu;		  /* unsigned int */
rail_config_reader rail_config_read_interface;		  /* char[IFNAMSIZ] */
rail_config_reader rail_config_read_pool;		  /* struct rail_pool */
rail_config_reader rail_config_read_ttl;		  /* uint32_t */
rail_config_reader rail_config_read_upstreams;		  /* the two members */
rail_config_reader rail_config_read_fallback_nameservers; /* the two members */
rail_config_reader rail_config_read_search_domains;	  /* the two members */
rail_config_reader rail_config_read_intercept;		  /* enum rail_intercept */
rail_config_reader rail_config_read_port;		  /* uint16_t */
