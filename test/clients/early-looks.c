/*
 * Makes the same few calls again and again, so that they are looked ahead for, and changes between them what the looks would
 * have found: where the structure lies and whether it can be read and written there, what is behind the descriptor, who
 * calls, what may be pinned, what is mapped where a structure points. Each answer must be the kernel's.
 *
 *      early-looks BDF STEPS SEED
 */
#define _GNU_SOURCE
#include <errno.h>
#include <linux/capability.h>
#include <pthread.h>
#include <stdbool.h>
#include <stdint.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include "type1-group.h"

#define PAGE 4096ul
#define SLOTS 32
#define CHECK(condition) do { if (!(condition)) { fprintf(stderr, "%s:%d: %s: %s\n", __FILE__, __LINE__, #condition, strerror(errno)); exit(1); } } while (0)

enum { STACK, HEAP, STABLE, CHANGING, STRADDLING, PLACES };

static uint64_t seed;
static int container, kept, null;
static bool mapped[SLOTS], is_null, may_lock = true;
/* two pages: the first can always be read and written, the second is as `protection` says; -1: not there */
static char *pages;
static int protection = PROT_READ | PROT_WRITE;
/* what is mapped for a device, as `target` says */
static char *memory;
static int target = PROT_READ | PROT_WRITE;
static void *heap;

static uint32_t below(uint32_t limit)
{
	seed ^= seed << 13;
	seed ^= seed >> 7;
	seed ^= seed << 17;
	return (seed >> 11) % limit;
}

struct call { unsigned long request; void *argument; int result, error; };

static void *make(void *data)
{
	struct call *call = data;
	call->result = ioctl(container, call->request, call->argument);
	call->error = call->result < 0 ? errno : 0;
	return NULL;
}

/* Makes the call in this thread, in another one, or in another process. Returns its errno, or 0. */
static int issue(unsigned long request, void *argument)
{
	struct call call = { request, argument, 0, 0 };
	pthread_t thread;
	if (below(64) == 0) {
		CHECK(!pthread_create(&thread, NULL, make, &call));
		CHECK(!pthread_join(thread, NULL));
	} else {
		make(&call);
	}
	return call.error;
}

static void set_lock_right(bool on)
{
	struct __user_cap_header_struct header = { _LINUX_CAPABILITY_VERSION_3, 0 };
	struct __user_cap_data_struct sets[2];
	CHECK(!syscall(SYS_capget, &header, sets));
	if (on)
		sets[0].effective |= sets[0].permitted & 1u << CAP_IPC_LOCK;
	else
		sets[0].effective &= ~(1u << CAP_IPC_LOCK);
	CHECK(!syscall(SYS_capset, &header, sets));
	CHECK(!syscall(SYS_capget, &header, sets));
	struct rlimit limit;
	CHECK(!getrlimit(RLIMIT_MEMLOCK, &limit));
	limit.rlim_cur = on ? limit.rlim_max : 0;
	CHECK(!setrlimit(RLIMIT_MEMLOCK, &limit));
	may_lock = on || (sets[0].effective & 1u << CAP_IPC_LOCK);
}

static void protect(char *page, int *known, int wish)
{
	if (wish < 0)
		CHECK(!munmap(page, PAGE));
	else if (*known < 0)
		CHECK(mmap(page, PAGE, wish, MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED, -1, 0) == page);
	else
		CHECK(!mprotect(page, PAGE, wish));
	*known = wish;
}

static int some_protection(void)
{
	static const int all[] = { -1, PROT_NONE, PROT_READ, PROT_READ | PROT_WRITE, PROT_READ | PROT_WRITE };
	return all[below(5)];
}

static void change(void)
{
	switch (below(5)) {
	case 0: protect(pages + PAGE, &protection, some_protection()); break;
	case 1: protect(memory, &target, some_protection()); break;
	case 2:
		is_null = !is_null;
		CHECK(dup2(is_null ? null : kept, container) == container);
		break;
	case 3: set_lock_right(!may_lock); break;
	case 4: heap = realloc(heap, 64 + below(300000)); CHECK(heap); break;
	}
}

/* Where a structure of `size` bytes lies, and its bytes. What can be done with it there: `reads`, `writes`. */
static void *place(const void *bytes, size_t size, void *stack, bool *reads, bool *writes)
{
	unsigned where = below(PLACES);
	char *to = where == STACK ? stack : where == HEAP ? heap : where == STABLE ? pages + 64 : where == CHANGING ? pages + PAGE + 128 : pages + PAGE - 8;
	bool changes = where == CHANGING || where == STRADDLING;
	int before = protection;
	*reads = !changes || protection > 0;
	*writes = !changes || (protection > 0 && protection & PROT_WRITE);
	if (changes && before == PROT_READ)
		protect(pages + PAGE, &protection, PROT_READ | PROT_WRITE);
	if (*reads)
		memcpy(to, bytes, size);
	if (changes && before == PROT_READ)
		protect(pages + PAGE, &protection, PROT_READ);
	return to;
}

