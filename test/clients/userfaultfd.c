/* Exit status 0 when writes to memory of a file can be announced: a userfaultfd with what uvfio asks of it (Linux 5.19). */
#include <fcntl.h>
#include <linux/userfaultfd.h>
#include <sys/ioctl.h>
#include <sys/syscall.h>
#include <unistd.h>

int main(void)
{
	/* UFFD_USER_MODE_ONLY; event remap, thread id, exact address, write protection of files in memory */
	int fd = syscall(SYS_userfaultfd, O_CLOEXEC | 1);
	struct uffdio_api api = { .api = UFFD_API, .features = 1 | 1 << 2 | 1 << 8 | 1 << 11 | 1 << 12 };
	return fd < 0 || ioctl(fd, UFFDIO_API, &api) != 0;
}
