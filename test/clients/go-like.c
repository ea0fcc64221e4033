/*
 * A program as Go makes them: no C library, threads by the bare system call, and a signal (SIGURG, SA_RESTART) that takes threads out of
 * their calls all the time. Four threads map and unmap pages in one container of /dev/vfio/1; the first thread sends the signals. Prints how
 * many calls had the answer that they should. x86-64; build with -nostdlib -static -ffreestanding.
 */
typedef unsigned long u64;
typedef unsigned int u32;
#define THREADS 4
#define ROUNDS 400
#define PAGE 4096
/* CLONE_VM, _FS, _FILES, _SIGHAND, _SYSVSEM, _THREAD */
#define SHARE_ALL (0x100 | 0x200 | 0x400 | 0x800 | 0x40000 | 0x10000)
#define SIGURG 23
/* SA_RESTORER, SA_RESTART */
#define FLAGS (0x4000000UL | 0x10000000UL)

static char stacks[THREADS][32768] __attribute__((aligned(16)));
static char pages[THREADS][PAGE] __attribute__((aligned(PAGE)));
static volatile int right, wrong, finished, started, heard;
static volatile int tids[THREADS];
static int container;

static long call(long number, u64 a, u64 b, u64 c, u64 d)
{
	long result;
	register u64 r10 __asm__("r10") = d;
	__asm__ volatile("syscall" : "=a"(result) : "a"(number), "D"(a), "S"(b), "d"(c), "r"(r10) : "rcx", "r11", "memory");
	return result;
}

__asm__("restorer: mov $15, %eax\n syscall\n");
extern void restorer(void);

static void hear(int signal)
{
	(void)signal;
	heard++;
}

static void count(int is_right)
{
	__atomic_add_fetch(is_right ? &right : &wrong, 1, __ATOMIC_SEQ_CST);
}

static void work(void)
{
	int n = __atomic_fetch_add(&started, 1, __ATOMIC_SEQ_CST);
	tids[n] = call(186, 0, 0, 0, 0);
	for (int i = 0; i < ROUNDS; i++) {
		struct { u32 argsz, flags; u64 vaddr, iova, size; } map = { sizeof map, 1, (u64)pages[n], (u64)(n + 1) << 20, PAGE };
		struct { u32 argsz, flags; u64 iova, size; } unmap = { sizeof unmap, 0, (u64)(n + 1) << 20, PAGE };
		count(call(16, container, 0x3b71, (u64)&map, 0) == 0);
		count(call(16, container, 0x3b72, (u64)&unmap, 0) == 0 && unmap.size == PAGE);
	}
	__atomic_add_fetch(&finished, 1, __ATOMIC_SEQ_CST);
	for (;;)
		call(24, 0, 0, 0, 0);
}

static void start(char *stack)
{
	u64 *top = (u64 *)(stack + sizeof stacks[0]) - 2;
	*top = (u64)work;
	long result;
	register u64 r10 __asm__("r10") = 0;
	register u64 r8 __asm__("r8") = 0;
	// the new thread finds where to go on its stack
	__asm__ volatile("syscall\n\ttest %%rax, %%rax\n\tjnz 1f\n\tret\n1:"
			 : "=a"(result) : "a"(56L), "D"((u64)SHARE_ALL), "S"(top), "d"(0L), "r"(r10), "r"(r8) : "rcx", "r11", "memory");
}

static void print(const char *what, int value)
{
	char text[] = "            00000\n";
	for (int i = 0; what[i]; i++)
		text[i] = what[i];
	for (int i = 0; i < 5; i++, value /= 10)
		text[16 - i] = '0' + value % 10;
	call(1, 1, (u64)text, sizeof text - 1, 0);
}

__attribute__((force_align_arg_pointer)) void _start(void)
{
	struct { void (*handler)(int); u64 flags; void (*restorer)(void); u64 mask; } action = { hear, FLAGS, restorer, 0 };
	struct { long seconds, nanoseconds; } pause = { 0, 50000 };
	call(13, SIGURG, (u64)&action, 0, 8);
	container = call(257, -100, (u64)"/dev/vfio/vfio", 2, 0);
	int group = call(257, -100, (u64)"/dev/vfio/1", 2, 0);
	if (call(16, group, 0x3b68, (u64)&container, 0) < 0 || call(16, container, 0x3b66, 3, 0) < 0) {
		print("no group", 0);
		call(231, 1, 0, 0, 0);
	}
	for (int i = 0; i < THREADS; i++)
		start(stacks[i]);
	while (finished < THREADS) {
		for (int i = 0; i < THREADS; i++)
			if (tids[i])
				call(234, call(39, 0, 0, 0, 0), tids[i], SIGURG, 0);
		call(35, (u64)&pause, 0, 0, 0);
	}
	print("right", right);
	print("wrong", wrong);
	call(231, heard == 0, 0, 0, 0);
}
