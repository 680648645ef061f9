#include "pkg/base/shared.h"

#include <errno.h>
#include <fcntl.h>
#include <sys/mman.h>

#include "pkg/base/cleanup.h"

int rail_shared_map(int fd, size_t size, void **ret_memory, struct rail_error *error)
{
	void *memory = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);

	if (memory == MAP_FAILED)
		return rail_fail_errno(error, errno, "map shared memory");
	*ret_memory = memory;
	return 0;
}

int rail_shared_create(const char *name, size_t size, int *ret_fd, void **ret_memory,
		       struct rail_error *error)
{
	RAIL_CLOSE int fd = memfd_create(name, MFD_CLOEXEC | MFD_ALLOW_SEALING);

	if (fd < 0 || ftruncate(fd, (off_t)size) < 0 ||
	    fcntl(fd, F_ADD_SEALS, F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_SEAL) < 0)
		return rail_fail_errno(error, errno, "make shared memory '%s'", name);

	int result = rail_shared_map(fd, size, ret_memory, error);

	if (result == 0)
		*ret_fd = RAIL_TAKE_FD(fd);
	return result;
}

void rail_shared_unmap(void *memory, size_t size)
{
	if (memory != NULL)
		(void)munmap(memory, size);
}
