/*
 * Runs a fuzz target without a fuzzer: on every file that is named, and on every file in a
 * directory that is named. What is wrong ends the program as it would under the fuzzer.
 */

#include <dirent.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "pkg/base/cleanup.h"
#include "pkg/base/file.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

#define INPUT_SIZE_MAXIMUM ((size_t)1024 * 1024)

static void close_directory(DIR **directory)
{
	if (*directory != NULL)
		(void)closedir(*directory);
}

static int run_file(const char *path, size_t *count)
{
	struct rail_error error = RAIL_ERROR_NONE;
	RAIL_FREE char *text = NULL;
	RAIL_FREE uint8_t *data = NULL;
	size_t size;

	if (rail_read_file(path, INPUT_SIZE_MAXIMUM, &text, &size, &error) < 0) {
		(void)fprintf(stderr, "%s\n", error.message);
		return -1;
	}
	/* At its exact size: a sanitizer then sees every byte that is read beyond it. */
	data = malloc(size > 0 ? size : 1);
	if (data == NULL)
		return -1;
	memcpy(data, text, size);
	(void)LLVMFuzzerTestOneInput(data, size);
	(*count)++;
	return 0;
}

static int run_path(const char *path, size_t *count)
{
	RAIL_CLEANUP(close_directory) DIR *directory = opendir(path);
	const struct dirent *entry;
	int result = 0;

	if (directory == NULL)
		return run_file(path, count);
	while ((entry = readdir(directory)) != NULL) {
		RAIL_FREE char *file = NULL;
		struct stat status;

		if (asprintf(&file, "%s/%s", path, entry->d_name) < 0) {
			file = NULL;
			return -1;
		}
		if (stat(file, &status) == 0 && S_ISREG(status.st_mode) &&
		    run_file(file, count) < 0)
			result = -1;
	}
	return result;
}

int main(int argc, char **argv)
{
	size_t count = 0;
	int result = 0;

	for (int i = 1; i < argc; i++) {
		if (run_path(argv[i], &count) < 0)
			result = -1;
	}
	(void)printf("%zu inputs\n", count);
	return result < 0 || count == 0 ? EXIT_FAILURE : EXIT_SUCCESS;
}