static void map(unsigned slot)
{
	char stack[64];
	bool reads, writes;
	struct vfio_iommu_type1_dma_map map = { sizeof map, VFIO_DMA_MAP_FLAG_READ | VFIO_DMA_MAP_FLAG_WRITE, (uintptr_t)memory, slot * PAGE, PAGE };
	void *at = place(&map, sizeof map, stack, &reads, &writes);
	int expected = is_null ? ENOTTY : !reads ? EFAULT : mapped[slot] ? EEXIST : target <= 0 || !(target & PROT_WRITE) ? EFAULT : !may_lock ? ENOMEM : 0;
	int error = issue(VFIO_IOMMU_MAP_DMA, at);
	if (error != expected) {
		fprintf(stderr, "map: errno %d, not %d\n", error, expected);
		exit(1);
	}
	if (!error)
		mapped[slot] = true;
}

static void unmap(unsigned slot)
{
	char stack[64];
	bool reads, writes;
	struct vfio_iommu_type1_dma_unmap unmap = { .argsz = sizeof unmap, .iova = slot * PAGE, .size = PAGE };
	struct vfio_iommu_type1_dma_unmap *at = place(&unmap, sizeof unmap, stack, &reads, &writes);
	int expected = is_null ? ENOTTY : !reads || !writes ? EFAULT : 0;
	int error = issue(VFIO_IOMMU_UNMAP_DMA, at);
	uint64_t size = error ? 0 : at->size;
	if (error != expected || (!error && size != (mapped[slot] ? PAGE : 0))) {
		fprintf(stderr, "unmap: errno %d, not %d; %lu bytes\n", error, expected, (unsigned long)size);
		exit(1);
	}
	if (!is_null && reads)
		mapped[slot] = false;
}

static void info(void)
{
	char stack[64] = { 0 };
	bool reads, writes;
	struct vfio_iommu_type1_info info = { .argsz = 24 };
	struct vfio_iommu_type1_info *at = place(&info, 24, stack, &reads, &writes);
	int expected = is_null ? ENOTTY : !reads || !writes ? EFAULT : 0;
	int error = issue(VFIO_IOMMU_GET_INFO, at);
	if (error != expected || (!error && !(at->iova_pgsizes & PAGE))) {
		fprintf(stderr, "info: errno %d, not %d\n", error, expected);
		exit(1);
	}
}

int main(int argc, char **argv)
{
	CHECK(argc == 4);
	unsigned steps = atoi(argv[2]);
	int group;
	seed = strtoull(argv[3], NULL, 0) * 2 + 1;
	for (int i = 0; i < 10; i++)
		below(2);
	open_pci_device(argv[1], &container, &group);
	CHECK((kept = dup(container)) >= 0 && (null = open("/dev/null", O_RDWR)) >= 0);
	pages = mmap(NULL, 2 * PAGE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	memory = mmap(NULL, 2 * PAGE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	CHECK(pages != MAP_FAILED && memory != MAP_FAILED && (heap = malloc(64)));
	memset(memory, 1, PAGE);
	for (unsigned step = 0; step < steps; step++) {
		/* long enough with nothing changed that looks are taken ahead */
		if (below(6) == 0)
			change();
		unsigned what = below(8), slot = below(SLOTS);
		if (what == 0)
			info();
		else if (what == 1)
			CHECK(is_null || ioctl(container, VFIO_GET_API_VERSION) == VFIO_API_VERSION);
		else if (mapped[slot])
			unmap(slot);
		else
			map(slot);
		if (below(2000) == 0) {
			/* a process of its own, with the same file, and memory of its own */
			pid_t child = fork();
			int status;
			CHECK(child >= 0);
			if (child == 0) {
				struct vfio_iommu_type1_info info = { .argsz = 24 };
				for (int i = 0; i < 20; i++)
					if (ioctl(kept, VFIO_IOMMU_GET_INFO, &info) || !(info.iova_pgsizes & PAGE))
						_exit(1);
				_exit(0);
			}
			CHECK(waitpid(child, &status, 0) == child && status == 0);
		}
	}
	printf("%u steps\n", steps);
	return 0;
}
