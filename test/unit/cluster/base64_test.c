#include "pkg/cluster/base64.h"

#include <criterion/criterion.h>
#include <stdlib.h>
#include <string.h>

Test(cluster_base64, the_vectors_of_rfc_4648)
{
	static const struct {
		const char *bytes;
		const char *text;
	} vectors[] = {{"", ""},
		       {"f", "Zg=="},
		       {"fo", "Zm8="},
		       {"foo", "Zm9v"},
		       {"foob", "Zm9vYg=="},
		       {"fooba", "Zm9vYmE="},
		       {"foobar", "Zm9vYmFy"}};

	for (size_t i = 0; i < sizeof(vectors) / sizeof(vectors[0]); i++) {
		size_t size = 99;
		char *text = rail_base64_encode(vectors[i].bytes, strlen(vectors[i].bytes));
		char *bytes = rail_base64_decode(vectors[i].text, &size);

		cr_assert_str_eq(text, vectors[i].text);
		cr_assert_eq(size, strlen(vectors[i].bytes));
		cr_assert_str_eq(bytes, vectors[i].bytes);
		free(text);
		free(bytes);
	}
}

Test(cluster_base64, what_is_none_is_refused)
{
	static const char *const texts[] = {"Z",    "Zg",   "Zg=",	   "Zg===", "Zh==",
					    "Zm9=", "====", "Zm9v=",	   "Zm\n=", "Zm-_",
					    "=Zg=", "Z===", "Zm9vYg==Zg=="};
	size_t size;

	for (size_t i = 0; i < sizeof(texts) / sizeof(texts[0]); i++)
		cr_assert_null(rail_base64_decode(texts[i], &size), "%s", texts[i]);
}
