#pragma once

#include "pkg/cni/call.h"

/*
 * Executes another plugin (an IPAM plugin, or in tests any) found in CNI_PATH, with the same
 * environment except for CNI_COMMAND and the configuration as standard input, and waits for it. It
 * has no other descriptor of ours than standard error. type must be a file name (code 7); what is
 * not found in path (the value of CNI_PATH: directories, separated by ':') is code 7 naming path.
 *
 * ret_output (may be NULL: then the output of a success is not looked at): what it printed, parsed,
 * an object for rail_json_free; NULL where it printed nothing. A plugin that fails gives its own
 * code and message, with its name in front; code 999 where it printed no error or was killed. Its
 * output is bounded (4 MiB). A process that it leaves behind is not waited for.
 *
 * The caller has standard input, output and error open, and SIGPIPE ignored (rail_cni_main sees to
 * both).
 */
int rail_delegate(const char *type, const char *path, enum rail_cni_command command,
		  const char *configuration, size_t configuration_size,
		  struct rail_json **ret_output, struct rail_error *error);

/* Whether the plugin that path holds under that type is the one that was installed beside this
 * one: the file of that name in the directory of this process's own executable. */
bool rail_delegate_is_beside(const char *type, const char *path);
