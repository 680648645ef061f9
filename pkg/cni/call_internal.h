#pragma once

#include "pkg/cni/call.h"

/* What the files of a call share; nobody else includes this. */

/* Zeroed memory that lives as long as the call; NULL where there is none. */
void *rail_call_keep(struct rail_cni_call *call, size_t count, size_t size);
char *rail_call_keep_text(struct rail_cni_call *call, const char *text);

/* The names of containers and networks: a letter or digit, then also '_', '.' and '-'. */
bool rail_call_name_valid(const char *name);

int rail_call_read_command(const char *(*get_variable)(const char *name),
			   struct rail_cni_call *call, struct rail_error *error);
/* The variables that the command uses. */
int rail_call_read_environment(const char *(*get_variable)(const char *name),
			       struct rail_cni_call *call, struct rail_error *error);
int rail_call_read_arguments(const char *text, struct rail_cni_call *call,
			     struct rail_error *error);
/* cniVersion of call->document. */
int rail_call_read_version(struct rail_cni_call *call, struct rail_error *error);
/* All else of call->document. */
int rail_call_read_configuration(struct rail_cni_call *call, struct rail_error *error);
