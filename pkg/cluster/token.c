#include "pkg/cluster/token.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "pkg/base/cleanup.h"
#include "pkg/base/file.h"
#include "pkg/cluster/gateway.h"

enum {
	PASSWORD_MAXIMUM = 1024,
	/* Of gRPC. */
	UNAUTHENTICATED = 16,
};

bool rail_etcd_token_is_missing(const struct rail_etcd_token *token)
{
	return token->settings->user[0] != '\0' && token->text[0] == '\0';
}

const char *rail_etcd_token_text(const struct rail_etcd_token *token)
{
	return token->text[0] == '\0' ? NULL : token->text;
}

char *rail_etcd_token_request(const struct rail_etcd_token *token, struct rail_error *error)
{
	RAIL_FREE char *password = NULL;
	size_t size;

	if (rail_read_file(token->settings->password_file, PASSWORD_MAXIMUM, &password, &size,
			   error) < 0)
		return NULL;
	/* A file that a person wrote ends with a newline. */
	password[strcspn(password, "\r\n")] = '\0';

	char *body = rail_etcd_encode_authenticate(token->settings->user, password);

	explicit_bzero(password, size);
	if (body == NULL)
		(void)rail_fail(error, ENOMEM, "no memory to log in to etcd");
	return body;
}

int rail_etcd_token_take(struct rail_etcd_token *token, const struct rail_json *answer,
			 struct rail_error *error)
{
	const char *text;
	int result = rail_etcd_parse_authenticate(answer, &text, error);

	if (result < 0)
		return result;
	if (strlen(text) >= sizeof(token->text))
		return rail_fail_code(error, RAIL_CODE_TRY_AGAIN, EPROTO,
				      "etcd's token has %zu bytes and may have %zu: use a shorter "
				      "key or sign-method in etcd's --auth-token",
				      strlen(text), sizeof(token->text) - 1);
	memcpy(token->text, text, strlen(text) + 1);
	return 0;
}

bool rail_etcd_token_is_refused(struct rail_etcd_token *token, int code, const char *message)
{
	/*
	 * A token in JWT has the revision of users and roles in it, and is of no use after any
	 * change of these: which etcd calls an invalid argument. A watch is told by text alone.
	 */
	static const char *const refusals[] = {"revision of auth store is old",
					       "invalid auth token"};
	bool refused = code == UNAUTHENTICATED;

	for (size_t i = 0; message != NULL && i < sizeof(refusals) / sizeof(refusals[0]); i++)
		refused = refused || strstr(message, refusals[i]) != NULL;
	refused = refused && token->settings->user[0] != '\0';
	if (refused)
		explicit_bzero(token->text, sizeof(token->text));
	return refused;
}
