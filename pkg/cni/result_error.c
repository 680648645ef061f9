#include <errno.h>
#include <string.h>

#include "pkg/base/cleanup.h"
#include "pkg/cni/result.h"

int rail_error_code(const struct rail_error *error)
{
	static const struct {
		int errnum;
		int code;
	} codes[] = {
		{EAGAIN, RAIL_CODE_TRY_AGAIN},
		{ETIMEDOUT, RAIL_CODE_TRY_AGAIN},
		{ENOMEM, RAIL_CODE_TRY_AGAIN},
		{EBUSY, RAIL_CODE_TRY_AGAIN},
		{EINTR, RAIL_CODE_TRY_AGAIN},
		{ECONNREFUSED, RAIL_CODE_TRY_AGAIN},
		{EINVAL, RAIL_CODE_INVALID_CONFIG},
		{EIO, RAIL_CODE_IO},
		{ENOSPC, RAIL_CODE_IO},
		{EDQUOT, RAIL_CODE_IO},
		{EACCES, RAIL_CODE_IO},
		{EPERM, RAIL_CODE_IO},
		{EROFS, RAIL_CODE_IO},
		{ENOENT, RAIL_CODE_IO},
		{ENOTDIR, RAIL_CODE_IO},
		{EISDIR, RAIL_CODE_IO},
		{EEXIST, RAIL_CODE_IO},
		{ENODEV, RAIL_CODE_IO},
		{ENXIO, RAIL_CODE_IO},
		{EMFILE, RAIL_CODE_IO},
		{ENFILE, RAIL_CODE_IO},
		{EFBIG, RAIL_CODE_IO},
		{ENAMETOOLONG, RAIL_CODE_IO},
		{ELOOP, RAIL_CODE_IO},
		{EPIPE, RAIL_CODE_IO},
		{ECONNRESET, RAIL_CODE_IO},
		{EBADMSG, RAIL_CODE_DECODE},
	};

	if (error->code != RAIL_CODE_DERIVED)
		return error->code;
	for (size_t i = 0; i < sizeof(codes) / sizeof(codes[0]); i++)
		if (codes[i].errnum == error->errnum)
			return codes[i].code;
	return RAIL_CODE_INTERNAL;
}

int rail_error_as_status(struct rail_error *error, int result, int code)
{
	switch (error->code) {
	case RAIL_CODE_INCOMPATIBLE_VERSION:
	case RAIL_CODE_UNSUPPORTED_FIELD:
	case RAIL_CODE_INVALID_ENVIRONMENT:
	case RAIL_CODE_DECODE:
	case RAIL_CODE_INVALID_CONFIG:
	case RAIL_CODE_NOT_AVAILABLE:
	case RAIL_CODE_LIMITED_CONNECTIVITY:
		return result;
	default:
		error->code = code;
		return result;
	}
}

char *rail_error_print(enum rail_cni_version version, const struct rail_error *error)
{
	RAIL_CLEANUP(rail_json_freep) struct rail_json *object = rail_json_new_object();

	if (rail_json_put(object, "cniVersion",
			  rail_json_new_string(rail_cni_version_names[version])) < 0 ||
	    rail_json_put(object, "code", rail_json_new_integer(rail_error_code(error))) < 0 ||
	    rail_json_put(object, "msg", rail_json_new_string(error->message)) < 0)
		return NULL;
	return rail_json_print(object);
}
