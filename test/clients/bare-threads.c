/*
 * A program without a C library whose threads are made by the bare system call, as those of Go are: sharing memory, files and all. Each opens
 * a node and makes requests; the first prints how many answers were right. x86-64; build with -nostdlib -static -ffreestanding.
 */
typedef unsigned long u64;
#define THREADS 8
#define ROUNDS 50
/* CLONE_VM, _FS, _FILES, _SIGHAND, _SYSVSEM, _THREAD */
#define SHARE_ALL (0x100 | 0x200 | 0x400 | 0x800 | 0x40000 | 0x10000)

static char stacks[THREADS][16384] __attribute__((aligned(16)));
static volatile int right, finished;

static long call(long number, u64 a, u64 b, u64 c, u64 d)
{
	long result;
	register u64 r10 __asm__("r10") = d;
	__asm__ volatile("syscall" : "=a"(result) : "a"(number), "D"(a), "S"(b), "d"(c), "r"(r10) : "rcx", "r11", "memory");
	return result;
}

static void work(void)
{
	for (int i = 0; i < ROUNDS; i++) {
		int container = call(257, -100, (u64)"/dev/vfio/vfio", 2, 0);
		if (call(16, container, 0x3b64, 0, 0) == 0 && call(16, container, 0x3b65, 3, 0) == 1)
			__atomic_add_fetch(&right, 1, __ATOMIC_SEQ_CST);
		call(3, container, 0, 0, 0);
	}
	__atomic_add_fetch(&finished, 1, __ATOMIC_SEQ_CST);
	call(60, 0, 0, 0, 0);
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

void _start(void)
{
	char text[] = "right 000\n";
	for (int i = 0; i < THREADS; i++)
		start(stacks[i]);
	while (finished < THREADS)
		call(24, 0, 0, 0, 0);
	for (int i = 0, value = right; i < 3; i++, value /= 10)
		text[8 - i] = '0' + value % 10;
	call(1, 1, (u64)text, sizeof text - 1, 0);
	call(231, 0, 0, 0, 0);
}
