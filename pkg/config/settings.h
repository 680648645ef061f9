#pragma once

#include "pkg/cni/call.h"
#include "pkg/ipam/address.h"
#include "pkg/wg/device.h"

/*
 * The suite's configuration keys: one table for the node's file, the network configuration and its
 * ipam section (doc/configuration.md). N-keys stand in the node's file and may be given in a
 * network configuration too, which then wins. An unknown key is an error (code 2) that names the
 * nearest known one; so is a key in a plugin that does not use it (it names the plugin that does).
 * A wrong type or value (null is one) is code 7 naming key and value. A DEL, which must not fail
 * for what only ADD goes by, looks at config, the two directories and the sockets alone.
 */

enum {
	RAIL_LIST_MAXIMUM = 8, /* entries of upstreams, fallbackNameservers, searchDomains */
	RAIL_LISTEN_PORTS_MAXIMUM = 1024,
	RAIL_DOMAIN_SIZE = 254,
	RAIL_PATH_SIZE = 256,
	RAIL_SOCKET_PATH_SIZE = 108, /* unix(7), sun_path */
	RAIL_CLUSTER_ENDPOINTS_MAXIMUM = 16,
	RAIL_CLUSTER_URL_SIZE = 256,
	RAIL_CLUSTER_USER_SIZE = 128,
};

/* The key cluster: how etcd is reached. Texts are "" where nothing is given. */
struct rail_cluster_settings {
	char endpoints[RAIL_CLUSTER_ENDPOINTS_MAXIMUM][RAIL_CLUSTER_URL_SIZE]; /* without a '/' at
										  the end */
	size_t endpoint_count;		  /* 0: this node is in no cluster */
	char ca[RAIL_PATH_SIZE];	  /* PEM files */
	char certificate[RAIL_PATH_SIZE]; /* of this node, with its key */
	char key[RAIL_PATH_SIZE];
	char user[RAIL_CLUSTER_USER_SIZE];
	char password_file[RAIL_PATH_SIZE]; /* holds the password in its first line */
	uint32_t lease_s; /* a node that is silent for so long is taken for dead */
};

enum rail_intercept {
	RAIL_INTERCEPT_AUTO,
	RAIL_INTERCEPT_OFF,
	RAIL_INTERCEPT_ON,
};

struct rail_settings {
	/* N-keys */
	char state_directory[RAIL_PATH_SIZE];
	char run_directory[RAIL_PATH_SIZE];
	char resolver_socket[RAIL_SOCKET_PATH_SIZE]; /* default: <runDirectory>/resolver.sock */
	char mesh_socket[RAIL_SOCKET_PATH_SIZE];     /* default: <runDirectory>/mesh.sock */
	struct in6_addr
		endpoint; /* IPv4-mapped for IPv4; unspecified: the default route's source */
	uint16_t listen_ports[RAIL_LISTEN_PORTS_MAXIMUM];
	size_t listen_port_count; /* 0: any */
	struct rail_cluster_settings cluster;

	/* railway-mesh */
	char transport[16];	  /* "auto", "kernel", "userspace" */
	unsigned int mtu;	  /* 0: the underlay's less 80; else 1280 to 65535 */
	char interface[IFNAMSIZ]; /* "": CNI_IFNAME, or railway0 when chained */

	/* railway-ipam (also railway-mesh, which delegates to it) */
	struct rail_pool pool;

	/* all three */
	const char *environment; /* borrowed from the call's document; NULL: not given */
	const char *service;
	const char *replica;
	bool trust_arguments;
	bool enabled;

	/* railway-dns */
	uint32_t ttl_s; /* 0 to 86400 */
	struct rail_endpoint
		upstreams[RAIL_LIST_MAXIMUM]; /* "address" or "address:port", "[address]:port" */
	size_t upstream_count;
	struct in6_addr fallback_nameservers[RAIL_LIST_MAXIMUM]; /* IPv4-mapped for IPv4 */
	size_t fallback_nameserver_count;
	char search_domains[RAIL_LIST_MAXIMUM][RAIL_DOMAIN_SIZE];
	size_t search_domain_count;
	enum rail_intercept intercept;
	uint16_t dns_port;
};

enum rail_plugin {
	RAIL_PLUGIN_IPAM = 1 << 0,
	RAIL_PLUGIN_MESH = 1 << 1,
	RAIL_PLUGIN_DNS = 1 << 2,
};

/*
 * The settings of a call: defaults, then the node's file (the configuration's key config, default
 * /etc/railway/railway.json, which need not exist unless it is named), then the network
 * configuration, then for railway-ipam its ipam section where it is delegated to. Delegated to by a
 * plugin that is not of the suite, railway-ipam reads the ipam section only: a bridge's "mtu" or
 * "enabled" is not ours.
 */
int rail_settings_of_call(const struct rail_cni_call *call, enum rail_plugin plugin,
			  struct rail_settings *ret_settings, struct rail_error *error);

/* A daemon's: defaults and the node's file. path NULL: the default, which need not exist. */
int rail_settings_of_node(const char *path, struct rail_settings *ret_settings,
			  struct rail_error *error);

#define RAIL_NODE_FILE "/etc/railway/railway.json"

/* The known key nearest to a misspelt one (optimal string alignment distance, at most a third of
 * its length); NULL where none is near. */
const char *rail_settings_nearest_key(const char *key);
