#include "pkg/cni/call.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "pkg/base/cleanup.h"
#include "pkg/cni/call_internal.h"

/* One piece of what a call's lists stand in. */
struct piece {
	struct piece *next;
	max_align_t start[];
};

void *rail_call_keep(struct rail_cni_call *call, size_t count, size_t size)
{
	size_t bytes;

	if (__builtin_mul_overflow(count, size, &bytes) ||
	    __builtin_add_overflow(bytes, sizeof(struct piece), &bytes))
		return NULL;

	struct piece *piece = calloc(1, bytes);
	if (piece == NULL)
		return NULL;
	piece->next = call->memory;
	call->memory = piece;
	return piece->start;
}

char *rail_call_keep_text(struct rail_cni_call *call, const char *text)
{
	size_t size = strlen(text) + 1;
	char *copy = rail_call_keep(call, size, 1);

	if (copy != NULL)
		memcpy(copy, text, size);
	return copy;
}

void rail_cni_call_done(struct rail_cni_call *call)
{
	struct piece *piece = call->memory;

	while (piece != NULL) {
		struct piece *next = piece->next;

		free(piece);
		piece = next;
	}
	rail_json_free(call->document);
	*call = (struct rail_cni_call){.version = call->version};
}

/*
 * Annotations are the pod's author's: a NUL in one of them must not make DEL fail, which would keep
 * the plugins before this one from theirs.
 */
static int parse_document(const char *input, size_t size, struct rail_json **ret_document,
			  struct rail_error *error)
{
	static const char nul[] = "\\u0000";

	if (size > RAIL_JSON_SIZE_MAXIMUM || memmem(input, size, nul, strlen(nul)) == NULL)
		return rail_json_parse(input, size, ret_document, error);

	RAIL_FREE char *copy = malloc(size);

	if (copy == NULL)
		return rail_fail_errno(error, ENOMEM, "read the network configuration");
	memcpy(copy, input, size);
	rail_json_replace_nul(copy, size);
	return rail_json_parse(copy, size, ret_document, error);
}

static int read_call(const char *(*get_variable)(const char *name), const char *input,
		     size_t input_size, struct rail_cni_call *call, struct rail_error *error)
{
	/* The document comes first because every error is answered in its version; but what is
	 * wrong with the environment is said first. */
	struct rail_error document_error = RAIL_ERROR_NONE;
	int document_result = parse_document(input, input_size, &call->document, &document_error);
	if (document_result < 0)
		(void)rail_wrap(&document_error, document_result,
				"the network configuration on standard input");
	else
		document_result = rail_call_read_version(call, &document_error);

	int result = rail_call_read_command(get_variable, call, error);
	if (result < 0 || call->command == RAIL_CNI_VERSION)
		return result;
	result = rail_call_read_environment(get_variable, call, error);
	if (result < 0)
		return result;
	if (document_result < 0) {
		*error = document_error;
		return document_result;
	}
	return rail_call_read_configuration(call, error);
}

int rail_cni_call_read(const char *(*get_variable)(const char *name), const char *input,
		       size_t input_size, struct rail_cni_call *ret_call, struct rail_error *error)
{
	struct rail_error own_error;
	struct rail_cni_call call = {
		.version = RAIL_CNI_1_1_0,
		.container_id = "",
		.netns = "",
		.interface = "",
		.path = "",
		.network = "",
		.type = "",
	};

	int result = read_call(get_variable, input, input_size, &call,
			       error != NULL ? error : &own_error);
	if (result < 0)
		rail_cni_call_done(&call);
	*ret_call = call;
	return result;
}

const struct rail_json *rail_cni_capability(const struct rail_cni_call *call, const char *name)
{
	const struct rail_json *value =
		rail_json_get_any_case(rail_json_get(call->document, "runtimeConfig"), name);

	return value != NULL && rail_json_type(value) != RAIL_JSON_NULL ? value : NULL;
}

static const char *find_pair(const struct rail_pairs *pairs, const char *key)
{
	for (size_t i = 0; i < pairs->count; i++)
		if (strcmp(pairs->pairs[i].key, key) == 0)
			return pairs->pairs[i].value;
	return NULL;
}

const char *rail_cni_argument(const struct rail_cni_call *call, const char *key)
{
	const char *value = find_pair(&call->cni_arguments, key);

	return value != NULL ? value : find_pair(&call->arguments, key);
}
