#include "pkg/identity/identity.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

enum { CONTAINER_ID_CHARACTERS = 12 };

/* What somebody said, and where it stands, for messages. value is NULL where nothing was said. */
struct word {
	const char *source;
	const char *value;
};

/* Where a thing may stand: the rows of a table that is asked from the top. */
struct place {
	const struct rail_pairs *pairs;
	const char *key;
	const char *source;
};

/*
 * The value of a key, compared byte for byte. A key that stands there twice must say the same
 * twice: two readers of which one takes the first and the other the last would see two pods.
 */
static int find(const struct place *place, struct word *ret_word, struct rail_error *error)
{
	struct word word = {.source = place->source};

	for (size_t i = 0; i < place->pairs->count; i++) {
		const struct rail_pair *pair = &place->pairs->pairs[i];

		if (pair->key == NULL || strcmp(pair->key, place->key) != 0)
			continue;

		const char *value = pair->value != NULL ? pair->value : "";
		if (word.value != NULL && strcmp(word.value, value) != 0) {
			char first[RAIL_QUOTED_NAME_SIZE];
			char second[RAIL_QUOTED_NAME_SIZE];

			rail_name_quote(word.value, first);
			rail_name_quote(value, second);
			return rail_fail_code(error, RAIL_CODE_INVALID_CONFIG, EINVAL,
					      "%s is given twice, as %s and as %s; give it once",
					      place->source, first, second);
		}
		word.value = value;
	}

	*ret_word = word;
	return 0;
}

static int find_first(const struct place *places, size_t count, struct word *ret_word,
		      struct rail_error *error)
{
	*ret_word = (struct word){.value = NULL};
	for (size_t i = 0; i < count && ret_word->value == NULL; i++) {
		int result = find(&places[i], ret_word, error);

		if (result < 0)
			return result;
	}
	return 0;
}

/* One that the orchestrator itself puts into CNI_ARGS, and nobody may put anywhere else. */
static int find_orchestrators(const struct rail_claims *claims, const char *key, const char *source,
			      struct word *ret_word, struct rail_error *error)
{
	return find(&(struct place){&claims->arguments, key, source}, ret_word, error);
}

int rail_environment_name_check(const char *source, const char *name, struct rail_error *error)
{
	size_t length = strlen(name);
	char quoted[RAIL_QUOTED_NAME_SIZE];

	if (length == 0)
		return rail_fail_code(error, RAIL_CODE_INVALID_CONFIG, EINVAL,
				      "%s is empty; it must name an environment", source);

	rail_name_quote(name, quoted);
	if (length >= RAIL_ENVIRONMENT_NAME_SIZE)
		return rail_fail_code(error, RAIL_CODE_INVALID_CONFIG, ENAMETOOLONG,
				      "%s: %s has %zu bytes; the name of an environment has %d at "
				      "most",
				      source, quoted, length, RAIL_ENVIRONMENT_NAME_SIZE - 1);
	for (size_t i = 0; i < length; i++) {
		if (name[i] < ' ' || name[i] > '~')
			return rail_fail_code(error, RAIL_CODE_INVALID_CONFIG, EINVAL,
					      "%s: %s holds a character that is not printable "
					      "ASCII, which the name of an environment must be",
					      source, quoted);
	}
	return 0;
}

/*
 * A namespace, or the author's word: the two sides of "<namespace>/<name>". A '/' in either would
 * let the namespace "a" with the word "b" be the same as the namespace "a/b".
 */
static int check_part(const struct word *word, struct rail_error *error)
{
	char quoted[RAIL_QUOTED_NAME_SIZE];
	int result = rail_environment_name_check(word->source, word->value, error);

	if (result < 0)
		return result;
	if (strchr(word->value, '/') != NULL) {
		rail_name_quote(word->value, quoted);
		return rail_fail_code(error, RAIL_CODE_INVALID_CONFIG, EINVAL,
				      "%s: %s holds a '/', which stands between a namespace and "
				      "the name of an environment in it and in neither",
				      word->source, quoted);
	}
	return 0;
}

static int find_namespace(const struct rail_claims *claims, struct word *ret_namespace,
			  struct rail_error *error)
{
	/* In this order: a Nomad job can set K8S_POD_NAMESPACE, and cannot set NOMAD_NAMESPACE. */
	const struct place places[] = {
		{&claims->arguments, "NOMAD_NAMESPACE", "NOMAD_NAMESPACE in CNI_ARGS"},
		{&claims->arguments, "K8S_POD_NAMESPACE", "K8S_POD_NAMESPACE in CNI_ARGS"},
	};

	return find_first(places, sizeof(places) / sizeof(places[0]), ret_namespace, error);
}

