/*
 * A 32-bit program without a C library, for machines that have none of 32 bits: makes system calls by int 0x80 and prints
 * their results. Build with -m32 -nostdlib -static -ffreestanding.
 */
#define O_RDWR 2
typedef unsigned int u32;
typedef unsigned long long u64;

static int call(int number, u32 a, u32 b, u32 c, u32 d, u32 e, u32 f)
{
	int result;
	struct { u32 number, f; } in = {number, f};
	__asm__ volatile("push %%ebp\n\tmov 4(%%eax), %%ebp\n\tmov (%%eax), %%eax\n\tint $0x80\n\tpop %%ebp"
			 : "=a"(result)
			 : "a"(&in), "b"(a), "c"(b), "d"(c), "S"(d), "D"(e)
			 : "memory");
	return result;
}

static void print(const char *name, int value)
{
	char text[64];
	int length = 0, digits = 0;
	char reversed[12];
	while (*name)
		text[length++] = *name++;
	text[length++] = '=';
	u32 rest = value < 0 ? -value : value;
	if (value < 0)
		text[length++] = '-';
	do
		reversed[digits++] = '0' + rest % 10;
	while (rest /= 10);
	while (digits)
		text[length++] = reversed[--digits];
	text[length++] = '\n';
	call(4, 1, (u32)text, length, 0, 0, 0);
}

void _start(void)
{
	int c = call(5, (u32)"/dev/vfio/vfio", O_RDWR, 0, 0, 0, 0);
	print("open", c >= 0);
	print("extension", call(54, c, 0x3b65, 3, 0, 0, 0));
	u64 in[3] = {(u32)"abcdefg", (u32)in, 8};
	print("copy", call(54, c, 0x3ba0, (u32)in, 0, 0, 0));
	print("copied", ((char *)in)[6]);
	int g = call(295, -100, (u32)"/dev/vfio/12", O_RDWR, 0, 0, 0);
	int d = call(54, g, 0x3b6a, (u32)"tiny", 0, 0, 0);
	print("device", d > g);
	u32 value = 0;
	print("pread64", call(180, d, (u32)&value, 4, 4, 7 << 8, 0));
	print("value", value & 0xff);
	print("pread64 BAR0", call(180, d, (u32)&value, 4, 0, 0, 0));
	print("value", value & 0xff);
	value = 0x33;
	print("pwrite64", call(181, d, (u32)&value, 1, 5, 1 << 8, 0));
	u32 vector[2] = {(u32)&value, 3};
	print("preadv", call(333, d, (u32)vector, 1, 0, 2 << 8, 0));
	print("value", value & 0xff);
	char bulk[64] = {0};
	print("pread64 bulk", call(180, d, (u32)bulk, 64, 0, 0, 0));
	print("value", bulk[63] & 0xff);
	print("read", call(3, d, (u32)bulk, 64, 0, 0, 0));
	print("write", call(4, d, (u32)&value, 2, 0, 0, 0));
	print("readv", call(145, d, (u32)vector, 1, 0, 0, 0));
	print("writev", call(146, d, (u32)vector, 1, 0, 0, 0));
	print("preadv at 64", call(333, d, (u32)vector, 1, 64, 0, 0));
	print("negative", call(145, d, (u32)((u32[2]){(u32)&value, -1u}), 1, 0, 0, 0));
	print("lseek", call(19, d, 0, 1, 0, 0, 0));
	u64 at64;
	print("_llseek", call(140, d, 0, 0, (u32)&at64, 1, 0));
	print("container", call(3, c, (u32)bulk, 4, 0, 0, 0));
	int at = call(192, 0, 4096, 3, 1, d, 1 << 28);
	print("mmap2", at > 0 || at < -4095);
	print("mapped", ((volatile char *)at)[5]);
	print("mmap2 config", call(192, 0, 4096, 1, 1, d, 0x70000000));
	u32 stat[24] = {0};
	print("fstat64", call(197, c, (u32)stat, 0, 0, 0, 0));
	print("char device", (stat[4] & 0170000) == 020000);
	print("rdev", stat[8]);
	// openat2: an absolute path is EXDEV beneath a directory, and a structure of another size is the kernel's to judge
	u64 how[4] = {O_RDWR, 0, 0, 0};
	int second = call(437, -100, (u32)"/dev/vfio/vfio", (u32)how, 24, 0, 0);
	print("openat2", call(54, second, 0x3b65, 3, 0, 0, 0));
	print("openat2 short", call(437, -100, (u32)"/dev/vfio/vfio", (u32)how, 8, 0, 0));
	int longer = call(437, -100, (u32)"/dev/vfio/vfio", (u32)how, 32, 0, 0);
	print("openat2 long", call(54, longer, 0x3b65, 3, 0, 0, 0));
	how[2] = 8;
	print("openat2 beneath", call(437, -100, (u32)"/dev/vfio/vfio", (u32)how, 24, 0, 0));
	call(1, 3, 0, 0, 0, 0, 0);
}
