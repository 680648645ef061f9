#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "pkg/identity/identity.h"

enum {
	QUOTED_BYTES_MAXIMUM = 64,
	POD_SUFFIX_LENGTH = 5,
	/* A ReplicaSet's hash is a 32-bit number's decimal digits in other letters. Fewer than six
	 * come once in 40,000 times, and would take "db" or "v2" for a hash. */
	HASH_LENGTH_MINIMUM = 6,
	HASH_LENGTH_MAXIMUM = 10,
	CRON_MINUTES_LENGTH = 8,
	/* What a name is cut to before five characters are put behind it. */
	CUT_LENGTH = RAIL_LABEL_SIZE - 1 - POD_SUFFIX_LENGTH,
};

#define GENERATED_CHARACTERS "bcdfghjklmnpqrstvwxz2456789"
#define DIGITS "0123456789"

static const char *const reserved_labels[] = {
	"health", "internal", "internal-health", "railway", "up",
};

void rail_name_quote(const char *name, char text[RAIL_QUOTED_NAME_SIZE])
{
	static const char hexadecimal[] = "0123456789abcdef";
	size_t size = 0;
	size_t i;

	text[size++] = '\'';
	for (i = 0; i < QUOTED_BYTES_MAXIMUM && name[i] != '\0'; i++) {
		unsigned char byte = (unsigned char)name[i];

		if (byte >= ' ' && byte <= '~' && byte != '\'' && byte != '\\') {
			text[size++] = name[i];
			continue;
		}
		text[size++] = '\\';
		text[size++] = 'x';
		text[size++] = hexadecimal[byte >> 4];
		text[size++] = hexadecimal[byte & 0xf];
	}
	(void)snprintf(text + size, RAIL_QUOTED_NAME_SIZE - size, "%s",
		       name[i] == '\0' ? "'" : "...'");
}

/* The character of a label that a name's character becomes; NUL where it is dropped. Not by
 * ctype.h: that depends on the locale. */
static char label_character(char character)
{
	if (character >= 'A' && character <= 'Z')
		return (char)(character - 'A' + 'a');
	if ((character >= 'a' && character <= 'z') || (character >= '0' && character <= '9'))
		return character;
	if (character == '-' || character == '_' || character == ' ' || character == '\t')
		return '-';
	return '\0';
}

int rail_label_make(const char *source, const char *name, bool reserved_too,
		    char ret_label[RAIL_LABEL_SIZE], struct rail_error *error)
{
	char quoted[RAIL_QUOTED_NAME_SIZE];
	char label[RAIL_LABEL_SIZE];
	size_t length = 0;
	size_t dashes = 0; /* those that wait for a character behind them */

	rail_name_quote(name, quoted);
	for (size_t i = 0; name[i] != '\0'; i++) {
		char character = label_character(name[i]);

		if (character == '\0')
			continue;
		if (character == '-') {
			if (length > 0)
				dashes++;
			continue;
		}
		if (length + dashes >= sizeof(label) - 1)
			return rail_fail_code(error, RAIL_CODE_INVALID_CONFIG, ENAMETOOLONG,
					      "%s: %s is too long to be a DNS label, which has %zu "
					      "characters at most",
					      source, quoted, sizeof(label) - 1);
		memset(label + length, '-', dashes);
		length += dashes;
		dashes = 0;
		label[length++] = character;
	}
	label[length] = '\0';

	if (length == 0)
		return rail_fail_code(error, RAIL_CODE_INVALID_CONFIG, EINVAL,
				      "%s: nothing of %s is left in a DNS label, which is made of "
				      "letters (a to z), digits and '-'",
				      source, quoted);
	for (size_t i = 0; reserved_too && i < sizeof(reserved_labels) / sizeof(*reserved_labels);
	     i++) {
		if (strcmp(label, reserved_labels[i]) == 0)
			return rail_fail_code(error, RAIL_CODE_INVALID_CONFIG, EINVAL,
					      "%s: %s becomes the name '%s', which is reserved; "
					      "choose another",
					      source, quoted, label);
	}

	memcpy(ret_label, label, length + 1);
	return 0;
}

/*
 * Where name, looked at up to length only, ends in '-' and minimum to maximum of the given
 * characters, with something before them: the length without these. Else length as it is.
 */
static size_t without_suffix(const char *name, size_t length, const char *characters,
			     size_t minimum, size_t maximum)
{
	size_t start = length;

	while (start > 0 && strchr(characters, name[start - 1]) != NULL)
		start--;
	if (start < 2 || name[start - 1] != '-' || length - start < minimum ||
	    length - start > maximum)
		return length;
	return start - 1;
}

static bool is_cut(const char *name, size_t length)
{
	return length == CUT_LENGTH + POD_SUFFIX_LENGTH && name[CUT_LENGTH - 1] != '-' &&
	       strspn(name + CUT_LENGTH, GENERATED_CHARACTERS) == POD_SUFFIX_LENGTH;
}

/* Of a hash or of minutes the beginning may be left. */
static size_t workload_length_of_cut(const char *name)
{
	size_t length =
		without_suffix(name, CUT_LENGTH, GENERATED_CHARACTERS, 1, HASH_LENGTH_MAXIMUM);

	return length < CUT_LENGTH
		       ? length
		       : without_suffix(name, CUT_LENGTH, DIGITS, 1, CRON_MINUTES_LENGTH);
}

static size_t workload_length(const char *name)
{
	size_t length = strlen(name);

	if (is_cut(name, length))
		return workload_length_of_cut(name);

	size_t shorter = without_suffix(name, length, GENERATED_CHARACTERS, POD_SUFFIX_LENGTH,
					POD_SUFFIX_LENGTH);

	if (shorter == length)
		return without_suffix(name, length, DIGITS, 1, length);

	length = without_suffix(name, shorter, GENERATED_CHARACTERS, HASH_LENGTH_MINIMUM,
				HASH_LENGTH_MAXIMUM);
	if (length == shorter)
		length = without_suffix(name, shorter, DIGITS, CRON_MINUTES_LENGTH,
					CRON_MINUTES_LENGTH);
	return length;
}

void rail_workload_of_pod(const char *pod_name, char *target, size_t target_size)
{
	size_t length = workload_length(pod_name);

	if (target_size == 0)
		return;
	if (length >= target_size)
		length = target_size - 1;
	memcpy(target, pod_name, length);
	target[length] = '\0';
}