static int decide_environment(const struct rail_claims *claims,
			      char ret_environment[RAIL_ENVIRONMENT_NAME_SIZE],
			      struct rail_error *error)
{
	const struct place authors[] = {
		{&claims->cni_arguments, "RAILWAY_ENVIRONMENT", "RAILWAY_ENVIRONMENT in args.cni"},
		{&claims->arguments, "RAILWAY_ENVIRONMENT", "RAILWAY_ENVIRONMENT in CNI_ARGS"},
		{&claims->annotations, "railway.internal/environment",
		 "annotation railway.internal/environment"},
	};
	size_t author_count = sizeof(authors) / sizeof(authors[0]);
	struct word namespace;
	struct word author = {.value = NULL};
	const char *name = "default";
	char joined[2 * RAIL_ENVIRONMENT_NAME_SIZE];
	int result;

	if (claims->config_environment != NULL) {
		result = rail_environment_name_check("configuration key environment",
						     claims->config_environment, error);
		if (result < 0)
			return result;
		memcpy(ret_environment, claims->config_environment,
		       strlen(claims->config_environment) + 1);
		return 0;
	}

	result = find_namespace(claims, &namespace, error);
	if (result < 0)
		return result;
	if (namespace.value != NULL) {
		result = check_part(&namespace, error);
		if (result < 0)
			return result;
		name = namespace.value;
	} else {
		/* Nothing bounds the author's word here: it counts only where that is wanted, and
		 * annotations not even then, as no runtime has them without a namespace. */
		author_count = claims->trust_arguments ? 2 : 0;
	}

	result = find_first(authors, author_count, &author, error);
	if (result < 0)
		return result;
	if (author.value != NULL) {
		result = check_part(&author, error);
		if (result < 0)
			return result;
		name = author.value;
	}
	if (author.value != NULL && namespace.value != NULL) {
		(void)snprintf(joined, sizeof(joined), "%s/%s", namespace.value, author.value);
		name = joined;
		if (strlen(joined) >= RAIL_ENVIRONMENT_NAME_SIZE)
			return rail_fail_code(error, RAIL_CODE_INVALID_CONFIG, ENAMETOOLONG,
					      "%s: with the namespace in front the environment's "
					      "name has %zu bytes; %d are possible",
					      author.source, strlen(joined),
					      RAIL_ENVIRONMENT_NAME_SIZE - 1);
	}

	memcpy(ret_environment, name, strlen(name) + 1);
	return 0;
}

static size_t count_back(const char *text, size_t length, const char *characters)
{
	size_t count = 0;

	while (count < length && strchr(characters, text[length - count - 1]) != NULL)
		count++;
	return count;
}

/*
 * The length of a Nomad job's ID without what each run of a periodic or parameterized job adds:
 * "/periodic-<seconds>", "/dispatch-[<prefix>-]<seconds>-<8 hexadecimal digits>". A run may have
 * both; a job that is itself called "api/dispatch-eu" has none.
 */
static size_t nomad_job_length(const char *job)
{
	static const char periodic[] = "/periodic-";
	static const char dispatch[] = "/dispatch-";
	static const char digits[] = "0123456789";
	size_t length = strlen(job);

	for (;;) {
		const char *slash = memrchr(job, '/', length);
		size_t start = slash != NULL ? (size_t)(slash - job) : length;
		size_t end = length;

		if (slash == NULL)
			return length;
		if (strncmp(slash, dispatch, sizeof(dispatch) - 1) == 0) {
			size_t random = count_back(job, end, "0123456789abcdef");

			if (random != 8 || job[end - random - 1] != '-')
				return length;
			end -= random + 1;
		} else if (strncmp(slash, periodic, sizeof(periodic) - 1) != 0) {
			return length;
		}

		/* Both markers are as long as each other and end in the '-' looked for. */
		size_t seconds = count_back(job, end, digits);
		if (seconds == 0 || job[end - seconds - 1] != '-' ||
		    end - seconds < start + sizeof(periodic) - 1)
			return length;
		length = start;
	}
}

/* Copies a name that is going to be a label, so that two originals of one label can be told
 * apart. */
static int take_original(const struct word *word, bool reserved_too,
			 char ret_label[RAIL_LABEL_SIZE],
			 char ret_original[RAIL_ORIGINAL_NAME_SIZE], struct rail_error *error)
{
	size_t length = strlen(word->value);
	char quoted[RAIL_QUOTED_NAME_SIZE];

	if (length >= RAIL_ORIGINAL_NAME_SIZE) {
		rail_name_quote(word->value, quoted);
		return rail_fail_code(error, RAIL_CODE_INVALID_CONFIG, ENAMETOOLONG,
				      "%s: %s has %zu bytes; %d are possible", word->source, quoted,
				      length, RAIL_ORIGINAL_NAME_SIZE - 1);
	}

	int result = rail_label_make(word->source, word->value, reserved_too, ret_label, error);
	if (result < 0)
		return result;
	memcpy(ret_original, word->value, length + 1);
	return 0;
}

