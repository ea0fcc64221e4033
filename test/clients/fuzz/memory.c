#include <fcntl.h>
#include <linux/userfaultfd.h>
#include <pthread.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <unistd.h>
#include "fuzz.h"

char *memory;
int user;

/* Every page of a user's is full of its word, so that a byte of another's can be told. */
void word_of(int of_user, char *word)
{
	memcpy(word, "this is user *'s", WORD);
	word[13] = 'A' + of_user;
}

static void fill(void *bytes, size_t length)
{
	for (size_t at = 0; at + WORD <= length; at += WORD)
		word_of(user, (char *)bytes + at);
}

void map_memory(void)
{
	memory = mmap((void *)FIXED_MEMORY, PAGES * PAGE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED, -1, 0);
	fill(memory, PAGES * PAGE);
}

uint64_t address(size_t length)
{
	static const uint64_t odd[] = { 0, 1, 0x10, 0x7ffffffff000, 1ull << 47, ~0ull >> 1, 1ull << 63, ~7ull, ~0ull };
	static const int around[] = { 0, 0, 0, 1, 4, -4 };
	static const int within[] = { 0, 0, 8, 0x100, 0xff0, 3 };
	switch (below(8)) {
	case 0: return odd[below(9)];
	case 1: return (uint64_t)memory + (1 + below(PAGES)) * PAGE - length + around[below(6)];
	default: return (uint64_t)memory + below(PAGES) * PAGE + within[below(6)];
	}
}

void put(uint64_t at, const void *bytes, size_t length)
{
	struct iovec from = { (void *)bytes, length }, to = { (void *)at, length };
	process_vm_writev(getpid(), &from, 1, &to, 1, 0);
}

void change_memory(void)
{
	static const int protections[] = { PROT_NONE, PROT_READ, PROT_READ | PROT_WRITE, PROT_READ | PROT_WRITE };
	char *at = memory + below(PAGES) * PAGE;
	size_t length = (1 + below(3)) * PAGE;
	if (at + length > memory + PAGES * PAGE)
		length = PAGE;
	int protection = protections[below(4)];
	char bytes[PAGE];
	switch (below(8)) {
	case 0:
		munmap(at, length);
		break;
	case 1:
		mmap(at, length, protection, MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED, -1, 0);
		break;
	case 2:
		mprotect(at, length, protection);
		break;
	case 3:
		madvise(at, length, MADV_DONTNEED);
		break;
	case 4:
		fill(bytes, PAGE);
		put((uint64_t)at, bytes, PAGE);
		break;
	default:
		for (size_t i = 0; i < PAGE; i++)
			bytes[i] = below(256);
		put((uint64_t)at, bytes, PAGE);
	}
}

void change_limit(void)
{
	static const rlim_t limits[] = { 0, PAGE, 2 * PAGE, 8 << 20 };
	struct rlimit limit;
	getrlimit(RLIMIT_MEMLOCK, &limit);
	limit.rlim_cur = limits[below(4)];
	if (limit.rlim_cur <= limit.rlim_max)
		setrlimit(RLIMIT_MEMLOCK, &limit);
}

static int late_fd;

/* Serves pages late, some with content and some as zeros. Every now and then it stops: then nobody serves until the process ends. */
static void *serve_late(void *seed)
{
	static char page[PAGE] __attribute__((aligned(4096)));
	struct uffd_msg message;
	random_state = (uint64_t)seed;
	while (read(late_fd, &message, sizeof message) == sizeof message) {
		uint64_t at = message.arg.pagefault.address & ~(PAGE - 1);
		if (message.event != UFFD_EVENT_PAGEFAULT)
			continue;
		COUNT(late);
		if (below(60) == 0)
			return 0;
		usleep(below(6) ? below(300) : below(15000));
		/* a server of pages may make calls itself */
		if (below(4) == 0)
			close(open("/dev/null", O_RDWR));
		fill(page, PAGE);
		struct uffdio_copy copy = { at, (uint64_t)page, PAGE };
		struct uffdio_zeropage zero = { { at, PAGE } };
		if (below(2))
			ioctl(late_fd, UFFDIO_COPY, &copy);
		else
			ioctl(late_fd, UFFDIO_ZEROPAGE, &zero);
	}
	return 0;
}

void make_late(void)
{
	pthread_t thread;
	struct uffdio_api api = { UFFD_API };
	struct uffdio_register late = { { (uint64_t)memory + LATE_PAGES * PAGE, (PAGES - LATE_PAGES) * PAGE }, UFFDIO_REGISTER_MODE_MISSING };
	late_fd = syscall(SYS_userfaultfd, O_CLOEXEC);
	/* an ordinary user may not have faults of the kernel's handled */
	if (late_fd < 0)
		return;
	/* out of the way of what is closed at random */
	int clear = fcntl(late_fd, F_DUPFD_CLOEXEC, KEEP_CLEAR_FIRST + 12);
	if (clear >= 0 && clear <= KEEP_CLEAR_LAST) {
		close(late_fd);
		late_fd = clear;
	}
	madvise((void *)late.range.start, late.range.len, MADV_DONTNEED);
	if (ioctl(late_fd, UFFDIO_API, &api) == 0 && ioctl(late_fd, UFFDIO_REGISTER, &late) == 0)
		pthread_create(&thread, 0, serve_late, (void *)mixed(random_state, 7));
}

void look_for_others(void)
{
	char page[PAGE], word[WORD], text[100];
	for (size_t i = 0; i < LATE_PAGES; i++) {
		struct iovec to = { page, PAGE }, from = { memory + i * PAGE, PAGE };
		if (process_vm_readv(getpid(), &to, 1, &from, 1, 0) != PAGE)
			continue;
		for (int other = 0; other < USERS; other++) {
			word_of(other, word);
			if (other != user && memmem(page, PAGE, word, WORD)) {
				memcpy(text, "user *'s memory has bytes of user *'s", 38);
				text[5] = 'A' + user;
				text[34] = 'A' + other;
				violation(text);
			}
		}
	}
	COUNT(looks);
}
