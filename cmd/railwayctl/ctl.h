#pragma once

#include "cmd/railwayctl/snapshot.h"
#include "cmd/railwayctl/table.h"
#include "pkg/config/settings.h"

/* railwayctl: what its commands have in common. */

/* Exit status. */
enum {
	CTL_DONE = 0,
	CTL_ATTENTION = 1, /* the node, or the pod, is not as it should be */
	CTL_USAGE = 2,
	CTL_FAILED = 3,
};

struct ctl {
	const char *config; /* NULL: the default */
	bool json;
	struct rail_settings settings;
	struct rail_store *store; /* once ctl_open succeeded */
};

/* A command: CTL_DONE or CTL_ATTENTION, or a negative errno value. arguments: as many as its entry
 * in main.c allows, then NULL. */
typedef int (*ctl_command)(struct ctl *ctl, char **arguments, struct rail_error *error);

int ctl_status(struct ctl *ctl, char **arguments, struct rail_error *error);
int ctl_environments(struct ctl *ctl, char **arguments, struct rail_error *error);
int ctl_services(struct ctl *ctl, char **arguments, struct rail_error *error);
int ctl_pods(struct ctl *ctl, char **arguments, struct rail_error *error);
int ctl_members(struct ctl *ctl, char **arguments, struct rail_error *error);
int ctl_peers(struct ctl *ctl, char **arguments, struct rail_error *error);
int ctl_enable(struct ctl *ctl, char **arguments, struct rail_error *error);
int ctl_disable(struct ctl *ctl, char **arguments, struct rail_error *error);
int ctl_remove(struct ctl *ctl, char **arguments, struct rail_error *error);

/* Opens the stores that are there, and makes none. */
int ctl_open(struct ctl *ctl, struct rail_error *error);
/* The same, and copies them; says on standard error where there is nothing to copy. */
int ctl_read(struct ctl *ctl, struct snapshot *ret_snapshot, struct rail_error *error);

/*
 * Prints what a command has to show: a record (the first row of a table; NULL: none), and a list
 * under its name (NULL: none). As text the record's lines, an empty line, and the list, or none in
 * place of an empty one; as JSON one object, the record's keys and the list's name. Finishes the
 * tables.
 */
struct ctl_report {
	const struct table *record;
	const struct table *list;
	const char *list_name;
	const char *none; /* NULL: an empty list is a line of headings */
};

int ctl_print(const struct ctl *ctl, const struct ctl_report *report, struct rail_error *error);

/* A line, escaped, on standard error. */
void ctl_say(const char *text);

const char *ctl_state_name(enum rail_attachment_state state);
/* An address into a cell. */
void ctl_put_address(struct table *table, const struct in6_addr *address);