/* "<job>-<group>" of Nomad. What does not fit is cut, one byte too long: take_original refuses it.
 */
static int name_by_nomad(const struct rail_claims *claims, char name[RAIL_ORIGINAL_NAME_SIZE + 1],
			 struct word *ret_word, struct rail_error *error)
{
	struct word job;
	struct word group;
	int result =
		find_orchestrators(claims, "NOMAD_JOB_ID", "NOMAD_JOB_ID in CNI_ARGS", &job, error);

	if (result == 0)
		result = find_orchestrators(claims, "NOMAD_GROUP_NAME",
					    "NOMAD_GROUP_NAME in CNI_ARGS", &group, error);
	if (result < 0)
		return result;
	if (job.value == NULL)
		return 0;

	size_t length = nomad_job_length(job.value);
	size_t kept = length < RAIL_ORIGINAL_NAME_SIZE ? length : RAIL_ORIGINAL_NAME_SIZE;
	bool alone = group.value == NULL ||
		     (strlen(group.value) == length && memcmp(group.value, job.value, length) == 0);

	(void)snprintf(name, RAIL_ORIGINAL_NAME_SIZE + 1, "%.*s%s%s", (int)kept, job.value,
		       alone ? "" : "-", alone ? "" : group.value);
	*ret_word = (struct word){.source = "NOMAD_JOB_ID and NOMAD_GROUP_NAME in CNI_ARGS",
				  .value = name};
	return 0;
}

static int decide_service(const struct rail_claims *claims, const struct word *pod_name, bool nomad,
			  struct rail_identity *identity, struct rail_error *error)
{
	const struct place authors[] = {
		{&claims->cni_arguments, "RAILWAY_SERVICE", "RAILWAY_SERVICE in args.cni"},
		{&claims->arguments, "RAILWAY_SERVICE", "RAILWAY_SERVICE in CNI_ARGS"},
		{&claims->annotations, "railway.internal/service",
		 "annotation railway.internal/service"},
	};
	struct word word = {.source = "configuration key service", .value = claims->config_service};
	char name[RAIL_ORIGINAL_NAME_SIZE + 1];
	int result = 0;

	if (word.value == NULL)
		result = find_first(authors, sizeof(authors) / sizeof(authors[0]), &word, error);
	if (result == 0 && word.value == NULL && nomad)
		result = name_by_nomad(claims, name, &word, error);
	if (result < 0)
		return result;
	if (word.value == NULL && pod_name->value != NULL) {
		rail_workload_of_pod(pod_name->value, name, sizeof(name));
		word = (struct word){.source = pod_name->source, .value = name};
	}
	if (word.value == NULL)
		return rail_fail_code(
			error, RAIL_CODE_INVALID_CONFIG, ENOENT,
			"nothing names the service of this pod; name it with the configuration key "
			"service, RAILWAY_SERVICE in args.cni or CNI_ARGS, or the annotation "
			"railway.internal/service (Kubernetes' K8S_POD_NAME and Nomad's "
			"NOMAD_JOB_ID in CNI_ARGS do as well)");

	return take_original(&word, true, identity->service, identity->service_original, error);
}

static int decide_replica(const struct rail_claims *claims, const struct word *pod_name,
			  struct rail_identity *identity, struct rail_error *error)
{
	struct word word = {.source = "configuration key replica", .value = claims->config_replica};
	char start[CONTAINER_ID_CHARACTERS + 1];

	if (word.value == NULL)
		word = *pod_name;
	if (word.value == NULL) {
		(void)snprintf(start, sizeof(start), "%s",
			       claims->container_id != NULL ? claims->container_id : "");
		word = (struct word){.source = "container ID", .value = start};
	}
	return take_original(&word, false, identity->replica, identity->replica_original, error);
}

int rail_identity_decide(const struct rail_claims *claims, struct rail_identity *ret_identity,
			 struct rail_error *error)
{
	struct rail_identity identity = {.environment = ""};
	struct word nomad;
	struct word pod_name = {.value = NULL};
	int result;

	result = decide_environment(claims, identity.environment, error);
	if (result == 0)
		result = find_orchestrators(claims, "NOMAD_NAMESPACE",
					    "NOMAD_NAMESPACE in CNI_ARGS", &nomad, error);
	if (result == 0 && nomad.value == NULL)
		result = find_orchestrators(claims, "K8S_POD_NAME", "K8S_POD_NAME in CNI_ARGS",
					    &pod_name, error);
	if (result == 0)
		result = decide_service(claims, &pod_name, nomad.value != NULL, &identity, error);
	if (result == 0)
		result = decide_replica(claims, &pod_name, &identity, error);
	if (result < 0)
		return result;

	*ret_identity = identity;
	return 0;
}
